//! Area under the ROC curve: the probability that a positive scores above a negative.
//!
//! Over all rows of all lists, so scores must be comparable across lists. A tied pair counts half.
//! Weighted rows count as that many rows (Fawcett 2006). Larger is better; 0.5 is chance.
//!
//! ```
//! // Of the four pairs three are in order and one is tied.
//! let value = slate_eval::auc(&[0.1, 0.4, 0.4, 0.8], &[0, 0, 1, 1], None)?;
//! assert_eq!(value, 3.5 / 4.0);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use slate_types::ListOffsets;

use crate::ranking::{Order, key};
use crate::{Convention, EvalError, Ties, check};

/// Computes the area under the ROC curve, in `[0, 1]`.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::NotFinite`], [`EvalError::Label`]
/// and [`EvalError::Weight`] for the columns; [`EvalError::NothingToMeasure`] unless there are
/// both a positive and a negative with weight above 0.
pub fn auc(scores: &[f64], labels: &[u8], weights: Option<&[f64]>) -> Result<f64, EvalError> {
    check::scores(scores, scores.len())?;
    check::labels(labels, scores.len())?;
    check::weights(weights, scores.len())?;
    let rows = RankedRows::new(scores, labels, weights, &vec![0; scores.len()]);
    rows.value(|_| 1.0).ok_or_else(|| nothing(labels, weights))
}

/// Computes the area of each list by itself: the share of its pairs of a positive and a negative
/// that are in order, a tied pair counting half. None for a list of one class.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::NotFinite`] and
/// [`EvalError::Label`] for the columns.
pub fn list_auc(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "list_auc", None, Convention::default())?;
    check::labels(labels, lists.rows())?;
    Ok(order.each_list(|ranking, list| {
        let labels = &labels[list.rows.clone()];
        let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
        for group in ranking.head(&list, usize::MAX, Ties::Mean) {
            let tied = group.iter().filter(|&&(_, row)| labels[row as usize] == 1);
            let tied_positives = tied.count() as f64;
            let tied_negatives = group.len() as f64 - tied_positives;
            area += tied_negatives * (positives + 0.5 * tied_positives);
            positives += tied_positives;
            negatives += tied_negatives;
        }
        (positives > 0.0 && negatives > 0.0).then(|| area / positives / negatives)
    }))
}

/// The error for a sample with one class only.
pub(crate) fn nothing(labels: &[u8], weights: Option<&[f64]>) -> EvalError {
    let any = |class: u8| {
        labels
            .iter()
            .enumerate()
            .any(|(row, &label)| label == class && weights.is_none_or(|w| w[row] > 0.0))
    };
    let why = match (any(0), any(1)) {
        (_, false) => "no row has label 1 and a weight above 0",
        _ => "no row has label 0 and a weight above 0",
    };
    EvalError::NothingToMeasure {
        metric: "auc".to_owned(),
        why,
    }
}

/// All rows, sorted once, so that a resample of the lists only changes weights.
pub(crate) struct RankedRows {
    rows: Vec<Row>,
}

struct Row {
    weight: f64,
    cluster: u32,
    positive: bool,
    /// The next row has another score.
    last_of_group: bool,
}

impl RankedRows {
    /// `cluster_of_row` says which cluster each row belongs to. Columns are checked.
    pub(crate) fn new(
        scores: &[f64],
        labels: &[u8],
        weights: Option<&[f64]>,
        cluster_of_row: &[u32],
    ) -> Self {
        let mut order: Vec<(u64, usize)> = scores
            .iter()
            .enumerate()
            .map(|(row, &score)| (key(score), row))
            .collect();
        order.sort_unstable();
        let rows = (0..order.len())
            .map(|i| {
                let (key, row) = order[i];
                Row {
                    weight: weights.map_or(1.0, |weights| weights[row]),
                    cluster: cluster_of_row[row],
                    positive: labels[row] == 1,
                    last_of_group: order.get(i + 1).is_none_or(|next| next.0 != key),
                }
            })
            .collect();
        Self { rows }
    }

