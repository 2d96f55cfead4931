//! What can go wrong in an import, said so that a person can act on it.

use std::io;
use std::path::PathBuf;

use slate_types::Hint;

/// A source that cannot be imported, or a log that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// No importer has this name.
    #[error("unknown format `{name}`, expected one of {known}")]
    UnknownFormat {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The source does not exist.
    #[error("no such file or folder `{}`", path.display())]
    NotFound {
        /// The source given.
        path: PathBuf,
    },
    /// The folder lacks a file of the format.
    #[error("`{}` holds no {expected}", path.display())]
    NoSource {
        /// The folder searched.
        path: PathBuf,
        /// The file that should be there.
        expected: String,
    },
    /// Two or more files could be meant.
    #[error("`{}` holds more than one {expected}: {found}", path.display())]
    Ambiguous {
        /// The folder searched.
        path: PathBuf,
        /// The file that should be there once.
        expected: String,
        /// The names found.
        found: String,
    },
    /// A source cannot be read.
    #[error("cannot read `{}` after line {line}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The last line that was read whole, 0 for none.
        line: u64,
        /// Why not.
        source: io::Error,
    },
    /// A file without a header, or without rows below it.
    #[error(
        "`{}` has no {what}, expected a header and rows with the columns {expected}",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// `header` or `rows`.
        what: &'static str,
        /// The columns the format has.
        expected: String,
    },
    /// The header lacks a column.
    #[error(
        "`{}` has no column `{column}` in line 1, expected the columns {expected}, given {given}",
        path.display()
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The columns the format has.
        expected: String,
        /// The columns the file has.
        given: String,
    },
    /// More than half of a file's rows cannot be used.
    #[error(
        "{rejected} of {rows} rows of `{}` cannot be used; the first is line {line}, \
         column `{column}`: `{value}`, {reason}",
        path.display()
    )]
    MostlyRejected {
        /// The file.
        path: PathBuf,
        /// Rows that cannot be used.
        rejected: u64,
        /// Rows of the file.
        rows: u64,
        /// Line of the first of them, counted from 1.
        line: u64,
        /// Its column.
        column: String,
        /// What stands there.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// A plain file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A table cannot be written.
    #[error("cannot write table `{}`", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: parquet::errors::ParquetError,
    },
}

impl Hint for ImportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ambiguous { .. } => {
                Some("name the file itself, or move the others elsewhere".to_owned())
            }
            Self::MissingColumn { column, given, .. } => {
                let plain = |name: &str| name.to_lowercase().replace(['_', '-', ' ', '`'], "");
                given
                    .split(", ")
                    .find(|name| plain(name) == plain(column))
                    .map(|name| format!("rename {name} to `{column}`"))
                    .or_else(|| Some("check that the format name matches the file".to_owned()))
            }
            Self::MostlyRejected { .. } => {
                Some("check that the file is of this format and was not edited".to_owned())
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                Some("the file is cut off; fetch it again".to_owned())
            }
            _ => None,
        }
    }
}
