//! Where policies differ: by slot, by segment, list by list.

use std::collections::BTreeMap;

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use slate_eval::experiment::{Arms, units_needed};
use slate_eval::off_policy::{
    Change, Estimate, Estimates, Estimator, Intervals, Log, Per, Target, estimate,
};
use slate_eval::{EvalError, holm};
use slate_types::{ListOffsets, Seed};

use super::judging::{Widen, plain, variance};
use super::rewards::Rewards;
use super::targets::Columns;
use crate::console::Refusal;
use crate::pipeline::columns::{numbers_of, renumbered, values_of_lists};
use crate::pipeline::policy::Values;
use crate::pipeline::shown::Shown;

/// Slots looked at by themselves.
const MOST_SLOTS: u32 = 20;
/// Values of a column that are looked at by themselves.
const MOST_SEGMENTS: usize = 100;
/// Lists shown.
const MOST_LISTS: usize = 8;
/// Rows shown of each.
const MOST_ROWS: usize = 10;

/// What each policy earns in one slot.
#[derive(Serialize)]
pub(crate) struct OfSlot {
    slot: u32,
    /// Per unit, of each policy.
    values: Vec<Estimate>,
}

/// Estimates by inverse propensity, slot by slot; they add up to the whole.
pub(super) fn by_slot(log: &Log<'_>, targets: &[Target<'_>]) -> Result<Vec<OfSlot>> {
    let deepest = log.slots.iter().copied().max().unwrap_or(0);
    let counted = log.top.map_or(deepest + 1, |top| top.min(deepest + 1));
    let clip = f64::INFINITY;
    let one = |slot: u32| -> Result<OfSlot> {
        let of_slot = log.rewards.iter().zip(log.slots);
        let rewards: Vec<f64> = of_slot
            .map(|(r, s)| if *s == slot { *r } else { 0.0 })
            .collect();
        let mut log = *log;
        log.rewards = &rewards;
        let estimates = estimate(&log, targets, Estimator::Ips { clip }, &plain())?;
        Ok(OfSlot {
            slot,
            values: estimates.policies,
        })
    };
    let slots: Vec<u32> = (0..counted.min(MOST_SLOTS)).collect();
    slots.into_par_iter().map(one).collect()
}

/// One value of a column, and a policy.
#[derive(Serialize)]
pub(crate) struct Segment {
    pub(crate) value: String,
    pub(crate) policy: String,
    pub(crate) lists: usize,
    /// Of the policy minus the first.
    pub(crate) difference: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) p: f64,
    /// Over all segments and policies together.
    pub(crate) p_holm: f64,
}

/// What segments are estimated from.
pub(super) struct Segments<'a> {
    pub(super) log: &'a Log<'a>,
    pub(super) columns: &'a [Columns],
    pub(super) estimator: Estimator,
    pub(super) intervals: &'a Intervals,
    pub(super) names: Vec<&'a str>,
    /// Where examination is known with an error.
    pub(super) widen: Option<&'a Widen<'a>>,
}

