//! What a job leaves behind: rows set aside, sequences, examples.

use std::path::Path;
use std::sync::Arc;

use super::{Attributed, EXAMPLES_FORMAT, Job};
use crate::check::CheckedLog;
use crate::history::History;
use crate::layout::Layout;
use crate::rejects;
use crate::rows::Rows;
use crate::sequences::{Merger, PassWriter, Past};
use crate::stream::{LabelColumns, Totals, write_behind};
use crate::writer::{Purpose, TableWriter};
use crate::{ExamplesSummary, LogError, date};

impl Job<'_> {
    /// Writes what the people of the pages did last, where the config asks for it.
    pub(super) fn write_sequences(
        &self,
        attributed: &Attributed,
        out: &Path,
    ) -> Result<(), LogError> {
        let Some(sequence) = &self.attribution.sequence else {
            return Ok(());
        };
        let events = attributed.join.total().input * u64::from(self.passes);
        let total = attributed.files.len * u64::from(self.passes + 1) + events;
        self.progress.begin("write sequences", Some(total), "rows");
        let mut readers = Vec::new();
        for pass in 0..self.passes {
            let mut past = Past::new(sequence.length, pass, self.passes);
            self.each_event("SELECT * FROM events", attributed, |event| {
                if sequence.kinds[usize::from(event.kind)] {
                    past.add(event);
                }
            })?;
            past.sort();
            let mut writer = PassWriter::create(self.engine.work(), pass, self.passes)?;
            attributed.files.read(|rows, _| {
                self.progress.advance(rows.len() as u64);
                writer.add(rows, &past)
            })?;
            readers.push(writer.finish()?);
        }
        let mut merger = Merger::create(out, readers)?;
        attributed.files.read(|rows, _| {
            self.progress.advance(rows.len() as u64);
            merger.add(rows)
        })?;
        self.progress.end();
        merger.finish()
    }

    pub(super) fn write_rejects(&self, checked: &CheckedLog, path: &Path) -> Result<(), LogError> {
        let schema = Arc::new(rejects::schema());
        let sql = format!(
            "{} ORDER BY \"table\", key, \"column\", reason, value",
            checked.reject_queries().join(" UNION ALL ")
        );
        let mut batches = self.engine.stream("set unusable rows aside", &sql)?;
        let format = [("slate.format", "1".to_owned())];
        let mut writer = TableWriter::create(path, schema, &format, Purpose::Keep)?;
        while let Some(batch) = batches.next()? {
            writer.write(batch.columns())?;
        }
        writer.finish()
    }

    pub(super) fn write_examples(
        &self,
        checked: &CheckedLog,
        as_of: i64,
        attributed: &mut Attributed,
        history: &mut History,
        layout: Layout,
        out: &Path,
    ) -> Result<ExamplesSummary, LogError> {
        let metadata = [
            ("slate.format", EXAMPLES_FORMAT.to_string()),
            ("slate.label_as_of", as_of.to_string()),
        ];
        let purpose = if self.columns.is_some() {
            Purpose::Scratch
        } else {
            Purpose::Keep
        };
        let table = TableWriter::create(out, layout.schema.clone(), &metadata, purpose)?;
        let totals = Totals::new(&layout.schema);
        let files = &attributed.files;
        self.progress
            .begin("write examples", Some(files.len), "rows");
        let mut labels = LabelColumns::new(
            &attributed.labels,
            as_of.saturating_sub(self.attribution.longest_window()),
        );
        let places = layout.places(&files.rest_columns);
        let totals = write_behind(table, totals, layout.labels_at, |write| {
            files.read_whole(|known, rest, first| {
                let rows = Rows::of(known);
                let mut columns = places.columns(known, rest);
                columns.extend(history.count(&rows)?);
                columns.extend(labels.next(&rows, first));
                self.progress.advance(rows.len() as u64);
                write(columns)
            })
        })?;
        self.progress.end();
        let usable = self.usable(checked);
        Ok(ExamplesSummary {
            rows: totals.rows,
            lists: totals.lists,
            matured_rows: totals.matured,
            clicks: totals.clicks,
            purchases: totals.purchases,
            after_label_as_of: usable.saturating_sub(totals.rows),
            rejects: checked.rejects(),
            ignored_columns: layout.ignored,
            join: std::mem::take(&mut attributed.join),
            first_ts: totals.first_ts,
            last_ts: totals.last_ts,
            label_as_of: as_of,
            label_as_of_text: date::format(as_of),
            hash: totals.hash.finish(),
            cluster: attributed.cluster.take(),
        })
    }
}
