//! Writes Parquet whose bytes depend on the rows alone: not on how an engine cut them into batches, nor on
//! how many threads encode its columns.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use crate::LogError;

/// Rows handed to the Parquet encoder at once.
const CHUNK: usize = 8192;
/// Rows of a row group, a multiple of [`CHUNK`].
const ROW_GROUP: usize = 131_072;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be kept: small.
    Keep,
    /// To be read by the next step and thrown away: quick to write and read, and not made durable.
    Scratch,
}

/// A Parquet file being written.
pub(crate) struct TableWriter {
    path: PathBuf,
    purpose: Purpose,
    /// Of the columns that are written row by row.
    schema: SchemaRef,
    /// Of those that come when all the others are there.
    late: SchemaRef,
    file: SerializedFileWriter<File>,
    groups: ArrowRowGroupWriterFactory,
    /// The row group under way, column by column.
    columns: Vec<ArrowColumnWriter>,
    /// Rows in it.
    group_rows: usize,
    /// Row groups that wait for their last columns, encoded, and how many rows each has.
    unfinished: Vec<(Vec<ArrowColumnChunk>, usize)>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
}

impl TableWriter {
    /// Creates the file, which must not exist. Columns from `late` on, if there are some, are given to
    /// [`TableWriter::finish_with`] alone; until then the others wait in memory, encoded.
    pub(crate) fn create(
        path: &Path,
        schema: &SchemaRef,
        metadata: &[(&str, String)],
        purpose: Purpose,
        late: usize,
    ) -> Result<Self, LogError> {
        let file = File::create_new(path).map_err(|source| LogError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        let pairs = metadata
            .iter()
            .map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let mut properties = WriterProperties::builder()
            .set_created_by("slate".to_owned())
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_key_value_metadata(Some(pairs.collect()));
        properties = match purpose {
            Purpose::Keep => properties.set_compression(Compression::ZSTD(ZstdLevel::default())),
            Purpose::Scratch => properties
                .set_compression(Compression::UNCOMPRESSED)
                .set_dictionary_enabled(false)
                .set_statistics_enabled(EnabledStatistics::None),
        };
        // Ids, times and counts: differences are shorter than a dictionary, and found sooner.
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Int64 | DataType::Int32) {
                let column = ColumnPath::from(field.name().as_str());
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
        }
        let properties = properties.build();
        let open = || {
            let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
            let (file, groups) = writer.into_serialized_writer()?;
            let mut columns = groups.create_column_writers(0)?;
            columns.truncate(late);
            Ok((file, groups, columns))
        };
        let (file, groups, columns) = open().map_err(|source| LogError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            purpose,
            schema: Arc::new(Schema::new(schema.fields()[..late].to_vec())),
            late: Arc::new(Schema::new(schema.fields()[late..].to_vec())),
            file,
            groups,
            columns,
            group_rows: 0,
            unfinished: Vec::new(),
            waiting: Vec::new(),
            waiting_rows: 0,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Columns in the order of the schema, cast to its types: the late ones are not among them.
    pub(crate) fn conform(&self, columns: &[ArrayRef]) -> Result<RecordBatch, LogError> {
        let columns = columns.iter().zip(self.schema.fields());
        let cast: Result<Vec<ArrayRef>, ArrowError> = columns
            .map(|(column, field)| cast(column, field.data_type()))
            .collect();
        cast.and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .map_err(|error| self.fail(error.into()))
    }

    /// Appends rows of the schema.
    pub(crate) fn write(&mut self, mut batch: RecordBatch) -> Result<(), LogError> {
        while self.waiting_rows + batch.num_rows() >= CHUNK {
            let taken = CHUNK - self.waiting_rows;
            self.waiting.push(batch.slice(0, taken));
            batch = batch.slice(taken, batch.num_rows() - taken);
            self.flush()?;
        }
        if batch.num_rows() > 0 {
            self.waiting_rows += batch.num_rows();
            self.waiting.push(batch);
        }
        Ok(())
    }

    /// Writes what is left and, if it is to be kept, makes sure it is on the disk.
    pub(crate) fn finish(self) -> Result<(), LogError> {
        self.finish_with(|_, _| Vec::new())
    }

    /// The same where columns are missing: `give` is asked for those of so many rows, the first of which
    /// has this place, by several threads at once. They must have the types of the schema.
    pub(crate) fn finish_with(
        mut self,
        give: impl Fn(u64, usize) -> Vec<ArrayRef> + Sync,
    ) -> Result<(), LogError> {
        self.flush()?;
        if self.group_rows > 0 {
            self.end_group().map_err(|source| self.fail(source))?;
        }
        let mut first = 0;
        let groups = std::mem::take(&mut self.unfinished);
        let mut groups = groups.into_iter().map(|(chunks, rows)| {
            let begin = first;
            first += rows as u64;
            (chunks, begin, rows)
        });
        let at_once = rayon::current_num_threads();
        let mut made: Vec<Result<Vec<ArrowColumnChunk>, ParquetError>> = Vec::new();
        loop {
            let some: Vec<_> = groups.by_ref().take(at_once).collect();
            if some.is_empty() && made.is_empty() {
                break;
            }
            // Those that were made are written while the next ones are made.
            let (late, writers, file) = (&self.late, &self.groups, &mut self.file);
            let make = || {
                let some = some.into_par_iter();
                let made = some.map(|(chunks, begin, rows)| {
                    add_late(chunks, &give(begin, rows), late, writers)
                });
                made.collect()
            };
            let write = || {
                made.into_iter()
                    .try_for_each(|chunks| append(file, chunks?))
            };
            let (written, next) = rayon::join(write, make);
            written.map_err(|source| self.fail(source))?;
            made = next;
        }
        let path = self.path;
        let file = self.file.into_inner().map_err(|source| LogError::Write {
            path: path.clone(),
            source,
        })?;
        if self.purpose == Purpose::Scratch {
            return Ok(());
        }
        file.sync_all().map_err(|source| LogError::Io {
            action: "write",
            path,
            source,
        })
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let chunk =
            concat_batches(&self.schema, &self.waiting).map_err(|error| self.fail(error.into()))?;
        self.waiting.clear();
        self.waiting_rows = 0;
        self.add(&chunk).map_err(|error| self.fail(error))
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        encode(&mut self.columns, &self.schema, rows)?;
        self.group_rows += rows.num_rows();
        if self.group_rows >= ROW_GROUP {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let mut next = self.groups.create_column_writers(0)?;
        next.truncate(self.columns.len());
        let chunks = close(std::mem::replace(&mut self.columns, next))?;
        let rows = std::mem::take(&mut self.group_rows);
        if self.late.fields().is_empty() {
            return append(&mut self.file, chunks);
        }
        self.unfinished.push((chunks, rows));
        Ok(())
    }

    fn fail(&self, source: ParquetError) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// Encodes the next rows, several columns at once.
fn encode(
    writers: &mut [ArrowColumnWriter],
    schema: &Schema,
    rows: &RecordBatch,
) -> Result<(), ParquetError> {
    let fields = schema.fields().as_ref();
    let columns = writers.par_iter_mut().zip(fields).zip(rows.columns());
    columns.try_for_each(|((writer, field), values)| {
        compute_leaves(field, values)?
            .iter()
            .try_for_each(|leaf| writer.write(leaf))
    })
}

/// Writes a row group.
fn append(
    file: &mut SerializedFileWriter<File>,
    chunks: Vec<ArrowColumnChunk>,
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for chunk in chunks {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    Ok(())
}

/// Encodes the last columns of a row group and adds them to the others.
fn add_late(
    mut chunks: Vec<ArrowColumnChunk>,
    columns: &[ArrayRef],
    late: &SchemaRef,
    groups: &ArrowRowGroupWriterFactory,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let columns = RecordBatch::try_new(late.clone(), columns.to_vec())?;
    let mut writers = groups.create_column_writers(0)?;
    let mut writers = writers.split_off(chunks.len());
    for first in (0..columns.num_rows()).step_by(CHUNK) {
        let rows = CHUNK.min(columns.num_rows() - first);
        encode(&mut writers, late, &columns.slice(first, rows))?;
    }
    chunks.extend(close(writers)?);
    Ok(chunks)
}

fn close(writers: Vec<ArrowColumnWriter>) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let closed = writers.into_par_iter().map(ArrowColumnWriter::close);
    closed.collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
        ]))
    }

