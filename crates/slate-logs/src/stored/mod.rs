//! Placements as they are stored, checked while they are read, by several threads at once.
//!
//! Most logs are sound, and stored in the order in which pages were shown. Such a log need not be read
//! once to be checked and again to be sorted: here each batch is decoded, held against the checks and
//! laid beside its pages, and the first one that does not pass ends it all ([`Stored::gave_up`]). Then
//! the engine reads the log, says what is wrong with which rows, and sorts.
//!
//! Threads take row groups in turn, and their batches are handed on in the order of the files. Columns
//! that are checked and not passed on are not even decoded where the statistics of a row group vouch
//! for its whole numbers.

mod pages;
mod sound;

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use self::pages::Pages;
use self::sound::Sound;
use crate::LogError;
use crate::engine::Engine;
use crate::order::Ordered;
use crate::source::TableSource;
use crate::tables::Extra;

/// Rows of a batch.
const ROWS: usize = 8192;
/// Batches of each thread that may wait: a row group of 200 thousand rows.
const WAITING: usize = 24;
/// Most threads: more would only hold more batches.
const MOST_THREADS: usize = 8;

/// The placements of a sound log, in the order of its files.
pub(crate) struct Stored {
    schema: SchemaRef,
    /// What each thread sends.
    lanes: Vec<Receiver<Message>>,
    /// The row group that is next, and how many there are.
    group: usize,
    groups: usize,
    gave_up: bool,
    last_impression: Option<i64>,
    ascending: bool,
}

enum Message {
    Batch(RecordBatch),
    /// The end of a row group.
    End,
    /// Something the engine has to look at.
    Unsound,
    Failed(LogError),
}

/// What the threads share.
struct Work {
    source: TableSource,
    files: Vec<ArrowReaderMetadata>,
    /// File and row group.
    groups: Vec<(usize, usize)>,
    sound: Sound,
}

impl Stored {
    /// Begins to read. Pages up to `as_of` count; rows have those columns of a placement and its page
    /// that are `shown`, and `extras`.
    pub(crate) fn begin(
        engine: &Engine,
        source: &TableSource,
        as_of: i64,
        shown: &[&str],
        extras: &[&Extra],
    ) -> Result<Self, LogError> {
        let mut files = Vec::new();
        for path in &source.files {
            let file = open(path)?;
            let metadata = ArrowReaderMetadata::load(&file, Default::default());
            files.push(metadata.map_err(|source| damaged(path, source))?);
        }
        let groups: Vec<(usize, usize)> = files
            .iter()
            .enumerate()
            .flat_map(|(at, file)| {
                (0..file.metadata().num_row_groups()).map(move |group| (at, group))
            })
            .collect();
        let sound = Sound::new(source, Pages::read(engine, shown)?, as_of, shown, extras);
        let schema = sound.schema();
        let threads = engine.threads().clamp(1, MOST_THREADS);
        let work = Arc::new(Work {
            source: source.clone(),
            files,
            groups,
            sound,
        });
        let lanes = (0..threads).map(|lane| {
            let (sender, lane_of) = sync_channel(WAITING);
            let work = work.clone();
            // Ends by itself: when it has sent all, or when nobody receives any more.
            thread::spawn(move || work.send(lane, threads, &sender));
            lane_of
        });
        Ok(Self {
            schema,
            lanes: lanes.collect(),
            group: 0,
            groups: work.groups.len(),
            gave_up: false,
            last_impression: None,
            ascending: true,
        })
    }

    /// Whether the log is not what it has to be, so that what was given is void.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether each impression had a larger id than the one before, so that none repeats.
    pub(crate) fn impressions_ascend(&self) -> bool {
        self.ascending
    }
}

impl Ordered for Stored {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        while !self.gave_up && self.group < self.groups {
            let lane = &self.lanes[self.group % self.lanes.len()];
            match lane
                .recv()
                .expect("a thread sends the end of what it reads")
            {
                Message::Batch(batch) => {
                    let impressions = batch.column(2).as_primitive::<Int64Type>().values();
                    for &impression in impressions {
                        self.ascending &= self.last_impression.is_none_or(|last| last < impression);
                        self.last_impression = Some(impression);
                    }
                    return Ok(Some(batch));
                }
                Message::End => self.group += 1,
                Message::Unsound => self.gave_up = true,
                Message::Failed(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Work {
    /// Reads every `lanes`-th row group from the `lane`-th on.
    fn send(&self, lane: usize, lanes: usize, sender: &SyncSender<Message>) {
        for &(file, group) in self.groups.iter().skip(lane).step_by(lanes) {
            let sent = match self.read(file, group, sender) {
                Ok(true) => sender.send(Message::End).is_ok(),
                // Nobody listens, or nobody needs to.
                Ok(false) => false,
                Err(error) => {
                    let _ = sender.send(Message::Failed(error));
                    false
                }
            };
            if !sent {
                return;
            }
        }
    }

    /// Sends the batches of a row group; false where it is no use to go on.
    fn read(
        &self,
        at: usize,
        group: usize,
        sender: &SyncSender<Message>,
    ) -> Result<bool, LogError> {
        let (path, metadata) = (&self.source.files[at], &self.files[at]);
        let roots = self.sound.columns_of(metadata, group);
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open(path)?, metadata.clone());
        let batches = builder
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(ROWS)
            .build()
            .map_err(|source| damaged(path, source))?;
        for batch in batches {
            let batch = batch.map_err(|source| damaged(path, source.into()))?;
            let message = match self.sound.rows(&batch)? {
                Some(rows) if rows.num_rows() == 0 => continue,
                Some(rows) => Message::Batch(rows),
                None => Message::Unsound,
            };
            let go_on = matches!(message, Message::Batch(_));
            if sender.send(message).is_err() || !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn open(path: &std::path::Path) -> Result<File, LogError> {
    File::open(path).map_err(|source| LogError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

fn damaged(path: &std::path::Path, source: parquet::errors::ParquetError) -> LogError {
    LogError::Damaged {
        file: path.to_owned(),
        source,
    }
}
