//! Bringing the files of a log together, wherever and however they are stored.

use std::fs;
use std::path::{Path, PathBuf};

use slate_types::Progress;
use slate_types::log::Table;
use url::Url;

use super::location::{Format, LogTables, Packing, Place, is_part, is_pattern, matches, names_of};
use super::remote::{RemoteFile, Store};
use super::text::{TextFile, convert};
use super::{LogSource, TableSource, Unread, assemble, check_manifest, read_table};
use crate::LogError;

impl LogSource {
    /// Finds the tables of a log in the folder or at the URL `logs`, and those that `tables` names
    /// elsewhere. Parquet on this machine is read where it lies; what is remote is fetched and what
    /// is text is turned into Parquet, once, in `work`, a folder that exists and is the job's own.
    ///
    /// # Errors
    /// [`LogError`]: a place that is none, no files, several formats for one table, a store that
    /// refuses, and the first thing wrong with the log.
    pub fn gather(
        logs: Option<&str>,
        tables: &LogTables,
        work: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, LogError> {
        let root = logs.map(Place::parse).transpose()?;
        if let (Some(Place::Local(dir)), true) = (&root, tables.is_empty())
            && is_plain(dir)
        {
            return Self::open(dir);
        }
        let gathering = Gathering {
            root,
            tables,
            work,
            progress,
        };
        let shown = PathBuf::from(logs.unwrap_or("[logs]"));
        if let Some(Place::Local(dir)) = &gathering.root {
            fs::read_dir(dir).map_err(|source| LogError::Io {
                action: "open",
                path: dir.clone(),
                source,
            })?;
            check_manifest(dir)?;
        }
        let mut errors = Vec::new();
        let source = assemble(&shown, &mut errors, |table| gathering.table(table));
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(source.expect("a log without errors has its two required tables")),
        }
    }
}

/// Whether a folder has no table of text.
fn is_plain(dir: &Path) -> bool {
    slate_types::log::TABLES.iter().all(|table| {
        let text = names_of(table)
            .into_iter()
            .skip(1)
            .any(|name| dir.join(name).is_file());
        let parquet = dir.join(format!("{}.parquet", table.name)).exists();
        let folder = dir.join(table.name);
        let text_parts = || {
            parts(&folder).is_ok_and(|files| {
                files
                    .iter()
                    .any(|file| format_of(file) != Some(Format::Parquet))
            })
        };
        parquet || !(text || folder.is_dir() && text_parts())
    })
}

fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    Format::of(name).map(|(format, _)| format)
}

struct Gathering<'a> {
    root: Option<Place>,
    tables: &'a LogTables,
    work: &'a Path,
    progress: &'a dyn Progress,
}

/// A file and the name under which a person knows it.
struct Found {
    path: PathBuf,
    name: String,
}

