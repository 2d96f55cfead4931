//! Streams of random numbers: one for each purpose, so that a change of one leaves the others be.
//!
//! The generator is `SplitMix64` (Steele, Lea and Flood 2014): one addition and three
//! multiplications a number, no state to set up, so a stream of its own for every page costs
//! nothing. It gives the same numbers on every machine. It is good for simulation and useless for
//! secrets.

use std::convert::Infallible;

use rand::{RngExt, TryRng};
use rand_distr::StandardNormal;
use slate_types::Seed;

/// A source of random numbers.
pub(crate) struct Stream(SplitMix);

struct SplitMix(u64);

impl TryRng for SplitMix {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&number[..part.len()]);
        }
        Ok(())
    }
}

impl Stream {
    /// The stream of this seed.
    pub(crate) fn new(seed: Seed) -> Self {
        Self(SplitMix(seed.0))
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..n`; `n` is at least 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    /// Normal with mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// A vector of independent normals.
    pub(crate) fn normals<const N: usize>(&mut self) -> [f32; N] {
        std::array::from_fn(|_| self.normal() as f32)
    }

    /// Lomax (Pareto II) waiting time with this scale and tail, cut at `longest`: heavy-tailed and
    /// never beyond. A smaller `tail` makes long waits more common.
    pub(crate) fn wait(&mut self, scale: f64, tail: f64, longest: f64) -> f64 {
        let within = 1.0 - (1.0 + longest / scale).powf(-tail);
        let wait = scale * ((1.0 - self.unit() * within).powf(-1.0 / tail) - 1.0);
        wait.clamp(0.0, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_the_cut_lomax_law() {
        let mut stream = Stream::new(Seed(3));
        let (scale, tail, longest) = (2.0, 0.8, 100.0);
        let n = 20_000;
        let mut below_scale = 0;
        for _ in 0..n {
            let wait = stream.wait(scale, tail, longest);
            assert!((0.0..=longest).contains(&wait));
            below_scale += u32::from(wait <= scale);
        }
        let cdf = |x: f64| 1.0 - (1.0 + x / scale).powf(-tail);
        let expected = cdf(scale) / cdf(longest);
        let share = f64::from(below_scale) / f64::from(n);
        let error = (expected * (1.0 - expected) / f64::from(n)).sqrt();
        assert!(
            (share - expected).abs() < 4.0 * error,
            "{share} against {expected}"
        );
    }

    #[test]
    fn numbers_are_those_of_the_paper() {
        // The first outputs for seed 1234567, as listed with the reference program in C.
        let mut generator = SplitMix(1_234_567);
        let numbers: [u64; 3] = std::array::from_fn(|_| generator.try_next_u64().unwrap());
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn streams_repeat_and_differ_by_seed() {
        let draw = |seed| Stream::new(Seed(seed)).normals::<4>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
