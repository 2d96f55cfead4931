//! Fisher's randomisation test for paired differences: would chance alone do this?
//!
//! Under the null hypothesis each list's difference could as well have had the other sign. The p
//! value is the share of sign patterns whose sum is at least as far from 0 as the observed one
//! (two-sided; Smucker et al. 2007).
//!
//! ```
//! use slate_types::Seed;
//!
//! // Only ++++ and ---- of the 16 patterns are as extreme.
//! let p = slate_eval::sign_flip(&[0.1, 0.2, 0.3, 0.4], 10_000, Seed(0))?;
//! assert_eq!(p, 2.0 / 16.0);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use rayon::prelude::*;
use slate_types::Seed;

use crate::{EvalError, check};

/// Up to so many differences all patterns are tried.
const EXACT: usize = 16;

/// Computes the two-sided p value, in `(0, 1]`.
///
/// Zero differences change nothing and are left out. With at most 16 others the value is exact;
/// with more, `flips` random patterns are drawn and p is (1 + as extreme) ÷ (1 + `flips`), which
/// is never 0. No difference at all gives 1.
///
/// # Errors
/// [`EvalError::NotFinite`] for a difference that is NaN or infinite.
pub fn sign_flip(differences: &[f64], flips: usize, seed: Seed) -> Result<f64, EvalError> {
    check::finite("differences", differences)?;
    let moved: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let size: f64 = moved.iter().map(|d| d.abs()).sum();
    // Patterns equal to the observed one but for rounding are as extreme.
    let observed = moved.iter().sum::<f64>().abs() - 1e-12 * size;
    if moved.len() <= EXACT {
        let patterns = 1_u64 << moved.len();
        let extreme = (0..patterns)
            .filter(|bits| flipped(&moved, *bits) >= observed)
            .count();
        return Ok(extreme as f64 / patterns as f64);
    }
    let seed = seed.derive("sign-flip");
    let mut sums = vec![0.0; flips];
    for (part, differences) in (0..).zip(moved.chunks(PART)) {
        let table = Table::new(differences);
        sums.par_chunks_mut(TOGETHER)
            .enumerate()
            .for_each(|(batch, sums)| {
                let seeds: Vec<Seed> = (0..sums.len())
                    .map(|at| seed.index((batch * TOGETHER + at) as u64))
                    .collect();
                table.add(part * (PART / BLOCK) as u64, &seeds, sums);
            });
    }
    let extreme = sums.iter().filter(|sum| sum.abs() >= observed).count();
    Ok((1 + extreme) as f64 / (1 + flips) as f64)
}

/// Signs that one random number gives.
const BLOCK: usize = 64;
/// Differences whose sums under all patterns of signs are looked up.
const GROUP: usize = 4;
/// Differences with a table at a time: it should stay in the processor's cache.
const PART: usize = 1 << 13;
/// Patterns summed side by side, so that no addition waits for the one before.
const TOGETHER: usize = 16;

/// The sum of each group of differences under each pattern of their signs: four additions become
/// one.
struct Table {
    groups: Vec<[f64; 1 << GROUP]>,
}

impl Table {
    fn new(differences: &[f64]) -> Self {
        let group = |group: &[f64]| std::array::from_fn(|bits| signed_sum(group, bits as u64));
        Self {
            groups: differences.chunks(GROUP).map(group).collect(),
        }
    }

    /// Adds the sum under the pattern of each seed; `block` numbers the first block of signs.
    fn add(&self, block: u64, seeds: &[Seed], sums: &mut [f64]) {
        let mut bits = [0; TOGETHER];
        for (block, groups) in (block..).zip(self.groups.chunks(BLOCK / GROUP)) {
            for (bits, seed) in bits.iter_mut().zip(seeds) {
                *bits = seed.index(block).0;
            }
            for group in groups {
                for (sum, bits) in sums.iter_mut().zip(&mut bits) {
                    *sum += group[(*bits % (1 << GROUP)) as usize];
                    *bits >>= GROUP;
                }
            }
        }
    }
}

/// |sum| with the sign of the i-th difference flipped where bit i is set.
fn flipped(differences: &[f64], bits: u64) -> f64 {
    signed_sum(differences, bits).abs()
}

/// At most 64 differences.
fn signed_sum(differences: &[f64], bits: u64) -> f64 {
    differences
        .iter()
        .enumerate()
        .map(|(i, d)| f64::from_bits(d.to_bits() ^ (bits >> i & 1) << 63))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_test.py`: all 2^n patterns in NumPy, n = 8, 12, 16.
    #[test]
    fn equals_the_exact_golden_values() {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/tests.json")).unwrap();
        let cases = golden["paired"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let a: Vec<f64> = serde_json::from_value(case["a"].clone()).unwrap();
            let b: Vec<f64> = serde_json::from_value(case["b"].clone()).unwrap();
            let d: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            let expected = case["randomization_exact_two_sided"].as_f64().unwrap();
            let p = sign_flip(&d, 10, Seed(1)).unwrap();
            assert!((p - expected).abs() < 1e-9, "{p} {expected}");
        }
    }

    #[test]
    fn sampling_comes_near_the_normal_value() {
        // 100 differences of ±1 with sum 20: P(|sum| >= 20) = 0.0569 (binomial, exact).
        let d: Vec<f64> = (0..100).map(|i| if i < 60 { 1.0 } else { -1.0 }).collect();
        let p = sign_flip(&d, 20_000, Seed(3)).unwrap();
        assert!((p - 0.0569).abs() < 0.006, "{p}");
        assert_eq!(p, sign_flip(&d, 20_000, Seed(3)).unwrap());
    }

    #[test]
    fn tables_give_the_signed_sums() {
        let seed = Seed(9);
        let differences: Vec<f64> = (0..20_003).map(|i| seed.index(i).unit() - 0.5).collect();
        let seeds: Vec<Seed> = (0..5).map(|i| seed.derive("signs").index(i)).collect();
        let mut sums = vec![0.0; 5];
        for (part, differences) in (0..).zip(differences.chunks(PART)) {
            Table::new(differences).add(part * (PART / BLOCK) as u64, &seeds, &mut sums);
        }
        for (sum, seed) in sums.iter().zip(seeds) {
            let blocks = differences.chunks(BLOCK).zip(0..);
            let plain: f64 = blocks
                .map(|(chunk, block)| signed_sum(chunk, seed.index(block).0))
                .sum();
            assert!((sum - plain).abs() < 1e-9, "{sum} {plain}");
        }
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert_eq!(sign_flip(&[0.0; 40], 100, Seed(0)), Ok(1.0));
        assert_eq!(sign_flip(&[], 100, Seed(0)), Ok(1.0));
        assert!(sign_flip(&[f64::NAN], 100, Seed(0)).is_err());
    }
}
