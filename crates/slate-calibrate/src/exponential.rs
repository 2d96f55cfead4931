//! Exponential calibration: the log of the rate linear in the score, `p = min(1, exp(a s + b))`.
//!
//! Input: one score (finite), one label (0 or 1) and one weight per row. Output: slope and
//! intercept. [`fit`] maximises the Poisson likelihood with log link by damped Newton: convex, and
//! the fitted probabilities sum to the labels as long as none is cut at 1. (So was a power of the
//! prediction fitted in "Ad click prediction: a view from the trenches", 2013.) [`fit_binned`] is
//! the form often met in industry, a weighted line through the log rates of quantile bins; it must
//! drop bins without a positive, which bends it upwards in the low scores. It is here to be
//! compared with.
//!
//! Beyond the fitted scores the map grows until it is cut at 1: do not trust it far out. A promise of
//! 1 that is not kept costs a log loss all it can; the cut is part of the method and stays.
//!
//! ```
//! // Rates 1/4 and 3/4: the exponential through both triples per unit of score.
//! let scores = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
//! let labels = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0];
//! let map = slate_calibrate::exponential::fit(&scores, &labels, None)?;
//! assert!((map.apply(0.0) - 0.25).abs() < 1e-9);
//! assert!((map.slope - 3.0_f64.ln()).abs() < 1e-9);
//! assert_eq!(map.apply(9.0), 1.0);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::bins::Bin;
use crate::examples::{Examples, Labels};
use crate::newton::{Line, minimise};

/// `p = min(1, exp(slope * score + intercept))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    /// Finite, not negative.
    pub slope: f64,
    /// Finite.
    pub intercept: f64,
}

/// Fits slope and intercept by Poisson maximum likelihood. Where the best slope would be negative
/// it is 0, and every row gets the base rate.
///
/// # Errors
/// As [`crate::isotonic::fit`]; [`FitError::Label`] for labels other than 0 and 1;
/// [`FitError::NoFiniteFit`] when every positive has the highest score and not all rows have it.
pub fn fit(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
) -> Result<Exponential, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    let lowest = |label: Option<f64>| {
        let rows = examples.scores.iter().zip(&*examples.labels);
        rows.filter(|(_, y)| label.is_none_or(|label| label == **y))
            .map(|(score, _)| *score)
            .fold(f64::INFINITY, f64::min)
    };
    let highest = examples
        .scores
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    if lowest(Some(1.0)) == highest && lowest(None) < highest {
        return Err(FitError::NoFiniteFit { score: highest });
    }
    let base = (examples.positive / examples.weight).ln();
    let line = minimise(&examples.scores, base, |row, e| {
        let (weight, y, rate) = (examples.weight(row), examples.labels[row], e.exp());
        [weight * (rate - y * e), weight * (rate - y), weight * rate]
    });
    Ok(rising(line, base))
}

/// Fits the weighted least-squares line through the log rates of bins, each weighted by its
/// expected number of positives (the inverse of the log rate's variance, by the delta method).
/// Bins without a positive are dropped. A falling line becomes the mean log rate.
///
/// # Errors
/// [`FitError`] for bins as for the rows of [`crate::isotonic::fit`]; [`FitError::TooFewBins`]
/// when fewer than two bins have a positive.
pub fn fit_binned(bins: &[Bin]) -> Result<Exponential, FitError> {
    let scores: Vec<f64> = bins.iter().map(|bin| bin.mean_score).collect();
    let rates: Vec<f64> = bins.iter().map(|bin| bin.rate).collect();
    let weights: Vec<f64> = bins.iter().map(|bin| bin.weight).collect();
    let examples = Examples::new(&scores, &rates, Some(&weights), Labels::Share)?;
    // (score, log rate, weight)
    let points: Vec<[f64; 3]> = (0..examples.scores.len())
        .filter(|&bin| examples.labels[bin] > 0.0)
        .map(|bin| {
            let rate = examples.labels[bin];
            [examples.scores[bin], rate.ln(), examples.weight(bin) * rate]
        })
        .collect();
    if points.len() < 2 {
        return Err(FitError::TooFewBins { got: points.len() });
    }
    let total: f64 = points.iter().map(|point| point[2]).sum();
    let mean = |part: usize| points.iter().map(|p| p[2] * p[part]).sum::<f64>() / total;
    let (mean_score, mean_log) = (mean(0), mean(1));
    let (mut above, mut below) = (0.0, 0.0);
    for [score, log, weight] in points {
        above += weight * (score - mean_score) * (log - mean_log);
        below += weight * (score - mean_score) * (score - mean_score);
    }
    let slope = if below > 0.0 { above / below } else { 0.0 };
    Ok(rising(
        Line {
            slope,
            intercept: mean_log - slope * mean_score,
        },
        mean_log,
    ))
}

