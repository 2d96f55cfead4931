//! How far a number could be off by chance: resampling whole lists (Efron 1979).
//!
//! Rows of one list share a page, a user and a moment, so lists are drawn, not rows. Each draw has
//! a seed of its own and results are kept in draw order: the same seed gives the same interval at
//! any number of threads.

use rayon::prelude::*;
use slate_types::Seed;

use crate::{EvalError, check};

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Resamples; 0 means no intervals.
    pub draws: usize,
    /// Which resamples.
    pub seed: Seed,
    /// Share of intervals that should hold the truth, strictly between 0 and 1.
    pub level: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            draws: 1000,
            seed: Seed(0),
            level: 0.95,
        }
    }
}

impl Bootstrap {
    /// Refuses a level that is no probability.
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        check::level(self.level)
    }

    /// Calls `statistic` with how often each of `lists` lists, or clusters, was drawn, once per draw.
    pub(crate) fn run<T: Send>(
        &self,
        lists: usize,
        statistic: impl Fn(&[u32]) -> T + Sync,
    ) -> Vec<T> {
        let seed = self.seed.derive("bootstrap");
        (0..self.draws)
            .into_par_iter()
            .map_init(
                || vec![0_u32; lists],
                |counts, draw| {
                    counts.fill(0);
                    let draw = seed.index(draw as u64);
                    for i in 0..lists {
                        // A unit below 1 can round up to `lists` only past 2^53 lists.
                        counts[(draw.index(i as u64).unit() * lists as f64) as usize] += 1;
                    }
                    statistic(counts)
                },
            )
            .collect()
    }

    /// The middle `level` of `values`. `None` where fewer than half of the draws have a value: then
    /// the metric hangs on so few lists that an interval would be made up.
    pub(crate) fn middle(&self, mut values: Vec<f64>) -> Option<(f64, f64)> {
        if values.is_empty() || values.len() * 2 < self.draws {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Some((quantile(&values, tail), quantile(&values, 1.0 - tail)))
    }
}

/// Linear between order statistics (type 7 of Hyndman and Fan 1996).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_draw_has_as_many_lists_as_the_sample() {
        let bootstrap = Bootstrap {
            draws: 50,
            ..Bootstrap::default()
        };
        let draws = bootstrap.run(40, <[u32]>::to_vec);
        assert_eq!(draws.len(), 50);
        assert!(draws.iter().all(|counts| counts.iter().sum::<u32>() == 40));
        assert_ne!(draws[0], draws[1]);
        let mean = draws.iter().map(|counts| f64::from(counts[0])).sum::<f64>() / 50.0;
        assert!((mean - 1.0).abs() < 0.6, "list 0 is drawn {mean} times");
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0.1, 0.5, 0.9]) = [1.3, 3.0, 6.8]
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert!((quantile(&sorted, 0.1) - 1.3).abs() < 1e-12);
        assert!((quantile(&sorted, 0.5) - 3.0).abs() < 1e-12);
        assert!((quantile(&sorted, 0.9) - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
    }

    #[test]
    fn levels_outside_are_refused() {
        for level in [0.0, 1.0, 95.0, f64::NAN] {
            assert!(
                Bootstrap {
                    level,
                    ..Bootstrap::default()
                }
                .check()
                .is_err(),
                "{level}"
            );
        }
    }
}
