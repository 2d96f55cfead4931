//! Placements that were shown, as policies and backtests read them: from a score file, from labelled
//! placements, or from a split of a dataset.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use slate_features::Dataset;
use slate_types::{ListOffsets, Split};

use super::scoring::{self, Baseline};
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Where placements come from.
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// A table of placements.
    File(PathBuf),
    /// A part of a dataset.
    Dataset(PathBuf, Split),
}

/// Placements that were shown.
pub(crate) struct Shown {
    pub(crate) table: ScoreTable,
    /// Slot of each row, from 0.
    pub(crate) slots: Vec<u32>,
    /// Place of each row among those of its list, by slot, from 0.
    pub(crate) places: Vec<u32>,
    /// The dataset they are of, for policies that score it.
    pub(crate) dataset: Option<(Dataset, Split)>,
    /// Rows of what was read that are kept; none for all.
    kept: Option<Vec<usize>>,
}

impl Shown {
    /// Reads placements, and columns from a file beside them. Keeps those where each column of `only` has
    /// its value.
    ///
    /// # Errors
    /// Files that cannot be read, a list with a slot twice, an impression in two lists, nothing left.
    pub(crate) fn read(
        from: &From,
        beside: Option<&Path>,
        only: &[(String, String)],
    ) -> Result<Self> {
        let (mut table, dataset) = match from {
            From::File(path) => (ScoreTable::read_shown(path)?, None),
            From::Dataset(path, split) => {
                let dataset = Dataset::open(path)
                    .with_context(|| format!("cannot open the dataset `{}`", path.display()))?;
                let table = scoring::by_baseline(&Baseline::Logged, &dataset, *split)?;
                (table, Some((dataset, *split)))
            }
        };
        if let Some(path) = beside {
            join(&mut table, path)?;
        }
        if dataset.is_some() {
            // Lists whose labels could change were left out of the dataset; another labelling may know
            // less.
            table.remove("matured");
        }
        let mut shown = Self::of(table)?;
        shown.dataset = dataset;
        if !only.is_empty() {
            shown = shown.only(only)?;
        }
        Ok(shown)
    }

    fn of(table: ScoreTable) -> Result<Self> {
        let slots = table.get_integers("slot").ok_or_else(|| {
            Refusal::new(
                "the placements have no column `slot`, expected the slot each was shown in",
            )
        })?;
        let slots: Vec<u32> = slots
            .iter()
            .enumerate()
            .map(|(row, &slot)| {
                u32::try_from(slot).map_err(|_| {
                    let told = format!("`slot` at row {row} is {slot}, expected 0, 1, 2, …");
                    anyhow::Error::from(Refusal::new(told))
                })
            })
            .collect::<Result<_>>()?;
        unrepeated(&table)?;
        let mut places = vec![0; slots.len()];
        for (list, rows) in table.lists.iter().enumerate() {
            let mut order: Vec<usize> = rows.collect();
            order.sort_by_key(|&row| slots[row]);
            if let Some(pair) = order
                .windows(2)
                .find(|pair| slots[pair[0]] == slots[pair[1]])
            {
                let told = format!(
                    "list {} has slot {} at row {} and at row {}, expected one row for each slot",
                    table.list_name(list),
                    slots[pair[0]],
                    pair[0],
                    pair[1]
                );
                let hint = "are two lists under one id, or is the list there twice?";
                return Err(Refusal::new(told).hint(hint).into());
            }
            for (place, row) in (0..).zip(order) {
                places[row] = place;
            }
        }
        Ok(Self {
            table,
            slots,
            places,
            dataset: None,
            kept: None,
        })
    }

