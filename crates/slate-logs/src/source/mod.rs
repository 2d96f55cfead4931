//! A log on disk: which tables it has, in which files, with which columns.
//!
//! Goes in: a folder, patterns or URLs. Comes out: the tables of [`slate_types::log`] with their files, row counts
//! and extra columns, read from the Parquet footers alone. Refused: a missing table or required
//! column, a column of the wrong type, a file that is no whole Parquet, parts of one table that
//! differ, a table without pages or placements, a manifest of something else. Values are looked at
//! later, by the checks of [`crate::examples`].

mod gather;
mod location;
mod remote;
mod remote_log;
mod text;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use slate_types::FormatVersion;
use slate_types::log::{
    Column, ColumnKind, EVENT, ITEM, LOG_FORMAT, PAGE_IMPRESSION, SLOT_IMPRESSION, TABLES, Table,
};

use crate::LogError;
use crate::rejects::RejectCount;

pub use location::LogTables;
pub use remote_log::RemoteLog;

/// A log whose schema is right.
#[derive(Debug, Clone)]
pub struct LogSource {
    pub(crate) dir: PathBuf,
    pub(crate) page: TableSource,
    pub(crate) slot: TableSource,
    pub(crate) event: Option<TableSource>,
    pub(crate) item: Option<TableSource>,
}

/// One table of a log.
#[derive(Debug, Clone)]
pub(crate) struct TableSource {
    pub(crate) table: &'static Table,
    /// The file or the folder of parts.
    pub(crate) path: PathBuf,
    /// The parts, sorted by name.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) schema: SchemaRef,
    /// Rows, those that could not be read included.
    pub(crate) rows: u64,
    /// Rows of text that could not be read.
    pub(crate) unread: Option<Unread>,
    /// What each file was when it was first seen.
    stamps: Vec<Stamp>,
}

/// Rows set aside before the job.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    /// They, as rows of `rejects.parquet`.
    pub(crate) file: PathBuf,
    /// How many for each reason.
    pub(crate) counts: Vec<RejectCount>,
}

/// Size and time of a file.
type Stamp = (u64, Option<SystemTime>);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

impl LogSource {
    /// Finds the tables of a log and checks their columns.
    ///
    /// # Errors
    /// The first thing wrong with the log; [`crate::validate`] lists all of them.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let (source, errors) = inspect(dir);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(source.expect("a log without errors has its two required tables")),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Rows of each table that is there, by name, in the order of the schema; bad rows and
    /// duplicates included.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        self.tables()
            .map(|source| (source.table.name, source.rows))
            .collect()
    }

    /// Reads every file to its end and returns the first that cannot be decoded, as an error.
    pub(crate) fn damaged_file(&self) -> Option<LogError> {
        self.tables()
            .flat_map(|table| &table.files)
            .find_map(|file| {
                let damaged = |source| damaged(file, source);
                let reader = open_file(file).and_then(|file| {
                    ParquetRecordBatchReaderBuilder::try_new(file)
                        .and_then(ParquetRecordBatchReaderBuilder::build)
                        .map_err(damaged)
                });
                match reader {
                    Err(error) => Some(error),
                    Ok(mut batches) => batches
                        .find_map(Result::err)
                        .map(|error| damaged(ParquetError::from(error))),
                }
            })
    }

    /// The first file that is no longer what it was, as an error.
    pub(crate) fn changed_file(&self) -> Option<LogError> {
        self.tables()
            .flat_map(|table| table.files.iter().zip(&table.stamps))
            .find(|(file, was)| stamp(file).as_ref() != Some(*was))
            .map(|(file, _)| LogError::Changed { file: file.clone() })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableSource> {
        [
            Some(&self.page),
            Some(&self.slot),
            self.event.as_ref(),
            self.item.as_ref(),
        ]
        .into_iter()
        .flatten()
    }
}

impl TableSource {
    /// Columns beyond the schema, by name: their order in a file means nothing.
    pub(crate) fn extras(&self) -> impl Iterator<Item = (&str, &DataType)> {
        let fields = self.schema.fields().iter();
        let mut extras: Vec<(&str, &DataType)> = fields
            .filter(|field| self.table.column(field.name()).is_none())
            .map(|field| (field.name().as_str(), field.data_type()))
            .collect();
        extras.sort_unstable_by_key(|(name, _)| *name);
        extras.into_iter()
    }
}

/// Everything found in the folder and everything wrong with it. The source is there when both
/// required tables could be read, even if something else is wrong.
pub(crate) fn inspect(dir: &Path) -> (Option<LogSource>, Vec<LogError>) {
    let mut errors = Vec::new();
    if let Err(source) = fs::read_dir(dir) {
        errors.push(LogError::Io {
            action: "open",
            path: dir.to_owned(),
            source,
        });
        return (None, errors);
    }
    if let Err(error) = check_manifest(dir) {
        errors.push(error);
    }
    let source = assemble(dir, &mut errors, |table| open_table(dir, table));
    (source, errors)
}

