//! Calibration slope and intercept: the line that log-odds of the predictions must be bent by
//! (Cox 1958).
//!
//! Input: one probability, one label and, optionally, one weight per row. A logistic regression of
//! the label on the log-odds of the prediction has slope 1 and intercept 0 where predictions are
//! right; a slope below 1 says that they are too sure. With the slope held at 1 the intercept says
//! how far they are off as a whole (calibration in the large).
//!
//! ```
//! // One in four where one half was promised: the log-odds are off by ln 3.
//! let line = slate_eval::calibration_line(&[0.5; 4], &[1, 0, 0, 0], None)?;
//! assert!((line.in_the_large + 3.0_f64.ln()).abs() < 1e-9);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use crate::{EvalError, LOG_LOSS_CLIP, check};

/// What log-odds are bent by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationLine {
    /// Of the regression; NaN where all predictions are equal.
    pub slope: f64,
    /// Of the same regression; NaN where all predictions are equal.
    pub intercept: f64,
    /// The intercept with the slope held at 1.
    pub in_the_large: f64,
}

/// Fits both regressions. Probabilities are kept [`LOG_LOSS_CLIP`] away from 0 and 1.
///
/// # Errors
/// As [`crate::log_loss`]; [`EvalError::NothingToMeasure`] where only one class has weight.
pub fn calibration_line(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
) -> Result<CalibrationLine, EvalError> {
    check::probabilities(probabilities, probabilities.len())?;
    check::labels(labels, probabilities.len())?;
    check::weights(weights, probabilities.len())?;
    let clusters = vec![0; probabilities.len()];
    let value = |bend| {
        let fit = Fit::new(probabilities, labels, weights, &clusters, 1, bend);
        fit.map(|fit| fit.value)
    };
    match (
        value(Bend::InTheLarge),
        value(Bend::Slope),
        value(Bend::Intercept),
    ) {
        (Some(in_the_large), slope, intercept) => Ok(CalibrationLine {
            slope: slope.unwrap_or(f64::NAN),
            intercept: intercept.unwrap_or(f64::NAN),
            in_the_large,
        }),
        (None, ..) => Err(EvalError::NothingToMeasure {
            metric: "slope".to_owned(),
            why: WHY,
        }),
    }
}

/// Why there is no line.
pub(crate) const WHY: &str = "positives and negatives are both needed, and for a slope \
                              predictions that differ and that no value divides by label";

/// One number of the regressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bend {
    Slope,
    Intercept,
    InTheLarge,
}

/// A fitted number and what each cluster moves it by, to first order: the sandwich that intervals
/// of regressions over clusters are made of (Liang and Zeger 1986).
pub(crate) struct Fit {
    pub(crate) value: f64,
    pub(crate) influence: Vec<f64>,
}

