//! Beta calibration: log-odds linear in the logs of the claimed probability and of its complement
//! (Kull, Silva Filho and Flach 2017), `logit p = a ln q - b ln(1 - q) + c` with
//! `q = 1 / (1 + exp(-score))`.
//!
//! Input: one score (finite, read as log-odds), one label (0 or 1) and one weight per row. Output: a
//! and b, neither negative, and c, by maximum likelihood. With a = b it is [`crate::sigmoid`]; with
//! a = b = 1 and c = 0 it leaves every probability as it is.
//!
//! ```
//! let scores = [-2.0, -1.0, -1.0, 0.5, 0.5, 2.0, 2.0, 2.0];
//! let labels = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
//! let map = slate_calibrate::beta::fit(&scores, &labels, None)?;
//! let mean = scores.iter().map(|score| map.apply(*score)).sum::<f64>() / 8.0;
//! assert!((mean - 0.5).abs() < 1e-9, "the mean is kept");
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::constrained::{Regression, solve};
use crate::examples::{Examples, Labels};
use crate::sigmoid::{log_logistic, logistic};

/// `p = 1 / (1 + exp(-(a ln q - b ln(1 - q) + c)))`, where `q = 1 / (1 + exp(-score))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    /// Weight of `ln q`: finite, not negative.
    pub a: f64,
    /// Weight of `-ln(1 - q)`: finite, not negative.
    pub b: f64,
    /// Finite.
    pub c: f64,
}

/// Fits all three.
///
/// # Errors
/// As [`crate::sigmoid::fit`]; [`FitError::Separable`] where a score divides the classes, so that
/// no curve is steep enough.
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Beta, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    examples.refuse_separable()?;
    let base = (examples.positive / (examples.weight - examples.positive)).ln();
    let regression = Regression {
        examples: &examples,
        columns: |score, row: &mut [f64]| {
            row[0] = log_logistic(score);
            row[1] = -log_logistic(-score);
            row[2] = 1.0;
        },
        bounded: &[true, true, false],
        penalty: &[0.0; 9],
    };
    let solution = solve(&regression, vec![0.0, 0.0, base]);
    let [a, b, c] = solution.coefficients[..] else {
        unreachable!("three columns have three coefficients")
    };
    Ok(Beta { a, b, c })
}

impl Beta {
    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        logistic(self.log_odds(score))
    }

    fn log_odds(&self, score: f64) -> f64 {
        // 0 times infinity is no number; a factor of 0 takes its term away.
        let term = |factor: f64, value: f64| if factor == 0.0 { 0.0 } else { factor * value };
        if score.is_nan() {
            return score;
        }
        (term(self.a, log_logistic(score)) - term(self.b, log_logistic(-score))) + self.c
    }

    /// The score with this probability; `None` for a flat map and where no score has it.
    pub fn invert(&self, probability: f64) -> Option<f64> {
        if self.a == 0.0 && self.b == 0.0 || !(probability > 0.0 && probability < 1.0) {
            return None;
        }
        let wanted = probability.ln() - (-probability).ln_1p();
        let (mut low, mut high) = (-1.0, 1.0);
        while self.log_odds(low) > wanted {
            low *= 2.0;
            if low < -1e12 {
                return None;
            }
        }
        while self.log_odds(high) < wanted {
            high *= 2.0;
            if high > 1e12 {
                return None;
            }
        }
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if self.log_odds(middle) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(f64::midpoint(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_where_it_can() {
        let map = Beta {
            a: 0.7,
            b: 1.4,
            c: -0.3,
        };
        assert!((map.invert(map.apply(0.3)).unwrap() - 0.3).abs() < 1e-9);
        let bounded = Beta { b: 0.0, ..map };
        assert_eq!(bounded.invert(0.9), None, "it never gets there");
        assert!(bounded.apply(f64::INFINITY) < 0.5);
        assert_eq!(map.apply(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn divided_classes_have_no_best_curve() {
        let error = fit(&[0.0, 1.0, 2.0, 3.0], &[0.0, 0.0, 1.0, 1.0], None);
        assert_eq!(error, Err(FitError::Separable));
        // The wrong way round there is one: the flat line.
        let map = fit(&[0.0, 1.0, 2.0, 3.0], &[1.0, 1.0, 0.0, 0.0], None).unwrap();
        assert_eq!((map.a, map.b), (0.0, 0.0));
        assert!((map.apply(7.0) - 0.5).abs() < 1e-9);
    }
}
