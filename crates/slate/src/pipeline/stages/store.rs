//! Outputs of stages on disk, each under the hash of what it was made of.
//!
//! `NAME-KEY/` holds the output and `stage.json`, which says what went in and the hash of each file. It is
//! written beside, under a name of its own for each process, flushed and renamed; who finds it there
//! already has made the same and throws its own away. So no lock is needed, and a process that wakes up
//! late does no harm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slate_types::FormatVersion;

use crate::artefacts::{files_below, manifest, names, sync_all};

/// What a stage's folder says of itself.
const STAGE_FILE: &str = "stage.json";
/// A file that tells of the machine and the hour, such as how long something took: it is kept, and nothing
/// depends on its bytes.
pub(crate) const VOLATILE: &str = "timing.json";
/// Digits of the hash that names a folder.
const DIGITS: usize = 16;

/// A folder of outputs.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    /// What tells this process's unfinished folders from another's.
    mark: String,
}

/// What an output was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    stage: String,
    pub(super) hash: String,
    made_of: Value,
}

impl Key {
    /// `needs` are the hashes of the outputs that go in, by the names of their stages.
    pub(super) fn new(stage: &str, inputs: &Value, needs: &[(String, String)]) -> Self {
        let made_of = json!({
            "stage": stage, "inputs": inputs, "needs": needs,
            "slate": env!("CARGO_PKG_VERSION"),
        });
        Self {
            stage: stage.to_owned(),
            hash: key_hash(&made_of),
            made_of,
        }
    }

    /// The name of its folder.
    fn folder(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = self.stage.chars().map(plain).collect();
        format!("{name}-{}", &self.hash[..DIGITS])
    }
}

fn key_hash(made_of: &Value) -> String {
    manifest::hex(&Sha256::digest(made_of.to_string().as_bytes()))
}

/// What is known of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: FormatVersion,
    kind: String,
    key: String,
    made_of: Value,
    /// SHA-256 of each file, by its path below the folder; empty for the volatile one.
    files: BTreeMap<String, String>,
}

/// An output that is there and is what it was when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    /// One hash of all its files.
    pub(crate) hash: String,
}

/// What was found under a key.
#[derive(Debug)]
pub(super) enum Found {
    Whole(Output),
    Missing,
    /// The path of the file that is not what it was, and what is wrong with it.
    Damaged(PathBuf, String),
}

