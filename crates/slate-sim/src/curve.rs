//! From true log-odds to the probability of a purchase after a click.
//!
//! Three shapes, so that no calibrator is right by construction: a sigmoid fits the first, an
//! exponential the second, and neither the third.

use serde::{Deserialize, Serialize};

/// Where the exponential curves are cut.
const CEILING: f64 = 0.95;

/// Shape of the truth. Every curve increases with the log-odds and stays between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// `1 / (1 + e^-z)`.
    Logistic,
    /// `e^z` until it reaches 0.95.
    LogLinear,
    /// Nearly flat in the log below `z = 0`, then steep: `0.06 e^(0.15 z)` and `0.06 e^(1.5 z)`,
    /// cut at 0.95.
    Kinked,
}

impl Curve {
    /// Probability of a purchase after a click at these log-odds.
    pub fn probability(self, log_odds: f64) -> f64 {
        let z = log_odds;
        match self {
            Self::Logistic => 1.0 / (1.0 + (-z).exp()),
            Self::LogLinear => z.min(CEILING.ln()).exp(),
            Self::Kinked => {
                let slope = if z < 0.0 { 0.15 } else { 1.5 };
                (0.06 * (slope * z).min(16.0).exp()).min(CEILING)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_rise_and_stay_probabilities() {
        for curve in [Curve::Logistic, Curve::LogLinear, Curve::Kinked] {
            let values: Vec<f64> = (-400..=400)
                .map(|step| curve.probability(f64::from(step) / 10.0))
                .collect();
            assert!(values.is_sorted(), "{curve:?}");
            assert!(values.iter().all(|p| (0.0..=1.0).contains(p)), "{curve:?}");
        }
    }

    #[test]
    fn each_curve_has_its_shape() {
        let slope =
            |curve: Curve, z: f64| (curve.probability(z + 0.01) / curve.probability(z)).ln() / 0.01;
        // Of these only the log-linear has a constant slope of the log.
        assert!((slope(Curve::LogLinear, -3.0) - slope(Curve::LogLinear, -1.0)).abs() < 1e-9);
        assert!((slope(Curve::Kinked, -2.0) - 0.15).abs() < 1e-9);
        assert!((slope(Curve::Kinked, 1.0) - 1.5).abs() < 1e-9);
        let logit = |p: f64| (p / (1.0 - p)).ln();
        assert!((logit(Curve::Logistic.probability(0.7)) - 0.7).abs() < 1e-9);
    }
}
