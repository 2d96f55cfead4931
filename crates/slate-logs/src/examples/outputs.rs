//! What a job leaves behind: rows set aside, sequences, examples.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;

use super::{Attributed, EXAMPLES_FORMAT, Job, Placements};
use crate::beside::{Beside, Halves};
use crate::check::CheckedLog;
use crate::history::History;
use crate::layout::Layout;
use crate::order::Ordered;
use crate::rejects;
use crate::rows::Rows;
use crate::sequences::{Merger, PassWriter, Past};
use crate::stream::{LabelColumns, LabelTotals, Totals, write_behind};
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
        let total = attributed.placements.len() * u64::from(self.passes + 1) + events;
        self.progress.begin("write sequences", Some(total), "rows");
        let mut readers = Vec::new();
        for pass in 0..self.passes {
            let mut past = Past::new(sequence.length, pass, self.passes);
            self.each_event("SELECT * FROM events", &attributed.categories, |event| {
                if sequence.kinds[usize::from(event.kind)] {
                    past.add(event);
                }
            })?;
            past.sort();
            let mut writer = PassWriter::create(self.engine.work(), pass, self.passes)?;
            attributed.placements.read(|rows, _| {
                self.progress.advance(rows.len() as u64);
                writer.add(rows, &past)
            })?;
            readers.push(writer.finish()?);
        }
        let mut merger = Merger::create(out, readers)?;
        attributed.placements.read(|rows, _| {
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
        let mut writer =
            TableWriter::create(path, &schema, &format, Purpose::Keep, schema.fields().len())?;
        while let Some(batch) = batches.next()? {
            writer.write(writer.conform(batch.columns())?)?;
        }
        writer.finish()
    }

    /// The file of the examples, with columns from `late` on to come in the end.
    fn table(
        &self,
        layout: &Layout,
        as_of: i64,
        out: &Path,
        late: usize,
    ) -> Result<TableWriter, LogError> {
        let metadata = [
            ("slate.format", EXAMPLES_FORMAT.to_string()),
            ("slate.label_as_of", as_of.to_string()),
        ];
        let purpose = if self.columns.is_some() {
            Purpose::Scratch
        } else {
            Purpose::Keep
        };
        TableWriter::create(out, &layout.schema, &metadata, purpose, late)
    }

    /// Writes rows that are in order as they come, history counted on the way. Their labels come in the
    /// end. None as soon as a row is out of order; then what is in `out` and what `each` was shown is void.
    pub(super) fn write_unlabelled(
        &self,
        batches: &mut dyn Ordered,
        beside: Beside<'_>,
        (layout, history): (&Layout, &mut History),
        (as_of, out): (i64, &Path),
        mut each: impl FnMut(&Rows, u64),
    ) -> Result<Option<Unlabelled>, LogError> {
        let mut halves = Halves::new(beside, &batches.schema());
        let rest = halves.schemas()[1].fields().iter();
        let places = layout.places(&rest.map(|field| field.name().clone()).collect::<Vec<_>>());
        let table = self.table(layout, as_of, out, layout.labels_at)?;
        let totals = Totals::new(&layout.schema);
        let (mut len, mut last, mut in_order) = (0, None, true);
        let whole = |(mut columns, rows): (Vec<ArrayRef>, Rows)| {
            columns.extend(history.count(&rows)?);
            Ok(columns)
        };
        let (table, totals) = write_behind(table, totals, layout.labels_at, whole, |write| {
            while let Some(batch) = batches.next()? {
                let known = halves.narrow(&batch)?;
                let rows = Rows::of(&known);
                in_order = rows.ascend(&mut last);
                if !in_order {
                    break;
                }
                let rest = halves.rest(&batch)?;
                each(&rows, len);
                len += rows.len() as u64;
                write((places.columns(&known, &rest), rows))?;
            }
            Ok(())
        })?;
        Ok(in_order.then_some(Unlabelled { table, totals }))
    }

    pub(super) fn write_examples(
        &self,
        checked: &CheckedLog,
        as_of: i64,
        attributed: Attributed,
        layout: Layout,
        out: &Path,
    ) -> Result<ExamplesSummary, LogError> {
        let labels = LabelColumns::new(&attributed.labels, attributed.mature);
        let rows = attributed.placements.len();
        let totals = match attributed.placements {
            Placements::Written(unlabelled) => {
                let Unlabelled { table, mut totals } = *unlabelled;
                self.progress.begin("write labels", Some(rows), "rows");
                let sum = Mutex::new(LabelTotals::default());
                // Sums do not tell in which order the threads came.
                table.finish_with(|first, rows| {
                    let columns = labels.of(first, rows);
                    let part = totals.of_labels(first as usize, &columns);
                    {
                        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                        *sum = *sum + part;
                    }
                    self.progress.advance(rows as u64);
                    columns.to_vec()
                })?;
                totals.add_labels(sum.into_inner().unwrap_or_else(PoisonError::into_inner));
                totals
            }
            Placements::Kept(ref files) => {
                let mut history = self.history(files, &attributed, &layout)?;
                let table = self.table(&layout, as_of, out, layout.schema.fields().len())?;
                let totals = Totals::new(&layout.schema);
                self.progress.begin("write examples", Some(rows), "rows");
                let places = layout.places(&files.rest_columns);
                let whole = |(mut columns, rows, first): (Vec<ArrayRef>, Rows, u64)| {
                    columns.extend(history.count(&rows)?);
                    columns.extend(labels.of(first, rows.len()));
                    self.progress.advance(rows.len() as u64);
                    Ok(columns)
                };
                let at = layout.labels_at;
                let (table, totals) = write_behind(table, totals, at, whole, |write| {
                    files.read_whole(|known, rest, first| {
                        write((places.columns(known, rest), Rows::of(known), first))
                    })
                })?;
                table.finish()?;
                totals
            }
        };
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
            join: attributed.join,
            first_ts: totals.first_ts,
            last_ts: totals.last_ts,
            label_as_of: as_of,
            label_as_of_text: date::format(as_of),
            hash: totals.hash.finish(),
            cluster: attributed.cluster,
        })
    }
}

/// Examples on disk but for their labels.
pub(super) struct Unlabelled {
    table: TableWriter,
    totals: Totals,
}

impl Unlabelled {
    /// How many rows.
    pub(super) fn len(&self) -> u64 {
        self.totals.rows
    }
}
