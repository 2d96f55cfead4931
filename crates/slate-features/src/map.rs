//! The feature map: how each input of a network is made, with every fitted number in it.
//!
//! `feature_map.json` is all that is needed to turn new examples into the numbers a model was
//! trained on. It can be read by eye; numbers keep every bit; lists of values are in the order
//! of their ids. Its SHA-256 names it in manifests, so a model is never fed by another map.
//!
//! Formulas. A numeric feature is clipped, then `ln(1 + x)`, then `(x - mean) / sd`, each step
//! where it is set; `fill` stands for a missing value, after all steps. A rate is
//! `(n + s·prior) / (d + s)`. In a vocabulary the first value has id 1; values that are not in it,
//! and null, are id 0. A hashed id is `1 + (h xor h >> 32) mod buckets`, `h` being FNV-1a (64 bit)
//! over the UTF-8 text. Crossed columns are one text: their values with `|` between them, in which
//! `\` and `|` stand after a `\`, and a missing value is `\0`. A bin is `1 +` the number of edges at or
//! below the value; null is id 0.

use std::{fs::File, io::Write, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slate_types::log::EVENT_TYPES;
use slate_types::{FeatureShape, FormatVersion, HistoryShape};

use crate::{
    FeatureError,
    extend::Extension,
    npy::hex,
    spec::{Comparison, Period},
    taste::TasteFeature,
};

/// Newest layout of `feature_map.json`, and the one written.
pub const FEATURE_MAP_FORMAT: FormatVersion = FormatVersion(2);
/// Name of the file in datasets and runs.
pub const FEATURE_MAP_FILE: &str = "feature_map.json";

/// A fitted spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMap {
    /// Layout of this file.
    pub format: FormatVersion,
    /// What it was fitted on.
    pub fitted_on: FittedOn,
    /// One entry for each dense input, in order.
    pub dense: Vec<DenseFeature>,
    /// One entry for each categorical input, in order.
    pub categorical: Vec<CategoricalFeature>,
    /// One entry for each input of several ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multi_valued: Vec<MultiValuedFeature>,
    /// One entry for each table of vectors; they follow the dense inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<EmbeddingFeature>,
    /// User histories, where they are an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryFeature>,
    /// Columns that are made from what users were shown and did before; other entries read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taste: Vec<TasteFeature>,
    /// Updates since, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

impl Default for FeatureMap {
    /// A map of the newest layout without inputs.
    fn default() -> Self {
        Self {
            format: FEATURE_MAP_FORMAT,
            fitted_on: FittedOn::default(),
            dense: Vec::new(),
            categorical: Vec::new(),
            multi_valued: Vec::new(),
            embedding: Vec::new(),
            history: None,
            taste: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

/// How values become ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IdRule {
    /// Known values.
    Vocabulary {
        /// Values of ids 1, 2, …: most frequent first, equals in growing order.
        values: Vec<String>,
    },
    /// Hashed values.
    Hashed {
        /// Number of ids beside 0.
        buckets: u32,
    },
}

impl IdRule {
    /// Number of ids, the unknown id 0 included.
    pub fn cardinality(&self) -> u32 {
        match self {
            Self::Vocabulary { values } => values.len() as u32 + 1,
            Self::Hashed { buckets } => buckets + 1,
        }
    }
}

/// How the ids of a text of several values are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiValuedFeature {
    /// Name of the input.
    pub name: String,
    /// Column of the examples.
    pub column: String,
    /// What stands between two values.
    pub separator: String,
    /// Most values of a row.
    pub max_values: u32,
    /// How a value becomes an id.
    pub ids: IdRule,
}

/// A table of vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingFeature {
    /// Name of the input.
    pub name: String,
    /// Column of the examples that holds the id.
    pub column: String,
    /// Numbers of one vector.
    pub width: u32,
    /// Fingerprint of the encoder the vectors come from, where the folder they were read from has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// How its numbers are standardised, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<VectorScale>,
}

/// What is done to the numbers of a vector: `(x − mean) / (sd · √width)`, so that a vector is about as long as 1.
///
/// A number that is the same in all vectors becomes 0, and a vector of zeros, which stands for an item
/// without one, stays so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorScale {
    /// Mean of each number over the vectors of items that the training window shows, each once.
    pub mean: Vec<f64>,
    /// Their standard deviation; 0 where they are all the same.
    pub sd: Vec<f64>,
}

