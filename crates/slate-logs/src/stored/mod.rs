//! Placements as they are stored, checked while they are read, by several threads at once.
//!
//! Most logs are sound. Such a log need not be read once to be checked and again to be sorted: here each
//! batch is decoded, held against the checks and laid beside its pages, and the first one that does not
//! pass ends it all ([`Stored::gave_up`]). Then the engine reads the log, says what is wrong with which
//! rows, and sorts.
//!
//! Threads take row groups in turn, and one more hands their batches on in the order of the files, while
//! whoever takes them does other things. A log that is not stored in the order of the output is held in
//! memory, if there is enough, and put in order there; most often its first rows tell, else it is read
//! again ([`Stored::again_sorted`]). Columns that are checked and not passed on are not even decoded where
//! the statistics of a row group vouch for its whole numbers.

mod pages;
mod sorted;
mod sound;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use self::pages::Pages;
use self::sorted::{Sorted, Unsorted};
use self::sound::{Impressions, Slots, Sound};
use crate::LogError;
use crate::engine::Engine;
use crate::order::Ordered;
use crate::source::{TableSource, damaged, footer, open_file};
use crate::tables::Extra;

/// Rows of a batch.
const ROWS: usize = 8192;
/// The same where batches are held to be sorted: the fewer, the sooner rows are found in them.
const ROWS_HELD: usize = 65_536;
/// Batches that may wait, of all threads together: with two threads a row group of 200 thousand rows each.
const WAITING: usize = 48;
/// Most threads: more would only hold more batches.
const MOST_THREADS: usize = 8;
/// Batches of rows that may wait to be taken.
const READY: usize = 8;

/// The placements of a sound log, on their way from threads that read them.
pub(crate) struct Stored {
    work: Arc<Work>,
    threads: usize,
    /// Most bytes of placements that may be held to be sorted; none where there is no limit.
    most: Option<u64>,
    /// Whether they are sorted on the way.
    sort: bool,
    /// None once nobody asks any more.
    given: Option<Receiver<Given>>,
    end: Option<End>,
    stop: Arc<AtomicBool>,
    /// None once it has ended.
    thread: Option<JoinHandle<()>>,
}

/// What comes from the thread that hands rows on.
enum Given {
    Rows(RecordBatch),
    End(End),
    Failed(LogError),
}

/// How it ended.
#[derive(Clone, Copy)]
struct End {
    gave_up: bool,
    ascend: bool,
}

/// What hands rows on, on a thread of its own: whoever takes them finds the next ones made.
struct Handing {
    work: Arc<Work>,
    sort: bool,
    most: Option<u64>,
    reading: Reading,
    /// All rows in order, once they are there.
    sorted: Option<Sorted>,
    last_impression: Option<i64>,
    ascending: bool,
}

/// Threads that read row groups.
struct Reading {
    /// What each sends; none once nobody asks any more.
    lanes: Vec<Receiver<Message>>,
    threads: Vec<JoinHandle<()>>,
    /// The row group that is next, and how many there are.
    group: usize,
    groups: usize,
    gave_up: bool,
}

enum Message {
    Rows(RecordBatch, Impressions),
    /// Rows whose pages are laid beside them when they are sorted.
    Slots(Slots, Impressions),
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
    /// that are `shown`, and `extras`. None where they would have to be sorted and are too many.
    pub(crate) fn begin(
        engine: &Engine,
        source: &TableSource,
        as_of: i64,
        shown: &[&str],
        extras: &[&Extra],
    ) -> Result<Option<Self>, LogError> {
        let files = source.files.iter().map(|path| footer(path));
        let files: Vec<ArrowReaderMetadata> = files.collect::<Result<_, _>>()?;
        let groups: Vec<(usize, usize)> = files
            .iter()
            .enumerate()
            .flat_map(|(at, file)| {
                (0..file.metadata().num_row_groups()).map(move |group| (at, group))
            })
            .collect();
        let sound = Sound::new(source, Pages::read(engine, shown)?, as_of, shown, extras);
        let work = Arc::new(Work {
            source: source.clone(),
            files,
            groups,
            sound,
        });
        let sort = !work.seems_in_order()?;
        let (threads, most) = (engine.threads().clamp(1, MOST_THREADS), engine.may_hold());
        let fits = !sort || work.may_be_sorted(most);
        Ok(fits.then(|| Self::hand_on(work, threads, most, sort)))
    }

