//! One page on its way to the tensors: what each feature read, what it made of it, and where that went.
//!
//! The map is read or fitted, and applied, by the functions that [`crate::build`] calls, so the numbers
//! are those of the dataset to the bit.

mod explain;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use slate_types::{Progress, Split};

use crate::{
    Applier, Block, FeatureError, FeatureMap, FeatureSpec, Inputs, SplitSpec, TimeSplit,
    build::{KNOWN_OR_NAN, MapSource, REQUIRED, flags, in_stage, open, prepare, rows, usable},
    data::SplitData,
    multi::ExtrasApplier,
    sequences::Sequences,
};

/// What [`trace`] finds out about a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PageFeatures {
    /// SHA-256 of the feature map, as in manifests.
    pub feature_map_sha256: String,
    /// Whether the map was fitted to this log rather than given.
    pub fitted: bool,
    /// The lists of the page.
    pub lists: Vec<ListFeatures>,
    /// Its placements, in the order of the examples.
    pub rows: Vec<RowFeatures>,
}

/// A list of the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListFeatures {
    /// Its id.
    pub list_id: i64,
    /// Whether no label of it can change any more.
    pub matured: bool,
    /// The part of the dataset it is in; none where it is not matured, and where the log has too few
    /// lists to be divided.
    pub split: Option<Split>,
    /// Its place among the lists of that part, from 0.
    pub list: Option<u64>,
    /// What the person did last before it, oldest first, where the map has histories.
    pub history: Vec<StepFeatures>,
}

/// An event of a history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepFeatures {
    /// The item as logged.
    pub item_id: i64,
    /// When it happened, UTC microseconds.
    pub ts: i64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// The item's id in `history_item`.
    pub id: u32,
    /// The number in `history_age`.
    pub age: f32,
}

/// A placement of the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowFeatures {
    /// The placement.
    pub impression_id: i64,
    /// Its list.
    pub list_id: i64,
    /// Its slot, from 0.
    pub slot: u32,
    /// Its item.
    pub item_id: i64,
    /// Its place among the rows of its part, from 0; none where it is in no part.
    pub row: Option<u64>,
    /// Its weight in training.
    pub weight: f32,
    /// Each feature, in the order of the map.
    pub features: Vec<FeatureTrace>,
    /// What the network is given.
    pub tensor: TensorRow,
}

/// A feature of a placement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureTrace {
    /// Its name.
    pub name: String,
    /// As in the feature map: `numeric`, `rate`, `vocabulary`, ….
    pub kind: &'static str,
    /// Where it goes, such as `dense[3]`.
    pub place: String,
    /// The columns of the examples it reads, as they are there.
    pub inputs: BTreeMap<String, Value>,
    /// The number or value it makes of them, before scaling or numbering; null where it is missing.
    pub before: Value,
    /// What is done with that, in words.
    pub mapping: String,
    /// What is in the tensor.
    pub after: Value,
}

/// The arrays of a placement, bit for bit as in a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorRow {
    /// Its row of `dense`.
    pub dense: Vec<f32>,
    /// Its row of `categorical`.
    pub categorical: Vec<u32>,
    /// Its ids of each multi-valued feature.
    pub multi_valued: BTreeMap<String, Vec<u32>>,
    /// Its row in each table of vectors; 0 is unknown.
    pub vectors: BTreeMap<String, u32>,
}

/// Makes the features of one page: with `map` as it says, otherwise fitted as [`crate::build`] would.
///
/// A page that is not in the examples has no rows.
///
/// # Errors
/// As [`crate::build`].
pub fn trace(
    inputs: Inputs<'_>,
    spec: &FeatureSpec,
    split: &SplitSpec,
    map: Option<FeatureMap>,
    page: i64,
    progress: &dyn Progress,
) -> Result<PageFeatures, FeatureError> {
    let fitted = map.is_none();
    let given = map.clone();
    let asked = map.map_or(MapSource::Fit, MapSource::Given);
    let prepared = prepare(inputs, spec, split, asked, progress);
    let (map, source, tables, times) = match (prepared, given) {
        (Ok(made), _) => (made.map, made.source, made.tables, Some(made.times)),
        // A map that is given needs no parts, so a log too short for them can be traced too.
        (
            Err(
                FeatureError::TooFewLists { .. }
                | FeatureError::EmptySplit { .. }
                | FeatureError::NoPositives { .. },
            ),
            Some(map),
        ) => {
            let (source, tables) = open(inputs, spec, Some(&map))?;
            (map.clone(), source.with(&map.taste)?, tables, None)
        }
        (Err(error), _) => return Err(error),
    };
    let (map, skips) = (&map, source.is_windowed());
    let (read, beside) = match (&map.history, inputs.sequences) {
        (Some(_), Some(path)) => (
            Some(Sequences::open(path, skips)?),
            Some(Sequences::open(path, skips)?),
        ),
        _ => (None, None),
    };
    let mut tracer = Tracer {
        page,
        map,
        applier: Applier::new(map),
        extras: ExtrasApplier::new(map, &tables, read),
        history: beside,
        weights: &spec.weights,
        times,
        passed: BTreeMap::new(),
        found: PageFeatures {
            feature_map_sha256: map.hash(),
            fitted,
            lists: Vec::new(),
            rows: Vec::new(),
        },
    };
    let mut columns = map.readings();
    columns.extend(REQUIRED.into_iter().chain(KNOWN_OR_NAN));
    in_stage(progress, "find the page", source.rows, || {
        for block in source.blocks(&columns)? {
            let block = block?;
            tracer.take(&block)?;
            progress.advance(block.rows() as u64);
        }
        Ok(())
    })?;
    Ok(tracer.found)
}

