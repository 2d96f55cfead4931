//! Drift: whether a column is still distributed as it was when a model was made.
//!
//! In: the values of one column then, kept as a small [`Reference`] that can be written beside a
//! model, and its values now, in any order. Out: a [`Drift`] with the population stability index
//! (how far, whatever the number of rows), a test (whether by chance) and how much was and is missing.
//!
//! Numbers are compared over at most [`MOST_BINS`] bins with about equal shares of the reference,
//! their missing values (NaN) in a bin of their own; ids over the [`MOST_IDS`] most frequent, all
//! others together, and id 0, which stands for unknown. So a reference is of one size, whatever the
//! column, and rows are read once.
//!
//! - `psi` is Σ (q − p)·ln(q ÷ p) over all of these, with p and q, the shares before and now, no
//!   smaller than [`SHARE_FLOOR`], so that an empty bin counts much and not infinitely. By custom,
//!   below 0.1 is little and above 0.25 is much.
//! - `p` of numbers is that of the two-sample Kolmogorov–Smirnov test, Kolmogorov's limit with
//!   n = rows before · rows now ÷ their sum, a missing value counting as larger than all numbers. The
//!   largest gap is looked for between bins alone, where it can only be smaller than between values,
//!   so p is too large rather than too small.
//! - `p` of ids is that of Pearson's chi-squared test of homogeneity, without Yates's correction. It
//!   is an approximation, to be trusted from about five expected rows for each id.
//!
//! With many rows every test finds a difference: read p for whether, `psi` for how much. Both tests
//! take rows for independent. Where many columns are looked at, adjust their p by [`crate::holm`].
//!
//! ```
//! use slate_eval::drift::Reference;
//!
//! let before = Reference::numeric((0..1000).map(f64::from))?;
//! let same = before.compare_numbers((0..500).map(|row| f64::from(2 * row)))?;
//! assert!(same.psi < 0.001 && same.p > 0.99);
//! let moved = before.compare_numbers((0..500).map(|row| 300.0 + f64::from(row)))?;
//! assert!(moved.psi > 0.25 && moved.p < 1e-9);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EvalError, tails};

/// Most bins of a column of numbers, that of missing values not counted.
pub const MOST_BINS: usize = 10;
/// Most ids whose shares are kept one by one.
pub const MOST_IDS: usize = 20;
/// Smallest share that `psi` is computed with.
pub const SHARE_FLOOR: f64 = 1e-4;

/// How far from 1 the shares of a reference may add up to.
const ROUNDING: f64 = 1e-6;

/// The distribution of a column, to compare later ones with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Rows it was made of, at least 1.
    pub rows: u64,
    /// Where they were.
    pub shares: Shares,
}

/// Shares of rows, from 0 to 1; all of them together are 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Shares {
    /// Of a column of numbers.
    Numeric {
        /// Where bins meet: finite, strictly increasing, one fewer than bins. A value on an edge is in
        /// the bin above; the outer bins have no end.
        edges: Vec<f64>,
        /// Share of each bin among all rows.
        shares: Vec<f64>,
        /// Share of NaN.
        missing: f64,
    },
    /// Of a column of ids.
    Ids {
        /// The most frequent ids but 0, at most [`MOST_IDS`].
        shares: BTreeMap<u32, f64>,
        /// Share of all others.
        other: f64,
        /// Share of id 0.
        unknown: f64,
    },
}

/// Which test `p` is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// Kolmogorov–Smirnov over bins: numbers.
    Ks,
    /// Chi-squared over ids.
    Chi2,
}

/// How far a column is from its reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Population stability index, from 0 (no difference) up.
    pub psi: f64,
    /// How likely so large a difference is where nothing changed, 0 to 1; not adjusted for other
    /// columns.
    pub p: f64,
    /// The test behind `p`.
    pub test: Test,
    /// What it looks at: the largest gap of cumulative shares, 0 to 1, or chi-squared, from 0 up.
    pub statistic: f64,
    /// Share of missing values, or of id 0, in the reference.
    pub missing_before: f64,
    /// The same now.
    pub missing_now: f64,
    /// Rows of the reference.
    pub rows_before: u64,
    /// Rows now.
    pub rows_now: u64,
}

