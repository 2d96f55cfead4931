//! Everything this crate refuses, with the place and what was expected there.
//!
//! Messages name the file and, where there is one, the column and the row (counted from 0) or
//! the line (counted from 1). Advice is kept apart, in [`Hint`].

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use slate_types::{FormatVersionError, Hint, Split};

/// Why features or a dataset could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A file could not be opened, read or written.
    #[error("cannot {action} `{}`", file.display())]
    Io {
        /// What was tried, as in "read".
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A Parquet file is broken or cut short.
    #[error("cannot read `{}` as Parquet", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// What the Parquet reader says.
        source: parquet::errors::ParquetError,
    },
    /// The columns of a Parquet file could not be decoded.
    #[error("cannot decode `{}`", file.display())]
    Arrow {
        /// The file.
        file: PathBuf,
        /// What the decoder says.
        source: arrow::error::ArrowError,
    },
    /// A JSON file of a dataset does not have the expected form.
    #[error("cannot read `{}`", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong in it, with line and column.
        source: serde_json::Error,
    },
    /// A file was written by a newer version.
    #[error("cannot read `{}`", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Version found and versions known.
        source: FormatVersionError,
    },
    /// An option has a value that makes no sense.
    #[error("`{key}` is {given}, expected {expected}")]
    Option {
        /// The key as it stands in the config, as in `features.numeric[2].clip`.
        key: String,
        /// The value that was given.
        given: String,
        /// What is allowed.
        expected: String,
    },
    /// A column is needed and the file has no such column.
    #[error(
        "`{}` has no column `{column}`, which {wanted_by} needs (columns: {})",
        file.display(),
        available.join(", ")
    )]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column asked for.
        column: String,
        /// Who asks, as in "`features.numeric[0]`".
        wanted_by: String,
        /// The columns there are.
        available: Vec<String>,
    },
    /// A column has a type that cannot be used as asked.
    #[error("column `{column}` of `{}` has type {found}, expected {expected}", file.display())]
    ColumnType {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// What is needed, as in "numbers".
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
    /// A value is outside what its column may hold.
    #[error("column `{column}`, row {row} of `{}` is {value}, expected {expected}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// The row, counted from 0 over the whole file.
        row: u64,
        /// The value, or "null".
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Rows of one list do not stand together, or lists are not in the order of time.
    #[error("row {row} of `{}` is out of order: {problem}", file.display())]
    Order {
        /// The file.
        file: PathBuf,
        /// The row, counted from 0.
        row: u64,
        /// What is wrong.
        problem: String,
    },
    /// There are no rows, or too few lists to divide.
    #[error("`{}` has {lists} usable lists ({left_out} left out), expected at least 4", file.display())]
    TooFewLists {
        /// The file or folder.
        file: PathBuf,
        /// Lists that can be used.
        lists: u64,
        /// Lists that cannot, since a label window is still open.
        left_out: u64,
    },
    /// A part of the dataset would have no list.
    #[error("the {} split has no list: {reason}", split.name())]
    EmptySplit {
        /// The part.
        split: Split,
        /// The rule that led to it.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("no clicks and no purchases in the training window ({lists} lists)")]
    NoPositives {
        /// Lists in the training window.
        lists: u64,
    },
    /// A `.npy` file is not one, or not one that Slate writes.
    #[error("`{}` is not a usable .npy file: {problem}", file.display())]
    Npy {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file of a dataset does not agree with its manifest.
    #[error("`{}` has {what} {found}, but its manifest says {expected}", file.display())]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// What was compared, as in "shape".
        what: &'static str,
        /// What the file has.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A dataset was written in other formats alone.
    #[error("the dataset `{}` holds no `.npy` arrays", folder.display())]
    NoArrays {
        /// The dataset.
        folder: PathBuf,
    },
    /// A LETOR file cannot be understood.
    #[error("line {line} of `{}`: {problem}", file.display())]
    Letor {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A folder does not hold the LETOR files that are needed.
    #[error("`{}` {problem}", folder.display())]
    LetorFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl FeatureError {
    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io {
            action,
            file,
            source,
        }
    }

    /// For `map_err` on JSON.
    pub(crate) fn json(file: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Json { file, source }
    }

    /// For `map_err` on Arrow operations.
    pub(crate) fn arrow(file: &Path) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Arrow { file, source }
    }

    /// For `map_err` on Parquet operations.
    pub(crate) fn parquet(file: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Parquet { file, source }
    }

    /// An option outside its range.
    pub(crate) fn option(
        key: impl Into<String>,
        given: impl Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Option {
            key: key.into(),
            given: given.to_string(),
            expected: expected.into(),
        }
    }
}

impl Hint for FeatureError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::MissingColumn {
                column, available, ..
            } => {
                format!("did you mean `{}`?", nearest(column, available)?)
            }
            Self::ColumnType {
                column,
                expected: "numbers",
                ..
            } => {
                format!("list `{column}` under `features.categorical`, or leave it out")
            }
            Self::Parquet { .. } | Self::Arrow { .. } | Self::Npy { .. } => {
                "the file may have been cut short while it was copied; make it again".to_owned()
            }
            Self::TooFewLists { left_out, .. } if *left_out > 0 => {
                "the labels of the lists left out can still change: shorten the attribution \
                 windows, or set a later `label_as_of` if the log goes on"
                    .to_owned()
            }
            Self::TooFewLists { .. } => {
                "a dataset needs at least one list for each of train, valid, calibrate and test"
                    .to_owned()
            }
            Self::EmptySplit { split, .. } => format!(
                "change `split.{0}` or `split.{0}_from`, or use a log that covers more time",
                split.name()
            ),
            Self::NoPositives { .. } => {
                "check that events carry the ids of the impressions' users, sessions or items, \
                 and that the attribution windows are long enough; the join report says where \
                 events were lost"
                    .to_owned()
            }
            Self::Mismatch { .. } => {
                "files of a dataset belong together: make it again instead of editing it".to_owned()
            }
            Self::NoArrays { .. } => {
                "training and scoring read those: make it again with `--format npy`, alone or \
                 beside others"
                    .to_owned()
            }
            Self::Order { .. } => {
                "examples are sorted by page time, page, list and slot; make them again".to_owned()
            }
            Self::Version { .. } => "a newer Slate wrote it; use that version".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

/// The candidate most like `wanted`, if one is like it at all.
fn nearest(wanted: &str, candidates: &[String]) -> Option<String> {
    let allowed = (wanted.chars().count() / 3).max(2);
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_lists_what_there_is_and_suggests_the_nearest() {
        let error = FeatureError::MissingColumn {
            file: "x.parquet".into(),
            column: "pirce".into(),
            wanted_by: "`features.numeric[0]`".into(),
            available: vec!["price".into(), "slot".into()],
        };
        assert_eq!(
            error.to_string(),
            "`x.parquet` has no column `pirce`, which `features.numeric[0]` needs \
             (columns: price, slot)"
        );
        assert_eq!(error.hint().as_deref(), Some("did you mean `price`?"));
    }

    #[test]
    fn nothing_alike_gives_no_hint() {
        assert_eq!(nearest("quality", &["slot".into(), "price".into()]), None);
    }
}
