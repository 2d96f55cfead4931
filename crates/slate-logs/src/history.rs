//! What an item or a user went through before each page: sliding counts over a sorted past.
//!
//! Goes in: the placements and marks of each key in order of time (`plan::past`). Comes out: for
//! each placement the impressions, clicks and standing purchases of its key in `[ts - window,
//! ts - 1]`, strictly before the page to the microsecond; zeros where the key is null. One pass over
//! the rows; in memory is no more than one key's longest window. The engine's own sliding windows
//! find each frame anew for each column and took most of the whole job.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::date::DAY;
use crate::engine::Engine;
use crate::{LogError, plan};

/// Columns that say which placement a row is, in the input and in the output.
const IDS: [&str; 5] = ["ts", "impression_id", "page_id", "list_id", "slot"];

/// Counts the past of `key` into the table `table`, with these columns after the ids.
pub(crate) fn count(
    engine: &Engine,
    past: &str,
    table: &str,
    days: &[u32],
    columns: &[String],
) -> Result<(), LogError> {
    const STAGE: &str = "count history";
    let fields = IDS
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, false))
        .chain(
            columns
                .iter()
                .map(|name| Field::new(name, DataType::Int64, false)),
        );
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut counter = Counter::new(days);
    let mut sink = engine.sink(table, schema.clone())?;
    let mut batches = engine.stream(STAGE, past)?;
    while let Some(batch) = batches.next()? {
        let counted = counter
            .add(&batch, &schema)
            .map_err(|source| LogError::Engine {
                stage: STAGE,
                source: Box::new(DataFusionError::from(source)),
            })?;
        sink.write(&counted)?;
    }
    sink.finish(engine)?;
    Ok(())
}

/// One row of the past.
struct Moment {
    ts: i64,
    /// In the order of [`plan::COUNTS`].
    counts: [i64; 3],
}

/// The counts of one window.
#[derive(Clone)]
struct Window {
    length: i64,
    /// Moments at the front of the past that are too old by now.
    left: usize,
    sums: [i64; 3],
    /// What cancels take from the purchases.
    undo: i64,
}

struct Counter {
    key: Option<i64>,
    /// Moments of the key, the oldest first; those of the latest time are not counted yet.
    past: VecDeque<Moment>,
    /// What cancels change at which time in which window, not counted yet.
    undo: VecDeque<(i64, usize, i64)>,
    /// Moments that all windows have counted.
    counted: usize,
    windows: Vec<Window>,
}

impl Counter {
    fn new(days: &[u32]) -> Self {
        let window = |days: &u32| Window {
            length: i64::from(*days) * DAY,
            left: 0,
            sums: [0; 3],
            undo: 0,
        };
        Self {
            key: None,
            past: VecDeque::new(),
            undo: VecDeque::new(),
            counted: 0,
            windows: days.iter().map(window).collect(),
        }
    }

    /// Takes the next rows and returns the placements among them with their counts.
    fn add(&mut self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let column = |name: &str| -> &Int64Array {
            batch
                .column_by_name(name)
                .expect("the query names it")
                .as_primitive::<Int64Type>()
        };
        let (keys, times, shown) = (column("past_key"), column("ts"), column("shown"));
        let (click, purchase) = (column("click"), column("purchase"));
        let undo: Vec<&Int64Array> = self
            .windows
            .iter()
            .map(|window| column(&format!("undo_{}", window.length / DAY)))
            .collect();
        let width = plan::COUNTS.len();
        let mut counts: Vec<Vec<i64>> = vec![Vec::new(); self.windows.len() * width];
        for row in 0..batch.num_rows() {
            let key = (!keys.is_null(row)).then(|| keys.value(row));
            if key != self.key {
                self.restart(key);
            }
            let ts = times.value(row);
            if key.is_some() {
                self.advance(ts);
            }
            if shown.value(row) == 1 {
                for (window, counts) in self.windows.iter().zip(counts.chunks_mut(width)) {
                    for (sum, counts) in window.sums.iter().zip(counts.iter_mut()) {
                        counts.push(*sum);
                    }
                    let purchases = &mut counts[2];
                    *purchases.last_mut().expect("just pushed") += window.undo;
                }
            }
            if key.is_some() {
                let counts = [shown.value(row), click.value(row), purchase.value(row)];
                self.past.push_back(Moment { ts, counts });
                for (window, change) in undo.iter().map(|column| column.value(row)).enumerate() {
                    if change != 0 {
                        self.undo.push_back((ts, window, change));
                    }
                }
            }
        }
        let placements: BooleanArray = shown.values().iter().map(|&flag| Some(flag == 1)).collect();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for name in IDS {
            columns.push(filter(column(name), &placements)?);
        }
        columns.extend(
            counts
                .into_iter()
                .map(|values| Arc::new(Int64Array::from(values)) as _),
        );
        RecordBatch::try_new(schema.clone(), columns)
    }

    fn restart(&mut self, key: Option<i64>) {
        self.key = key;
        self.past.clear();
        self.undo.clear();
        self.counted = 0;
        for window in &mut self.windows {
            *window = Window {
                length: window.length,
                left: 0,
                sums: [0; 3],
                undo: 0,
            };
        }
    }

    /// Brings the counts to what was known just before `now`.
    fn advance(&mut self, now: i64) {
        while self
            .past
            .get(self.counted)
            .is_some_and(|moment| moment.ts < now)
        {
            let moment = &self.past[self.counted];
            for window in &mut self.windows {
                for (sum, count) in window.sums.iter_mut().zip(moment.counts) {
                    *sum += count;
                }
            }
            self.counted += 1;
        }
        while let Some(&(ts, window, change)) = self.undo.front()
            && ts < now
        {
            self.windows[window].undo += change;
            self.undo.pop_front();
        }
        for window in &mut self.windows {
            while window.left < self.counted && self.past[window.left].ts < now - window.length {
                for (sum, count) in window.sums.iter_mut().zip(self.past[window.left].counts) {
                    *sum -= count;
                }
                window.left += 1;
            }
        }
        // What the longest window has left behind is forgotten.
        let gone = self
            .windows
            .iter()
            .map(|window| window.left)
            .min()
            .unwrap_or(self.counted);
        self.past.drain(..gone);
        self.counted -= gone;
        for window in &mut self.windows {
            window.left -= gone;
        }
    }
}
