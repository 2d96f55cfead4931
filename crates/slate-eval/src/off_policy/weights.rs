//! What an estimate by propensities rests on.

use serde::Serialize;

use super::intervals::{standard_error, t_quantile};
use super::log::{Log, Target};
use super::tail::pareto_shape;
use crate::EvalError;

/// Bins of the histogram of weights: 0, then powers of 2 from 2^-6 up.
const BINS: usize = 20;
const FIRST_EDGE: i32 = -6;

/// The weights of one policy on one log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightReport {
    /// Placements that count.
    pub placements: u64,
    /// Those with a weight above 0: shown where the policy might have put them.
    pub matched: u64,
    /// Lists that have such a placement.
    pub matched_lists: u64,
    /// Lists.
    pub lists: u64,
    /// Mean weight. It is 1 in expectation where propensities are right and the logger could have
    /// shown all that the policy shows.
    pub mean: f64,
    /// Lower end of its interval: Student's t over clusters.
    pub mean_low: f64,
    /// Upper end.
    pub mean_high: f64,
    /// Placements that the weighted ones are worth, `(Σw)² ÷ Σw²` (Kish 1965).
    pub effective: f64,
    /// The largest weight.
    pub largest: f64,
    /// Its share of all weight.
    pub largest_share: f64,
    /// Shape of the law of the largest weights ([`pareto_shape`]): from 1/2 up they have no variance. None
    /// where there is no such tail.
    pub tail: Option<f64>,
    /// Placements that earned something, and were shown where the policy might have put them.
    pub rewarded: u64,
    /// What these are worth, `(Σw·r)² ÷ Σ(w·r)²`.
    pub rewarded_effective: f64,
    /// Lower edge of each bin of `histogram`: 0 is the bin of weights 0.
    pub edges: Vec<f64>,
    /// Placements in each bin.
    pub histogram: Vec<u64>,
}

/// Sums up the weights of a policy.
///
/// # Errors
/// Errors of the columns, [`EvalError::Level`].
pub fn report_weights(
    log: &Log<'_>,
    target: &Target<'_>,
    level: f64,
) -> Result<WeightReport, EvalError> {
    log.check()?;
    target.check(log)?;
    crate::check::level(level)?;
    let mut histogram = vec![0; BINS];
    let (mut weight, mut squares, mut largest) = (0.0, 0.0, 0.0_f64);
    let (mut earned, mut earned_squares) = (0.0_f64, 0.0_f64);
    let (mut placements, mut matched, mut rewarded) = (0_u64, 0_u64, 0_u64);
    let mut matched_lists = 0;
    let mut counted = Vec::with_capacity(target.weights.len());
    let mut of_cluster = vec![[0.0; 2]; log.cluster_count()];
    for (list, rows) in log.lists.iter().enumerate() {
        let mut any = false;
        let sums = &mut of_cluster[log.cluster(list)];
        for row in rows.filter(|&row| log.counts(row)) {
            let w = target.weights[row];
            placements += 1;
            sums[0] += w;
            sums[1] += 1.0;
            weight += w;
            squares += w * w;
            largest = largest.max(w);
            histogram[bin(w)] += 1;
            counted.push(w);
            if w > 0.0 {
                any = true;
                matched += 1;
                let worth = w * log.rewards[row];
                if worth != 0.0 {
                    rewarded += 1;
                    earned += worth.abs();
                    earned_squares += worth * worth;
                }
            }
        }
        matched_lists += u64::from(any);
    }
    if placements == 0 {
        return Err(EvalError::NoRows);
    }
    let mean = weight / placements as f64;
    let moved = |[w, n]: &[f64; 2]| (w - mean * n) / placements as f64;
    let influence: Vec<f64> = of_cluster.iter().map(moved).collect();
    let half = standard_error(&influence) * t_quantile(influence.len(), level);
    let effective = |sum: f64, squares: f64| {
        if squares > 0.0 {
            sum * sum / squares
        } else {
            0.0
        }
    };
    Ok(WeightReport {
        placements,
        matched,
        matched_lists,
        lists: log.lists.len() as u64,
        mean,
        mean_low: mean - half,
        mean_high: mean + half,
        effective: effective(weight, squares),
        largest,
        largest_share: if weight > 0.0 { largest / weight } else { 0.0 },
        tail: pareto_shape(&counted),
        rewarded,
        rewarded_effective: effective(earned, earned_squares),
        edges: (0..BINS).map(edge).collect(),
        histogram,
    })
}

