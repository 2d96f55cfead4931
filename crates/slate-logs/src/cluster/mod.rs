//! Placements put in order by an Apache DataFusion Ballista cluster, shard by shard, and not believed
//! before they are counted.
//!
//! A cluster that loses an executor can stall, or return rows twice without an error. So each shard,
//! a share of the placements by a hash of the user, is a job of its own with a deadline. This process
//! reads the log once without sorting it, and knows of each shard how many rows it has and the hash of
//! them all. What comes back is written beside, held against that, and renamed when it agrees; a shard
//! that does not, or during which an executor left, is thrown away and begun again. A shard on disk is
//! known by the same hash, so a job that was killed takes up what is there, and nothing else needs to
//! be remembered of it. In the end the shards are merged.

mod ballista;
mod census;
mod merge;
mod node;
mod shard_file;
pub(crate) mod share;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use slate_types::Progress;

use self::ballista::Cluster;
use self::census::Census;
use self::shard_file::ShardWriter;
use crate::engine::Engine;
use crate::{ClusterOptions, ClusterReport, DiscardedShard, LogError, plan};

pub(crate) use self::merge::Merge;
pub use self::node::{run_executor, run_scheduler};

/// How often a shard is begun before the cluster is given up.
const ATTEMPTS: u32 = 8;
/// Most shards under way at once, however many executors there are.
const MOST_AT_ONCE: usize = 8;

/// Why a shard did not come out.
enum Failure {
    /// The cluster's doing: to be tried again.
    Cluster(String),
    /// This machine's doing.
    Ours(LogError),
}

/// Puts the rows of `sql`, `rows` of them at most, in the order of the output.
pub(crate) fn in_order(
    engine: &Engine,
    options: &ClusterOptions,
    sql: &str,
    rows: u64,
    progress: &dyn Progress,
) -> Result<(Merge, ClusterReport), LogError> {
    let cluster = Cluster::connect(engine, &options.url)?;
    let executors = cluster.executors()?;
    let shards = options.shards_of(rows);
    progress.begin("count what the cluster must give", Some(rows), "rows");
    let census = Census::take(engine, sql, shards, &|rows| progress.advance(rows))?;
    progress.end();

    fs::create_dir_all(&options.folder).map_err(|source| LogError::Io {
        action: "create",
        path: options.folder.clone(),
        source,
    })?;
    progress.begin("order placements on the cluster", Some(rows), "rows");
    let mut missing = BTreeSet::new();
    for shard in 0..shards {
        if shard_file::is_whole(&options.folder, shard, &census) {
            progress.advance(census.shards[shard as usize].rows);
        } else {
            missing.insert(shard);
        }
    }
    let report = ClusterReport {
        executors: executors.as_ref().map(BTreeSet::len),
        shards,
        kept: shards - missing.len() as u32,
        discarded: Vec::new(),
    };
    let at_once = executors
        .map_or(2, |executors| executors.len())
        .clamp(1, MOST_AT_ONCE);
    let job = Job {
        cluster,
        options,
        sql,
        census: &census,
        missing: Mutex::new(missing),
        stopped: AtomicBool::new(false),
    };
    let report = job.run(at_once, report, progress)?;
    progress.end();
    Ok((Merge::open(&options.folder, &census)?, report))
}

/// What the threads that wait for shards share.
struct Job<'a> {
    cluster: Cluster<'a>,
    options: &'a ClusterOptions,
    sql: &'a str,
    census: &'a Census,
    missing: Mutex<BTreeSet<u32>>,
    /// One of them failed for good.
    stopped: AtomicBool,
}

/// What a thread has to tell.
enum News {
    Done { rows: u64 },
    Discarded(DiscardedShard),
}

impl Job<'_> {
    fn run(
        &self,
        at_once: usize,
        mut report: ClusterReport,
        progress: &dyn Progress,
    ) -> Result<ClusterReport, LogError> {
        let (sender, news) = mpsc::channel();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once)
                .map(|_| {
                    let sender = sender.clone();
                    scope.spawn(move || self.work(&sender))
                })
                .collect();
            drop(sender);
            for news in news {
                match news {
                    News::Done { rows } => progress.advance(rows),
                    News::Discarded(shard) => {
                        progress.note(&format!("shard {}: {}", shard.shard, shard.reason));
                        report.discarded.push(shard);
                    }
                }
            }
            for thread in threads {
                thread.join().expect("a waiting thread does not panic")?;
            }
            Ok(())
        })?;
        report.discarded.sort();
        Ok(report)
    }

    /// Takes shards until none is missing.
    fn work(&self, sender: &Sender<News>) -> Result<(), LogError> {
        loop {
            let next = self
                .missing
                .lock()
                .expect("no thread panics with the lock")
                .pop_first();
            let Some(shard) = next else {
                return Ok(());
            };
            if let Err(error) = self.bring(shard, sender) {
                self.stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Begins a shard until it comes out right.
    fn bring(&self, shard: u32, sender: &Sender<News>) -> Result<(), LogError> {
        let mut reason = String::new();
        for attempt in 1..=ATTEMPTS {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            match self.attempt(shard) {
                Ok(()) => {
                    let rows = self.census.shards[shard as usize].rows;
                    // The receiver outlives the threads.
                    let _ = sender.send(News::Done { rows });
                    return Ok(());
                }
                Err(Failure::Ours(error)) => return Err(error),
                Err(Failure::Cluster(why)) => {
                    reason.clone_from(&why);
                    let _ = sender.send(News::Discarded(DiscardedShard {
                        shard,
                        attempt,
                        reason: why,
                    }));
                }
            }
            self.cluster.wait_until_well()?;
        }
        Err(LogError::Shard {
            address: self.options.url.clone(),
            shard,
            attempts: ATTEMPTS,
            reason,
        })
    }

    fn attempt(&self, shard: u32) -> Result<(), Failure> {
        let before = self.cluster.executors().map_err(Failure::Ours)?;
        let mut file =
            ShardWriter::create(&self.options.folder, shard, self.census).map_err(Failure::Ours)?;
        let sql = plan::shard_rows(self.sql, shard, self.census.shards.len() as u32);
        self.cluster
            .run(&sql, self.options.timeout, |batch| file.write(batch))?;
        let after = self.cluster.executors().map_err(Failure::Ours)?;
        if let (Some(before), Some(after)) = (before, after)
            && let Some(left) = before.difference(&after).next()
        {
            return Err(Failure::Cluster(format!("executor {left} left meanwhile")));
        }
        file.finish()
    }
}
