//! Convolutions over pictures that lie as `[pictures, height, width, channels]`.
//!
//! A convolution is a product of a matrix with one row for each place of the output: what the kernel
//! sees there. On the processor that matrix is made for some hundred places at a time: few enough for
//! the cache, many enough that the weights are not fetched for each; a kernel of one place needs none.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Device, Layout, Result, Shape, Tensor};
use slate_kernels::{Start, View, multiply};

use super::{Activation, is_fused, values};

/// Places of the matrix that is made at a time.
const TILE: usize = 384;

/// Places added at the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padding {
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl Padding {
    pub(crate) fn both(places: usize) -> Self {
        Self {
            before: places,
            after: places,
        }
    }
}

/// A convolution with square kernel, its bias and what follows.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    /// `[kernel·kernel·inputs, outputs]`
    weight: Tensor,
    /// `[outputs]`
    bias: Tensor,
    kernel: usize,
    stride: usize,
    padding: Padding,
    activation: Activation,
}

impl Conv {
    /// From weights as PyTorch has them, `[outputs, inputs, kernel, kernel]`.
    pub(crate) fn new(
        weight: &Tensor,
        bias: &Tensor,
        stride: usize,
        padding: Padding,
        activation: Activation,
    ) -> Result<Self> {
        let (outputs, inputs, kernel, _) = weight.dims4()?;
        let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
        Ok(Self {
            weight: weight.reshape((kernel * kernel * inputs, outputs))?,
            bias: bias.clone(),
            kernel,
            stride,
            padding,
            activation,
        })
    }

    pub(crate) fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            weight: self.weight.to_device(device)?,
            bias: self.bias.to_device(device)?,
            ..self.clone()
        })
    }

    /// The output, with `add` added before the activation where there is one.
    ///
    /// # Shapes
    /// - x: `[n, height, width, inputs]`; output, add: `[n, places, places, outputs]`
    pub(crate) fn forward(&self, x: &Tensor, add: Option<&Tensor>) -> Result<Tensor> {
        if !is_fused(x) {
            return self.plain(x, add);
        }
        let start = match add {
            Some(add) => add.broadcast_add(&self.bias)?,
            None => self.bias.clone(),
        };
        x.contiguous()?.apply_op3_no_bwd(
            &self.weight,
            &start.contiguous()?,
            &Convolve { layer: self },
        )
    }

    fn plain(&self, x: &Tensor, add: Option<&Tensor>) -> Result<Tensor> {
        let inputs = x.dim(3)?;
        let outputs = self.bias.dim(0)?;
        let Padding { before, after } = self.padding;
        let x = x.permute((0, 3, 1, 2))?;
        let x = x.pad_with_zeros(2, before, after)?;
        let x = x.pad_with_zeros(3, before, after)?.contiguous()?;
        let weight = self
            .weight
            .reshape((self.kernel, self.kernel, inputs, outputs))?
            .permute((3, 2, 0, 1))?
            .contiguous()?;
        let y = x.conv2d(&weight, 0, self.stride, 1, 1)?;
        let y = y.permute((0, 2, 3, 1))?.broadcast_add(&self.bias)?;
        let y = match add {
            Some(add) => (y + add)?,
            None => y,
        };
        self.activation.plain(y)?.contiguous()
    }

    /// Places of the output along a side.
    fn places(&self, side: usize) -> usize {
        (side + self.padding.before + self.padding.after).saturating_sub(self.kernel) / self.stride
            + 1
    }
}

struct Convolve<'a> {
    layer: &'a Conv,
}