/// Rewards that decide between two policies: what the rewarded placements that they weigh differently are
/// worth, `(Σ|d·r|)² ÷ Σ(d·r)²` with `d` the difference of the weights.
///
/// # Errors
/// Errors of the columns.
pub fn deciding_rewards(
    log: &Log<'_>,
    first: &Target<'_>,
    second: &Target<'_>,
) -> Result<f64, EvalError> {
    log.check()?;
    first.check(log)?;
    second.check(log)?;
    let (mut sum, mut squares) = (0.0, 0.0);
    for row in (0..log.rewards.len()).filter(|&row| log.counts(row)) {
        let worth = (second.weights[row] - first.weights[row]) * log.rewards[row];
        sum += worth.abs();
        squares += worth * worth;
    }
    Ok(if squares > 0.0 {
        sum * sum / squares
    } else {
        0.0
    })
}

fn bin(weight: f64) -> usize {
    if weight == 0.0 {
        return 0;
    }
    let power = weight.log2().floor() as i32 - FIRST_EDGE;
    1 + power.clamp(0, BINS as i32 - 2) as usize
}

fn edge(bin: usize) -> f64 {
    match bin {
        0 => 0.0,
        _ => 2.0_f64.powi(bin as i32 - 1 + FIRST_EDGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::ListOffsets;

    #[test]
    fn sums_are_those_of_a_small_log() {
        let lists = ListOffsets::from_lengths([2, 2]).unwrap();
        let log = Log::new(&lists, &[1.0, 0.0, 2.0, 1.0], &[0, 1, 0, 1]);
        let report = report_weights(&log, &Target::new(&[3.0, 0.0, 1.0, 0.0]), 0.95).unwrap();
        assert_eq!(
            (report.placements, report.matched, report.matched_lists),
            (4, 2, 2)
        );
        assert_eq!(
            (report.mean, report.largest, report.effective),
            (1.0, 3.0, 1.6)
        );
        assert_eq!(report.largest_share, 0.75);
        assert_eq!(report.rewarded, 2);
        // Worth 3 and 2: 25 / 13.
        assert!((report.rewarded_effective - 25.0 / 13.0).abs() < 1e-12);
        assert_eq!(report.histogram.iter().sum::<u64>(), 4);
        assert_eq!(report.histogram[0], 2);
        assert_eq!((report.edges[8], report.histogram[8]), (2.0, 1));
        // Means of 3/2 and 1/2 in two clusters: 1 ± t(1)·√(2·(.25² + .25²)).
        assert!((report.mean_high - 1.0 - 12.706_204_736 * 0.5).abs() < 1e-6);
    }

    #[test]
    fn rewards_decide_where_weights_differ() {
        let lists = ListOffsets::from_lengths([4]).unwrap();
        let log = Log::new(&lists, &[1.0, 1.0, 1.0, 0.0], &[0, 1, 2, 3]);
        let (a, b) = (
            Target::new(&[1.0, 1.0, 1.0, 5.0]),
            Target::new(&[1.0, 3.0, 0.0, 1.0]),
        );
        // Worth 2 and 1, whichever way: 9 / 5.
        assert_eq!(deciding_rewards(&log, &a, &b), Ok(1.8));
        assert_eq!(deciding_rewards(&log, &a, &a), Ok(0.0));
    }

    #[test]
    fn slots_below_the_top_do_not_count() {
        let lists = ListOffsets::from_lengths([2]).unwrap();
        let mut log = Log::new(&lists, &[1.0, 1.0], &[0, 1]);
        log.top = Some(1);
        let report = report_weights(&log, &Target::new(&[2.0, 50.0]), 0.95).unwrap();
        assert_eq!((report.placements, report.largest), (1, 2.0));
    }
}
