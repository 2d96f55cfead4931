//! The layers encoders are made of: each one pass on the processor, and put together from the library's
//! operations on cards. Tests hold the two to each other.
//!
//! Rows of texts stand one after the other without padding, and pictures lie as
//! `[pictures, height, width, channels]`, so that a layer over either is one matrix product.

mod attention;
mod conv;
mod norm;

pub(crate) use attention::{Texts, attend};
pub(crate) use conv::{Conv, Padding, max_pool};
pub(crate) use norm::Norm;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use slate_kernels::{Start, View, gelu, product, vectorised};

/// What follows a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    /// The exact one, of the normal distribution.
    Gelu,
}

impl Activation {
    fn apply(self, values: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || match self {
                Self::None => {}
                Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
                Self::Gelu => values.iter_mut().for_each(|value| *value = gelu(*value)),
            },
        );
    }

    fn plain(self, x: Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(x),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
        }
    }
}

/// Whether a tensor is where the fused operations are.
fn is_fused(x: &Tensor) -> bool {
    x.device().is_cpu()
}

/// The numbers of a tensor whose rows stand one after the other.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => Ok(&values[from..to]),
        _ => bail!("expected a contiguous tensor of f32"),
    }
}

/// A linear layer: `[inputs, outputs]` weights and a bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// From weights as PyTorch has them, `[outputs, inputs]`, several of them side by side.
    pub(crate) fn of_rows(parts: &[(Tensor, Tensor)]) -> Result<Self> {
        let weights = parts.iter().map(|(weight, _)| weight.t()?.contiguous());
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let biases: Vec<&Tensor> = parts.iter().map(|(_, bias)| bias).collect();
        Ok(Self {
            weight: Tensor::cat(&weights, 1)?.contiguous()?,
            bias: Tensor::cat(&biases, 0)?,
        })
    }

    pub(crate) fn to_device(&self, device: &candle_core::Device) -> Result<Self> {
        Ok(Self {
            weight: self.weight.to_device(device)?,
            bias: self.bias.to_device(device)?,
        })
    }

    /// # Shapes
    /// - x: `[rows, inputs]`, output: `[rows, outputs]`
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        if is_fused(x) {
            let affine = Affine { activation };
            x.contiguous()?
                .apply_op3_no_bwd(&self.weight, &self.bias, &affine)
        } else {
            self.plain(x, activation)
        }
    }

    fn plain(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        activation.plain(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

/// `act(x w + b)`.
struct Affine {
    activation: Activation,
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (_, outputs) = w_layout.shape().dims2()?;
        let bias = values(b, b_layout)?;
        let x = View::new(values(x, x_layout)?, rows, inputs);
        let w = View::new(values(w, w_layout)?, inputs, outputs);
        let mut y = product(Start::Row(bias), x, w);
        self.activation.apply(&mut y);
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Numbers that look random, of a shape.
    pub(super) fn wave(shape: &[usize], rate: f32) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|at| (at as f32 * rate).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// The largest difference.
    pub(super) fn apart(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let worst = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        worst.max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn linear_layers_are_those_of_the_library() {
        let parts = [
            (wave(&[5, 7], 0.7), wave(&[5], 0.3)),
            (wave(&[4, 7], 0.9), wave(&[4], 1.3)),
        ];
        let layer = Linear::of_rows(&parts).unwrap();
        let x = wave(&[6, 7], 1.1);
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            let fused = layer.forward(&x, activation).unwrap();
            assert_eq!(fused.dims(), [6, 9]);
            assert!(apart(&fused, &layer.plain(&x, activation).unwrap()) < 1e-6);
        }
    }
}
