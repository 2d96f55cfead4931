//! Temperature scaling: log-odds divided by one number (Guo et al. 2017),
//! `p = 1 / (1 + exp(-score / temperature))`.
//!
//! Input: one score (finite, read as log-odds), one label (0 or 1) and one weight per row. Output:
//! the inverse temperature, by maximum likelihood. It corrects how sure a ranker is and nothing
//! else: a base rate that is wrong stays wrong. Where that matters use [`crate::sigmoid`], which has
//! an intercept.
//!
//! ```
//! // Odds of 3 to 1 where e² to 1 was promised.
//! let scores = [2.0, 2.0, 2.0, 2.0];
//! let map = slate_calibrate::temperature::fit(&scores, &[1.0, 1.0, 0.0, 1.0], None)?;
//! assert!((map.apply(2.0) - 0.75).abs() < 1e-9);
//! assert!((map.temperature() - 2.0 / 3.0_f64.ln()).abs() < 1e-8);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::examples::{Examples, Labels};
use crate::newton::minimise_proportional;
use crate::sigmoid::log_loss;
use crate::{FitError, Sigmoid};

/// `p = 1 / (1 + exp(-slope * score))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// One over the temperature: finite, not negative.
    pub slope: f64,
}

/// Fits the temperature. Where scores point the wrong way it is infinite, and every row gets one
/// half.
///
/// # Errors
/// As [`crate::sigmoid::fit`]; [`FitError::Separable`] where every positive has a score above and
/// every negative one below 0, so that no temperature is cold enough.
pub fn fit(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
) -> Result<Temperature, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    let rows = || examples.scores.iter().zip(&*examples.labels);
    let right = |(score, label): (&f64, &f64)| (*label == 1.0) == (*score > 0.0) || *score == 0.0;
    if rows().all(right) && rows().any(|(score, _)| *score != 0.0) {
        return Err(FitError::Separable);
    }
    let slope = minimise_proportional(&examples.scores, |row, e| {
        let weight = examples.weight(row);
        log_loss(e, examples.labels[row]).map(|part| weight * part)
    });
    Ok(Temperature {
        slope: slope.max(0.0),
    })
}

impl Temperature {
    /// The temperature: above 1 where the ranker is too sure, infinite for a flat map.
    pub fn temperature(&self) -> f64 {
        1.0 / self.slope
    }

    fn line(self) -> Sigmoid {
        Sigmoid {
            slope: self.slope,
            intercept: 0.0,
        }
    }

    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        self.line().apply(score)
    }

    /// The score with this probability; `None` for a flat map and outside (0, 1).
    pub fn invert(&self, probability: f64) -> Option<f64> {
        self.line().invert(probability)
    }
}
