//! Rows on their way from the engine to the file: streams laid side by side, and the totals of what
//! passes by.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt8Type};

use crate::LogError;
use crate::engine::Batches;
use crate::writer::RowHash;

/// Streams of the same placements in the same order.
pub(crate) struct SideBySide<'a> {
    /// With `impression_id` as its third column.
    rows: Cursor<'a>,
    /// With `impression_id` as their first column, which is dropped.
    others: Vec<Cursor<'a>>,
}

impl<'a> SideBySide<'a> {
    pub(crate) fn new(rows: Batches<'a>, others: Vec<Batches<'a>>) -> Self {
        Self {
            rows: Cursor::new(rows),
            others: others.into_iter().map(Cursor::new).collect(),
        }
    }

    /// The next rows, at least one, the columns of the others after the first ones.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, LogError> {
        let mut available = vec![self.rows.available()?];
        for other in &mut self.others {
            available.push(other.available()?);
        }
        let least = available.iter().copied().min().unwrap_or(0);
        if least == 0 {
            assert!(
                available.iter().all(|&rows| rows == 0),
                "all streams come from the same placements, so they end together"
            );
            return Ok(None);
        }
        let rows = self.rows.take(least);
        let ids = rows.column(2).as_primitive::<Int64Type>().values();
        let mut columns = rows.columns().to_vec();
        for other in &mut self.others {
            let batch = other.take(least);
            assert_eq!(
                batch.column(0).as_primitive::<Int64Type>().values(),
                ids,
                "all streams have one total order"
            );
            columns.extend_from_slice(&batch.columns()[1..]);
        }
        Ok(Some(columns))
    }
}

struct Cursor<'a> {
    batches: Batches<'a>,
    batch: Option<RecordBatch>,
}

impl<'a> Cursor<'a> {
    fn new(batches: Batches<'a>) -> Self {
        Self {
            batches,
            batch: None,
        }
    }

    /// Rows that can be taken, 0 only at the end.
    fn available(&mut self) -> Result<usize, LogError> {
        loop {
            match &self.batch {
                Some(batch) if batch.num_rows() > 0 => return Ok(batch.num_rows()),
                _ => match self.batches.next()? {
                    Some(batch) => self.batch = Some(batch),
                    None => return Ok(0),
                },
            }
        }
    }

    fn take(&mut self, rows: usize) -> RecordBatch {
        let batch = self
            .batch
            .as_mut()
            .expect("rows are taken only where some are available");
        let taken = batch.slice(0, rows);
        *batch = batch.slice(rows, batch.num_rows() - rows);
        taken
    }
}

/// Numbers gathered while rows pass by.
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) lists: u64,
    pub(crate) matured: u64,
    pub(crate) clicks: u64,
    pub(crate) purchases: u64,
    pub(crate) first_ts: i64,
    pub(crate) last_ts: i64,
    last_list: Option<i64>,
    pub(crate) hash: RowHash,
}

impl Totals {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        Self {
            rows: 0,
            lists: 0,
            matured: 0,
            clicks: 0,
            purchases: 0,
            first_ts: 0,
            last_ts: 0,
            last_list: None,
            hash: RowHash::new(schema),
        }
    }

    /// Takes rows of `examples.parquet`, in their order; the labels begin at this column.
    pub(crate) fn add(&mut self, columns: &[ArrayRef], labels_at: usize) {
        let (lists, times) = (
            columns[0].as_primitive::<Int64Type>(),
            columns[3].as_primitive::<Int64Type>(),
        );
        let flags = |at: usize| {
            let values = columns[labels_at + at].as_primitive::<UInt8Type>();
            values
                .values()
                .iter()
                .map(|&flag| u64::from(flag))
                .sum::<u64>()
        };
        if self.rows == 0 {
            self.first_ts = times.value(0);
        }
        self.last_ts = times.value(times.len() - 1);
        for &list in lists.values() {
            self.lists += u64::from(self.last_list != Some(list));
            self.last_list = Some(list);
        }
        self.rows += lists.len() as u64;
        self.clicks += flags(1);
        self.purchases += flags(2);
        self.matured += columns[labels_at + 3].as_boolean().true_count() as u64;
        self.hash.add(columns);
    }
}
