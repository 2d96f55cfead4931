//! One reading of a table's coded rows: how many failed which check, between which times they lie, and
//! whether a key of a good row repeats.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::LogError;
use crate::engine::Engine;
use crate::tables::{Check, quote};

/// Rows with one code, and the smallest and largest value of each time column among them.
#[derive(Debug, Default)]
pub(crate) struct CodeCount {
    pub(crate) rows: u64,
    pub(crate) ranges: Vec<Option<(i64, i64)>>,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// By code, 0 for good rows.
    pub(crate) counts: BTreeMap<i64, CodeCount>,
    /// Keys that several good rows have and how many, in order; unknown where there were too many
    /// keys to hold.
    pub(crate) repeats: Option<Vec<(i64, i64)>>,
}

/// What is read of a table.
pub(crate) struct Reading<'a> {
    pub(crate) stage: &'static str,
    /// Name of the table inside the queries.
    pub(crate) short: &'a str,
    pub(crate) key: &'a str,
    /// Columns of which the ranges are wanted.
    pub(crate) times: &'a [&'static str],
    pub(crate) checks: &'a [Check],
    /// Hears how many rows were read.
    pub(crate) told: &'a dyn Fn(u64),
}

impl Codes {
    /// Reads a table. Keys are held, 8 bytes each, while they are no more than the engine allows.
    pub(crate) fn read(engine: &Engine, reading: &Reading<'_>) -> Result<Self, LogError> {
        let mut read = 0;
        if let Some(codes) = Self::sound(engine, reading, &mut read)? {
            return Ok(codes);
        }
        // Some row is unusable: the engine says which and why.
        let list = format!("CAST(bad AS BIGINT) AS bad, {}", reading.list());
        let sql = format!("SELECT {list} FROM {}_coded", reading.short);
        let mut codes = Self::default();
        let mut keys = Keys::new(engine);
        let mut batches = engine.stream(reading.stage, &sql)?;
        while let Some(batch) = batches.next()? {
            codes.add(&batch);
            let again = read.min(batch.num_rows() as u64);
            read -= again;
            (reading.told)(batch.num_rows() as u64 - again);
            let (bad, key) = (numbers(&batch, 0), numbers(&batch, 1));
            let good = bad.values().iter().zip(key.values());
            keys.add(good.filter(|(bad, _)| **bad == 0).map(|(_, key)| *key));
        }
        codes.repeats = keys.repeated();
        Ok(codes)
    }

    /// The same of a table all of whose rows are usable; none as soon as one is not.
    fn sound(
        engine: &Engine,
        reading: &Reading<'_>,
        read: &mut u64,
    ) -> Result<Option<Self>, LogError> {
        let mut list = format!("CAST(0 AS BIGINT) AS bad, {}", reading.list());
        for (check, at) in reading.checks.iter().zip(0..) {
            let _ = write!(list, ", {} AS tested{at}", quote(&check.tested));
        }
        let sql = format!("SELECT {list} FROM {}_all", reading.short);
        let mut codes = Self::default();
        let mut keys = Keys::new(engine);
        let mut batches = engine.stream(reading.stage, &sql)?;
        let own = 2 + reading.times.len();
        while let Some(batch) = batches.next()? {
            let tested = &batch.columns()[own..];
            let mut checks = reading.checks.iter().zip(tested);
            if !checks.all(|(check, column)| check.fault.is_absent(column)) {
                return Ok(None);
            }
            let known = batch.project(&(0..own).collect::<Vec<_>>());
            codes.add(&known.expect("the columns are there"));
            *read += batch.num_rows() as u64;
            (reading.told)(batch.num_rows() as u64);
            keys.add(numbers(&batch, 1).values().iter().copied());
        }
        codes.repeats = keys.repeated();
        Ok(Some(codes))
    }

    /// Columns: code, key, times.
    fn add(&mut self, batch: &RecordBatch) {
        let bad = numbers(batch, 0);
        let times: Vec<&Int64Array> = (2..batch.num_columns())
            .map(|at| numbers(batch, at))
            .collect();
        if bad.values().iter().all(|bad| *bad == 0) {
            let count = self.code(0, times.len());
            count.rows += batch.num_rows() as u64;
            for (range, times) in count.ranges.iter_mut().zip(&times) {
                let least = arrow::compute::min(times);
                let most = arrow::compute::max(times);
                widen(range, least.zip(most));
            }
            return;
        }
        for (row, &bad) in bad.values().iter().enumerate() {
            let count = self.code(bad, times.len());
            count.rows += 1;
            for (range, times) in count.ranges.iter_mut().zip(&times) {
                let value = (!times.is_null(row)).then(|| times.value(row));
                widen(range, value.map(|value| (value, value)));
            }
        }
    }

    fn code(&mut self, code: i64, times: usize) -> &mut CodeCount {
        self.counts.entry(code).or_insert_with(|| CodeCount {
            rows: 0,
            ranges: vec![None; times],
        })
    }
}

impl Reading<'_> {
    /// Key and times.
    fn list(&self) -> String {
        let mut list = self.key.to_owned();
        for time in self.times {
            let _ = write!(list, ", {}", quote(time));
        }
        list
    }
}

/// Keys in the order in which they come, while they are not too many.
pub(crate) struct Keys {
    held: Option<Vec<i64>>,
    most: u64,
    /// Whether each was larger than the one before.
    ascending: bool,
}

impl Keys {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            held: Some(Vec::new()),
            most: engine.most_keys(),
            ascending: true,
        }
    }

    pub(crate) fn add(&mut self, keys: impl Iterator<Item = i64>) {
        let Some(held) = &mut self.held else { return };
        let before = held.len().saturating_sub(1);
        held.extend(keys);
        self.ascending = self.ascending && held[before..].is_sorted_by(|a, b| a < b);
        if held.len() as u64 > self.most {
            self.held = None;
        }
    }

    /// Those that repeat; unknown where there were too many.
    pub(crate) fn repeated(self) -> Option<Vec<(i64, i64)>> {
        let ascending = self.ascending;
        let keys = self.held?;
        Some(if ascending {
            Vec::new()
        } else {
            repeated(keys)
        })
    }
}

/// The keys that stand here more than once, and how often.
fn repeated(mut keys: Vec<i64>) -> Vec<(i64, i64)> {
    keys.sort_unstable();
    keys.chunk_by(|a, b| a == b)
        .filter(|same| same.len() > 1)
        .map(|same| (same[0], same.len() as i64))
        .collect()
}

fn widen(range: &mut Option<(i64, i64)>, with: Option<(i64, i64)>) {
    let Some((low, high)) = with else { return };
    *range = Some(range.map_or((low, high), |(least, most)| {
        (least.min(low), most.max(high))
    }));
}

fn numbers(batch: &RecordBatch, at: usize) -> &Int64Array {
    batch.column(at).as_primitive::<Int64Type>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_counted_in_order() {
        assert_eq!(repeated(vec![]), []);
        assert_eq!(repeated(vec![3, 1, 2]), []);
        assert_eq!(repeated(vec![9, 1, 9, -4, 1, 9]), [(1, 2), (9, 3)]);
    }
}
