//! Whether a difference grows or fades over the days (novelty, learning).

use serde::Serialize;
use statrs::distribution::ContinuousCDF;

use crate::off_policy::normal;
use crate::{EvalError, check};

/// A line through daily differences, each weighed by one over its variance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trend {
    /// Change of the difference from one day to the next.
    pub per_day: f64,
    /// Its standard error, days independent.
    pub error: f64,
    /// Two-sided p value of no trend (normal).
    pub p: f64,
}

/// Fits the line to `(day, difference, standard error)`. None for fewer than three days, or where all are
/// one day.
///
/// ```
/// let days = [(0.0, 3.0, 1.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)];
/// let trend = slate_eval::experiment::trend(&days)?.expect("three days");
/// assert_eq!(trend.per_day, -1.0);
/// # Ok::<(), slate_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::NotFinite`], [`EvalError::Weight`] for an error that is not above 0.
pub fn trend(days: &[(f64, f64, f64)]) -> Result<Option<Trend>, EvalError> {
    let differences: Vec<f64> = days.iter().map(|day| day.1).collect();
    check::finite("differences", &differences)?;
    let unsound = |day: &(f64, f64, f64)| !(day.2 > 0.0 && day.2.is_finite());
    if let Some(row) = days.iter().position(unsound) {
        let value = days[row].2;
        return Err(EvalError::Weight { row, value });
    }
    if days.len() < 3 {
        return Ok(None);
    }
    let sum = |of: &dyn Fn(&(f64, f64, f64)) -> f64| -> f64 {
        days.iter().map(|day| of(day) / (day.2 * day.2)).sum()
    };
    let weight = sum(&|_| 1.0);
    let (middle, mean) = (sum(&|day| day.0) / weight, sum(&|day| day.1) / weight);
    let spread = sum(&|day| (day.0 - middle).powi(2));
    if spread <= 0.0 {
        return Ok(None);
    }
    let per_day = sum(&|day| (day.0 - middle) * (day.1 - mean)) / spread;
    let error = spread.powf(-0.5);
    Ok(Some(Trend {
        per_day,
        error,
        p: 2.0 * normal().sf((per_day / error).abs()),
    }))
}
