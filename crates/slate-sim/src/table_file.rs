//! One Parquet file, written batch by batch.
//!
//! Row groups are cut by rows and nothing in the file tells when or where it was written, so the
//! same batches give the same bytes.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::error::SimError;

/// Rows of one row group.
const ROW_GROUP: usize = 128 * 1024;

/// A file being written; it is made when its first batch arrives.
pub(crate) struct TableFile {
    path: PathBuf,
    writer: Option<ArrowWriter<File>>,
    rows: u64,
}

impl TableFile {
    /// The file of this path, in a folder that exists by then.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            writer: None,
            rows: 0,
        }
    }

    /// Appends a batch; all batches have one schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), SimError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let file = File::create_new(&self.path).map_err(|source| self.path.io(source))?;
                let properties =
                    properties(&batch.schema()).map_err(|source| self.path.encoding(source))?;
                let writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))
                    .map_err(|source| self.path.encoding(source))?;
                empty.insert(writer)
            }
        };
        writer
            .write(batch)
            .map_err(|source| self.path.encoding(source))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Ends the file, brings it to the disk and returns its rows.
    pub(crate) fn finish(self) -> Result<u64, SimError> {
        if let Some(writer) = self.writer {
            let file = writer
                .into_inner()
                .map_err(|source| self.path.encoding(source))?;
            file.sync_all().map_err(|source| self.path.io(source))?;
        }
        Ok(self.rows)
    }
}

/// Errors that name the file.
pub(crate) trait Named {
    fn io(&self, source: std::io::Error) -> SimError;
    fn encoding(&self, source: ParquetError) -> SimError;
}

impl Named for PathBuf {
    fn io(&self, source: std::io::Error) -> SimError {
        SimError::Io {
            path: self.clone(),
            source,
        }
    }

    fn encoding(&self, source: ParquetError) -> SimError {
        SimError::Parquet {
            path: self.clone(),
            source,
        }
    }
}

fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by("slate-sim".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_dictionary_enabled(false);
    for field in schema.fields() {
        // Dictionaries pay for texts, which repeat, and cost time for numbers, which do not.
        if field.data_type() == &DataType::Utf8 {
            let column = ColumnPath::from(field.name().as_str());
            builder = builder.set_column_dictionary_enabled(column, true);
        }
    }
    Ok(builder.build())
}
