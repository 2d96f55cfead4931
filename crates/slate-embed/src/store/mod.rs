//! Vectors kept under the hash of what they were made of.
//!
//! A store is a folder: `store.json` names the encoder, and each pair `keys-NNNNNN.npy` (u8
//! `[n, 16]`) and `vectors-NNNNNN.npy` (f32 `[n, dimensions]`) is a part that was added at once. A
//! part is there when its keys are; it never changes after that, so vectors stay as they are, byte by
//! byte. A vector's row is its place in all parts, in their order.

mod npy;

pub use npy::{Mapped, write_ids, write_vectors};

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slate_types::FormatVersion;

use crate::{EmbedError, Identity};

const FORMAT: FormatVersion = FormatVersion(1);
const HEADER: &str = "store.json";
const LOCK: &str = ".lock";

/// The first 16 bytes of the SHA-256 of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of a content.
    pub fn of(content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Self(key)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: FormatVersion,
    #[serde(flatten)]
    identity: Identity,
}

/// Vectors of one encoder in a folder.
#[derive(Debug)]
pub struct VectorStore {
    folder: PathBuf,
    identity: Identity,
    rows: BTreeMap<Key, usize>,
    parts: Vec<Part>,
    /// Held as long as this process may write.
    _lock: File,
}

#[derive(Debug)]
struct Part {
    number: usize,
    /// Row of the first vector.
    first: usize,
    vectors: Mapped,
}

impl VectorStore {
    /// Opens a store, or begins one where there is none. What a process that was killed has left half
    /// done is removed.
    ///
    /// # Errors
    /// [`EmbedError::OtherEncoder`] for a store of another encoder, [`EmbedError::Busy`] while another
    /// process has it open, [`EmbedError::Store`] for a file that is damaged.
    pub fn open(folder: &Path, identity: Identity) -> Result<Self, EmbedError> {
        let lock = lock(folder)?;
        Self::open_locked(folder, identity, lock)
    }

    /// Begins a store anew: removes all that another encoder, or damage, has left.
    ///
    /// # Errors
    /// [`EmbedError::Busy`], [`EmbedError::Io`].
    pub fn begin_anew(folder: &Path, identity: Identity) -> Result<Self, EmbedError> {
        let lock = lock(folder)?;
        // Keys first: what has none is not there, whenever this is interrupted.
        for kind in ["keys-", "vectors-", HEADER] {
            for name in names(folder)? {
                if name.starts_with(kind) {
                    let path = folder.join(name);
                    fs::remove_file(&path).map_err(EmbedError::io("write", &path))?;
                }
            }
        }
        Self::open_locked(folder, identity, lock)
    }

