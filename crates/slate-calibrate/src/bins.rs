//! Quantile bins of scores: what the industrial fits read, and what a person can look at.
//!
//! Input: rows as for every fit. Output: bins of nearly equal row counts by rising score, which
//! never split equal scores.
//!
//! ```
//! let bins = slate_calibrate::bins::quantile(&[4.0, 1.0, 2.0, 3.0], &[1.0, 0.0, 0.0, 0.0], None, 2)?;
//! assert_eq!((bins[1].mean_score, bins[1].rate, bins[1].weight), (3.5, 0.5, 2.0));
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::examples::{Examples, Labels};

/// Rows with neighbouring scores, summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lowest score.
    pub lowest: f64,
    /// Weighted mean of the scores.
    pub mean_score: f64,
    /// Weighted mean of the labels, from 0 to 1.
    pub rate: f64,
    /// Sum of the weights, positive.
    pub weight: f64,
    /// Number of rows with weight above 0.
    pub rows: usize,
}

/// Makes at most `count` bins.
///
/// Without ties the first `rows % count` bins have one row more than the others. A cut inside a
/// run of equal scores moves to the nearer end of the run (the later one when both are as near), so
/// ties may leave fewer bins.
///
/// # Errors
/// As [`crate::isotonic::fit`]; [`FitError::NoBins`].
pub fn quantile(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
    count: usize,
) -> Result<Vec<Bin>, FitError> {
    if count == 0 {
        return Err(FitError::NoBins);
    }
    let examples = Examples::new(scores, labels, weights, Labels::Share)?;
    let mut order: Vec<usize> = (0..examples.scores.len()).collect();
    order.sort_by(|&a, &b| examples.scores[a].total_cmp(&examples.scores[b]));
    let score = |place: usize| examples.scores[order[place]];
    let n = order.len();
    let mut bins = Vec::with_capacity(count.min(n));
    let mut start = 0;
    for bin in 1..=count {
        let cut = bin * (n / count) + bin.min(n % count);
        let end = if cut == 0 || cut >= n || score(cut - 1) < score(cut) {
            cut.min(n)
        } else {
            let tied = score(cut);
            let first = order.partition_point(|&row| examples.scores[row] < tied);
            let after = order.partition_point(|&row| examples.scores[row] <= tied);
            if cut - first < after - cut {
                first
            } else {
                after
            }
        };
        if end <= start {
            continue;
        }
        let (mut weight, mut score, mut label) = (0.0, 0.0, 0.0);
        for &row in &order[start..end] {
            weight += examples.weight(row);
            score += examples.weight(row) * examples.scores[row];
            label += examples.weight(row) * examples.labels[row];
        }
        let (lowest, highest) = (
            examples.scores[order[start]],
            examples.scores[order[end - 1]],
        );
        bins.push(Bin {
            lowest,
            mean_score: (score / weight).clamp(lowest, highest),
            rate: (label / weight).min(1.0),
            weight,
            rows: end - start,
        });
        start = end;
    }
    Ok(bins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_not_split_and_weights_count() {
        let scores = [2.0, 1.0, 2.0, 2.0, 3.0];
        let labels = [1.0, 0.0, 0.0, 1.0, 1.0];
        let bins = quantile(&scores, &labels, Some(&[2.0, 1.0, 1.0, 1.0, 1.0]), 3).unwrap();
        let parts: Vec<_> = bins
            .iter()
            .map(|b| (b.mean_score, b.rate, b.weight, b.rows))
            .collect();
        assert_eq!(
            parts,
            [(1.0, 0.0, 1.0, 1), (2.0, 0.75, 4.0, 3), (3.0, 1.0, 1.0, 1)]
        );
        assert_eq!(quantile(&scores, &labels, None, 0), Err(FitError::NoBins));
    }
}
