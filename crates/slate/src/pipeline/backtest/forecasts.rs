//! What outcome models, fitted on other folds, expect of placements.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use slate_eval::off_policy::{CascadeModel, Cell, CrossFitted, Folds, Outcomes, PositionModel};
use slate_types::Seed;

use super::rewards::Rewards;
use super::targets::{OfItems, items};
use crate::console::Refusal;
use crate::pipeline::columns::renumbered;
use crate::pipeline::policy::Values;
use crate::pipeline::shown::Shown;

/// Parts of the log, each forecast by what was learned from the others.
const FOLDS: u32 = 5;
/// Views that the mean rate of a cell is worth.
const CELL_PRIOR: f64 = 200.0;
/// Clicks and views without one that every item is taken to have had.
const CLICK_PRIOR: [f64; 2] = [0.5, 20.0];
const CLICK_STEPS: usize = 500;

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutcomeKind {
    /// Rate by slot, by what the policies say of the row, and by price
    Regression,
    /// Rate of each item in each slot, smoothed
    Cells,
    /// Examination of each slot times attraction of each item, by EM
    Positions,
    /// Users go from the top and stop at the first click: whole lists alone have a forecast, for dm
    Cascade,
}

/// A model per fold.
enum Models {
    Regression {
        fitted: CrossFitted,
        features: Vec<f64>,
        width: usize,
    },
    /// Rates by item and slot, and those of cells never seen.
    Cells {
        rates: Vec<OfItems>,
        means: Vec<f64>,
        items: Vec<i64>,
    },
    Positions {
        models: Vec<PositionModel>,
        /// Number of each row's item.
        items: Vec<u32>,
    },
    Cascade {
        models: Vec<CascadeModel>,
        /// Number of each row's item.
        items: Vec<u32>,
    },
}

/// Forecasts of every placement in any slot.
pub(crate) struct Forecasts {
    models: Models,
    fold_of_row: Vec<u32>,
    scale: Option<Vec<f64>>,
}

impl Forecasts {
    /// Fits a model for each fold of clusters. `values` are what the policies order by.
    ///
    /// # Errors
    /// Rewards or columns the model cannot read.
    pub(crate) fn fit(
        kind: OutcomeKind,
        shown: &Shown,
        rewards: &Rewards,
        values: &[&Values],
        clusters: Option<&[u32]>,
        seed: Seed,
    ) -> Result<Self> {
        let count = match clusters {
            Some(clusters) => clusters.iter().max().map_or(0, |most| *most as usize + 1),
            None => shown.lists().len(),
        };
        if count < 2 {
            let told = "the log is one cluster, so nothing is known of how it varies";
            return Err(Refusal::new(told)
                .hint("take a longer log, or a smaller --cluster")
                .into());
        }
        let folds = Folds {
            count: FOLDS.min(count as u32),
            seed,
        };
        let of_cluster = folds.assign(count);
        let mut fold_of_row = vec![0; shown.table.rows()];
        for (list, rows) in shown.lists().iter().enumerate() {
            let cluster = clusters.map_or(list, |clusters| clusters[list] as usize);
            fold_of_row[rows].fill(of_cluster[cluster]);
        }
        let slots = shown.positions();
        let models = match kind {
            OutcomeKind::Regression => {
                let (features, width) = features(shown, values);
                let outcomes = Outcomes {
                    features: &features,
                    width,
                    slots,
                    rewards: &rewards.outcomes,
                };
                let fitted = rewards
                    .model
                    .cross_fit(&outcomes, &fold_of_row, folds.count)?;
                Models::Regression {
                    fitted,
                    features,
                    width,
                }
            }
            OutcomeKind::Cells => {
                let items = items(shown)?.to_vec();
                let (rates, means) =
                    rates(&items, slots, &rewards.outcomes, &fold_of_row, folds.count);
                Models::Cells {
                    rates,
                    means,
                    items,
                }
            }
            OutcomeKind::Positions => {
                let (models, items) =
                    positions(items(shown)?, slots, rewards, &fold_of_row, folds.count)?;
                Models::Positions { models, items }
            }
            OutcomeKind::Cascade => cascades(shown, rewards, &fold_of_row, folds.count)?,
        };
        Ok(Self {
            models,
            fold_of_row,
            scale: rewards.scale.clone(),
        })
    }

