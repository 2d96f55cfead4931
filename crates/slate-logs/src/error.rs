//! What can be wrong with a log, and what to do about it.

use std::path::PathBuf;

use slate_types::{FormatVersionError, Hint};

/// A log could not be read, checked or turned into examples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Reading or writing a file failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// As in "open", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table that every log has is not there.
    #[error("`{}` has no `{table}.parquet`, expected a file or a folder of parts of that name", dir.display())]
    MissingTable {
        /// The log.
        dir: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// A place that cannot be one of a log, or has no files.
    #[error("`{location}`: {problem}")]
    Location {
        /// As it was typed.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A store of objects refused or failed.
    #[error("cannot {action} `{location}`")]
    Store {
        /// As in "list", "read".
        action: &'static str,
        /// The URL.
        location: String,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// A cluster that is not there, or is no longer.
    #[error("cannot use the cluster `{address}`: {reason}")]
    Cluster {
        /// Of its scheduler, as it was typed.
        address: String,
        /// What happened.
        reason: String,
    },
    /// A cluster, and a program that was built without.
    #[error("cannot use the cluster `{address}`: this program was built without clusters")]
    NoCluster {
        /// Of its scheduler, as it was typed.
        address: String,
    },
    /// A share of the job that the cluster never got right.
    #[error(
        "the cluster `{address}` failed {attempts} times at shard {shard}, at last because {reason}"
    )]
    Shard {
        /// Of its scheduler, as it was typed.
        address: String,
        /// From 0.
        shard: u32,
        /// How often it was begun.
        attempts: u32,
        /// Why the last attempt was thrown away.
        reason: String,
    },
    /// A node of a cluster that cannot begin or go on.
    #[error("cannot run this node of the cluster: {reason}")]
    Node {
        /// Why.
        reason: String,
    },
    /// A shard that was checked and then changed.
    #[error("the shard `{}` is no longer what was checked: {reason}", path.display())]
    SpoiltShard {
        /// On this machine.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two jobs for one output.
    #[error("another job keeps its shards in `{}`", folder.display())]
    ShardsInUse {
        /// Beside the output.
        folder: PathBuf,
    },
    /// A file is not the one it was when the job began.
    #[error("`{}` was changed or removed while it was being read", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// Files of one table in several formats.
    #[error("`{}` has {first} and {other} parts, expected one format", path.display())]
    MixedFormats {
        /// The table.
        path: PathBuf,
        /// The first part's format.
        first: &'static str,
        /// Another part's.
        other: &'static str,
    },
    /// Text could not be turned into a table.
    #[error(transparent)]
    Convert(Box<crate::import::ImportError>),
    /// A folder of parts without parts.
    #[error("`{}` is a folder without files of a table", dir.display())]
    NoParts {
        /// The folder.
        dir: PathBuf,
    },
    /// A file is no Parquet, is cut off or is damaged.
    #[error("`{}` is not a whole Parquet file", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What the reader met.
        source: parquet::errors::ParquetError,
    },
    /// A required column is not there.
    #[error("`{}` has no column `{column}` ({doc})", file.display())]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// What the column holds.
        doc: &'static str,
        /// A column of the file with a name much like it.
        nearest: Option<String>,
    },
    /// A column holds another type of values.
    #[error("column `{column}` of `{}` has type {given}, expected {expected}", file.display())]
    ColumnType {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// Types that are accepted.
        expected: &'static str,
        /// Type in the file.
        given: String,
    },
    /// A part of a table does not look like its first part.
    #[error("column `{column}` of `{}` is {given}, expected {expected} as in `{}`", file.display(), first.display())]
    PartDiffers {
        /// The part.
        file: PathBuf,
        /// The first part of the table.
        first: PathBuf,
        /// The column.
        column: String,
        /// What it is in the first part.
        expected: String,
        /// What it is here.
        given: String,
    },
    /// A table has no rows.
    #[error("`{}` has no rows", file.display())]
    Empty {
        /// The file or folder.
        file: PathBuf,
    },
    /// The manifest beside the tables is not that of a log.
    #[error("`{}` is not the manifest of a log: {reason}", file.display())]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The log is of a version this build cannot read.
    #[error("cannot read the log in `{}`", dir.display())]
    Format {
        /// The log.
        dir: PathBuf,
        /// Which version it is.
        source: FormatVersionError,
    },
    /// An option is out of range.
    #[error("`{key}` is {given}, expected {expected}")]
    Option {
        /// The key in the config.
        key: String,
        /// Its value.
        given: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// The job cannot be done in this memory, in any number of passes.
    #[error(
        "{} of memory is too little for this log, expected at least {}",
        mebibytes(*given), mebibytes(*needed)
    )]
    Memory {
        /// Bytes it may take.
        given: u64,
        /// Bytes it needs.
        needed: u64,
    },
    /// History is asked for of a key that no table tells.
    #[error("`history_keys` has `{key}`, but no table of `{}` has {expected}", dir.display())]
    NoKey {
        /// The key.
        key: &'static str,
        /// The log.
        dir: PathBuf,
        /// The columns that would tell it.
        expected: &'static str,
    },
    /// Every time of a column is far from today.
    #[error(
        "every `{column}` of `{}` is outside the years 2000 to 2100, for instance {example}{}, \
         expected microseconds since 1970", file.display(), looks_like_clause(*looks_like)
    )]
    Unit {
        /// The file or folder.
        file: PathBuf,
        /// The column.
        column: &'static str,
        /// One of its values.
        example: i64,
        /// The unit in which the values would make sense.
        looks_like: Option<&'static str>,
    },
    /// More rows were bad than the config allows.
    #[error(
        "{rejected} of {rows} rows of `{}` are unusable, more than the allowed share {limit}; the \
         commonest reason, on {commonest_rows} rows: `{column}` {reason}", file.display()
    )]
    TooManyRejects {
        /// The file or folder.
        file: PathBuf,
        /// Unusable rows.
        rejected: u64,
        /// All rows.
        rows: u64,
        /// Largest share allowed.
        limit: f64,
        /// Column of the commonest reason.
        column: String,
        /// The commonest reason.
        reason: String,
        /// Rows with it.
        commonest_rows: u64,
    },
    /// No placement is left to learn from.
    #[error("no usable row is left in `{}`: {reason}", dir.display())]
    NothingLeft {
        /// The log.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
    /// A ranked list that is on more than one page.
    #[error(
        "list {list_id} is on several pages, among them {first} and {second}, expected each list \
         on one page"
    )]
    ListOnManyPages {
        /// The list.
        list_id: i64,
        /// The smallest id of its pages.
        first: i64,
        /// The largest id of its pages.
        second: i64,
    },
    /// A page that the log does not have.
    #[error("page {page} is not in `{}`", dir.display())]
    UnknownPage {
        /// The page.
        page: i64,
        /// The log.
        dir: PathBuf,
        /// Smallest and largest id of its usable pages.
        range: Option<(i64, i64)>,
        /// The ids just below and above.
        nearest: Vec<i64>,
    },
    /// A page of which no row is used.
    #[error("page {page} of `{}` is not used: {problem}", dir.display())]
    UnusedPage {
        /// The page.
        page: i64,
        /// The log.
        dir: PathBuf,
        /// Why.
        problem: String,
    },
    /// The query engine failed.
    #[error("cannot {stage}")]
    Engine {
        /// What was being done.
        stage: &'static str,
        /// What the engine says.
        source: Box<datafusion::error::DataFusionError>,
    },
    /// Writing Parquet failed.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// The join report does not balance: our bug.
    #[error("{input} `{event_type}` events went in and {counted} came out")]
    Unbalanced {
        /// Type of event, or `total`.
        event_type: String,
        /// Events read.
        input: u64,
        /// Attributed, late, orphan and duplicate events together.
        counted: u64,
    },
}

