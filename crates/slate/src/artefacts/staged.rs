//! Outputs that appear whole or not at all.
//!
//! A command writes into a hidden neighbour of its output, `.NAME.partial`, and renames it into
//! place when everything is on disk. An error or an interrupt removes the neighbour; a kill leaves
//! it, and the next run of the command removes it first. What took hours is kept instead, in a
//! neighbour of another name, until it is finished or someone says to begin anew.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{OutputLock, interrupted, neighbour};
use crate::console::Refusal;

/// Files one of which every folder written by a command holds. Only such folders are replaced.
const MARKS: [&str; 4] = [
    "manifest.json",
    "comparison.json",
    "truth.json",
    "join.json",
];

/// An output folder or file under construction.
#[derive(Debug)]
pub(crate) struct Staged {
    target: PathBuf,
    partial: PathBuf,
    replace: bool,
    committed: bool,
    /// Whether what was written outlives an error.
    kept: bool,
    /// Dropped last, after all that is written.
    _lock: OutputLock,
}

impl Staged {
    /// Prepares an output folder.
    ///
    /// # Errors
    /// An output that exists without `force`, one that another process is writing, and a parent that
    /// cannot be written.
    pub(crate) fn folder(target: &Path, force: bool) -> Result<Self> {
        refuse_file(target)?;
        let staged = Self::prepare(target, force)?;
        fs::create_dir(&staged.partial)
            .with_context(|| format!("cannot create `{}`", staged.partial.display()))?;
        Ok(staged)
    }

    /// Prepares an output file; the caller creates [`Staged::path`].
    ///
    /// # Errors
    /// As [`Staged::folder`].
    pub(crate) fn file(target: &Path, force: bool) -> Result<Self> {
        Self::prepare(target, force)
    }

    /// Prepares an output folder that outlives errors, interrupts and kills until it is finished,
    /// `.NAME.SUFFIX`. `go_on` is told the folder and says whether to go on with what is in it.
    ///
    /// # Errors
    /// As [`Staged::folder`], and those of `go_on`.
    pub(crate) fn kept(
        target: &Path,
        force: bool,
        suffix: &str,
        go_on: impl FnOnce(&Path) -> Result<bool>,
    ) -> Result<Self> {
        refuse_file(target)?;
        let mut staged = Self::begin(target, force, suffix)?;
        staged.kept = true;
        if !go_on(&staged.partial)? {
            remove(&staged.partial).with_context(|| {
                format!(
                    "cannot remove what is left in `{}`",
                    staged.partial.display()
                )
            })?;
        }
        fs::create_dir_all(&staged.partial)
            .with_context(|| format!("cannot create `{}`", staged.partial.display()))?;
        Ok(staged)
    }

    fn prepare(target: &Path, force: bool) -> Result<Self> {
        let staged = Self::begin(target, force, "partial")?;
        let partial = &staged.partial;
        remove(partial)
            .with_context(|| format!("cannot remove what is left in `{}`", partial.display()))?;
        interrupted::begin(partial);
        Ok(staged)
    }

