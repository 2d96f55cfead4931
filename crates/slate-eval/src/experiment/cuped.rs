//! Less variance from what was known of each unit before the experiment (Deng et al. 2013).

use crate::{EvalError, check};

/// `y − θ·(x − mean x)`: the part of an outcome that a covariate from before the experiment does not
/// explain. Means of arms do not move in expectation, their variance shrinks by `1 − ρ²`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuped {
    /// cov(y, x) ÷ var(x) over all units of all arms; 0 where x does not vary.
    pub theta: f64,
    /// Mean of the covariate over all units.
    pub mean: f64,
}

impl Cuped {
    /// Learns θ from outcomes and covariates of all units of all arms together.
    ///
    /// # Errors
    /// [`EvalError::NoRows`], [`EvalError::Length`], [`EvalError::NotFinite`].
    pub fn fit(outcomes: &[f64], covariates: &[f64]) -> Result<Self, EvalError> {
        check::length("covariates", covariates.len(), outcomes.len())?;
        check::finite("outcomes", outcomes)?;
        check::finite("covariates", covariates)?;
        if outcomes.is_empty() {
            return Err(EvalError::NoRows);
        }
        let n = outcomes.len() as f64;
        let mean = covariates.iter().sum::<f64>() / n;
        let middle = outcomes.iter().sum::<f64>() / n;
        let (mut together, mut alone) = (0.0, 0.0);
        for (y, x) in outcomes.iter().zip(covariates) {
            together += (y - middle) * (x - mean);
            alone += (x - mean) * (x - mean);
        }
        let theta = if alone > 0.0 { together / alone } else { 0.0 };
        Ok(Self { theta, mean })
    }

    /// The adjusted outcome of a unit.
    pub fn adjust(&self, outcome: f64, covariate: f64) -> f64 {
        outcome - self.theta * (covariate - self.mean)
    }
}
