//! The ways to fit a map, by name.

use crate::calibrator::log_odds;
use crate::{
    Calibrator, FitError, beta, bins, exponential, histogram, isotonic, power, sigmoid, spline,
    temperature, venn_abers,
};

/// Quantile bins of [`Method::IsotonicBinned`] and [`Method::ExponentialBinned`].
pub const BINS: usize = 100;

/// A way to fit a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// [`isotonic::fit`].
    Isotonic,
    /// [`isotonic::fit_binned`] over [`BINS`] quantile bins.
    IsotonicBinned,
    /// [`isotonic::fit_centred`].
    Centred,
    /// [`sigmoid::fit`].
    Sigmoid,
    /// [`exponential::fit`].
    Exponential,
    /// [`exponential::fit_binned`] over [`BINS`] quantile bins.
    ExponentialBinned,
    /// [`power::fit`].
    Power,
    /// [`beta::fit`].
    Beta,
    /// [`temperature::fit`].
    Temperature,
    /// [`histogram::fit`].
    Histogram,
    /// [`spline::fit`].
    Spline,
    /// [`venn_abers::fit`].
    VennAbers,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 12] = [
        Self::Isotonic,
        Self::IsotonicBinned,
        Self::Centred,
        Self::Sigmoid,
        Self::Exponential,
        Self::ExponentialBinned,
        Self::Power,
        Self::Beta,
        Self::Temperature,
        Self::Histogram,
        Self::Spline,
        Self::VennAbers,
    ];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isotonic => "isotonic",
            Self::IsotonicBinned => "isotonic_binned",
            Self::Centred => "centred",
            Self::Sigmoid => "sigmoid",
            Self::Exponential => "exponential",
            Self::ExponentialBinned => "exponential_binned",
            Self::Power => "power",
            Self::Beta => "beta",
            Self::Temperature => "temperature",
            Self::Histogram => "histogram",
            Self::Spline => "spline",
            Self::VennAbers => "venn_abers",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether the fit reads scores as log-odds and depends on that: the others give the same
    /// probabilities to any rising transform of the scores, but for the ramps between their steps.
    pub fn reads_log_odds(self) -> bool {
        match self {
            Self::Sigmoid
            | Self::Exponential
            | Self::ExponentialBinned
            | Self::Power
            | Self::Beta
            | Self::Temperature
            | Self::Spline => true,
            Self::Isotonic
            | Self::IsotonicBinned
            | Self::Centred
            | Self::Histogram
            | Self::VennAbers => false,
        }
    }
}

/// What scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Margins or log-odds: any finite numbers.
    #[default]
    LogOdds,
    /// Probabilities: methods that read log-odds are given those.
    Probability,
}

/// Fits by `method` to scores that are log-odds or probabilities.
///
/// # Errors
/// Those of the method's own `fit`; [`FitError::NotAProbability`].
pub fn fit_reading(
    reads: Reads,
    method: Method,
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
) -> Result<Calibrator, FitError> {
    if reads == Reads::LogOdds {
        return fit(method, scores, labels, weights);
    }
    if let Some(row) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
        let value = scores[row];
        return Err(FitError::NotAProbability { row, value });
    }
    if !method.reads_log_odds() {
        return fit(method, scores, labels, weights);
    }
    let odds: Vec<f64> = scores.iter().map(|score| log_odds(*score)).collect();
    let map = fit(method, &odds, labels, weights)?;
    Ok(Calibrator::OfProbability(Box::new(map)))
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
    let binned = || bins::quantile(scores, labels, weights, BINS);
    Ok(match method {
        Method::Isotonic => Calibrator::Isotonic(isotonic::fit(scores, labels, weights)?),
        Method::IsotonicBinned => Calibrator::IsotonicBinned(isotonic::fit_binned(&binned()?)?),
        Method::Centred => Calibrator::Centred(isotonic::fit_centred(scores, labels, weights)?),
        Method::Sigmoid => Calibrator::Sigmoid(sigmoid::fit(scores, labels, weights)?),
        Method::Exponential => Calibrator::Exponential(exponential::fit(scores, labels, weights)?),
        Method::ExponentialBinned => {
            Calibrator::ExponentialBinned(exponential::fit_binned(&binned()?)?)
        }
        Method::Power => Calibrator::Power(power::fit(scores, labels, weights)?),
        Method::Beta => Calibrator::Beta(beta::fit(scores, labels, weights)?),
        Method::Temperature => Calibrator::Temperature(temperature::fit(scores, labels, weights)?),
        Method::Histogram => Calibrator::Histogram(histogram::fit(scores, labels, weights)?),
        Method::Spline => Calibrator::Spline(spline::fit(scores, labels, weights)?),
        Method::VennAbers => Calibrator::VennAbers(venn_abers::fit(scores, labels, weights)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_read_as_what_they_promise() {
        let claimed = [0.1, 0.2, 0.3, 0.5, 0.6, 0.9];
        let labels = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0];
        let odds = claimed.map(log_odds);
        for method in Method::ALL
            .into_iter()
            .filter(|method| method.reads_log_odds())
        {
            let of_odds = fit(method, &odds, &labels, None);
            let of_claims = fit_reading(Reads::Probability, method, &claimed, &labels, None);
            let (Ok(of_odds), Ok(of_claims)) = (of_odds, of_claims) else {
                continue;
            };
            for p in claimed {
                let gap = of_claims.apply(p) - of_odds.apply(log_odds(p));
                assert!(gap.abs() < 1e-12, "{method:?} {p} {gap}");
            }
        }
        let error = fit_reading(
            Reads::Probability,
            Method::Beta,
            &[0.2, 1.5],
            &[0.0, 1.0],
            None,
        );
        let value = 1.5;
        assert_eq!(error, Err(FitError::NotAProbability { row: 1, value }));
    }
}
