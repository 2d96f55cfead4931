//! Placements put in order by an Apache DataFusion Ballista cluster, shard by shard, and not believed
//! before they are counted.
//!
//! A cluster that loses an executor can stall, or return rows twice without an error. So each shard,
//! a share of the placements by a hash of the user, is a job of its own with a deadline. This process
//! reads the log once without sorting it, and knows of each shard how many rows it has and the hash of
//! them all. What comes back is written beside, held against that, and renamed when it agrees; a shard
//! that does not, or during which an executor left, is thrown away and begun again. A shard on disk is
//! known by the same hash, so a job that was killed takes up what is there, and nothing else needs to
//! be remembered of it. In the end the shards are merged, and held against the log once more.

mod ballista;
mod census;
mod merge;
mod node;
mod shard_file;
pub(crate) mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
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

/// Puts the rows of `sql`, `rows` of them at most, in the order of the output, in so many shards.
pub(crate) fn in_order(
    engine: &Engine,
    (options, shards): (&ClusterOptions, u32),
    sql: &str,
    rows: u64,
    progress: &dyn Progress,
) -> Result<(Merge, ClusterReport), LogError> {
    let cluster = Cluster::connect(engine, &options.url)?;
    let executors = cluster.executors()?;
    let lock = Lock::take(&options.folder)?;
    progress.begin("count what the cluster must give", Some(rows), "rows");
    let census = Census::take(engine, sql, shards, &|rows| progress.advance(rows))?;
    progress.end();

    progress.begin("order placements on the cluster", Some(rows), "rows");
    let (mut missing, mut whole) = (BTreeSet::new(), BTreeMap::new());
    for shard in 0..shards {
        if let Some(path) = shard_file::find(&options.folder, shard, &census) {
            progress.advance(census.shards[shard as usize].rows);
            whole.insert(shard, path);
        } else {
            missing.insert(shard);
        }
    }
    let report = ClusterReport {
        executors: executors.as_ref().map(BTreeSet::len),
        shards,
        kept: whole.len() as u32,
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
        whole: Mutex::new(whole),
        stopped: AtomicBool::new(false),
    };
    let report = job.run(at_once, report, progress);
    progress.end();
    let report = report?;
    let whole = job.whole.into_inner().expect("no thread panics with it");
    let paths: Vec<PathBuf> = whole.into_values().collect();
    Ok((Merge::open(&paths, &census, lock)?, report))
}

/// A folder of shards that nobody else works in, until this is dropped.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never looked at")] File);

impl Lock {
    /// Makes the folder where it is missing.
    fn take(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join("lock");
        let io = |action, source| LogError::Io {
            action,
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(|source| io("create", source))?;
        let file = File::create(&path).map_err(|source| io("create", source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LogError::ShardsInUse {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(io("lock", source)),
        }
    }
}

/// What the threads that wait for shards share.
struct Job<'a> {
    cluster: Cluster<'a>,
    options: &'a ClusterOptions,
    sql: &'a str,
    census: &'a Census,
    missing: Mutex<BTreeSet<u32>>,
    /// Where those are that are done.
    whole: Mutex<BTreeMap<u32, PathBuf>>,
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
                .expect("no thread panics with it")
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
                Ok(path) => {
                    let mut whole = self.whole.lock().expect("no thread panics with it");
                    whole.insert(shard, path);
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

    fn attempt(&self, shard: u32) -> Result<PathBuf, Failure> {
        let before = self.cluster.executors().map_err(Failure::Ours)?;
        let mut file =
            ShardWriter::create(&self.options.folder, shard, self.census).map_err(Failure::Ours)?;
        let ran = if self.census.shards[shard as usize].rows == 0 {
            // Nothing to ask for.
            Ok(())
        } else {
            let sql = plan::shard_rows(self.sql, shard, self.census.shards.len() as u32);
            let watch = ballista::Watch {
                limit: self.options.timeout,
                executors: before.as_ref(),
                stopped: &self.stopped,
            };
            self.cluster.run(&sql, watch, |batch| file.write(batch))
        };
        let ran = ran.and_then(|()| {
            let after = self.cluster.executors().map_err(Failure::Ours)?;
            ballista::all_stayed(before.as_ref(), after.as_ref()).map_err(Failure::Cluster)
        });
        match ran {
            Ok(()) => file.finish(),
            Err(failure) => {
                file.discard();
                Err(failure)
            }
        }
    }
}
