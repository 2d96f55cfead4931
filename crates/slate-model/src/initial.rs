//! Initial weights, each from a stream named after its parameter.
//!
//! Burn initialises from one generator shared by all threads; here the weights depend on the seed
//! and the parameter's name alone, so a network with one more input starts from the same weights
//! elsewhere.

use burn::module::Param;
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slate_types::Seed;

use crate::tables::TableSize;

/// Makes layers with seeded weights on one device.
pub(crate) struct Initial<'a> {
    pub(crate) seed: Seed,
    pub(crate) device: &'a Device,
}

impl Initial<'_> {
    /// A linear layer; weights and bias uniform in `±1/√inputs`, the rule of `torch.nn.Linear`.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Linear {
        self.bounded(name, inputs, outputs, inputs)
    }

    /// A linear layer; weights and bias uniform in `±1/√fan`. `torch.nn.GRU` takes its width.
    pub(crate) fn bounded(&self, name: &str, inputs: usize, outputs: usize, fan: usize) -> Linear {
        let bound = 1.0 / (fan as f32).sqrt();
        let weight = self.uniform(&format!("{name}.weight"), [inputs, outputs], bound, 0);
        let bias = self.uniform(&format!("{name}.bias"), [outputs], bound, 0);
        Linear {
            weight,
            bias: Some(bias),
        }
    }

    /// A linear layer without a bias, its weights as those of [`linear`](Self::linear).
    pub(crate) fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Param<Tensor<2>> {
        let bound = 1.0 / (inputs as f32).sqrt();
        self.uniform(name, [inputs, outputs], bound, 0)
    }

    /// An embedding table, uniform in ±0.1. Id 0, the unknown, starts at zero: until it is
    /// trained it says nothing.
    pub(crate) fn embedding(&self, name: &str, ids: usize, width: usize) -> Embedding {
        Embedding {
            weight: self.uniform(&format!("{name}.weight"), [ids, width], 0.1, width),
        }
    }

    /// A table for each size, `name.0`, `name.1`, ….
    pub(crate) fn embeddings(&self, name: &str, sizes: &[TableSize]) -> Vec<Embedding> {
        let table = |(at, size): (usize, &TableSize)| {
            self.embedding(&format!("{name}.{at}"), size.ids as usize, size.width)
        };
        sizes.iter().enumerate().map(table).collect()
    }

    /// An embedding table of zeros.
    pub(crate) fn zeros(&self, ids: usize, width: usize) -> Embedding {
        let zeros = TensorData::new(vec![0.0_f32; ids * width], [ids, width]);
        Embedding {
            weight: Param::from_data(zeros, self.device),
        }
    }

    /// Layer normalisation with scale 1 and shift 0.
    pub(crate) fn norm(&self, width: usize) -> LayerNorm {
        LayerNormConfig::new(width).init(self.device)
    }

    /// Uniform numbers in `±bound`, the first `zeros` of them zero.
    fn uniform<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        bound: f32,
        zeros: usize,
    ) -> Param<Tensor<D>> {
        let mut stream = ChaCha8Rng::seed_from_u64(self.seed.derive(name).0);
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|place| {
                // 24 random bits are what an f32 in [0, 1) holds.
                let unit = (stream.next_u32() >> 8) as f32 / 16_777_216.0;
                if place < zeros {
                    0.0
                } else {
                    (2.0 * unit - 1.0) * bound
                }
            })
            .collect();
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(seed: u64, name: &str) -> Vec<f32> {
        let device = Device::flex();
        let layer = Initial {
            seed: Seed(seed),
            device: &device,
        }
        .linear(name, 16, 8);
        layer.weight.val().try_into_vec_as().unwrap()
    }

    #[test]
    fn weights_depend_on_seed_and_name_and_keep_their_bound() {
        let first = weights(1, "a");
        assert_eq!(first, weights(1, "a"));
        assert_ne!(first, weights(1, "b"));
        assert_ne!(first, weights(2, "a"));
        assert!(first.iter().all(|weight| weight.abs() <= 0.25));
        assert!(first.iter().any(|weight| weight.abs() > 0.2));
    }

    #[test]
    fn the_unknown_id_starts_at_zero() {
        let device = Device::flex();
        let table = Initial {
            seed: Seed(1),
            device: &device,
        }
        .embedding("e", 3, 4);
        let values: Vec<f32> = table.weight.val().try_into_vec_as().unwrap();
        assert_eq!(&values[..4], [0.0; 4]);
        assert!(values[4..].iter().all(|value| *value != 0.0));
    }
}
