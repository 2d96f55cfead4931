//! How much memory a job takes, and into how many passes it is divided to stay within what it may.
//!
//! What is held at once is the engine's sorts and the small sides of its joins (pages, items), then
//! events and the placements they want, then keys and their counts. The first spills to disk within a
//! pool; the others are divided by a hash into passes. Numbers are upper estimates from the sizes of
//! the tables: a user of a million events costs no more than a million users of one.

use serde::Serialize;

use crate::history::{Frame, Subject};
use crate::history_options::HistoryKey;
use crate::{Attribution, EngineOptions, LogError, LogSource};

/// The program itself, its threads, and batches on their way: Parquet pages being decoded and encoded.
pub(crate) const BASE: u64 = 160 << 20;
/// A page in the hash table of a join, with its short texts.
const PAGE: u64 = 120;
/// An item in the hash table of a join, without extra columns.
const ITEM: u64 = 160;
/// An extra column of an item.
const EXTRA: u64 = 24;
/// An event, its entries in the sets by which placements are looked for, and a placement it wants.
const EVENT: u64 = 380;
/// A purchase or click as a mark of one kind of key.
const MARK: u64 = 72;
/// A key in a dictionary, without its counts.
const KEY: u64 = 56;
/// An event in a sequence.
const STEP: u64 = 56;

/// What a job takes and how it is divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Most bytes the job may take; none where there is no limit.
    pub limit: Option<u64>,
    /// Bytes the engine's sorts and aggregates share; none where there is no limit.
    pub pool: Option<u64>,
    /// Shares into which events and keys are divided.
    pub passes: u32,
    /// Pages and items as small sides of joins, in bytes.
    pub joins: u64,
    /// Events and the placements they want, in one pass, in bytes.
    pub attribution: u64,
    /// Keys of history and their counts, in one pass, in bytes.
    pub history: u64,
    /// Events of user sequences, in one pass, in bytes.
    pub sequences: u64,
    /// Fewest bytes the job can do with.
    pub needed: u64,
}

impl Memory {
    /// Divides a job.
    ///
    /// # Errors
    /// [`LogError::Memory`] where the limit is below what the job needs in any number of passes.
    pub(crate) fn plan(
        source: &LogSource,
        attribution: &Attribution,
        engine: &EngineOptions,
    ) -> Result<Self, LogError> {
        attribution.check_keys(source)?;
        let rows = |name: &str| {
            let tables = source.rows();
            let found = tables.iter().find(|(table, _)| *table == name);
            found.map_or(0, |(_, rows)| *rows)
        };
        let (slots, pages) = (rows("slot_impression"), rows("page_impression"));
        let (events, items) = (rows("event"), rows("item"));
        let extras = source.item.as_ref().map_or(0, |item| item.extras().count()) as u64;
        let joins = pages * PAGE + items * (ITEM + extras * EXTRA);
        let of_subject = |(subject, frame): &(Subject, Frame)| {
            let shown = slots * u64::from(frame.rows);
            let keys = match subject {
                Subject::Key(HistoryKey::User) => shown.min(pages) + events,
                Subject::Key(HistoryKey::UserCategory) => shown + events,
                Subject::Key(_) if items > 0 => shown.min(items) + events.min(items),
                Subject::Key(_) => shown + events,
                Subject::Pair => events,
            };
            keys * (KEY + 4 * frame.width() as u64) + events * MARK
        };
        let attribution_all = events * EVENT;
        let history_all: u64 = attribution.subjects().iter().map(of_subject).sum();
        let sequences_all = events * STEP * u64::from(attribution.sequence.is_some());
        let most = attribution_all.max(history_all).max(sequences_all);

        let needed = BASE + joins + joins / 4;
        let asked = match engine.memory {
            None => 1,
            Some(limit) if limit < needed => {
                return Err(LogError::Memory {
                    given: limit,
                    needed,
                });
            }
            // The rest is for batches on their way and for the allocator.
            Some(limit) => most.div_ceil((limit - BASE).max(1) / 2).clamp(1, 4096) as u32,
        };
        let passes = engine.passes.unwrap_or(asked).max(1);
        let share = |all: u64| all.div_ceil(u64::from(passes));
        Ok(Self {
            limit: engine.memory,
            pool: engine.memory.map(|limit| (limit - BASE) / 2 + joins / 2),
            passes,
            joins,
            attribution: share(attribution_all),
            history: share(history_all),
            sequences: share(sequences_all),
            needed,
        })
    }
}
