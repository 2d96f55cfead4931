//! Many resamples of many clusters at once.
//!
//! Each cluster counts a Poisson(1) number of times in each resample, independently of all others
//! (the Poisson bootstrap, Chamandy et al. 2012). Against drawing a fixed number of clusters nothing
//! has to be looked up at random, so that tens of millions of rows go through once. The numbers differ
//! in the number of clusters per resample, which estimates that are ratios of sums do not see.

use rayon::prelude::*;

use crate::Bootstrap;

/// Clusters whose sums are kept in the cache while resamples go over them.
const TILE: usize = 512;
/// Resamples that go over a tile together.
const TOGETHER: usize = 16;

/// P(X ≤ k) of a Poisson variable of mean 1, in units of 2^-32, less one; past the last the tail is
/// below five such units.
const CUMULATIVE: [u32; 12] = [
    1_580_030_168,
    3_160_060_336,
    3_950_075_421,
    4_213_413_782,
    4_279_248_373,
    4_292_415_291,
    4_294_609_777,
    4_294_923_275,
    4_294_962_462,
    4_294_966_816,
    4_294_967_252,
    4_294_967_291,
];

/// Sums of `width` columns over the clusters of each resample, as often as each counts there:
/// `[draws × width]`. `columns` is `[clusters × width]`.
pub(crate) fn totals(bootstrap: &Bootstrap, columns: &[f64], width: usize) -> Vec<f64> {
    let seed = bootstrap.seed.derive("poisson bootstrap");
    let mut totals = vec![0.0; bootstrap.draws * width];
    totals
        .par_chunks_mut(TOGETHER * width)
        .enumerate()
        .for_each(|(batch, totals)| {
            let mut bits = [0_u32; TILE];
            let mut counts = [0_u32; TILE];
            for (tile, clusters) in columns.chunks(TILE * width).enumerate() {
                for (draw, totals) in totals.chunks_exact_mut(width).enumerate() {
                    let draw = seed.index((batch * TOGETHER + draw) as u64);
                    // Two clusters share one random number.
                    let first = (tile * TILE / 2) as u64;
                    for (pair, bits) in (first..).zip(bits.chunks_exact_mut(2)) {
                        let number = draw.index(pair).0;
                        bits[0] = number as u32;
                        bits[1] = (number >> 32) as u32;
                    }
                    poisson(&bits, &mut counts);
                    for (cluster, count) in clusters.chunks_exact(width).zip(&counts) {
                        if *count > 0 {
                            let count = f64::from(*count);
                            for (total, value) in totals.iter_mut().zip(cluster) {
                                *total += count * value;
                            }
                        }
                    }
                }
            }
        });
    totals
}

/// A Poisson variable of mean 1 from 32 even bits each. One limit after the other over all of them, which
/// the compiler makes wide operations of.
fn poisson(bits: &[u32; TILE], counts: &mut [u32; TILE]) {
    counts.fill(0);
    for limit in CUMULATIVE {
        for (count, bits) in counts.iter_mut().zip(bits) {
            *count += u32::from(*bits > limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::Seed;

    #[test]
    fn limits_are_those_of_the_poisson_law() {
        let mut term = (-1.0_f64).exp();
        let mut sum = term;
        for (k, limit) in CUMULATIVE.iter().enumerate() {
            let expected = sum * 2.0_f64.powi(32) - 1.0;
            assert!(
                (f64::from(*limit) - expected).abs() <= 1.0,
                "{k} {limit} {expected}"
            );
            term /= (k + 1) as f64;
            sum += term;
        }
    }

    #[test]
    fn counts_have_mean_and_variance_1() {
        let bootstrap = Bootstrap {
            draws: 200,
            ..Bootstrap::default()
        };
        // One column per cluster would be large: the sum over clusters has mean and variance 700.
        let clusters = 700;
        let sums = totals(&bootstrap, &vec![1.0; clusters], 1);
        let mean = sums.iter().sum::<f64>() / 200.0;
        let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 199.0;
        // Standard errors: sqrt(700 / 200) = 1.9, and 700 · sqrt(2 / 199) = 70.
        assert!((mean - 700.0).abs() < 7.6, "{mean}");
        assert!((variance - 700.0).abs() < 280.0, "{variance}");
    }

    #[test]
    fn tiles_and_threads_do_not_show() {
        let bootstrap = Bootstrap {
            draws: 40,
            seed: Seed(9),
            level: 0.95,
        };
        let columns: Vec<f64> = (0..3 * 1300).map(|i| f64::from(i % 7)).collect();
        let together = totals(&bootstrap, &columns, 3);
        let seed = bootstrap.seed.derive("poisson bootstrap");
        let mut plain = vec![0.0; 3];
        for cluster in 0..1300 {
            let bits = seed.index(33).index(cluster / 2).0 >> (32 * (cluster % 2));
            let mut counts = [0; TILE];
            poisson(&[bits as u32; TILE], &mut counts);
            let count = f64::from(counts[0]);
            for (sum, value) in plain.iter_mut().zip(&columns[3 * cluster as usize..]) {
                *sum += count * value;
            }
        }
        assert_eq!(together[33 * 3..34 * 3], plain);
    }
}
