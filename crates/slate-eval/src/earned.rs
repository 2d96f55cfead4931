//! What the first k ranks earn: purchases, clicks or revenue, as logged or weighted by propensity.
//!
//! Input: one finite score per row, what the row earned (1 or 0, or an amount of money), and, for
//! anything but replay, its logged slot (from 0) and the probability with which the logger put it
//! there. Output: sums per list. Three ways to count:
//!
//! - *replay* credits a row with what it earned wherever it was shown. It favours the logger: what
//!   stood high was looked at, and keeps that credit here.
//! - *IPS* counts a row only where the new order puts it at the slot it was shown in, divided by the
//!   probability of that (item-position estimator, Li et al. 2018): unbiased where propensities are
//!   right and what an item earns at a slot does not depend on its neighbours.
//! - *SNIPS* divides that by the mean of the same weights (Swaminathan and Joachims 2015): a little
//!   bias, much less variance.
//!
//! ```
//! use slate_eval::{Convention, ptr};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([4])?;
//! let counts = ptr(&lists, &[0.9, 0.5, 0.5, 0.1], &[0, 1, 0, 0], 2, &Convention::default())?;
//! // The purchase is tied for rank 2, so it is among the first 2 half of the time.
//! assert_eq!((counts[0].positives, counts[0].placements), (0.5, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use slate_types::ListOffsets;

use crate::ranking::Order;
use crate::{Convention, EvalError, Sample, check};

/// What the first k ranks of a list hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopCount {
    /// Expected number of rows with label 1.
    pub positives: f64,
    /// Number of rows: k, or the list's length where it is shorter.
    pub placements: usize,
}

/// How what a row earned is credited to a new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// As logged.
    Replay,
    /// Weighted by inverse propensity.
    Ips,
    /// That, divided by the mean weight.
    Snips,
}

impl Via {
    /// The name in a metric's name and in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Ips => "ips",
            Self::Snips => "snips",
        }
    }
}

/// Counts purchases and placements among the first `k` ranks of each list, by replay.
///
/// PTR@k is the sum of the purchases divided by the sum of the placements (or by the number of
/// lists or pages, see [`crate::Per`]); [`crate::evaluate`] does that.
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
    check::labels(labels, lists.rows())?;
    let order = Order::new(lists, scores, None, "ptr", Some(k), *convention)?;
    let earned = earned(&order, k, *convention, &|row| f64::from(labels[row]), None);
    Ok(earned
        .into_iter()
        .map(|of_list| TopCount {
            positives: of_list.value,
            placements: of_list.placements,
        })
        .collect())
}

/// Sums over the first k ranks of one list.
pub(crate) struct Earned {
    /// Of weight × what the row earned.
    pub(crate) value: f64,
    /// Of the weights; the placements in replay.
    pub(crate) weight: f64,
    /// Of the squares of the weights; 0 in replay.
    squares: f64,
    /// The largest weight; 0 in replay.
    largest: f64,
    /// k, or the list's length where it is shorter.
    pub(crate) placements: usize,
}

/// Where rows were shown, and how likely that was.
#[derive(Clone, Copy)]
pub(crate) struct Logged<'a> {
    /// From 0.
    pub(crate) slots: &'a [u32],
    /// Above 0, to 1.
    pub(crate) propensities: &'a [f64],
}

/// Sums what rows are `worth`, by replay or, with `logged`, by inverse propensity.
pub(crate) fn earned(
    order: &Order<'_>,
    k: usize,
    convention: Convention,
    worth: &(dyn Fn(usize) -> f64 + Sync),
    logged: Option<Logged<'_>>,
) -> Vec<Earned> {
    order.each_list(|ranking, list| {
        let (mut value, mut weight, mut rank) = (0.0, 0.0, 0);
        let (mut squares, mut largest) = (0.0, 0.0_f64);
        for group in ranking.head(&list, k, convention.ties) {
            let size = group.len();
            let rows = group.iter().map(|&(_, row)| list.rows.start + row as usize);
            match logged {
                None => {
                    let inside = size.min(k - rank) as f64;
                    value += rows.map(worth).sum::<f64>() * inside / size as f64;
                    weight += inside;
                }
                Some(logged) => {
                    for row in rows {
                        // Tied rows stand at each of their ranks equally often.
                        let slot = logged.slots[row] as usize;
                        if slot < k && (rank..rank + size).contains(&slot) {
                            let of_row = 1.0 / size as f64 / logged.propensities[row];
                            value += of_row * worth(row);
                            weight += of_row;
                            squares += of_row * of_row;
                            largest = largest.max(of_row);
                        }
                    }
                }
            }
            rank += size;
        }
        Earned {
            value,
            weight,
            squares,
            largest,
            placements: list.ranked().min(k),
        }
    })
}

