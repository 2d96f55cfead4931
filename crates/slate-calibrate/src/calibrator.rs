//! Any of the maps behind one face.

use rayon::prelude::*;
use slate_types::{NotAProbability, Probabilities, Scores};

use crate::examples::first;
use crate::histogram::Steps;
use crate::sigmoid::logistic;
use crate::temperature::Temperature;
use crate::{Beta, Exponential, Isotonic, Method, Power, Sigmoid, VennAbers};

/// How near to 0 and 1 a probability comes before its log-odds are taken.
pub const PROBABILITY_CLIP: f64 = 1e-12;

/// A non-decreasing map from score to probability.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Calibrator {
    /// Knots fitted to rows.
    Isotonic(Isotonic),
    /// Knots fitted to quantile bins.
    IsotonicBinned(Isotonic),
    /// Knots at the centres of pooled blocks.
    Centred(Isotonic),
    /// Fitted log-odds.
    Sigmoid(Sigmoid),
    /// Fitted log rate.
    Exponential(Exponential),
    /// Log rate fitted to quantile bins.
    ExponentialBinned(Exponential),
    /// Fitted log rate over the log of the claim.
    Power(Power),
    /// Fitted log-odds over the logs of the claim and of its complement.
    Beta(Beta),
    /// Log-odds divided by a number.
    Temperature(Temperature),
    /// Rates of quantile bins.
    Histogram(Steps),
    /// Knots of a smooth curve.
    Spline(Isotonic),
    /// Two isotonic fits and a probability between them.
    VennAbers(VennAbers),
    /// `1 / (1 + exp(-score))`: what a network trained with cross-entropy claims by itself.
    Raw,
    /// For scores that are probabilities already.
    Identity,
    /// The map inside, of the log-odds of scores that are probabilities (kept
    /// [`PROBABILITY_CLIP`] away from 0 and 1).
    OfProbability(Box<Calibrator>),
}

