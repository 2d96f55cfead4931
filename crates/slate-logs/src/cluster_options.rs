//! Where a cluster is, how a job is cut for it, and what became of the pieces.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::LogError;

/// Placements of a shard, where nobody says how many shards there are.
const ROWS_OF_A_SHARD: u64 = 2_000_000;
/// Most shards: the merge keeps a file open for each.
pub(crate) const MOST_SHARDS: u32 = 256;

/// A Ballista cluster that puts placements in order. Its nodes must see the log under the same path as
/// this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// `ballista://host:port` of its scheduler.
    pub url: String,
    /// Into how many jobs the placements are divided by a hash of the user; by their number where left
    /// out. The output does not depend on it.
    pub shards: Option<u32>,
    /// Longest that a shard may take before it is begun again.
    pub timeout: Duration,
    /// Where finished shards wait for the others, also from one attempt at a job to the next. Whoever
    /// asked for the job removes it when the output is in place.
    pub folder: PathBuf,
}

impl ClusterOptions {
    /// Into how many shards so many rows are divided.
    pub(crate) fn shards_of(&self, rows: u64) -> u32 {
        let by_rows = rows.div_ceil(ROWS_OF_A_SHARD) as u32;
        self.shards.unwrap_or(by_rows.max(4)).clamp(1, MOST_SHARDS)
    }

    /// Refuses a cluster where this build knows none.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        if cfg!(feature = "cluster") {
            Ok(())
        } else {
            Err(self.not_built())
        }
    }

    pub(crate) fn not_built(&self) -> LogError {
        LogError::NoCluster {
            address: self.url.clone(),
        }
    }
}

/// What became of a job on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// Executors at the beginning; none where the scheduler does not tell.
    pub executors: Option<usize>,
    /// Jobs that the placements were divided into.
    pub shards: u32,
    /// Shards that an earlier attempt had left.
    pub kept: u32,
    /// Attempts that were thrown away.
    pub discarded: Vec<DiscardedShard>,
}

/// An attempt at a shard that was thrown away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DiscardedShard {
    /// From 0.
    pub shard: u32,
    /// From 1.
    pub attempt: u32,
    /// What was wrong with it.
    pub reason: String,
}
