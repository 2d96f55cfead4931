//! Gradients of a step: summed over shards in their order, and clipped by their global norm.
//!
//! Burn clips each parameter by itself; `torch.nn.utils.clip_grad_norm_`, which configs mean,
//! scales all of them by one factor.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::weights::host;

/// Sums the shards' gradients, in order, and clips the sum to the norm `most` (0: not at all).
/// Also gives the norm before clipping.
pub(crate) fn combine<M: Module>(
    module: &M,
    shards: Vec<GradientsParams>,
    most: f64,
) -> (GradientsParams, f64) {
    let mut sum = Sum {
        shards,
        total: GradientsParams::new(),
        squares: 0.0,
    };
    module.visit(&mut sum);
    let norm = sum.squares.sqrt();
    let mut total = sum.total;
    if most > 0.0 && norm > most && norm.is_finite() {
        module.visit(&mut Scale {
            factor: (most / norm) as f32,
            total: &mut total,
        });
    }
    (total, norm)
}

struct Sum {
    shards: Vec<GradientsParams>,
    total: GradientsParams,
    squares: f64,
}

impl ModuleVisitor for Sum {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts = self
            .shards
            .iter_mut()
            .filter_map(|shard| shard.remove::<D>(param.id));
        if let Some(total) = parts.reduce(|sum, part| sum + part) {
            let values = host(total.clone());
            self.squares += values
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>();
            self.total.register(param.id, total);
        }
    }
}

struct Scale<'a> {
    factor: f32,
    total: &'a mut GradientsParams,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.total.remove::<D>(param.id) {
            self.total
                .register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};

    use super::*;

    /// Gradients of `factor · Σ output` for one row of ones: `factor` in every place.
    fn shard(layer: &Linear, factor: f32) -> GradientsParams {
        let device = Device::flex();
        let layer = layer.clone().fork(&device.autodiff());
        let output = layer.forward(Tensor::<2>::ones([1, 3], &Device::flex()));
        GradientsParams::from_grads(output.mul_scalar(factor).sum().backward(), &layer)
    }

    fn combined(most: f64) -> (Vec<f32>, f64) {
        let layer = LinearConfig::new(3, 1).init(&Device::flex().autodiff());
        let shards = vec![shard(&layer, 1.0), shard(&layer, 4.0)];
        let (total, norm) = combine(&layer, shards, most);
        let mut values = host(total.get::<2>(layer.weight.id).unwrap());
        let bias = layer.bias.as_ref().unwrap().id;
        values.extend(host(total.get::<1>(bias).unwrap()));
        (values, norm)
    }

    #[test]
    fn shards_add_up() {
        assert_eq!(combined(0.0), (vec![5.0; 4], 10.0));
    }

    #[test]
    fn one_factor_clips_all_parameters() {
        assert_eq!(combined(20.0), (vec![5.0; 4], 10.0));
        assert_eq!(combined(2.0), (vec![1.0; 4], 10.0));
    }
}
