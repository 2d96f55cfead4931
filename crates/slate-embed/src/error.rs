//! What can go wrong between a folder of weights and a store of vectors.

use std::io;
use std::path::{Path, PathBuf};

use slate_types::{FormatVersionError, Hint};

use crate::Identity;

/// Why an encoder could not be read or asked, or a store not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// An option is out of range.
    #[error("`{key}` is {given}, expected {expected}")]
    Option {
        /// The option.
        key: &'static str,
        /// What it is.
        given: String,
        /// What is allowed.
        expected: String,
    },
    /// A folder lacks a file.
    #[error("`{}` has no file `{expected}`", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What it should hold.
        expected: String,
    },
    /// A description of an encoder is not one this crate can follow.
    #[error("`{}` describes no encoder that slate knows: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A vocabulary cannot be read, does not fit its network, or fails at a text.
    #[error("the vocabulary `{}` cannot be used: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file holds no tensors.
    #[error("`{}` holds no readable weights", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: candle_core::Error,
    },
    /// Weights are not those of the network that was described.
    #[error("the weights in `{}` do not fit their network: {problems}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The first ten problems.
        problems: String,
    },
    /// A device is not there, or not in this build.
    #[error("device `{given}` is not available")]
    Device {
        /// What was asked for.
        given: String,
        /// Cause.
        #[source]
        source: candle_core::Error,
    },
    /// A device failed at a computation.
    #[error("could not compute vectors")]
    Compute(#[from] candle_core::Error),
    /// A store was made by another encoder.
    #[error(
        "`{}` holds vectors of {} ({} numbers, {:.12}), not of {} ({} numbers, {:.12})",
        folder.display(), found.encoder, found.dimensions, found.fingerprint,
        given.encoder, given.dimensions, given.fingerprint
    )]
    OtherEncoder {
        /// The store.
        folder: PathBuf,
        /// Who made it.
        found: Box<Identity>,
        /// Who wants to add to it.
        given: Box<Identity>,
    },
    /// A file of a store is not what its neighbours say it is.
    #[error("`{}` of a vector store is broken: {problem}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An encoder made a vector that is none.
    #[error("{encoder} made a vector with a number that is not finite, for content {content}")]
    NotFinite {
        /// Kind of encoder.
        encoder: String,
        /// Its place among those computed together, counted from 0.
        content: usize,
    },
    /// A store has a version this build does not read.
    #[error("`{}` cannot be read by this version of slate", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: FormatVersionError,
    },
    /// Another process writes to the store.
    #[error("another process is writing to `{}`", folder.display())]
    Busy {
        /// The store.
        folder: PathBuf,
    },
}

impl EmbedError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Hint for EmbedError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing { .. } => {
                "an encoder is a folder as Hugging Face has them; `datasets/fetch_weights.py` makes \
                 two, and the encoder `hashed` needs none"
            }
            Self::Layout { .. } => {
                "titles: weights of BERT, DistilBERT or RoBERTa as transformers saves them; pictures: \
                 a residual network as torchvision or timm saves it"
            }
            Self::Device { given, .. } if given.starts_with("cuda") && !cfg!(feature = "cuda") => {
                "this build knows no cards of NVIDIA for encoders: build it with `--features \
                 embed-cuda`"
            }
            Self::Device { given, .. } if given == "metal" && !cfg!(feature = "metal") => {
                "this build knows no cards of Apple for encoders: build it with `--features \
                 embed-metal`"
            }
            Self::OtherEncoder { .. } => {
                "one store, one encoder: write to another folder, or give --force to compute all \
                 vectors anew"
            }
            Self::Store { .. } => "give --force to compute all vectors of this store anew",
            Self::Busy { .. } => "wait for it, or stop it; what it has done is kept",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