impl CustomOp3 for Convolve<'_> {
    fn name(&self) -> &'static str {
        "convolution"
    }

    /// `start` is the bias, or what the product is added to.
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        start: &CpuStorage,
        start_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let layer = self.layer;
        let (n, height, width, inputs) = x_layout.shape().dims4()?;
        let (inner, outputs) = w_layout.shape().dims2()?;
        let (high, wide) = (layer.places(height), layer.places(width));
        let x = values(x, x_layout)?;
        let w = View::new(values(w, w_layout)?, inner, outputs);
        let start = values(start, start_layout)?;
        let mut y = Vec::with_capacity(n * high * wide * outputs);
        if start.len() == outputs {
            for _ in 0..n * high * wide {
                y.extend_from_slice(start);
            }
        } else {
            y.extend_from_slice(start);
        }
        if layer.kernel == 1 && layer.stride == 1 {
            let x = View::new(x, n * height * width, inputs);
            multiply(&mut y, outputs, Start::There, 1.0, x, w);
        } else {
            let window = Window {
                layer,
                sides: [height, width],
                inputs,
                places: [high, wide],
            };
            let rows_at_once = TILE.div_ceil(wide).min(n * high);
            let mut tile = vec![0.0; rows_at_once * wide * inner];
            for first in (0..n * high).step_by(rows_at_once) {
                let rows = first..(first + rows_at_once).min(n * high);
                let count = rows.len() * wide;
                window.look(x, rows, &mut tile);
                let into = &mut y[first * wide * outputs..][..count * outputs];
                let seen = View::new(&tile, count, inner);
                multiply(into, outputs, Start::There, 1.0, seen, w);
            }
        }
        layer.activation.apply(&mut y);
        Ok((CpuStorage::F32(y), Shape::from((n, high, wide, outputs))))
    }
}

/// What a kernel sees of pictures.
struct Window<'a> {
    layer: &'a Conv,
    sides: [usize; 2],
    inputs: usize,
    /// Rows and columns of the output of a picture.
    places: [usize; 2],
}

impl Window<'_> {
    /// Writes what is seen from each place of some rows of the outputs, which stand one picture after
    /// the other: zeros beyond the edges.
    fn look(&self, x: &[f32], rows: std::ops::Range<usize>, tile: &mut [f32]) {
        let (kernel, stride) = (self.layer.kernel, self.layer.stride);
        let before = self.layer.padding.before;
        let ([height, width], inputs) = (self.sides, self.inputs);
        let [high, wide] = self.places;
        let line = kernel * inputs;
        let mut places = tile.chunks_exact_mut(kernel * line);
        for row in rows {
            let x = &x[row / high * height * width * inputs..];
            let row = row % high;
            for column in 0..wide {
                let place = places.next().expect("the tile has room for these rows");
                // Columns of the kernel that lie on the picture.
                let left = (column * stride) as isize - before as isize;
                let skipped = left.min(0).unsigned_abs().min(kernel);
                let end = (width as isize - left).clamp(skipped as isize, kernel as isize) as usize;
                for (down, seen) in place.chunks_exact_mut(line).enumerate() {
                    let at = (row * stride + down).wrapping_sub(before);
                    if at >= height || skipped == end {
                        seen.fill(0.0);
                        continue;
                    }
                    let from = (at * width + (left + skipped as isize) as usize) * inputs;
                    let length = (end - skipped) * inputs;
                    seen[..skipped * inputs].fill(0.0);
                    seen[skipped * inputs..end * inputs].copy_from_slice(&x[from..from + length]);
                    seen[end * inputs..].fill(0.0);
                }
            }
        }
    }
}

/// The largest of every 3 × 3 places, two apart; beyond the edges lies nothing.
///
/// # Shapes
/// - x: `[n, height, width, channels]`
pub(crate) fn max_pool(x: &Tensor, padding: Padding) -> Result<Tensor> {
    if is_fused(x) {
        x.contiguous()?.apply_op1_no_bwd(&MaxPool { padding })
    } else {
        // What is pooled is never negative, so zeros change nothing.
        let Padding { before, after } = padding;
        let x = x.permute((0, 3, 1, 2))?;
        let x = x.pad_with_zeros(2, before, after)?;
        let x = x.pad_with_zeros(3, before, after)?.contiguous()?;
        let pooled = x.max_pool2d_with_stride(3, 2)?;
        pooled.permute((0, 2, 3, 1))?.contiguous()
    }
}