/// The line, or a flat one at `base` where it falls.
fn rising(line: Line, base: f64) -> Exponential {
    if line.slope > 0.0 {
        Exponential {
            slope: line.slope,
            intercept: line.intercept,
        }
    } else {
        Exponential {
            slope: 0.0,
            intercept: base,
        }
    }
}

impl Exponential {
    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        if self.slope == 0.0 {
            return self.intercept.exp().min(1.0);
        }
        (self.slope * score + self.intercept).exp().min(1.0)
    }

    /// The score with this probability; `None` for a flat map and outside (0, 1).
    pub fn invert(&self, probability: f64) -> Option<f64> {
        let inside = probability > 0.0 && probability < 1.0;
        (self.slope > 0.0 && inside).then(|| (probability.ln() - self.intercept) / self.slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bins::quantile;
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// From `tests/data/gold_platt.py`: a Newton-CG in Python, and weighted least squares on
    /// 20 bins; 4,000 rows each.
    #[test]
    fn equals_the_golden_fits() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/platt_exponential.json")).unwrap();
        let cases = golden["exponential"]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let (s, y) = (floats(&case["s"]), floats(&case["y"]));
            let close = |map: Exponential, key: &str, tolerance: f64| {
                let expected = floats(&case[key]);
                assert!((map.slope - expected[0]).abs() < tolerance, "{key} {map:?}");
                assert!(
                    (map.intercept - expected[1]).abs() < tolerance,
                    "{key} {map:?}"
                );
            };
            let map = fit(&s, &y, None).unwrap();
            close(map, "poisson_mle", 1e-6);
            let predicted: f64 = s
                .iter()
                .map(|s| (map.slope * s + map.intercept).exp())
                .sum();
            let observed: f64 = y.iter().sum();
            assert!(
                (predicted - observed).abs() < 1e-8 * observed,
                "{predicted} {observed}"
            );
            let bins = quantile(&s, &y, None, 20).unwrap();
            close(fit_binned(&bins).unwrap(), "binned20_wls_log", 1e-9);
        }
    }

    #[test]
    fn a_fit_without_end_is_refused() {
        let error = fit(&[0.0, 1.0, 2.0], &[0.0, 0.0, 1.0], None).unwrap_err();
        assert_eq!(error, FitError::NoFiniteFit { score: 2.0 });
        let flat = fit(&[1.0; 4], &[0.0, 0.0, 0.0, 1.0], None).unwrap();
        assert!(flat.slope == 0.0 && (flat.apply(3.0) - 0.25).abs() < 1e-12);
        let bins = quantile(&[0.0, 1.0, 2.0], &[0.0, 0.0, 1.0], None, 3).unwrap();
        assert_eq!(fit_binned(&bins), Err(FitError::TooFewBins { got: 1 }));
    }

    #[test]
    fn a_falling_trend_is_a_flat_line_at_the_base_rate() {
        let map = fit(&[0.0, 1.0, 2.0, 3.0], &[1.0, 0.0, 0.0, 0.0], None).unwrap();
        assert_eq!(map.slope, 0.0);
        assert!((map.apply(-5.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn weights_count_as_rows() {
        let weighted = fit(&[0.0, 1.0, 2.0], &[0.0, 1.0, 0.0], Some(&[3.0, 2.0, 1.0])).unwrap();
        let rows = fit(
            &[0.0, 0.0, 0.0, 1.0, 1.0, 2.0],
            &[0.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            None,
        )
        .unwrap();
        assert!(
            (weighted.slope - rows.slope).abs() < 1e-9,
            "{weighted:?} {rows:?}"
        );
        assert!((weighted.intercept - rows.intercept).abs() < 1e-9);
    }
}
