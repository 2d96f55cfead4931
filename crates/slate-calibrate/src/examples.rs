//! The door: rows are checked once, here, and rows of weight 0 are left out.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::FitError;

/// Rows looked at by one thread at a time.
const CHUNK: usize = 1 << 14;

/// Which labels a method takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// 0 or 1.
    Binary,
    /// Any share from 0 to 1.
    Share,
}

/// Checked rows with weight above 0, in the order given.
pub(crate) struct Examples<'a> {
    /// Finite.
    pub(crate) scores: Cow<'a, [f64]>,
    /// 0 to 1.
    pub(crate) labels: Cow<'a, [f64]>,
    /// Positive and finite; none where each row weighs 1.
    pub(crate) weights: Option<Cow<'a, [f64]>>,
    /// Whether each label is 0 or 1.
    pub(crate) binary: bool,
    /// Sum of the weights.
    pub(crate) weight: f64,
    /// Sum of weight × label.
    pub(crate) positive: f64,
}

impl<'a> Examples<'a> {
    /// Checks rows and takes those with weight. There are at least two, and both classes have
    /// weight.
    pub(crate) fn new(
        scores: &'a [f64],
        labels: &'a [f64],
        weights: Option<&'a [f64]>,
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
        if let Some(row) = first(scores, |score| !score.is_finite()) {
            let value = scores[row];
            return Err(FitError::Score { row, value });
        }
        let (bad, expected): (fn(f64) -> bool, _) = match accept {
            Labels::Binary => (|label| label != 0.0 && label != 1.0, "0 or 1"),
            Labels::Share => (
                |label| !(0.0..=1.0).contains(&label),
                "a number from 0 to 1",
            ),
        };
        if let Some(row) = first(labels, bad) {
            return Err(FitError::Label {
                row,
                value: labels[row],
                expected,
            });
        }
        if let Some(weights) = weights
            && let Some(row) = first(weights, |weight| !weight.is_finite() || weight < 0.0)
        {
            let value = weights[row];
            return Err(FitError::Weight { row, value });
        }
        let mut examples = Self {
            scores: Cow::Borrowed(scores),
            labels: Cow::Borrowed(labels),
            weights: weights.map(Cow::Borrowed),
            binary: false,
            weight: 0.0,
            positive: 0.0,
        };
        if let Some(weights) = weights
            && weights.contains(&0.0)
        {
            let kept = |column: &[f64]| -> Cow<'a, [f64]> {
                let rows = column.iter().zip(weights);
                rows.filter(|(_, weight)| **weight > 0.0)
                    .map(|(value, _)| *value)
                    .collect()
            };
            examples.scores = kept(scores);
            examples.labels = kept(labels);
            examples.weights = Some(kept(weights));
        }
        examples.binary = accept == Labels::Binary
            || first(&examples.labels, |label| label != 0.0 && label != 1.0).is_none();
        let got = examples.scores.len();
        let sums: Vec<[f64; 3]> = (0..got.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let rows = chunk * CHUNK..((chunk + 1) * CHUNK).min(got);
                rows.fold([0.0; 3], |[weight, positive, negative], row| {
                    let (label, of_row) = (examples.labels[row], examples.weight(row));
                    [
                        weight + of_row,
                        positive + of_row * label,
                        negative + of_row * (1.0 - label),
                    ]
                })
            })
            .collect();
        let [weight, positive, negative] = sums
            .iter()
            .fold([0.0; 3], |sum, part| [0, 1, 2].map(|i| sum[i] + part[i]));
        examples.weight = weight;
        examples.positive = positive;
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

    /// Refuses rows whose positives all stand above, or at, a score that all negatives stand below,
    /// or at: the steeper a curve the likelier, without end. Labels are 0 or 1.
    pub(crate) fn refuse_separable(&self) -> Result<(), FitError> {
        let rows = self.scores.iter().zip(&*self.labels);
        let (lowest, highest) = rows.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(lowest, highest), (score, label)| {
                if *label == 1.0 {
                    (score.min(lowest), highest)
                } else {
                    (lowest, score.max(highest))
                }
            },
        );
        let one_score = self.scores.iter().all(|score| *score == self.scores[0]);
        if lowest >= highest && !one_score {
            Err(FitError::Separable)
        } else {
            Ok(())
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    /// Weight of a row.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }
}

/// The first row for which `bad` holds.
pub(crate) fn first(values: &[f64], bad: impl Fn(f64) -> bool + Sync) -> Option<usize> {
    // Whole chunks first, without leaving early, which the compiler makes wide operations of.
    let chunk = values
        .par_chunks(CHUNK)
        .position_first(|chunk| chunk.iter().fold(false, |any, value| any | bad(*value)))?;
    let start = chunk * CHUNK;
    values[start..]
        .iter()
        .position(|value| bad(*value))
        .map(|row| start + row)
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
