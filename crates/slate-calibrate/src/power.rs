//! Power calibration: the log of the rate linear in the log of the claimed probability,
//! `p = min(1, factor * q^exponent)` with `q = 1 / (1 + exp(-score))`.
//!
//! Input: one score (finite, read as log-odds), one label (0 or 1) and one weight per row. Output:
//! factor and exponent, by Poisson maximum likelihood with log link ("Ad click prediction: a view
//! from the trenches", 2013). For rare events q is nearly `exp(score)` and this is nearly
//! [`crate::exponential`].
//!
//! ```
//! // Where one in two was promised one in eight came, where one in four one in 32.
//! let (high, low) = (0.0, -3.0_f64.ln());
//! let scores = [vec![high; 32], vec![low; 32]].concat();
//! let labels: Vec<f64> = (0..64).map(|i| if i < 4 || i == 32 { 1.0 } else { 0.0 }).collect();
//! let map = slate_calibrate::power::fit(&scores, &labels, None)?;
//! assert!((map.exponent - 2.0).abs() < 1e-9 && (map.factor - 0.5).abs() < 1e-9);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::exponential::{self, Exponential};
use crate::sigmoid::log_logistic;
use crate::{FitError, Sigmoid};

/// `p = min(1, factor * q^exponent)`, where `q = 1 / (1 + exp(-score))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// Positive and finite.
    pub factor: f64,
    /// Finite, not negative.
    pub exponent: f64,
}

/// Fits factor and exponent. Where the best exponent would be negative it is 0, and every row gets
/// the base rate.
///
/// # Errors
/// As [`crate::exponential::fit`].
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Power, FitError> {
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        let value = scores[row];
        return Err(FitError::Score { row, value });
    }
    let logs: Vec<f64> = scores.iter().map(|score| log_logistic(*score)).collect();
    let Exponential { slope, intercept } = exponential::fit(&logs, labels, weights)?;
    Ok(Power {
        factor: intercept.exp().clamp(f64::MIN_POSITIVE, f64::MAX),
        exponent: slope,
    })
}

impl Power {
    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        let line = Exponential {
            slope: self.exponent,
            intercept: self.factor.ln(),
        };
        line.apply(log_logistic(score))
    }

    /// The score with this probability; `None` for a flat map and where no score has it.
    pub fn invert(&self, probability: f64) -> Option<f64> {
        let claimed = (probability / self.factor).powf(1.0 / self.exponent);
        let odds = Sigmoid {
            slope: 1.0,
            intercept: 0.0,
        };
        let inside = self.exponent > 0.0 && probability > 0.0 && probability < 1.0;
        odds.invert(claimed).filter(|_| inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_where_it_can() {
        let map = Power {
            factor: 0.5,
            exponent: 2.0,
        };
        assert!((map.invert(map.apply(0.3)).unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(map.invert(0.6), None, "0.5 is the most it gives");
        assert_eq!(map.apply(f64::NEG_INFINITY), 0.0);
        assert!((map.apply(1e9) - 0.5).abs() < 1e-15);
    }
}
