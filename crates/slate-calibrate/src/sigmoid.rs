//! Sigmoid calibration: log-odds linear in the score (Platt 1999).
//!
//! Input: one score (finite; a margin or log-odds, not a probability: on probabilities this map
//! cannot be the identity), one label (0 or 1) and one weight per row. Output: slope and intercept.
//! Method: maximum likelihood to the smoothed targets `(n1 + 1) / (n1 + 2)` and `1 / (n0 + 2)`, by
//! damped Newton (Lin, Lin and Weng 2007). n0 and n1 are sums of weights: weights count rows.
//!
//! ```
//! let map = slate_calibrate::sigmoid::fit(&[-1.0, 0.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 1.0], None)?;
//! assert!((map.apply(0.0) - 0.5).abs() < 1e-9);
//! assert!(map.slope > 0.0);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::examples::{Examples, Labels};
use crate::newton::{Line, minimise, minimise_flat};

/// `p = 1 / (1 + exp(-(slope * score + intercept)))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sigmoid {
    /// Finite, not negative.
    pub slope: f64,
    /// Finite.
    pub intercept: f64,
}

/// Fits slope and intercept. Where the best slope would be negative it is 0, and every row gets
/// the smoothed base rate.
///
/// # Errors
/// As [`crate::isotonic::fit`], and [`FitError::Label`] for labels other than 0 and 1.
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Sigmoid, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    let line = likeliest(&examples, true);
    let Line { slope, intercept } = if line.slope < 0.0 {
        likeliest(&examples, false)
    } else {
        line
    };
    Ok(Sigmoid { slope, intercept })
}

/// The likeliest line, of any slope or flat.
fn likeliest(examples: &Examples, sloped: bool) -> Line {
    let (n0, n1) = (examples.weight - examples.positive, examples.positive);
    let (high, low) = ((n1 + 1.0) / (n1 + 2.0), 1.0 / (n0 + 2.0));
    let loss = |row: usize, e: f64| {
        let weight = examples.weight(row);
        let target = if examples.labels[row] == 1.0 {
            high
        } else {
            low
        };
        let [loss, first, second] = log_loss(e, target);
        [weight * loss, weight * first, weight * second]
    };
    let start = ((n1 + 1.0) / (n0 + 1.0)).ln();
    if sloped {
        minimise(&examples.scores, start, loss)
    } else {
        minimise_flat(examples.scores.len(), start, loss)
    }
}

/// `1 / (1 + exp(-x))` without overflow.
pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 / (1 + exp(-x)))` without loss of small values.
pub(crate) fn log_logistic(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// `ln(1 + exp(e)) - target e`, the negative log-likelihood of log-odds `e`, and its first two
/// derivatives in e, from one exponential.
pub(crate) fn log_loss(e: f64, target: f64) -> [f64; 3] {
    let small = (-e.abs()).exp();
    let (larger, smaller) = (1.0 / (1.0 + small), small / (1.0 + small));
    let p = if e >= 0.0 { larger } else { smaller };
    [
        e.max(0.0) + small.ln_1p() - target * e,
        p - target,
        larger * smaller,
    ]
}

impl Sigmoid {
    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        if self.slope == 0.0 && !score.is_nan() {
            return logistic(self.intercept);
        }
        logistic(self.slope * score + self.intercept)
    }

    /// The score with this probability; `None` for a flat map and outside (0, 1).
    pub fn invert(&self, probability: f64) -> Option<f64> {
        let inside = probability > 0.0 && probability < 1.0;
        let log_odds = probability.ln() - (-probability).ln_1p();
        (self.slope > 0.0 && inside).then(|| (log_odds - self.intercept) / self.slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// From `tests/data/gold_platt.py`: Newton in NumPy, checked there against scikit-learn. Its
    /// `A` and `B` are our slope and intercept negated.
    #[test]
    fn equals_the_golden_fits() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/platt_exponential.json")).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 9);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let (f, y) = (floats(&case["f"]), floats(&case["y"]));
            let w = if case["w"].is_null() {
                vec![1.0; f.len()]
            } else {
                floats(&case["w"])
            };
            // One-class cases are refused by `fit`; the arithmetic is the same.
            let rows = || y.iter().zip(&w);
            let examples = Examples {
                scores: (&f).into(),
                labels: (&y).into(),
                weights: Some((&w).into()),
                binary: true,
                weight: w.iter().sum(),
                positive: rows().map(|(y, w)| y * w).sum(),
            };
            let line = likeliest(&examples, true);
            let map = Sigmoid {
                slope: line.slope,
                intercept: line.intercept,
            };
            for (f, expected) in f.iter().zip(floats(&case["pred"])) {
                assert!(
                    (map.apply(*f) - expected).abs() < 1e-7,
                    "{name} {f} {}",
                    map.apply(*f)
                );
            }
            // What was minimised, with Platt's targets: a label counts a little less than whole.
            let (n1, n0) = (examples.positive, examples.weight - examples.positive);
            let soft = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
            let loss: f64 = (0..f.len())
                .map(|row| {
                    let z = map.slope * f[row] + map.intercept;
                    let high = (n1 + 1.0) / (n1 + 2.0);
                    let target = if y[row] > 0.0 { high } else { 1.0 / (n0 + 2.0) };
                    w[row] * (target * soft(-z) + (1.0 - target) * soft(z))
                })
                .sum();
            let expected = case["nll"].as_f64().unwrap();
            let gap = (loss - expected).abs();
            assert!(
                gap < 1e-10 * expected.abs().max(1.0),
                "{name} nll {loss} {expected}"
            );
            if name != "constant_score" {
                for (ours, theirs) in [(map.slope, "A"), (map.intercept, "B")] {
                    let expected = -case[theirs].as_f64().unwrap();
                    let gap = (ours - expected).abs();
                    assert!(
                        gap < 1e-6 * expected.abs().max(1e-3),
                        "{name} {theirs} {ours}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_falling_trend_is_a_flat_line_at_the_smoothed_rate() {
        let map = fit(&[0.0, 1.0, 2.0, 3.0], &[1.0, 1.0, 0.0, 0.0], None).unwrap();
        assert_eq!(map.slope, 0.0);
        assert!((map.apply(7.0) - 0.5).abs() < 1e-9);
        assert_eq!(map.invert(0.5), None);
    }

    #[test]
    fn far_scores_are_fitted_as_near_ones() {
        let (x, y) = ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0, 1.0]);
        let near = fit(&x, &y, None).unwrap();
        let far = fit(&x.map(|x| 1e6 + 1e-3 * x), &y, None).unwrap();
        for x in x {
            assert!((near.apply(x) - far.apply(1e6 + 1e-3 * x)).abs() < 1e-5);
        }
    }

    #[test]
    fn inverts() {
        let map = Sigmoid {
            slope: 2.0,
            intercept: -1.0,
        };
        assert!((map.invert(map.apply(0.3)).unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(map.invert(1.0), None);
        assert_eq!(
            (map.apply(f64::INFINITY), map.apply(f64::NEG_INFINITY)),
            (1.0, 0.0)
        );
        assert!(map.apply(f64::NAN).is_nan());
    }
}
