//! Score files: one row per scored slot, Parquet or CSV.
//!
//! Columns `list_id` and `score` are required; `item_id`, `impression`, `slot`, `ts`, `grade`,
//! `click`, `purchase`, `weight`, `price`, `ad_rate`, `propensity`, `probability`, `click_score` and
//! `split` are known. Any other column is kept as it is: it may name segments, users or pages. Rows
//! of one list must stand together. The Parquet footer says who scored the rows (`slate.scorer`) and
//! the format (`slate.format`). Judged lists of other programs become the same table: [`letor`],
//! [`trec`].

mod csv_file;
mod files;
pub(crate) mod letor;
pub(crate) mod trec;

pub(crate) use self::files::columns_of;

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use slate_types::{FormatVersion, ListOffsets};

use crate::console::Refusal;

/// Version of the score file.
pub(crate) const SCORES_FORMAT: FormatVersion = FormatVersion(1);

/// Columns with a number in each row, in the order they are written after `score`.
const NUMBERS: [&str; 11] = [
    "probability",
    "probability_low",
    "probability_high",
    "click_score",
    "grade",
    "click",
    "purchase",
    "weight",
    "price",
    "ad_rate",
    "propensity",
];
/// Whole-number columns, in the order they are written.
const INTEGERS: [&str; 4] = ["item_id", "impression", "slot", "ts"];

/// A table of scored slots.
#[derive(Debug, Clone)]
pub(crate) struct ScoreTable {
    /// Id of the list of each row.
    pub(crate) list_id: Vec<i64>,
    /// Where each list begins and ends.
    pub(crate) lists: ListOffsets,
    /// Finite, larger is better.
    pub(crate) score: Vec<f64>,
    /// Part of the dataset of each row, where known.
    pub(crate) split: Option<Vec<String>>,
    /// Who scored: `run:…`, `baseline:random`, …
    pub(crate) scorer: String,
    integers: BTreeMap<&'static str, Vec<i64>>,
    numbers: BTreeMap<&'static str, Vec<f64>>,
    /// Columns that only the reader of the file knows, in its order.
    others: Vec<(String, ArrayRef)>,
    /// Rows that no rank was given to; none where all have one.
    pub(crate) unranked: Option<Vec<bool>>,
    /// What the list of each id is called, where that is no number: ids count from 0.
    list_names: Option<Vec<String>>,
}

