//! Small logs written by hand or by chance, and the examples made from them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, UInt8Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use slate_logs::{
    AttributionOptions, EngineOptions, ExampleFiles, ExamplesSummary, LogError, LogSource,
};
use slate_types::{Progress, Silent};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000_000;
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) page_id: i64,
    pub(crate) ts: i64,
    pub(crate) user_id: Option<i64>,
    pub(crate) session_id: Option<i64>,
    pub(crate) seed_item_id: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) item_id: i64,
    pub(crate) seller_id: Option<i64>,
    pub(crate) category: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) impression_id: i64,
    pub(crate) page_id: i64,
    pub(crate) slot: i64,
    pub(crate) item_id: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) event_id: i64,
    pub(crate) ts: i64,
    pub(crate) event_type: &'static str,
    pub(crate) item_id: i64,
    pub(crate) ingest_ts: Option<i64>,
    pub(crate) user_id: Option<i64>,
    pub(crate) session_id: Option<i64>,
    pub(crate) impression_id: Option<i64>,
    pub(crate) order_id: Option<i64>,
}

/// A log whose pages have one list each, of the page's id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) pages: Vec<Page>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) events: Vec<Event>,
    pub(crate) items: Vec<Item>,
}

impl Log {
    /// Adds a page seen by a user, with these items in order; returns the first impression's id.
    pub(crate) fn page(&mut self, ts: i64, user_id: i64, items: &[i64]) -> i64 {
        let page_id = self.pages.len() as i64 + 1;
        self.pages.push(Page {
            page_id,
            ts,
            user_id: Some(user_id),
            session_id: None,
            seed_item_id: None,
        });
        let first = self.slots.len() as i64 + 1;
        for (slot, &item_id) in items.iter().enumerate() {
            let slot = slot as i64;
            self.slots.push(Slot {
                impression_id: first + slot,
                page_id,
                slot,
                item_id,
            });
        }
        first
    }

    /// Adds an event of a user.
    pub(crate) fn event(
        &mut self,
        event_type: &'static str,
        ts: i64,
        user_id: i64,
        item_id: i64,
    ) -> &mut Event {
        self.events.push(Event {
            event_id: self.events.len() as i64 + 1,
            ts,
            event_type,
            item_id,
            ingest_ts: None,
            user_id: Some(user_id),
            session_id: None,
            impression_id: None,
            order_id: None,
        });
        self.events.last_mut().unwrap()
    }

    pub(crate) fn page_table(&self) -> Vec<(&'static str, ArrayRef)> {
        let p = &self.pages;
        vec![
            ("page_id", ints(p.iter().map(|p| p.page_id))),
            ("ts", ints(p.iter().map(|p| p.ts))),
            ("user_id", options(p.iter().map(|p| p.user_id))),
            ("session_id", options(p.iter().map(|p| p.session_id))),
            ("seed_item_id", options(p.iter().map(|p| p.seed_item_id))),
        ]
    }

    fn item_table(&self) -> Vec<(&'static str, ArrayRef)> {
        let i = &self.items;
        let categories: Vec<_> = i.iter().map(|i| i.category.as_deref()).collect();
        vec![
            ("item_id", ints(i.iter().map(|i| i.item_id))),
            ("seller_id", options(i.iter().map(|i| i.seller_id))),
            ("category", texts(&categories)),
        ]
    }

    /// Time of the last page or event.
    pub(crate) fn last_ts(&self) -> i64 {
        let pages = self.pages.iter().map(|page| page.ts);
        let events = self.events.iter().map(|event| event.ts);
        pages.chain(events).max().unwrap()
    }

    /// What the item table says of an item.
    pub(crate) fn item(&self, item_id: i64) -> Option<&Item> {
        self.items.iter().find(|item| item.item_id == item_id)
    }

    pub(crate) fn slot_table(&self) -> Vec<(&'static str, ArrayRef)> {
        let s = &self.slots;
        vec![
            ("impression_id", ints(s.iter().map(|s| s.impression_id))),
            ("page_id", ints(s.iter().map(|s| s.page_id))),
            ("list_id", ints(s.iter().map(|s| s.page_id))),
            ("slot", ints(s.iter().map(|s| s.slot))),
            ("item_id", ints(s.iter().map(|s| s.item_id))),
        ]
    }

    pub(crate) fn event_table(&self) -> Vec<(&'static str, ArrayRef)> {
        let e = &self.events;
        let types: StringArray = e.iter().map(|e| Some(e.event_type)).collect();
        vec![
            ("event_id", ints(e.iter().map(|e| e.event_id))),
            ("ts", ints(e.iter().map(|e| e.ts))),
            ("type", Arc::new(types)),
            ("item_id", ints(e.iter().map(|e| e.item_id))),
            ("ingest_ts", options(e.iter().map(|e| e.ingest_ts))),
            ("user_id", options(e.iter().map(|e| e.user_id))),
            ("session_id", options(e.iter().map(|e| e.session_id))),
            ("impression_id", options(e.iter().map(|e| e.impression_id))),
            ("order_id", options(e.iter().map(|e| e.order_id))),
        ]
    }

    pub(crate) fn write(&self, dir: &Path) {
        write(&dir.join("page_impression.parquet"), self.page_table());
        write(&dir.join("slot_impression.parquet"), self.slot_table());
        if !self.events.is_empty() {
            write(&dir.join("event.parquet"), self.event_table());
        }
        if !self.items.is_empty() {
            write(&dir.join("item.parquet"), self.item_table());
        }
    }
}

