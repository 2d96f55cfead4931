//! What can go wrong between a config and a saved ranker.
//!
//! A wrong option, batch, file or device is an error with its place, what was expected and what
//! was given. A panic from this crate is our own bug.

use std::path::PathBuf;

use slate_types::{FormatVersionError, Hint};

use crate::Trained;

/// An error of the caller's own, from validation.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a network could not be built, trained, saved, loaded or asked for scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// An option is out of range or does not fit another one.
    #[error("`train.{key}` is {given}, expected {expected}")]
    Option {
        /// Key below `[train]`, as in `network.heads`.
        key: String,
        /// What is allowed.
        expected: String,
        /// What the config says.
        given: String,
    },
    /// A device this build has no support for.
    #[error("device `{given}` is not available, expected one of {known}")]
    Device {
        /// The name asked for.
        given: String,
        /// Names this build can use.
        known: String,
    },
    /// The feature shape has no inputs, or a categorical input without ids.
    #[error("the feature shape has {given}, expected {expected}")]
    Shape {
        /// What is allowed.
        expected: String,
        /// What was given.
        given: String,
    },
    /// The configuration or the inputs are not those of the ranker that an update begins with.
    #[error("the update has {given}, expected {expected}")]
    Update {
        /// What the ranker has.
        expected: String,
        /// What was given.
        given: String,
    },
    /// There was no batch to train on.
    #[error("the training data has no lists with slots, expected at least one in epoch {epoch}")]
    EmptyData {
        /// Epoch, counted from 1.
        epoch: u32,
    },
    /// No label is positive, so a loss has nothing to learn.
    #[error(
        "no training list has a positive `{label}` label, so the {loss} loss of head `{head}` has nothing to learn"
    )]
    NoPositives {
        /// Label the loss reads.
        label: String,
        /// Name of the loss.
        loss: String,
        /// Head the loss trains.
        head: String,
    },
    /// An array of a batch has the wrong length or width for this network.
    #[error("`{array}` of a batch is {given}, expected {expected}")]
    BatchShape {
        /// Field of the batch.
        array: &'static str,
        /// What the batch has.
        given: usize,
        /// What the network and the other fields ask for.
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
    /// The loss, a gradient or a weight is no longer a finite number.
    #[error(
        "training diverged at step {step}: the {what} is {value}, expected a finite number{}",
        because(culprit.as_ref())
    )]
    Diverged {
        /// Optimiser step, counted from 1.
        step: u64,
        /// What is not finite.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Where in the batch it began.
        culprit: Option<Culprit>,
        /// What the epochs before it came to, if one was validated.
        best: Option<Box<Trained>>,
    },
    /// Someone asked training to end.
    #[error("training was interrupted after step {step}{}", saved_in(checkpoint.as_ref()))]
    Interrupted {
        /// Optimiser steps made.
        step: u64,
        /// The checkpoint that was written, where there is a place for one.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint belongs to another training.
    #[error("checkpoint `{path}` has {what} {given}, expected {expected}")]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the checkpoint has.
        given: String,
        /// What the training has.
        expected: String,
    },
    /// The caller's validation failed.
    #[error("validation after epoch {epoch} failed")]
    Validation {
        /// Epoch, counted from 1.
        epoch: u32,
        /// The caller's error.
        #[source]
        source: BoxError,
    },
    /// The validation metric cannot be compared.
    #[error("validation metric `{name}` after epoch {epoch} is {value}, expected a finite number")]
    Metric {
        /// Name of the metric.
        name: String,
        /// Epoch, counted from 1.
        epoch: u32,
        /// Its value.
        value: f64,
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
    #[error("`{path}` is not a model description")]
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
    /// `model.safetensors` is broken.
    #[error("`{path}` is not a readable weights file")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// A tensor of `model.safetensors` is missing, unknown, not finite or of another shape.
    #[error("tensor `{tensor}` in `{path}` is {given}, expected {expected}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What the network asks for.
        expected: String,
        /// What the file has.
        given: String,
    },
    /// A device failed at a batch.
    #[error("the device could not compute a batch: {told}")]
    Compute {
        /// What it says about it.
        told: String,
        /// Whether it had no room.
        out_of_memory: bool,
    },
    /// The worker threads could not be started.
    #[error("cannot start worker threads")]
    Threads {
        /// Cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

/// The slot of a batch where numbers stopped being finite, and its largest input.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// List, counted from 0: in its data where the batch says so, or else in the batch.
    pub list: usize,
    /// Slot of the list, counted from 0.
    pub slot: usize,
    /// Dense input, counted from 0.
    pub column: usize,
    /// The input's value.
    pub value: f32,
}