impl Reference {
    /// Keeps the distribution of a column of numbers; NaN is a missing value.
    ///
    /// Edges lie halfway between two values of the column, near its tenths; tenths that fall on one
    /// value merge. A column of at most [`MOST_BINS`] different values has a bin for each, and, where
    /// two more fit, empty ones below and above, so that a value never seen before is noticed. Other
    /// values beyond those of the reference belong to the outer bins. Holds the column in memory, 8
    /// bytes a row.
    ///
    /// # Errors
    /// [`EvalError::EmptyColumn`] for no rows at all; a column of NaN alone is none.
    pub fn numeric(values: impl IntoIterator<Item = f64>) -> Result<Self, EvalError> {
        let mut rows = 0_u64;
        let mut present: Vec<f64> = values
            .into_iter()
            .inspect(|_| rows += 1)
            .filter(|value| !value.is_nan())
            .collect();
        present.sort_unstable_by(f64::total_cmp);
        let edges = edges(&present);
        let mut counts = vec![0; edges.len() + 1];
        for &value in &present {
            counts[bin(&edges, value)] += 1;
        }
        let share = shares_of(rows, "reference")?;
        Ok(Self {
            rows,
            shares: Shares::Numeric {
                edges,
                shares: counts.into_iter().map(share).collect(),
                missing: share(rows - present.len() as u64),
            },
        })
    }

    /// Keeps the distribution of a column of ids; 0 is unknown. Of ids with one share the smaller
    /// are kept. Holds one number for each distinct id.
    ///
    /// # Errors
    /// [`EvalError::EmptyColumn`] for no rows.
    pub fn ids(values: impl IntoIterator<Item = u32>) -> Result<Self, EvalError> {
        let mut counts = BTreeMap::new();
        let mut rows = 0_u64;
        for id in values {
            *counts.entry(id).or_insert(0_u64) += 1;
            rows += 1;
        }
        let share = shares_of(rows, "reference")?;
        let unknown = counts.remove(&0).unwrap_or(0);
        let mut frequent: Vec<(u32, u64)> = counts.into_iter().collect();
        frequent.sort_by_key(|&(id, count)| (Reverse(count), id));
        let rest = frequent.split_off(frequent.len().min(MOST_IDS));
        Ok(Self {
            rows,
            shares: Shares::Ids {
                shares: frequent
                    .into_iter()
                    .map(|(id, count)| (id, share(count)))
                    .collect(),
                other: share(rest.into_iter().map(|(_, count)| count).sum()),
                unknown: share(unknown),
            },
        })
    }

    /// Compares a column of numbers with the reference; NaN is a missing value.
    ///
    /// # Errors
    /// [`EvalError::EmptyColumn`] for no rows, [`EvalError::ColumnKind`] where the reference is of
    /// ids, [`EvalError::Reference`] where it cannot be a distribution.
    pub fn compare_numbers(&self, now: impl IntoIterator<Item = f64>) -> Result<Drift, EvalError> {
        let Shares::Numeric {
            edges,
            shares,
            missing,
        } = &self.shares
        else {
            return Err(self.other_kind("numbers"));
        };
        self.check()?;
        // The last one counts missing values.
        let mut counts = vec![0_u64; shares.len() + 1];
        for value in now {
            let at = if value.is_nan() {
                shares.len()
            } else {
                bin(edges, value)
            };
            counts[at] += 1;
        }
        let mut before = shares.clone();
        before.push(*missing);
        self.drift(&before, &counts, shares.len(), Test::Ks)
    }

    /// Compares a column of ids with the reference; 0 is unknown.
    ///
    /// # Errors
    /// As [`Self::compare_numbers`], the kinds the other way round.
    pub fn compare_ids(&self, now: impl IntoIterator<Item = u32>) -> Result<Drift, EvalError> {
        let Shares::Ids {
            shares,
            other,
            unknown,
        } = &self.shares
        else {
            return Err(self.other_kind("ids"));
        };
        self.check()?;
        let places: BTreeMap<u32, usize> = shares.keys().copied().zip(2..).collect();
        // The first counts unknown ids, the second those that are not kept.
        let mut counts = vec![0_u64; shares.len() + 2];
        for id in now {
            let at = match id {
                0 => 0,
                id => places.get(&id).copied().unwrap_or(1),
            };
            counts[at] += 1;
        }
        let mut before = vec![*unknown, *other];
        before.extend(shares.values());
        self.drift(&before, &counts, 0, Test::Chi2)
    }

    /// The drift between shares before and counts now, in one order; `missing` is a place in both.
    fn drift(
        &self,
        before: &[f64],
        counts: &[u64],
        missing: usize,
        test: Test,
    ) -> Result<Drift, EvalError> {
        let rows: u64 = counts.iter().sum();
        let share = shares_of(rows, "column now")?;
        let now: Vec<f64> = counts.iter().map(|&count| share(count)).collect();
        let sizes = (self.rows as f64, rows as f64);
        let (statistic, p) = match test {
            Test::Ks => kolmogorov_smirnov(before, &now, sizes),
            Test::Chi2 => homogeneity(before, &now, sizes),
        };
        Ok(Drift {
            psi: psi(before, &now),
            p,
            test,
            statistic,
            missing_before: before[missing],
            missing_now: now[missing],
            rows_before: self.rows,
            rows_now: rows,
        })
    }

