//! What can go wrong: a config out of range, a catalogue too small, a disk that will not take it.

use std::path::PathBuf;

use slate_types::Hint;

/// Why a marketplace was not simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A config value is outside its range.
    #[error("`simulate.{key}` is {given}, expected {expected}")]
    Config {
        /// Key in the section `[simulate]`.
        key: &'static str,
        /// The value as given.
        given: String,
        /// What would be accepted.
        expected: String,
    },
    /// Two config values contradict each other.
    #[error("`simulate.{low_key}` is {low} but `simulate.{high_key}` is {high}, expected {rule}")]
    Conflict {
        /// Key that should hold the smaller value.
        low_key: &'static str,
        /// Its value.
        low: String,
        /// Key that should hold the larger value.
        high_key: &'static str,
        /// Its value.
        high: String,
        /// The rule both must keep.
        rule: &'static str,
    },
    /// No intercept gives the asked rate: examination and cancels alone keep it lower.
    #[error("`simulate.{key}` is {given}, expected at most {reachable:.4} with these settings")]
    RateOutOfReach {
        /// `click_rate` or `purchase_rate`.
        key: &'static str,
        /// The rate asked for.
        given: f64,
        /// The largest the other settings allow.
        reachable: f64,
    },
    /// One user would see more items in a month than the catalogue can give.
    #[error(
        "`simulate.items` is {items}, expected at least {needed}: one user sees up to {pages} pages a month"
    )]
    CatalogueTooSmall {
        /// Items in the config.
        items: u64,
        /// Items that would do.
        needed: u64,
        /// Most pages any user sees in one month.
        pages: u64,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A table could not be encoded.
    #[error("cannot write table `{}`", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: parquet::errors::ParquetError,
    },
}

impl Hint for SimError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::RateOutOfReach { key, .. } => Some(format!(
                "lower `{key}`, or let users look further down with a smaller \
                 `examination_exponent`"
            )),
            Self::CatalogueTooSmall { .. } => Some(
                "add items or users, or simulate fewer pages: no user is shown an item twice \
                 within 30 days, so that every purchase has one placement it came from"
                    .to_owned(),
            ),
            Self::Io { .. } => {
                Some("check that the folder can be written and the disk has room".to_owned())
            }
            Self::Config { .. } | Self::Conflict { .. } | Self::Parquet { .. } => None,
        }
    }
}