    fn columns(rows: &[(Option<i64>, &str)]) -> Vec<ArrayRef> {
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        ]
    }

    #[test]
    fn bytes_do_not_depend_on_the_batches() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<(Option<i64>, String)> = (0..150_000)
            .map(|i| (Some(i * 7919 % 1000), format!("text {}", i % 91)))
            .collect();
        let rows: Vec<(Option<i64>, &str)> = rows.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let mut files = Vec::new();
        for size in [150_000, 8192, 777] {
            let path = dir.path().join(format!("{size}.parquet"));
            let mut writer = TableWriter::create(&path, &schema(), &[], Purpose::Keep, 2).unwrap();
            for chunk in rows.chunks(size) {
                let rows = writer.conform(&columns(chunk)).unwrap();
                writer.write(rows).unwrap();
            }
            writer.finish().unwrap();
            files.push(std::fs::read(path).unwrap());
        }
        // Nor on when the last column came.
        let path = dir.path().join("late.parquet");
        let mut writer = TableWriter::create(&path, &schema(), &[], Purpose::Keep, 1).unwrap();
        for chunk in rows.chunks(3000) {
            let rows = writer.conform(&columns(chunk)[..1]).unwrap();
            writer.write(rows).unwrap();
        }
        let late = |first: u64, len: usize| {
            let first = first as usize;
            columns(&rows[first..first + len]).split_off(1)
        };
        writer.finish_with(late).unwrap();
        files.push(std::fs::read(path).unwrap());
        for other in &files[1..] {
            assert!(files[0] == *other);
        }
    }
}