impl Gathering<'_> {
    fn table(
        &self,
        table: &'static Table,
    ) -> Result<Option<(TableSource, Vec<LogError>)>, LogError> {
        let place = self.tables.of(table).map(Place::parse).transpose()?;
        let (shown, files) = match (place, &self.root) {
            (Some(Place::Local(path)), _) => (path.clone(), local(&path)?),
            (Some(Place::Remote(url)), _) => {
                let store = Store::open(&url)?;
                let files = store.files(&url)?;
                (
                    PathBuf::from(url.as_str()),
                    self.fetch(table, &store, &files)?,
                )
            }
            (None, Some(Place::Local(dir))) => {
                let mut names = names_of(table).into_iter().map(|name| dir.join(name));
                let folder = dir.join(table.name);
                let found = names.find(|path| path.exists());
                let Some(path) = found.or_else(|| folder.is_dir().then_some(folder)) else {
                    return Ok(None);
                };
                (path.clone(), local(&path)?)
            }
            (None, Some(Place::Remote(url))) => {
                let store = Store::open(url)?;
                let files = store.table(url, table)?;
                if files.is_empty() {
                    return Ok(None);
                }
                (below(url, table), self.fetch(table, &store, &files)?)
            }
            (None, None) => return Ok(None),
        };
        self.read(table, &shown, files).map(Some)
    }

    /// Brings remote files here.
    fn fetch(
        &self,
        table: &Table,
        store: &Store,
        files: &[RemoteFile],
    ) -> Result<Vec<Found>, LogError> {
        let folder = self.work.join(format!("{}.fetched", table.name));
        fs::create_dir(&folder).map_err(|source| LogError::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        let bytes = files.iter().map(RemoteFile::size).sum();
        self.progress.begin("fetch the log", Some(bytes), "bytes");
        let mut found = Vec::new();
        for (number, file) in files.iter().enumerate() {
            // Numbered, since names of two partitions may be alike.
            let name = file.name.rsplit('/').next().unwrap_or_default();
            let path = folder.join(format!("{number:06}-{name}"));
            store.fetch(file, &path, self.progress)?;
            found.push(Found {
                path,
                name: file.name.clone(),
            });
        }
        self.progress.end();
        Ok(found)
    }

    /// Reads what the files are, text after it was turned into Parquet.
    fn read(
        &self,
        table: &'static Table,
        shown: &Path,
        files: Vec<Found>,
    ) -> Result<(TableSource, Vec<LogError>), LogError> {
        let mut formats: Vec<(Format, Packing)> = Vec::new();
        for file in &files {
            let format = Format::of(&file.name).ok_or_else(|| LogError::Location {
                location: file.name.clone(),
                problem: "its name does not say what it is, expected `.parquet`, `.jsonl`, \
                          `.ndjson` or `.csv`, text also `.gz` or `.zst`"
                    .to_owned(),
            })?;
            formats.push(format);
        }
        let (first, _) = formats[0];
        if let Some((other, _)) = formats.iter().find(|(format, _)| *format != first) {
            return Err(LogError::MixedFormats {
                path: shown.to_owned(),
                first: first.name(),
                other: other.name(),
            });
        }
        if first == Format::Parquet {
            let files = files.into_iter().map(|file| file.path).collect();
            return read_table(table, shown, files);
        }
        let files: Vec<TextFile> = files
            .into_iter()
            .zip(formats)
            .map(|(file, (_, packing))| TextFile {
                path: file.path,
                name: file.name,
                packing,
            })
            .collect();
        self.progress.begin("read text", None, "rows");
        let converted = convert(table, first, &files, (shown, self.work), self.progress)?;
        self.progress.end();
        let (mut source, errors) = read_table(table, shown, vec![converted.file])?;
        source.rows += converted.counts.iter().map(|count| count.rows).sum::<u64>();
        source.unread = converted.unread.map(|file| Unread {
            file,
            counts: converted.counts,
        });
        // A person knows the files that were written, not those made of them.
        let errors = errors.into_iter().map(|error| error.about(shown)).collect();
        Ok((source, errors))
    }
}

fn below(url: &Url, table: &Table) -> PathBuf {
    PathBuf::from(format!(
        "{}/{}",
        url.as_str().trim_end_matches('/'),
        table.name
    ))
}

/// The files of a path on this machine: one, those of a folder, or those of a pattern.
fn local(path: &Path) -> Result<Vec<Found>, LogError> {
    let files = if path.is_dir() {
        parts(path)?
    } else if path.exists() || !is_pattern(&path.to_string_lossy()) {
        vec![path.to_owned()]
    } else {
        matches(path)?
    };
    let named = files.into_iter().map(|path| Found {
        name: path.display().to_string(),
        path,
    });
    Ok(named.collect())
}

/// The parts of a folder and of its partitions, sorted by name.
pub(super) fn parts(folder: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(dir) = waiting.pop() {
        let io = |source| LogError::Io {
            action: "open",
            path: dir.clone(),
            source,
        };
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let below = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy();
            if path.is_dir() {
                // Whether the folder is a partition is seen from a file in it.
                if is_part(&format!("{below}/x.parquet")) {
                    waiting.push(path);
                }
            } else if is_part(&below) {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(LogError::NoParts {
            dir: folder.to_owned(),
        });
    }
    Ok(files)
}
