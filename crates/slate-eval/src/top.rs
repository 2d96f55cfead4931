//! What stands among the first k ranks: purchase-through rate, hit rate, reciprocal rank.
//!
//! Input: one finite score and one label (0 or 1; a purchase, or a click) per row. Output: one
//! value per list. Ties are exact expectations over all orders of the tied rows, or row order
//! under `ties=stable`. All three replay logged labels: a row's label was earned at the slot where
//! the logger showed it, and is credited here to the slot the new score gives it.
//!
//! ```
//! use slate_eval::{Convention, hit, mrr, ptr};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([4])?;
//! let (scores, bought) = ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 0]);
//! let convention = Convention::default();
//! // Rows 1 and 2 are tied for rank 2, so the purchase is among the first 2 half of the time.
//! let counts = ptr(&lists, &scores, &bought, 2, &convention)?;
//! assert_eq!((counts[0].positives, counts[0].placements), (0.5, 2));
//! assert_eq!(hit(&lists, &scores, &bought, 2, &convention)?, [Some(0.5)]);
//! let rank = mrr(&lists, &scores, &bought, None, &convention)?[0].ok_or("no purchase")?;
//! assert!((rank - (0.5 / 2.0 + 0.5 / 3.0)).abs() < 1e-15);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use rayon::prelude::*;
use slate_types::ListOffsets;

use crate::ranking::Ranking;
use crate::{Convention, EvalError, check};

/// What the first k ranks of a list hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopCount {
    /// Expected number of rows with label 1.
    pub positives: f64,
    /// Number of rows: k, or the list's length where it is shorter.
    pub placements: usize,
}

/// Counts purchases and placements among the first `k` ranks of each list.
///
/// PTR@k is the sum of the purchases divided by the sum of the placements (or by the number of
/// lists, see [`crate::Per`]); [`crate::evaluate`] does that.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::NotFinite`] and
/// [`EvalError::Label`] for the columns; [`EvalError::Cutoff`] for `k` of 0.
pub fn ptr(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: usize,
    convention: &Convention,
) -> Result<Vec<TopCount>, EvalError> {
    each_list(
        lists,
        scores,
        labels,
        ("ptr@0", k),
        |ranking, scores, labels| {
            let (mut positives, mut rank) = (0.0, 0);
            for group in ranking.head(scores, k, convention.ties) {
                let inside = group.len().min(k - rank);
                positives += count(group, labels) as f64 * inside as f64 / group.len() as f64;
                rank += group.len();
            }
            TopCount {
                positives,
                placements: scores.len().min(k),
            }
        },
    )
}

/// Computes the probability that a positive is among the first `k` ranks of each list: 0 or 1
/// where no ties matter.
///
/// # Errors
/// As [`ptr`].
pub fn hit(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: usize,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    each_list(
        lists,
        scores,
        labels,
        ("hit@0", k),
        |ranking, scores, labels| {
            if labels.iter().all(|&label| label == 0) {
                return convention.empty.value();
            }
            let mut rank = 0;
            for group in ranking.head(scores, k, convention.ties) {
                let positives = count(group, labels);
                let inside = group.len().min(k - rank);
                if positives > 0 {
                    // 1 - C(size - positives, inside) / C(size, inside), factor by factor. The first
                    // group with a positive decides: it is inside, or it is the last.
                    let miss: f64 = (0..inside)
                        .map(|i| {
                            (group.len() - positives).saturating_sub(i) as f64
                                / (group.len() - i) as f64
                        })
                        .product();
                    return Some(1.0 - miss);
                }
                rank += group.len();
            }
            Some(0.0)
        },
    )
}

/// Computes 1 ÷ the rank of the first positive of each list, and 0 where that rank is past `k`.
///
/// # Errors
/// As [`ptr`].
pub fn mrr(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let k = k.unwrap_or(usize::MAX);
    each_list(
        lists,
        scores,
        labels,
        ("mrr@0", k),
        |ranking, scores, labels| {
            if labels.iter().all(|&label| label == 0) {
                return convention.empty.value();
            }
            let mut rank = 0;
            for group in ranking.head(scores, k, convention.ties) {
                let positives = count(group, labels);
                if positives > 0 {
                    // `none` is the probability that the first i rows of the group are all negative.
                    let (mut expected, mut none) = (0.0, 1.0);
                    for i in 0..=(group.len() - positives).min(k - rank - 1) {
                        let first = positives as f64 / (group.len() - i) as f64;
                        expected += none * first / (rank + i + 1) as f64;
                        none *= 1.0 - first;
                    }
                    return Some(expected);
                }
                rank += group.len();
            }
            Some(0.0)
        },
    )
}

