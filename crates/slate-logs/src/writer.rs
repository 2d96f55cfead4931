//! Writes Parquet whose bytes depend on the rows alone: not on how an engine cut them into batches, nor on
//! how many threads encode its columns.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, SchemaRef};
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
    /// To be read by the next step and thrown away: quick to write and read.
    Scratch,
}

/// A Parquet file being written.
pub(crate) struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    file: SerializedFileWriter<File>,
    groups: ArrowRowGroupWriterFactory,
    /// The row group under way, column by column.
    columns: Vec<ArrowColumnWriter>,
    /// Rows in it.
    group_rows: usize,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
}

impl TableWriter {
    /// Creates the file, which must not exist.
    pub(crate) fn create(
        path: &Path,
        schema: SchemaRef,
        metadata: &[(&str, String)],
        purpose: Purpose,
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
                .set_compression(Compression::LZ4_RAW)
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
            let columns = groups.create_column_writers(0)?;
            Ok((file, groups, columns))
        };
        let (file, groups, columns) = open().map_err(|source| LogError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            file,
            groups,
            columns,
            group_rows: 0,
            waiting: Vec::new(),
            waiting_rows: 0,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends rows; columns must stand in the order of the schema and are cast to its types.
    /// Returns the rows as they are written.
    pub(crate) fn write(&mut self, columns: &[ArrayRef]) -> Result<RecordBatch, LogError> {
        let rows = self.conform(columns)?;
        let mut batch = rows.clone();
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
        Ok(rows)
    }

    /// Writes what is left and makes sure it is on the disk.
    pub(crate) fn finish(mut self) -> Result<(), LogError> {
        self.flush()?;
        if self.group_rows > 0 {
            self.end_group().map_err(|source| self.fail(source))?;
        }
        let path = self.path;
        let file = self.file.into_inner().map_err(|source| LogError::Write {
            path: path.clone(),
            source,
        })?;
        file.sync_all().map_err(|source| LogError::Io {
            action: "write",
            path,
            source,
        })
    }

    fn conform(&self, columns: &[ArrayRef]) -> Result<RecordBatch, LogError> {
        let fields = self.schema.fields();
        let cast: Result<Vec<ArrayRef>, ArrowError> = columns
            .iter()
            .zip(fields)
            .map(|(column, field)| cast(column, field.data_type()))
            .collect();
        cast.and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .map_err(|error| self.fail(error.into()))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let chunk =
            concat_batches(&self.schema, &self.waiting).map_err(|error| self.fail(error.into()))?;
        self.waiting.clear();
        self.waiting_rows = 0;
        self.encode(&chunk).map_err(|error| self.fail(error))
    }

    /// Encodes the next rows, several columns at once.
    fn encode(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let columns = self.columns.par_iter_mut();
        let columns = columns
            .zip(self.schema.fields().as_ref())
            .zip(rows.columns());
        columns.try_for_each(|((writer, field), values)| {
            compute_leaves(field, values)?
                .iter()
                .try_for_each(|leaf| writer.write(leaf))
        })?;
        self.group_rows += rows.num_rows();
        if self.group_rows >= ROW_GROUP {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let number = self.file.flushed_row_groups().len() + 1;
        let next = self.groups.create_column_writers(number)?;
        let ended = std::mem::replace(&mut self.columns, next);
        let chunks: Result<Vec<ArrowColumnChunk>, ParquetError> = ended
            .into_par_iter()
            .map(ArrowColumnWriter::close)
            .collect();
        let mut group = self.file.next_row_group()?;
        for chunk in chunks? {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.group_rows = 0;
        Ok(())
    }

    fn fail(&self, source: ParquetError) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

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
        let rows: Vec<(Option<i64>, String)> = (0..20_000)
            .map(|i| (Some(i * 7919 % 1000), format!("text {}", i % 91)))
            .collect();
        let rows: Vec<(Option<i64>, &str)> = rows.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let mut files = Vec::new();
        for size in [20_000, 8192, 777] {
            let path = dir.path().join(format!("{size}.parquet"));
            let mut writer = TableWriter::create(&path, schema(), &[], Purpose::Keep).unwrap();
            for chunk in rows.chunks(size) {
                writer.write(&columns(chunk)).unwrap();
            }
            writer.finish().unwrap();
            files.push(std::fs::read(path).unwrap());
        }
        assert_eq!(files[0], files[1]);
        assert_eq!(files[0], files[2]);
    }
}
