//! From a log to examples: one row for each usable placement, with what was known when it was shown
//! and what became of it.
//!
//! The rows leave the engine in one total order, `(page ts, page_id, list_id, slot,
//! impression_id)`, as streams that are laid side by side: what was shown, the history of items, that
//! of users, and labels. So no wide table is ever the hashed side of a join.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use serde::Serialize;
use slate_types::Progress;
use slate_types::log::EVENT_TYPES;

use crate::check::{self, CheckedLog, RejectCount};
use crate::engine::Engine;
use crate::layout::Layout;
use crate::source::LogSource;
use crate::stream::{SideBySide, Totals};
use crate::tables::Extra;
use crate::writer::TableWriter;
use crate::{Attribution, EngineOptions, JoinLine, JoinReport, LogError, date, history, plan};

/// Version of the layout of `examples.parquet`, in its footer as `slate.format`.
pub const EXAMPLES_FORMAT: u32 = 1;

/// What [`examples`] read, wrote and left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExamplesSummary {
    /// Rows written, one for each placement.
    pub rows: u64,
    /// Lists they form.
    pub lists: u64,
    /// Rows whose longest label window had closed by `label_as_of`.
    pub matured_rows: u64,
    /// Rows with a click.
    pub clicks: u64,
    /// Rows with a purchase that was not cancelled.
    pub purchases: u64,
    /// Placements shown after `label_as_of`, left out.
    pub after_label_as_of: u64,
    /// Rows of the log set aside as unusable, by table and reason.
    pub rejects: Vec<RejectCount>,
    /// Columns that are not passed on, as `table.column`, because they are neither numbers nor text
    /// or because a column of that name is written anyway.
    pub ignored_columns: Vec<String>,
    /// Where the events went.
    pub join: JoinReport,
    /// Earliest page, UTC microseconds.
    pub first_ts: i64,
    /// Latest page, UTC microseconds.
    pub last_ts: i64,
    /// The date of the labels, UTC microseconds: the one asked for, or the last page or event.
    pub label_as_of: i64,
    /// The same as RFC 3339.
    pub label_as_of_text: String,
    /// Hash of the rows that depends on neither order, partitioning nor engine.
    pub hash: String,
}

/// Checks a log, credits its events to placements, counts the past of items and users, and writes
/// `out` (a new file). Unusable rows go to `rejects`, which is written only if there are some.
/// A work folder lies beside `out` meanwhile. The output is the same bytes at any thread count.
///
/// Blocks, and starts threads of its own: not to be called from asynchronous code.
///
/// # Errors
/// [`LogError`]: a wrong unit of time, too many unusable rows, no usable row, lists that span pages,
/// damaged files, and failures of the engine or the disk.
pub fn examples(
    source: &LogSource,
    attribution: &Attribution,
    engine: &EngineOptions,
    out: &Path,
    rejects: &Path,
    progress: &dyn Progress,
) -> Result<ExamplesSummary, LogError> {
    let mut work = out.as_os_str().to_owned();
    work.push(".work");
    let engine = Engine::start(engine, work.into())?;
    let job = Job {
        engine: &engine,
        source,
        attribution,
        progress,
    };
    job.run(out, rejects).map_err(|error| match error {
        // The engine does not say which file it could not decode.
        LogError::Engine { .. } => source.damaged_file().unwrap_or(error),
        other => other,
    })
}

