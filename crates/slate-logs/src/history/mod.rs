//! What was known of a placement's item, user, seller and category before its page.
//!
//! Each [`Group`] counts for one kind of key: impressions, clicks and standing purchases in sliding
//! windows, or what buyers did with a pair of items ([`crate::pairs`]). In one pass the counts are
//! made while the rows are written. In several, each pass takes the keys of its share of hashes,
//! leaves its counts in a file, and the files are laid beside the rows: every number is the same.

mod counter;
mod keys;
mod trail;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use rayon::prelude::*;

pub(crate) use counter::{Counter, Frame, Mark};
pub(crate) use keys::{IdMap, Key, Texts, id_pass, mix};
pub(crate) use trail::{CountFile, CountReader};

use crate::LogError;
use crate::attribution::Event;
use crate::history_options::HistoryKey;
use crate::rows::Rows;

/// What a group of columns is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One of the keys of history.
    Key(HistoryKey),
    /// The page's item and the placement's.
    Pair,
}

impl Subject {
    /// The key of row `at`.
    fn of_row(self, rows: &Rows, at: usize) -> Option<Key> {
        match self {
            Self::Key(HistoryKey::Item) => Some(Key::one(rows.item[at])),
            Self::Key(HistoryKey::User) => rows.user.get(at).map(Key::one),
            Self::Key(HistoryKey::Seller) => rows.seller.get(at).map(Key::one),
            Self::Key(HistoryKey::Category) => rows.category.get(at).map(Key::one),
            Self::Key(HistoryKey::UserCategory) => {
                let (user, category) = (rows.user.get(at)?, rows.category.get(at)?);
                Some(Key::two(user, category))
            }
            Self::Pair => Some(Key::two(rows.seed.get(at)?, rows.item[at])),
        }
    }

    /// The key of an event; pairs are made of several events and have none.
    pub(crate) fn of_event(self, event: &Event) -> Option<Key> {
        match self {
            Self::Key(HistoryKey::Item) => Some(Key::one(event.item)),
            Self::Key(HistoryKey::User) => event.user.map(Key::one),
            Self::Key(HistoryKey::Seller) => event.seller.map(Key::one),
            Self::Key(HistoryKey::Category) => event.category.map(Key::one),
            Self::Key(HistoryKey::UserCategory) => Some(Key::two(event.user?, event.category?)),
            Self::Pair => None,
        }
    }
}

/// Columns that are counted together.
pub(crate) struct Group {
    subject: Subject,
    frame: Frame,
    source: Source,
    /// Counts that become columns, by their place among those of a row.
    kept: Vec<usize>,
    keys: Vec<Option<Key>>,
    counts: Vec<i32>,
}

enum Source {
    /// Counts while the rows go by.
    Counter(Box<Counter>),
    /// What each pass has counted.
    Passes(Vec<CountReader>),
}

/// All groups, ready to count or already counted.
pub(crate) struct History {
    groups: Vec<Group>,
}

/// What is counted for one kind of key, and which of the counts become columns.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) subject: Subject,
    pub(crate) frame: Frame,
    /// By their place among the counts of a row.
    pub(crate) kept: Vec<usize>,
}

impl Wish {
    /// Those of these subjects of which some column is wanted; `wanted` says it of each column, subject
    /// by subject.
    pub(crate) fn of(subjects: Vec<(Subject, Frame)>, wanted: &[bool]) -> Vec<Self> {
        let mut first = 0;
        let wishes = subjects.into_iter().map(|(subject, frame)| {
            let columns = first..first + frame.width();
            first = columns.end;
            let kept = columns.clone().filter(|&column| wanted[column]);
            Self {
                kept: kept.map(|column| column - columns.start).collect(),
                subject,
                frame,
            }
        });
        wishes.filter(|wish| !wish.kept.is_empty()).collect()
    }
}

