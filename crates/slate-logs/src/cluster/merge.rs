//! Sorted shards merged into one sorted sequence of batches, and counted once more on the way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;

use super::Lock;
use super::census::Census;
use super::shard_file::{Checker, Place, Places};
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
    /// Nobody else touches the shards while they are read.
    _lock: Lock,
}

struct Head {
    path: PathBuf,
    reader: StreamReader<BufReader<File>>,
    checker: Checker,
    batch: RecordBatch,
    places: Places,
    at: usize,
}

impl Head {
    /// Reads the next batch with rows; false at the end.
    fn advance(&mut self) -> Result<bool, LogError> {
        for batch in self.reader.by_ref() {
            let batch = batch.map_err(|error| spoilt(&self.path, error.to_string()))?;
            let checked = self.checker.add(&batch);
            checked.map_err(|reason| spoilt(&self.path, reason))?;
            if batch.num_rows() > 0 {
                self.places = Places::of(&batch);
                self.batch = batch;
                self.at = 0;
                return Ok(true);
            }
        }
        let whole = self.checker.finish();
        whole.map_err(|reason| spoilt(&self.path, reason))?;
        Ok(false)
    }
}

/// A shard that is no longer what was checked.
fn spoilt(path: &Path, reason: String) -> LogError {
    LogError::SpoiltShard {
        path: path.to_owned(),
        reason,
    }
}

impl Merge {
    /// Opens the shards, each at its place in `paths`.
    pub(super) fn open(paths: &[PathBuf], census: &Census, lock: Lock) -> Result<Self, LogError> {
        let mut merge = Self {
            schema: census.schema.clone(),
            heads: Vec::new(),
            next: BinaryHeap::new(),
            _lock: lock,
        };
        for (path, shard) in paths.iter().zip(0..) {
            let file = File::open(path).map_err(|source| LogError::Io {
                action: "open",
                path: path.clone(),
                source,
            })?;
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 16, file), None)
                .map_err(|error| spoilt(path, error.to_string()))?;
            let batch = RecordBatch::new_empty(census.schema.clone());
            let mut head = Head {
                path: path.clone(),
                reader,
                checker: Checker::new(shard, census),
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
            let mut paths = Vec::new();
            for shard in 0..shards {
                let share: Vec<Row> = share_of(&rows, shard, shards);
                paths.push(write(folder.path(), shard, &census, &share).unwrap());
            }
            let lock = Lock::take(folder.path()).unwrap();
            let mut merge = Merge::open(&paths, &census, lock).unwrap();
            let mut merged = Vec::new();
            while let Some(batch) = merge.next().unwrap() {
                merged.push(batch);
            }
            let merged = arrow::compute::concat_batches(&census.schema, &merged).unwrap();
            prop_assert_eq!(merged, batch(&rows));
        }
    }

    #[test]
    fn a_shard_that_changes_after_its_check_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = (1..=4).map(|id| (id, 1, 1, 0, id, Some(7), 0.0)).collect();
        let census = census(&rows, 1);
        let path = write(folder.path(), 0, &census, &rows).unwrap();
        let other = tempfile::tempdir().unwrap();
        let changed: Vec<Row> = rows
            .iter()
            .map(|row| (row.0, row.1, row.2, row.3, row.4, row.5, 1.0))
            .collect();
        let changed_census = super::super::shard_file::tests::census(&changed, 1);
        let changed = write(other.path(), 0, &changed_census, &changed).unwrap();
        std::fs::copy(changed, &path).unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let mut merge = Merge::open(&[path], &census, lock).unwrap();
        let error = loop {
            match merge.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the change was not seen"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("not the same"), "{error}");
    }
}
