//! Reading `examples.parquet` list by list, in bounded memory.
//!
//! The file has one row per placement, sorted by page time, page, list and slot. It is read in
//! batches of rows and cut where a list ends, so a reader holds a few batches and their longest list,
//! whatever the size of the file. Only the columns that are asked for are decoded. Rows out of
//! order are an error, since a list met twice would be two lists and a later row could be trained
//! on before an earlier one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int64Type, SchemaRef},
    error::ArrowError,
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use slate_types::{FormatVersion, ListOffsets};

use crate::{
    Block, FeatureError,
    ahead::Ahead,
    long_lists::{Limited, limit},
    spec::{ListLimit, made},
    split::Window,
    taste::{Past, TasteFeature},
};

/// Newest layout of `examples.parquet` this crate reads.
pub const EXAMPLES_FORMAT: FormatVersion = FormatVersion(1);
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;
/// Batches decoded before they are asked for.
const BATCHES_AHEAD: usize = 4;
/// The columns that say where a list begins and ends.
const KEYS: [&str; 3] = ["ts", "page_id", "list_id"];

/// An `examples.parquet`, opened and its footer read.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    path: PathBuf,
    schema: SchemaRef,
    /// `slate.label_as_of` of the footer.
    pub(crate) label_as_of: Option<String>,
    /// Rows of the whole file.
    pub(crate) rows: u64,
    /// What becomes of long lists, in every reading alike.
    limit: Option<ListLimit>,
    /// Lists outside are not read.
    window: Option<Window>,
    /// Columns that are made while reading.
    made: Vec<Arc<TasteFeature>>,
}