fn looks_like_clause(unit: Option<&'static str>) -> String {
    unit.map(|unit| format!(" (looks like {unit})"))
        .unwrap_or_default()
}

/// What to do about a store, by what it said.
fn store_hint(error: &object_store::Error) -> String {
    let hint = match error {
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => {
            "the key may not do this: look at AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT or \
             AZURE_STORAGE_ACCOUNT_NAME and what they are allowed; reading and listing are needed"
        }
        object_store::Error::NotFound { .. } => {
            "there is no such bucket or file: look at the spelling and the region"
        }
        _ => {
            "look at the address; stores other than the big ones need AWS_ENDPOINT_URL, and \
             AWS_ALLOW_HTTP=true without TLS"
        }
    };
    hint.to_owned()
}

/// Bytes as whole mebibytes, rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

impl LogError {
    /// The same error about columns of another file.
    pub(crate) fn about(mut self, other: &std::path::Path) -> Self {
        if let Self::MissingColumn { file, .. } | Self::ColumnType { file, .. } = &mut self {
            other.clone_into(file);
        }
        self
    }

    /// Whether the same call may succeed a little later with nothing changed: a store that could not be
    /// reached, after its own retries.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store { source, .. } => matches!(**source, object_store::Error::Generic { .. }),
            _ => false,
        }
    }

    /// The file or folder the error is about, where there is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Io { path, .. } | Self::Write { path, .. } | Self::MixedFormats { path, .. } => {
                Some(path)
            }
            Self::MissingTable { dir, .. }
            | Self::NoParts { dir }
            | Self::Format { dir, .. }
            | Self::NoKey { dir, .. }
            | Self::NothingLeft { dir, .. }
            | Self::UnknownPage { dir, .. }
            | Self::UnusedPage { dir, .. } => Some(dir),
            Self::Damaged { file, .. }
            | Self::MissingColumn { file, .. }
            | Self::ColumnType { file, .. }
            | Self::PartDiffers { file, .. }
            | Self::Empty { file }
            | Self::Manifest { file, .. }
            | Self::Unit { file, .. }
            | Self::Changed { file }
            | Self::TooManyRejects { file, .. } => Some(file),
            Self::Option { .. }
            | Self::Location { .. }
            | Self::Store { .. }
            | Self::Cluster { .. }
            | Self::NoCluster { .. }
            | Self::Shard { .. }
            | Self::Node { .. }
            | Self::SpoiltShard { .. }
            | Self::ShardsInUse { .. }
            | Self::Convert(_)
            | Self::Memory { .. }
            | Self::ListOnManyPages { .. }
            | Self::Engine { .. }
            | Self::Unbalanced { .. } => None,
        }
    }

    /// The column the error is about, where there is one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::MissingColumn { column, .. }
            | Self::ColumnType { column, .. }
            | Self::PartDiffers { column, .. }
            | Self::TooManyRejects { column, .. } => Some(column),
            Self::Unit { column, .. } => Some(column),
            _ => None,
        }
    }
}

