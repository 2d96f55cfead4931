//! Writing what a part has beside its matrices.

use std::{ops::Range, path::Path};

use crate::{
    ArrayFile, FeatureError, FeatureMap,
    npy::Writer,
    ragged::{Extras, History, Ragged},
};

/// The open arrays.
pub(crate) struct ExtrasWriter {
    multi_valued: Vec<(String, RaggedWriter)>,
    /// Rows of the tables of vectors.
    vectors: Vec<(String, Writer<u32>)>,
    history: Option<HistoryWriter>,
}

struct RaggedWriter {
    offsets: Writer<u64>,
    values: Writer<u32>,
    written: u64,
}

struct HistoryWriter {
    offsets: Writer<u64>,
    item: Writer<u32>,
    kind: Writer<u8>,
    age: Writer<f32>,
    /// Rows of the tables of vectors.
    vectors: Vec<(String, Writer<u32>)>,
    written: u64,
}

/// Names of the arrays of a multi-valued feature: ids, and where those of each row begin.
pub(crate) fn multi_valued_names(feature: &str) -> [String; 2] {
    [
        format!("multi_{feature}"),
        format!("multi_{feature}_offsets"),
    ]
}

/// Name of the array with the rows of a table of vectors.
pub(crate) fn vector_name(feature: &str) -> String {
    format!("embedding_{feature}_row")
}

/// Name of the array with the rows of a table of vectors, of a history's items.
pub(crate) fn history_vector_name(feature: &str) -> String {
    format!("{feature}_row")
}

/// Names of the arrays of histories.
pub(crate) const HISTORY: [&str; 4] = [
    "history_offsets",
    "history_item",
    "history_type",
    "history_age",
];

impl ExtrasWriter {
    pub(crate) fn create(
        folder: &Path,
        map: &FeatureMap,
        lists: u64,
        rows: u64,
    ) -> Result<Self, FeatureError> {
        let file = |array: &str| folder.join(format!("{array}.npy"));
        let mut multi_valued = Vec::new();
        for feature in &map.multi_valued {
            let [values, offsets] = multi_valued_names(&feature.name);
            let mut writer = RaggedWriter {
                offsets: Writer::create(&file(&offsets), &[rows + 1])?,
                values: Writer::growing(&file(&values))?,
                written: 0,
            };
            writer.offsets.write(&[0])?;
            multi_valued.push((feature.name.clone(), writer));
        }
        let mut vectors = Vec::new();
        for feature in &map.embedding {
            let name = vector_name(&feature.name);
            let writer = Writer::create(&file(&name), &[rows])?;
            vectors.push((name, writer));
        }
        let mut history = None;
        if let Some(feature) = &map.history {
            let [offsets, item, kind, age] = HISTORY.map(file);
            let vectors = feature.vectors.iter().map(|own| {
                let name = history_vector_name(&own.name);
                let writer = Writer::growing(&file(&name))?;
                Ok((name, writer))
            });
            let writer = history.insert(HistoryWriter {
                offsets: Writer::create(&offsets, &[lists + 1])?,
                item: Writer::growing(&item)?,
                kind: Writer::growing(&kind)?,
                age: Writer::growing(&age)?,
                vectors: vectors.collect::<Result<_, FeatureError>>()?,
                written: 0,
            });
            writer.offsets.write(&[0])?;
        }
        Ok(Self {
            multi_valued,
            vectors,
            history,
        })
    }

    /// Appends what belongs to these rows, which are those of these lists.
    pub(crate) fn write(
        &mut self,
        extras: &Extras,
        rows: &Range<usize>,
        lists: &Range<usize>,
    ) -> Result<(), FeatureError> {
        for ((_, writer), ragged) in self.multi_valued.iter_mut().zip(&extras.multi_valued) {
            writer.write(ragged, rows)?;
        }
        for ((_, writer), vectors) in self.vectors.iter_mut().zip(&extras.vectors) {
            writer.write(&vectors.index[rows.clone()])?;
        }
        if let (Some(writer), Some(history)) = (&mut self.history, &extras.history) {
            writer.write(history, lists)?;
        }
        Ok(())
    }

    /// Makes all files durable and tells them.
    pub(crate) fn finish(self, add: &mut impl FnMut(&str, ArrayFile)) -> Result<(), FeatureError> {
        for (feature, writer) in self.multi_valued {
            let [values, offsets] = multi_valued_names(&feature);
            add(&values, writer.values.finish()?);
            add(&offsets, writer.offsets.finish()?);
        }
        for (name, writer) in self.vectors {
            add(&name, writer.finish()?);
        }
        if let Some(history) = self.history {
            let [offsets, item, kind, age] = HISTORY;
            add(offsets, history.offsets.finish()?);
            add(item, history.item.finish()?);
            add(kind, history.kind.finish()?);
            add(age, history.age.finish()?);
            for (name, writer) in history.vectors {
                add(&name, writer.finish()?);
            }
        }
        Ok(())
    }
}

/// The ends of these entries, counted from what was written before.
fn ends(offsets: &[u64], entries: &Range<usize>, written: u64) -> Vec<u64> {
    let first = offsets[entries.start];
    let ends = offsets[entries.start + 1..=entries.end].iter();
    ends.map(|end| written + end - first).collect()
}

fn values(offsets: &[u64], entries: &Range<usize>) -> Range<usize> {
    offsets[entries.start] as usize..offsets[entries.end] as usize
}

impl RaggedWriter {
    fn write(&mut self, ragged: &Ragged, rows: &Range<usize>) -> Result<(), FeatureError> {
        let taken = values(&ragged.offsets, rows);
        self.offsets
            .write(&ends(&ragged.offsets, rows, self.written))?;
        self.written += taken.len() as u64;
        self.values.write(&ragged.values[taken])
    }
}

impl HistoryWriter {
    fn write(&mut self, history: &History, lists: &Range<usize>) -> Result<(), FeatureError> {
        let taken = values(&history.offsets, lists);
        self.offsets
            .write(&ends(&history.offsets, lists, self.written))?;
        self.written += taken.len() as u64;
        self.item.write(&history.item[taken.clone()])?;
        self.kind.write(&history.kind[taken.clone()])?;
        for ((_, writer), vectors) in self.vectors.iter_mut().zip(&history.vectors) {
            writer.write(&vectors.rows[taken.clone()])?;
        }
        self.age.write(&history.age[taken])
    }
}