struct MaxPool {
    padding: Padding,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let x = values(x, layout)?;
        let Padding { before, after } = self.padding;
        let places = |side: usize| (side + before + after).saturating_sub(3) / 2 + 1;
        let (high, wide) = (places(height), places(width));
        let mut y = vec![f32::NEG_INFINITY; n * high * wide * channels];
        let window = |place: usize, side: usize| {
            let from = (place * 2).saturating_sub(before);
            from..(place * 2 + 3).saturating_sub(before).min(side)
        };
        for (at, most) in y.chunks_exact_mut(channels).enumerate() {
            let (picture, row, column) = (at / (high * wide), at / wide % high, at % wide);
            for down in window(row, height) {
                for right in window(column, width) {
                    let from = ((picture * height + down) * width + right) * channels;
                    let seen = &x[from..from + channels];
                    for (most, value) in most.iter_mut().zip(seen) {
                        *most = most.max(*value);
                    }
                }
            }
        }
        Ok((CpuStorage::F32(y), Shape::from((n, high, wide, channels))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apart, wave};
    use super::*;

    #[test]
    fn convolutions_are_those_of_the_library() {
        let x = wave(&[2, 9, 6, 3], 0.7);
        for (kernel, stride, padding) in [
            (1, 1, Padding::both(0)),
            (1, 2, Padding::both(0)),
            (3, 1, Padding::both(1)),
            (3, 2, Padding::both(1)),
            (7, 2, Padding::both(3)),
            (
                5,
                2,
                Padding {
                    before: 0,
                    after: 1,
                },
            ),
            (
                3,
                2,
                Padding {
                    before: 0,
                    after: 1,
                },
            ),
        ] {
            let weight = wave(&[4, 3, kernel, kernel], 0.3);
            let layer =
                Conv::new(&weight, &wave(&[4], 0.9), stride, padding, Activation::Relu).unwrap();
            let fused = layer.forward(&x, None).unwrap();
            let worst = apart(&fused, &layer.plain(&x, None).unwrap());
            assert!(worst < 1e-5, "{kernel} {stride} {padding:?}: {worst}");
            let add = wave(fused.dims(), 1.3);
            let fused = layer.forward(&x, Some(&add)).unwrap();
            assert!(apart(&fused, &layer.plain(&x, Some(&add)).unwrap()) < 1e-5);
        }
    }

    #[test]
    fn a_picture_of_many_tiles_is_that_of_one() {
        let x = wave(&[1, 40, 50, 16], 0.7);
        let weight = wave(&[3, 16, 3, 3], 0.3);
        let layer = Conv::new(
            &weight,
            &wave(&[3], 0.9),
            1,
            Padding::both(1),
            Activation::None,
        )
        .unwrap();
        let plain = layer.plain(&x, None).unwrap();
        assert!(apart(&layer.forward(&x, None).unwrap(), &plain) < 1e-4);
    }

    #[test]
    fn pools_are_those_of_the_library() {
        let x = wave(&[2, 7, 8, 3], 0.7).relu().unwrap();
        for padding in [
            Padding::both(1),
            Padding {
                before: 0,
                after: 1,
            },
        ] {
            let fused = max_pool(&x, padding).unwrap();
            let Padding { before, after } = padding;
            let wide = x.permute((0, 3, 1, 2)).unwrap();
            let wide = wide.pad_with_zeros(2, before, after).unwrap();
            let wide = wide.pad_with_zeros(3, before, after).unwrap();
            let plain = wide.max_pool2d_with_stride(3, 2).unwrap();
            let plain = plain.permute((0, 2, 3, 1)).unwrap();
            assert_eq!(apart(&fused, &plain.contiguous().unwrap()), 0.0);
        }
    }
}