impl Hint for LogError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::MissingTable { .. } => Some(
                "a log is a folder with page_impression.parquet and slot_impression.parquet; \
                 `slate import` makes one from public formats"
                    .to_owned(),
            ),
            Self::MissingColumn {
                column,
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`? rename it to `{column}`")),
            Self::Damaged { .. } => {
                Some("the file may have been cut off while it was copied; copy it again".to_owned())
            }
            Self::Unit {
                looks_like: Some(unit),
                column,
                ..
            } => Some(format!("turn `{column}` from {unit} into microseconds")),
            Self::TooManyRejects { .. } => Some(
                "mend the column, or raise `max_reject_share` to leave such rows out".to_owned(),
            ),
            Self::ListOnManyPages { .. } => {
                Some("give each page a `list_id` of its own for each of its lists".to_owned())
            }
            Self::Memory { .. } => Some(
                "give more with `--memory`; pages and items must fit, the rest is done in passes"
                    .to_owned(),
            ),
            Self::Store { source, .. } => Some(store_hint(source)),
            Self::Cluster { .. } => Some(
                "look whether the scheduler and its executors run; a rerun takes up the shards that \
                 are done, and `--engine embedded` needs no cluster"
                    .to_owned(),
            ),
            Self::NoCluster { .. } => {
                Some("build it with `--features cluster`, or leave `--engine` out".to_owned())
            }
            Self::Shard { .. } => Some(
                "every node must see the log under the same path; if shards take too long, raise \
                 `--shard-timeout` or `--shards`; if nothing is scheduled after an executor left, start \
                 another; a rerun takes up the shards that are done"
                    .to_owned(),
            ),
            Self::SpoiltShard { .. } => Some("run again: it is made anew".to_owned()),
            Self::ShardsInUse { .. } => {
                Some("wait until it has ended, or choose another --out".to_owned())
            }
            Self::Changed { .. } => {
                Some("run again when whatever writes the log has ended".to_owned())
            }
            Self::NoParts { .. } => Some(
                "parts are `.parquet`, `.jsonl`, `.ndjson` or `.csv` files, text also `.gz` or `.zst`, \
                 in the folder or in partitions such as `dt=2026-01-03`"
                    .to_owned(),
            ),
            Self::UnknownPage {
                range: Some((first, last)),
                nearest,
                ..
            } => {
                let near: Vec<String> = nearest.iter().map(i64::to_string).collect();
                Some(format!(
                    "its page ids run from {first} to {last}; the nearest: {}",
                    near.join(" and ")
                ))
            }
            Self::NoKey { key, .. } => Some(format!("take `{key}` out of `history_keys`")),
            Self::Engine { .. } => {
                Some("if memory or disk ran out, give more or raise `--memory`".to_owned())
            }
            _ => None,
        }
    }
}