    fn open_locked(folder: &Path, identity: Identity, lock: File) -> Result<Self, EmbedError> {
        let header = folder.join(HEADER);
        if header.is_file() {
            let found = read_header(&header)?;
            if found != identity {
                return Err(EmbedError::OtherEncoder {
                    folder: folder.to_path_buf(),
                    found: Box::new(found),
                    given: Box::new(identity),
                });
            }
        } else if names(folder)?.iter().any(|name| name.starts_with("keys-")) {
            return Err(EmbedError::Store {
                path: header,
                problem: "it is missing, so nobody knows whose vectors these are".to_owned(),
            });
        } else {
            let text = serde_json::to_string_pretty(&Header {
                format: FORMAT,
                identity: identity.clone(),
            });
            let text = text.expect("a header is JSON") + "\n";
            npy::write_whole(&header, |write| write(text.as_bytes()))?;
        }
        let mut store = Self {
            folder: folder.to_path_buf(),
            identity,
            rows: BTreeMap::new(),
            parts: Vec::new(),
            _lock: lock,
        };
        store.read_parts()?;
        store.sweep()?;
        Ok(store)
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        let last = self.parts.last();
        last.map_or(0, |part| part.first + part.vectors.shape()[0])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What makes its vectors.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The row of a content's vector, where it has one.
    pub fn row(&self, key: &Key) -> Option<usize> {
        self.rows.get(key).copied()
    }

    /// Adds vectors, `[keys.len(), dimensions]`. When this returns they are on the disk.
    ///
    /// # Errors
    /// [`EmbedError::Io`]; then none of them is there.
    ///
    /// # Panics
    /// Where a key is there already or stands twice, or `vectors` has another length.
    pub fn append(&mut self, keys: &[Key], vectors: &[f32]) -> Result<(), EmbedError> {
        assert_eq!(
            vectors.len(),
            keys.len() * self.identity.dimensions,
            "a vector for each key"
        );
        if keys.is_empty() {
            return Ok(());
        }
        if let Some(at) = vectors.iter().position(|value| !value.is_finite()) {
            return Err(EmbedError::NotFinite {
                encoder: self.identity.encoder.clone(),
                content: at / self.identity.dimensions,
            });
        }
        let first = self.len();
        let number = self.parts.last().map_or(0, |part| part.number + 1);
        let width = self.identity.dimensions;
        npy::write(
            &self.vectors_path(number),
            "<f4",
            &[keys.len(), width],
            |write| write(&npy::bytes_of(vectors)),
        )?;
        npy::write(&self.keys_path(number), "|u1", &[keys.len(), 16], |write| {
            keys.iter().try_for_each(|key| write(&key.0))
        })?;
        let vectors = Mapped::open(&self.vectors_path(number))?;
        self.parts.push(Part {
            number,
            first,
            vectors,
        });
        for (at, key) in keys.iter().enumerate() {
            let before = self.rows.insert(*key, first + at);
            assert!(before.is_none(), "a content has one vector");
        }
        Ok(())
    }

    /// Vectors by their rows, `[rows.len(), dimensions]`.
    ///
    /// # Errors
    /// [`EmbedError::Store`] for a part that holds a number that is not finite.
    ///
    /// # Panics
    /// Where a row is beyond the last one.
    pub fn read(&self, rows: &[usize]) -> Result<Vec<f32>, EmbedError> {
        let width = self.identity.dimensions;
        let mut vectors = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            let part = self.parts.partition_point(|part| part.first <= row) - 1;
            let part = &self.parts[part];
            let at = row - part.first;
            let vector = &part.vectors.values()[at * width..(at + 1) * width];
            if !vector.iter().all(|value| value.is_finite()) {
                return Err(EmbedError::Store {
                    path: part.vectors.path().to_path_buf(),
                    problem: format!("vector {at} has a number that is not finite"),
                });
            }
            vectors.extend_from_slice(vector);
        }
        Ok(vectors)
    }

    /// Writes vectors by their rows to an `.npy` of f32 `[rows.len(), dimensions]`, zeros where there is
    /// no row.
    ///
    /// # Errors
    /// As [`VectorStore::read`], and [`EmbedError::Io`].
    pub fn export(&self, rows: &[Option<usize>], path: &Path) -> Result<(), EmbedError> {
        let width = self.identity.dimensions;
        let none = vec![0.0; width];
        npy::write(path, "<f4", &[rows.len(), width], |write| {
            for row in rows {
                let vector = match row {
                    None => &none,
                    Some(row) => &self.read(&[*row])?,
                };
                write(&npy::bytes_of(vector))?;
            }
            Ok(())
        })
    }

