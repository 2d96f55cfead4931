//! What stands among the first k ranks: hit rate, reciprocal rank, precision, recall, average
//! precision.
//!
//! Input: one finite score and one label (0 or 1; a purchase, or a click) per row. Output: one
//! value per list. Ties are exact expectations over all orders of the tied rows, or one order under
//! `ties=stable` and `ties=docid`. All replay logged labels: a row's label was earned at the slot
//! where the logger showed it, and is credited here to the slot the new score gives it.
//!
//! ```
//! use slate_eval::{Convention, average_precision, hit, mrr, precision, recall};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([4])?;
//! let (scores, bought) = ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 0]);
//! let convention = Convention::default();
//! // Rows 1 and 2 are tied for rank 2, so the purchase is among the first 2 half of the time.
//! assert_eq!(hit(&lists, &scores, &bought, 2, &convention)?, [Some(0.5)]);
//! assert_eq!(recall(&lists, &scores, &bought, 2, &convention)?, [Some(0.5)]);
//! assert_eq!(precision(&lists, &scores, &bought, 2, &convention)?, [Some(0.25)]);
//! let rank = mrr(&lists, &scores, &bought, None, &convention)?[0].ok_or("no purchase")?;
//! assert!((rank - (0.5 / 2.0 + 0.5 / 3.0)).abs() < 1e-15);
//! // With one purchase the average precision is one over its rank.
//! let average = average_precision(&lists, &scores, &bought, None, &convention)?;
//! assert_eq!(average, [Some(rank)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use slate_types::ListOffsets;

use crate::convention::{Recalled, Short};
use crate::ranking::{List, Order, Ranking};
use crate::{Convention, EvalError, check};

/// Computes the probability that a positive is among the first `k` ranks of each list: 0 or 1
/// where no ties matter.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`], [`EvalError::NotFinite`] and
/// [`EvalError::Label`] for the columns; [`EvalError::Cutoff`] for `k` of 0;
/// [`EvalError::Missing`] for ties by id, which only [`crate::evaluate`] can break.
pub fn hit(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: usize,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "hit", Some(k), *convention)?;
    hit_of(&order, labels, k, *convention)
}

/// As [`hit`].
pub(crate) fn hit_of(
    order: &Order<'_>,
    labels: &[u8],
    k: usize,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    each_list(order, labels, |ranking, list, labels| {
        if labels.iter().all(|&label| label == 0) {
            return convention.empty.value();
        }
        let mut rank = 0;
        for group in ranking.head(&list, k, convention.ties) {
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
    })
}

/// Computes 1 ÷ the rank of the first positive of each list, and 0 where that rank is past `k`.
///
/// # Errors
/// As [`hit`].
pub fn mrr(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "mrr", k, *convention)?;
    mrr_of(&order, labels, k, *convention)
}

/// As [`mrr`].
pub(crate) fn mrr_of(
    order: &Order<'_>,
    labels: &[u8],
    k: Option<usize>,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let k = k.unwrap_or(usize::MAX);
    each_list(order, labels, |ranking, list, labels| {
        if labels.iter().all(|&label| label == 0) {
            return convention.empty.value();
        }
        let mut rank = 0;
        for group in ranking.head(&list, k, convention.ties) {
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
    })
}

/// Computes the positives among the first `k` ranks of each list ÷ k, or ÷ its rows where there
/// are fewer and the convention says `short=length`. A list without a positive has 0.
///
/// # Errors
/// As [`hit`].
pub fn precision(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: usize,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "precision", Some(k), *convention)?;
    precision_of(&order, labels, k, *convention)
}

/// As [`precision`].
pub(crate) fn precision_of(
    order: &Order<'_>,
    labels: &[u8],
    k: usize,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    each_list(order, labels, |ranking, list, labels| {
        let rows = match convention.short {
            Short::K => k,
            // A list without a ranked row has none to divide by.
            Short::Length => k.min(list.ranked()).max(1),
        };
        Some(inside(ranking, &list, labels, k, convention) / rows as f64)
    })
}

/// Computes the share of each list's positives that is among its first `k` ranks.
///
/// # Errors
/// As [`hit`].
pub fn recall(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: usize,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "recall", Some(k), *convention)?;
    recall_of(&order, labels, k, *convention)
}

/// As [`recall`].
pub(crate) fn recall_of(
    order: &Order<'_>,
    labels: &[u8],
    k: usize,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    each_list(order, labels, |ranking, list, labels| {
        match positives(labels) {
            0 => convention.empty.value(),
            all => Some(inside(ranking, &list, labels, k, convention) / all as f64),
        }
    })
}

