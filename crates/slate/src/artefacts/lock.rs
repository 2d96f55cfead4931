//! One process at a time writes an output.
//!
//! The lock is the system's, on a hidden neighbour `.NAME.lock`: it ends with the process however
//! that ends, and a neighbour that a kill left behind locks nothing.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{interrupted, neighbour};
use crate::console::Refusal;

/// The right to write an output, until dropped.
#[derive(Debug)]
pub(crate) struct OutputLock {
    path: PathBuf,
    /// None where the file system knows no locks.
    file: Option<File>,
}

impl OutputLock {
    /// Takes the lock of an output whose folder exists.
    ///
    /// # Errors
    /// Another process that holds it; a folder that cannot be written.
    pub(crate) fn take(target: &Path) -> Result<Self> {
        let path = neighbour(target, "lock")?;
        loop {
            let file = File::create(&path)
                .with_context(|| format!("cannot create `{}`", path.display()))?;
            let file = match file.try_lock() {
                Ok(()) => Some(file),
                Err(TryLockError::Error(_)) => None,
                Err(TryLockError::WouldBlock) => {
                    let told = format!("another process is writing `{}`", target.display());
                    let hint = "wait for it, or choose another --out";
                    return Err(Refusal::new(told).hint(hint).into());
                }
            };
            // Who held it before may have removed the file between the two calls, and another made one.
            if is_still(file.as_ref(), &path) {
                interrupted::begin(&path);
                return Ok(Self { path, file });
            }
        }
    }
}

/// Whether the file that is held is the one of this name.
fn is_still(file: Option<&File>, path: &Path) -> bool {
    let held = file.map(File::metadata);
    match (held, fs::metadata(path)) {
        #[cfg(unix)]
        (Some(Ok(held)), Ok(named)) => {
            use std::os::unix::fs::MetadataExt as _;
            (held.dev(), held.ino()) == (named.dev(), named.ino())
        }
        (_, named) => named.is_ok(),
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Before the lock ends with the file. A failure leaves an empty file that locks nothing.
        let _ = fs::remove_file(&self.path);
        interrupted::end(&self.path);
        self.file.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_refused_while_the_first_writes() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let first = OutputLock::take(&target).unwrap();
        let refused = OutputLock::take(&target).unwrap_err().to_string();
        assert!(
            refused.starts_with("another process is writing"),
            "{refused}"
        );
        assert!(OutputLock::take(&dir.path().join("other")).is_ok());
        drop(first);
        assert!(OutputLock::take(&target).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_kill_left_locks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".out.lock"), "").unwrap();
        assert!(OutputLock::take(&dir.path().join("out")).is_ok());
    }
}