    /// Removes the vectors whose keys are not wanted any more; those left keep their order. Says how
    /// many were removed.
    ///
    /// # Errors
    /// [`EmbedError::Io`]; a process killed meanwhile leaves each vector once at least.
    pub fn keep(&mut self, wanted: &dyn Fn(&Key) -> bool) -> Result<usize, EmbedError> {
        let mut kept: Vec<(usize, Key)> = self
            .rows
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, row)| (*row, *key))
            .collect();
        let removed = self.rows.len() - kept.len();
        // A kill in the middle of this may have left a key in two parts.
        if removed == 0 && self.rows.len() == self.len() {
            return Ok(0);
        }
        kept.sort_unstable();
        let rows: Vec<usize> = kept.iter().map(|(row, _)| *row).collect();
        let keys: Vec<Key> = kept.into_iter().map(|(_, key)| key).collect();
        let vectors = self.read(&rows)?;
        // The new part stands behind the old ones until they are gone: a key that is in two parts has
        // the same vector in both.
        let old: Vec<usize> = self.parts.iter().map(|part| part.number).collect();
        self.rows.clear();
        self.append(&keys, &vectors)?;
        for number in old {
            for path in [self.keys_path(number), self.vectors_path(number)] {
                fs::remove_file(&path).map_err(EmbedError::io("write", &path))?;
            }
        }
        self.parts.clear();
        self.rows.clear();
        self.read_parts()?;
        Ok(removed)
    }

    /// Numbers of the parts whose keys are there.
    fn numbers(&self) -> Result<Vec<usize>, EmbedError> {
        let mut numbers = Vec::new();
        for name in names(&self.folder)? {
            let number = name
                .strip_prefix("keys-")
                .and_then(|rest| rest.strip_suffix(".npy"));
            numbers.extend(number.and_then(|number| number.parse::<usize>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read_parts(&mut self) -> Result<(), EmbedError> {
        for number in self.numbers()? {
            let (keys, vectors) = (self.keys_path(number), self.vectors_path(number));
            let mapped_keys = Mapped::open(&keys)?;
            let mapped = Mapped::open(&vectors)?;
            let (rows, width) = (mapped_keys.shape()[0], self.identity.dimensions);
            for (path, mapped, dtype, shape) in [
                (&keys, &mapped_keys, "|u1", [rows, 16]),
                (&vectors, &mapped, "<f4", [rows, width]),
            ] {
                if mapped.dtype() != dtype || mapped.shape() != shape {
                    return Err(EmbedError::Store {
                        path: path.clone(),
                        problem: format!(
                            "it holds {} {:?}, expected {dtype} {shape:?}",
                            mapped.dtype(),
                            mapped.shape()
                        ),
                    });
                }
            }
            let first = self.len();
            for (at, key) in mapped_keys.bytes().chunks_exact(16).enumerate() {
                let key = Key(key.try_into().expect("16 bytes"));
                self.rows.entry(key).or_insert(first + at);
            }
            self.parts.push(Part {
                number,
                first,
                vectors: mapped,
            });
        }
        Ok(())
    }

    /// Removes what a process that was killed has left: vectors without keys, files half written.
    fn sweep(&self) -> Result<(), EmbedError> {
        for name in names(&self.folder)? {
            let number = name
                .strip_prefix("vectors-")
                .and_then(|rest| rest.strip_suffix(".npy"));
            let number = number.and_then(|number| number.parse::<usize>().ok());
            let is_part = |number| self.parts.iter().any(|part| part.number == number);
            let orphan = number.is_some_and(|number| !is_part(number));
            if orphan || npy::is_partial(&name) {
                let path = self.folder.join(name);
                fs::remove_file(&path).map_err(EmbedError::io("write", &path))?;
            }
        }
        Ok(())
    }

    fn keys_path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("keys-{part:06}.npy"))
    }

    fn vectors_path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("vectors-{part:06}.npy"))
    }
}

/// The right to write to a store, as long as the file is open.
fn lock(folder: &Path) -> Result<File, EmbedError> {
    fs::create_dir_all(folder).map_err(EmbedError::io("write", folder))?;
    let lock_path = folder.join(LOCK);
    let lock = File::create(&lock_path).map_err(EmbedError::io("write", &lock_path))?;
    // A file system without locks lets everyone write.
    if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(EmbedError::Busy {
            folder: folder.to_path_buf(),
        });
    }
    Ok(lock)
}