/// A log of the tables that `open` gives.
fn assemble(
    dir: &Path,
    errors: &mut Vec<LogError>,
    mut open: impl FnMut(&'static Table) -> Result<Option<(TableSource, Vec<LogError>)>, LogError>,
) -> Option<LogSource> {
    let mut found = Vec::new();
    for table in &TABLES {
        // Not looked for: nothing here reads them yet.
        let needed = [PAGE_IMPRESSION.name, SLOT_IMPRESSION.name].contains(&table.name);
        match open(table) {
            Ok(Some((source, problems))) => {
                if needed && source.rows == 0 {
                    errors.push(LogError::Empty {
                        file: source.path.clone(),
                    });
                }
                errors.extend(problems);
                found.push(source);
            }
            Ok(None) if needed => {
                errors.push(LogError::MissingTable {
                    dir: dir.to_owned(),
                    table: table.name,
                });
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    let mut take = |name: &str| {
        let at = found.iter().position(|source| source.table.name == name)?;
        Some(found.remove(at))
    };
    match (take(PAGE_IMPRESSION.name), take(SLOT_IMPRESSION.name)) {
        (Some(page), Some(slot)) => Some(LogSource {
            dir: dir.to_owned(),
            page,
            slot,
            event: take(EVENT.name),
            item: take(ITEM.name),
        }),
        _ => None,
    }
}

/// A log made elsewhere may have no manifest; one that is there must be that of a log.
fn check_manifest(dir: &Path) -> Result<(), LogError> {
    let file = dir.join("manifest.json");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(LogError::Io {
                action: "read",
                path: file,
                source,
            });
        }
    };
    let refuse = |reason: String| LogError::Manifest {
        file: file.clone(),
        reason,
    };
    let manifest: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    match manifest.get("kind").and_then(serde_json::Value::as_str) {
        Some("log") => {}
        Some(other) => return Err(refuse(format!("`kind` is `{other}`, expected `log`"))),
        None => return Err(refuse("`kind` is missing, expected `log`".to_owned())),
    }
    let format = manifest
        .get("format")
        .and_then(serde_json::Value::as_u64)
        .and_then(|format| u32::try_from(format).ok())
        .ok_or_else(|| refuse("`format` is missing, expected a whole number".to_owned()))?;
    FormatVersion(format)
        .check("log manifest", LOG_FORMAT)
        .map_err(|source| LogError::Format {
            dir: dir.to_owned(),
            source,
        })
}

/// The files of a table and what is wrong with their columns; none where the table is absent.
fn open_table(
    dir: &Path,
    table: &'static Table,
) -> Result<Option<(TableSource, Vec<LogError>)>, LogError> {
    let path = dir.join(format!("{}.parquet", table.name));
    let folder = dir.join(table.name);
    let path = if path.exists() {
        path
    } else if folder.is_dir() {
        folder
    } else {
        return Ok(None);
    };
    let files = if path.is_dir() {
        gather::parts(&path)?
    } else {
        vec![path.clone()]
    };
    read_table(table, &path, files).map(Some)
}

/// A table of these Parquet files, which a person knows as `path`.
fn read_table(
    table: &'static Table,
    path: &Path,
    files: Vec<PathBuf>,
) -> Result<(TableSource, Vec<LogError>), LogError> {
    let mut schemas: Vec<SchemaRef> = Vec::new();
    let mut stamps = Vec::new();
    let mut rows = 0;
    for file in &files {
        // Before the footer is read: what changes in between is seen in the end.
        stamps.push(stamp(file).unwrap_or_default());
        let (schema, count) = read_footer(file)?;
        schemas.push(schema);
        rows += count;
    }
    let first = schemas[0].clone();
    let mut errors = Vec::new();
    for (file, schema) in files.iter().zip(&schemas).skip(1) {
        errors.extend(part_difference(file, schema, &files[0], &first));
    }
    errors.extend(column_errors(table, &files[0], &first));
    let source = TableSource {
        table,
        path: path.to_owned(),
        files,
        schema: first,
        rows,
        unread: None,
        stamps,
    };
    Ok((source, errors))
}

fn read_footer(path: &Path) -> Result<(SchemaRef, u64), LogError> {
    let metadata = footer(path)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok((metadata.schema().clone(), rows.try_into().unwrap_or(0)))
}

/// What the footer of a Parquet file says.
pub(crate) fn footer(path: &Path) -> Result<ArrowReaderMetadata, LogError> {
    ArrowReaderMetadata::load(&open_file(path)?, ArrowReaderOptions::new())
        .map_err(|source| damaged(path, source))
}

pub(crate) fn open_file(path: &Path) -> Result<File, LogError> {
    File::open(path).map_err(|source| LogError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn damaged(file: &Path, source: ParquetError) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        source,
    }
}

/// The first way in which a part does not look like the first part.
fn part_difference(
    file: &Path,
    schema: &SchemaRef,
    first_file: &Path,
    first: &SchemaRef,
) -> Option<LogError> {
    let differs = |column: &str, expected: String, given: String| LogError::PartDiffers {
        file: file.to_owned(),
        first: first_file.to_owned(),
        column: column.to_owned(),
        expected,
        given,
    };
    for field in first.fields() {
        let expected = field.data_type();
        match schema.field_with_name(field.name()) {
            Ok(other) if other.data_type() == expected => {}
            Ok(other) => {
                return Some(differs(
                    field.name(),
                    expected.to_string(),
                    other.data_type().to_string(),
                ));
            }
            Err(_) => {
                return Some(differs(
                    field.name(),
                    expected.to_string(),
                    "absent".to_owned(),
                ));
            }
        }
    }
    let extra = schema
        .fields()
        .iter()
        .find(|field| first.field_with_name(field.name()).is_err())?;
    Some(differs(
        extra.name(),
        "absent".to_owned(),
        extra.data_type().to_string(),
    ))
}

/// Missing required columns and columns of a wrong type.
fn column_errors(table: &'static Table, file: &Path, schema: &SchemaRef) -> Vec<LogError> {
    let mut errors = Vec::new();
    for column in table.columns {
        match schema.field_with_name(column.name) {
            Ok(field) if accepts(column.kind, field.data_type()) => {}
            Ok(field) => errors.push(LogError::ColumnType {
                file: file.to_owned(),
                column: column.name.to_owned(),
                expected: expected_types(column.kind),
                given: field.data_type().to_string(),
            }),
            Err(_) if column.required => errors.push(LogError::MissingColumn {
                file: file.to_owned(),
                column: column.name.to_owned(),
                doc: column.doc,
                nearest: nearest(column, table, schema),
            }),
            // An optional column may be absent, but `Price` beside no `price` is a slip.
            Err(_) => {
                if let Some(name) = same_but_for_spelling(column, schema) {
                    errors.push(LogError::MissingColumn {
                        file: file.to_owned(),
                        column: column.name.to_owned(),
                        doc: column.doc,
                        nearest: Some(name),
                    });
                }
            }
        }
    }
    errors
}

/// A column of the file with the same letters, but for case and underscores.
fn same_but_for_spelling(column: &Column, schema: &SchemaRef) -> Option<String> {
    let plain = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
    let mut names = schema.fields().iter().map(|field| field.name());
    names
        .find(|name| plain(name) == plain(column.name))
        .cloned()
}

/// A column of the file that is not in the schema and is named much like the missing one.
fn nearest(column: &Column, table: &Table, schema: &SchemaRef) -> Option<String> {
    let wanted = column.name.replace('_', "").to_lowercase();
    schema
        .fields()
        .iter()
        .map(|field| field.name())
        .filter(|name| table.column(name).is_none())
        .map(|name| {
            (
                strsim::osa_distance(&wanted, &name.replace('_', "").to_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= wanted.chars().count().div_ceil(2).min(4))
        .min()
        .map(|(_, name)| name.clone())
}

fn accepts(kind: ColumnKind, given: &DataType) -> bool {
    // Unsigned 64-bit numbers need not fit a signed one.
    let whole = given.is_integer() && *given != DataType::UInt64;
    match kind {
        ColumnKind::Id | ColumnKind::Money | ColumnKind::Count => whole,
        ColumnKind::Timestamp => {
            *given == DataType::Int64 || matches!(given, DataType::Timestamp(_, _))
        }
        ColumnKind::Text | ColumnKind::Choice(_) => is_text(given),
        ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => is_number(given),
        ColumnKind::Bytes => {
            let is_binary = matches!(
                given,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView
            );
            is_binary || is_text(given)
        }
    }
}

pub(crate) fn is_text(given: &DataType) -> bool {
    match given {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

pub(crate) fn is_number(given: &DataType) -> bool {
    given.is_numeric()
}

fn expected_types(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Id => "whole numbers (Int64)",
        ColumnKind::Money => "whole minor units (Int64)",
        ColumnKind::Count => "whole numbers from 0 (Int64)",
        ColumnKind::Timestamp => "UTC times (Timestamp, or Int64 microseconds since 1970)",
        ColumnKind::Text | ColumnKind::Choice(_) => "text (Utf8)",
        ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => "numbers (Float64)",
        ColumnKind::Bytes => "bytes (Binary) or paths of files (Utf8)",
    }
}