    /// Those values of all rows that were read which are of rows that are kept.
    pub(crate) fn of_kept<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        match &self.kept {
            None => values,
            Some(rows) => rows.iter().map(|&row| values[row]).collect(),
        }
    }

    /// Whether values of so many rows have one for each row that is kept.
    pub(crate) fn may_pick(&self, rows: usize) -> bool {
        let last = self.kept.as_ref().and_then(|kept| kept.last());
        last.is_some_and(|&last| last < rows)
    }

    /// The rows in which each column has its value.
    fn only(self, conditions: &[(String, String)]) -> Result<Self> {
        let mut keep = vec![true; self.table.rows()];
        for (column, wanted) in conditions {
            for (keep, value) in keep.iter_mut().zip(self.table.text(column)?) {
                *keep &= value == *wanted;
            }
        }
        let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
        let told = || {
            let conditions = conditions.iter().map(|(c, v)| format!("{c}={v}"));
            conditions.collect::<Vec<_>>().join(" and ")
        };
        if rows.is_empty() {
            return Err(Refusal::new(format!("no placement has {}", told())).into());
        }
        for (list, range) in self.table.lists.iter().enumerate() {
            let kept = range.clone().filter(|&row| keep[row]).count();
            if kept > 0 && kept < range.len() {
                let name = self.table.list_name(list);
                let told = format!(
                    "only {kept} of {} rows of list {name} have {}",
                    range.len(),
                    told()
                );
                return Err(Refusal::new(told)
                    .hint("choose by columns that all rows of a list share, such as traffic_class")
                    .into());
            }
        }
        let mut part = self.of_rows(&rows)?;
        part.dataset = self.dataset;
        part.kept = Some(rows);
        Ok(part)
    }

    /// Some rows, whole lists of them.
    pub(crate) fn of_rows(&self, rows: &[usize]) -> Result<Self> {
        let pick = |values: &[u32]| rows.iter().map(|&row| values[row]).collect();
        Ok(Self {
            table: self.table.rows_of(rows)?,
            slots: pick(&self.slots),
            places: pick(&self.places),
            dataset: None,
            kept: None,
        })
    }

    /// Whether every list has one row, so that there is nothing to order.
    pub(crate) fn is_single(&self) -> bool {
        self.table.lists.len() == self.table.rows()
    }

    /// Where rows stand, as estimates and models see it: places within lists, and logged slots where each
    /// list has one row.
    pub(crate) fn positions(&self) -> &[u32] {
        if self.is_single() {
            &self.slots
        } else {
            &self.places
        }
    }

    /// Where lists begin and end.
    pub(crate) fn lists(&self) -> &ListOffsets {
        &self.table.lists
    }
}

/// The column that names a placement.
fn key(table: &ScoreTable) -> Option<&'static str> {
    ["impression", "impression_id"]
        .into_iter()
        .find(|name| table.has(name))
}

/// Refuses an impression that is there twice: a log that was read twice looks twice as sure.
fn unrepeated(table: &ScoreTable) -> Result<()> {
    let Some(name) = key(table) else {
        return Ok(());
    };
    let ids = table.whole(name)?;
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) else {
        return Ok(());
    };
    let rows: Vec<usize> = (0..ids.len()).filter(|&row| ids[row] == pair[0]).collect();
    let told = format!(
        "`{name}` {} stands at row {} and at row {}, expected once",
        pair[0], rows[0], rows[1]
    );
    Err(Refusal::new(told)
        .hint("were lists logged or read twice? Keep each once")
        .into())
}

/// Adds the columns of a file to the rows it has by `impression` or `impression_id`; those the table has
/// already stay.
///
/// # Errors
/// A file that cannot be read, no such key in one of both, a placement that the file does not have.
pub(crate) fn join(table: &mut ScoreTable, path: &Path) -> Result<()> {
    let beside = ScoreTable::read_beside(path)?;
    let ids = |table: &ScoreTable, whose: &str| -> Result<Vec<i64>> {
        let name = key(table).ok_or_else(|| {
            Refusal::new(format!(
                "{whose} have neither `impression` nor `impression_id`"
            ))
        })?;
        table.whole(name)
    };
    let theirs = ids(&beside, "the columns beside the placements")?;
    unrepeated(&beside)?;
    let at: HashMap<i64, usize> = theirs.into_iter().zip(0..).collect();
    let found: Vec<usize> = ids(table, "the placements")?
        .iter()
        .map(|id| {
            at.get(id).copied().ok_or_else(|| {
                let told = format!("`{}` has no placement {id}", path.display());
                anyhow::Error::from(Refusal::new(told).hint("take it from the same log"))
            })
        })
        .collect::<Result<_>>()?;
    table.adopt(&beside, &found)
}