impl Fit {
    /// None where it does not exist. Columns are checked.
    pub(crate) fn new(
        probabilities: &[f64],
        labels: &[u8],
        weights: Option<&[f64]>,
        cluster_of_row: &[u32],
        clusters: usize,
        bend: Bend,
    ) -> Option<Self> {
        let z: Vec<f64> = probabilities
            .iter()
            .map(|p| {
                let p = p.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
                p.ln() - (-p).ln_1p()
            })
            .collect();
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let free = bend != Bend::InTheLarge;
        // In units of their spread, so that squeezed predictions take no longer.
        let (middle, unit) = if free {
            spread(&z, weight)?
        } else {
            (0.0, 1.0)
        };
        let z: Vec<f64> = z.into_iter().map(|z| (z - middle) / unit).collect();
        let back = |a: f64, b: f64| match bend {
            Bend::Slope => b / unit,
            Bend::Intercept => a - b * middle / unit,
            Bend::InTheLarge => a,
        };
        let (mut a, mut b) = (0.0, 1.0);
        let mut last = f64::INFINITY;
        for _ in 0..100 {
            let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (row, z) in z.iter().enumerate() {
                let mean = logistic(a + b * z);
                let (w, gap) = (weight(row), mean - f64::from(labels[row]));
                let curve = w * mean * (1.0 - mean);
                ga += w * gap;
                gb += w * gap * z;
                haa += curve;
                hab += curve * z;
                hbb += curve * z * z;
            }
            let det = haa * hbb - hab * hab;
            let solvable = if free {
                det > 1e-12 * haa * hbb
            } else {
                haa > 0.0
            };
            if !solvable {
                return None;
            }
            let step = |ga: f64, gb: f64| {
                if free {
                    [(hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det]
                } else {
                    [ga / haa, 0.0]
                }
            };
            let [da, db] = step(ga, gb);
            let size = da.abs() + db.abs();
            if size < 1e-13 * (1.0 + a.abs() + b.abs()) || (size < 1e-9 && size >= last) {
                let mut influence = vec![0.0; clusters];
                for (row, z) in z.iter().enumerate() {
                    let gap = weight(row) * (f64::from(labels[row]) - logistic(a + b * z));
                    let [of_a, of_b] = step(gap, gap * z);
                    influence[cluster_of_row[row] as usize] += back(of_a, of_b);
                }
                let value = back(a, b);
                return Some(Self { value, influence });
            }
            last = size;
            // A long step may overshoot where the curve is flat.
            let share = (4.0 / size).min(1.0);
            a -= share * da;
            b -= share * db;
        }
        None
    }
}

/// Weighted mean and deviation; none where there is no deviation.
fn spread(z: &[f64], weight: impl Fn(usize) -> f64) -> Option<(f64, f64)> {
    let sum = |part: &dyn Fn(f64) -> f64| -> f64 {
        z.iter()
            .enumerate()
            .map(|(row, z)| weight(row) * part(*z))
            .sum()
    };
    let all = sum(&|_| 1.0);
    let mean = sum(&|z| z) / all;
    let deviation = (sum(&|z| (z - mean) * (z - mean)) / all).sqrt();
    (deviation > 1e-9 * (1.0 + mean.abs())).then_some((mean, deviation))
}

/// `1 ÷ (1 + exp(-x))` without overflow.
pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_cal.py`.
    #[test]
    fn equals_the_golden_lines() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/calibration_metrics.json")).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let p: Vec<f64> = serde_json::from_value(case["p"].clone()).unwrap();
            let y: Vec<u8> = serde_json::from_value(case["y"].clone()).unwrap();
            let line = calibration_line(&p, &y, None).unwrap();
            for (ours, key) in [
                (line.slope, "cal_slope"),
                (line.intercept, "cal_intercept_joint"),
                (line.in_the_large, "cal_in_the_large_offset_intercept"),
            ] {
                let expected = case["metrics"][key].as_f64().unwrap();
                assert!(
                    (ours - expected).abs() < 1e-8,
                    "{} {key} {ours}",
                    case["name"]
                );
            }
        }
    }

    #[test]
    fn one_class_and_equal_predictions_are_told() {
        assert!(calibration_line(&[0.2, 0.4], &[0, 0], None).is_err());
        let line = calibration_line(&[0.2, 0.2], &[0, 1], None).unwrap();
        assert!(line.slope.is_nan() && (line.in_the_large - 4.0_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn squeezed_predictions_have_a_steep_slope() {
        let seed = slate_types::Seed(11);
        let z: Vec<f64> = (0..4000)
            .map(|i| 2.0 * seed.index(i).unit() - 1.0)
            .collect();
        let p: Vec<f64> = z.iter().map(|z| logistic(-3.0 + 0.01 * z)).collect();
        let y: Vec<u8> = (0..)
            .zip(&z)
            .map(|(i, z)| u8::from(seed.derive("y").index(i).unit() < logistic(-3.0 + z)))
            .collect();
        let line = calibration_line(&p, &y, None).unwrap();
        assert!((70.0..130.0).contains(&line.slope), "{line:?}");
    }

    #[test]
    fn influences_are_what_leaving_a_cluster_out_changes() {
        let n = 400;
        let seed = slate_types::Seed(2);
        let p: Vec<f64> = (0..n).map(|i| 0.05 + 0.9 * seed.index(i).unit()).collect();
        let y: Vec<u8> = (0..n as usize)
            .map(|i| u8::from(seed.derive("y").index(i as u64).unit() < p[i] * 0.8))
            .collect();
        let clusters: Vec<u32> = (0..n as u32).map(|i| i / 4).collect();
        for bend in [Bend::Slope, Bend::Intercept, Bend::InTheLarge] {
            let all = Fit::new(&p, &y, None, &clusters, 100, bend).unwrap();
            assert!(all.influence.iter().sum::<f64>().abs() < 1e-8);
            for left_out in 0..100 {
                let w: Vec<f64> = clusters
                    .iter()
                    .map(|c| f64::from(u8::from(*c != left_out)))
                    .collect();
                let rest = Fit::new(&p, &y, Some(&w), &clusters, 100, bend).unwrap();
                let change = all.value - rest.value;
                let first_order = all.influence[left_out as usize];
                assert!((change - first_order).abs() < 0.1 * first_order.abs() + 0.002);
            }
        }
    }
}