impl VectorScale {
    /// What leaves vectors as they are.
    pub(crate) fn none(width: usize) -> Self {
        Self {
            mean: vec![0.0; width],
            sd: vec![(width as f64).sqrt().recip(); width],
        }
    }
}

/// How user histories are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFeature {
    /// Longest sequence.
    pub max_events: u32,
    /// How an item becomes an id.
    pub ids: IdRule,
    /// One entry for each mean of vectors; they follow the vectors of rows among the dense inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<HistoryVector>,
}

/// The mean vector of a history's items: `Σ v / (n + prior_events)` over the `n` events whose item has a
/// vector `v`, after that vector's scale; zeros where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryVector {
    /// Name of the input.
    pub name: String,
    /// Name of the embedding whose vectors they are.
    pub of: String,
    /// How many vectors of zeros are counted beside those of the events.
    pub prior_events: u32,
}

/// The training window of a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedOn {
    /// Lists seen.
    pub lists: u64,
    /// Rows seen.
    pub rows: u64,
    /// Time of the first list, UTC microseconds; none where lists have no time.
    pub first_ts: Option<i64>,
    /// Time of the last list.
    pub last_ts: Option<i64>,
}

/// Mean and standard deviation of the training window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Subtracted.
    pub mean: f64,
    /// Divided by (the population's); where it is 0 the result is 0.
    pub sd: f64,
}

impl Scale {
    pub(crate) fn apply(self, value: f64) -> f64 {
        if self.sd > 0.0 {
            (value - self.mean) / self.sd
        } else {
            0.0
        }
    }
}

/// How one dense input is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DenseFeature {
    /// A number.
    Numeric {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// Whether the number is the hours from the column, a time, to the page.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        time_since: bool,
        /// Range values are brought into first.
        clip: Option<[f64; 2]>,
        /// Whether `ln(1 + x)` follows.
        log1p: bool,
        /// What is subtracted and divided by after that.
        scale: Option<Scale>,
        /// The result for a missing value.
        fill: f64,
    },
    /// 1 where the column is missing, else 0.
    Missing {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// Whether a time after the page is missing too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        time_since: bool,
    },
    /// A smoothed rate.
    Rate {
        /// Name of the input.
        name: String,
        /// Column of counts above the line.
        numerator: String,
        /// Column of counts below the line.
        denominator: String,
        /// Rows the prior is worth.
        smoothing: f64,
        /// Rate of the training window. Where it has no success, half a success is assumed, so
        /// that the logarithm exists.
        prior: f64,
        /// Whether the natural logarithm is taken.
        log: bool,
        /// What is subtracted and divided by after that.
        scale: Option<Scale>,
    },
    /// A number compared with those of its list.
    Relative {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// How it is compared.
        to: Comparison,
    },
    /// A time as a place on a circle.
    Cyclic {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// What comes round.
        period: Period,
        /// The cosine; the sine otherwise.
        cosine: bool,
    },
}

/// How one categorical input is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CategoricalFeature {
    /// Known values.
    Vocabulary {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// Columns it is crossed with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<String>,
        /// Values of ids 1, 2, …: most frequent first, equals in growing order.
        values: Vec<String>,
    },
    /// Hashed values.
    Hashed {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// Columns it is crossed with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<String>,
        /// Number of ids beside 0.
        buckets: u32,
    },
    /// Quantile bins of a number.
    Bins {
        /// Name of the input.
        name: String,
        /// Column of the examples.
        column: String,
        /// Whether the number is the hours from the column, a time, to the page.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        time_since: bool,
        /// Where the bins after the first begin, growing.
        edges: Vec<f64>,
    },
}