    /// Looks whether the output may be written, without touching what is under construction.
    fn begin(target: &Path, force: bool, suffix: &str) -> Result<Self> {
        let partial = neighbour(target, suffix)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create the folder `{}`", parent.display()))?;
        let lock = OutputLock::take(target)?;
        // A kill between the two renames of a replacement leaves the old output set aside.
        let aside = partial.with_extension("replaced");
        if aside.symlink_metadata().is_ok() && target.symlink_metadata().is_err() {
            fs::rename(&aside, target)
                .with_context(|| format!("cannot put `{}` back", target.display()))?;
        } else {
            remove(&aside).with_context(|| format!("cannot remove `{}`", aside.display()))?;
        }
        if target.symlink_metadata().is_ok() && !force {
            return Err(
                Refusal::new(format!("output `{}` already exists", target.display()))
                    .hint("choose another --out, or pass --force to replace it")
                    .into(),
            );
        }
        if target.is_dir() && !replaceable(target)? {
            return Err(Refusal::new(format!(
                "`{}` is a folder that slate did not write, so --force does not replace it",
                target.display()
            ))
            .hint("choose another --out, or remove the folder yourself")
            .into());
        }
        Ok(Self {
            target: target.to_owned(),
            partial,
            replace: force,
            committed: false,
            kept: false,
            _lock: lock,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Puts the finished output in place: fsync of every file and folder, then a rename.
    ///
    /// # Errors
    /// Any failure of the file system; the output is then as it was before.
    pub(crate) fn commit(mut self) -> Result<()> {
        sync_all(&self.partial)
            .with_context(|| format!("cannot flush `{}` to disk", self.partial.display()))?;
        let place = || -> std::io::Result<()> {
            if self.replace && self.target.symlink_metadata().is_ok() {
                // A folder cannot be renamed over a full one: step the old one aside first.
                let aside = self.partial.with_extension("replaced");
                remove(&aside)?;
                fs::rename(&self.target, &aside)?;
                if let Err(error) = fs::rename(&self.partial, &self.target) {
                    fs::rename(&aside, &self.target)?;
                    return Err(error);
                }
                remove(&aside)
            } else {
                fs::rename(&self.partial, &self.target)
            }
        };
        interrupted::finish(&self.partial, place)
            .with_context(|| format!("cannot put `{}` in place", self.target.display()))?;
        self.committed = true;
        if let Some(parent) = self.target.parent().filter(|p| !p.as_os_str().is_empty()) {
            // The rename itself is safe on disk once the folder is.
            let _ = fs::File::open(parent).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed && !self.kept {
            // Nothing more can be done about a failure to clean up.
            let _ = remove(&self.partial);
            interrupted::end(&self.partial);
        }
    }
}

/// A folder never replaces a file, which is no output of the same command.
fn refuse_file(target: &Path) -> Result<()> {
    if target.is_file() {
        let told = format!(
            "`{}` is a file, expected a folder to write",
            target.display()
        );
        return Err(Refusal::new(told).hint("choose another --out").into());
    }
    Ok(())
}

/// Whether a folder is empty or one of ours.
fn replaceable(folder: &Path) -> Result<bool> {
    let mut entries =
        fs::read_dir(folder).with_context(|| format!("cannot look into `{}`", folder.display()))?;
    Ok(entries.next().is_none() || MARKS.iter().any(|mark| folder.join(mark).is_file()))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Flushes a file, or a folder with all that is in it; links are not followed.
pub(crate) fn sync_all(path: &Path) -> std::io::Result<()> {
    let kind = path.symlink_metadata()?;
    if !kind.is_dir() && !kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_all(&entry?.path())?;
        }
    }
    fs::File::open(path)?.sync_all()
}

/// Writes one whole file, beside and renamed.
///
/// # Errors
/// As [`Staged::file`] and [`Staged::commit`].
pub(crate) fn write_file(target: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let staged = Staged::file(target, force)?;
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(staged.path())?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", target.display()))?;
    staged.commit()
}

/// Writes a whole file over one that may be there, for files with one writer at a time: no lock is
/// taken, so a process that is stopped in the middle keeps no one waiting.
///
/// # Errors
/// Any failure of the file system; the file is then as it was before.
pub(crate) fn replace_file(target: &Path, bytes: &[u8]) -> Result<()> {
    let beside = neighbour(target, &format!("{}.partial", std::process::id()))?;
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, target)
    };
    let written = write();
    if written.is_err() {
        // Nothing more can be done about a failure to clean up.
        let _ = remove(&beside);
    }
    written.with_context(|| format!("cannot write `{}`", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        {
            let staged = Staged::folder(&target, false).unwrap();
            fs::write(staged.path().join("a"), "1").unwrap();
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "an abandoned output is removed"
        );

        let staged = Staged::folder(&target, false).unwrap();
        fs::write(staged.path().join("a"), "1").unwrap();
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");

        let error = Staged::folder(&target, false).unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
    }

    #[test]
    fn force_replaces_the_old_output_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "1").unwrap();
        let error = Staged::folder(&target, true).unwrap_err().to_string();
        assert!(error.contains("slate did not write"), "{error}");
        fs::write(target.join("manifest.json"), "{}").unwrap();
        let staged = Staged::folder(&target, true).unwrap();
        fs::write(staged.path().join("new"), "2").unwrap();
        staged.commit().unwrap();
        assert!(!target.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(".out.partial");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half"), "1").unwrap();
        let staged = Staged::folder(&dir.path().join("out"), false).unwrap();
        staged.commit().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
    }
}
