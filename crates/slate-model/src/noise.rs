//! Dropout from a stream of our own.
//!
//! Burn draws dropout masks from one generator shared by all threads, so they depend on which
//! thread came first. Here every shard of every step has its own stream, and the masks depend on
//! the seed alone.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slate_types::Seed;

/// Dropout in training, nothing in inference.
pub(crate) struct Noise {
    /// None in inference.
    stream: Option<ChaCha8Rng>,
    /// A value is dropped where a random `u16` is below this.
    threshold: u16,
    device: Device,
}

impl Noise {
    /// No noise: what inference uses.
    pub(crate) fn none(device: &Device) -> Self {
        Self {
            stream: None,
            threshold: 0,
            device: device.clone(),
        }
    }

    /// Dropout with probability `rate`, rounded to a multiple of 2⁻¹⁶.
    pub(crate) fn dropout(rate: f64, seed: Seed, device: &Device) -> Self {
        Self {
            stream: Some(ChaCha8Rng::seed_from_u64(seed.0)),
            threshold: threshold(rate),
            device: device.clone(),
        }
    }

    /// The device its masks and inputs are on.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Sets values to zero at random and scales the others up, so that the mean stays.
    pub(crate) fn apply<const D: usize>(&mut self, input: Tensor<D>) -> Tensor<D> {
        let factors = self.factors(input.dims().iter().product());
        self.multiplied(input, factors)
    }

    /// What [`apply`](Self::apply) multiplies so many numbers by; none where it changes nothing.
    pub(crate) fn factors(&mut self, count: usize) -> Option<Vec<f32>> {
        let scale = 65_536.0 / (65_536.0 - f32::from(self.threshold));
        self.drawn(self.threshold, scale, count)
    }

    /// Sets values to zero at random, each with probability `rate`, and leaves the others.
    pub(crate) fn keep<const D: usize>(&mut self, rate: f64, input: Tensor<D>) -> Tensor<D> {
        let factors = self.drawn(threshold(rate), 1.0, input.dims().iter().product());
        self.multiplied(input, factors)
    }

    fn drawn(&mut self, threshold: u16, scale: f32, count: usize) -> Option<Vec<f32>> {
        let stream = self.stream.as_mut().filter(|_| threshold > 0)?;
        let mut bytes = vec![0_u8; 2 * count];
        stream.fill_bytes(&mut bytes);
        let pairs = bytes.chunks_exact(2);
        let kept = pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]]) >= threshold);
        Some(kept.map(|kept| if kept { scale } else { 0.0 }).collect())
    }

    fn multiplied<const D: usize>(&self, input: Tensor<D>, factors: Option<Vec<f32>>) -> Tensor<D> {
        let Some(factors) = factors else { return input };
        let factors = TensorData::new(factors, input.dims());
        input * Tensor::from_data(factors, &self.device)
    }
}

/// What a random `u16` has to reach with probability `1 - rate`.
fn threshold(rate: f64) -> u16 {
    (rate * 65_536.0).round().clamp(0.0, 65_535.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(noise: &mut Noise) -> Vec<f32> {
        let ones = Tensor::<2>::ones([100, 100], &Device::flex());
        noise.apply(ones).try_into_vec_as().unwrap()
    }

    #[test]
    fn the_mean_stays_and_the_stream_depends_on_the_seed() {
        let device = Device::flex();
        let first = masked(&mut Noise::dropout(0.25, Seed(1), &device));
        let dropped = first.iter().filter(|&&value| value == 0.0).count();
        // 10,000 draws with probability 1/4: the standard deviation is 43.
        assert!((2_300..2_700).contains(&dropped), "{dropped} of 10000");
        assert!(
            first
                .iter()
                .all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6)
        );
        assert_eq!(first, masked(&mut Noise::dropout(0.25, Seed(1), &device)));
        assert_ne!(first, masked(&mut Noise::dropout(0.25, Seed(2), &device)));
    }

    #[test]
    fn inference_and_rate_zero_change_nothing() {
        let device = Device::flex();
        assert_eq!(masked(&mut Noise::none(&device)), vec![1.0; 10_000]);
        assert_eq!(
            masked(&mut Noise::dropout(0.0, Seed(1), &device)),
            vec![1.0; 10_000]
        );
        let ones = Tensor::<2>::ones([100, 100], &device);
        let kept = |noise: &mut Noise| -> Vec<f32> {
            noise.keep(0.5, ones.clone()).try_into_vec_as().unwrap()
        };
        assert_eq!(kept(&mut Noise::none(&device)), vec![1.0; 10_000]);
        let half = kept(&mut Noise::dropout(0.0, Seed(1), &device));
        assert!(half.iter().all(|value| [0.0, 1.0].contains(value)));
        assert!((4_800.0..5_200.0).contains(&half.iter().sum::<f32>()));
    }
}