    fn other_kind(&self, given: &'static str) -> EvalError {
        let expected = match self.shares {
            Shares::Numeric { .. } => "numbers",
            Shares::Ids { .. } => "ids",
        };
        EvalError::ColumnKind { given, expected }
    }

    /// Refuses what no column has: a reference may come from a file.
    fn check(&self) -> Result<(), EvalError> {
        let refuse = |problem| Err(EvalError::Reference { problem });
        if self.rows == 0 {
            return refuse("it has no rows");
        }
        let all: Vec<f64> = match &self.shares {
            Shares::Numeric {
                edges,
                shares,
                missing,
            } => {
                let rising = edges.is_sorted_by(|a, b| a < b);
                if !rising || edges.iter().any(|edge| !edge.is_finite()) {
                    return refuse("its `edges` are not finite and strictly increasing");
                }
                if shares.len() != edges.len() + 1 {
                    return refuse("it has not one share more than `edges`");
                }
                shares.iter().chain([missing]).copied().collect()
            }
            Shares::Ids {
                shares,
                other,
                unknown,
            } => {
                if shares.contains_key(&0) {
                    return refuse("id 0 is among its `shares`, expected it in `unknown`");
                }
                shares.values().chain([other, unknown]).copied().collect()
            }
        };
        let total: f64 = all.iter().sum();
        let sound = all.iter().all(|share| (0.0..=1.0).contains(share));
        if !sound || (total - 1.0).abs() > ROUNDING {
            return refuse("its shares are not from 0 to 1 with sum 1");
        }
        Ok(())
    }
}

/// From a count to a share of so many rows, of which there must be some.
fn shares_of(rows: u64, what: &'static str) -> Result<impl Fn(u64) -> f64 + Copy, EvalError> {
    if rows == 0 {
        return Err(EvalError::EmptyColumn { what });
    }
    Ok(move |count: u64| count as f64 / rows as f64)
}

/// The bin of a value that is no NaN.
fn bin(edges: &[f64], value: f64) -> usize {
    edges.partition_point(|&edge| edge <= value)
}

/// Edges between bins, a bin for each of a few values or of about equal size; `sorted` has no NaN.
fn edges(sorted: &[f64]) -> Vec<f64> {
    let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else {
        return Vec::new();
    };
    let distinct = sorted.chunk_by(|a, b| a == b).take(MOST_BINS + 1);
    let starts: Vec<f64> = distinct.map(|run| run[0]).collect();
    let few = starts.len();
    let begins = if few <= MOST_BINS {
        starts
    } else {
        let tenth = |k: usize| sorted[k * sorted.len() / MOST_BINS];
        (1..MOST_BINS).map(tenth).collect()
    };
    let mut edges = Vec::with_capacity(MOST_BINS);
    // Two more bins fit, for values that were never seen.
    let guarded = few + 2 <= MOST_BINS;
    if guarded {
        edges.extend(beside(first, -1.0));
    }
    for value in begins {
        let at = sorted.partition_point(|&other| other < value);
        // Nothing lies below the smallest value.
        let Some(below) = at.checked_sub(1).map(|below| sorted[below]) else {
            continue;
        };
        let edge = between(below, value);
        if edges.last().is_none_or(|&last| last < edge) {
            edges.push(edge);
        }
    }
    if guarded {
        edges.extend(beside(last, 1.0));
    }
    edges
}

/// An edge that parts two values and is as far from both as can be: so that values which went
/// through a narrower type are still told apart.
fn between(below: f64, above: f64) -> f64 {
    let (below, above) = (below.max(f64::MIN), above.min(f64::MAX));
    let middle = f64::midpoint(below, above);
    // Between neighbours there is nothing.
    if middle > below { middle } else { above }
}

/// An edge a millionth of a value's size above or below it (`side` is 1 or −1); none beyond the
/// largest number.
fn beside(value: f64, side: f64) -> Option<f64> {
    let value = value.clamp(f64::MIN, f64::MAX);
    let edge = value + side * value.abs().max(1.0) * 1e-6;
    edge.is_finite().then_some(edge)
}

