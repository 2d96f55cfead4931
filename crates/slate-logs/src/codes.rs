//! One reading of a table's coded rows: how many failed which check, between which times they lie, and
//! whether a key of a good row repeats.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::LogError;
use crate::engine::Engine;

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

impl Codes {
    /// Reads `{short}_coded`; `told` hears how many rows. Keys are held, 8 bytes each, while they are no more than `most_keys`.
    pub(crate) fn read(
        engine: &Engine,
        stage: &'static str,
        short: &str,
        key: &str,
        times: &[&str],
        most_keys: u64,
        told: &dyn Fn(u64),
    ) -> Result<Self, LogError> {
        let mut list = format!("CAST(bad AS BIGINT) AS bad, {key}");
        for time in times {
            let _ = write!(list, ", \"{time}\"");
        }
        let mut codes = Self::default();
        let mut keys = Some(Vec::new());
        let mut batches = engine.stream(stage, &format!("SELECT {list} FROM {short}_coded"))?;
        while let Some(batch) = batches.next()? {
            codes.add(&batch);
            told(batch.num_rows() as u64);
            if let Some(held) = &mut keys {
                let (bad, key) = (numbers(&batch, 0), numbers(&batch, 1));
                let good = bad.values().iter().zip(key.values());
                held.extend(good.filter(|(bad, _)| **bad == 0).map(|(_, key)| *key));
                if held.len() as u64 > most_keys {
                    keys = None;
                }
            }
        }
        codes.repeats = keys.map(repeated);
        Ok(codes)
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
