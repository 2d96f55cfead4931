//! A shard on disk: written beside, checked row by row, renamed when it is what the log says.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::Failure;
use super::census::{Census, Sum, shards_of};
use crate::LogError;
use crate::row_hash::RowHasher;

/// The place of a placement in the output.
pub(super) type Place = [i64; 5];

/// The columns of [`Place`] of a batch.
pub(super) struct Places([ScalarBuffer<i64>; 5]);

impl Places {
    pub(super) fn of(batch: &RecordBatch) -> Self {
        Self(
            ["ts", "page_id", "list_id", "slot", "impression_id"].map(|name| {
                let column = batch
                    .column_by_name(name)
                    .expect("the query names every known column");
                column.as_primitive::<Int64Type>().values().clone()
            }),
        )
    }

    pub(super) fn at(&self, at: usize) -> Place {
        std::array::from_fn(|column| self.0[column][at])
    }

    pub(super) fn len(&self) -> usize {
        self.0[0].len()
    }
}

pub(super) fn path(folder: &Path, shard: u32, census: &Census) -> PathBuf {
    folder.join(format!("shard-{shard}-of-{}.arrow", census.shards.len()))
}

/// Holds rows against the census as they come.
struct Checker<'a> {
    census: &'a Census,
    shard: u32,
    last: Option<Place>,
    sum: Sum,
    hasher: RowHasher,
}

impl<'a> Checker<'a> {
    fn new(shard: u32, census: &'a Census) -> Self {
        Self {
            census,
            shard,
            last: None,
            sum: Sum::default(),
            hasher: RowHasher::default(),
        }
    }

    /// What the log says of this shard.
    fn expected(&self) -> Sum {
        self.census.shards[self.shard as usize]
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let (given, expected) = (batch.schema(), &self.census.schema);
        let types = |schema: &arrow::datatypes::Schema| -> Vec<_> {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        if types(&given) != types(expected) {
            return Err(format!("columns came as {given}, expected {expected}"));
        }
        let shards = self.census.shards.len() as u32;
        if shards_of(batch, shards).any(|shard| shard != self.shard) {
            return Err("a row of another shard came".to_owned());
        }
        let places = Places::of(batch);
        for at in 0..places.len() {
            let here = places.at(at);
            if let Some(last) = self.last.filter(|&last| last >= here) {
                let again = if last == here { " again" } else { "" };
                return Err(format!(
                    "impression {} came{again} after impression {}, out of order",
                    here[4], last[4]
                ));
            }
            self.last = Some(here);
        }
        for row in self.hasher.hash(batch.columns()) {
            self.sum.add(row);
        }
        if self.sum.rows > self.expected().rows {
            return Err(self.complaint("at least "));
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        if self.sum.rows != self.expected().rows {
            return Err(self.complaint(""));
        }
        if self.sum.hash != self.expected().hash {
            return Err("its rows are as many as in the log, but not the same".to_owned());
        }
        Ok(())
    }

    fn complaint(&self, how: &str) -> String {
        format!(
            "it gave {how}{} rows where the log has {}",
            self.sum.rows,
            self.expected().rows
        )
    }
}

/// Whether a shard is there and holds what it must.
pub(super) fn is_whole(folder: &Path, shard: u32, census: &Census) -> bool {
    let mut checker = Checker::new(shard, census);
    let Ok(file) = File::open(path(folder, shard, census)) else {
        return false;
    };
    let Ok(batches) = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None) else {
        return false;
    };
    for batch in batches {
        let added = batch.map_err(|error| error.to_string());
        if added.and_then(|batch| checker.add(&batch)).is_err() {
            return false;
        }
    }
    checker.finish().is_ok()
}

/// A shard on its way to disk.
pub(super) struct ShardWriter<'a> {
    partial: PathBuf,
    target: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
    checker: Checker<'a>,
}

impl<'a> ShardWriter<'a> {
    pub(super) fn create(
        folder: &Path,
        shard: u32,
        census: &'a Census,
    ) -> Result<Self, LogError> {
        let target = path(folder, shard, census);
        let partial = target.with_extension("partial");
        let file = File::create(&partial).map_err(|source| LogError::Io {
            action: "create",
            path: partial.clone(),
            source,
        })?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &census.schema)
            .map_err(|error| failed(&partial, error))?;
        Ok(Self {
            partial,
            target,
            writer,
            checker: Checker::new(shard, census),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.checker.add(batch).map_err(Failure::Cluster)?;
        self.writer
            .write(batch)
            .map_err(|error| Failure::Ours(failed(&self.partial, error)))
    }

    /// Checks the whole and puts it in place.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.checker.finish().map_err(Failure::Cluster)?;
        let written = self
            .writer
            .finish()
            .map_err(|error| failed(&self.partial, error));
        written.map_err(Failure::Ours)?;
        let place = || -> std::io::Result<()> {
            let file = self.writer.get_mut();
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&self.partial, &self.target)
        };
        let mut place = place;
        place().map_err(|source| {
            Failure::Ours(LogError::Io {
                action: "put in place",
                path: self.target.clone(),
                source,
            })
        })
    }
}

pub(super) fn failed(path: &Path, error: arrow::error::ArrowError) -> LogError {
    LogError::Write {
        path: path.to_owned(),
        source: error.into(),
    }
}
