//! Rows on their way from the engine to the file: two streams laid side by side, and the totals of
//! what passes by.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt8Type};

use crate::LogError;
use crate::engine::Batches;
use crate::writer::RowHash;

/// Two streams of the same placements in the same order.
pub(crate) struct SideBySide<'a> {
    /// With `impression_id` as its third column.
    left: Cursor<'a>,
    /// With `impression_id` as its first column, which is dropped.
    right: Cursor<'a>,
}

impl<'a> SideBySide<'a> {
    pub(crate) fn new(left: Batches<'a>, right: Batches<'a>) -> Self {
        Self {
            left: Cursor::new(left),
            right: Cursor::new(right),
        }
    }

    /// The next rows, at least one, the columns of the right after those of the left.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, LogError> {
        let rows = self.left.available()?.min(self.right.available()?);
        if rows == 0 {
            assert_eq!(
                self.left.available()? + self.right.available()?,
                0,
                "both sides come from the same placements, so they end together"
            );
            return Ok(None);
        }
        let (left, right) = (self.left.take(rows), self.right.take(rows));
        assert_eq!(
            left.column(2).as_primitive::<Int64Type>().values(),
            right.column(0).as_primitive::<Int64Type>().values(),
            "both sides have one total order"
        );
        Ok(Some(
            left.columns()
                .iter()
                .chain(&right.columns()[1..])
                .cloned()
                .collect(),
        ))
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