fn saved_in(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or_else(String::new, |path| {
        format!("; its state is in `{}`", path.display())
    })
}

fn because(culprit: Option<&Culprit>) -> String {
    culprit.map_or_else(String::new, |culprit| {
        format!(
            "; it begins with list {}, slot {}, whose largest input is {} in column {}",
            culprit.list, culprit.slot, culprit.value, culprit.column
        )
    })
}

/// What this build would need for a device of this name.
fn missing_support(device: &str) -> Option<&'static str> {
    if device.starts_with("cuda") && !cfg!(feature = "cuda") {
        Some("this build knows no cards of NVIDIA: build it with `--features cuda`")
    } else if device.starts_with("gpu") && !cfg!(feature = "gpu") {
        Some(
            "this build knows no graphics cards, `gpu:N` or `vulkan:N` or `metal:N`: build it with \
             `--features gpu`",
        )
    } else {
        None
    }
}

impl Hint for ModelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Diverged { .. } => Some(
                "lower `train.learning_rate`, raise `train.warmup_steps`, or set \
                 `train.gradient_clip = 1.0`"
                    .to_owned(),
            ),
            Self::NoPositives { label, .. } => Some(format!(
                "train on a longer window, or on a label that occurs (`{label}` never does)"
            )),
            Self::Device { given, .. } => missing_support(given).map(str::to_owned),
            Self::BatchValue { expected, .. } if expected.contains("seed item") => Some(
                "`train.network.towers.seed` names inputs of the page's seed item alone, such as those of \
                 `seed_…` columns"
                    .to_owned(),
            ),
            Self::BatchValue { array: "dense", .. } => Some(
                "give the feature a missing indicator or a clip, so that every input is finite"
                    .to_owned(),
            ),
            Self::BatchShape { .. } => Some(
                "score with the feature map the model was trained with (`feature_map.json` of the \
                 run)"
                    .to_owned(),
            ),
            Self::Compute {
                out_of_memory: true,
                ..
            } => Some(
                "it is out of memory: lower `train.batch_lists` (raising `train.accumulate` by the same \
                 factor keeps the step), `train.network.hidden`, or the longest list \
                 (`features.max_list_length`, which is what counts in scoring); or pass --device cpu"
                    .to_owned(),
            ),
            Self::EmptyData { .. } => {
                Some("widen the training window, or lower the minimum list length".to_owned())
            }
            Self::Weights { .. } | Self::Tensor { .. } => {
                Some("take weights and description from the same run or network".to_owned())
            }
            Self::Interrupted {
                checkpoint: Some(_),
                ..
            } => Some(
                "go on with the same command and --resume: it ends with the same weights as if it \
                 had not stopped"
                    .to_owned(),
            ),
            Self::Checkpoint { .. } => Some(
                "resume with the config, data, seed, device and version it was made with, or leave out \
                 --resume and pass --force to begin anew"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_says_what_to_lower() {
        let error = ModelError::Diverged {
            step: 12,
            what: "loss",
            value: f64::NAN,
            culprit: Some(Culprit {
                list: 3,
                slot: 1,
                column: 2,
                value: 1e30,
            }),
            best: None,
        };
        assert_eq!(
            error.to_string(),
            "training diverged at step 12: the loss is NaN, expected a finite number; it begins with \
             list 3, slot 1, whose largest input is 1000000000000000000000000000000 in \
             column 2"
        );
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("train.learning_rate"))
        );
    }

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + std::error::Error>() {}
        check::<ModelError>();
        assert!(
            ModelError::EmptyData { epoch: 1 }
                .to_string()
                .contains("epoch 1")
        );
    }
}
