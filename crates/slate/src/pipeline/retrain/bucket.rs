//! Logs in an object store: files are brought here when a month first needs them, and kept while months do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_logs::RemoteLog;
use slate_types::Progress;

use super::log_files::{LogFile, LogFiles};
use crate::artefacts::{files_below, manifest, replace_file};

/// Note beside the files that are here: version, size and time of change of each.
const NOTE: &str = "here.json";

/// A log in an object store.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) log: Arc<RemoteLog>,
    /// Stages that run beside each other need the same files.
    one_brings: Arc<Mutex<()>>,
}

impl Bucket {
    /// Lists a log. What is brought of it goes beside `index`.
    pub(super) fn look(logs: &str, index: &Path) -> Result<LogFiles> {
        let log = RemoteLog::list(logs).with_context(|| format!("cannot look at `{logs}`"))?;
        let bucket = Self {
            log: Arc::new(log),
            one_brings: Arc::default(),
        };
        Ok(LogFiles::of_bucket(bucket, &index.with_file_name("logs")))
    }

    /// Brings files into a folder, those that are there in the same version excepted, and takes away what
    /// is not among them.
    pub(super) fn bring(
        &self,
        folder: &Path,
        files: &BTreeMap<String, LogFile>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let _one = self
            .one_brings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut cache = Cache::read(folder);
        for name in files_below(folder)? {
            let wanted = files.get(&name).is_some_and(|file| cache.has(&name, file));
            if !wanted && name != NOTE {
                fs::remove_file(folder.join(&name))?;
                cache.files.remove(&name);
            }
        }
        let missing = files.iter().filter(|(name, file)| !cache.has(name, file));
        let missing: Vec<(&String, &LogFile)> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        let bytes = missing.iter().map(|(_, file)| file.bytes).sum();
        progress.begin("fetch the log", Some(bytes), "bytes");
        for (name, file) in missing {
            let path = folder.join(name);
            let above = path.parent().unwrap_or(folder);
            fs::create_dir_all(above)
                .with_context(|| format!("cannot create `{}`", above.display()))?;
            self.log.fetch(name, &path, progress)?;
            cache.note(name, file)?;
            // Killed after it, the next one goes on from here.
            cache.write()?;
        }
        progress.end();
        Ok(())
    }
}

/// What is known of the files of a folder.
struct Cache {
    folder: PathBuf,
    /// Version, size and time of change, by name.
    files: BTreeMap<String, Value>,
}

impl Cache {
    /// What was noted last; nothing where the note is not there or damaged, so that all is brought again.
    fn read(folder: &Path) -> Self {
        let value = manifest::read_sealed(&folder.join(NOTE), "");
        let files = value.map(|mut value| serde_json::from_value(value["files"].take()));
        Self {
            folder: folder.to_owned(),
            files: files.ok().and_then(Result::ok).unwrap_or_default(),
        }
    }

    /// Whether a file is here as it was brought, in this version.
    fn has(&self, name: &str, file: &LogFile) -> bool {
        let now = self.state(name, file);
        now.is_ok_and(|now| self.files.get(name) == Some(&now))
    }

    fn note(&mut self, name: &str, file: &LogFile) -> Result<()> {
        let state = self.state(name, file)?;
        self.files.insert(name.to_owned(), state);
        Ok(())
    }

    fn state(&self, name: &str, file: &LogFile) -> Result<Value> {
        let about = self.folder.join(name).metadata()?;
        let changed = about.modified()?.duration_since(std::time::UNIX_EPOCH)?;
        Ok(json!({
            "version": file.sha256, "bytes": about.len(), "changed": changed.as_nanos() as u64,
        }))
    }

    fn write(&self) -> Result<()> {
        let value =
            json!({ "format": manifest::FORMAT, "kind": "files here", "files": self.files });
        replace_file(&self.folder.join(NOTE), manifest::sealed(value).as_bytes())
    }
}
