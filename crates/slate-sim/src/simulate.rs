//! The whole log: months in order, chunks in parallel, one writer.
//!
//! Chunks are made a window at a time by the threads of the current rayon pool, while one more
//! thread writes the window before. Memory holds the catalogue, one month's plan and three windows,
//! whatever the number of pages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rayon::prelude::*;
use serde::Serialize;
use slate_types::log::LOG_FORMAT;
use slate_types::{FormatVersion, Progress, Seed};

use crate::behaviour::Behaviour;
use crate::catalogue::Catalogue;
use crate::chunk::{Chunk, World};
use crate::config::{Market, MarketConfig};
use crate::error::SimError;
use crate::plan;
use crate::season::Season;
use crate::table_file::TableFile;
use crate::table_files::TableFiles;
use crate::tables;
use crate::tuning;

/// Items of one batch.
const ITEM_BATCH: usize = 4096;
/// Chunks of a window, per thread.
const WINDOW: usize = 4;

/// What a simulated log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Pages shown.
    pub pages: u64,
    /// Placements on them.
    pub slots: u64,
    /// Placements clicked.
    pub clicks: u64,
    /// Placements bought, those cancelled later included.
    pub purchases: u64,
    /// Purchases cancelled.
    pub cancels: u64,
    /// Rows of the table `event`, noise included.
    pub events: u64,
    /// Events that repeat another exactly.
    pub duplicates: u64,
    /// Events after their window had closed.
    pub late: u64,
    /// Events on items their user was never shown.
    pub orphans: u64,
    /// Events that never reached the log, by a [`crate::Shock`]. All counts but `events` include them.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// Items, those that start later included.
    pub items: u64,
    /// Users of the market, whether they came or not.
    pub users: u64,
    /// Time of the first page, in microseconds.
    pub first_ts: i64,
    /// Time of the last page, in microseconds.
    pub last_ts: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Counts while the log grows.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) pages: u64,
    pub(crate) slots: u64,
    pub(crate) clicks: u64,
    pub(crate) purchases: u64,
    pub(crate) cancels: u64,
    pub(crate) events: u64,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) orphans: u64,
    pub(crate) lost: u64,
    first_ts: i64,
    last_ts: i64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            pages: 0,
            slots: 0,
            clicks: 0,
            purchases: 0,
            cancels: 0,
            events: 0,
            duplicates: 0,
            late: 0,
            orphans: 0,
            lost: 0,
            first_ts: i64::MAX,
            last_ts: i64::MIN,
        }
    }
}

impl Tally {
    /// Counts a page.
    pub(crate) fn page(&mut self, ts: i64, slots: usize) {
        self.pages += 1;
        self.slots += slots as u64;
        self.first_ts = self.first_ts.min(ts);
        self.last_ts = self.last_ts.max(ts);
    }

    fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.slots += other.slots;
        self.clicks += other.clicks;
        self.purchases += other.purchases;
        self.cancels += other.cancels;
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.orphans += other.orphans;
        self.lost += other.lost;
        self.first_ts = self.first_ts.min(other.first_ts);
        self.last_ts = self.last_ts.max(other.last_ts);
    }
}

