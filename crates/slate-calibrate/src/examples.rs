//! The door: rows are checked once, here, and rows of weight 0 are left out.

use crate::FitError;

/// Which labels a method takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// 0 or 1.
    Binary,
    /// Any share from 0 to 1.
    Share,
}

/// Checked rows with weight above 0, in the order given.
pub(crate) struct Examples {
    /// Finite; -0 has become 0.
    pub(crate) scores: Vec<f64>,
    /// 0 to 1.
    pub(crate) labels: Vec<f64>,
    /// Positive and finite.
    pub(crate) weights: Vec<f64>,
}

impl Examples {
    /// Checks rows and takes those with weight. There are at least two, and both classes have
    /// weight.
    pub(crate) fn new(
        scores: &[f64],
        labels: &[f64],
        weights: Option<&[f64]>,
        accept: Labels,
    ) -> Result<Self, FitError> {
        let rows = scores.len();
        for (what, given) in [
            ("labels", labels.len()),
            ("weights", weights.map_or(rows, <[f64]>::len)),
        ] {
            if given != rows {
                return Err(FitError::Length {
                    what,
                    given,
                    expected: rows,
                });
            }
        }
        let mut examples = Self {
            scores: vec![],
            labels: vec![],
            weights: vec![],
        };
        let (mut positive, mut negative) = (0.0, 0.0);
        for row in 0..rows {
            let (score, label) = (scores[row], labels[row]);
            let weight = weights.map_or(1.0, |weights| weights[row]);
            if !score.is_finite() {
                return Err(FitError::Score { row, value: score });
            }
            let expected = match accept {
                Labels::Binary if label != 0.0 && label != 1.0 => Some("0 or 1"),
                Labels::Share if !(0.0..=1.0).contains(&label) => Some("a number from 0 to 1"),
                _ => None,
            };
            if let Some(expected) = expected {
                return Err(FitError::Label {
                    row,
                    value: label,
                    expected,
                });
            }
            if !weight.is_finite() || weight < 0.0 {
                return Err(FitError::Weight { row, value: weight });
            }
            if weight > 0.0 {
                examples.scores.push(score + 0.0);
                examples.labels.push(label);
                examples.weights.push(weight);
                positive += weight * label;
                negative += weight * (1.0 - label);
            }
        }
        let got = examples.scores.len();
        if got == 0 && rows > 0 {
            Err(FitError::NoWeight { rows })
        } else if got < 2 {
            Err(FitError::TooFew { needed: 2, got })
        } else if positive == 0.0 || negative == 0.0 {
            Err(FitError::OneClass {
                rows: got,
                label: u8::from(positive > 0.0),
            })
        } else {
            Ok(examples)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> String {
        match Examples::new(scores, labels, weights, Labels::Binary) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bad_rows_are_named() {
        let two = [0.0, 1.0];
        for (given, expected) in [
            (
                error(&two, &[0.0], None),
                "`labels` has 1 rows, expected 2 as `scores` has",
            ),
            (
                error(&two, &two, Some(&[1.0])),
                "`weights` has 1 rows, expected 2 as `scores` has",
            ),
            (
                error(&[0.0, f64::NAN], &two, None),
                "`scores` at row 1 is NaN, expected a finite number",
            ),
            (
                error(&two, &[0.0, 0.5], None),
                "`labels` at row 1 is 0.5, expected 0 or 1",
            ),
            (
                error(&two, &[f64::NAN, 0.0], None),
                "`labels` at row 0 is NaN, expected 0 or 1",
            ),
            (
                error(&two, &two, Some(&[1.0, -1.0])),
                "`weights` at row 1 is -1, expected a finite number from 0 up",
            ),
            (
                error(&two, &two, Some(&[0.0; 2])),
                "all 2 weights are 0, nothing to fit",
            ),
            (
                error(&two, &[0.0; 2], None),
                "all 2 labels are 0, nothing to fit",
            ),
            (
                error(&two, &[1.0; 2], None),
                "all 2 labels are 1, nothing to fit",
            ),
            (
                error(&two, &two, Some(&[1.0, 0.0])),
                "need at least 2 rows with a weight above 0, got 1",
            ),
            (
                error(&[], &[], None),
                "need at least 2 rows with a weight above 0, got 0",
            ),
            (error(&two, &two, None), "none"),
        ] {
            assert_eq!(given, expected);
        }
        assert!(Examples::new(&two, &[0.2, 0.7], None, Labels::Share).is_ok());
        assert!(Examples::new(&two, &[0.2, 1.7], None, Labels::Share).is_err());
    }
}