/// Population stability index of two lists of shares.
fn psi(before: &[f64], now: &[f64]) -> f64 {
    let pairs = before.iter().zip(now);
    pairs
        .map(|(&p, &q)| {
            let (p, q) = (p.max(SHARE_FLOOR), q.max(SHARE_FLOOR));
            (q - p) * (q / p).ln()
        })
        .sum()
}

/// The largest gap between cumulative shares, and its p value.
fn kolmogorov_smirnov(before: &[f64], now: &[f64], (n, m): (f64, f64)) -> (f64, f64) {
    let (mut gap, mut largest) = (0.0_f64, 0.0_f64);
    for (p, q) in before.iter().zip(now) {
        gap += q - p;
        largest = largest.max(gap.abs());
    }
    // Sums of equal shares may differ in their last bits.
    if largest < 1e-12 {
        largest = 0.0;
    }
    (
        largest,
        tails::kolmogorov(largest * (n * m / (n + m)).sqrt()),
    )
}

/// Pearson's statistic of a table of two rows, and its p value. Columns without a count say nothing.
fn homogeneity(before: &[f64], now: &[f64], (n, m): (f64, f64)) -> (f64, f64) {
    let (mut statistic, mut columns) = (0.0, 0_usize);
    for (p, q) in before.iter().zip(now) {
        // With the pooled share, both cells together are (p − q)²·nm ÷ (n + m) ÷ pooled.
        let pooled = (n * p + m * q) / (n + m);
        if pooled > 0.0 {
            statistic += (p - q).powi(2) * n * m / (n + m) / pooled;
            columns += 1;
        }
    }
    let p = tails::chi_squared(statistic, columns.saturating_sub(1));
    (statistic, p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(reference: &Reference) -> (Vec<f64>, Vec<f64>) {
        match &reference.shares {
            Shares::Numeric { edges, shares, .. } => (edges.clone(), shares.clone()),
            Shares::Ids { .. } => panic!("numbers were given"),
        }
    }

    #[test]
    fn few_values_have_a_bin_each_and_many_have_tenths() {
        let few = parts(&Reference::numeric([3.0, 1.0, 1.0, 2.0]).unwrap());
        assert_eq!(few.0, [1.0 - 1e-6, 1.5, 2.5, 3.0 + 3e-6]);
        assert_eq!(few.1, [0.0, 0.5, 0.25, 0.25, 0.0]);
        let nine = parts(&Reference::numeric((0..9).map(f64::from)).unwrap());
        assert_eq!((nine.0.len(), nine.0[0]), (8, 0.5));
        let (edges, shares) = parts(&Reference::numeric((0..100).map(f64::from)).unwrap());
        assert_eq!((edges.len(), edges[0], edges[8]), (9, 9.5, 89.5));
        assert!(shares.iter().all(|&share| share == 0.1));
        // Three quarters are one value: its tenths merge, and it has a bin of its own.
        let tied = (0..400).map(|row| f64::from(if row < 300 { 50 } else { row - 300 }));
        let (edges, shares) = parts(&Reference::numeric(tied).unwrap());
        assert_eq!(edges, [39.5, 49.5, 59.5]);
        assert_eq!(shares, [0.1, 0.025, 0.775, 0.1]);
    }

    #[test]
    fn odd_numbers_find_a_bin() {
        let wide = [f64::NEG_INFINITY, -0.0, 0.0, f64::INFINITY];
        let reference = Reference::numeric(wide).unwrap();
        let (edges, shares) = parts(&reference);
        // No edge fits beyond the infinities.
        assert_eq!((edges.len(), shares), (2, vec![0.25, 0.5, 0.25]));
        assert!(edges.iter().all(|edge| edge.is_finite()));
        for one in [f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, -7.5] {
            let drift = Reference::numeric([one; 3]).unwrap();
            assert_eq!(drift.compare_numbers([one; 9]).unwrap().psi, 0.0, "{one}");
        }
        let near = [1.0, 1.0_f64.next_up()];
        assert_eq!(
            parts(&Reference::numeric(near).unwrap()).1,
            [0.0, 0.5, 0.5, 0.0]
        );
    }

    #[test]
    fn of_equal_ids_the_smaller_are_kept() {
        let ids = (0..60).map(|row| row % 30).chain([29]);
        let Shares::Ids { shares, other, .. } = Reference::ids(ids).unwrap().shares else {
            panic!("ids were given");
        };
        let kept: Vec<u32> = shares.keys().copied().collect();
        assert_eq!(kept, (1..20).chain([29]).collect::<Vec<_>>());
        assert_eq!(other, 18.0 / 61.0);
    }
}