struct Job<'a> {
    engine: &'a Engine,
    source: &'a LogSource,
    attribution: &'a Attribution,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self, out: &Path, rejects: &Path) -> Result<ExamplesSummary, LogError> {
        let checked = self.stage("check the log", || {
            check::check_log(self.engine, self.source, self.attribution)
        })?;
        let as_of = self.attribution.label_as_of.unwrap_or(checked.last_ts);
        let join = self.stage("attribute events", || self.attribute(&checked, as_of))?;
        self.stage("count history", || self.count_history())?;
        if !checked.reject_queries.is_empty() {
            self.write_rejects(&checked, rejects)?;
        }
        let layout = Layout::new(&checked, self.attribution);
        let metadata = [
            ("slate.format", EXAMPLES_FORMAT.to_string()),
            ("slate.label_as_of", as_of.to_string()),
        ];
        let writer = TableWriter::create(out, layout.schema.clone(), &metadata)?;
        let summary = self.write_examples(&checked, as_of, join, layout, writer);
        if summary.is_err() {
            // Nothing half-written stays behind; the first error is the one to tell.
            let _ = fs::remove_file(out);
            if !checked.reject_queries.is_empty() {
                let _ = fs::remove_file(rejects);
            }
        }
        summary
    }

    fn stage<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.progress.begin(name, None, "rows");
        let result = work();
        self.progress.end();
        result
    }

    /// Makes `placements`, `cancels` and `labels` known and reports where the events went.
    fn attribute(&self, checked: &CheckedLog, as_of: i64) -> Result<JoinReport, LogError> {
        const STAGE: &str = "attribute events to placements";
        let (engine, attribution) = (self.engine, self.attribution);
        let placements = engine.materialise(STAGE, "placements", &plan::placements(as_of))?;
        if placements == 0 {
            return Err(LogError::NothingLeft {
                dir: self.source.dir.clone(),
                reason: format!("every page is after {}", date::format(as_of)),
            });
        }
        if let Some(batch) = engine.collect(STAGE, plan::scattered_list())?.first()
            && batch.num_rows() > 0
        {
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
            return Err(LogError::ListOnManyPages {
                list_id: number(0),
                first: number(1),
                second: number(2),
            });
        }
        engine.materialise(STAGE, "events", &plan::events(attribution))?;
        engine.materialise(STAGE, "pairs", &plan::pairs())?;
        engine.materialise(STAGE, "credits", &plan::credits(attribution))?;
        engine.materialise(STAGE, "cancels", &plan::cancels())?;
        engine.materialise(STAGE, "labels", &plan::labels(attribution))?;
        let report = read_report(&engine.collect(STAGE, &plan::report())?);
        report.check(checked.events)?;
        Ok(report)
    }

    /// Makes `item_history` and `user_history` known.
    fn count_history(&self) -> Result<(), LogError> {
        let days = self.attribution.history_days();
        let columns = plan::history_columns(self.attribution);
        let (item, user) = columns.split_at(columns.len() / 2);
        if columns.is_empty() {
            return Ok(());
        }
        self.engine
            .materialise("count history", "marks", &plan::marks(self.attribution))?;
        for (key, table, columns) in [
            ("item_id", "item_history", item),
            ("user_id", "user_history", user),
        ] {
            let past = plan::past(self.attribution, key);
            history::count(self.engine, &past, table, days, columns)?;
        }
        Ok(())
    }

    fn write_rejects(&self, checked: &CheckedLog, path: &Path) -> Result<(), LogError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("table", DataType::Utf8, false),
            Field::new("key", DataType::Int64, true),
            Field::new("column", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
            Field::new("reason", DataType::Utf8, false),
        ]));
        let sql = format!(
            "{} ORDER BY \"table\", key, \"column\", reason, value",
            checked.reject_queries.join(" UNION ALL ")
        );
        let mut batches = self.engine.stream("set unusable rows aside", &sql)?;
        let format = [("slate.format", "1".to_owned())];
        let mut writer = TableWriter::create(path, schema, &format)?;
        while let Some(batch) = batches.next()? {
            writer.write(batch.columns())?;
        }
        writer.finish()
    }

    fn write_examples(
        &self,
        checked: &CheckedLog,
        as_of: i64,
        join: JoinReport,
        layout: Layout,
        mut writer: TableWriter,
    ) -> Result<ExamplesSummary, LogError> {
        let slot_extras: Vec<&Extra> = layout.slot_extras.iter().collect();
        let item_extras: Vec<&Extra> = layout.item_extras.iter().collect();
        let rows = plan::rows(as_of, &slot_extras, &item_extras);
        let labels = plan::labelled(self.attribution, as_of);
        let history = plan::history_columns(self.attribution);

        let usable: u64 = self.source.slot.rows
            - checked
                .rejects
                .iter()
                .filter(|reject| reject.table == self.source.slot.table.name)
                .map(|reject| reject.rows)
                .sum::<u64>();
        self.progress.begin("write examples", Some(usable), "rows");
        let mut totals = Totals::new(&layout.schema);
        let mut others = Vec::new();
        if !history.is_empty() {
            let (item, user) = history.split_at(history.len() / 2);
            for (table, columns) in [("item_history", item), ("user_history", user)] {
                others.push(
                    self.engine
                        .stream("read history", &plan::history(table, columns))?,
                );
            }
        }
        others.push(self.engine.stream("read labels", &labels)?);
        let shown = self.engine.stream("read what was shown", &rows)?;
        let mut streams = SideBySide::new(shown, others);
        while let Some(columns) = streams.next()? {
            let rows = writer.write(&columns)?;
            totals.add(rows.columns(), layout.labels_at);
            self.progress.advance(rows.num_rows() as u64);
        }
        writer.finish()?;
        self.progress.end();
        Ok(ExamplesSummary {
            rows: totals.rows,
            lists: totals.lists,
            matured_rows: totals.matured,
            clicks: totals.clicks,
            purchases: totals.purchases,
            after_label_as_of: usable.saturating_sub(totals.rows),
            rejects: checked.rejects.clone(),
            ignored_columns: layout.ignored,
            join,
            first_ts: totals.first_ts,
            last_ts: totals.last_ts,
            label_as_of: as_of,
            label_as_of_text: date::format(as_of),
            hash: totals.hash.finish(),
        })
    }
}

fn read_report(batches: &[RecordBatch]) -> JoinReport {
    let mut lines = Vec::new();
    for batch in batches {
        let types = batch.column(0).as_string::<i32>();
        let number = |column: usize, row: usize| {
            batch.column(column).as_primitive::<Int64Type>().value(row) as u64
        };
        for row in 0..batch.num_rows() {
            lines.push(JoinLine {
                event_type: types.value(row).to_owned(),
                input: number(1, row),
                attributed: number(2, row),
                late: number(3, row),
                orphan: number(4, row),
                duplicate: number(5, row),
                reversed: number(6, row),
            });
        }
    }
    lines.sort_by_key(|line| EVENT_TYPES.iter().position(|name| *name == line.event_type));
    JoinReport { lines }
}
