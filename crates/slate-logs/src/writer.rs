//! Writes Parquet whose bytes depend on the rows alone: not on how an engine cut them into batches.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, SchemaRef, UInt8Type};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use crate::LogError;

/// Rows handed to the Parquet encoder at once.
const CHUNK: usize = 8192;
/// Rows of a row group.
const ROW_GROUP: usize = 131_072;

/// A Parquet file being written.
pub(crate) struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
}

impl TableWriter {
    /// Creates the file, which must not exist.
    pub(crate) fn create(
        path: &Path,
        schema: SchemaRef,
        metadata: &[(&str, String)],
    ) -> Result<Self, LogError> {
        let file = File::create_new(path).map_err(|source| LogError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        let pairs = metadata
            .iter()
            .map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let properties = WriterProperties::builder()
            .set_created_by("slate".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_key_value_metadata(Some(pairs.collect()))
            .build();
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|source| {
                LogError::Write {
                    path: path.to_owned(),
                    source,
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            writer,
            waiting: Vec::new(),
            waiting_rows: 0,
        })
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
        let path = self.path;
        let file = self.writer.into_inner().map_err(|source| LogError::Write {
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
            .map_err(|error| self.fail(error))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let chunk =
            concat_batches(&self.schema, &self.waiting).map_err(|error| self.fail(error))?;
        self.waiting.clear();
        self.waiting_rows = 0;
        self.writer.write(&chunk).map_err(|source| LogError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn fail(&self, error: ArrowError) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source: ParquetError::from(error),
        }
    }
}

/// A hash of rows that does not depend on their order: the sum, modulo 2^128, of the first half of
/// each row's SHA-256. Two tables with the same columns and the same rows have the same hash.
pub(crate) struct RowHash {
    sum: u128,
    rows: Vec<Vec<u8>>,
}

impl RowHash {
    /// Begins with the names and types of the columns.
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let mut header = Vec::new();
        for field in schema.fields() {
            header.extend(field.name().as_bytes());
            header.push(0);
            header.extend(field.data_type().to_string().as_bytes());
            header.push(0);
        }
        Self {
            sum: half_digest(&header),
            rows: Vec::new(),
        }
    }

    /// Adds rows. Columns must have the types of the schema.
    pub(crate) fn add(&mut self, columns: &[ArrayRef]) {
        let rows = columns.first().map_or(0, Array::len);
        self.rows.resize(rows.max(self.rows.len()), Vec::new());
        for row in &mut self.rows[..rows] {
            row.clear();
        }
        for column in columns {
            append(column, &mut self.rows[..rows]);
        }
        for row in &self.rows[..rows] {
            self.sum = self.sum.wrapping_add(half_digest(row));
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        format!("{:032x}", self.sum)
    }
}

fn half_digest(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest[..16]
        .iter()
        .fold(0, |number, &byte| (number << 8) | u128::from(byte))
}

/// Appends each value to the bytes of its row: 0 for null, else 1 and the value in a form of known
/// length (text after its length).
fn append(column: &ArrayRef, rows: &mut [Vec<u8>]) {
    let mut put = |bytes: &dyn Fn(usize, &mut Vec<u8>)| {
        for (i, row) in rows.iter_mut().enumerate() {
            row.push(u8::from(!column.is_null(i)));
            if !column.is_null(i) {
                bytes(i, row);
            }
        }
    };
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            put(&|i, row| row.extend(values.value(i).to_le_bytes()));
        }
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            put(&|i, row| row.extend(values.value(i).to_le_bytes()));
        }
        DataType::UInt8 => {
            let values = column.as_primitive::<UInt8Type>();
            put(&|i, row| row.push(values.value(i)));
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            put(&|i, row| row.push(u8::from(values.value(i))));
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            // Adding zero makes -0.0 the same value as 0.0.
            put(&|i, row| row.extend((values.value(i) + 0.0).to_bits().to_le_bytes()));
        }
        _ => {
            let values = column.as_string::<i32>();
            put(&|i, row| {
                row.extend((values.value(i).len() as u64).to_le_bytes());
                row.extend(values.value(i).as_bytes());
            });
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

    fn hash(parts: &[&[(Option<i64>, &str)]]) -> String {
        let mut hash = RowHash::new(&schema());
        for part in parts {
            hash.add(&columns(part));
        }
        hash.finish()
    }

    #[test]
    fn the_hash_forgets_order_and_cuts_but_no_value() {
        let (x, y) = ((Some(1), "x"), (None, "y"));
        let whole = hash(&[&[x, y]]);
        assert_eq!(whole, hash(&[&[y], &[x]]));
        assert_ne!(whole, hash(&[&[x]]));
        assert_ne!(whole, hash(&[&[x, y, y]]));
        assert_ne!(whole, hash(&[&[(Some(1), "y"), (None, "x")]]));
        assert_ne!(whole, hash(&[&[x, (Some(0), "y")]]));
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
            let mut writer = TableWriter::create(&path, schema(), &[]).unwrap();
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
