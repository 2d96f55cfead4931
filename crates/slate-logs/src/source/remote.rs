//! Files behind URLs, brought here.
//!
//! A job reads a log several times, so every file is fetched once, whole, into the job's work folder:
//! one copy is seen, whatever happens to the bucket meanwhile. Credentials come from the usual
//! environment variables of each store (`AWS_*`, `GOOGLE_*`, `AZURE_*`) and are never repeated.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use slate_types::Progress;
use slate_types::log::Table;
use url::Url;

use super::location::{is_part, is_pattern, names_of};
use crate::LogError;

/// A store, and the runtime its client lives on.
pub(crate) struct Store {
    runtime: tokio::runtime::Runtime,
    objects: Arc<dyn ObjectStore>,
    /// Scheme and host, for messages.
    root: String,
    /// Whether files can be listed; a web server only gives what is named.
    lists: bool,
}

/// A file of a store.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    /// As a URL.
    pub(crate) name: String,
    meta: ObjectMeta,
}

impl Store {
    /// The store that a URL is of.
    pub(crate) fn open(url: &Url) -> Result<Self, LogError> {
        let retry = RetryConfig {
            max_retries: 4,
            retry_timeout: Duration::from_secs(30),
            ..RetryConfig::default()
        };
        let text = url.as_str();
        let built: object_store::Result<Arc<dyn ObjectStore>> = match url.scheme() {
            "s3" => AmazonS3Builder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "az" => MicrosoftAzureBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            _ => HttpBuilder::new()
                .with_url(&url[..url::Position::BeforePath])
                .with_client_options(ClientOptions::new().with_allow_http(true))
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
        };
        let root = url[..url::Position::BeforePath].to_owned();
        let store = built.map_err(|source| failed("open", &root, source))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| LogError::Io {
                action: "start threads for",
                path: PathBuf::from(&root),
                source,
            })?;
        Ok(Self {
            runtime,
            objects: store,
            root,
            lists: !matches!(url.scheme(), "http" | "https"),
        })
    }

    /// Whether its files can be listed.
    pub(crate) fn lists(&self) -> bool {
        self.lists
    }

    /// The files of a table below a log's URL, sorted by name; none where it is absent.
    pub(crate) fn table(&self, log: &Url, table: &Table) -> Result<Vec<RemoteFile>, LogError> {
        let base = key(log)?;
        for name in names_of(table) {
            let found = self.head(&base.clone().join(name))?;
            if let Some(file) = found {
                return Ok(vec![file]);
            }
        }
        if !self.lists {
            return Ok(Vec::new());
        }
        self.list(&base.join(table.name))
    }

    /// The files that a URL names: one, those of a folder, or those of a pattern.
    pub(crate) fn files(&self, url: &Url) -> Result<Vec<RemoteFile>, LogError> {
        let path = url.path().trim_start_matches('/');
        let refuse = |problem: &str| LogError::Location {
            location: url.to_string(),
            problem: problem.to_owned(),
        };
        if is_pattern(path) {
            if !self.lists {
                return Err(refuse("a web server cannot list files; name them"));
            }
            let pattern = glob::Pattern::new(path).map_err(|error| refuse(error.msg))?;
            let literal = path.split('/').take_while(|part| !is_pattern(part));
            let folder: Key = literal.collect();
            let options = glob::MatchOptions {
                require_literal_separator: true,
                ..glob::MatchOptions::default()
            };
            let mut files = self.list_all(&folder)?;
            files.retain(|file| pattern.matches_with(file.meta.location.as_ref(), options));
            if files.is_empty() {
                return Err(refuse("no file matches"));
            }
            return Ok(files);
        }
        let key = key(url)?;
        if let Some(file) = self.head(&key)? {
            return Ok(vec![file]);
        }
        let files = if self.lists {
            self.list(&key)?
        } else {
            Vec::new()
        };
        if files.is_empty() {
            return Err(refuse("there is no such file or folder of parts"));
        }
        Ok(files)
    }

    /// Copies a file to this machine.
    pub(crate) fn fetch(
        &self,
        file: &RemoteFile,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<(), LogError> {
        let broken = |source| failed("read", &file.name, source);
        let io = |source| LogError::Io {
            action: "write",
            path: to.to_owned(),
            source,
        };
        let mut out = File::create_new(to).map_err(io)?;
        self.runtime.block_on(async {
            let got = self
                .objects
                .get(&file.meta.location)
                .await
                .map_err(broken)?;
            // What was listed and what is there now must be one version.
            let same = got.meta.size == file.meta.size
                && (got.meta.e_tag == file.meta.e_tag || file.meta.e_tag.is_none());
            if !same {
                return Err(LogError::Changed {
                    file: PathBuf::from(&file.name),
                });
            }
            let mut chunks = got.into_stream();
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(broken)?;
                out.write_all(&chunk).map_err(io)?;
                bytes += chunk.len() as u64;
                progress.advance(chunk.len() as u64);
            }
            if bytes == file.meta.size {
                Ok(())
            } else {
                Err(LogError::Changed {
                    file: PathBuf::from(&file.name),
                })
            }
        })
    }

    fn head(&self, key: &Key) -> Result<Option<RemoteFile>, LogError> {
        match self.runtime.block_on(self.objects.head(key)) {
            Ok(meta) => Ok(Some(self.named(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("look for", &self.name(key), source)),
        }
    }

    /// The parts below a folder.
    fn list(&self, folder: &Key) -> Result<Vec<RemoteFile>, LogError> {
        let mut files = self.list_all(folder)?;
        files.retain(|file| {
            let below = file.meta.location.as_ref().strip_prefix(folder.as_ref());
            below.is_some_and(is_part)
        });
        Ok(files)
    }

    fn list_all(&self, folder: &Key) -> Result<Vec<RemoteFile>, LogError> {
        let found: Vec<object_store::Result<ObjectMeta>> = self
            .runtime
            .block_on(self.objects.list(Some(folder)).collect());
        let mut files = Vec::new();
        for meta in found {
            let meta = meta.map_err(|source| failed("list", &self.name(folder), source))?;
            files.push(self.named(meta));
        }
        files.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        Ok(files)
    }

    fn named(&self, meta: ObjectMeta) -> RemoteFile {
        RemoteFile {
            name: self.name(&meta.location),
            meta,
        }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}/{key}", self.root)
    }
}

impl RemoteFile {
    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.meta.size
    }

    /// The path below a log's URL.
    pub(crate) fn below(&self, log: &Url) -> Result<String, LogError> {
        let (path, base) = (self.meta.location.as_ref(), key(log)?);
        let below = path.strip_prefix(base.as_ref()).unwrap_or(path);
        Ok(below.trim_start_matches('/').to_owned())
    }

    /// What the store says to tell this version from others: its tag, or else when it was written.
    pub(crate) fn version(&self) -> String {
        let meta = &self.meta;
        // Files written in one moment are not one file.
        let written = || format!("{} {}", meta.location, meta.last_modified.to_rfc3339());
        meta.e_tag.clone().unwrap_or_else(written)
    }
}

fn failed(action: &'static str, location: &str, source: object_store::Error) -> LogError {
    LogError::Store {
        action,
        location: location.to_owned(),
        source: Box::new(source),
    }
}

fn key(url: &Url) -> Result<Key, LogError> {
    Key::from_url_path(url.path()).map_err(|error| LogError::Location {
        location: url.to_string(),
        problem: error.to_string(),
    })
}