impl Segments<'_> {
    /// The change of each policy but the first in the lists of each value of a column.
    pub(super) fn by(&self, shown: &Shown, column: &str) -> Result<Vec<Segment>> {
        let values = values_of_lists(&shown.table, column)?;
        let mut rows_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (rows, value) in shown.lists().iter().zip(&values) {
            rows_of.entry(value).or_default().extend(rows);
        }
        if rows_of.len() > MOST_SEGMENTS {
            let told = format!(
                "`{column}` has {} values, expected at most {MOST_SEGMENTS}",
                rows_of.len()
            );
            return Err(Refusal::new(told).into());
        }
        let parts: Vec<Part<'_>> = rows_of
            .into_iter()
            .map(|(value, rows)| Part::new(value, rows, shown, self.log))
            .collect::<Result<_>>()?;
        // A segment in which nothing matches, or nothing earned, has no estimate.
        let made: Vec<Option<Estimates>> = parts
            .iter()
            .map(|part| {
                let earned = part.rewards.iter().any(|reward| *reward != 0.0);
                let made = earned.then(|| self.one(part, self.columns, self.intervals).ok());
                made.flatten()
            })
            .collect();
        // By segment, policy and draw.
        let mut drawn = vec![vec![Vec::new(); self.names.len() - 1]; parts.len()];
        if let Some(widen) = self.widen {
            widen.under_each(|columns| {
                for (part, drawn) in parts.iter().zip(&mut drawn) {
                    if let Ok(made) = self.one(part, columns, &plain()) {
                        let pairs = drawn.iter_mut().zip(&made.changes);
                        pairs.for_each(|(drawn, change)| drawn.push(change.difference));
                    }
                }
                Ok(())
            })?;
        }
        let mut segments = Vec::new();
        for ((part, made), drawn) in parts.iter().zip(&made).zip(&drawn) {
            for (at, drawn) in drawn.iter().enumerate() {
                // Where most draws have no estimate nobody knows how sure the rest is.
                let draws = self.widen.map_or(0, |widen| widen.draws.len());
                let made = made.as_ref().filter(|_| 2 * drawn.len() >= draws);
                let change = made.map(|made| made.changes[at].with_more_variance(variance(drawn)));
                let of = |value: fn(&Change) -> f64| change.as_ref().map_or(f64::NAN, value);
                segments.push(Segment {
                    value: part.value.to_owned(),
                    policy: self.names[at + 1].to_owned(),
                    lists: part.lists.len(),
                    difference: of(|change| change.difference),
                    low: of(|change| change.low),
                    high: of(|change| change.high),
                    p: of(|change| change.p),
                    p_holm: f64::NAN,
                });
            }
        }
        let p: Vec<f64> = segments.iter().map(|segment| segment.p).collect();
        for (segment, p) in segments.iter_mut().zip(holm(&p)) {
            segment.p_holm = p;
        }
        Ok(segments)
    }

    fn one(
        &self,
        part: &Part<'_>,
        columns: &[Columns],
        intervals: &Intervals,
    ) -> Result<Estimates, EvalError> {
        let mut log = Log::new(&part.lists, &part.rewards, &part.slots);
        log.top = self.log.top;
        log.clusters = part.clusters.as_deref();
        log.per = part.units.as_deref().map_or(self.log.per, Per::Numbered);
        let columns: Vec<Columns> = columns
            .iter()
            .map(|columns| columns.of_rows(&part.rows, &part.places.0))
            .collect();
        let targets: Vec<Target<'_>> = columns.iter().map(Columns::target).collect();
        estimate(&log, &targets, self.estimator, intervals)
    }
}

/// The lists of one value of a column.
struct Part<'a> {
    value: &'a str,
    rows: Vec<usize>,
    places: Lists,
    lists: ListOffsets,
    rewards: Vec<f64>,
    slots: Vec<u32>,
    clusters: Option<Vec<u32>>,
    units: Option<Vec<u32>>,
}

impl<'a> Part<'a> {
    fn new(value: &'a str, rows: Vec<usize>, shown: &Shown, log: &Log<'_>) -> Result<Self> {
        let places = Lists::of(shown, &rows);
        let units = match log.per {
            Per::Numbered(units) => Some(places.renumber(units)),
            _ => None,
        };
        Ok(Self {
            value,
            lists: shown.of_rows(&rows)?.lists().clone(),
            rewards: rows.iter().map(|&row| log.rewards[row]).collect(),
            slots: rows.iter().map(|&row| log.slots[row]).collect(),
            clusters: log.clusters.map(|clusters| places.renumber(clusters)),
            units,
            places,
            rows,
        })
    }
}

/// Some lists, by their place in the whole log.
struct Lists(Vec<usize>);

impl Lists {
    fn of(shown: &Shown, rows: &[usize]) -> Self {
        let mut wanted = rows.iter().peekable();
        let mut lists = Vec::new();
        for (list, range) in shown.lists().iter().enumerate() {
            if wanted.peek().is_some_and(|row| range.contains(row)) {
                lists.push(list);
                while wanted.peek().is_some_and(|row| range.contains(row)) {
                    wanted.next();
                }
            }
        }
        Self(lists)
    }

    /// Numbers of these lists, counted anew.
    fn renumber(&self, numbers: &[u32]) -> Vec<u32> {
        renumbered(self.0.iter().map(|&list| numbers[list]))
    }
}

/// A list as both policies would have shown it.
#[derive(Serialize)]
pub(crate) struct Disagreement {
    list: String,
    rows: Vec<DisagreementRow>,
}

#[derive(Serialize)]
struct DisagreementRow {
    item_id: Option<i64>,
    /// Place it was shown at, and would be by each policy, from 0.
    logged: u32,
    places: Vec<u32>,
    reward: f64,
}

