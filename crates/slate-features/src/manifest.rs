//! The manifest of a dataset: what is in the folder, where it came from, what was left out.
//!
//! It holds no clock time and no absolute path of its own, so the same input, spec and command
//! give the same bytes.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use slate_types::{FeatureShape, FormatVersion, Seed, Split};

use crate::{
    ArrayFile, FeatureError, TimeSplit,
    map::{CategoricalFeature, FeatureMap, check_format, write_text},
};

/// Newest layout of a dataset, and the one written.
pub const DATASET_FORMAT: FormatVersion = FormatVersion(1);
/// Name of the file.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Where a dataset comes from, told by whoever makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The command line.
    pub command: String,
    /// Seed of the random choices, where there were any.
    pub seed: Option<Seed>,
    /// When the labels were taken, as the log's side writes it.
    pub label_as_of: Option<String>,
    /// Hash of the examples; where none is given it is the SHA-256 of their file.
    pub examples_hash: Option<String>,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of the dataset.
    pub format: FormatVersion,
    /// Always `dataset`.
    pub kind: String,
    /// Where it comes from.
    pub origin: Origin,
    /// SHA-256 of `feature_map.json`.
    pub feature_map_sha256: String,
    /// Names of the dense inputs, in order.
    pub dense: Vec<String>,
    /// Names and sizes of the categorical inputs, in order.
    pub categorical: Vec<CategoricalInput>,
    /// How lists were divided.
    pub split_rule: SplitRule,
    /// What each part holds.
    pub splits: BTreeMap<Split, SplitCounts>,
    /// What is in no part.
    pub left_out: LeftOut,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Each array by its path, as in `train/dense.npy`.
    pub files: BTreeMap<String, ArrayFile>,
    /// SHA-256 of each file of another format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exports: BTreeMap<String, String>,
}

/// One categorical input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoricalInput {
    /// Its name.
    pub name: String,
    /// Number of its ids, the unknown id 0 included.
    pub cardinality: u32,
}

/// How lists were divided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitRule {
    /// By time: each part ends where the next begins.
    Time {
        /// Where the later parts begin, UTC microseconds.
        from: TimeSplit,
        /// The shares of valid, calibrate and test that were asked for, where they were.
        fractions: Option<[f64; 3]>,
    },
    /// By query, as LETOR files have it.
    Query {
        /// Share of the training file's queries taken for validation, 0 where it has a file.
        valid: f64,
        /// Share of the training file's queries taken for calibration.
        calibrate: f64,
        /// Share of the training file's queries taken for testing, 0 where it has a file.
        test: f64,
    },
}

/// What one part holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCounts {
    /// Lists.
    pub lists: u64,
    /// Rows of all lists.
    pub rows: u64,
    /// Rows that were clicked.
    pub clicks: u64,
    /// Rows that were bought.
    pub purchases: u64,
    /// Time of the first list, UTC microseconds; none where lists have no time.
    pub first_ts: Option<i64>,
    /// Time of the last list.
    pub last_ts: Option<i64>,
}

/// What is in no part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Lists with a row whose label can still change.
    pub immature_lists: u64,
    /// All rows of those lists.
    pub immature_rows: u64,
    /// Lists that were cut because they were too long.
    #[serde(default)]
    pub cut_lists: u64,
    /// Rows cut off them.
    #[serde(default)]
    pub cut_rows: u64,
    /// Rows of lists before `split.from`, or not before `split.until`.
    #[serde(default)]
    pub outside_rows: u64,
}

/// What was made, for a person and for `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetSummary {
    /// Lists of all parts.
    pub lists: u64,
    /// Rows of all parts.
    pub rows: u64,
    /// Number of dense inputs.
    pub dense: usize,
    /// Number of categorical inputs.
    pub categorical: usize,
    /// What each part holds.
    pub splits: BTreeMap<Split, SplitCounts>,
    /// What is in no part.
    pub left_out: LeftOut,
    /// What a person should know.
    pub notes: Vec<String>,
    /// SHA-256 of `feature_map.json`.
    pub feature_map_sha256: String,
}

impl Manifest {
    /// A manifest without files.
    pub(crate) fn new(map: &FeatureMap, origin: Origin, split_rule: SplitRule) -> Self {
        let input = |feature: &CategoricalFeature| CategoricalInput {
            name: feature.name().to_owned(),
            cardinality: feature.cardinality(),
        };
        Self {
            format: DATASET_FORMAT,
            kind: "dataset".to_owned(),
            origin,
            feature_map_sha256: map.hash(),
            dense: map
                .dense
                .iter()
                .map(|feature| feature.name().to_owned())
                .chain(map.vector_inputs().flat_map(|(name, feature)| {
                    (0..feature.width).map(move |number| format!("{name}_{number}"))
                }))
                .collect(),
            categorical: map.categorical.iter().map(input).collect(),
            split_rule,
            splits: BTreeMap::new(),
            left_out: LeftOut::default(),
            notes: Vec::new(),
            files: BTreeMap::new(),
            exports: BTreeMap::new(),
        }
    }

    /// Widths of the inputs.
    pub fn shape(&self) -> FeatureShape {
        FeatureShape {
            dense: self.dense.len(),
            categorical: self
                .categorical
                .iter()
                .map(|input| input.cardinality)
                .collect(),
            ..FeatureShape::default()
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, FeatureError> {
        let text = std::fs::read_to_string(path).map_err(FeatureError::io("read", path))?;
        check_format(&text, "dataset", DATASET_FORMAT, path)?;
        serde_json::from_str(&text).map_err(FeatureError::json(path))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), FeatureError> {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a manifest has text keys and finite numbers only");
        text.push('\n');
        write_text(path, &text)
    }

    pub(crate) fn summary(&self) -> DatasetSummary {
        DatasetSummary {
            lists: self.splits.values().map(|split| split.lists).sum(),
            rows: self.splits.values().map(|split| split.rows).sum(),
            dense: self.dense.len(),
            categorical: self.categorical.len(),
            splits: self.splits.clone(),
            left_out: self.left_out,
            notes: self.notes.clone(),
            feature_map_sha256: self.feature_map_sha256.clone(),
        }
    }
}
