//! A ranker of trees on disk: `model.ubj` and `model.json`.
//!
//! `model.ubj` is a model in XGBoost's binary JSON: `xgboost.Booster(model_file="model.ubj")` opens
//! it and `predict(…, output_margin=True)` gives the same scores for rows of the columns that
//! `model.json` lists, in their order, categorical ones marked `c`. Neither file holds a time or
//! a path: equal rankers give equal bytes.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use hessboost::model::{BoostedModel, ModelFormat};
use serde::{Deserialize, Serialize};
use slate_types::{FeatureShape, FormatVersion};

use crate::columns::Columns;
use crate::{Column, Label, Objective, TreeRanker, TreesError};

/// Newest version of `model.json` this crate reads, and the one it writes.
pub const MODEL_FORMAT: FormatVersion = FormatVersion(1);

/// File name of the trees.
pub const TREES_FILE: &str = "model.ubj";

/// The `kind` of a `model.json` that this crate wrote.
pub const KIND: &str = "trees";

const MODEL_FILE: &str = "model.json";

/// `model.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    format: FormatVersion,
    kind: String,
    objective: Objective,
    label: Label,
    trees: usize,
    shape: FeatureShape,
    columns: Vec<Column>,
}

/// The part of `model.json` that every version has.
#[derive(Deserialize)]
struct Version {
    format: FormatVersion,
    #[serde(default)]
    kind: String,
}

impl TreeRanker {
    /// Writes `model.ubj` and `model.json` into a folder that exists, and syncs them.
    ///
    /// # Errors
    /// [`TreesError::Io`] with the file.
    pub fn save(&self, dir: &Path) -> Result<(), TreesError> {
        let bytes = self.model.encode(ModelFormat::XgboostUbjson);
        write(&dir.join(TREES_FILE), &bytes.map_err(TreesError::grow)?)?;
        let file = ModelFile {
            format: MODEL_FORMAT,
            kind: KIND.to_owned(),
            objective: self.objective,
            label: self.label,
            trees: self.trees(),
            shape: self.columns.shape().clone(),
            columns: self.columns.read().to_vec(),
        };
        let path = dir.join(MODEL_FILE);
        let text = serde_json::to_string_pretty(&file).map_err(|source| broken(&path, source))?;
        write(&path, format!("{text}\n").as_bytes())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`TreesError::Io`], [`TreesError::Description`] and [`TreesError::Format`] for
    /// `model.json`, [`TreesError::Trees`] for a broken `model.ubj` or one of other columns.
    pub fn load(dir: &Path) -> Result<Self, TreesError> {
        let path = dir.join(MODEL_FILE);
        let text = read(&path)?;
        let version: Version =
            serde_json::from_slice(&text).map_err(|source| broken(&path, source))?;
        if version.kind != KIND {
            let told = format!("`kind` is `{}`, expected `{KIND}`", version.kind);
            return Err(broken(&path, serde::de::Error::custom(told)));
        }
        let known = version.format.check(KIND, MODEL_FORMAT);
        known.map_err(|source| TreesError::Format {
            path: path.clone(),
            source,
        })?;
        let file: ModelFile =
            serde_json::from_slice(&text).map_err(|source| broken(&path, source))?;
        let columns = Columns::new(&file.shape, file.columns)?;
        let path = dir.join(TREES_FILE);
        let model = BoostedModel::decode(read(&path)?, ModelFormat::XgboostUbjson);
        let model = model.map_err(|source| TreesError::Trees {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let wrong = |what: &'static str, given: usize, expected: usize| TreesError::Other {
            path: path.clone(),
            what,
            given,
            expected,
        };
        if model.n_features() != columns.read().len() {
            let expected = columns.read().len();
            return Err(wrong("columns", model.n_features(), expected));
        }
        if model.n_outputs() != 1 {
            return Err(wrong("outputs", model.n_outputs(), 1));
        }
        if model.num_trees() != file.trees {
            return Err(wrong("trees", model.num_trees(), file.trees));
        }
        Ok(Self {
            model,
            columns,
            objective: file.objective,
            label: file.label,
        })
    }
}

fn broken(path: &Path, source: serde_json::Error) -> TreesError {
    TreesError::Description {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TreesError> {
    fs::read(path).map_err(|source| TreesError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TreesError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| TreesError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