/// Computes the average precision of each list: the precisions at the ranks of its positives, up to
/// rank `k`, summed and divided by its positives, or, where the convention says
/// `recalled=possible`, by those that fit the first `k` ranks.
///
/// # Errors
/// As [`hit`].
pub fn average_precision(
    lists: &ListOffsets,
    scores: &[f64],
    labels: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "map", k, *convention)?;
    average_precision_of(&order, labels, k, *convention)
}

/// As [`average_precision`].
pub(crate) fn average_precision_of(
    order: &Order<'_>,
    labels: &[u8],
    k: Option<usize>,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let k = k.unwrap_or(usize::MAX);
    each_list(order, labels, |ranking, list, labels| {
        let all = positives(labels);
        if all == 0 {
            return convention.empty.value();
        }
        let (mut sum, mut rank, mut before) = (0.0, 0, 0);
        for group in ranking.head(&list, k, convention.ties) {
            let (size, positives) = (group.len(), count(group, labels));
            if positives > 0 {
                // A place of the group holds a positive with this share, and then as many of the
                // other positives stand above it in the group as its rank has room for (McSherry
                // and Najork 2008).
                let share = positives as f64 / size as f64;
                let others = (positives - 1) as f64 / (size.max(2) - 1) as f64;
                for i in 0..size.min(k - rank) {
                    let above = before as f64 + 1.0 + i as f64 * others;
                    sum += share * above / (rank + i + 1) as f64;
                }
            }
            before += positives;
            rank += size;
        }
        let recalled = match convention.recalled {
            Recalled::All => all,
            Recalled::Possible => all.min(k),
        };
        Some(sum / recalled as f64)
    })
}

/// Expected number of positives among the first `k` ranks.
fn inside(
    ranking: &mut Ranking,
    list: &List<'_>,
    labels: &[u8],
    k: usize,
    convention: Convention,
) -> f64 {
    let (mut positives, mut rank) = (0.0, 0);
    for group in ranking.head(list, k, convention.ties) {
        let inside = group.len().min(k - rank);
        positives += count(group, labels) as f64 * inside as f64 / group.len() as f64;
        rank += group.len();
    }
    positives
}

/// Number of positives of a list.
fn positives(labels: &[u8]) -> usize {
    labels.iter().map(|&label| usize::from(label)).sum()
}

/// Number of positives in a group.
fn count(group: &[(u64, u32)], labels: &[u8]) -> usize {
    group
        .iter()
        .filter(|&&(_, row)| labels[row as usize] == 1)
        .count()
}

/// Checks the labels and maps each list with its own.
fn each_list(
    order: &Order<'_>,
    labels: &[u8],
    value: impl Fn(&mut Ranking, List<'_>, &[u8]) -> Option<f64> + Sync,
) -> Result<Vec<Option<f64>>, EvalError> {
    check::labels(labels, order.lists.rows())?;
    Ok(order.each_list(|ranking, list| {
        let labels = &labels[list.rows.clone()];
        value(ranking, list, labels)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Empty, Ties, ptr};

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
                let value =
                    |values: Result<Vec<Option<f64>>, EvalError>| values.unwrap()[0].unwrap();
                close(
                    ptr(&lists, &scores, &labels, k, &convention).unwrap()[0].positives,
                    over_all_orders(&scores, &count),
                    "ptr",
                );
                close(
                    value(precision(&lists, &scores, &labels, k, &convention)),
                    over_all_orders(&scores, &|order| count(order) / k.min(6) as f64),
                    "precision",
                );
                let all = positives(&labels).max(1) as f64;
                close(
                    value(recall(&lists, &scores, &labels, k, &convention)),
                    over_all_orders(&scores, &|order| count(order) / all),
                    "recall",
                );
                close(
                    value(average_precision(
                        &lists,
                        &scores,
                        &labels,
                        Some(k),
                        &convention,
                    )),
                    over_all_orders(&scores, &|order| {
                        let (mut sum, mut seen) = (0.0, 0.0);
                        for (place, &row) in order.iter().take(k).enumerate() {
                            if labels[row] == 1 {
                                seen += 1.0;
                                sum += seen / (place as f64 + 1.0);
                            }
                        }
                        sum / all
                    }),
                    "map",
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
        let error = hit(&lists, &[0.0, 1.0], &[0, 2], 1, &Convention::default()).unwrap_err();
        assert_eq!(error.to_string(), "`labels` at row 1 is 2, expected 0 or 1");
    }
}