/// Reads the examples for one page.
struct Tracer<'a> {
    page: i64,
    map: &'a FeatureMap,
    applier: Applier<'a>,
    extras: ExtrasApplier<'a>,
    /// The sequences once more, as they were written.
    history: Option<Sequences>,
    weights: &'a [f64],
    /// Where the parts begin, if there are parts.
    times: Option<TimeSplit>,
    /// Lists and rows of each part so far.
    passed: BTreeMap<Split, (u64, u64)>,
    found: PageFeatures,
}

impl Tracer<'_> {
    fn take(&mut self, block: &Block) -> Result<(), FeatureError> {
        let pages = block.integers("page_id")?.values();
        let here = pages.contains(&self.page);
        let data = if here {
            let features = self.applier.apply(block)?;
            let extras = self.extras.apply(block)?;
            Some(rows(block, features, extras, self.weights)?)
        } else {
            self.extras.skip(block)?;
            None
        };
        let texts = match &data {
            Some(_) => explain::columns(self.map, block)?,
            None => Vec::new(),
        };
        let (ids, times) = (block.integers("list_id")?, block.integers("ts")?.values());
        let matured = flags(block, "matured")?;
        for (list, range) in block.lists().iter().enumerate() {
            let fits = usable(&matured[range.clone()]);
            let parts = self.times.filter(|_| fits);
            let split = parts.map(|parts| parts.part(times[range.start]));
            let passed = split.map(|split| {
                let passed = self.passed.entry(split).or_default();
                let before = *passed;
                *passed = (passed.0 + 1, passed.1 + range.len() as u64);
                before
            });
            let most = self.map.history.as_ref().map_or(0, |map| map.max_events);
            let own = pages[range.start] == self.page;
            let most = if own { most as usize } else { 0 };
            let id = ids.value(range.start);
            let steps = match &mut self.history {
                Some(history) => history.next(id, most)?,
                None => Vec::new(),
            };
            let Some(data) = data.as_ref().filter(|_| own) else {
                continue;
            };
            let history = data.extras.history.as_ref();
            let first = history.map_or(0, |history| history.offsets[list] as usize);
            let step = |(at, step): (usize, &crate::sequences::Step)| StepFeatures {
                item_id: step.item,
                ts: step.ts,
                event_type: slate_types::log::EVENT_TYPES[usize::from(step.kind)],
                id: history.map_or(0, |history| history.item[first + at]),
                age: history.map_or(0.0, |history| history.age[first + at]),
            };
            self.found.lists.push(ListFeatures {
                list_id: id,
                matured: fits,
                split,
                list: passed.map(|(lists, _)| lists),
                history: steps.iter().enumerate().map(step).collect(),
            });
            for (nth, row) in range.enumerate() {
                let place = passed.map(|(_, rows)| rows + nth as u64);
                let features = explain::row(self.map, &texts, data, row);
                self.found.rows.push(RowFeatures {
                    impression_id: data.impression[row],
                    list_id: id,
                    slot: data.slot[row],
                    item_id: data.item[row],
                    row: place,
                    weight: data.weight[row],
                    features,
                    tensor: self.tensor(data, row),
                });
            }
        }
        Ok(())
    }

    fn tensor(&self, data: &SplitData, row: usize) -> TensorRow {
        let (d, c) = (self.map.dense.len(), self.map.categorical.len());
        let features = self.map.multi_valued.iter().zip(&data.extras.multi_valued);
        let vectors = self.map.embedding.iter().zip(&data.extras.vectors);
        TensorRow {
            dense: data.dense[row * d..(row + 1) * d].to_vec(),
            categorical: data.categorical[row * c..(row + 1) * c].to_vec(),
            multi_valued: features
                .map(|(feature, ids)| (feature.name.clone(), ids.of(row).to_vec()))
                .collect(),
            vectors: vectors
                .map(|(feature, vectors)| (feature.name.clone(), vectors.index[row]))
                .collect(),
        }
    }
}
