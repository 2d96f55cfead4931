//! What each shard must hold, read from the log here: how many rows, and the hash of them all.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::share;
use crate::LogError;
use crate::engine::Engine;
use crate::row_hash::RowHasher;

/// Rows of a shard, in whatever order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) rows: u64,
    pub(crate) hash: u128,
}

impl Sum {
    pub(crate) fn add(&mut self, row: u128) {
        self.rows += 1;
        self.hash = self.hash.wrapping_add(row);
    }
}

/// What all shards must hold.
pub(crate) struct Census {
    /// Columns of the placements.
    pub(crate) schema: SchemaRef,
    pub(crate) shards: Vec<Sum>,
}

impl Census {
    /// Reads the placements in any order.
    pub(crate) fn take(
        engine: &Engine,
        sql: &str,
        shards: u32,
        told: &dyn Fn(u64),
    ) -> Result<Self, LogError> {
        let mut batches = engine.stream("count placements", sql)?;
        let mut census = Self {
            schema: batches.schema(),
            shards: vec![Sum::default(); shards as usize],
        };
        while let Some(batch) = batches.next()? {
            census.add(&batch);
            told(batch.num_rows() as u64);
        }
        Ok(census)
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let shards = shards_of(batch, self.shards.len() as u32);
        for (row, shard) in RowHasher::default().hash(batch.columns()).zip(shards) {
            self.shards[shard as usize].add(row);
        }
    }
}

/// The shard of each placement of a batch.
pub(crate) fn shards_of(batch: &RecordBatch, shards: u32) -> impl Iterator<Item = u32> {
    let number = |name: &str| {
        let column = batch
            .column_by_name(name)
            .expect("the query names every known column");
        column.as_primitive::<Int64Type>()
    };
    let (user, ts) = (number("user_id"), number("ts"));
    (0..batch.num_rows()).map(move |at| {
        let user = user.is_valid(at).then(|| user.value(at));
        share::of(user, ts.value(at), shards)
    })
}