    /// Reads everything once more, to give it in the order of the output; none where that cannot be, or
    /// was done.
    pub(crate) fn again_sorted(self) -> Option<Self> {
        let again = !self.sort && !self.gave_up() && self.work.may_be_sorted(self.most);
        let (work, threads, most) = (self.work.clone(), self.threads, self.most);
        // Its threads have ended before others begin.
        drop(self);
        again.then(|| Self::hand_on(work, threads, most, true))
    }

    fn hand_on(work: Arc<Work>, threads: usize, most: Option<u64>, sort: bool) -> Self {
        let (sender, given) = sync_channel(READY);
        let stop = Arc::new(AtomicBool::new(false));
        let handing = Handing {
            reading: Reading::begin(&work, threads, sort, &stop),
            work: work.clone(),
            sort,
            most,
            sorted: None,
            last_impression: None,
            ascending: true,
        };
        let thread = thread::spawn(move || handing.run(&sender));
        Self {
            work,
            threads,
            most,
            sort,
            given: Some(given),
            end: None,
            stop,
            thread: Some(thread),
        }
    }

    /// Whether the log is not what it has to be, or too large, so that what was given is void.
    pub(crate) fn gave_up(&self) -> bool {
        self.end.is_some_and(|end| end.gave_up)
    }

    /// Whether each impression had a larger id than the one before it in the files, so that none repeats.
    pub(crate) fn impressions_ascend(&self) -> bool {
        self.end.is_some_and(|end| end.ascend)
    }
}

impl Ordered for Stored {
    fn schema(&self) -> SchemaRef {
        self.work.sound.schema()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.given.as_ref().map(Receiver::recv) {
            Some(Ok(Given::Rows(rows))) => Ok(Some(rows)),
            Some(Ok(Given::Failed(error))) => Err(error),
            Some(Ok(Given::End(end))) => {
                self.end = Some(end);
                Ok(None)
            }
            Some(Err(RecvError)) | None => match self.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                Some(Ok(())) | None => Ok(None),
            },
        }
    }
}

impl Drop for Stored {
    /// Ends all threads: no file stays open, and no processor busy.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever waits to be heard hears that nobody listens.
        self.given = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been told, or what it was about is not wanted any more.
            let _ = thread.join();
        }
    }
}