impl History {
    /// For each wish its columns, in order. `marks` gives those of a pass, by wish; `rows` reads all
    /// placements anew.
    pub(crate) fn prepare(
        wishes: &[Wish],
        passes: u32,
        work: &Path,
        mut marks: impl FnMut(u32) -> Result<Vec<Vec<Mark>>, LogError>,
        mut rows: impl FnMut(&mut dyn FnMut(&Rows) -> Result<(), LogError>) -> Result<(), LogError>,
    ) -> Result<Self, LogError> {
        let counters = |marks: Vec<Vec<Mark>>| -> Result<Vec<Group>, LogError> {
            let each = wishes.iter().zip(marks).enumerate();
            each.map(|(at, (wish, marks))| {
                let trail = work.join(format!("history-{at}.trail"));
                let counter = Counter::new(wish.frame.clone(), &marks, &trail)?;
                Ok(Group::new(wish, Source::Counter(Box::new(counter))))
            })
            .collect()
        };
        if passes == 1 || wishes.is_empty() {
            let groups = counters(marks(0)?)?;
            return Ok(Self { groups });
        }
        let mut readers: Vec<Vec<CountReader>> = wishes.iter().map(|_| Vec::new()).collect();
        for pass in 0..passes {
            let mut groups = counters(marks(pass)?)?;
            let mut files = Vec::new();
            for at in 0..wishes.len() {
                let path = work.join(format!("history-{at}-{pass}.counts"));
                files.push(CountFile::create(&path)?);
            }
            rows(&mut |rows| {
                groups
                    .par_iter_mut()
                    .zip(&mut files)
                    .try_for_each(|(group, file)| group.leave(rows, pass, passes, file))
            })?;
            for (readers, file) in readers.iter_mut().zip(files) {
                readers.push(file.read()?);
            }
        }
        let groups = wishes.iter().zip(readers);
        let groups = groups.map(|(wish, readers)| Group::new(wish, Source::Passes(readers)));
        Ok(Self {
            groups: groups.collect(),
        })
    }

    /// The counts of the next rows, group by group, windows first within a group.
    pub(crate) fn count(&mut self, rows: &Rows) -> Result<Vec<ArrayRef>, LogError> {
        let count = |group: &mut Group| -> Result<Vec<ArrayRef>, LogError> {
            group.count(rows)?;
            Ok(group.columns(rows.len()))
        };
        // One alone is not worth a word with other threads.
        if let [group] = self.groups.as_mut_slice() {
            return count(group);
        }
        let columns: Result<Vec<Vec<ArrayRef>>, LogError> =
            self.groups.par_iter_mut().map(count).collect();
        Ok(columns?.into_iter().flatten().collect())
    }
}

impl Group {
    fn new(wish: &Wish, source: Source) -> Self {
        Self {
            subject: wish.subject,
            frame: wish.frame.clone(),
            source,
            kept: wish.kept.clone(),
            keys: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn take_keys(&mut self, rows: &Rows) {
        let subject = self.subject;
        self.keys.clear();
        self.keys
            .extend((0..rows.len()).map(|at| subject.of_row(rows, at)));
    }

    fn count(&mut self, rows: &Rows) -> Result<(), LogError> {
        self.take_keys(rows);
        match &mut self.source {
            Source::Counter(counter) => counter.count(&rows.ts, &self.keys, &mut self.counts),
            Source::Passes(readers) => {
                let (width, passes) = (self.frame.width(), readers.len() as u32);
                self.counts.clear();
                for key in &self.keys {
                    match key {
                        Some(key) => {
                            let reader = &mut readers[key.pass(passes) as usize];
                            reader.next(width, &mut self.counts)?;
                        }
                        None => self.counts.extend(std::iter::repeat_n(0, width)),
                    }
                }
                Ok(())
            }
        }
    }

    /// Counts the rows whose keys belong to this pass, and leaves their counts in a file.
    fn leave(
        &mut self,
        rows: &Rows,
        pass: u32,
        passes: u32,
        file: &mut CountFile,
    ) -> Result<(), LogError> {
        self.take_keys(rows);
        let Source::Counter(counter) = &mut self.source else {
            return Ok(());
        };
        let mine = |key: &Key| key.pass(passes) == pass;
        let ts: Vec<i64> = rows
            .ts
            .iter()
            .zip(&self.keys)
            .filter(|(_, key)| key.is_some_and(|key| mine(&key)))
            .map(|(ts, _)| *ts)
            .collect();
        self.keys.retain(|key| key.is_some_and(|key| mine(&key)));
        counter.count(&ts, &self.keys, &mut self.counts)?;
        file.write(&self.counts)
    }

    fn columns(&self, rows: usize) -> Vec<ArrayRef> {
        let width = self.frame.width();
        let column = |at: usize| -> ArrayRef {
            let values = (0..rows).map(|row| self.counts[row * width + at]);
            Arc::new(Int32Array::from_iter_values(values))
        };
        self.kept.iter().map(|&at| column(at)).collect()
    }
}
