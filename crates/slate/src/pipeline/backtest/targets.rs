//! What is known of one policy on the placements of a log.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;
use slate_allocate::Placements;
use slate_eval::off_policy::Target;
use slate_types::Seed;

use super::forecasts::Forecasts;
use crate::console::Refusal;
use crate::pipeline::columns::renumbered;
use crate::pipeline::policy::Values;
use crate::pipeline::shown::Shown;

/// Numbers by item and slot.
pub(crate) type OfItems = HashMap<(i64, u32), f64>;

/// Lists worked on at a time.
const CHUNK: usize = 1024;
/// Orders drawn of a list that a policy shows in several, where only whole lists have a forecast.
const ORDERS: u64 = 100;
/// Slots whose probability together is still a number.
const MOST_PREFIX: usize = 100;
/// Probabilities this near to 1 are certain.
const CERTAIN: f64 = 1.0 - 1e-9;

/// How likely the logger was to show what it showed.
pub(crate) enum Propensities {
    /// Of each placement, from this column.
    Known { name: String, values: Vec<f64> },
    /// Nobody knows, and nobody asked: weights are 0.
    Unknown,
    /// Lists in any order, all equally likely.
    Uniform,
    /// One order, but users look at each place with these probabilities: a click counts for the place it
    /// would have had.
    Examination(Vec<f64>),
}

/// Columns of one policy.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) weights: Vec<f64>,
    prefix_weights: Option<Vec<f64>>,
    forecast: Option<Vec<f64>>,
    expected: Option<Vec<f64>>,
    matched: Option<Vec<bool>>,
    cells: Option<Vec<u32>>,
    /// Share of what the policy shows that was never logged in its slot.
    pub(crate) unseen: f64,
}

impl Columns {
    pub(crate) fn target(&self) -> Target<'_> {
        let mut target = Target::new(&self.weights);
        target.prefix_weights = self.prefix_weights.as_deref();
        target.forecast = self.forecast.as_deref();
        target.expected = self.expected.as_deref();
        target.matched = self.matched.as_deref();
        target.cells = self.cells.as_deref();
        target
    }

    /// The same of some rows, which are those of some lists.
    pub(crate) fn of_rows(&self, rows: &[usize], lists: &[usize]) -> Self {
        let pick = |column: &Vec<f64>| rows.iter().map(|&row| column[row]).collect::<Vec<f64>>();
        let matched = self.matched.as_ref();
        let cells = self.cells.as_ref();
        Self {
            weights: pick(&self.weights),
            prefix_weights: self.prefix_weights.as_ref().map(pick),
            forecast: self.forecast.as_ref().map(pick),
            expected: self.expected.as_ref().map(pick),
            matched: matched.map(|matched| lists.iter().map(|&list| matched[list]).collect()),
            cells: cells.map(|cells| renumbered(rows.iter().map(|&row| cells[row]))),
            unseen: self.unseen,
        }
    }
}

/// What columns are made from.
pub(crate) struct Making<'a> {
    pub(crate) shown: &'a Shown,
    pub(crate) propensities: &'a Propensities,
    /// Probability of each placement given those above it, where it was logged.
    pub(crate) given_prefix: Option<&'a [f64]>,
    /// Whether any estimator reads probabilities of several slots together.
    pub(crate) prefixes: bool,
    /// Places that count.
    pub(crate) top: usize,
    pub(crate) forecasts: Option<&'a Forecasts>,
    /// Of the orders that are drawn.
    pub(crate) seed: Seed,
    /// Cell of each placement, for `mips`.
    pub(crate) cells: Option<&'a [u32]>,
}

/// Columns of one list.
struct OfList {
    weights: Vec<f64>,
    prefix_weights: Vec<f64>,
    forecast: Vec<f64>,
    expected: Vec<f64>,
    matched: bool,
}