/// What inverse propensities rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightSummary {
    /// Mean weight of the placements among the first k ranks. It is 1 in expectation where
    /// propensities are those of the log and the order was not made from what was drawn; a mean far
    /// from 1 says that one of both is not so.
    pub mean: f64,
    /// Placements that the weighted ones are worth, `(Σw)² / Σw²` (Kish 1965).
    pub effective: f64,
    /// The largest weight.
    pub largest: f64,
    /// Placements among the first k ranks.
    pub placements: u64,
}

/// Sums up the weights behind `ptr@k:ips` and its like.
///
/// # Errors
/// The errors of the columns; [`EvalError::Missing`] for slots or propensities.
pub fn weight_summary(
    sample: &Sample<'_>,
    k: usize,
    convention: &Convention,
) -> Result<WeightSummary, EvalError> {
    sample.check()?;
    let name = format!("ptr@{k}:ips");
    let missing = |column| EvalError::Missing {
        metric: name.clone(),
        column,
    };
    let logged = Logged {
        slots: sample.slots.ok_or_else(|| missing("slots"))?,
        propensities: sample.propensities.ok_or_else(|| missing("propensities"))?,
    };
    let (lists, scores) = (sample.lists, sample.scores);
    let order = Order::new(lists, scores, sample.tie_order, &name, Some(k), *convention)?;
    let (mut weight, mut squares, mut largest, mut placements) = (0.0, 0.0, 0.0_f64, 0);
    for list in earned(&order, k, *convention, &|_| 0.0, Some(logged)) {
        weight += list.weight;
        squares += list.squares;
        largest = largest.max(list.largest);
        placements += list.placements as u64;
    }
    Ok(WeightSummary {
        mean: weight / placements as f64,
        effective: if squares > 0.0 {
            weight * weight / squares
        } else {
            0.0
        },
        largest,
        placements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean over all logs that a random logger could have written is the truth.
    #[test]
    fn inverse_propensity_is_unbiased() {
        let lists = ListOffsets::from_lengths([3]).unwrap();
        let convention = Convention::default();
        // What item i earns at slot j.
        let truth = [[5.0, 2.0, 1.0], [3.0, 3.0, 0.5], [1.0, 0.0, 4.0]];
        let orders = [
            ([0, 1, 2], 0.4),
            ([0, 2, 1], 0.1),
            ([1, 0, 2], 0.1),
            ([1, 2, 0], 0.2),
            ([2, 0, 1], 0.1),
            ([2, 1, 0], 0.1),
        ];
        let marginal = |item: usize, slot: usize| -> f64 {
            let at = orders.iter().filter(|(order, _)| order[slot] == item);
            at.map(|(_, p)| p).sum()
        };
        for (scores, expected) in [
            ([3.0, 2.0, 1.0], truth[0][0] + truth[1][1]),
            ([1.0, 2.0, 3.0], truth[2][0] + truth[1][1]),
            // Two tied for the first place: half of either order.
            (
                [2.0, 2.0, 1.0],
                0.5 * (truth[0][0] + truth[1][1] + truth[1][0] + truth[0][1]),
            ),
        ] {
            let mut mean = 0.0;
            for (shown, p) in orders {
                let mut slots = [0; 3];
                for (slot, item) in shown.into_iter().enumerate() {
                    slots[item] = slot as u32;
                }
                let at = |item: usize| slots[item] as usize;
                let propensities: Vec<f64> = (0..3).map(|item| marginal(item, at(item))).collect();
                let order = Order::new(&lists, &scores, None, "ptr", Some(2), convention).unwrap();
                let logged = Logged {
                    slots: &slots,
                    propensities: &propensities,
                };
                let worth = |item: usize| truth[item][at(item)];
                let sums = earned(&order, 2, convention, &worth, Some(logged));
                mean += p * sums[0].value;
            }
            assert!((mean - expected).abs() < 1e-12, "{mean} {expected}");
        }
    }
}