/// Names of the files in a folder.
fn names(folder: &Path) -> Result<Vec<String>, EmbedError> {
    let entries = fs::read_dir(folder).map_err(EmbedError::io("read", folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(EmbedError::io("read", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn read_header(path: &Path) -> Result<Identity, EmbedError> {
    let text = fs::read_to_string(path).map_err(EmbedError::io("read", path))?;
    let broken = |error: serde_json::Error| EmbedError::Store {
        path: path.to_path_buf(),
        problem: error.to_string(),
    };
    // The version first: a newer one may have other keys.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(broken)?;
    let format = value.get("format").cloned().unwrap_or_default();
    let format: FormatVersion = serde_json::from_value(format).map_err(broken)?;
    format
        .check("vector store", FORMAT)
        .map_err(|source| EmbedError::Format {
            path: path.to_path_buf(),
            source,
        })?;
    let header: Header = serde_json::from_value(value).map_err(broken)?;
    Ok(header.identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashed;

    fn identity() -> Identity {
        Identity {
            dimensions: 3,
            ..hashed::title_identity()
        }
    }

    fn filled(folder: &Path) -> VectorStore {
        let mut store = VectorStore::open(folder, identity()).unwrap();
        let key = |at: u8| Key::of(&[at]);
        store
            .append(&[key(0), key(1)], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
            .unwrap();
        store.append(&[key(2)], &[6.0, 7.0, 8.0]).unwrap();
        store
    }

    #[test]
    fn vectors_are_found_again_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()));
        let before = fs::read(folder.path().join("vectors-000000.npy")).unwrap();
        let mut store = VectorStore::open(folder.path(), identity()).unwrap();
        assert_eq!(store.len(), 3);
        assert_eq!(store.row(&Key::of(&[1])), Some(1));
        assert_eq!(store.row(&Key::of(&[9])), None);
        assert_eq!(store.read(&[2, 0]).unwrap(), [6.0, 7.0, 8.0, 0.0, 1.0, 2.0]);
        store.append(&[Key::of(&[9])], &[9.0; 3]).unwrap();
        assert_eq!(store.row(&Key::of(&[9])), Some(3));
        assert_eq!(
            fs::read(folder.path().join("vectors-000000.npy")).unwrap(),
            before
        );
    }

    #[test]
    fn what_is_not_wanted_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = filled(folder.path());
        let gone = Key::of(&[1]);
        assert_eq!(store.keep(&|key| *key != gone).unwrap(), 1);
        assert_eq!((store.len(), store.row(&gone)), (2, None));
        let rows = [0, 2].map(|at| store.row(&Key::of(&[at])).unwrap());
        assert_eq!(store.read(&rows).unwrap(), [0.0, 1.0, 2.0, 6.0, 7.0, 8.0]);
        drop(store);
        let mut store = VectorStore::open(folder.path(), identity()).unwrap();
        assert_eq!(store.len(), 2);
        assert_eq!(store.keep(&|_| false).unwrap(), 2);
        assert!(store.is_empty());
    }

    #[test]
    fn what_a_killed_process_leaves_is_no_vector() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()));
        let at = |name: &str| folder.path().join(name);
        fs::copy(at("vectors-000001.npy"), at("vectors-000002.npy")).unwrap();
        fs::write(at(".vectors-000003.npy.partial"), "half").unwrap();
        let store = VectorStore::open(folder.path(), identity()).unwrap();
        assert_eq!(store.len(), 3);
        assert!(!at("vectors-000002.npy").exists() && !at(".vectors-000003.npy.partial").exists());
    }

    #[test]
    fn a_store_begins_anew_and_a_key_in_two_parts_is_one() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()));
        let at = |name: &str| folder.path().join(name);
        // As a kill in the middle of `keep` leaves it.
        for kind in ["vectors", "keys"] {
            fs::copy(
                at(&format!("{kind}-000001.npy")),
                at(&format!("{kind}-000007.npy")),
            )
            .unwrap();
        }
        let mut store = VectorStore::open(folder.path(), identity()).unwrap();
        assert_eq!((store.len(), store.keep(&|_| true).unwrap()), (4, 0));
        assert_eq!(store.len(), 3);
        let mut poison = store
            .append(&[Key::of(b"x")], &[0.0, f32::NAN, 0.0])
            .unwrap_err();
        assert!(
            matches!(poison, EmbedError::NotFinite { content: 0, .. }),
            "{poison}"
        );
        assert_eq!(store.row(&Key::of(b"x")), None);
        drop(store);
        fs::remove_file(at(HEADER)).unwrap();
        poison = VectorStore::open(folder.path(), identity()).unwrap_err();
        assert!(matches!(poison, EmbedError::Store { .. }), "{poison}");
        fs::write(at("notes.txt"), "mine").unwrap();
        let store = VectorStore::begin_anew(folder.path(), identity()).unwrap();
        assert!(store.is_empty() && at("notes.txt").is_file());
    }

    #[test]
    fn other_encoders_and_damage_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let busy = VectorStore::open(folder.path(), identity()).unwrap_err();
        assert!(matches!(busy, EmbedError::Busy { .. }), "{busy}");
        drop(store);
        let other = Identity {
            encoder: "bert".to_owned(),
            ..identity()
        };
        let error = VectorStore::open(folder.path(), other)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("holds vectors of hashed") && error.contains("not of bert"),
            "{error}"
        );
        let vectors = folder.path().join("vectors-000001.npy");
        let whole = fs::read(&vectors).unwrap();
        for cut in [0, 5, 100, whole.len() - 1] {
            fs::write(&vectors, &whole[..cut]).unwrap();
            let error = VectorStore::open(folder.path(), identity()).unwrap_err();
            assert!(matches!(error, EmbedError::Store { .. }), "{cut}: {error}");
        }
        let mut header = fs::read_to_string(folder.path().join(HEADER)).unwrap();
        header = header.replace("\"format\": 1", "\"format\": 9");
        fs::write(folder.path().join(HEADER), header).unwrap();
        let error = VectorStore::open(folder.path(), identity()).unwrap_err();
        assert!(matches!(error, EmbedError::Format { .. }), "{error}");
    }
}