impl Making<'_> {
    /// Columns of a policy that orders the rows of each list, or of the logger.
    ///
    /// # Errors
    /// A propensity that is missing or 0.
    pub(crate) fn of_values(&self, values: &Values) -> Result<Columns> {
        if values.foreseen {
            self.of_order(values)
        } else {
            Ok(self.of_logger())
        }
    }

    fn of_order(&self, values: &Values) -> Result<Columns> {
        let lists = self.shown.lists();
        let all: Vec<usize> = (0..lists.len()).collect();
        let parts: Vec<OfList> = all
            .par_chunks(CHUNK)
            .map(|chunk| chunk.iter().map(|&list| self.list(list, values)).collect())
            .collect::<Result<Vec<Vec<OfList>>>>()?
            .into_iter()
            .flatten()
            .collect();
        let rows = lists.rows();
        let mut columns = Columns {
            weights: Vec::with_capacity(rows),
            cells: self.cells.map(<[u32]>::to_vec),
            ..Columns::default()
        };
        let mut matched = Vec::with_capacity(lists.len());
        let (mut prefixes, mut forecast, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            columns.weights.extend(part.weights);
            prefixes.extend(part.prefix_weights);
            forecast.extend(part.forecast);
            expected.extend(part.expected);
            matched.push(part.matched);
        }
        columns.prefix_weights = (prefixes.len() == rows).then_some(prefixes);
        columns.forecast = (forecast.len() == rows).then_some(forecast);
        columns.expected = (expected.len() == rows).then_some(expected);
        columns.matched = values.explore.is_deterministic().then_some(matched);
        Ok(columns)
    }

    /// The logging policy itself: what was shown is what it shows, so nothing is weighed.
    pub(crate) fn of_logger(&self) -> Columns {
        let lists = self.shown.lists();
        let rows = lists.rows();
        let mut columns = Columns {
            weights: vec![1.0; rows],
            prefix_weights: Some(vec![1.0; rows]),
            matched: Some(vec![true; lists.len()]),
            cells: self.cells.map(<[u32]>::to_vec),
            ..Columns::default()
        };
        if let Some(forecasts) = self.forecasts
            && forecasts.is_of_lists()
        {
            let mut forecast = vec![0.0; rows];
            for range in lists.iter() {
                let mut order: Vec<usize> = range.collect();
                order.sort_by_key(|&row| self.shown.places[row]);
                let clicks = forecasts.of_list(&order);
                for (&row, click) in order.iter().zip(clicks).take(self.top) {
                    forecast[row] = click;
                }
            }
            columns.expected = Some(forecast.clone());
            columns.forecast = Some(forecast);
        } else if let Some(forecasts) = self.forecasts {
            let here = |row: usize| {
                let place = self.shown.places[row];
                let mut q = 0.0;
                forecasts.of(row, [self.shown.positions()[row]], |forecast| q = forecast);
                if (place as usize) < self.top { q } else { 0.0 }
            };
            let forecast: Vec<f64> = (0..rows).map(here).collect();
            columns.expected = Some(forecast.clone());
            columns.forecast = Some(forecast);
        }
        columns
    }

    /// Columns of a policy whose probability of each placement is known, and of nothing else.
    ///
    /// # Errors
    /// No such column, values that are no probabilities, a propensity that is missing or 0.
    pub(crate) fn of_chances(&self, name: &str) -> Result<Columns> {
        let chances = self.shown.table.numeric(name)?;
        if let Some(row) = chances.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let told = format!(
                "`{name}` at row {row} is {}, expected a probability",
                chances[row]
            );
            return Err(Refusal::new(told).into());
        }
        let lists = self.shown.lists();
        let mut weights = Vec::with_capacity(chances.len());
        for rows in lists.iter() {
            let count = rows.len() as f64;
            for row in rows {
                weights.push(match self.propensities {
                    Propensities::Known { name, values } => {
                        chances[row] / sound(name, values[row], row)?
                    }
                    Propensities::Uniform => chances[row] * count,
                    Propensities::Unknown => 0.0,
                    Propensities::Examination(_) => {
                        let told = "chances of single places say nothing under examination";
                        return Err(Refusal::new(told).into());
                    }
                });
            }
        }
        Ok(Columns {
            weights,
            cells: self.cells.map(<[u32]>::to_vec),
            ..Columns::default()
        })
    }

    fn list(&self, list: usize, values: &Values) -> Result<OfList> {
        let range = self.shown.lists().range(list);
        let count = range.len();
        let of_list = &values.of_rows[range.clone()];
        let chances = values.explore.marginals(of_list)?;
        let place = |row: usize| self.shown.places[range.start + row] as usize;
        let mut part = OfList {
            weights: Vec::with_capacity(count),
            prefix_weights: Vec::new(),
            forecast: Vec::new(),
            expected: Vec::new(),
            matched: true,
        };
        for row in 0..count {
            let own = chances.at(row, place(row));
            part.matched &= place(row) >= self.top || own >= CERTAIN;
            part.weights
                .push(self.weight(range.start + row, row, &chances)?);
            if let Some(forecasts) = self.forecasts
                && !forecasts.is_of_lists()
            {
                let mut expected = 0.0;
                let counted = count.min(self.top);
                let mut at = 0;
                forecasts.of(range.start + row, 0..count as u32, |q| {
                    if at < counted {
                        expected += chances.at(row, at) * q;
                    }
                    if at == place(row) {
                        part.forecast.push(q);
                    }
                    at += 1;
                });
                part.expected.push(expected);
            }
        }
        if let Some(forecasts) = self.forecasts
            && forecasts.is_of_lists()
        {
            part.forecast = vec![0.0; count];
            part.expected = self.expected(list, values, forecasts)?;
        }
        if let Some(logged) = self.prefixes(list, &range)? {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by_key(|&row| place(row));
            let policy = values.explore.prefixes(of_list, &order)?;
            part.prefix_weights = (0..count)
                .map(|row| policy[place(row)] / logged[place(row)])
                .collect();
        }
        Ok(part)
    }

    /// What is expected of each row of a list in the order, or the mean of the orders, a policy shows.
    fn expected(&self, list: usize, values: &Values, forecasts: &Forecasts) -> Result<Vec<f64>> {
        let range = self.shown.lists().range(list);
        let of_list = &values.of_rows[range.clone()];
        let mut distinct = of_list.to_vec();
        distinct.sort_unstable_by(f64::total_cmp);
        let has_ties = distinct.windows(2).any(|pair| pair[0] == pair[1]);
        let one = values.explore.is_deterministic() && !has_ties;
        let orders = if one { 1 } else { ORDERS };
        let mut expected = vec![0.0; range.len()];
        for at in 0..orders {
            let seed = self.seed.index(list as u64).index(at);
            let order = values.explore.draw(of_list, seed)?;
            let rows: Vec<usize> = order.iter().map(|row| range.start + row).collect();
            let shown = order.iter().zip(forecasts.of_list(&rows));
            for (&row, click) in shown.take(self.top) {
                expected[row] += click / orders as f64;
            }
        }
        Ok(expected)
    }

    /// Probability of the policy ÷ of the logger, of the row at its place.
    fn weight(&self, row: usize, of_list: usize, chances: &Placements) -> Result<f64> {
        let place = self.shown.places[row] as usize;
        let own = chances.at(of_list, place);
        match self.propensities {
            Propensities::Uniform => Ok(own * chances.rows() as f64),
            Propensities::Unknown => Ok(0.0),
            Propensities::Known { name, values } => Ok(own / sound(name, values[row], row)?),
            Propensities::Examination(examination) => {
                let counted = chances.rows().min(self.top);
                if place >= counted {
                    return Ok(0.0);
                }
                let wanted = (0..counted).map(|k| chances.at(of_list, k) * examination[k]);
                Ok(wanted.sum::<f64>() / examination[place])
            }
        }
    }

    /// Probability that the logger showed the first 1, 2, … places of a list as they were; 1 for those
    /// that do not count.
    fn prefixes(&self, list: usize, range: &std::ops::Range<usize>) -> Result<Option<Vec<f64>>> {
        if !self.prefixes {
            return Ok(None);
        }
        let count = range.len();
        let counted = count.min(self.top);
        if counted > MOST_PREFIX {
            let told = format!(
                "list {} counts {counted} slots, whose probability together is too small to be told",
                self.shown.table.list_name(list)
            );
            return Err(Refusal::new(told)
                .hint("pass --top, or leave rips, snrips, list_ips, list_snips and cascade_dr out")
                .into());
        }
        let mut given = vec![1.0; count];
        match (self.propensities, self.given_prefix) {
            (Propensities::Uniform, _) => {
                for (place, given) in given.iter_mut().enumerate().take(counted) {
                    *given = 1.0 / (count - place) as f64;
                }
            }
            (Propensities::Known { .. }, Some(logged)) => {
                for row in range.clone() {
                    let place = self.shown.places[row] as usize;
                    if place < counted {
                        given[place] =
                            sound("the probability given the slots above", logged[row], row)?;
                    }
                }
            }
            _ => return Ok(None),
        }
        let mut product = 1.0;
        let prefixes = given.into_iter().map(|chance| {
            product *= chance;
            product
        });
        Ok(Some(prefixes.collect()))
    }

    /// Columns of a policy over the items a slot could hold, where each list is one placement.
    /// `table` has the policy's probability of an item in a slot.
    ///
    /// # Errors
    /// A propensity that is missing or 0.
    pub(crate) fn of_table(&self, table: &OfItems) -> Result<Columns> {
        let shown = self.shown;
        let items = items(shown)?;
        let mut columns = Columns {
            cells: self.cells.map(<[u32]>::to_vec),
            ..Columns::default()
        };
        let rows = shown.table.rows();
        for row in 0..rows {
            let own = table.get(&(items[row], shown.slots[row])).copied();
            let propensity = match self.propensities {
                Propensities::Known { name, values } => sound(name, values[row], row)?,
                Propensities::Unknown => f64::INFINITY,
                _ => {
                    return Err(Refusal::new(
                        "lists of one row have no order, so their propensities must be logged",
                    )
                    .hint("name the column: --propensity NAME")
                    .into());
                }
            };
            columns.weights.push(own.unwrap_or(0.0) / propensity);
        }
        if let Some(forecasts) = self.forecasts {
            let here = |row: usize| {
                let mut q = 0.0;
                forecasts.of(row, [shown.slots[row]], |forecast| q = forecast);
                q
            };
            let forecast: Vec<f64> = (0..rows).map(here).collect();
            columns.expected = Some(forecasts.over_items(shown, table));
            columns.forecast = Some(forecast);
        }
        columns.unseen = unseen(shown, items, table);
        Ok(columns)
    }
}

