//! What metrics read of a score table beside scores and labels.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::Result;
use slate_eval::{MetricName, Per, Sample, Ties};

use super::evaluation::{Labels, Measure};
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// The unit that intervals resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Cluster {
    /// Lists.
    #[default]
    List,
    /// All lists of a user, by the column `user_id`; a list without one by itself.
    User,
    /// All lists of a page, by the column `page_id`.
    Page,
    /// All lists of a day (UTC), by the column `ts`.
    Day,
}

impl Cluster {
    /// The name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::User => "user",
            Self::Page => "page",
            Self::Day => "day",
        }
    }

    /// The cluster of each list, numbered in order of appearance; none where each list is one.
    ///
    /// # Errors
    /// A column that is missing, a list with two values of it.
    pub(crate) fn of_lists(self, table: &ScoreTable) -> Result<Option<Vec<u32>>> {
        let column = match self {
            Self::List => return Ok(None),
            Self::User => "user_id",
            Self::Page => "page_id",
            Self::Day => "day",
        };
        Ok(Some(numbered(table, &table.text(column)?, str::is_empty)?))
    }
}

/// What a purchase is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Worth {
    /// Its price.
    #[default]
    Price,
    /// Its price times the rate its seller pays for promotion; 0 where none is known.
    Fee,
}

impl Worth {
    /// The name in conventions.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Fee => "price*ad_rate",
        }
    }
}

/// Columns that some metric asked for reads.
#[derive(Default)]
pub(crate) struct Columns {
    clicks: Option<Vec<u8>>,
    worth: Option<Vec<f64>>,
    slots: Option<Vec<u32>>,
    propensities: Option<Vec<f64>>,
    tie_order: Option<Vec<u32>>,
    pages: Option<Vec<u32>>,
    clusters: Option<Vec<u32>>,
}

impl Columns {
    /// Takes what `measure` needs.
    ///
    /// # Errors
    /// A column that is missing, incomplete or out of range.
    pub(crate) fn of(table: &ScoreTable, labels: &Labels, measure: &Measure) -> Result<Self> {
        let mut columns = Self::default();
        let any = |wanted: &dyn Fn(&MetricName) -> bool| measure.metrics.iter().any(wanted);
        if any(&|name| matches!(name, MetricName::Ctr { .. })) {
            let clicks = table.need("click")?;
            columns.clicks = Some(clicks.iter().map(|&click| u8::from(click > 0.0)).collect());
        }
        if any(&|name| matches!(name, MetricName::Revenue { .. })) {
            columns.worth = Some(worth(table, labels, measure.worth)?);
        }
        if any(&|name| name.weighted_at().is_some()) {
            columns.slots = Some(slots(table)?);
            columns.propensities = Some(table.need("propensity")?.to_vec());
        }
        if measure.convention.ties == Ties::Docid {
            let names = table.text("document").or_else(|_| table.text("item_id"))?;
            columns.tie_order = Some(tie_order(table, &names));
        }
        if measure.convention.per == Per::Page {
            columns.pages = Some(numbered(table, &table.text("page_id")?, str::is_empty)?);
        }
        columns.clusters = measure.cluster.of_lists(table)?;
        Ok(columns)
    }

    /// Lays them into a sample.
    pub(crate) fn lay<'a>(&'a self, table: &'a ScoreTable, sample: &mut Sample<'a>) {
        sample.clicks = self.clicks.as_deref();
        sample.worth = self.worth.as_deref();
        sample.slots = self.slots.as_deref();
        sample.propensities = self.propensities.as_deref();
        sample.tie_order = self.tie_order.as_deref();
        sample.pages = self.pages.as_deref();
        sample.clusters = self.clusters.as_deref();
        sample.unranked = table.unranked.as_deref();
    }
}