    /// Whether only lists as a whole have a forecast.
    pub(crate) fn is_of_lists(&self) -> bool {
        matches!(self.models, Models::Cascade { .. })
    }

    /// What is expected of each of these rows, all of one list, shown in this order.
    pub(crate) fn of_list(&self, rows: &[usize]) -> Vec<f64> {
        match (&self.models, rows.first()) {
            (Models::Cascade { models, items }, Some(&first)) => {
                let model = &models[self.fold_of_row[first] as usize];
                model.clicks(rows.iter().map(|&row| items[row]))
            }
            _ => vec![0.0; rows.len()],
        }
    }

    /// Calls `each` with what is expected of a row in each of the slots; nothing where only lists have a
    /// forecast.
    pub(crate) fn of(
        &self,
        row: usize,
        slots: impl IntoIterator<Item = u32>,
        mut each: impl FnMut(f64),
    ) {
        let scale = self.scale.as_ref().map_or(1.0, |scale| scale[row]);
        let fold = self.fold_of_row[row] as usize;
        match &self.models {
            Models::Regression {
                fitted,
                features,
                width,
            } => {
                let own = &features[row * width..(row + 1) * width];
                fitted.forecast(fold as u32, own, slots, |q| each(scale * q));
            }
            Models::Cells {
                rates,
                means,
                items,
            } => {
                for slot in slots {
                    let rate = rates[fold].get(&(items[row], slot));
                    each(scale * rate.copied().unwrap_or(means[fold]));
                }
            }
            Models::Positions { models, items } => {
                let model = &models[fold];
                let attraction = model.attraction.get(items[row] as usize).copied();
                let last = model.examination.len() - 1;
                for slot in slots {
                    let examined = model.examination[(slot as usize).min(last)];
                    each(scale * examined * attraction.unwrap_or(0.0));
                }
            }
            Models::Cascade { .. } => {}
        }
    }

    /// What is expected of each row's slot under a policy over items, which only cells know.
    pub(crate) fn over_items(&self, shown: &Shown, table: &OfItems) -> Vec<f64> {
        let Models::Cells { rates, means, .. } = &self.models else {
            return vec![0.0; shown.table.rows()];
        };
        let mut cells: Vec<(&(i64, u32), &f64)> = table.iter().collect();
        cells.sort_by_key(|(cell, _)| **cell);
        let mut sums: Vec<BTreeMap<u32, f64>> = Vec::with_capacity(rates.len());
        for (rates, mean) in rates.iter().zip(means) {
            let mut of_slot: BTreeMap<u32, f64> = BTreeMap::new();
            for (cell, p) in &cells {
                let rate = rates.get(cell).copied().unwrap_or(*mean);
                *of_slot.entry(cell.1).or_default() += **p * rate;
            }
            sums.push(of_slot);
        }
        let pairs = shown.slots.iter().zip(&self.fold_of_row);
        pairs
            .map(|(slot, &fold)| sums[fold as usize].get(slot).copied().unwrap_or(0.0))
            .collect()
    }
}

/// What policies say of each row, and its price: numbers that do not know where it was shown.
fn features(shown: &Shown, values: &[&Values]) -> (Vec<f64>, usize) {
    let varies = |column: &[f64]| column.iter().any(|value| *value != column[0]);
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for values in values.iter().filter(|values| values.foreseen) {
        if varies(&values.of_rows) && !columns.contains(&values.of_rows) {
            columns.push(values.of_rows.clone());
        }
    }
    if let Some(prices) = shown.table.get("price") {
        let log = |price: &f64| if price.is_nan() { 0.0 } else { price.ln_1p() };
        columns.push(prices.iter().map(log).collect());
    }
    let (rows, width) = (shown.table.rows(), columns.len());
    let mut features = Vec::with_capacity(rows * width);
    for row in 0..rows {
        features.extend(columns.iter().map(|column| column[row]));
    }
    (features, width)
}

