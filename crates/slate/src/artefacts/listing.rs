//! What is in a folder, in an order that does not change.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The names of what is in a folder, sorted; none where there is no folder.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read `{}`", folder.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Removes what kills have left in a folder: everything hidden. Only for who holds the lease on it; what
/// another process that wakes up late is at is lost to it, and that is as it should be.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn sweep_hidden(folder: &Path) -> Result<()> {
    for name in names(folder)?.iter().filter(|name| name.starts_with('.')) {
        let path = folder.join(name);
        // Both may be at the same: who comes second finds it gone.
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
    Ok(())
}

/// The paths of all files below a folder, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            let below = files_below(&path)?.into_iter();
            files.extend(below.map(|own| format!("{name}/{own}")));
        } else {
            files.push(name);
        }
    }
    Ok(files)
}
