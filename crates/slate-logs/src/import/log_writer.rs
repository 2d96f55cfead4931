//! The files of one imported log, written side by side.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Field};
use serde::Serialize;
use slate_types::FormatVersion;
use slate_types::log::{EVENT, ITEM, LOG_FORMAT, PAGE_IMPRESSION, SLOT_IMPRESSION};

use super::canonical::{EventRow, Feature, ItemRow, PageRow, SlotRow, fields};
use super::csv_file::SourceFile;
use super::ids::Ids;
use super::record::PlacedReject;
use super::table_writer::{Cell, TableWriter};
use super::{Format, ImportError, ImportSummary};

/// `manifest.json`, as written.
#[derive(Serialize)]
struct Manifest<'a> {
    format: FormatVersion,
    kind: &'static str,
    source: &'static str,
    files: Vec<ManifestFile>,
    tables: BTreeMap<&'a str, u64>,
    rejects: u64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ManifestFile {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Writes the tables of a log, its ids, rejects and manifest.
pub(crate) struct LogWriter {
    /// Numbers for text ids.
    pub(crate) ids: Ids,
    format: Format,
    root: PathBuf,
    out: PathBuf,
    pages: TableWriter,
    slots: TableWriter,
    events: TableWriter,
    items: TableWriter,
    rejects: TableWriter,
    last_event: i64,
    files: Vec<SourceFile>,
    notes: Vec<String>,
}

impl LogWriter {
    /// A log in the empty folder `out`, made from `src`, with these named feature columns.
    pub(crate) fn new(
        format: Format,
        src: &Path,
        out: &Path,
        slot_features: &[Feature],
        item_features: &[Feature],
    ) -> Self {
        let table = |table: &slate_types::log::Table, features: &[Feature]| {
            let path = out.join(format!("{}.parquet", table.name));
            TableWriter::new(&path, fields(table, features))
        };
        let rejects = vec![
            Field::new("file", DataType::Utf8, false),
            Field::new("line", DataType::Int64, false),
            Field::new("column", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, false),
            Field::new("reason", DataType::Utf8, false),
        ];
        Self {
            ids: Ids::new(out),
            format,
            root: if src.is_dir() {
                src
            } else {
                src.parent().unwrap_or(src)
            }
            .to_owned(),
            out: out.to_owned(),
            pages: table(&PAGE_IMPRESSION, &[]),
            slots: table(&SLOT_IMPRESSION, slot_features),
            events: table(&EVENT, &[]),
            items: table(&ITEM, item_features),
            rejects: TableWriter::new(&out.join("rejects.parquet"), rejects),
            last_event: 0,
            files: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a page.
    pub(crate) fn page(&mut self, page: &PageRow<'_>) -> Result<(), ImportError> {
        self.pages.append(page.cells())
    }

    /// Adds a placement and its features, in the order the log was made with.
    pub(crate) fn slot(
        &mut self,
        slot: &SlotRow<'_>,
        features: &[Cell<'_>],
    ) -> Result<(), ImportError> {
        self.slots
            .append(slot.cells().into_iter().chain(features.iter().copied()))
    }

    /// Adds an event under the next event id, from 1.
    pub(crate) fn event(&mut self, event: &EventRow<'_>) -> Result<(), ImportError> {
        self.last_event += 1;
        self.events.append(event.cells(self.last_event))
    }

    /// Adds an item and its features, in the order the log was made with.
    pub(crate) fn item(
        &mut self,
        item: &ItemRow<'_>,
        features: &[Cell<'_>],
    ) -> Result<(), ImportError> {
        self.items
            .append(item.cells().into_iter().chain(features.iter().copied()))
    }

    /// Sets a row aside.
    pub(crate) fn reject(&mut self, placed: &PlacedReject) -> Result<(), ImportError> {
        let PlacedReject { path, line, reject } = placed;
        let file = self.name(path);
        self.rejects.append([
            Cell::Text(&file),
            Cell::Int(*line as i64),
            Cell::Text(&reject.column),
            Cell::Text(&reject.value),
            Cell::Text(&reject.reason),
        ])
    }

    /// Remembers a source file that was read.
    pub(crate) fn source(&mut self, file: SourceFile) {
        self.files.push(file);
    }

    /// Adds a fact that a user of the log must know.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Completes and syncs every file and writes the manifest.
    pub(crate) fn finish(self) -> Result<ImportSummary, ImportError> {
        let files = self
            .files
            .iter()
            .map(|file| ManifestFile {
                name: self.name(&file.path),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            })
            .collect();
        let mut tables = Vec::new();
        for (table, writer) in [
            (PAGE_IMPRESSION, self.pages),
            (SLOT_IMPRESSION, self.slots),
            (EVENT, self.events),
            (ITEM, self.items),
        ] {
            let rows = writer.finish()?;
            if rows > 0 {
                tables.push((table.name.to_owned(), rows));
            }
        }
        self.ids.finish()?;
        let rejects = self.rejects.finish()?;
        let manifest = Manifest {
            format: LOG_FORMAT,
            kind: "log",
            source: self.format.name(),
            files,
            tables: tables
                .iter()
                .map(|(name, rows)| (name.as_str(), *rows))
                .collect(),
            rejects,
            notes: &self.notes,
        };
        let path = self.out.join("manifest.json");
        write_json(&path, &manifest).map_err(|source| ImportError::Write { path, source })?;
        Ok(ImportSummary {
            tables,
            notes: self.notes,
            rejects,
        })
    }

    /// The path of a source file below the source folder, the same on every machine.
    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

fn write_json(path: &Path, manifest: &Manifest<'_>) -> std::io::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    let mut file = File::create_new(path)?;
    file.write_all(&text)?;
    file.sync_all()
}