impl Handing {
    fn run(mut self, sender: &SyncSender<Given>) {
        loop {
            let given = match self.next() {
                Ok(Some(rows)) => Given::Rows(rows),
                Ok(None) => Given::End(End {
                    gave_up: self.reading.gave_up,
                    ascend: self.ascending,
                }),
                Err(error) => Given::Failed(error),
            };
            let go_on = matches!(given, Given::Rows(_));
            // Nobody listening is as good as the end.
            if sender.send(given).is_err() || !go_on {
                return;
            }
        }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        if self.sort && self.sorted.is_none() {
            let mut unsorted = Unsorted::default();
            while let Some(message) = self.reading.next()? {
                if let Message::Slots(slots, impressions) = message {
                    self.look_at(&impressions);
                    unsorted.add(slots, &self.work.sound);
                    let bytes = unsorted.bytes();
                    self.reading.gave_up |= self.most.is_some_and(|most| bytes > most);
                }
            }
            if self.reading.gave_up {
                return Ok(None);
            }
            self.sorted = Some(Sorted::new(unsorted, &self.work.sound));
        }
        if let Some(sorted) = &mut self.sorted {
            return sorted.next(&self.work.sound);
        }
        while let Some(Message::Rows(rows, impressions)) = self.reading.next()? {
            self.look_at(&impressions);
            if rows.num_rows() > 0 {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    fn look_at(&mut self, ids: &Impressions) {
        if let Some((first, last)) = ids.ends {
            let follow = self.last_impression.is_none_or(|last| last < first);
            self.ascending &= ids.ascend && follow;
            self.last_impression = Some(last);
        }
    }
}

impl Reading {
    fn begin(work: &Arc<Work>, threads: usize, sort: bool, stop: &Arc<AtomicBool>) -> Self {
        let lanes = (0..threads).map(|lane| {
            let (sender, receiver) = sync_channel(WAITING / threads);
            let (work, stop) = (work.clone(), stop.clone());
            // Ends by itself: when it has sent all, is told to, or when nobody receives any more.
            let send = move || work.send((lane, threads), sort, &stop, &sender);
            (receiver, thread::spawn(send))
        });
        let (lanes, threads) = lanes.unzip();
        Self {
            lanes,
            threads,
            group: 0,
            groups: work.groups.len(),
            gave_up: false,
        }
    }

    /// The next rows in the order of the files, none at the end.
    fn next(&mut self) -> Result<Option<Message>, LogError> {
        while !self.gave_up && self.group < self.groups {
            let lane = &self.lanes[self.group % self.lanes.len()];
            match lane.recv() {
                Ok(Message::End) => self.group += 1,
                // Where a decoder panicked, the engine will say what it thinks of the file.
                Ok(Message::Unsound) | Err(RecvError) => self.gave_up = true,
                Ok(Message::Failed(error)) => return Err(error),
                Ok(rows) => return Ok(Some(rows)),
            }
        }
        Ok(None)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // Where a decoder panicked, `next` has said that all is void.
            let _ = thread.join();
        }
    }
}

impl Work {
    /// Whether the pages of the first rows come in the order of the output. A log in which they do is
    /// most often in order as a whole, and one in which they do not never is.
    fn seems_in_order(&self) -> Result<bool, LogError> {
        let Some(&(at, group)) = self.groups.first() else {
            return Ok(true);
        };
        let path = &self.source.files[at];
        let first = self
            .batches(at, group, ROWS)?
            .and_then(|mut batches| batches.next());
        let Some(batch) = first else { return Ok(true) };
        let batch = batch.map_err(|source| damaged(path, source.into()))?;
        // What is not sound is found by whoever reads it all.
        let slots = self.sound.slots(&batch)?;
        Ok(slots.is_none_or(|(slots, _)| self.sound.pages().ascend(&slots.pages)))
    }

    /// Whether numbers and places alone would fit: texts are only known when they are there.
    fn may_be_sorted(&self, most: Option<u64>) -> bool {
        let columns = self.sound.schema().fields().len() as u64;
        let bytes = self.source.rows * (16 + 8 * columns);
        most.is_none_or(|most| bytes <= most)
    }

    /// Reads every `lanes`-th row group from the `lane`-th on.
    fn send(
        &self,
        (lane, lanes): (usize, usize),
        sort: bool,
        stop: &AtomicBool,
        sender: &SyncSender<Message>,
    ) {
        for &(file, group) in self.groups.iter().skip(lane).step_by(lanes) {
            let sent = match self.read((file, group), sort, stop, sender) {
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

    /// Sends the batches of a row group, to be sorted or as they are; false where it is no use to go on.
    fn read(
        &self,
        (at, group): (usize, usize),
        sort: bool,
        stop: &AtomicBool,
        sender: &SyncSender<Message>,
    ) -> Result<bool, LogError> {
        let path = &self.source.files[at];
        // Its buffers are as large as a batch, whatever is in them.
        let rows = self.files[at].metadata().row_group(group).num_rows().max(1) as usize;
        let size = rows.min(if sort { ROWS_HELD } else { ROWS });
        let Some(batches) = self.batches(at, group, size)? else {
            // Nobody listening is as good as being heard.
            let _ = sender.send(Message::Unsound);
            return Ok(false);
        };
        for batch in batches {
            let batch = batch.map_err(|source| damaged(path, source.into()))?;
            let message = match self.sound.slots(&batch)? {
                Some((slots, ids)) if sort => Message::Slots(slots, ids),
                Some((slots, ids)) => Message::Rows(self.sound.rows(&slots)?, ids),
                None => Message::Unsound,
            };
            let go_on = !matches!(message, Message::Unsound);
            if sender.send(message).is_err() || !go_on || stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The batches of a row group with the columns that have to be read; none where the file has become
    /// another.
    fn batches(
        &self,
        at: usize,
        group: usize,
        size: usize,
    ) -> Result<Option<ParquetRecordBatchReader>, LogError> {
        let (path, metadata) = (&self.source.files[at], &self.files[at]);
        let Some(roots) = self.sound.columns_of(metadata, group) else {
            return Ok(None);
        };
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open_file(path)?, metadata.clone());
        let batches = builder
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(size)
            .build();
        batches.map(Some).map_err(|source| damaged(path, source))
    }
}
