//! Sorted shards merged into one sorted sequence of batches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;

use super::census::Census;
use super::shard_file::{self, Place, Places, failed};
use crate::LogError;
use crate::order::Ordered;

/// Rows of a merged batch.
const ROWS: usize = 8192;

/// All shards, each at its next row.
pub(crate) struct Merge {
    schema: SchemaRef,
    heads: Vec<Head>,
    /// The next place of each shard that has more, and which one.
    next: BinaryHeap<Reverse<(Place, usize)>>,
}

struct Head {
    path: PathBuf,
    reader: StreamReader<BufReader<File>>,
    batch: RecordBatch,
    places: Places,
    at: usize,
}

impl Head {
    /// Reads the next batch with rows; false at the end.
    fn advance(&mut self) -> Result<bool, LogError> {
        for batch in self.reader.by_ref() {
            let batch = batch.map_err(|error| failed(&self.path, error))?;
            if batch.num_rows() > 0 {
                self.places = Places::of(&batch);
                self.batch = batch;
                self.at = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Merge {
    pub(super) fn open(folder: &Path, census: &Census) -> Result<Self, LogError> {
        let mut merge = Self {
            schema: census.schema.clone(),
            heads: Vec::new(),
            next: BinaryHeap::new(),
        };
        for shard in 0..census.shards.len() as u32 {
            let path = shard_file::path(folder, shard, census);
            let file = File::open(&path).map_err(|source| LogError::Io {
                action: "open",
                path: path.clone(),
                source,
            })?;
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 18, file), None)
                .map_err(|error| failed(&path, error))?;
            let batch = RecordBatch::new_empty(census.schema.clone());
            let mut head = Head {
                path,
                reader,
                places: Places::of(&batch),
                batch,
                at: 0,
            };
            if head.advance()? {
                let which = merge.heads.len();
                merge.next.push(Reverse((head.places.at(0), which)));
                merge.heads.push(head);
            }
        }
        Ok(merge)
    }
}

impl Ordered for Merge {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        // The batches that rows are taken from, and where in them each row is.
        let mut batches: Vec<RecordBatch> =
            self.heads.iter().map(|head| head.batch.clone()).collect();
        let mut current: Vec<usize> = (0..batches.len()).collect();
        let mut rows = Vec::with_capacity(ROWS);
        while rows.len() < ROWS
            && let Some(Reverse((_, which))) = self.next.pop()
        {
            let head = &mut self.heads[which];
            rows.push((current[which], head.at));
            head.at += 1;
            if head.at == head.places.len() {
                if !head.advance()? {
                    continue;
                }
                current[which] = batches.len();
                batches.push(head.batch.clone());
            }
            self.next.push(Reverse((head.places.at(head.at), which)));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        interleave_record_batch(&batches, &rows)
            .map(Some)
            .map_err(|source| LogError::Engine {
                stage: "merge the shards",
                source: Box::new(source.into()),
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shard_file::tests::{Row, batch, census, rows, share_of, write};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn merged_shards_are_the_sorted_rows(rows in rows(), shards in 1_u32..9) {
            let folder = tempfile::tempdir().unwrap();
            let census = census(&rows, shards);
            for shard in 0..shards {
                let share: Vec<Row> = share_of(&rows, shard, shards);
                prop_assert_eq!(write(folder.path(), shard, &census, &share), Ok(()));
            }
            let mut merge = Merge::open(folder.path(), &census).unwrap();
            let mut merged = Vec::new();
            while let Some(batch) = merge.next().unwrap() {
                merged.push(batch);
            }
            let merged = arrow::compute::concat_batches(&census.schema, &merged).unwrap();
            prop_assert_eq!(merged, batch(&rows));
        }
    }
}
