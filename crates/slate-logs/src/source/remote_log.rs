//! A log behind a URL, file by file: for a job that wants to know what is there before it brings anything,
//! and brings only what it needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use slate_types::Progress;
use slate_types::log::TABLES;

use super::location::Place;
use super::remote::{RemoteFile, Store};
use crate::LogError;

/// The files of a log's tables in an object store, as they were when they were listed.
pub struct RemoteLog {
    store: Store,
    url: String,
    files: BTreeMap<String, RemoteFile>,
}

impl std::fmt::Debug for RemoteLog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "RemoteLog({}, {} files)", self.url, self.files.len())
    }
}

impl RemoteLog {
    /// Whether a log is on a web server, which cannot list its files.
    ///
    /// # Errors
    /// [`LogError::Location`] for a URL that is none.
    pub fn is_unlisted(logs: &str) -> Result<bool, LogError> {
        Ok(match Place::parse(logs)? {
            Place::Remote(url) => !Store::open(&url)?.lists(),
            Place::Local(_) => false,
        })
    }

    /// The folder of this machine that was typed, also as a `file://` URL; none for any other place.
    ///
    /// # Errors
    /// [`LogError::Location`] for a URL that is none.
    pub fn local(logs: &str) -> Result<Option<PathBuf>, LogError> {
        Ok(match Place::parse(logs)? {
            Place::Local(path) => Some(path),
            Place::Remote(_) => None,
        })
    }

    /// Whether what was typed is a URL of a store rather than a folder of this machine.
    pub fn is_remote(logs: &str) -> bool {
        logs.contains("://")
    }

    /// Lists the files of all tables below a URL; those of tables that are absent are not there. Nothing
    /// is brought yet.
    ///
    /// # Errors
    /// [`LogError::Location`] for a URL that is none, and for a web server, which cannot list;
    /// [`LogError::Store`] for a store that refuses or cannot be reached.
    pub fn list(logs: &str) -> Result<Self, LogError> {
        let refuse = |problem: &str| LogError::Location {
            location: logs.to_owned(),
            problem: problem.to_owned(),
        };
        let Place::Remote(url) = Place::parse(logs)? else {
            return Err(refuse("no URL of an object store"));
        };
        let store = Store::open(&url)?;
        if !store.lists() {
            return Err(refuse(
                "a web server cannot list files, expected s3://, gs:// or az://",
            ));
        }
        let mut files = BTreeMap::new();
        for table in TABLES {
            for file in store.table(&url, &table)? {
                files.insert(file.below(&url)?, file);
            }
        }
        Ok(Self {
            store,
            url: logs.to_owned(),
            files,
        })
    }

    /// Each file's path below the log, its bytes, and what tells this version of it from others.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64, String)> {
        let files = self.files.iter();
        files.map(|(name, file)| (name.as_str(), file.size(), file.version()))
    }

    /// Copies a file to a path on this machine where nothing is.
    ///
    /// # Errors
    /// [`LogError::Changed`] where it is not the version that was listed; a name that was not listed, a
    /// store that cannot be reached, a disk that cannot be written.
    pub fn fetch(&self, name: &str, to: &Path, progress: &dyn Progress) -> Result<(), LogError> {
        let file = self.files.get(name).ok_or_else(|| LogError::Location {
            location: format!("{}/{name}", self.url),
            problem: "it was not there when the log was listed".to_owned(),
        })?;
        self.store.fetch(file, to, progress)
    }
}
