//! Placements on disk in the order of the output: what the passes read, and the rest.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use crate::LogError;
use crate::beside::{Beside, Halves};
use crate::order::Ordered;
use crate::rows::Rows;

/// Two files with the same rows in the same batches.
pub(crate) struct RowFiles {
    rows: PathBuf,
    rest: PathBuf,
    /// How many placements.
    pub(crate) len: u64,
    /// Names of the columns of the second file.
    pub(crate) rest_columns: Vec<String>,
}

impl RowFiles {
    /// Writes what a query gives and what stands beside it, and shows each batch to `each` with the
    /// place of its first row. None as soon as a row is out of order: then there are no files, and
    /// what `each` was shown is void.
    pub(crate) fn write(
        batches: &mut dyn Ordered,
        beside: Beside,
        work: &Path,
        mut each: impl FnMut(&Rows, u64),
    ) -> Result<Option<Self>, LogError> {
        let mut halves = Halves::new(beside, &batches.schema());
        let [narrow, rest] = halves.schemas();
        let rest_columns = rest.fields().iter().map(|field| field.name().clone());
        let rest_columns = rest_columns.collect();
        let files = [work.join("rows.arrow"), work.join("rest.arrow")];
        let mut narrow_writer = writer(&files[0], narrow)?;
        let mut rest_writer = writer(&files[1], rest)?;
        let (mut len, mut last) = (0, None);
        while let Some(batch) = batches.next()? {
            let known = halves.narrow(&batch)?;
            let rows = Rows::of(&known);
            if !rows.ascend(&mut last) {
                return Ok(None);
            }
            let rest = halves.rest(&batch)?;
            each(&rows, len);
            narrow_writer
                .write(&known)
                .map_err(|e| fail(&files[0], e))?;
            rest_writer.write(&rest).map_err(|e| fail(&files[1], e))?;
            len += rows.len() as u64;
        }
        narrow_writer.finish().map_err(|e| fail(&files[0], e))?;
        rest_writer.finish().map_err(|e| fail(&files[1], e))?;
        let [rows, rest] = files;
        Ok(Some(Self {
            rows,
            rest,
            len,
            rest_columns,
        }))
    }

    /// Shows every batch to `each`, with the place of its first row.
    pub(crate) fn read(
        &self,
        mut each: impl FnMut(&Rows, u64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut first = 0;
        for batch in reader(&self.rows)? {
            let rows = Rows::of(&batch.map_err(|error| fail(&self.rows, error))?);
            each(&rows, first)?;
            first += rows.len() as u64;
        }
        Ok(())
    }

    /// Shows every batch with the columns of both files.
    pub(crate) fn read_whole(
        &self,
        mut each: impl FnMut(&RecordBatch, &RecordBatch, u64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut first = 0;
        for (rows, rest) in reader(&self.rows)?.zip(reader(&self.rest)?) {
            let rows = rows.map_err(|error| fail(&self.rows, error))?;
            let rest = rest.map_err(|error| fail(&self.rest, error))?;
            each(&rows, &rest, first)?;
            first += rows.num_rows() as u64;
        }
        Ok(())
    }
}

fn fail(path: &Path, source: ArrowError) -> LogError {
    LogError::Write {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn writer(path: &Path, schema: &Schema) -> Result<StreamWriter<BufWriter<File>>, LogError> {
    let file = File::create(path).map_err(|source| LogError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })?;
    let open = || {
        // Not compressed: it would cost more than all that is done with the rows.
        let options = IpcWriteOptions::try_new(64, false, MetadataVersion::V5)?;
        let file = BufWriter::with_capacity(1 << 20, file);
        StreamWriter::try_new_with_options(file, schema, options)
    };
    open().map_err(|error| fail(path, error))
}

fn reader(path: &Path) -> Result<StreamReader<BufReader<File>>, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None)
        .map_err(|error| fail(path, error))
}