/// For each fold the smoothed rates of all other folds, and their mean.
fn rates(
    items: &[i64],
    slots: &[u32],
    outcomes: &[f64],
    folds: &[u32],
    count: u32,
) -> (Vec<OfItems>, Vec<f64>) {
    let mut of_folds = Vec::new();
    let mut means = Vec::new();
    for fold in 0..count {
        let mut counts: HashMap<(i64, u32), [f64; 2]> = HashMap::new();
        let mut all = [0.0; 2];
        for row in (0..items.len()).filter(|&row| folds[row] != fold) {
            let cell = counts.entry((items[row], slots[row])).or_default();
            cell[0] += outcomes[row];
            cell[1] += 1.0;
            all[0] += outcomes[row];
            all[1] += 1.0;
        }
        let mean = all[0] / f64::max(all[1], 1.0);
        let rate = |[earned, shown]: [f64; 2]| (earned + CELL_PRIOR * mean) / (shown + CELL_PRIOR);
        of_folds.push(
            counts
                .into_iter()
                .map(|(cell, sums)| (cell, rate(sums)))
                .collect(),
        );
        means.push(mean);
    }
    (of_folds, means)
}

/// For each fold the cascade model of all other folds.
///
/// # Errors
/// Rewards that are no clicks.
fn cascades(shown: &Shown, rewards: &Rewards, folds: &[u32], count: u32) -> Result<Models> {
    if let Some(row) = rewards.of_rows.iter().position(|r| *r != 0.0 && *r != 1.0) {
        let told = format!(
            "`{}` at row {row} is {}, and a cascade is of clicks, 0 or 1",
            rewards.name, rewards.of_rows[row]
        );
        return Err(Refusal::new(told).hint("leave --outcome out").into());
    }
    let clicks = |rows: std::ops::Range<usize>| rewards.of_rows[rows].iter().sum::<f64>();
    let several = |rows: &std::ops::Range<usize>| clicks(rows.clone()) > 1.0;
    if let Some(list) = shown.lists().iter().position(|rows| several(&rows)) {
        let told = format!(
            "list {} has several clicks, and a cascade ends with the first",
            shown.table.list_name(list)
        );
        return Err(Refusal::new(told)
            .hint("--outcome positions knows several")
            .into());
    }
    let items = renumbered(items(shown)?);
    let known = items.iter().max().map_or(0, |most| *most as usize + 1);
    let all: Vec<(u32, Vec<(u32, bool)>)> = shown
        .lists()
        .iter()
        .map(|rows| {
            let mut order: Vec<usize> = rows.clone().collect();
            order.sort_by_key(|&row| shown.places[row]);
            let clicks = order
                .iter()
                .map(|&row| (items[row], rewards.of_rows[row] > 0.0));
            (folds[rows.start], clicks.collect())
        })
        .collect();
    let models = (0..count).map(|fold| {
        let others = all.iter().filter(|(own, _)| *own != fold);
        CascadeModel::fit(others.map(|(_, list)| &list[..]), known, CLICK_PRIOR)
    });
    Ok(Models::Cascade {
        models: models.collect(),
        items,
    })
}

/// For each fold the position-based model of all other folds; items are numbered.
fn positions(
    items: &[i64],
    slots: &[u32],
    rewards: &Rewards,
    folds: &[u32],
    count: u32,
) -> Result<(Vec<PositionModel>, Vec<u32>)> {
    let numbers = renumbered(items);
    let mut models = Vec::new();
    for fold in 0..count {
        let rows = (0..items.len()).filter(|&row| folds[row] != fold);
        let cells =
            Cell::count(rows.map(|row| (numbers[row], slots[row], 1.0, rewards.outcomes[row])));
        models.push(PositionModel::fit(&cells, CLICK_PRIOR, CLICK_STEPS)?);
    }
    Ok((models, numbers))
}
