//! The value a list is ordered by: a weighted sum of logarithms.
//!
//! `α·ln p + β·ln price + w·ln ad_rate` orders as the product `p^α · price^β · ad_rate^w` does. With
//! α = 1 and β = 0 that is the order by probability, with α = β = 1 by expected sales, with all three
//! 1 by expected fees.

use serde::{Deserialize, Serialize};

use crate::AllocateError;

/// Least probability whose logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-12;

/// Exponents of what an order weighs, and what stands in where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderFormula {
    /// α, of the probability. Default 1.
    pub probability: f64,
    /// β, of the price. Default 0.
    pub price: f64,
    /// w, of the rate its seller pays for promotion. Default 0.
    pub ad_rate: f64,
    /// Prices below this, and unknown ones, count as this. Default 1 minor unit.
    pub least_price: f64,
    /// Rates below this, and unknown ones, count as this. Default 0.01.
    pub least_ad_rate: f64,
}

impl Default for OrderFormula {
    fn default() -> Self {
        Self {
            probability: 1.0,
            price: 0.0,
            ad_rate: 0.0,
            least_price: 1.0,
            least_ad_rate: 0.01,
        }
    }
}

impl OrderFormula {
    /// Refuses exponents that are no numbers and stand-ins that have no logarithm.
    ///
    /// # Errors
    /// [`AllocateError::Setting`] with the name of the setting.
    pub fn check(&self) -> Result<(), AllocateError> {
        for (what, given) in [
            ("probability", self.probability),
            ("price", self.price),
            ("ad_rate", self.ad_rate),
        ] {
            if !given.is_finite() {
                return Err(AllocateError::Setting {
                    what,
                    given,
                    expected: "a finite number",
                });
            }
        }
        for (what, given) in [
            ("least_price", self.least_price),
            ("least_ad_rate", self.least_ad_rate),
        ] {
            if !(given > 0.0 && given.is_finite()) {
                return Err(AllocateError::Setting {
                    what,
                    given,
                    expected: "a finite number above 0",
                });
            }
        }
        Ok(())
    }

    /// The value of a row: `probability` in `[0, 1]`, kept 1e-12 away from 0; `price` in minor units
    /// and `ad_rate` as a fraction, where known.
    pub fn value(&self, probability: f64, price: Option<f64>, ad_rate: Option<f64>) -> f64 {
        // An exponent of 0 means that the column is not read, so that it may be anything.
        let term = |exponent: f64, value: f64| match exponent {
            0.0 => 0.0,
            _ => exponent * value.ln(),
        };
        let least = |value: Option<f64>, least: f64| value.unwrap_or(least).max(least);
        term(self.probability, probability.max(LEAST_PROBABILITY))
            + term(self.price, least(price, self.least_price))
            + term(self.ad_rate, least(ad_rate, self.least_ad_rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_money_counts_as_the_least() {
        let formula = OrderFormula {
            price: 1.0,
            ad_rate: 1.0,
            ..OrderFormula::default()
        };
        let known = formula.value(0.5, Some(1.0), Some(0.01));
        assert_eq!(known, formula.value(0.5, None, None));
        assert_eq!(known, formula.value(0.5, Some(0.0), Some(0.0)));
        assert!((known - 0.005_f64.ln()).abs() < 1e-12);
        assert!(formula.value(0.0, None, None).is_finite());
    }

    #[test]
    fn an_exponent_of_0_reads_nothing() {
        let formula = OrderFormula::default();
        assert_eq!(formula.value(0.5, Some(f64::INFINITY), None), 0.5_f64.ln());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let formula = OrderFormula {
            least_price: 0.0,
            ..OrderFormula::default()
        };
        assert_eq!(
            formula.check().unwrap_err().to_string(),
            "`least_price` is 0, expected a finite number above 0"
        );
        let formula = OrderFormula {
            ad_rate: f64::NAN,
            ..OrderFormula::default()
        };
        assert!(formula.check().is_err());
        assert!(OrderFormula::default().check().is_ok());
    }
}