/// What each row would earn if it were bought.
///
/// # Errors
/// No prices, or none of a row that was bought; no rates where fees are counted.
pub(crate) fn worth(table: &ScoreTable, labels: &Labels, worth: Worth) -> Result<Vec<f64>> {
    let prices = table.get("price").ok_or_else(|| {
        Refusal::new("the scores have no column `price`, which revenue needs")
            .hint("score a dataset whose log has prices, or leave the metric out")
    })?;
    if let Some(row) = (0..prices.len()).find(|&r| prices[r].is_nan() && labels.positives[r] == 1) {
        let told = format!("`price` at row {row} is missing, and that row was bought");
        return Err(Refusal::new(told).into());
    }
    let rates =
        match worth {
            Worth::Price => None,
            Worth::Fee => Some(table.get("ad_rate").ok_or_else(|| {
                Refusal::new("the scores have no column `ad_rate`, which fees need")
            })?),
        };
    let known = |value: f64| if value.is_nan() { 0.0 } else { value };
    Ok(prices
        .iter()
        .enumerate()
        .map(|(row, &price)| known(price) * rates.map_or(1.0, |rates| known(rates[row])))
        .collect())
}

fn slots(table: &ScoreTable) -> Result<Vec<u32>> {
    let slots = table.get_integers("slot").ok_or_else(|| {
        Refusal::new("the scores have no column `slot`, which inverse propensity needs")
    })?;
    let slot = |(row, &slot): (usize, &i64)| {
        u32::try_from(slot).map_err(|_| {
            let told = format!("`slot` at row {row} is {slot}, expected a whole number from 0 up");
            Refusal::new(told).into()
        })
    };
    slots.iter().enumerate().map(slot).collect()
}

/// The place of each row among its list by falling id, compared as text.
fn tie_order(table: &ScoreTable, names: &[String]) -> Vec<u32> {
    let mut places = vec![0; table.rows()];
    for rows in table.lists.iter() {
        let mut order: Vec<usize> = rows.collect();
        order.sort_by(|&a, &b| names[b].cmp(&names[a]));
        for (place, row) in (0..).zip(order) {
            places[row] = place;
        }
    }
    places
}

/// The value of a column in each list, whose rows share it.
///
/// # Errors
/// A column the table does not have, a list with two values of it.
pub(crate) fn values_of_lists(table: &ScoreTable, column: &str) -> Result<Vec<String>> {
    let values = table.text(column)?;
    let of_list = |rows: std::ops::Range<usize>| {
        let value = &values[rows.start];
        match rows.clone().find(|&row| values[row] != *value) {
            None => Ok(value.clone()),
            Some(row) => {
                let told = format!(
                    "`{column}` is `{value}` at row {} and `{}` at row {row} of one list",
                    rows.start, values[row]
                );
                Err(Refusal::new(told)
                    .hint("here whole lists are chosen by it")
                    .into())
            }
        }
    };
    table.lists.iter().map(of_list).collect()
}

/// Numbers for values, from 0 in order of appearance.
pub(crate) fn renumbered<T: Eq + Hash>(values: impl IntoIterator<Item = T>) -> Vec<u32> {
    let mut known: HashMap<T, u32> = HashMap::new();
    let new = values.into_iter().map(|value| {
        let next = known.len() as u32;
        *known.entry(value).or_insert(next)
    });
    new.collect()
}

/// Numbers for the values that some columns have together, in order of appearance.
///
/// # Errors
/// A column the table does not have.
pub(crate) fn numbers_of(table: &ScoreTable, columns: &[String]) -> Result<Vec<u32>> {
    let mut numbers = vec![0; table.rows()];
    for column in columns {
        numbers = renumbered(numbers.into_iter().zip(&table.text(column)?));
    }
    Ok(numbers)
}

/// Numbers for the text that the rows of each list share, in order of appearance; a list `alone` has
/// a number of its own.
fn numbered(
    table: &ScoreTable,
    values: &[String],
    alone: impl Fn(&str) -> bool,
) -> Result<Vec<u32>> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut next = 0;
    let mut numbers = Vec::with_capacity(table.lists.len());
    for (list, rows) in table.lists.iter().enumerate() {
        let value = &values[rows.start];
        if let Some(row) = rows.clone().find(|&row| values[row] != *value) {
            let told = format!(
                "list {} has `{value}` at row {} and `{}` at row {row}, expected one value for a list",
                table.list_name(list),
                rows.start,
                values[row]
            );
            return Err(Refusal::new(told).into());
        }
        let mut new = || {
            next += 1;
            next - 1
        };
        numbers.push(if alone(value) {
            new()
        } else {
            *known.entry(value).or_insert_with(new)
        });
    }
    Ok(numbers)
}