/// Simulates a market and writes its log to `out`, a folder that exists and is empty:
/// `page_impression`, `slot_impression`, `event`, `item` and `truth` as Parquet, each one file or, but
/// for `item`, parted by month ([`crate::Files`]), and `manifest.json`.
///
/// The same market and seed give the same bytes at any number of threads. Rows are grouped by month
/// and user, not sorted by time.
///
/// # Errors
/// [`SimError::RateOutOfReach`] and [`SimError::CatalogueTooSmall`] for settings that cannot be met
/// together; [`SimError::Io`] and [`SimError::Parquet`] where a file cannot be written.
pub fn simulate(
    market: &Market,
    seed: Seed,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Summary, SimError> {
    let catalogue = Catalogue::new(market, seed);
    // A shock must not move the intercepts, and with them every other month.
    let behaviour = tuning::tune(&market.calm(), &catalogue, seed)?;
    let mut tables = BTreeMap::new();
    tables.insert("item", write_items(market, &catalogue, out, progress)?);

    progress.begin("pages", Some(market.config().pages), "pages");
    let written = thread::scope(|scope| {
        // One window waits while the next is made.
        let (sender, receiver) = sync_channel(1);
        let writer = scope.spawn(|| write_chunks(receiver, out, progress));
        let made = make_chunks(market, &catalogue, &behaviour, seed, &sender);
        // The writer ends when nobody can send any more.
        drop(sender);
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the writer stopped early the maker did too, and the writer knows why.
        let written = written?;
        made?;
        Ok(written)
    });
    progress.end();
    let (tally, rows) = written?;
    tables.extend(rows);

    let summary = Summary {
        pages: tally.pages,
        slots: tally.slots,
        clicks: tally.clicks,
        purchases: tally.purchases,
        cancels: tally.cancels,
        events: tally.events,
        duplicates: tally.duplicates,
        late: tally.late,
        orphans: tally.orphans,
        lost: tally.lost,
        items: catalogue.items.len() as u64,
        users: market.config().users,
        first_ts: tally.first_ts,
        last_ts: tally.last_ts,
    };
    write_manifest(market, seed, &summary, &tables, out)?;
    Ok(summary)
}

fn write_items(
    market: &Market,
    catalogue: &Catalogue,
    out: &Path,
    progress: &dyn Progress,
) -> Result<u64, SimError> {
    let count = catalogue.items.len();
    progress.begin("items", Some(count as u64), "items");
    let mut file = TableFile::new(out.join("item.parquet"));
    let starts: Vec<usize> = (0..count).step_by(ITEM_BATCH).collect();
    for window in starts.chunks(rayon::current_num_threads()) {
        let batches: Vec<_> = window
            .par_iter()
            .map(|&start| {
                tables::item_batch(market, catalogue, start..count.min(start + ITEM_BATCH))
            })
            .collect();
        for batch in &batches {
            file.write(batch)?;
            progress.advance(batch.num_rows() as u64);
        }
    }
    progress.end();
    file.finish()
}

/// Makes the chunks of all months and hands them on in order. Ends early without an error when
/// nobody takes them any more.
fn make_chunks(
    market: &Market,
    catalogue: &Catalogue,
    behaviour: &Behaviour,
    seed: Seed,
    sender: &SyncSender<Vec<Chunk>>,
) -> Result<(), SimError> {
    let window = WINDOW * rayon::current_num_threads();
    for month in 0..market.config().months {
        let season = &Season::new(market, catalogue, seed, month);
        let world = World {
            market,
            catalogue,
            season,
            behaviour,
            seed,
        };
        for visits in plan::chunks(market, seed, month)?.chunks(window) {
            let made: Vec<_> = visits
                .par_iter()
                .map(|visits| world.chunk(visits))
                .collect();
            let chunks = made.into_iter().collect::<Result<Vec<_>, _>>()?;
            if sender.send(chunks).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

type Written = (Tally, [(&'static str, u64); 4]);

fn write_chunks(
    receiver: Receiver<Vec<Chunk>>,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Written, SimError> {
    let names = ["page_impression", "slot_impression", "event", "truth"];
    let mut tables = names.map(|name| TableFiles::new(out, name));
    let mut tally = Tally::default();
    for chunk in receiver.into_iter().flatten() {
        let parted = [&chunk.pages, &chunk.slots, &chunk.events, &chunk.truth];
        for (table, batches) in tables.iter_mut().zip(parted) {
            table.finish_before(chunk.first)?;
            for (part, batch) in batches {
                table.write(*part, batch)?;
            }
        }
        tally.add(&chunk.tally);
        progress.advance(chunk.tally.pages);
    }
    let mut rows = names.map(|name| (name, 0));
    for (table, row) in tables.into_iter().zip(&mut rows) {
        row.1 = table.finish()?;
    }
    Ok((tally, rows))
}

/// The file that says what the folder is. It names no time of day, so that runs can be compared.
#[derive(Serialize)]
struct Manifest<'a> {
    format: FormatVersion,
    kind: &'static str,
    source: &'static str,
    seed: Seed,
    config: &'a MarketConfig,
    counts: &'a Summary,
    tables: &'a BTreeMap<&'static str, u64>,
}

fn write_manifest(
    market: &Market,
    seed: Seed,
    summary: &Summary,
    tables: &BTreeMap<&'static str, u64>,
    out: &Path,
) -> Result<(), SimError> {
    let manifest = Manifest {
        format: LOG_FORMAT,
        kind: "log",
        source: "simulate",
        seed,
        config: market.config(),
        counts: summary,
        tables,
    };
    let mut text = serde_json::to_string_pretty(&manifest)
        .expect("a manifest is plain numbers, texts and lists");
    text.push('\n');
    let path = out.join("manifest.json");
    let write = || {
        let mut file = File::create_new(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| SimError::Io {
        path: path.clone(),
        source,
    })
}
