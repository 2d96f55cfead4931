//! Files of pictures that were read before, so that a catalogue that did not change is not read again.
//!
//! `pictures.csv` in the folder of vectors has the path, size and time of each file, and the hash of what
//! was in it. A file of the same size and time is taken to be the same, unless it was changed so shortly
//! before it was read that a clock could not have told another change from it. Nothing but speed hangs on
//! the file: it may be removed, and what of it is not understood is read anew.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use slate_embed::Key;

use crate::artefacts::manifest::hex;
use crate::artefacts::write_file;

/// Name of the file.
const FILE: &str = "pictures.csv";
/// Clocks of file systems may be as coarse as this.
const COARSE: Duration = Duration::from_secs(2);

/// What files were when they were read last.
pub(super) struct SeenFiles {
    path: PathBuf,
    before: BTreeMap<String, Seen>,
    now: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    size: u64,
    /// Since 1970, in nanoseconds.
    changed: u128,
    key: Key,
}

impl SeenFiles {
    /// Those that a folder of vectors knows.
    pub(super) fn open(out: &Path) -> Self {
        let path = out.join(FILE);
        let text = fs::read(&path).unwrap_or_default();
        let mut reader = csv::Reader::from_reader(&text[..]);
        let rows = reader.records().filter_map(Result::ok);
        Self {
            before: rows.filter_map(|row| parse(&row)).collect(),
            now: BTreeMap::new(),
            path,
        }
    }

    /// The hash of what is in a file, if it is known to be what it was.
    pub(super) fn known(&mut self, file: &Path, found: &Metadata) -> Option<Key> {
        let name = file.to_str()?;
        let seen = *self.before.get(name)?;
        if (seen.size, Some(seen.changed)) != (found.len(), changed(found)) {
            return None;
        }
        self.now.insert(name.to_owned(), seen);
        Some(seen.key)
    }

    /// Notes what was read of a file that looked so before it was read.
    pub(super) fn note(&mut self, file: &Path, found: &Metadata, key: Key) {
        let settled = |changed: SystemTime| {
            SystemTime::now()
                .duration_since(changed)
                .is_ok_and(|age| age > COARSE)
        };
        let is_settled = found.modified().is_ok_and(settled);
        if let (Some(name), Some(changed), true) = (file.to_str(), changed(found), is_settled) {
            let size = found.len();
            let seen = Seen { size, changed, key };
            self.now.insert(name.to_owned(), seen);
        }
    }

    /// Writes what is known now, where it is not what was known before.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(super) fn save(self) -> Result<()> {
        if self.now == self.before {
            return Ok(());
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["file", "size", "changed", "content"])?;
        for (name, seen) in &self.now {
            let (size, changed) = (seen.size.to_string(), seen.changed.to_string());
            writer.write_record([name, &size, &changed, &hex(&seen.key.0)])?;
        }
        let bytes = writer.into_inner().context("a table of files")?;
        write_file(&self.path, &bytes, true)
    }
}

fn changed(found: &Metadata) -> Option<u128> {
    let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos())
}

fn parse(row: &csv::StringRecord) -> Option<(String, Seen)> {
    let hash = row.get(3)?;
    let mut key = [0; 16];
    if hash.len() != 32 || !hash.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).ok()?;
    }
    let seen = Seen {
        size: row.get(1)?.parse().ok()?,
        changed: row.get(2)?.parse().ok()?,
        key: Key(key),
    };
    Some((row.get(0)?.to_owned(), seen))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn write(file: &Path, text: &str, seconds_ago: u64) -> Metadata {
        fs::write(file, text).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds_ago);
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(then)
            .unwrap();
        fs::metadata(file).unwrap()
    }

    #[test]
    fn a_file_is_known_while_size_and_time_are_what_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a, \"b\".png");
        let key = Key::of(b"one");
        let found = write(&file, "one", 100);
        let mut seen = SeenFiles::open(folder.path());
        assert_eq!(seen.known(&file, &found), None);
        seen.note(&file, &found, key);
        let young = folder.path().join("young.png");
        let just_now = write(&young, "new", 0);
        seen.note(&young, &just_now, key);
        seen.save().unwrap();

        let mut seen = SeenFiles::open(folder.path());
        assert_eq!(seen.known(&file, &found), Some(key));
        assert_eq!(
            seen.known(&young, &just_now),
            None,
            "it could have changed unseen"
        );
        let before = fs::read(folder.path().join(FILE)).unwrap();
        seen.save().unwrap();
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), before);

        let mut seen = SeenFiles::open(folder.path());
        let other = write(&file, "two", 50);
        assert_eq!(seen.known(&file, &other), None);
        let longer = write(&file, "longer", 100);
        assert_eq!(seen.known(&file, &longer), None);
        // What no item has any more is forgotten.
        seen.save().unwrap();
        assert!(SeenFiles::open(folder.path()).before.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join(FILE),
            "file,size,changed,content\na,x,1,ff\nb,1\n\u{0}",
        )
        .unwrap();
        assert!(SeenFiles::open(folder.path()).before.is_empty());
    }
}
