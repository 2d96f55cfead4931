//! Logs of several loggers at once.

use statrs::distribution::ContinuousCDF;

use crate::{EvalError, check};

use super::estimate::Estimate;

/// The propensity of each placement under the mixture of all loggers, each with the share of the lists
/// it showed ("balanced", Agarwal et al. 2017): never more variance than dividing each placement by its
/// own logger's. `of_logger[j]` is logger `j`'s probability of each placement, whoever showed it.
///
/// ```
/// use slate_eval::off_policy::balanced_propensities;
///
/// let mixture = balanced_propensities(&[&[0.5, 0.1], &[0.5, 0.9]], &[0.5, 0.5])?;
/// assert_eq!(mixture, [0.5, 0.5]);
/// # Ok::<(), slate_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::NoRows`] without loggers, [`EvalError::Length`], [`EvalError::Weight`] for a share,
/// [`EvalError::Propensity`] for a placement that no logger shows, [`EvalError::Probability`].
pub fn balanced_propensities(of_logger: &[&[f64]], shares: &[f64]) -> Result<Vec<f64>, EvalError> {
    let first = of_logger.first().ok_or(EvalError::NoRows)?;
    check::weights(Some(shares), of_logger.len())?;
    let total: f64 = shares.iter().sum();
    let mut mixture = vec![0.0; first.len()];
    for (of, share) in of_logger.iter().zip(shares) {
        check::probabilities(of, first.len())?;
        for (sum, p) in mixture.iter_mut().zip(*of) {
            *sum += share / total * p;
        }
    }
    check::propensities(&mixture, first.len())?;
    Ok(mixture)
}

/// What one logger's part of a log says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggerEstimate {
    /// From its own propensities.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

/// Puts the estimates of several loggers together, each weighed by one over its variance ("weighted",
/// Agarwal et al. 2017). The interval is normal at `level`.
///
/// # Errors
/// [`EvalError::NoRows`] without estimates, [`EvalError::NotFinite`] for an error that is not above 0,
/// [`EvalError::Level`].
pub fn weighted_loggers(parts: &[LoggerEstimate], level: f64) -> Result<Estimate, EvalError> {
    check::level(level)?;
    if parts.is_empty() {
        return Err(EvalError::NoRows);
    }
    let bad = |part: &LoggerEstimate| !(part.error > 0.0 && part.error.is_finite());
    if let Some(row) = parts.iter().position(bad) {
        let (what, value) = ("error", parts[row].error);
        return Err(EvalError::NotFinite { what, row, value });
    }
    let precision: f64 = parts.iter().map(|part| part.error.powi(-2)).sum();
    let sum: f64 = parts
        .iter()
        .map(|part| part.value * part.error.powi(-2))
        .sum();
    let (value, error) = (sum / precision, precision.powf(-0.5));
    let law = super::intervals::normal();
    let half = error * law.inverse_cdf(f64::midpoint(1.0, level));
    Ok(Estimate {
        value,
        low: value - half,
        high: value + half,
        error,
    })
}
