//! Importers: public log formats to the tables of `slate_types::log`.
//!
//! In: the files of a published data set, plain or gzip, as their publishers name them. Out: a
//! canonical log in an empty folder: `page_impression.parquet`, `slot_impression.parquet`,
//! `item.parquet`, `event.parquet` where anybody did anything, `ids.parquet` where text became numbers,
//! `rejects.parquet` where rows were unusable, and `manifest.json` with the SHA-256 of every
//! source file. Times are UTC microseconds, money is whole cents, an unknown value is null.
//!
//! A row that cannot be used (too few columns, a malformed number, an unknown item) is set aside
//! with its file, line, column, value and reason. A file is refused when it lacks a column, has
//! no rows, is cut off, or when more than half of its rows cannot be used.
//!
//! ```
//! use slate_logs::import::{Format, import};
//!
//! let dir = std::env::temp_dir().join(format!("slate-import-doc-{}", std::process::id()));
//! let out = dir.join("log");
//! std::fs::create_dir_all(&out)?;
//! let source = dir.join("displays.csv");
//! std::fs::write(
//!     &source,
//!     "uuid,display_id,ad_id,document_id,timestamp_view,platform,geo_location,clicked,day\n\
//!      u1,1,10,7,2016-06-14 04:00:00.000,2.0,CA>ON,0,14\n\
//!      u1,1,11,7,2016-06-14 04:00:00.000,2.0,CA>ON,1,14\n",
//! )?;
//! let summary = import(Format::Outbrain, &source, &out, &slate_types::Silent)?;
//! assert_eq!(summary.rows("slot_impression"), 2);
//! assert_eq!(summary.rows("event"), 1);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canonical;
mod csv_file;
mod diginetica;
mod error;
mod expedia;
mod ids;
mod log_writer;
mod open_bandit;
mod outbrain;
mod record;
mod rees46;
mod sources;
pub(crate) mod table_writer;
pub(crate) mod time;

use std::path::Path;

use serde::Serialize;
use slate_types::Progress;

pub use error::ImportError;

/// A published log format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Open Bandit Dataset: recommendations with true propensities, two policies, three campaigns.
    OpenBandit,
    /// Outbrain click prediction, displays joined with their events in one CSV file.
    Outbrain,
    /// Expedia personalised sort (ICDM 2013): hotel searches with clicks and bookings.
    Expedia,
    /// Diginetica (CIKM Cup 2016): item views and purchases of shop sessions.
    Diginetica,
    /// REES46 shops: views, carts and purchases with prices and brands.
    Rees46,
}

impl Format {
    /// All formats, in the order they are listed to a person.
    pub const ALL: [Self; 5] = [
        Self::OpenBandit,
        Self::Outbrain,
        Self::Expedia,
        Self::Diginetica,
        Self::Rees46,
    ];

    /// The name a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenBandit => "open-bandit",
            Self::Outbrain => "outbrain",
            Self::Expedia => "expedia",
            Self::Diginetica => "diginetica",
            Self::Rees46 => "rees46",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// [`ImportError::UnknownFormat`] with the list of known names.
    pub fn from_name(name: &str) -> Result<Self, ImportError> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL
                    .iter()
                    .map(|format| format!("`{}`", format.name()))
                    .collect();
                ImportError::UnknownFormat {
                    name: name.to_owned(),
                    known: known.join(", "),
                }
            })
    }
}

/// What an import wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Each table written and its number of rows, in the order of the log schema.
    pub tables: Vec<(String, u64)>,
    /// Facts about this log that a user must know before trusting a number made from it.
    pub notes: Vec<String>,
    /// Source rows set aside in `rejects.parquet`.
    pub rejects: u64,
}

impl ImportSummary {
    /// Rows written to this table, 0 where it was not written.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables
            .iter()
            .find(|(name, _)| name == table)
            .map_or(0, |(_, rows)| *rows)
    }
}

/// Reads `src`, a folder or file of `format`, and writes a canonical log into `out`.
///
/// `out` must exist and be empty; every file is complete and synced when this returns. The same
/// source bytes give the same output bytes.
///
/// # Errors
/// [`ImportError`] where the source is missing, incomplete or mostly unusable, or `out` cannot be
/// written; what was written until then is the caller's to remove.
pub fn import(
    format: Format,
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    if !src.exists() {
        return Err(ImportError::NotFound {
            path: src.to_owned(),
        });
    }
    match format {
        Format::OpenBandit => open_bandit::import(src, out, progress),
        Format::Outbrain => outbrain::import(src, out, progress),
        Format::Expedia => expedia::import(src, out, progress),
        Format::Diginetica => diginetica::import(src, out, progress),
        Format::Rees46 => rees46::import(src, out, progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_format() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()).unwrap(), format);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = Format::from_name("outbrian").unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown format `outbrian`, expected one of \
             `open-bandit`, `outbrain`, `expedia`, `diginetica`, `rees46`"
        );
    }
}