/// Number of positives in a group.
fn count(group: &[(u64, u32)], labels: &[u8]) -> usize {
    group
        .iter()
        .filter(|&&(_, row)| labels[row as usize] == 1)
        .count()
}

/// Checks the columns and maps each list, in parallel, in list order.
fn each_list<T: Send>(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    (name, k): (&str, usize),
    value: impl Fn(&mut Ranking, &[f64], &[u8]) -> T + Sync,
) -> Result<Vec<T>, EvalError> {
    check::scores(scores, lists.rows())?;
    check::labels(labels, lists.rows())?;
    if k == 0 {
        return Err(EvalError::Cutoff {
            given: name.to_owned(),
        });
    }
    Ok(lists
        .as_slice()
        .par_windows(2)
        .with_min_len(64)
        .map_init(Ranking::default, |ranking, ends| {
            let rows = ends[0] as usize..ends[1] as usize;
            value(ranking, &scores[rows.clone()], &labels[rows])
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Empty, Ties};

    /// Mean of `value` over all orders that sort `scores` falling.
    fn over_all_orders(scores: &[f64], value: &dyn Fn(&[usize]) -> f64) -> f64 {
        fn permute(rest: &mut Vec<usize>, done: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
            if rest.is_empty() {
                all.push(done.clone());
            }
            for i in 0..rest.len() {
                let row = rest.remove(i);
                done.push(row);
                permute(rest, done, all);
                done.pop();
                rest.insert(i, row);
            }
        }
        let mut all = Vec::new();
        permute(&mut (0..scores.len()).collect(), &mut Vec::new(), &mut all);
        all.retain(|order| {
            order
                .windows(2)
                .all(|pair| scores[pair[0]] >= scores[pair[1]])
        });
        all.iter().map(|order| value(order)).sum::<f64>() / all.len() as f64
    }

    #[test]
    fn ties_are_exact_expectations() {
        let convention = Convention {
            empty: Empty::Zero,
            ..Convention::default()
        };
        let scores = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let lists = ListOffsets::from_lengths([6]).unwrap();
        for mask in 0_u8..64 {
            let labels: Vec<u8> = (0..6).map(|row| mask >> row & 1).collect();
            for k in 1..=7 {
                let close = |ours: f64, theirs: f64, what: &str| {
                    assert!(
                        (ours - theirs).abs() < 1e-12,
                        "{what}@{k} {labels:?} {ours} {theirs}"
                    );
                };
                let found =
                    |order: &[usize]| order.iter().take(k).position(|&row| labels[row] == 1);
                let count = |order: &[usize]| {
                    order
                        .iter()
                        .take(k)
                        .filter(|&&row| labels[row] == 1)
                        .count() as f64
                };
                close(
                    ptr(&lists, &scores, &labels, k, &convention).unwrap()[0].positives,
                    over_all_orders(&scores, &count),
                    "ptr",
                );
                close(
                    hit(&lists, &scores, &labels, k, &convention).unwrap()[0].unwrap(),
                    over_all_orders(&scores, &|order| f64::from(found(order).is_some())),
                    "hit",
                );
                close(
                    mrr(&lists, &scores, &labels, Some(k), &convention).unwrap()[0].unwrap(),
                    over_all_orders(&scores, &|order| {
                        found(order).map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
                    }),
                    "mrr",
                );
            }
        }
    }

    #[test]
    fn stable_ties_keep_row_order() {
        let convention = Convention {
            ties: Ties::Stable,
            ..Convention::default()
        };
        let lists = ListOffsets::from_lengths([3]).unwrap();
        let value = |labels: &[u8]| mrr(&lists, &[0.0; 3], labels, None, &convention).unwrap()[0];
        assert_eq!(value(&[0, 1, 0]), Some(0.5));
        assert_eq!(value(&[0, 0, 0]), None);
    }

    #[test]
    fn a_label_of_two_is_refused() {
        let lists = ListOffsets::from_lengths([2]).unwrap();
        let error = ptr(&lists, &[0.0, 1.0], &[0, 2], 1, &Convention::default()).unwrap_err();
        assert_eq!(error.to_string(), "`labels` at row 1 is 2, expected 0 or 1");
    }
}
