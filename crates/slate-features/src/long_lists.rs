//! Cutting and splitting lists that are too long, block by block.

use std::ops::Range;

use arrow::{
    array::{RecordBatch, UInt64Array},
    compute::take_record_batch,
    error::ArrowError,
};
use slate_types::ListOffsets;

use crate::spec::{ListLimit, OverLong};

/// How many lists a rule met, and what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Lists that were too long.
    pub(crate) lists: u64,
    /// Rows left out of them.
    pub(crate) rows_cut: u64,
    /// Lists they became.
    pub(crate) pieces: u64,
}

/// The rows and lists that a rule leaves of a block, and for rows that are fewer the row of the block
/// that each was.
pub(crate) fn limit(
    batch: &RecordBatch,
    lists: ListOffsets,
    rule: ListLimit,
    limited: &mut Limited,
) -> Result<(RecordBatch, ListOffsets, Option<Vec<u64>>), ArrowError> {
    let ListLimit { most, over_long } = rule;
    if lists.iter().all(|rows| rows.len() <= most) {
        return Ok((batch.clone(), lists, None));
    }
    let mut lengths = Vec::new();
    let mut kept: Vec<Range<usize>> = Vec::new();
    for rows in lists.iter() {
        let pieces = rows.len().div_ceil(most);
        if pieces > 1 {
            limited.lists += 1;
        }
        match over_long {
            OverLong::Cut => {
                let end = rows.end.min(rows.start + most);
                limited.rows_cut += (rows.end - end) as u64;
                lengths.push((end - rows.start) as u64);
                kept.push(rows.start..end);
            }
            OverLong::Split => {
                if pieces > 1 {
                    limited.pieces += pieces as u64;
                }
                let starts = rows.clone().step_by(most);
                lengths.extend(starts.map(|start| most.min(rows.end - start) as u64));
            }
        }
    }
    let lists = ListOffsets::from_lengths(lengths).expect("no list is empty");
    if over_long == OverLong::Split {
        return Ok((batch.clone(), lists, None));
    }
    let rows: Vec<u64> = kept.into_iter().flatten().map(|row| row as u64).collect();
    let batch = take_record_batch(batch, &UInt64Array::from(rows.clone()))?;
    Ok((batch, lists, Some(rows)))
}
