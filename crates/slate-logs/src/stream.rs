//! Rows on their way to the file: their labels, and the totals of what passes by.

use std::io;
use std::ops::Add;
use std::sync::{Arc, mpsc};
use std::thread;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, UInt8Array};
use arrow::datatypes::{Int64Type, SchemaRef, UInt8Type};

use crate::LogError;
use crate::attribution::Label;
use crate::row_hash::RowHash;
use crate::writer::TableWriter;

/// The label columns of every row, from the labels of the few that have some.
#[derive(Clone, Copy)]
pub(crate) struct LabelColumns<'a> {
    labels: &'a [Label],
    /// How many rows, the first ones, have labels that cannot change any more.
    mature: u64,
}

impl<'a> LabelColumns<'a> {
    /// `labels` stand in the order of their rows, of which the first `mature` are mature.
    pub(crate) fn new(labels: &'a [Label], mature: u64) -> Self {
        Self { labels, mature }
    }

    /// The columns of so many rows, the first of which has this place.
    pub(crate) fn of(self, first: u64, rows: usize) -> [ArrayRef; 7] {
        let mut of_row: Vec<Option<&Label>> = vec![None; rows];
        let begin = self.labels.partition_point(|label| label.row < first);
        let end = first + rows as u64;
        for label in self.labels[begin..]
            .iter()
            .take_while(|label| label.row < end)
        {
            of_row[(label.row - first) as usize] = Some(label);
        }
        let bytes = |value: &dyn Fn(&Label) -> u8| -> ArrayRef {
            let values = of_row.iter().map(|label| label.map_or(0, value));
            Arc::new(UInt8Array::from_iter_values(values))
        };
        let lags = |value: &dyn Fn(&Label) -> Option<i64>| -> ArrayRef {
            let values = of_row.iter().map(|label| label.and_then(value));
            Arc::new(values.collect::<Int64Array>())
        };
        let mature = self.mature.saturating_sub(first);
        let mature: BooleanArray = (0..rows as u64).map(|row| Some(row < mature)).collect();
        let kinds: StringArray = of_row
            .iter()
            .map(|label| label.map(|label| label.kind.name()))
            .collect();
        [
            bytes(&|label| label.grade),
            bytes(&|label| u8::from(label.click)),
            bytes(&|label| u8::from(label.purchase)),
            Arc::new(mature),
            Arc::new(kinds),
            lags(&|label| label.click_lag),
            lags(&|label| label.purchase_lag),
        ]
    }
}

/// Runs `make`, which hands on one batch after the other, while a second thread makes them into columns,
/// encodes these and adds them up. Batches are written in the order in which they are made. Columns may
/// stop at `labels_at`, where the labels begin, which then come later.
pub(crate) fn write_behind<T: Send>(
    table: TableWriter,
    totals: Totals,
    labels_at: usize,
    mut columns: impl FnMut(T) -> Result<Vec<ArrayRef>, LogError> + Send,
    make: impl FnOnce(&mut Write<'_, T>) -> Result<(), LogError>,
) -> Result<(TableWriter, Totals), LogError> {
    let path = table.path().to_owned();
    thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<T>(WAITING);
        let writing = scope.spawn(move || {
            let (mut table, mut totals) = (table, totals);
            for batch in receive {
                let rows = table.conform(&columns(batch)?)?;
                let (shown, labels) = rows.columns().split_at(labels_at);
                let add = || {
                    totals.add_shown(shown);
                    if !labels.is_empty() {
                        totals.add_labels(totals.of_labels(0, labels));
                    }
                };
                rayon::join(|| table.write(rows.clone()), add).0?;
            }
            Ok((table, totals))
        });
        let made = make(&mut |batch| {
            send.send(batch).map_err(|_| LogError::Io {
                action: "write",
                path: path.clone(),
                source: io::ErrorKind::BrokenPipe.into(),
            })
        });
        // Without this the writer would wait for more.
        drop(send);
        let written = match writing.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // A pipe breaks only where the writer has given up, and then its own error is the one to tell.
        let written = written?;
        made?;
        Ok(written)
    })
}

/// Hands on a batch.
type Write<'a, T> = dyn FnMut(T) -> Result<(), LogError> + 'a;

/// Batches that may wait for the writer.
const WAITING: usize = 4;

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

    /// Takes the columns before the labels of the next rows of `examples.parquet`.
    pub(crate) fn add_shown(&mut self, columns: &[ArrayRef]) {
        let (lists, times) = (
            columns[0].as_primitive::<Int64Type>(),
            columns[3].as_primitive::<Int64Type>(),
        );
        if times.is_empty() {
            return;
        }
        if self.rows == 0 {
            self.first_ts = times.value(0);
        }
        self.last_ts = times.value(times.len() - 1);
        for &list in lists.values() {
            self.lists += u64::from(self.last_list != Some(list));
            self.last_list = Some(list);
        }
        self.rows += lists.len() as u64;
        self.hash.begin(columns);
    }

    /// What the labels of some rows add up to, the first of which comes `first` after the first whose labels
    /// were not added.
    pub(crate) fn of_labels(&self, first: usize, columns: &[ArrayRef]) -> LabelTotals {
        let flags = |at: usize| {
            let values = columns[at].as_primitive::<UInt8Type>().values();
            values.iter().map(|&flag| u64::from(flag)).sum::<u64>()
        };
        LabelTotals {
            rows: columns[0].len(),
            matured: columns[3].as_boolean().true_count() as u64,
            clicks: flags(1),
            purchases: flags(2),
            hash: self.hash.rest(first, columns),
        }
    }

    /// Takes the labels of the rows that came first of those whose labels are missing.
    pub(crate) fn add_labels(&mut self, labels: LabelTotals) {
        self.matured += labels.matured;
        self.clicks += labels.clicks;
        self.purchases += labels.purchases;
        self.hash.end(labels.rows, labels.hash);
    }
}

/// What the labels of some rows add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LabelTotals {
    rows: usize,
    matured: u64,
    clicks: u64,
    purchases: u64,
    hash: u128,
}

impl Add for LabelTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            matured: self.matured + other.matured,
            clicks: self.clicks + other.clicks,
            purchases: self.purchases + other.purchases,
            hash: self.hash.wrapping_add(other.hash),
        }
    }
}
