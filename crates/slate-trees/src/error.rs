//! What can go wrong between a config and a saved ranker of trees.

use std::path::PathBuf;

use hessboost::error::HessboostError;
use slate_types::{FormatVersionError, Hint};

/// Why trees could not be grown, saved, loaded or asked for scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreesError {
    /// An option is out of range or does not fit another one.
    #[error("`trees.{key}` is {given}, expected {expected}")]
    Option {
        /// Key below `[trees]`.
        key: String,
        /// What is allowed.
        expected: String,
        /// What the config says.
        given: String,
    },
    /// Nothing trees could split on.
    #[error("trees have no input to read, expected a dense one or a categorical one with few ids")]
    NoInputs,
    /// There are no rows.
    #[error("the {part} data has no lists with slots, expected at least one")]
    EmptyData {
        /// "training" or "validation".
        part: &'static str,
    },
    /// No label is positive.
    #[error("no training list has a positive `{label}` label, so trees have nothing to learn")]
    NoPositives {
        /// Label the trees learn.
        label: &'static str,
    },
    /// An array of a batch has the wrong length or width for these trees.
    #[error("`{array}` of a batch is {given}, expected {expected}")]
    BatchShape {
        /// Field of the batch.
        array: &'static str,
        /// What the batch has.
        given: usize,
        /// What the trees and the other fields ask for.
        expected: usize,
    },
    /// A value of a batch is out of its range.
    #[error(
        "`{array}` of list {list}, slot {slot}, column {column} of a batch is {given}, expected {expected}"
    )]
    BatchValue {
        /// Field of the batch.
        array: &'static str,
        /// List, counted from 0: in its data where the batch says so, or else in the batch.
        list: usize,
        /// Slot of the list, counted from 0.
        slot: usize,
        /// Column of the field, counted from 0.
        column: usize,
        /// The value.
        given: String,
        /// What is allowed.
        expected: String,
    },
    /// The validation metric cannot be compared.
    #[error("the validation metric after tree {trees} is {value}, expected a finite number")]
    Metric {
        /// Trees grown.
        trees: u32,
        /// The value.
        value: f64,
    },
    /// Someone asked training to end.
    #[error("training was interrupted after tree {trees}")]
    Interrupted {
        /// Trees grown.
        trees: u32,
    },
    /// The library refuses something that our own checks let pass.
    #[error("trees cannot be grown or asked")]
    Grow {
        /// Cause.
        #[source]
        source: Box<HessboostError>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// `model.json` is not what this crate writes.
    #[error("`{path}` is not a description of trees")]
    Description {
        /// The file.
        path: PathBuf,
        /// Cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// `model.json` has a version this build does not read.
    #[error("`{path}` cannot be read by this version of slate")]
    Format {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: FormatVersionError,
    },
    /// `model.ubj` is broken.
    #[error("`{path}` holds no readable trees")]
    Trees {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<HessboostError>,
    },
    /// `model.ubj` is of another ranker than `model.json`.
    #[error("`{path}` has {given} {what}, expected {expected}")]
    Other {
        /// The file.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// What the trees have.
        given: usize,
        /// What `model.json` says.
        expected: usize,
    },
}

impl TreesError {
    pub(crate) fn grow(source: HessboostError) -> Self {
        Self::Grow {
            source: Box::new(source),
        }
    }
}

impl Hint for TreesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoInputs => {
                Some("raise `trees.most_ids`, or give the dataset dense features".to_owned())
            }
            Self::EmptyData { .. } => {
                Some("widen its window, or lower the minimum list length".to_owned())
            }
            Self::NoPositives { label } => Some(format!(
                "train on a longer window, or on a label that occurs (`{label}` never does)"
            )),
            Self::BatchShape { .. } => Some(
                "score with the feature map the trees were grown with (`feature_map.json` of the \
                 run)"
                    .to_owned(),
            ),
            Self::BatchValue { array: "dense", .. } => Some(
                "give the feature a missing indicator or a clip, so that every input is finite"
                    .to_owned(),
            ),
            Self::Interrupted { .. } => Some(
                "trees have no checkpoints: the same command grows the same trees from the \
                 beginning"
                    .to_owned(),
            ),
            Self::Trees { .. } | Self::Other { .. } => {
                Some("take trees and description from the same run".to_owned())
            }
            _ => None,
        }
    }
}
