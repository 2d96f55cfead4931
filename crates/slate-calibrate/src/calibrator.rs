//! Any of the maps behind one face.

use slate_types::{NotAProbability, Probabilities, Scores};

use crate::sigmoid::logistic;
use crate::{Exponential, FitError, Isotonic, Sigmoid, exponential, isotonic, sigmoid};

/// A way to fit a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// [`isotonic::fit`].
    Isotonic,
    /// [`sigmoid::fit`].
    Sigmoid,
    /// [`exponential::fit`].
    Exponential,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Isotonic, Self::Sigmoid, Self::Exponential];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isotonic => "isotonic",
            Self::Sigmoid => "sigmoid",
            Self::Exponential => "exponential",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A non-decreasing map from score to probability.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Calibrator {
    /// Fitted knots.
    Isotonic(Isotonic),
    /// Fitted log-odds.
    Sigmoid(Sigmoid),
    /// Fitted log rate.
    Exponential(Exponential),
    /// `1 / (1 + exp(-score))`: what a network trained with cross-entropy claims by itself.
    Raw,
    /// For scores that are probabilities already.
    Identity,
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
    /// [`Calibrator::Identity`] met a score that is no probability.
    #[error(transparent)]
    NotAProbability(#[from] NotAProbability),
}

/// Fits by `method`.
///
/// # Errors
/// Those of the method's own `fit`.
pub fn fit(
    method: Method,
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
) -> Result<Calibrator, FitError> {
    Ok(match method {
        Method::Isotonic => Calibrator::Isotonic(isotonic::fit(scores, labels, weights)?),
        Method::Sigmoid => Calibrator::Sigmoid(sigmoid::fit(scores, labels, weights)?),
        Method::Exponential => Calibrator::Exponential(exponential::fit(scores, labels, weights)?),
    })
}

impl Calibrator {
    /// The name used in files: that of the method, or `raw` or `identity`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Isotonic(_) => Method::Isotonic.name(),
            Self::Sigmoid(_) => Method::Sigmoid.name(),
            Self::Exponential(_) => Method::Exponential.name(),
            Self::Raw => "raw",
            Self::Identity => "identity",
        }
    }

    /// The probability at `score`, in `[0, 1]`; NaN gives NaN. `Identity` cuts at 0 and 1.
    pub fn apply(&self, score: f64) -> f64 {
        match self {
            Self::Isotonic(map) => map.apply(score),
            Self::Sigmoid(map) => map.apply(score),
            Self::Exponential(map) => map.apply(score),
            Self::Raw => logistic(score),
            Self::Identity => score.clamp(0.0, 1.0),
        }
    }

    /// The probability of each score, in row order.
    ///
    /// # Errors
    /// [`ApplyError::Score`] for NaN and infinite scores; [`ApplyError::NotAProbability`] where
    /// `Identity` meets a score outside [0, 1].
    pub fn apply_all(&self, scores: &Scores) -> Result<Probabilities, ApplyError> {
        if let Some(row) = scores.0.iter().position(|score| !score.is_finite()) {
            return Err(ApplyError::Score {
                row,
                value: scores.0[row],
            });
        }
        let values = match self {
            Self::Identity => scores.0.clone(),
            _ => scores.0.iter().map(|score| self.apply(*score)).collect(),
        };
        Ok(Probabilities::new(values)?)
    }

    /// The one score with this probability; `None` where no score or a whole range of scores has
    /// it.
    pub fn invert(&self, probability: f64) -> Option<f64> {
        match self {
            Self::Isotonic(map) => map.invert(probability),
            Self::Sigmoid(map) => map.invert(probability),
            Self::Exponential(map) => map.invert(probability),
            Self::Raw => Sigmoid {
                slope: 1.0,
                intercept: 0.0,
            }
            .invert(probability),
            Self::Identity => (0.0..=1.0).contains(&probability).then_some(probability),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
            let map = fit(method, &[0.0, 1.0, 2.0], &[0.0, 1.0, 0.0], None).unwrap();
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
        assert_eq!(
            all(Calibrator::Identity, &[0.0, 0.5, -0.5]),
            "probability at row 2 is -0.5, expected a number from 0 to 1"
        );
    }

    #[test]
    fn raw_and_identity_need_no_fit() {
        assert_eq!(Calibrator::Raw.apply(0.0), 0.5);
        assert_eq!(Calibrator::Raw.invert(0.5), Some(0.0));
        assert_eq!(Calibrator::Identity.apply(0.3), 0.3);
        assert_eq!(Calibrator::Identity.invert(1.5), None);
    }
}