pub(crate) fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn options(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn floats(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Float64Array>())
}

pub(crate) fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringArray>())
}

/// Writes one Parquet file.
pub(crate) fn write(path: &Path, columns: Vec<(&'static str, ArrayRef)>) {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Reads a Parquet file as one batch.
pub(crate) fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Result<Vec<_>, _> = builder.with_batch_size(1 << 20).build().unwrap().collect();
    arrow::compute::concat_batches(&schema, &batches.unwrap()).unwrap()
}

/// The part of an example row that attribution and history decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) impression_id: i64,
    pub(crate) history: Vec<i64>,
    pub(crate) grade: u8,
    pub(crate) click: u8,
    pub(crate) purchase: u8,
    pub(crate) matured: bool,
    pub(crate) attribution: Option<String>,
    pub(crate) click_lag: Option<i64>,
    pub(crate) purchase_lag: Option<i64>,
}

/// Makes examples from the log in `dir`.
pub(crate) fn run(dir: &Path, options: &AttributionOptions) -> Result<ExamplesSummary, LogError> {
    let engine = EngineOptions {
        threads: 2,
        ..EngineOptions::default()
    };
    run_with(dir, options, &engine)
}

/// The same with a given engine.
pub(crate) fn run_with(
    dir: &Path,
    options: &AttributionOptions,
    engine: &EngineOptions,
) -> Result<ExamplesSummary, LogError> {
    run_telling(dir, options, engine, &Silent)
}

/// The same, telling how far it is.
pub(crate) fn run_telling(
    dir: &Path,
    options: &AttributionOptions,
    engine: &EngineOptions,
    progress: &dyn Progress,
) -> Result<ExamplesSummary, LogError> {
    let source = LogSource::open(dir)?;
    let files = ["examples.parquet", "rejects.parquet", "sequences.parquet"];
    let [examples, rejects, sequences] = files.map(|file| dir.join(file));
    let files = ExampleFiles {
        examples: &examples,
        rejects: &rejects,
        sequences: &sequences,
    };
    let all = &slate_logs::ExampleColumns::All;
    slate_logs::examples(&source, &options.check()?, engine, all, files, progress)
}

/// For each list its id, and items, types and times of what its user did last.
pub(crate) type Sequences = Vec<(i64, Vec<(i64, u8, i64)>)>;

/// The same with a given engine, and the sequences where there are some.
pub(crate) fn examples_with(
    log: &Log,
    options: &AttributionOptions,
    engine: &EngineOptions,
) -> (ExamplesSummary, Vec<Row>, Sequences) {
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let summary = run_with(dir.path(), options, engine).unwrap();
    let rows = rows(&read(&dir.path().join("examples.parquet")), options);
    let file = dir.path().join("sequences.parquet");
    let sequences = if file.exists() {
        sequences(&read(&file))
    } else {
        Vec::new()
    };
    (summary, rows, sequences)
}

fn sequences(batch: &RecordBatch) -> Sequences {
    let lists = batch.column(0).as_primitive::<Int64Type>();
    let of = |column: usize, row: usize| batch.column(column).as_list::<i32>().value(row);
    (0..batch.num_rows())
        .map(|row| {
            let (items, kinds, times) = (of(1, row), of(2, row), of(3, row));
            let items = items.as_primitive::<Int64Type>().values().to_vec();
            let kinds = kinds.as_primitive::<UInt8Type>().values().to_vec();
            let times = times.as_primitive::<Int64Type>().values().to_vec();
            let steps = items.into_iter().zip(kinds).zip(times);
            let steps = steps.map(|((item, kind), ts)| (item, kind, ts)).collect();
            (lists.value(row), steps)
        })
        .collect()
}

/// Makes examples from a log and reads them back.
pub(crate) fn examples(log: &Log, options: &AttributionOptions) -> (ExamplesSummary, Vec<Row>) {
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let summary = run(dir.path(), options).unwrap();
    (
        summary,
        rows(&read(&dir.path().join("examples.parquet")), options),
    )
}

pub(crate) fn rows(batch: &RecordBatch, options: &AttributionOptions) -> Vec<Row> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let long = |name: &str, row: usize| {
        let values = column(name).as_primitive::<Int64Type>();
        (!values.is_null(row)).then(|| values.value(row))
    };
    let byte = |name: &str, row: usize| column(name).as_primitive::<UInt8Type>().value(row);
    let names = options.check().unwrap().history_columns();
    let count = |name: &str, row: usize| {
        let values = column(name).as_primitive::<Int32Type>();
        i64::from(values.value(row))
    };
    (0..batch.num_rows())
        .map(|row| Row {
            impression_id: long("impression_id", row).unwrap(),
            history: names.iter().map(|name| count(name, row)).collect(),
            grade: byte("grade", row),
            click: byte("click", row),
            purchase: byte("purchase", row),
            matured: column("matured").as_boolean().value(row),
            attribution: {
                let values = column("attribution").as_string::<i32>();
                (!values.is_null(row)).then(|| values.value(row).to_owned())
            },
            click_lag: long("click_lag", row),
            purchase_lag: long("purchase_lag", row),
        })
        .collect()
}