impl Examples {
    pub(crate) fn open(path: &Path) -> Result<Self, FeatureError> {
        let builder = builder(path)?;
        let file = builder.metadata().file_metadata();
        let value = |key: &str| {
            let pairs = file.key_value_metadata()?;
            pairs.iter().find(|pair| pair.key == key)?.value.clone()
        };
        if let Some(format) = value("slate.format") {
            // A version that is no number is as unknown as one from the future.
            FormatVersion(format.parse().unwrap_or(0))
                .check("examples", EXAMPLES_FORMAT)
                .map_err(|source| FeatureError::Version {
                    file: path.to_path_buf(),
                    source,
                })?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            label_as_of: value("slate.label_as_of"),
            rows: file.num_rows().max(0) as u64,
            schema: builder.schema().clone(),
            limit: None,
            window: None,
            made: Vec::new(),
        })
    }

    /// The same file with a rule about long lists.
    pub(crate) fn limited(self, limit: Option<ListLimit>) -> Self {
        Self { limit, ..self }
    }

    /// The same file without the lists outside of a window.
    pub(crate) fn within(self, window: Window) -> Self {
        let window = (!window.is_all()).then_some(window);
        Self { window, ..self }
    }

    /// The same file with columns made of it behind its own.
    ///
    /// # Errors
    /// [`FeatureError::Option`] where the file has a column of such a name.
    pub(crate) fn with(&self, tastes: &[TasteFeature]) -> Result<Self, FeatureError> {
        let entries = tastes.iter().enumerate();
        self.refuse_made(entries.flat_map(|(at, own)| made(at, &own.name, own.trend.as_ref())))?;
        Ok(Self {
            made: tastes.iter().cloned().map(Arc::new).collect(),
            ..self.clone()
        })
    }

    /// An error where a column that is to be made is there already.
    pub(crate) fn refuse_made<'a>(
        &self,
        mut names: impl Iterator<Item = (String, &'a str)>,
    ) -> Result<(), FeatureError> {
        match names.find(|(_, name)| self.schema.index_of(name).is_ok()) {
            None => Ok(()),
            Some((part, name)) => Err(FeatureError::option(
                format!("{part}.name"),
                format!("`{name}`, the name of a column of the log"),
                "a name of its own",
            )),
        }
    }

    /// Whether the first list that is read may not be the first of the file.
    pub(crate) fn is_windowed(&self) -> bool {
        self.window.is_some()
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        let is_made = || self.made.iter().any(|taste| taste.makes(column));
        self.schema.index_of(column).is_ok() || is_made()
    }

    /// An error unless the column is there. `wanted_by` names who needs it.
    pub(crate) fn require(&self, column: &str, wanted_by: &str) -> Result<(), FeatureError> {
        if self.has(column) {
            return Ok(());
        }
        Err(FeatureError::MissingColumn {
            file: self.path.clone(),
            column: column.to_owned(),
            wanted_by: wanted_by.to_owned(),
            available: self
                .schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        })
    }

    /// Reads these columns and the three that name the list, from the first row on. Columns that
    /// are not in the file are left out.
    pub(crate) fn blocks(&self, columns: &[&str]) -> Result<Blocks, FeatureError> {
        for key in KEYS {
            self.require(key, "every dataset")?;
        }
        let builder = builder(&self.path)?;
        let asked = |taste: &&Arc<TasteFeature>| columns.iter().any(|column| taste.makes(column));
        let made: Vec<&Arc<TasteFeature>> = self.made.iter().filter(asked).collect();
        let read: Vec<&str> = made.iter().flat_map(|taste| taste.columns()).collect();
        // Names are those of top-level columns, and their order in the file is kept.
        let wanted = (0..self.schema.fields().len()).filter(|&index| {
            let name = self.schema.field(index).name().as_str();
            KEYS.contains(&name) || columns.contains(&name) || read.contains(&name)
        });
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let batches = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(FeatureError::parquet(&self.path))?;
        Ok(Blocks {
            path: self.path.clone(),
            batches: Ahead::new(batches, BATCHES_AHEAD),
            rest: None,
            kept: None,
            first_row: 0,
            last_key: None,
            limit: self.limit,
            limited: Limited::default(),
            window: self.window,
            outside: 0,
            made: made.into_iter().map(Past::new).collect(),
            held: Vec::new(),
            held_ts: None,
        })
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, FeatureError> {
    let file = File::open(path).map_err(FeatureError::io("open", path))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(FeatureError::parquet(path))
}

/// The blocks of a file, from front to back.
pub(crate) struct Blocks {
    path: PathBuf,
    batches: Ahead<Result<RecordBatch, ArrowError>>,
    /// The last list of what was read, which may go on, and the keys of its rows.
    rest: Option<(RecordBatch, Vec<Key>)>,
    /// What was read beyond the end of that list.
    kept: Option<RecordBatch>,
    first_row: u64,
    /// Time, page and list of the last list given out.
    last_key: Option<Key>,
    limit: Option<ListLimit>,
    /// What the rule about long lists has done so far.
    pub(crate) limited: Limited,
    window: Option<Window>,
    /// Rows outside of the window so far.
    pub(crate) outside: u64,
    made: Vec<Past>,
    /// Rows of a moment that may go on, where columns are made, and that moment.
    held: Vec<RecordBatch>,
    held_ts: Option<i64>,
}

impl Iterator for Blocks {
    type Item = Result<Block, FeatureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

impl Blocks {
    fn next_block(&mut self) -> Result<Option<Block>, FeatureError> {
        loop {
            let next = match self.kept.take() {
                Some(batch) => Some(batch),
                None => self.read()?,
            };
            let Some(batch) = next else {
                let rest = self.rest.take();
                return rest.map(|(rest, keys)| self.give(&rest, &keys)).transpose();
            };
            let rows = batch.num_rows();
            if rows == 0 {
                continue;
            }
            let before = self.rest.as_ref().map_or(0, |(rest, _)| rest.num_rows());
            let mut lists = keys(&batch, &self.path, self.first_row + before as u64)?;
            if let Some((rest, mut begun)) = self.rest.take() {
                // The list that was begun, to its end: a few rows, so that no more is copied.
                let end = lists.iter().take_while(|list| **list == begun[0]).count();
                let whole = [&rest, &batch.slice(0, end)];
                let whole = concat_batches(&batch.schema(), whole);
                let whole = whole.map_err(FeatureError::arrow(&self.path))?;
                begun.extend_from_slice(&lists[..end]);
                if end == rows {
                    self.rest = Some((whole, begun));
                    continue;
                }
                self.kept = Some(batch.slice(end, rows - end));
                return self.give(&whole, &begun).map(Some);
            }
            let last = lists[rows - 1];
            let end = lists.iter().rposition(|list| *list != last);
            let end = end.map_or(0, |row| row + 1);
            self.rest = Some((batch.slice(end, rows - end), lists.split_off(end)));
            if end > 0 {
                return self.give(&batch.slice(0, end), &lists).map(Some);
            }
        }
    }

    /// The next rows of the file, those outside of the window left out; perhaps none of a batch.
    fn read(&mut self) -> Result<Option<RecordBatch>, FeatureError> {
        let next = if self.made.is_empty() {
            self.decoded()?
        } else {
            self.with_made_columns()?
        };
        let Some(batch) = next else {
            return Ok(None);
        };
        let Some(window) = self.window else {
            return Ok(Some(batch));
        };
        // Sorted by time, so what is inside lies together.
        let keys = keys(&batch, &self.path, self.first_row)?;
        let before = keys.iter().take_while(|key| key[0] < window.from).count();
        let inside = keys[before..].iter().take_while(|key| window.has(key[0]));
        let inside = inside.count();
        self.outside += (batch.num_rows() - inside) as u64;
        self.first_row += before as u64;
        Ok(Some(batch.slice(before, inside)))
    }

    fn decoded(&mut self) -> Result<Option<RecordBatch>, FeatureError> {
        let batch = self.batches.next().transpose();
        batch.map_err(FeatureError::arrow(&self.path))
    }

    /// The next moments of the file, all rows of each, with the columns that are made of them: before the window
    /// is looked at, since the past of what is inside may lie outside.
    fn with_made_columns(&mut self) -> Result<Option<RecordBatch>, FeatureError> {
        let begun = self.rest.as_ref().map_or(0, |(rest, _)| rest.num_rows());
        let first_row = self.first_row + begun as u64;
        let whole = loop {
            let Some(batch) = self.decoded()? else {
                break std::mem::take(&mut self.held);
            };
            let keys = keys(&batch, &self.path, first_row)?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
                continue;
            };
            let tail = keys.iter().rev().take_while(|key| key[0] == last[0]);
            let end = keys.len() - tail.count();
            let goes_on = self.held_ts.replace(last[0]) == Some(first[0]);
            if end == 0 && (goes_on || self.held.is_empty()) {
                self.held.push(batch);
                continue;
            }
            let tail = batch.slice(end, keys.len() - end);
            let mut whole = std::mem::replace(&mut self.held, vec![tail]);
            whole.push(batch.slice(0, end));
            break whole;
        };
        let Some(one) = whole.first() else {
            return Ok(None);
        };
        let mut batch =
            concat_batches(&one.schema(), &whole).map_err(FeatureError::arrow(&self.path))?;
        for past in &mut self.made {
            batch = past.extend(&batch, &self.path, first_row)?;
        }
        Ok(Some(batch))
    }

    /// Rows of whole lists with these keys as a block, their order checked.
    fn give(&mut self, batch: &RecordBatch, keys: &[Key]) -> Result<Block, FeatureError> {
        let rows = batch.num_rows();
        let lists = ListOffsets::from_runs(keys);
        for range in lists.iter() {
            let key = keys[range.start];
            if let Some(last) = self.last_key
                && key <= last
            {
                return Err(FeatureError::Order {
                    file: self.path.clone(),
                    row: self.first_row + range.start as u64,
                    problem: format!(
                        "list {} at {} follows list {} at {}",
                        key[2], key[0], last[2], last[0]
                    ),
                });
            }
            if let Some(last) = self.last_key
                && key[2] == last[2]
            {
                return Err(FeatureError::Order {
                    file: self.path.clone(),
                    row: self.first_row + range.start as u64,
                    problem: format!("list {} is on two pages or at two times", key[2]),
                });
            }
            self.last_key = Some(key);
        }
        let (batch, lists, origin) = match self.limit {
            None => (batch.clone(), lists, None),
            Some(rule) => limit(batch, lists, rule, &mut self.limited)
                .map_err(FeatureError::arrow(&self.path))?,
        };
        let block = Block::new(&batch, lists, self.path.clone(), self.first_row)?;
        self.first_row += rows as u64;
        Ok(block.with_origin(origin))
    }
}

/// Time, page and list of a row.
type Key = [i64; 3];

/// Those of each row.
fn keys(batch: &RecordBatch, path: &Path, first_row: u64) -> Result<Vec<Key>, FeatureError> {
    let indices = KEYS.map(|key| batch.schema().index_of(key).expect("keys are always read"));
    let as_they_are = indices.map(|index| {
        let array = batch.column(index).as_primitive_opt::<Int64Type>()?;
        (array.null_count() == 0).then(|| array.values().clone())
    });
    let [ts, page, list] = if let [Some(ts), Some(page), Some(list)] = as_they_are {
        [ts, page, list]
    } else {
        // Of another type, or with an error to tell.
        let only_keys = batch.project(&indices).map_err(FeatureError::arrow(path))?;
        let block = Block::of_rows(&only_keys, path.to_path_buf(), first_row)?;
        let [ts, page, list] = KEYS.map(|key| block.integers(key));
        [ts?, page?, list?].map(|array| array.values().clone())
    };
    let each = ts.iter().zip(&page).zip(&list);
    Ok(each.map(|((&ts, &page), &list)| [ts, page, list]).collect())
}