/// Share of a table's policy that was never logged in its slot, over the slots as often as they were
/// logged.
fn unseen(shown: &Shown, items: &[i64], table: &OfItems) -> f64 {
    let logged: std::collections::HashSet<(i64, u32)> = items
        .iter()
        .copied()
        .zip(shown.slots.iter().copied())
        .collect();
    let mut slots: std::collections::BTreeMap<u32, [f64; 2]> = std::collections::BTreeMap::new();
    for &slot in &shown.slots {
        slots.entry(slot).or_default()[0] += 1.0;
    }
    let mut cells: Vec<(&(i64, u32), &f64)> = table.iter().collect();
    cells.sort_by_key(|(cell, _)| **cell);
    for (cell, p) in cells {
        if let (false, Some(slot)) = (logged.contains(cell), slots.get_mut(&cell.1)) {
            slot[1] += p;
        }
    }
    let rows = items.len() as f64;
    slots
        .values()
        .map(|[count, missed]| count / rows * missed)
        .sum()
}

/// Items of all placements.
///
/// # Errors
/// No such column.
pub(crate) fn items(shown: &Shown) -> Result<&[i64]> {
    shown.table.get_integers("item_id").ok_or_else(|| {
        Refusal::new("the placements have no column `item_id`, expected the item shown in each")
            .into()
    })
}

fn sound(name: &str, propensity: f64, row: usize) -> Result<f64> {
    if propensity > 0.0 {
        return Ok(propensity);
    }
    let what = if propensity.is_nan() { "missing" } else { "0" };
    let told = format!("`{name}` at row {row} is {what}, expected a number above 0 and up to 1");
    Err(Refusal::new(told)
        .hint(
            "only placements that were logged with their probability can be weighed: choose them with \
             --where, or pass --propensity uniform for lists in random order",
        )
        .into())
}
