//! Scores of probabilities that need no bins: log loss, Brier score, predicted over observed.
//!
//! Input: one probability (0 to 1), one label (0 or 1) and optionally one weight (0 or more) per
//! row. The first two are proper: nobody can do better than to state what he believes.
//!
//! ```
//! use slate_eval::{brier, log_loss, pcoc};
//!
//! let (probabilities, labels) = ([0.8, 0.4], [1, 0]);
//! let nats = -(0.8_f64.ln() + 0.6_f64.ln()) / 2.0;
//! assert!((log_loss(&probabilities, &labels, None)? - nats).abs() < 1e-15);
//! assert!((brier(&probabilities, &labels, None)? - 0.1).abs() < 1e-15);
//! assert!((pcoc(&probabilities, &labels, None)? - 1.2).abs() < 1e-15);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use crate::{EvalError, check};

/// Probabilities are moved this far from 0 and 1 before the logarithm, so that a certain and
/// wrong prediction costs 34.5 nats and not infinity.
pub const LOG_LOSS_CLIP: f64 = 1e-15;

/// Loss of one row, in nats.
pub(crate) fn log_loss_of(probability: f64, label: u8) -> f64 {
    let p = probability.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
    if label == 1 { -p.ln() } else { -(-p).ln_1p() }
}

/// Entropy of a rate, in nats: the log loss of saying the rate everywhere.
pub(crate) fn entropy(rate: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    part(rate) + part(1.0 - rate)
}

/// Loss of one row.
pub(crate) fn brier_of(probability: f64, label: u8) -> f64 {
    let error = probability - f64::from(label);
    error * error
}

/// Computes the mean negative log-likelihood in nats, after [`LOG_LOSS_CLIP`]. Smaller is better.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::Probability`],
/// [`EvalError::Label`] and [`EvalError::Weight`] for the columns;
/// [`EvalError::NothingToMeasure`] when all weights are 0.
pub fn log_loss(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
) -> Result<f64, EvalError> {
    ratio("logloss", probabilities, labels, weights, |p, y| {
        [log_loss_of(p, y), 1.0]
    })
}

/// Computes the log loss divided by that of the base rate (He et al. 2014). Below 1 is better than
/// knowing the base rate alone; only samples of one base rate compare.
///
/// # Errors
/// As [`log_loss`]; [`EvalError::NothingToMeasure`] also when labels are all equal.
pub fn normalised_entropy(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
) -> Result<f64, EvalError> {
    let loss = log_loss(probabilities, labels, weights)?;
    let rate = ratio("ne", probabilities, labels, weights, |_, y| {
        [f64::from(y), 1.0]
    })?;
    match entropy(rate) {
        entropy if entropy > 0.0 => Ok(loss / entropy),
        _ => Err(EvalError::NothingToMeasure {
            metric: "ne".to_owned(),
            why: "labels are all equal",
        }),
    }
}

/// Computes the mean squared difference of probability and label, in `[0, 1]`. Smaller is better.
///
/// # Errors
/// As [`log_loss`].
pub fn brier(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
) -> Result<f64, EvalError> {
    ratio("brier", probabilities, labels, weights, |p, y| {
        [brier_of(p, y), 1.0]
    })
}

/// Computes the sum of the probabilities divided by the sum of the labels ("predicted click over
/// click", He et al. 2014). Above 1 is overconfident in the mean; near 1 is best, and alone proves
/// little.
///
/// # Errors
/// As [`log_loss`]; [`EvalError::NothingToMeasure`] also when no label is 1.
pub fn pcoc(
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
) -> Result<f64, EvalError> {
    ratio("pcoc", probabilities, labels, weights, |p, y| {
        [p, f64::from(y)]
    })
}

fn ratio(
    metric: &str,
    probabilities: &[f64],
    labels: &[u8],
    weights: Option<&[f64]>,
    parts: impl Fn(f64, u8) -> [f64; 2],
) -> Result<f64, EvalError> {
    check::probabilities(probabilities, probabilities.len())?;
    check::labels(labels, probabilities.len())?;
    check::weights(weights, probabilities.len())?;
    let (mut above, mut below) = (0.0, 0.0);
    for (row, (&p, &y)) in probabilities.iter().zip(labels).enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[row]);
        let [numerator, denominator] = parts(p, y);
        above += weight * numerator;
        below += weight * denominator;
    }
    if below > 0.0 {
        Ok(above / below)
    } else {
        Err(EvalError::NothingToMeasure {
            metric: metric.to_owned(),
            why: why_nothing(metric),
        })
    }
}

/// Why a denominator is 0.
pub(crate) fn why_nothing(metric: &str) -> &'static str {
    if metric == "pcoc" {
        "no row has label 1 and a weight above 0"
    } else {
        "all weights are 0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_and_wrong_is_finite() {
        let loss = log_loss(&[0.0, 1.0], &[1, 0], None).unwrap();
        assert!((34.0..35.0).contains(&loss), "{loss}");
        assert!(log_loss(&[0.0, 1.0], &[0, 1], None).unwrap() < 1e-14);
    }

    #[test]
    fn weights_count_as_rows() {
        let (p, y) = ([0.2, 0.7], [0, 1]);
        let (pp, yy) = ([0.2, 0.7, 0.7, 0.7], [0, 1, 1, 1]);
        for metric in [log_loss, brier, pcoc] {
            let weighted = metric(&p, &y, Some(&[1.0, 3.0])).unwrap();
            let repeated = metric(&pp, &yy, None).unwrap();
            assert!((weighted - repeated).abs() < 1e-15, "{weighted} {repeated}");
        }
    }

    #[test]
    fn nothing_to_measure_is_said() {
        assert!(
            pcoc(&[0.5], &[0], None)
                .unwrap_err()
                .to_string()
                .contains("no row has label 1")
        );
        let error = brier(&[0.5], &[0], Some(&[0.0])).unwrap_err();
        assert!(error.to_string().ends_with("all weights are 0"), "{error}");
        let error = brier(&[1.5], &[0], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`probabilities` at row 0 is 1.5, expected a number from 0 to 1"
        );
    }
}