    /// The area, and what each cluster moves it by, to first order (Obuchowski 1997): how far its
    /// rows' shares of beaten opponents lie from the mean.
    pub(crate) fn linear(&self, clusters: usize) -> Option<(f64, Vec<f64>)> {
        let value = self.value(|_| 1.0)?;
        let sum = |positive: bool| -> f64 {
            let of = self.rows.iter().filter(|row| row.positive == positive);
            of.map(|row| row.weight).sum()
        };
        let (all_positives, all_negatives) = (sum(true), sum(false));
        let mut influence = vec![0.0; clusters];
        let (mut positives, mut negatives, mut start) = (0.0, 0.0, 0);
        for end in (1..=self.rows.len()).filter(|end| self.rows[end - 1].last_of_group) {
            let group = &self.rows[start..end];
            let [mut tied_positives, mut tied_negatives] = [0.0; 2];
            for row in group {
                if row.positive {
                    tied_positives += row.weight;
                } else {
                    tied_negatives += row.weight;
                }
            }
            let beaten = all_negatives - negatives - 0.5 * tied_negatives;
            let above = positives + 0.5 * tied_positives;
            for row in group {
                let (share, all) = if row.positive {
                    (beaten / all_negatives, all_positives)
                } else {
                    (above / all_positives, all_negatives)
                };
                influence[row.cluster as usize] += row.weight / all * (share - value);
            }
            positives += tied_positives;
            negatives += tied_negatives;
            start = end;
        }
        Some((value, influence))
    }

    /// The area with each row counted `count(its cluster)` times; `None` when a class has no weight.
    pub(crate) fn value(&self, count: impl Fn(usize) -> f64) -> Option<f64> {
        // From the best score down: a negative is beaten by all positives above it.
        let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
        let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
        for row in &self.rows {
            let weight = row.weight * count(row.cluster as usize);
            if row.positive {
                tied_positives += weight;
            } else {
                tied_negatives += weight;
            }
            if row.last_of_group {
                area += tied_negatives * (positives + 0.5 * tied_positives);
                positives += tied_positives;
                negatives += tied_negatives;
                (tied_positives, tied_negatives) = (0.0, 0.0);
            }
        }
        (positives > 0.0 && negatives > 0.0).then(|| (area / positives / negatives).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_counting_pairs(rows in prop::collection::vec((0_u8..6, 0_u8..2, 0_u8..4), 2..40)) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let labels: Vec<u8> = rows.iter().map(|row| row.1).collect();
            let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
            let (mut area, mut pairs) = (0.0, 0.0);
            for p in (0..rows.len()).filter(|&p| labels[p] == 1) {
                for n in (0..rows.len()).filter(|&n| labels[n] == 0) {
                    let weight = weights[p] * weights[n];
                    pairs += weight;
                    area += weight * match scores[p].total_cmp(&scores[n]) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            let whole = slate_types::ListOffsets::from_lengths([rows.len() as u64]).unwrap();
            let alone = list_auc(&whole, &scores, &labels).unwrap()[0];
            let value = auc(&scores, &labels, None).ok();
            prop_assert_eq!(alone.is_some(), value.is_some());
            if let (Some(alone), Some(value)) = (alone, value) {
                prop_assert!((alone - value).abs() < 1e-12);
            }
            match auc(&scores, &labels, Some(&weights)) {
                Ok(value) => prop_assert!((value - area / pairs).abs() < 1e-12),
                Err(error) => {
                    prop_assert!(pairs == 0.0, "{}", error);
                    let nothing = matches!(error, EvalError::NothingToMeasure { .. });
                    prop_assert!(nothing);
                }
            }
        }
    }

    #[test]
    fn influences_are_what_leaving_a_cluster_out_changes() {
        let n = 600;
        let seed = slate_types::Seed(6);
        let scores: Vec<f64> = (0..n)
            .map(|i| (20.0 * seed.index(i).unit()).floor())
            .collect();
        let labels: Vec<u8> = (0..n)
            .map(|i| u8::from(seed.derive("y").index(i).unit() < scores[i as usize] / 30.0))
            .collect();
        let clusters: Vec<u32> = (0..n as u32).map(|i| i / 6).collect();
        let rows = RankedRows::new(&scores, &labels, None, &clusters);
        let (value, influence) = rows.linear(100).unwrap();
        assert!(influence.iter().sum::<f64>().abs() < 1e-12);
        for (left_out, expected) in influence.iter().enumerate() {
            let rest = rows
                .value(|cluster| f64::from(u8::from(cluster != left_out)))
                .unwrap();
            let gap = value - rest - expected;
            assert!(gap.abs() < 2e-4, "{left_out} {gap}");
        }
    }

    #[test]
    fn one_class_is_nothing_to_measure() {
        let error = auc(&[0.1, 0.2], &[0, 0], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nothing to measure for `auc`: no row has label 1 and a weight above 0"
        );
        assert!(
            auc(&[0.1, 0.2], &[1, 1], None)
                .unwrap_err()
                .to_string()
                .contains("label 0")
        );
    }
}
