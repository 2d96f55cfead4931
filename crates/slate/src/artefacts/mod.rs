//! Files the program itself reads and writes: staged outputs, score files, run manifests.

mod guarded;
mod interrupted;
pub(crate) mod items;
mod lease;
mod listing;
mod lock;
pub(crate) mod manifest;
pub(crate) mod registry;
pub(crate) mod scores;
mod staged;
pub(crate) mod tensorboard;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::console::Refusal;

pub(crate) use self::guarded::guarded;
pub(crate) use interrupted::{INTERRUPTED, clean_up_when_interrupted, end_when_asked};
pub(crate) use lease::Lease;
pub(crate) use listing::{files_below, names, sweep_hidden};
pub(crate) use lock::OutputLock;
pub(crate) use staged::{Staged, replace_file, sync_all, write_file};

/// The hidden neighbour `.NAME.SUFFIX` of an output.
///
/// # Errors
/// An output without a name.
pub(crate) fn neighbour(target: &Path, suffix: &str) -> Result<PathBuf> {
    let name = target
        .file_name()
        .ok_or_else(|| Refusal::new(format!("`{}` does not name an output", target.display())))?;
    Ok(target.with_file_name(format!(".{}.{suffix}", name.to_string_lossy())))
}