impl DenseFeature {
    /// Name of the input.
    pub fn name(&self) -> &str {
        match self {
            Self::Numeric { name, .. }
            | Self::Missing { name, .. }
            | Self::Rate { name, .. }
            | Self::Relative { name, .. }
            | Self::Cyclic { name, .. } => name,
        }
    }

    /// Columns of the examples it reads.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Numeric { column, .. }
            | Self::Missing { column, .. }
            | Self::Relative { column, .. }
            | Self::Cyclic { column, .. } => vec![column],
            Self::Rate {
                numerator,
                denominator,
                ..
            } => vec![numerator, denominator],
        }
    }
}

impl CategoricalFeature {
    /// Name of the input.
    pub fn name(&self) -> &str {
        match self {
            Self::Vocabulary { name, .. } | Self::Hashed { name, .. } | Self::Bins { name, .. } => {
                name
            }
        }
    }

    /// Columns of the examples it reads.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Vocabulary { column, with, .. } | Self::Hashed { column, with, .. } => {
                let with = with.iter().map(String::as_str);
                std::iter::once(column.as_str()).chain(with).collect()
            }
            Self::Bins { column, .. } => vec![column],
        }
    }

    /// Number of ids, the unknown id 0 included.
    pub fn cardinality(&self) -> u32 {
        match self {
            Self::Vocabulary { values, .. } => values.len() as u32 + 1,
            Self::Hashed { buckets, .. } => buckets + 1,
            Self::Bins { edges, .. } => edges.len() as u32 + 2,
        }
    }
}

impl FeatureMap {
    /// Widths of the inputs a network needs.
    pub fn shape(&self) -> FeatureShape {
        let vectors = self.vector_inputs();
        let vectors: usize = vectors.map(|(_, feature)| feature.width as usize).sum();
        FeatureShape {
            dense: self.dense.len() + vectors,
            categorical: self
                .categorical
                .iter()
                .map(CategoricalFeature::cardinality)
                .collect(),
            multi_valued: self
                .multi_valued
                .iter()
                .map(|feature| feature.ids.cardinality())
                .collect(),
            history: self.history.as_ref().map(|feature| HistoryShape {
                items: feature.ids.cardinality(),
                kinds: EVENT_TYPES.len() as u32,
            }),
            pair: None,
        }
    }