/// A score that cannot be mapped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A score is NaN or infinite.
    #[error("score at row {row} is {value}, expected a finite number")]
    Score {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// The map reads probabilities and met a score that is none.
    #[error(transparent)]
    NotAProbability(#[from] NotAProbability),
}

impl Calibrator {
    /// The name used in files: that of the method, or `raw` or `identity`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Isotonic(_) => Method::Isotonic.name(),
            Self::IsotonicBinned(_) => Method::IsotonicBinned.name(),
            Self::Centred(_) => Method::Centred.name(),
            Self::Sigmoid(_) => Method::Sigmoid.name(),
            Self::Exponential(_) => Method::Exponential.name(),
            Self::ExponentialBinned(_) => Method::ExponentialBinned.name(),
            Self::Power(_) => Method::Power.name(),
            Self::Beta(_) => Method::Beta.name(),
            Self::Temperature(_) => Method::Temperature.name(),
            Self::Histogram(_) => Method::Histogram.name(),
            Self::Spline(_) => Method::Spline.name(),
            Self::VennAbers(_) => Method::VennAbers.name(),
            Self::Raw => "raw",
            Self::Identity => "identity",
            Self::OfProbability(map) => map.name(),
        }
    }

    /// The probability at `score`, in `[0, 1]`; NaN gives NaN. Maps of probabilities cut at 0 and
    /// 1.
    pub fn apply(&self, score: f64) -> f64 {
        match self {
            Self::Isotonic(map)
            | Self::IsotonicBinned(map)
            | Self::Centred(map)
            | Self::Spline(map) => map.apply(score),
            Self::Sigmoid(map) => map.apply(score),
            Self::Exponential(map) | Self::ExponentialBinned(map) => map.apply(score),
            Self::Power(map) => map.apply(score),
            Self::Beta(map) => map.apply(score),
            Self::Temperature(map) => map.apply(score),
            Self::Histogram(map) => map.apply(score),
            Self::VennAbers(map) => map.apply(score),
            Self::Raw => logistic(score),
            Self::Identity => score.clamp(0.0, 1.0),
            Self::OfProbability(map) => map.apply(log_odds(score)),
        }
    }

    /// Whether scores must be probabilities.
    pub fn reads_probabilities(&self) -> bool {
        matches!(self, Self::Identity | Self::OfProbability(_))
    }

    /// The two fits of Venn-Abers at `score`, `[low, high]`; none for other maps.
    pub fn interval(&self, score: f64) -> Option<[f64; 2]> {
        match self {
            Self::VennAbers(map) => Some(map.interval(score)),
            Self::OfProbability(map) => map.interval(log_odds(score)),
            _ => None,
        }
    }

    /// The probability of each score, in row order.
    ///
    /// # Errors
    /// [`ApplyError::Score`] for NaN and infinite scores; [`ApplyError::NotAProbability`] where a
    /// map of probabilities meets a score outside [0, 1].
    pub fn apply_all(&self, scores: &Scores) -> Result<Probabilities, ApplyError> {
        self.accept(&scores.0)?;
        let values = match self {
            Self::Isotonic(map)
            | Self::IsotonicBinned(map)
            | Self::Centred(map)
            | Self::Spline(map) => map.apply_all(&scores.0),
            _ => {
                let values = scores.0.par_iter().with_min_len(1 << 12);
                values.map(|score| self.apply(*score)).collect()
            }
        };
        Ok(Probabilities::new(values)?)
    }

    /// Checks scores before they are mapped one by one.
    ///
    /// # Errors
    /// As [`Calibrator::apply_all`].
    pub fn accept(&self, scores: &[f64]) -> Result<(), ApplyError> {
        if let Some(row) = first(scores, |score| !score.is_finite()) {
            let value = scores[row];
            return Err(ApplyError::Score { row, value });
        }
        if self.reads_probabilities()
            && let Some(row) = first(scores, |score| !(0.0..=1.0).contains(&score))
        {
            let value = scores[row];
            return Err(NotAProbability { row, value }.into());
        }
        Ok(())
    }

    /// The one score with this probability; `None` where no score or a whole range of scores has
    /// it.
    pub fn invert(&self, probability: f64) -> Option<f64> {
        match self {
            Self::Isotonic(map)
            | Self::IsotonicBinned(map)
            | Self::Centred(map)
            | Self::Spline(map) => map.invert(probability),
            Self::Sigmoid(map) => map.invert(probability),
            Self::Exponential(map) | Self::ExponentialBinned(map) => map.invert(probability),
            Self::Power(map) => map.invert(probability),
            Self::Beta(map) => map.invert(probability),
            Self::Temperature(map) => map.invert(probability),
            Self::Histogram(_) | Self::VennAbers(_) => None,
            Self::Raw => Sigmoid {
                slope: 1.0,
                intercept: 0.0,
            }
            .invert(probability),
            Self::Identity => (0.0..=1.0).contains(&probability).then_some(probability),
            Self::OfProbability(map) => map.invert(probability).map(logistic),
        }
    }
}

/// Log-odds of a claimed probability.
pub(crate) fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(PROBABILITY_CLIP, 1.0 - PROBABILITY_CLIP);
    p.ln() - (-p).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit;

    #[test]
    fn names_and_back() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
            let labels = [0.0, 1.0, 0.0, 1.0, 0.0];
            let map = fit(method, &[0.0, 1.0, 2.0, 3.0, 4.0], &labels, None).unwrap();
            assert_eq!(map.name(), method.name());
        }
        assert_eq!(Method::from_name("platt"), None);
    }

    #[test]
    fn bad_scores_are_named() {
        let all = |map: Calibrator, scores: &[f64]| {
            map.apply_all(&Scores(scores.to_vec()))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            all(Calibrator::Raw, &[0.0, f64::INFINITY]),
            "score at row 1 is inf, expected a finite number"
        );
        for map in [
            Calibrator::Identity,
            Calibrator::OfProbability(Box::new(Calibrator::Raw)),
        ] {
            assert_eq!(
                all(map, &[0.0, 0.5, -0.5]),
                "probability at row 2 is -0.5, expected a number from 0 to 1"
            );
        }
    }

    #[test]
    fn raw_and_identity_need_no_fit() {
        assert_eq!(Calibrator::Raw.apply(0.0), 0.5);
        assert_eq!(Calibrator::Raw.invert(0.5), Some(0.0));
        assert_eq!(Calibrator::Identity.apply(0.3), 0.3);
        assert_eq!(Calibrator::Identity.invert(1.5), None);
        let raw = Calibrator::OfProbability(Box::new(Calibrator::Raw));
        assert!((raw.apply(0.3) - 0.3).abs() < 1e-15);
        assert!((raw.invert(0.3).unwrap() - 0.3).abs() < 1e-15);
    }
}
