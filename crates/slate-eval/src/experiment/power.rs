//! How large an experiment must be.

use statrs::distribution::ContinuousCDF;

use crate::off_policy::normal;
use crate::{EvalError, check};

/// Two arms and the test that compares them: two-sided, of means, with these deviations per unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arms {
    /// Standard deviation of a unit's outcome in the first arm.
    pub deviation_a: f64,
    /// In the second.
    pub deviation_b: f64,
    /// Units of the second arm for each unit of the first.
    pub ratio: f64,
    /// 1 − the chance of finding a difference where there is none, such as 0.95.
    pub level: f64,
}

impl Arms {
    fn check(&self) -> Result<(), EvalError> {
        check::level(self.level)?;
        let values = [self.deviation_a, self.deviation_b, self.ratio];
        check::weights(Some(&values), 3)?;
        if self.ratio == 0.0 {
            return Err(EvalError::Weight { row: 2, value: 0.0 });
        }
        Ok(())
    }

    /// Variance of the difference of means times the units of the first arm.
    fn variance(&self) -> f64 {
        self.deviation_a.powi(2) + self.deviation_b.powi(2) / self.ratio
    }

    /// Normal quantile of the test.
    fn reach(&self) -> f64 {
        normal().inverse_cdf(f64::midpoint(1.0, self.level))
    }
}

/// Units of the first arm that find `difference` with the chance `power`.
///
/// ```
/// use slate_eval::experiment::{Arms, units_needed};
///
/// let deviation = (0.02_f64 * 0.98).sqrt(); // of purchases at 2 %
/// let arms = Arms { deviation_a: deviation, deviation_b: deviation, ratio: 1.0, level: 0.95 };
/// // Five per cent more purchases.
/// assert_eq!(units_needed(&arms, 0.001, 0.8)?.ceil(), 307_677.0);
/// # Ok::<(), slate_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::Weight`] for a deviation or ratio that cannot be, [`EvalError::Level`] for a level or
/// power outside (0, 1), [`EvalError::NotFinite`] for a difference of 0 or none.
pub fn units_needed(arms: &Arms, difference: f64, power: f64) -> Result<f64, EvalError> {
    arms.check()?;
    check::level(power)?;
    if difference == 0.0 || !difference.is_finite() {
        return Err(EvalError::NotFinite {
            what: "1 ÷ difference",
            row: 0,
            value: 1.0 / difference,
        });
    }
    let reach = arms.reach() + normal().inverse_cdf(power);
    Ok(reach * reach * arms.variance() / (difference * difference))
}

/// The chance that so many units of the first arm find `difference`, in either direction.
///
/// # Errors
/// As [`units_needed`].
pub fn power_reached(arms: &Arms, difference: f64, units: f64) -> Result<f64, EvalError> {
    arms.check()?;
    let law = normal();
    let size = difference.abs() / (arms.variance() / units).sqrt();
    Ok(law.cdf(size - arms.reach()) + law.cdf(-size - arms.reach()))
}

/// The difference that so many units of the first arm find with the chance `power`.
///
/// # Errors
/// As [`units_needed`].
pub fn smallest_difference(arms: &Arms, units: f64, power: f64) -> Result<f64, EvalError> {
    arms.check()?;
    check::level(power)?;
    let reach = arms.reach() + normal().inverse_cdf(power);
    Ok(reach * (arms.variance() / units).sqrt())
}
