//! One page through the job: what was read, which events looked at it and where they went, and what
//! became of each placement.
//!
//! [`trace`] runs the job itself, with an eye on one page. Ends of events are those the job decided, and
//! labels are read back from the file it wrote, so that a trace cannot disagree with a dataset. What
//! is added here is the reason in words.

mod outcome;
mod raw;
mod reason;
mod watch;
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt8Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use slate_types::Progress;

pub use raw::{RawRow, RawValue};
pub(crate) use watch::Watch;
pub use words::span;

use crate::{Attribution, EngineOptions, ExampleFiles, ExamplesSummary, LogError, LogSource};

/// What [`trace`] finds out about a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PageTrace {
    /// The page.
    pub page_id: i64,
    /// Its row in `page_impression`.
    pub page: RawRow,
    /// Its rows in `slot_impression`, in the order of the examples.
    pub slots: Vec<RawRow>,
    /// The items of its placements, as in `item`; none where the log has no such row.
    pub items: Vec<RawRow>,
    /// Rows of the page, and events of its person and items, that were set aside as unusable.
    pub rejects: Vec<RejectedRow>,
    /// The date of the labels, UTC microseconds.
    pub label_as_of: i64,
    /// One entry for each row of `slots`.
    pub placements: Vec<PlacementTrace>,
    /// Every event that could concern the page, by time.
    pub events: Vec<EventTrace>,
    /// How many of them came to each end.
    pub ends: BTreeMap<&'static str, u64>,
    /// Events of the page's person with other items, by type.
    pub other_events: BTreeMap<String, u64>,
    /// Place of the page's first row in the examples, from 0.
    pub first_row: u64,
}

/// A row that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRow {
    /// The table.
    pub table: String,
    /// Its key in that table.
    pub key: Option<i64>,
    /// The column the reason is about.
    pub column: String,
    /// Completes "`column` …".
    pub reason: String,
}

/// A placement and its labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacementTrace {
    /// The placement.
    pub impression_id: i64,
    /// The list it is ranked in.
    pub list_id: i64,
    /// Its slot, from 0.
    pub slot: i64,
    /// The item shown.
    pub item_id: i64,
    /// Relevance, as in the examples.
    pub grade: u8,
    /// Whether a click is credited to it.
    pub click: bool,
    /// Whether a purchase that was not cancelled is credited to it.
    pub purchase: bool,
    /// Whether every label window had closed by the date of the labels.
    pub matured: bool,
    /// When the longest label window closes, UTC microseconds.
    pub matures_at: i64,
    /// How the best event came to it.
    pub attribution: Option<String>,
    /// Microseconds to the first click.
    pub click_lag: Option<i64>,
    /// Microseconds to the first purchase.
    pub purchase_lag: Option<i64>,
    /// Why the labels are what they are.
    pub why: String,
}

/// An event that could concern the page, and where it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventTrace {
    /// The event.
    pub event_id: i64,
    /// When it happened, UTC microseconds.
    pub ts: i64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// To which item.
    pub item_id: i64,
    /// Who did it.
    pub user_id: Option<i64>,
    /// In which session.
    pub session_id: Option<i64>,
    /// The placement it names.
    pub impression_id: Option<i64>,
    /// The order of a purchase or cancel.
    pub order_id: Option<i64>,
    /// `attributed`, `late`, `orphan` or `duplicate`, as in the join report.
    pub end: &'static str,
    /// How it was matched, or why not, as one word that does not change between versions.
    pub code: &'static str,
    /// The same as a sentence.
    pub reason: String,
    /// The placement of this page the reason is about.
    pub concerns: Option<i64>,
    /// Whether it counts for that placement.
    pub counts_here: bool,
    /// Microseconds it is outside the window of its type, where that is the reason.
    pub outside_by: Option<i64>,
    /// The placement it goes to, or would go to if it were within the window.
    pub credit: Option<CreditTrace>,
}

/// The placement an event goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditTrace {
    /// The placement.
    pub impression_id: i64,
    /// Its page.
    pub page_id: Option<i64>,
    /// Its slot.
    pub slot: Option<i64>,
    /// When it was shown, UTC microseconds.
    pub shown: i64,
    /// Microseconds from then to the event; negative where the event came first.
    pub lag: i64,
    /// `named`, `joined` or `halo`.
    pub route: &'static str,
    /// Whether it is within the window of the event's type.
    pub in_window: bool,
}

/// Runs a job as [`crate::examples`] does (as [`crate::labels`] where not `whole`), and tells what it
/// did with one page.
///
/// # Errors
/// As [`crate::examples`]; [`LogError::UnknownPage`] for a page that the log does not have, and
/// [`LogError::UnusedPage`] for one of which no row is used.
pub fn trace(
    source: &LogSource,
    attribution: &Attribution,
    engine: &EngineOptions,
    page: i64,
    out: ExampleFiles,
    whole: bool,
    progress: &dyn Progress,
) -> Result<(PageTrace, ExamplesSummary), LogError> {
    let watch = Watch::new(page);
    let summary = crate::examples::watched(
        source,
        attribution,
        engine,
        out,
        whole.then_some(&crate::ExampleColumns::All),
        Some(&watch),
        progress,
    )?;
    let mut trace = watch.into_trace();
    let labels = written(out.examples, trace.first_row, trace.placements.len())?;
    outcome::label(&mut trace, &labels);
    Ok((trace, summary))
}

/// The labels of a placement as written.
struct Written {
    grade: u8,
    click: bool,
    purchase: bool,
    matured: bool,
    attribution: Option<String>,
    click_lag: Option<i64>,
    purchase_lag: Option<i64>,
}

/// Reads labels back: those of `rows` rows from row `first` on.
fn written(path: &Path, first: u64, rows: usize) -> Result<Vec<Written>, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    let damaged = |source| LogError::Damaged {
        file: path.to_owned(),
        source,
    };
    let batches = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(damaged)?
        .with_offset(usize::try_from(first).unwrap_or(usize::MAX))
        .with_limit(rows)
        .build()
        .map_err(damaged)?;
    let mut labels = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|error| damaged(error.into()))?;
        labels.extend((0..batch.num_rows()).map(|at| of_row(&batch, at)));
    }
    Ok(labels)
}

fn of_row(batch: &RecordBatch, at: usize) -> Written {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .expect("the job writes the labels")
    };
    let byte = |name: &str| column(name).as_primitive::<UInt8Type>().value(at);
    let lag = |name: &str| {
        let lags = column(name).as_primitive::<Int64Type>();
        lags.is_valid(at).then(|| lags.value(at))
    };
    let kinds = column("attribution").as_string::<i32>();
    Written {
        grade: byte("grade"),
        click: byte("click") == 1,
        purchase: byte("purchase") == 1,
        matured: column("matured").as_boolean().value(at),
        attribution: kinds.is_valid(at).then(|| kinds.value(at).to_owned()),
        click_lag: lag("click_lag"),
        purchase_lag: lag("purchase_lag"),
    }
}
