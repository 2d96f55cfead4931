//! Do events given probability p happen with rate p? The diagram's bins, and its gap as a number.
//!
//! Bins hold nearly equal numbers of rows and never split equal probabilities, because equal-width
//! bins put nearly all rows of a rare event into the first one, and because a cut through a tie
//! would make the number depend on row order.
//!
//! ```
//! let bins = slate_eval::reliability(&[0.1, 0.1, 0.6, 0.8], &[0, 0, 1, 0], 2)?;
//! assert_eq!((bins[1].mean_probability, bins[1].rate, bins[1].rows), (0.7, 0.5, 2));
//! assert!(bins[1].low < 0.5 && bins[1].high > 0.5);
//! let gap = slate_eval::ece_equal_mass(&[0.1, 0.1, 0.6, 0.8], &[0, 0, 1, 0], None, 2)?;
//! assert!((gap - 0.15).abs() < 1e-15);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::bins::equal_mass;
use crate::proper::why_nothing;
use crate::{EvalError, check};

/// Bins of the metric `ece`.
pub const ECE_BINS: usize = 15;

/// Normal quantile of a two-sided 95% interval.
const Z95: f64 = 1.959_963_984_540_054;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Mean probability of its rows.
    pub mean_probability: f64,
    /// Share of its rows with label 1.
    pub rate: f64,
    /// Lower end of the rate's 95% Wilson interval. Rows are taken as independent; rows of one
    /// list are not quite, so the truth is a little wider.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Rows in the bin.
    pub rows: u64,
}

/// Makes at most `bins` bins of nearly equal size, by rising probability; ties are never split, so
/// there may be fewer.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::Probability`] and
/// [`EvalError::Label`] for the columns; [`EvalError::NoBins`].
pub fn reliability(
    probabilities: &[f64],
    labels: &[u8],
    bins: usize,
) -> Result<Vec<Bin>, EvalError> {
    check::probabilities(probabilities, probabilities.len())?;
    check::labels(labels, probabilities.len())?;
    let (order, ranges) = cut(probabilities, bins)?;
    Ok(ranges
        .into_iter()
        .map(|range| {
            let rows = range.len() as f64;
            let members = &order[range];
            let sum: f64 = members.iter().map(|&row| probabilities[row]).sum();
            let positives = members.iter().filter(|&&row| labels[row] == 1).count() as f64;
            let (low, high) = wilson(positives, rows);
            Bin {
                mean_probability: sum / rows,
                rate: positives / rows,
                low,
                high,
                rows: members.len() as u64,
            }
        })
        .collect())
}

/// How the gaps of a diagram's bins become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The weighted mean of |rate - mean probability| over bins.
    Expected,
    /// The plain mean of |rate - mean probability| over bins.
    Adaptive,
    /// The weighted mean of the squared gaps, less what chance adds to each: `rate (1 - rate) /
    /// (rows - 1)` (Bröcker 2012). May be below 0.
    DebiasedSquare,
}

/// Computes the calibration error over at most `bins` bins of equal mass. Smaller is better.
///
/// The first two gaps are biased upwards by about the square root of bins ÷ rows even for perfect
/// probabilities; read them beside a proper score, never alone.
///
/// # Errors
/// As [`reliability`]; [`EvalError::Weight`]; [`EvalError::NothingToMeasure`] when all weights
/// are 0.
pub fn calibration_error(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
    bins: usize,
    gap: Gap,
) -> Result<f64, EvalError> {
    check::probabilities(probabilities, probabilities.len())?;
    check::labels(labels, probabilities.len())?;
    check::weights(weights, probabilities.len())?;
    let clusters = vec![0; probabilities.len()];
    let rows = BinnedRows::new(probabilities, labels, weights, &clusters, bins, gap)?;
    rows.value(|_| 1.0)
        .ok_or_else(|| EvalError::NothingToMeasure {
            metric: "ece".to_owned(),
            why: why_nothing("ece"),
        })
}

/// [`calibration_error`] with [`Gap::Expected`].
///
/// # Errors
/// As [`calibration_error`].
pub fn ece_equal_mass(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
    bins: usize,
) -> Result<f64, EvalError> {
    calibration_error(probabilities, labels, weights, bins, Gap::Expected)
}