/// Some lists that the first two policies order differently, those with a reward first.
pub(super) fn disagreements(
    shown: &Shown,
    values: &[Values],
    rewards: &Rewards,
    seed: Seed,
) -> Vec<Disagreement> {
    let [first, second, ..] = values else {
        return Vec::new();
    };
    let mut found: Vec<(bool, u64, usize)> = Vec::new();
    for (list, rows) in shown.lists().iter().enumerate() {
        let order = |values: &Values| places(&values.of_rows[rows.clone()]);
        if order(first) != order(second) {
            let earned = rows.clone().any(|row| rewards.of_rows[row] != 0.0);
            found.push((
                !earned,
                seed.derive("disagreements").index(list as u64).0,
                list,
            ));
        }
    }
    found.sort_unstable();
    found.truncate(MOST_LISTS);
    let items = shown.table.get_integers("item_id");
    let of_list = |&(_, _, list): &(bool, u64, usize)| {
        let range = shown.lists().range(list);
        let orders = [first, second].map(|values| places(&values.of_rows[range.clone()]));
        let mut rows: Vec<DisagreementRow> = range
            .clone()
            .enumerate()
            .map(|(at, row)| DisagreementRow {
                item_id: items.map(|items| items[row]),
                logged: shown.places[row],
                places: orders.iter().map(|order| order[at]).collect(),
                reward: rewards.of_rows[row],
            })
            .collect();
        rows.sort_by_key(|row| row.places[1]);
        rows.truncate(MOST_ROWS);
        Disagreement {
            list: shown.table.list_name(list),
            rows,
        }
    };
    found.iter().map(of_list).collect()
}

/// Place of each row by falling value; of equal ones the first comes first.
pub(crate) fn places(values: &[f64]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    let mut places = vec![0; values.len()];
    for (place, row) in (0..).zip(order) {
        places[row] = place;
    }
    places
}

/// Share of lists that two policies order differently.
pub(super) fn differ(shown: &Shown, values: [&Values; 2]) -> f64 {
    let order =
        |values: &Values, rows: &std::ops::Range<usize>| places(&values.of_rows[rows.clone()]);
    let lists = shown.lists();
    let other = lists
        .iter()
        .filter(|rows| order(values[0], rows) != order(values[1], rows));
    other.count() as f64 / lists.len() as f64
}

/// Lists in random order in which `difference` per list would be found in 80 % of all logs: the variance
/// of its estimate by inverse propensity there, rewards as often as in this log.
pub(super) fn random_lists(
    shown: &Shown,
    values: [&Values; 2],
    log: &Log<'_>,
    difference: f64,
    level: f64,
) -> Result<Option<f64>> {
    if log.per != Per::List || difference == 0.0 || !difference.is_finite() {
        return Ok(None);
    }
    let squares: f64 = log.rewards.iter().map(|r| r * r).sum();
    let mean_square = squares / log.rewards.len() as f64;
    let of_list = |list: usize| -> Result<f64> {
        let rows = shown.lists().range(list);
        let count = rows.len();
        let of = |values: &Values| {
            if values.foreseen {
                values.explore.marginals(&values.of_rows[rows.clone()])
            } else {
                // What the logger might have shown there instead is not known: anything.
                values.explore.marginals(&vec![0.0; count])
            }
        };
        let chances = [of(values[0])?, of(values[1])?];
        let counted = log.top.map_or(count, |top| count.min(top as usize));
        let mut variance = 0.0;
        for row in 0..count {
            for place in 0..counted {
                let moved = chances[1].at(row, place) - chances[0].at(row, place);
                // Shown there with 1/count, weighed by count times what moved.
                variance += moved * moved * count as f64 * mean_square;
            }
        }
        Ok(variance)
    };
    let each: Vec<f64> = (0..shown.lists().len())
        .into_par_iter()
        .map(of_list)
        .collect::<Result<_>>()?;
    let mut variance: f64 = each.iter().sum();
    variance /= shown.lists().len() as f64;
    // Both show every item anywhere with the same chance: no list would tell.
    if variance == 0.0 {
        return Ok(None);
    }
    let arms = Arms {
        deviation_a: variance.sqrt(),
        deviation_b: 0.0,
        ratio: 1.0,
        level,
    };
    Ok(Some(units_needed(&arms, difference, 0.8)?.ceil()))
}

/// Numbers for the values that some columns have together, and the slot.
pub(super) fn cells(shown: &Shown, columns: &[String]) -> Result<Option<Vec<u32>>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let values = numbers_of(&shown.table, columns)?;
    let pairs = values.into_iter().zip(shown.positions());
    Ok(Some(renumbered(pairs)))
}
