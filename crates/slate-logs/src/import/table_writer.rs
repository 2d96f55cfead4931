//! Rows to one Parquet file, a batch at a time.
//!
//! In: rows as cells in the order of the columns. Out: a zstd Parquet file whose bytes depend on
//! the rows alone. Memory stays at one batch and one row group. The file appears with the first
//! row: a table nobody writes to does not exist.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray};
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use slate_types::log::ColumnKind;

use super::ImportError;

const BATCH_ROWS: usize = 8192;
const GROUP_ROWS: usize = 131_072;

/// One value of a row. Times are `Int`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

impl From<Option<f64>> for Cell<'_> {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Float)
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

/// Values of one column that are not written yet.
enum Buffer {
    Int(Vec<Option<i64>>),
    Time(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    /// No importer has bytes; the column is there and empty.
    Bytes(usize),
}

impl Buffer {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Float64 => Self::Float(Vec::new()),
            DataType::Utf8 => Self::Text(Vec::new()),
            DataType::Timestamp(..) => Self::Time(Vec::new()),
            DataType::Binary => Self::Bytes(0),
            _ => Self::Int(Vec::new()),
        }
    }

    /// Takes a cell; false where it is of another type.
    fn push(&mut self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Int(values) | Self::Time(values), Cell::Int(value)) => values.push(Some(value)),
            (Self::Int(values) | Self::Time(values), Cell::Null) => values.push(None),
            (Self::Float(values), Cell::Float(value)) => values.push(Some(value)),
            (Self::Float(values), Cell::Null) => values.push(None),
            (Self::Text(values), Cell::Text(value)) => values.push(Some(value.to_owned())),
            (Self::Text(values), Cell::Null) => values.push(None),
            (Self::Bytes(rows), Cell::Null) => *rows += 1,
            _ => return false,
        }
        true
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Int(values) => Arc::new(Int64Array::from(std::mem::take(values))),
            Self::Time(values) => {
                let times = TimestampMicrosecondArray::from(std::mem::take(values));
                Arc::new(times.with_timezone("UTC"))
            }
            Self::Float(values) => Arc::new(Float64Array::from(std::mem::take(values))),
            Self::Text(values) => Arc::new(StringArray::from(std::mem::take(values))),
            Self::Bytes(rows) => {
                Arc::new(BinaryArray::from(vec![None::<&[u8]>; std::mem::take(rows)]))
            }
        }
    }
}

/// The Arrow column for a column of the log schema.
pub(crate) fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Id | ColumnKind::Money | ColumnKind::Count => DataType::Int64,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::Text | ColumnKind::Choice(_) => DataType::Utf8,
        ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => DataType::Float64,
        ColumnKind::Bytes => DataType::Binary,
    }
}

/// Writes one table.
pub(crate) struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    buffers: Vec<Buffer>,
    buffered: usize,
    rows: u64,
    writer: Option<ArrowWriter<File>>,
}

impl TableWriter {
    /// A table at `path` with these columns; nothing is written yet.
    pub(crate) fn new(path: &Path, fields: Vec<Field>) -> Self {
        let buffers = fields
            .iter()
            .map(|field| Buffer::new(field.data_type()))
            .collect();
        Self {
            path: path.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            buffers,
            buffered: 0,
            rows: 0,
            writer: None,
        }
    }

    /// Adds one row: a cell for each column, in order.
    pub(crate) fn append<'a>(
        &mut self,
        cells: impl IntoIterator<Item = Cell<'a>>,
    ) -> Result<(), ImportError> {
        let mut given = 0;
        for cell in cells {
            let taken = self
                .buffers
                .get_mut(given)
                .is_some_and(|buffer| buffer.push(cell));
            assert!(
                taken,
                "cell {given} of `{}` must fit its column",
                self.path.display()
            );
            given += 1;
        }
        assert_eq!(
            given,
            self.buffers.len(),
            "a row must fill `{}`",
            self.path.display()
        );
        self.rows += 1;
        self.buffered += 1;
        if self.buffered == BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Completes and syncs the file, and says how many rows it has. Without rows there is no file.
    pub(crate) fn finish(mut self) -> Result<u64, ImportError> {
        self.flush()?;
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|source| self.failed(source))?;
            file.sync_all().map_err(|source| ImportError::Write {
                path: self.path.clone(),
                source,
            })?;
        }
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        if self.buffered == 0 {
            return Ok(());
        }
        let columns = self.buffers.iter_mut().map(Buffer::take).collect();
        self.buffered = 0;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|source| self.failed(source.into()))?;
        if self.writer.is_none() {
            self.writer = Some(self.create()?);
        }
        let written = self
            .writer
            .as_mut()
            .map_or(Ok(()), |writer| writer.write(&batch));
        written.map_err(|source| self.failed(source))
    }

    fn create(&self) -> Result<ArrowWriter<File>, ImportError> {
        let file = File::create_new(&self.path).map_err(|source| ImportError::Write {
            path: self.path.clone(),
            source,
        })?;
        let properties = WriterProperties::builder()
            .set_created_by("slate".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties))
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: ParquetError) -> ImportError {
        ImportError::Parquet {
            path: self.path.clone(),
            source,
        }
    }
}