/// Rows by rising probability, then row, and the bins as ranges of that order.
fn cut(
    probabilities: &[f64],
    bins: usize,
) -> Result<(Vec<usize>, Vec<std::ops::Range<usize>>), EvalError> {
    if bins == 0 {
        return Err(EvalError::NoBins);
    }
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let sorted: Vec<f64> = order.iter().map(|&row| probabilities[row]).collect();
    let ranges = equal_mass(&sorted, bins);
    Ok((order, ranges))
}

/// Wilson's score interval (1927), which behaves for rare events and empty counts.
fn wilson(positives: f64, rows: f64) -> (f64, f64) {
    let rate = positives / rows;
    let z2 = Z95 * Z95 / rows;
    let centre = (rate + z2 / 2.0) / (1.0 + z2);
    let half = (rate * (1.0 - rate) * z2 + z2 * z2 / 4.0).sqrt() / (1.0 + z2);
    // The ends are 0 and 1 exactly at the ends; rounding must not say otherwise.
    let low = if positives == 0.0 {
        0.0
    } else {
        (centre - half).max(0.0)
    };
    let high = if positives == rows {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    (low, high)
}

/// Rows with their bins. Bins are cut once: a resample of the lists only changes weights.
pub(crate) struct BinnedRows {
    /// Sums of each cluster's rows in each bin it has rows in.
    cells: Vec<Cell>,
    bins: usize,
    gap: Gap,
}

struct Cell {
    cluster: u32,
    bin: u32,
    weight: f64,
    /// Weight × label.
    positive: f64,
    /// Weight × (label - probability).
    gap: f64,
}

impl BinnedRows {
    /// `cluster_of_row` says which cluster each row belongs to. Columns are checked.
    pub(crate) fn new(
        probabilities: &[f64],
        labels: &[u8],
        weights: Option<&[f64]>,
        cluster_of_row: &[u32],
        bins: usize,
        gap: Gap,
    ) -> Result<Self, EvalError> {
        let (order, ranges) = cut(probabilities, bins)?;
        let bins = ranges.len();
        let mut bin_of_row = vec![0; probabilities.len()];
        for (bin, range) in (0..).zip(ranges) {
            for &row in &order[range] {
                bin_of_row[row] = bin;
            }
        }
        let mut cells: Vec<Cell> = (0..probabilities.len())
            .map(|row| {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                let label = f64::from(labels[row]);
                Cell {
                    cluster: cluster_of_row[row],
                    bin: bin_of_row[row],
                    weight,
                    positive: weight * label,
                    gap: weight * (label - probabilities[row]),
                }
            })
            .collect();
        // A stable sort, so that sums do not hang on anything but the order of the rows.
        cells.sort_by_key(|cell| (cell.cluster, cell.bin));
        cells.dedup_by(|next, cell| {
            let same = (next.cluster, next.bin) == (cell.cluster, cell.bin);
            if same {
                cell.weight += next.weight;
                cell.positive += next.positive;
                cell.gap += next.gap;
            }
            same
        });
        Ok(Self { cells, bins, gap })
    }

    /// The error with each row counted `count(its cluster)` times; `None` when nothing has weight.
    pub(crate) fn value(&self, count: impl Fn(usize) -> f64) -> Option<f64> {
        let mut sums = vec![[0.0; 3]; self.bins];
        for cell in &self.cells {
            let times = count(cell.cluster as usize);
            let sum = &mut sums[cell.bin as usize];
            sum[0] += times * cell.weight;
            sum[1] += times * cell.positive;
            sum[2] += times * cell.gap;
        }
        let total: f64 = sums.iter().map(|sum| sum[0]).sum();
        let filled = sums.iter().filter(|sum| sum[0] > 0.0);
        let error = match self.gap {
            Gap::Expected => sums.iter().map(|sum| sum[2].abs()).sum::<f64>() / total,
            Gap::Adaptive => {
                filled.clone().map(|sum| sum[2].abs() / sum[0]).sum::<f64>() / filled.count() as f64
            }
            Gap::DebiasedSquare => {
                let of_bin = |[weight, positive, gap]: &[f64; 3]| {
                    let (gap, rate) = (gap / weight, positive / weight);
                    let chance = rate * (1.0 - rate) / (weight - 1.0);
                    // A bin of one row says nothing of its own chance.
                    let chance = if *weight > 1.0 { chance } else { 0.0 };
                    weight * (gap * gap - chance)
                };
                filled.map(of_bin).sum::<f64>() / total
            }
        };
        (total > 0.0).then(|| error.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{brier, log_loss, normalised_entropy, pcoc};
    use serde_json::Value;

    /// From `tests/data/gold_cal.py` (scikit-learn 1.9.1). Its bins cut through ties, so the set
    /// `ties` is compared with the sum over our own diagram only.
    #[test]
    fn equals_the_golden_calibration_metrics() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/calibration_metrics.json")).unwrap();
        let mut checked = 0;
        for case in golden["cases"].as_array().unwrap() {
            let p: Vec<f64> = serde_json::from_value(case["p"].clone()).unwrap();
            let y: Vec<u8> = serde_json::from_value(case["y"].clone()).unwrap();
            let close = |name: &str, ours: f64| {
                let expected = case["metrics"][name].as_f64().unwrap();
                assert!(
                    (ours - expected).abs() < 1e-9,
                    "{} {name} {ours}",
                    case["name"]
                );
            };
            close("logloss", log_loss(&p, &y, None).unwrap());
            close("ne", normalised_entropy(&p, &y, None).unwrap());
            close("brier", brier(&p, &y, None).unwrap());
            close("pcoc_pred_over_obs", pcoc(&p, &y, None).unwrap());
            let ours = ece_equal_mass(&p, &y, None, 15).unwrap();
            if case["name"] != "ties" {
                close("ece_equal_mass15_l1", ours);
                let of = |gap| calibration_error(&p, &y, None, 15, gap).unwrap();
                close("ace15", of(Gap::Adaptive));
                close("ece2_equal_mass15_debiased_sq", of(Gap::DebiasedSquare));
                checked += 1;
            }
            // The diagram and the number tell the same story.
            let bins = reliability(&p, &y, 15).unwrap();
            let gap: f64 = bins
                .iter()
                .map(|bin| bin.rows as f64 * (bin.rate - bin.mean_probability).abs())
                .sum();
            assert!(
                (gap / p.len() as f64 - ours).abs() < 1e-12,
                "{}",
                case["name"]
            );
            assert_eq!(bins.iter().map(|bin| bin.rows).sum::<u64>(), p.len() as u64);
            assert!(
                bins.windows(2)
                    .all(|b| b[0].mean_probability < b[1].mean_probability)
            );
            assert!(
                bins.iter()
                    .all(|bin| bin.low <= bin.rate && bin.rate <= bin.high)
            );
        }
        assert_eq!(checked, 4);
    }

    #[test]
    fn row_order_does_not_matter_with_ties() {
        let p: Vec<f64> = (0..60).map(|i| f64::from(i % 4) / 4.0).collect();
        let y: Vec<u8> = (0..60).map(|i| u8::from(i % 7 == 0)).collect();
        let (rp, ry): (Vec<f64>, Vec<u8>) = p.iter().zip(&y).rev().unzip();
        let value = ece_equal_mass(&p, &y, None, 7).unwrap();
        assert!((value - ece_equal_mass(&rp, &ry, None, 7).unwrap()).abs() < 1e-15);
        assert_eq!(reliability(&p, &y, 7).unwrap().len(), 4);
    }

    #[test]
    fn wilson_at_the_ends() {
        // 0 of 10: high end is z²/(n + z²).
        let (low, high) = wilson(0.0, 10.0);
        assert_eq!(low, 0.0);
        assert!((high - 0.277_532_799).abs() < 1e-8, "{high}");
        assert_eq!(wilson(10.0, 10.0).1, 1.0);
        assert_eq!(reliability(&[0.5], &[1], 0), Err(EvalError::NoBins));
    }
}
