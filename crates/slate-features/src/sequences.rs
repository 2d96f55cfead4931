//! Reading `sequences.parquet`: what the person of each list did last, list by list.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, UInt8Type},
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::FeatureError;

/// One event of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) item: i64,
    pub(crate) kind: u8,
    pub(crate) ts: i64,
}

/// The sequences of a file, from front to back.
pub(crate) struct Sequences {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    at: usize,
    row: u64,
    /// The list given last, and its events.
    last: Option<(i64, Vec<Step>)>,
    /// Whether lists may stand before the first that is asked for.
    skips: bool,
}

impl Sequences {
    /// With `skips` the first list that is asked for may stand anywhere.
    ///
    /// # Errors
    /// A file that is no Parquet or lacks a column.
    pub(crate) fn open(path: &Path, skips: bool) -> Result<Self, FeatureError> {
        let file = File::open(path).map_err(FeatureError::io("open", path))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(FeatureError::parquet(path))?;
        for column in ["list_id", "item_id", "type", "ts"] {
            if builder.schema().index_of(column).is_err() {
                return Err(FeatureError::MissingColumn {
                    file: path.to_path_buf(),
                    column: column.to_owned(),
                    wanted_by: "`features.history`".to_owned(),
                    available: Vec::new(),
                });
            }
        }
        let reader = builder
            .with_batch_size(2048)
            .build()
            .map_err(FeatureError::parquet(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            batch: None,
            at: 0,
            row: 0,
            last: None,
            skips,
        })
    }

    /// The last `most` events before the next list, which must be `list`; oldest first.
    ///
    /// # Errors
    /// [`FeatureError::Order`] where the file has another list here.
    pub(crate) fn next(&mut self, list: i64, most: usize) -> Result<Vec<Step>, FeatureError> {
        let order = |problem: String, row| FeatureError::Order {
            file: self.path.clone(),
            row,
            problem,
        };
        if let Some((last, steps)) = &self.last
            && *last == list
        {
            // Another piece of a list that was split.
            return Ok(steps.clone());
        }
        loop {
            if let Some(batch) = &self.batch
                && self.at < batch.num_rows()
            {
                let column = |name: &str| batch.column_by_name(name).expect("checked when opened");
                let found = column("list_id").as_primitive::<Int64Type>().value(self.at);
                if found != list && self.skips && self.last.is_none() {
                    self.at += 1;
                    self.row += 1;
                    continue;
                }
                if found != list {
                    let problem = format!("list {found} stands here, expected list {list}");
                    return Err(order(problem, self.row));
                }
                let of = |name: &str| column(name).as_list::<i32>().value(self.at);
                let (items, kinds, times) = (of("item_id"), of("type"), of("ts"));
                let items = items.as_primitive::<Int64Type>();
                let kinds = kinds.as_primitive::<UInt8Type>();
                let times = times.as_primitive::<Int64Type>();
                let skipped = items.len().saturating_sub(most);
                let step = |at: usize| Step {
                    item: items.value(at),
                    kind: kinds.value(at),
                    ts: times.value(at),
                };
                let steps: Vec<Step> = (skipped..items.len()).map(step).collect();
                self.last = Some((list, steps.clone()));
                self.at += 1;
                self.row += 1;
                return Ok(steps);
            }
            match self.reader.next() {
                None => {
                    let problem = format!("the file ends here, expected list {list}");
                    return Err(order(problem, self.row));
                }
                Some(batch) => {
                    self.batch = Some(batch.map_err(FeatureError::arrow(&self.path))?);
                    self.at = 0;
                }
            }
        }
    }
}
