//! Seeds: every random choice takes one, and none is shared by two purposes.

use serde::{Deserialize, Serialize};

/// The start of a stream of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed for one purpose, unrelated to the seeds of other purposes.
    #[must_use]
    pub fn derive(self, purpose: &str) -> Self {
        // FNV-1a over the name, then mixed with the parent.
        let name = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        Self(mix(self.0 ^ mix(name)))
    }

    /// A seed for one member of a numbered family, for instance a chunk or an epoch.
    #[must_use]
    pub fn index(self, index: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(index ^ 0x9e37_79b9_7f4a_7c15))))
    }

    /// A number in `[0, 1)` that depends on this seed alone.
    pub fn unit(self) -> f64 {
        (mix(self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finaliser of `SplitMix64`: a bijection whose output bits each depend on all input bits (Steele, Lea
/// and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_indices_give_different_seeds() {
        let seed = Seed(7);
        assert_eq!(seed.derive("a"), seed.derive("a"));
        assert_ne!(seed.derive("a"), seed.derive("b"));
        assert_ne!(seed.index(0), seed.index(1));
        assert_ne!(Seed(7).index(1), Seed(8).index(0));
    }

    #[test]
    fn units_fill_the_interval_evenly() {
        let n = 10_000;
        let mean = (0..n).map(|i| Seed(1).index(i).unit()).sum::<f64>() / n as f64;
        // The standard error of the mean of uniform numbers is sqrt(1/12/n) = 0.0029.
        assert!((mean - 0.5).abs() < 0.012, "mean {mean}");
    }
}