    /// Columns of the examples it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = self.readings();
        columns.retain(|column| !self.taste.iter().any(|taste| taste.makes(column)));
        columns.extend(self.taste.iter().flat_map(TasteFeature::columns));
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Columns that become inputs, of the examples or made from them, each once.
    pub(crate) fn readings(&self) -> Vec<&str> {
        let dense = self.dense.iter().flat_map(DenseFeature::columns);
        let categorical = self.categorical.iter();
        let multi_valued = self.multi_valued.iter();
        let embedding = self.embedding.iter();
        let mut columns: Vec<&str> = dense
            .chain(categorical.flat_map(CategoricalFeature::columns))
            .chain(multi_valued.map(|feature| feature.column.as_str()))
            .chain(embedding.map(|feature| feature.column.as_str()))
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The text of `feature_map.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a map has text keys and finite numbers only");
        text.push('\n');
        text
    }

    /// SHA-256 of [`FeatureMap::to_json`], lower-case hex.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.to_json()))
    }

    /// Reads a map.
    ///
    /// # Errors
    /// [`FeatureError::Version`] for a map of a newer version, [`FeatureError::Json`] for
    /// anything that is not a map.
    pub fn read(path: &Path) -> Result<Self, FeatureError> {
        let text = std::fs::read_to_string(path).map_err(FeatureError::io("read", path))?;
        check_format(&text, "feature map", FEATURE_MAP_FORMAT, path)?;
        let map: Self = serde_json::from_str(&text).map_err(FeatureError::json(path))?;
        let vectors = map.history.iter().flat_map(|history| &history.vectors);
        let is_there = |of: &str| map.embedding.iter().any(|own| own.name == of);
        map.taste.iter().try_for_each(|taste| taste.check(path))?;
        match vectors.map(|own| &own.of).find(|of| !is_there(of)) {
            None => Ok(map),
            Some(of) => Err(FeatureError::Mismatch {
                file: path.to_path_buf(),
                what: "history vector",
                found: format!("of `{of}`"),
                expected: "the name of one of its embeddings".to_owned(),
            }),
        }
    }

    /// Writes the map to a new file and makes it durable.
    pub fn write(&self, path: &Path) -> Result<(), FeatureError> {
        write_text(path, &self.to_json())
    }
}

/// Refuses a JSON file of a version this build does not know, before the rest is looked at.
pub(crate) fn check_format(
    text: &str,
    what: &'static str,
    newest: FormatVersion,
    path: &Path,
) -> Result<(), FeatureError> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: FormatVersion,
    }
    let file: OnlyFormat = serde_json::from_str(text).map_err(FeatureError::json(path))?;
    file.format
        .check(what, newest)
        .map_err(|source| FeatureError::Version {
            file: path.to_path_buf(),
            source,
        })
}

/// Writes a new file and makes it durable.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), FeatureError> {
    let mut file = File::create_new(path).map_err(FeatureError::io("create", path))?;
    file.write_all(text.as_bytes())
        .map_err(FeatureError::io("write", path))?;
    file.sync_all().map_err(FeatureError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(numbers: [f64; 3]) -> FeatureMap {
        FeatureMap {
            format: FEATURE_MAP_FORMAT,
            fitted_on: FittedOn {
                lists: 1,
                rows: 2,
                first_ts: Some(-3),
                last_ts: None,
            },
            dense: vec![DenseFeature::Numeric {
                name: "a".into(),
                column: "b".into(),
                time_since: false,
                clip: None,
                log1p: true,
                scale: Some(Scale {
                    mean: numbers[0],
                    sd: numbers[1],
                }),
                fill: numbers[2],
            }],
            categorical: vec![CategoricalFeature::Vocabulary {
                name: "c".into(),
                column: "d".into(),
                with: Vec::new(),
                values: vec!["1".into(), "\"ü\n".into()],
            }],
            ..FeatureMap::default()
        }
    }

    proptest! {
        #[test]
        fn every_number_keeps_its_bits(
            a in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL,
            b in proptest::num::f64::NORMAL,
            c in proptest::num::f64::ZERO,
        ) {
            let map = map([a, b, c]);
            let read: FeatureMap = serde_json::from_str(&map.to_json()).unwrap();
            prop_assert_eq!(read.hash(), map.hash());
            let DenseFeature::Numeric { scale: Some(scale), .. } = &read.dense[0] else {
                panic!("another kind came back")
            };
            prop_assert_eq!(scale.mean.to_bits(), a.to_bits());
            prop_assert_eq!(scale.sd.to_bits(), b.to_bits());
        }
    }

    #[test]
    fn shape_counts_the_unknown_id() {
        let shape = map([0.0; 3]).shape();
        assert_eq!(
            shape,
            FeatureShape {
                dense: 1,
                categorical: vec![3],
                ..FeatureShape::default()
            }
        );
        let bins = CategoricalFeature::Bins {
            name: "b".into(),
            column: "b".into(),
            time_since: false,
            edges: vec![1.0],
        };
        assert_eq!(bins.cardinality(), 3);
    }

    #[test]
    fn a_newer_map_is_refused_by_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FEATURE_MAP_FILE);
        std::fs::write(&path, r#"{"format": 3, "something": "new"}"#).unwrap();
        let error = FeatureMap::read(&path).unwrap_err();
        assert!(matches!(error, FeatureError::Version { .. }), "{error}");
    }
}