impl ScoreTable {
    /// A table of lists and scores alone. Rows of one list must stand together and scores must be
    /// finite.
    ///
    /// # Errors
    /// Columns of different lengths, no rows, a list in two places, a score that is no number.
    pub(crate) fn new(list_id: Vec<i64>, score: Vec<f64>, scorer: &str) -> Result<Self> {
        if list_id.is_empty() {
            return Err(Refusal::new("there are no scores, expected at least one row").into());
        }
        anyhow::ensure!(
            list_id.len() == score.len(),
            "`list_id` has {} rows but `score` has {}",
            list_id.len(),
            score.len()
        );
        if let Some(row) = score.iter().position(|s| !s.is_finite()) {
            return Err(Refusal::new(format!(
                "`score` at row {row} is {}, expected a finite number",
                score[row]
            ))
            .into());
        }
        let lists = ListOffsets::from_runs(&list_id);
        let mut starts: Vec<(i64, usize)> = lists
            .iter()
            .map(|rows| (list_id[rows.start], rows.start))
            .collect();
        starts.sort_unstable();
        if let Some(pair) = starts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Refusal::new(format!(
                "list {} stands at row {} and again at row {}, expected its rows together",
                pair[0].0, pair[0].1, pair[1].1
            ))
            .hint("sort the file by list_id")
            .into());
        }
        Ok(Self {
            list_id,
            lists,
            score,
            split: None,
            scorer: scorer.to_owned(),
            integers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            others: Vec::new(),
            unranked: None,
            list_names: None,
        })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.score.len()
    }

    /// Adds or replaces a number column. Panics for a name or length that is not of a score table:
    /// both are fixed in the program.
    pub(crate) fn set(&mut self, name: &str, values: Vec<f64>) {
        assert_eq!(
            values.len(),
            self.rows(),
            "column `{name}` has another length"
        );
        let known = NUMBERS.iter().find(|known| **known == name);
        self.numbers
            .insert(known.expect("a column of the score file"), values);
    }

    /// Adds or replaces a whole-number column, as [`ScoreTable::set`].
    pub(crate) fn set_integers(&mut self, name: &str, values: Vec<i64>) {
        assert_eq!(
            values.len(),
            self.rows(),
            "column `{name}` has another length"
        );
        let known = INTEGERS.iter().find(|known| **known == name);
        self.integers
            .insert(known.expect("a column of the score file"), values);
    }

    /// A number column; NaN where the file has null.
    pub(crate) fn get(&self, name: &str) -> Option<&[f64]> {
        self.numbers.get(name).map(Vec::as_slice)
    }

    /// A whole-number column.
    pub(crate) fn get_integers(&self, name: &str) -> Option<&[i64]> {
        self.integers.get(name).map(Vec::as_slice)
    }

    /// A number column a command cannot do without, complete and finite.
    ///
    /// # Errors
    /// An absent column or a null in it.
    pub(crate) fn need(&self, name: &str) -> Result<&[f64]> {
        let values = self.get(name).ok_or_else(|| {
            Refusal::new(format!("the scores have no column `{name}`")).hint(format!(
                "score a dataset whose log has it, or add `{name}` to the file; the file has: {}",
                self.columns().join(", ")
            ))
        })?;
        if let Some(row) = values.iter().position(|v| !v.is_finite()) {
            let what = if values[row].is_nan() {
                "missing".to_owned()
            } else {
                values[row].to_string()
            };
            return Err(Refusal::new(format!(
                "`{name}` at row {row} is {what}, expected a finite number"
            ))
            .into());
        }
        Ok(values)
    }

    /// Tables of other lists, one after the other, with the columns of the first. Other columns than
    /// those with a meaning of their own are left out.
    ///
    /// # Errors
    /// A list in two tables, a column that one of them lacks.
    pub(crate) fn concat(tables: &[Self]) -> Result<Self> {
        let Some(first) = tables.first() else {
            return Err(Refusal::new("there are no scores").into());
        };
        let lists = tables
            .iter()
            .flat_map(|table| table.list_id.iter().copied());
        let scores = tables.iter().flat_map(|table| table.score.iter().copied());
        let mut all = Self::new(lists.collect(), scores.collect(), &first.scorer)?;
        let missing = |name: &str| Refusal::new(format!("one table has no column `{name}`"));
        for &name in first.integers.keys() {
            let mut values = Vec::with_capacity(all.rows());
            for table in tables {
                values.extend(table.get_integers(name).ok_or_else(|| missing(name))?);
            }
            all.integers.insert(name, values);
        }
        for &name in first.numbers.keys() {
            let mut values = Vec::with_capacity(all.rows());
            for table in tables {
                values.extend(table.get(name).ok_or_else(|| missing(name))?);
            }
            all.numbers.insert(name, values);
        }
        Ok(all)
    }

    /// Adds or replaces a column that only readers of the file know.
    pub(crate) fn set_other(&mut self, name: &str, values: ArrayRef) {
        assert_eq!(
            values.len(),
            self.rows(),
            "column `{name}` has another length"
        );
        self.others.retain(|(known, _)| known != name);
        self.others.push((name.to_owned(), values));
    }

    /// Takes over the columns of `beside` that this table lacks: row `i` gets those of row `rows[i]`.
    ///
    /// # Errors
    /// A column that cannot be picked from.
    pub(crate) fn adopt(&mut self, beside: &Self, rows: &[usize]) -> Result<()> {
        let there = self.columns();
        let lacks = |name: &str| !there.iter().any(|known| known == name);
        for (&name, values) in beside.integers.iter().filter(|(name, _)| lacks(name)) {
            self.set_integers(name, rows.iter().map(|&row| values[row]).collect());
        }
        for (&name, values) in beside.numbers.iter().filter(|(name, _)| lacks(name)) {
            self.set(name, rows.iter().map(|&row| values[row]).collect());
        }
        let places = UInt64Array::from_iter_values(rows.iter().map(|&row| row as u64));
        for (name, array) in beside.others.iter().filter(|(name, _)| lacks(name)) {
            self.set_other(name, take(array, &places, None)?);
        }
        Ok(())
    }

    /// Takes a column away, if it is there.
    pub(crate) fn remove(&mut self, name: &str) {
        self.integers.remove(name);
        self.numbers.remove(name);
        self.others.retain(|(known, _)| known != name);
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns().iter().any(|known| known == name)
    }

    /// Any column as numbers, complete and finite; also one that only the reader of the file knows.
    ///
    /// # Errors
    /// A column the table does not have or that holds no numbers, a null or infinity in it.
    pub(crate) fn numeric(&self, name: &str) -> Result<Vec<f64>> {
        if name == "score" {
            return Ok(self.score.clone());
        }
        if let Some(values) = self.get_integers(name) {
            return Ok(values.iter().map(|&v| v as f64).collect());
        }
        let Some((_, array)) = self.others.iter().find(|(known, _)| known == name) else {
            return Ok(self.need(name)?.to_vec());
        };
        let numbers = cast(array, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let value = |(row, value): (usize, Option<f64>)| match value {
            Some(value) if value.is_finite() => Ok(value),
            _ => Err(Refusal::new(format!(
                "`{name}` at row {row} is missing or no number, expected a finite number"
            ))
            .into()),
        };
        numbers.iter().enumerate().map(value).collect()
    }

    /// Any column as whole numbers, complete; also one that only the reader of the file knows.
    ///
    /// # Errors
    /// A column the table does not have, a value that is no whole number.
    pub(crate) fn whole(&self, name: &str) -> Result<Vec<i64>> {
        if let Some(values) = self.get_integers(name) {
            return Ok(values.to_vec());
        }
        let column = self.others.iter().find(|(known, _)| known == name);
        let (_, array) = column
            .ok_or_else(|| Refusal::new(format!("there is no column `{name}` of whole numbers")))?;
        let numbers = cast(array, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let value = |(row, value): (usize, Option<i64>)| {
            value.ok_or_else(|| {
                let told = format!("`{name}` at row {row} is missing or no whole number");
                Refusal::new(told).into()
            })
        };
        numbers.iter().enumerate().map(value).collect()
    }

    /// Names of all columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut names = vec!["list_id".to_owned(), "score".to_owned()];
        names.extend(self.integers.keys().map(|&n| n.to_owned()));
        names.extend(self.numbers.keys().map(|&n| n.to_owned()));
        names.extend(self.split.iter().map(|_| "split".to_owned()));
        names.extend(self.others.iter().map(|(name, _)| name.clone()));
        names
    }

    /// What a list is called.
    pub(crate) fn list_name(&self, list: usize) -> String {
        let id = self.list_id[self.lists.range(list).start];
        match &self.list_names {
            Some(names) => names[id as usize].clone(),
            None => id.to_string(),
        }
    }

    /// Any column as text, empty where it is null. `day` and `month` are made of `ts`, UTC.
    ///
    /// # Errors
    /// A column the table does not have.
    pub(crate) fn text(&self, name: &str) -> Result<Vec<String>> {
        let of_integers = |values: &[i64]| values.iter().map(i64::to_string).collect();
        if name == "list_id" {
            return Ok(of_integers(&self.list_id));
        }
        if let Some(values) = self.get_integers(name) {
            return Ok(of_integers(values));
        }
        if let Some(values) = self.get(name) {
            let text = |v: &f64| {
                if v.is_nan() {
                    String::new()
                } else {
                    v.to_string()
                }
            };
            return Ok(values.iter().map(text).collect());
        }
        if let (Some(split), "split") = (&self.split, name) {
            return Ok(split.clone());
        }
        if let Some((_, array)) = self.others.iter().find(|(known, _)| known == name) {
            let text = cast(array, &DataType::Utf8)?;
            let text = text.as_string::<i32>();
            return Ok(text.iter().map(|v| v.unwrap_or("").to_owned()).collect());
        }
        if let ("day" | "month", Some(ts)) = (name, self.get_integers("ts")) {
            return Ok(ts.iter().map(|ts| date(*ts, name == "month")).collect());
        }
        let hint = format!("the file has: {}", self.columns().join(", "));
        let refusal = Refusal::new(format!("the scores have no column `{name}`"));
        Err(refusal.hint(hint).into())
    }

    /// The rows `rows`, in which those of one list stand together. Lists without a row vanish.
    pub(crate) fn rows_of(&self, rows: &[usize]) -> Result<Self> {
        let pick = |values: &[f64]| rows.iter().map(|&row| values[row]).collect::<Vec<_>>();
        let whole = |values: &[i64]| rows.iter().map(|&row| values[row]).collect::<Vec<_>>();
        let mut part = Self::new(whole(&self.list_id), pick(&self.score), &self.scorer)?;
        for (name, values) in &self.integers {
            part.integers.insert(name, whole(values));
        }
        for (name, values) in &self.numbers {
            part.numbers.insert(name, pick(values));
        }
        part.list_names.clone_from(&self.list_names);
        let unranked = self.unranked.as_ref();
        part.unranked = unranked.map(|unranked| rows.iter().map(|&row| unranked[row]).collect());
        let split = self.split.as_ref();
        part.split = split.map(|split| rows.iter().map(|&row| split[row].clone()).collect());
        let places = UInt64Array::from_iter_values(rows.iter().map(|&r| r as u64));
        for (name, array) in &self.others {
            part.others
                .push((name.clone(), take(array, &places, None)?));
        }
        Ok(part)
    }
}

/// Year, month and, unless `month`, day of a time in UTC microseconds.
fn date(ts: i64, month: bool) -> String {
    let format = if month { "%Y-%m" } else { "%Y-%m-%d" };
    chrono::DateTime::from_timestamp_micros(ts).map_or_else(
        || "unknown".to_owned(),
        |time| time.format(format).to_string(),
    )
}