impl Store {
    /// The store in a folder that need not be there, to look at it.
    pub(crate) fn at(folder: &Path, mark: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            mark: mark.to_owned(),
        }
    }

    /// The store in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub(crate) fn open(folder: &Path, mark: &str) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self::at(folder, mark))
    }

    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.folder())
    }

    /// Where the output of a key is written: an empty folder of this process's own.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn begin(&self, key: &Key) -> Result<PathBuf> {
        let partial = self
            .folder
            .join(format!(".{}.{}.partial", key.folder(), self.mark));
        remove(&partial)?;
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot create `{}`", partial.display()))?;
        Ok(partial)
    }

    /// Where a stage keeps what should outlive a kill. What an earlier process left there becomes this
    /// one's, which takes it away from a process that is not as dead as it seemed.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn unfinished(&self, key: &Key) -> Result<PathBuf> {
        let beginning = format!(".{}.", key.folder());
        let own = self
            .folder
            .join(format!("{beginning}{}.unfinished", self.mark));
        if own.exists() {
            return Ok(own);
        }
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&beginning) && name.ends_with(".unfinished") {
                fs::rename(self.folder.join(name), &own)?;
                break;
            }
        }
        Ok(own)
    }

    /// Puts a finished output in place.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn commit(&self, key: &Key, partial: &Path) -> Result<Output> {
        let mut files = hash_files(partial)?;
        if let Some(hash) = files.get_mut(VOLATILE) {
            // No one holds it to its bytes, and nothing else of the folder may depend on them.
            hash.clear();
        }
        let kept = Kept {
            format: manifest::FORMAT,
            kind: "stage".to_owned(),
            key: key.hash.clone(),
            made_of: key.made_of.clone(),
            files,
        };
        manifest::write_json(&partial.join(STAGE_FILE), &serde_json::to_value(&kept)?)?;
        sync_all(partial)
            .with_context(|| format!("cannot flush `{}` to disk", partial.display()))?;
        let path = self.path(key);
        if let Err(error) = fs::rename(partial, &path) {
            // Another process was as quick, and made the same.
            match self.find(key)? {
                Found::Whole(output) => {
                    remove(partial)?;
                    return Ok(output);
                }
                _ => {
                    return Err(error)
                        .with_context(|| format!("cannot put `{}` in place", path.display()));
                }
            }
        }
        if let Ok(folder) = fs::File::open(&self.folder) {
            // The rename is safe on disk once the folder is.
            let _ = folder.sync_all();
        }
        Ok(Output {
            path,
            hash: hash_of(&kept.files),
        })
    }

    /// Looks whether the output of a key is there and whole: every file has the hash it had.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub(super) fn find(&self, key: &Key) -> Result<Found> {
        let path = self.path(key);
        if !path.is_dir() {
            return Ok(Found::Missing);
        }
        look_at(path, Some(&key.hash))
    }

    /// The folder of an output by its name; none where it is not there or not what it was.
    pub(crate) fn whole(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        let found = look_at(path.clone(), None);
        matches!(found, Ok(Found::Whole(_))).then_some(path)
    }

    /// What is damaged of all outputs, in words.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub(crate) fn verify(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for name in names(&self.folder)? {
            let path = self.folder.join(&name);
            if !name.starts_with('.')
                && let Found::Damaged(file, why) = look_at(path, None)?
            {
                problems.push(format!(
                    "`{}` is damaged ({why}): it is made again when it is needed",
                    file.display()
                ));
            }
        }
        Ok(problems)
    }

    /// Takes a damaged or unwanted output out of the way.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn discard(&self, key: &Key) -> Result<()> {
        remove(&self.path(key))
    }

    /// Removes what kills have left, but for what a stage may go on from.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let left = name.starts_with('.') && !name.ends_with(".unfinished");
            if left && !name.contains(&self.mark) {
                // Another process may be at the same.
                let _ = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
            }
        }
        Ok(())
    }

    /// Removes outputs whose folders are not named, unless `dry_run`, and says how many and how many bytes
    /// they are.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(crate) fn keep_only(&self, wanted: &[String], dry_run: bool) -> Result<(usize, u64)> {
        let mut gone = (0, 0);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !wanted.iter().any(|own| *own == name) {
                gone = (gone.0 + 1, gone.1 + size(&path)?);
                if !dry_run {
                    remove(&path)?;
                }
            }
        }
        Ok(gone)
    }
}

/// Looks at the output in a folder that is there: whether it is whole, and that of a key where one is given.
fn look_at(path: PathBuf, wanted: Option<&str>) -> Result<Found> {
    let file = path.join(STAGE_FILE);
    let damaged = |file: PathBuf, why: &str| Ok(Found::Damaged(file, why.to_owned()));
    let read = manifest::read_json(&file);
    let kept: Option<Kept> = read.ok().and_then(|kept| serde_json::from_value(kept).ok());
    let Some(kept) = kept else {
        return damaged(file, "it cannot be read");
    };
    if wanted.is_some_and(|hash| kept.key != hash) || key_hash(&kept.made_of) != kept.key {
        return damaged(file, "it tells of another stage");
    }
    let mut files = hash_files(&path)?;
    files.remove(STAGE_FILE);
    for (name, hash) in &kept.files {
        match files.get(name) {
            None => return damaged(path.join(name), "it is missing"),
            Some(now) if now != hash && name != VOLATILE => {
                return damaged(path.join(name), "its bytes are not what they were");
            }
            Some(_) => {}
        }
    }
    if let Some(name) = files.keys().find(|name| !kept.files.contains_key(*name)) {
        return damaged(path.join(name), "it was not there when the stage was done");
    }
    Ok(Found::Whole(Output {
        path,
        hash: hash_of(&kept.files),
    }))
}

