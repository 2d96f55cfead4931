//! Features that are no matrix: several ids of a row, vectors of its item, the events before a list.

use arrow::array::Array;

use crate::{
    Block, FeatureError,
    block::Column,
    map::{FeatureMap, IdRule, MultiValuedFeature},
    ragged::{EventVectors, Extras, History, Ragged, Vectors},
    sequences::Sequences,
    value::{self, Counts, Ids, Value},
    vectors::VectorTable,
};

/// An [`IdRule`] made ready.
#[derive(Debug)]
pub(crate) enum Lookup {
    Vocabulary(Ids),
    Hashed(u32),
}

impl Lookup {
    pub(crate) fn new(rule: &IdRule) -> Self {
        match rule {
            IdRule::Vocabulary { values } => Self::Vocabulary(Ids::new(values)),
            IdRule::Hashed { buckets } => Self::Hashed(*buckets),
        }
    }

    fn id(&self, value: &Value) -> u32 {
        match self {
            Self::Vocabulary(ids) => ids.id(value),
            Self::Hashed(buckets) => 1 + value.bucket(*buckets),
        }
    }
}

/// The values of a text: trimmed, each once, empty ones left out.
pub(crate) fn values<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut values: Vec<&str> = Vec::new();
    for value in text.split(separator).map(str::trim) {
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// Counts the values of a column on the rows that may be used.
pub(crate) fn count(
    block: &Block,
    column: &str,
    separator: &str,
    used: &[bool],
    counts: &mut Counts,
) -> Result<(), FeatureError> {
    let Column::Texts(texts) = block.column(column)? else {
        return Err(block.bad_type(column, "text"));
    };
    for row in (0..texts.len()).filter(|&row| used[row] && texts.is_valid(row)) {
        for value in values(texts.value(row), separator) {
            counts.add(value::from_text(value));
        }
    }
    Ok(())
}

/// Everything the extras of a map need, made ready once.
pub(crate) struct ExtrasApplier<'a> {
    map: &'a FeatureMap,
    lookups: Vec<Lookup>,
    tables: &'a [VectorTable],
    history: Option<(Lookup, Sequences)>,
}

impl<'a> ExtrasApplier<'a> {
    /// `tables` are those of the map's embeddings; `sequences` stand at their beginning.
    pub(crate) fn new(
        map: &'a FeatureMap,
        tables: &'a [VectorTable],
        sequences: Option<Sequences>,
    ) -> Self {
        let lookups = map.multi_valued.iter();
        Self {
            map,
            lookups: lookups.map(|feature| Lookup::new(&feature.ids)).collect(),
            tables,
            history: map
                .history
                .as_ref()
                .zip(sequences)
                .map(|(history, sequences)| (Lookup::new(&history.ids), sequences)),
        }
    }

    /// The extras of the next block.
    pub(crate) fn apply(&mut self, block: &Block) -> Result<Extras, FeatureError> {
        let features = self.map.multi_valued.iter().zip(&self.lookups);
        let multi_valued: Result<Vec<Ragged>, FeatureError> = features
            .map(|(feature, lookup)| ragged(block, feature, lookup))
            .collect();
        let mut vectors = Vec::new();
        for (feature, table) in self.map.embedding.iter().zip(self.tables) {
            let ids = block.ids(&feature.column)?;
            vectors.push(Vectors {
                width: table.width,
                index: table.rows(ids.iter()),
                ..Vectors::default()
            });
        }
        Ok(Extras {
            multi_valued: multi_valued?,
            vectors,
            history: self.history(block)?,
            ..Extras::default()
        })
    }

    /// Passes over a block without making anything of it.
    pub(crate) fn skip(&mut self, block: &Block) -> Result<(), FeatureError> {
        if let Some((_, sequences)) = &mut self.history {
            let lists = block.integers("list_id")?;
            for rows in block.lists().iter() {
                sequences.next(lists.value(rows.start), 0)?;
            }
        }
        Ok(())
    }

    fn history(&mut self, block: &Block) -> Result<Option<History>, FeatureError> {
        let (Some(feature), Some((lookup, sequences))) = (&self.map.history, &mut self.history)
        else {
            return Ok(None);
        };
        let (lists, pages) = (block.integers("list_id")?, block.integers("ts")?);
        let tables = self
            .map
            .history_vectors()
            .map(|(entry, table)| EventVectors {
                table,
                prior: entry.prior_events as f32,
                rows: Vec::new(),
            });
        let mut history = History {
            offsets: vec![0],
            vectors: tables.collect(),
            ..History::default()
        };
        for rows in block.lists().iter() {
            let page = pages.value(rows.start);
            let most = feature.max_events as usize;
            for step in sequences.next(lists.value(rows.start), most)? {
                history.item.push(lookup.id(&Value::Integer(step.item)));
                history.kind.push(step.kind);
                let hours = (page - step.ts).max(0) as f64 / 3.6e9;
                history.age.push(hours.ln_1p() as f32);
                for vectors in &mut history.vectors {
                    let table = &self.tables[vectors.table];
                    vectors.rows.push(table.row_of_vector(step.item));
                }
            }
            history.offsets.push(history.item.len() as u64);
        }
        Ok(Some(history))
    }
}

fn ragged(
    block: &Block,
    feature: &MultiValuedFeature,
    lookup: &Lookup,
) -> Result<Ragged, FeatureError> {
    let Column::Texts(texts) = block.column(&feature.column)? else {
        return Err(block.bad_type(&feature.column, "text"));
    };
    let mut ragged = Ragged {
        offsets: vec![0],
        values: Vec::new(),
    };
    for row in 0..texts.len() {
        if texts.is_valid(row) {
            let known = values(texts.value(row), &feature.separator);
            let kept = known.into_iter().take(feature.max_values as usize);
            let ids = kept.map(|value| lookup.id(&value::from_text(value)));
            ragged.values.extend(ids);
        }
        ragged.offsets.push(ragged.values.len() as u64);
    }
    Ok(ragged)
}
