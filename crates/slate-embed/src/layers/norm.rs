//! Layer normalisation of a sum.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use slate_kernels::{Moments, vectorised};

use super::{is_fused, values};

/// Layer normalisation: scales and shifts as `[2, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    gamma_beta: Tensor,
    epsilon: f64,
}

impl Norm {
    pub(crate) fn new(gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Self> {
        Ok(Self {
            gamma_beta: Tensor::stack(&[gamma, beta], 0)?,
            epsilon,
        })
    }

    pub(crate) fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            gamma_beta: self.gamma_beta.to_device(device)?,
            epsilon: self.epsilon,
        })
    }

    /// The sum of two, its rows normalised.
    ///
    /// # Shapes
    /// - x, y, output: `[rows, width]`
    pub(crate) fn of_sum(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        if is_fused(x) {
            let epsilon = self.epsilon as f32;
            x.contiguous()?
                .apply_op3_no_bwd(&y.contiguous()?, &self.gamma_beta, &OfSum { epsilon })
        } else {
            self.plain(x, y)
        }
    }

    fn plain(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let sum = (x + y)?;
        let centred = sum.broadcast_sub(&sum.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let normed = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        normed
            .broadcast_mul(&self.gamma_beta.get(0)?)?
            .broadcast_add(&self.gamma_beta.get(1)?)
    }
}

struct OfSum {
    epsilon: f32,
}

impl CustomOp3 for OfSum {
    fn name(&self) -> &'static str {
        "norm of a sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let (x, y) = (values(x, x_layout)?, values(y, y_layout)?);
        let (gamma, beta) = values(g, g_layout)?.split_at(width);
        let mut output: Vec<f32> = x.iter().zip(y).map(|(x, y)| x + y).collect();
        vectorised(
            #[inline(always)]
            || {
                for row in output.chunks_exact_mut(width) {
                    let Moments { mean, scale } = Moments::of(row, self.epsilon);
                    for ((value, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                        *value = (*value - mean) * scale * gamma + beta;
                    }
                }
            },
        );
        Ok((CpuStorage::F32(output), Shape::from((rows, width))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apart, wave};
    use super::*;

    #[test]
    fn norms_are_those_of_the_library() {
        let norm = Norm::new(&wave(&[12], 0.4), &wave(&[12], 0.8), 1e-5).unwrap();
        let (x, y) = (wave(&[5, 12], 0.7), wave(&[5, 12], 1.9));
        let fused = norm.of_sum(&x, &y).unwrap();
        assert!(apart(&fused, &norm.plain(&x, &y).unwrap()) < 1e-5);
    }
}
