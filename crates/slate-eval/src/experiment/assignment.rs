//! Whether arms have the shares they were planned with (sample ratio mismatch).

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::{EvalError, check};

/// Pearson's test of the sizes of arms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AssignmentCheck {
    /// Sum of (observed − planned)² ÷ planned.
    pub statistic: f64,
    /// How likely a larger one is where assignment is as planned.
    pub p: f64,
}

/// Holds `observed` units of each arm to `planned` shares (any positive numbers).
///
/// ```
/// let check = slate_eval::experiment::assignment_check(&[5000, 5400], &[0.5, 0.5])?;
/// assert!(check.p < 0.0001);
/// # Ok::<(), slate_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::NoRows`] for fewer than two arms or no unit, [`EvalError::Length`],
/// [`EvalError::Weight`] for a share that is not above 0.
pub fn assignment_check(observed: &[u64], planned: &[f64]) -> Result<AssignmentCheck, EvalError> {
    check::length("planned shares", planned.len(), observed.len())?;
    let units: u64 = observed.iter().sum();
    if observed.len() < 2 || units == 0 {
        return Err(EvalError::NoRows);
    }
    let unsound = |share: &f64| !(*share > 0.0 && share.is_finite());
    if let Some(row) = planned.iter().position(unsound) {
        let value = planned[row];
        return Err(EvalError::Weight { row, value });
    }
    let total: f64 = planned.iter().sum();
    let statistic = observed.iter().zip(planned).map(|(&seen, share)| {
        let expected = units as f64 * share / total;
        (seen as f64 - expected).powi(2) / expected
    });
    let statistic = statistic.sum();
    let law = ChiSquared::new(observed.len() as f64 - 1.0).expect("at least one degree of freedom");
    Ok(AssignmentCheck {
        statistic,
        p: law.sf(statistic),
    })
}