/// Bytes of a folder.
fn size(path: &Path) -> Result<u64> {
    let about = path.symlink_metadata()?;
    if !about.is_dir() {
        return Ok(about.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += size(&entry?.path())?;
    }
    Ok(sum)
}

/// The hash of every file below a folder, by its path below it.
fn hash_files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let names = files_below(folder)?.into_iter();
    names
        .map(|name| {
            let hash = manifest::sha256(&folder.join(&name))?;
            Ok((name, hash))
        })
        .collect()
}

/// One hash of files by name.
fn hash_of(files: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for (name, hash) in files {
        hasher.update(format!("{name}\n{hash}\n"));
    }
    manifest::hex(&hasher.finalize())
}

/// Removes a folder; one that is not there is gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("cannot remove `{}`", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(store: &Store, key: &Key, text: &str) -> Output {
        let partial = store.begin(key).unwrap();
        fs::create_dir(partial.join("below")).unwrap();
        fs::write(partial.join("below/a"), text).unwrap();
        fs::write(partial.join(VOLATILE), "7 seconds").unwrap();
        store.commit(key, &partial).unwrap()
    }

    #[test]
    fn an_output_is_found_again_until_a_byte_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "one").unwrap();
        let key = Key::new("train", &json!({ "epochs": 3 }), &[]);
        assert!(matches!(store.find(&key).unwrap(), Found::Missing));
        let output = made(&store, &key, "weights");
        assert!(matches!(store.find(&key).unwrap(), Found::Whole(found) if found == output));
        // What tells of the hour may change, nothing else.
        fs::write(output.path.join(VOLATILE), "8 seconds").unwrap();
        assert!(matches!(store.find(&key).unwrap(), Found::Whole(found) if found == output));
        fs::write(output.path.join("below/a"), "weighte").unwrap();
        let Found::Damaged(file, why) = store.find(&key).unwrap() else {
            panic!("a changed byte is seen");
        };
        assert!(file.ends_with("below/a") && why.contains("bytes"), "{why}");
        store.discard(&key).unwrap();
        assert_eq!(made(&store, &key, "weights"), output);
        fs::write(output.path.join("more"), "").unwrap();
        assert!(matches!(store.find(&key).unwrap(), Found::Damaged(..)));
    }

    #[test]
    fn keys_tell_inputs_apart_and_outputs_of_needs() {
        let key = |inputs, hash: &str| Key::new("a", &inputs, &[("b".to_owned(), hash.to_owned())]);
        let first = key(json!({ "x": 1 }), "1");
        assert_eq!(first, key(json!({ "x": 1 }), "1"));
        assert_ne!(first.hash, key(json!({ "x": 2 }), "1").hash);
        assert_ne!(first.hash, key(json!({ "x": 1 }), "2").hash);
    }

    #[test]
    fn of_two_processes_one_output_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (
            Store::open(dir.path(), "one").unwrap(),
            Store::open(dir.path(), "two").unwrap(),
        );
        let key = Key::new("train", &json!(1), &[]);
        let late = one.begin(&key).unwrap();
        fs::write(late.join("a"), "weights").unwrap();
        let partial = two.begin(&key).unwrap();
        fs::write(partial.join("a"), "weights").unwrap();
        let output = two.commit(&key, &partial).unwrap();
        assert_eq!(one.commit(&key, &late).unwrap(), output);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_unfinished_goes_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::new("train", &json!(1), &[]);
        let first = Store::open(dir.path(), "one").unwrap();
        let folder = first.unfinished(&key).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("checkpoint"), "17").unwrap();
        let second = Store::open(dir.path(), "two").unwrap();
        let taken = second.unfinished(&key).unwrap();
        assert_eq!(fs::read_to_string(taken.join("checkpoint")).unwrap(), "17");
        assert!(!folder.exists(), "the first can write there no more");
    }
}
