//! The files of the logs: which of them a month can see, and their hashes.
//!
//! Hashing is done once for each state of a file: its size and time of change are kept beside its hash in
//! `log_files.json`. A file of a later month is known by its folder, as in `month=2026-05`, or by the
//! times in its footer, and is not looked at. In an object store a file is known by its tag, and brought
//! here when a month first needs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slate_logs::RemoteLog;
use slate_types::{FormatVersion, Progress};

use super::bucket::Bucket;
use crate::artefacts::{manifest, replace_file};
use crate::console::Refusal;
use crate::pipeline::calendar::{DAY, Month};

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    pub(super) bytes: u64,
    /// Nanoseconds since 1970; 0 in an object store.
    changed: u64,
    /// Hash of its bytes; of its tag in an object store.
    pub(super) sha256: String,
    /// Time of its first row, UTC microseconds; none where it does not say.
    pub(super) from: Option<i64>,
    /// Time that its last row is before; none where it does not say.
    until: Option<i64>,
    /// Rows that its footer tells of; none where it has none.
    rows: Option<i64>,
}

/// The files below a folder, by their paths below it.
#[derive(Debug, Clone)]
pub(super) struct LogFiles {
    root: PathBuf,
    /// Where the files come from, if not from this machine.
    bucket: Option<Bucket>,
    pub(super) files: BTreeMap<String, LogFile>,
    /// Whether the index does not know all of it yet.
    is_news: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: FormatVersion,
    kind: String,
    files: BTreeMap<String, LogFile>,
}

impl LogFile {
    /// A file of an object store.
    fn remote(name: &str, bytes: u64, version: &str) -> Self {
        let span = partition(name);
        Self {
            bytes,
            changed: 0,
            sha256: manifest::hex(&Sha256::digest(format!("{version} {bytes}").as_bytes())),
            from: span.map(|span| span[0]),
            until: span.map(|span| span[1]),
            rows: None,
        }
    }
}

impl LogFiles {
    /// The files of a log in an object store, which are brought into the folder `root`.
    pub(super) fn of_bucket(bucket: Bucket, root: &Path) -> Self {
        let files = bucket.log.files().map(|(name, bytes, version)| {
            let file = LogFile::remote(name, bytes, &version);
            (name.to_owned(), file)
        });
        Self {
            root: root.to_owned(),
            files: files.collect(),
            bucket: Some(bucket),
            is_news: false,
        }
    }

    /// Looks at all files, hashing those that are new or have changed since they were noted in `index`.
    ///
    /// # Errors
    /// A folder or file that cannot be read.
    pub(super) fn look(logs: &str, index: &Path) -> Result<Self> {
        if RemoteLog::is_remote(logs) {
            return Bucket::look(logs, index);
        }
        let root = Path::new(logs);
        if !root.is_dir() {
            let told = format!(
                "the logs `{}` are no folder of this machine",
                root.display()
            );
            return Err(Refusal::new(told)
                .hint("`retrain.logs` names a folder, or a place in an object store: s3://, gs:// or az://")
                .into());
        }
        let known = match manifest::read_sealed(index, "") {
            Ok(value) => serde_json::from_value(value).ok(),
            // Made anew: it only saves time.
            Err(_) => None,
        };
        let known = known.map_or_else(BTreeMap::new, |known: Index| known.files);
        let mut paths = Vec::new();
        walk(root, &mut paths)?;
        let mut files = BTreeMap::new();
        for path in paths {
            let name = path.strip_prefix(root).unwrap_or(&path);
            let name = name.display().to_string();
            let about =
                fs::metadata(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let changed = changed(&about);
            let same = known
                .get(&name)
                .filter(|file| (file.bytes, file.changed) == (about.len(), changed));
            let file = if let Some(file) = same {
                file.clone()
            } else {
                let footer = footer(&path);
                let span = partition(&name).or_else(|| times(footer.as_ref()?));
                LogFile {
                    bytes: about.len(),
                    changed,
                    sha256: manifest::sha256(&path)?,
                    from: span.map(|span| span[0]),
                    until: span.map(|span| span[1]),
                    rows: footer.map(|footer| footer.file_metadata().num_rows()),
                }
            };
            files.insert(name, file);
        }
        Ok(Self {
            root: root.to_owned(),
            bucket: None,
            is_news: files != known,
            files,
        })
    }

    /// Notes what was seen in the index. Only for who holds the lease.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn remember(&self, index: &Path) -> Result<()> {
        if !self.is_news {
            return Ok(());
        }
        let folder = index.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        let value = json!({
            "format": manifest::FORMAT, "kind": "log files", "files": self.files,
        });
        replace_file(index, manifest::sealed(value).as_bytes())
    }

    /// Those that may have rows from one time on and before another.
    pub(super) fn between(&self, from: i64, until: i64) -> Self {
        let files = self.files.iter();
        let files = files.filter(|(_, file)| {
            let begins = file.from.is_none_or(|first| first < until);
            begins && file.until.is_none_or(|last| last > from)
        });
        Self {
            root: self.root.clone(),
            bucket: self.bucket.clone(),
            files: files.map(|(k, v)| (k.clone(), v.clone())).collect(),
            is_news: false,
        }
    }

    /// Time of the first row that a file tells of; none where no file does.
    pub(super) fn first_time(&self) -> Option<i64> {
        self.files.values().filter_map(|file| file.from).min()
    }

    /// One hash of the names and bytes of all of them.
    pub(super) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, file) in &self.files {
            hasher.update(format!("{name}\n{}\n", file.sha256));
        }
        manifest::hex(&hasher.finalize())
    }

    /// Pairs of names of one table whose bytes are the same.
    pub(super) fn doubled(&self) -> Vec<(&str, &str)> {
        let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        let mut doubled = Vec::new();
        for (name, file) in self
            .files
            .iter()
            .filter(|(_, file)| file.bytes > 0 && file.rows != Some(0))
        {
            let table = name.split(['/', '.']).next().unwrap_or_default();
            match first.entry((table, &file.sha256)) {
                std::collections::btree_map::Entry::Occupied(there) => {
                    doubled.push((*there.get(), name.as_str()));
                }
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(name);
                }
            }
        }
        doubled
    }

    /// Refuses where a file is not what it was when it was looked at: what was made of it is of other logs
    /// than its key says.
    ///
    /// # Errors
    /// The first such file.
    pub(super) fn unchanged(&self) -> Result<()> {
        if self.bucket.is_some() {
            // Those that were brought are this program's own.
            return Ok(());
        }
        for (name, file) in &self.files {
            let path = self.root.join(name);
            let now = path
                .metadata()
                .ok()
                .map(|about| (about.len(), changed(&about)));
            if now != Some((file.bytes, file.changed)) {
                let told = format!("`{}` changed while it was read", path.display());
                return Err(Refusal::new(told)
                    .hint("start again when the logs stand still; nothing was kept of it")
                    .into());
            }
        }
        Ok(())
    }

    /// A folder of links to them, for a job that should see no other.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(super) fn link_into(&self, folder: &Path, progress: &dyn Progress) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        if let Some(bucket) = &self.bucket {
            bucket.bring(&self.root, &self.files, progress)?;
        }
        let root = self.root.canonicalize()?;
        for name in self.files.keys() {
            let link = folder.join(name);
            fs::create_dir_all(link.parent().unwrap_or(folder))?;
            #[cfg(unix)]
            std::os::unix::fs::symlink(root.join(name), &link)
                .with_context(|| format!("cannot link `{}`", link.display()))?;
            #[cfg(not(unix))]
            fs::copy(root.join(name), &link)?;
        }
        Ok(())
    }
}

/// When a file changed last, nanoseconds since 1970.
fn changed(about: &fs::Metadata) -> u64 {
    let since = about.modified().ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Files of tables: those with an ending of one, but for hidden ones and what a simulator knows.
fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let is_table = ["parquet", "csv", "jsonl", "ndjson", "gz", "zst"].contains(&&*ending);
        if name.starts_with(['.', '_']) || name.starts_with("truth") {
            continue;
        }
        if path.is_dir() {
            walk(&path, into)?;
        } else if is_table {
            into.push(path);
        }
    }
    Ok(())
}

/// First moment and end of a partition by month or day, as in `event/month=2026-05/part-0.parquet`.
fn partition(name: &str) -> Option<[i64; 2]> {
    let spans = name.split('/').filter_map(|part| {
        let value = part.split_once('=')?.1;
        let month = Month::parse(value.get(..7)?).ok()?;
        match value.get(7..) {
            Some("") => Some([month.begins(), month.next().begins()]),
            Some(day) => {
                let day: i64 = day.strip_prefix('-')?.parse().ok()?;
                let begins = month.begins() + (day - 1) * DAY;
                Some([begins, begins + DAY])
            }
            None => None,
        }
    });
    spans.max()
}

/// The footer of a Parquet file; none where it is no such file, or damaged.
fn footer(path: &Path) -> Option<ParquetMetaData> {
    let reader = SerializedFileReader::new(fs::File::open(path).ok()?).ok()?;
    Some(reader.metadata().clone())
}

/// The first `ts` that the footer of a Parquet file tells of, and a moment after the last.
fn times(footer: &ParquetMetaData) -> Option<[i64; 2]> {
    let mut span: Option<[i64; 2]> = None;
    for group in footer.row_groups() {
        let column = group
            .columns()
            .iter()
            .find(|column| column.column_path().string() == "ts")?;
        let Some(Statistics::Int64(told)) = column.statistics() else {
            return None;
        };
        let micros = |told: i64| match column.column_descr().logical_type_ref() {
            Some(LogicalType::Timestamp(told_in)) => match told_in.unit {
                TimeUnit::MILLIS => told.saturating_mul(1000),
                TimeUnit::MICROS => told,
                TimeUnit::NANOS => told.div_euclid(1000),
            },
            _ => told,
        };
        let (first, last) = (micros(*told.min_opt()?), micros(*told.max_opt()?));
        let last = last.saturating_add(1);
        let [from, until] = span.unwrap_or([first, last]);
        span = Some([from.min(first), until.max(last)]);
    }
    span
}

#[cfg(test)]
mod tests {
    use slate_types::Silent;

    use super::*;

    #[test]
    fn partitions_say_when_they_begin() {
        let may = Month::parse("2026-05").unwrap().begins();
        let june = Month::parse("2026-06").unwrap().begins();
        let of_month = partition("event/month=2026-05/a.parquet");
        assert_eq!(of_month, Some([may, june]));
        let tenth = may + 9 * DAY;
        assert_eq!(
            partition("event/dt=2026-05-10/a.csv"),
            Some([tenth, tenth + DAY])
        );
        assert_eq!(partition("event/site=de/a.parquet"), None);
        assert_eq!(partition("event.parquet"), None);
    }

    #[test]
    fn files_are_hashed_again_when_they_change_and_twins_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, index) = (dir.path().join("logs"), dir.path().join("index.json"));
        let part = |month: &str, name: &str| logs.join(format!("event/month={month}/{name}.csv"));
        for (month, name, text) in [("2026-05", "a", "1"), ("2026-06", "a", "2")] {
            fs::create_dir_all(part(month, name).parent().unwrap()).unwrap();
            fs::write(part(month, name), text).unwrap();
        }
        fs::write(logs.join("truth.parquet"), "").unwrap();
        let june = Month::parse("2026-06").unwrap().begins();
        let look = || {
            let seen = LogFiles::look(logs.to_str().unwrap(), &index).unwrap();
            seen.remember(&index).unwrap();
            seen
        };
        let first = look();
        assert_eq!(first.files.len(), 2);
        assert_eq!(first.between(0, june).files.len(), 1);
        assert_eq!(first.between(june, i64::MAX).files.len(), 1);
        // A later month does not change what an earlier one sees.
        fs::write(part("2026-06", "a"), "other").unwrap();
        assert_eq!(
            look().between(0, june).hash(),
            first.between(0, june).hash()
        );
        assert_ne!(look().hash(), first.hash());
        assert!(look().doubled().is_empty());
        fs::write(part("2026-05", "b"), "1").unwrap();
        let now = look();
        assert_eq!(now.doubled().len(), 1);
        assert_ne!(now.between(0, june).hash(), first.between(0, june).hash());
        let seen = dir.path().join("seen");
        now.between(0, june).link_into(&seen, &Silent).unwrap();
        let text = fs::read_to_string(seen.join("event/month=2026-05/b.csv")).unwrap();
        assert_eq!(text, "1");
        assert!(!seen.join("event/month=2026-06").exists());
    }

    #[test]
    fn an_index_that_is_damaged_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("event.csv"), "1").unwrap();
        let index = dir.path().join("index.json");
        fs::write(&index, "{ no json").unwrap();
        let look = || LogFiles::look(logs.to_str().unwrap(), &index).unwrap();
        let seen = look();
        assert_eq!(seen.files.len(), 1);
        seen.remember(&index).unwrap();
        assert!(!look().is_news);
        // A hash that was changed in it is not believed.
        let text = fs::read_to_string(&index).unwrap();
        let hash = &seen.files["event.csv"].sha256;
        fs::write(&index, text.replace(hash, &hash.replace('a', "b"))).unwrap();
        assert_eq!(look().files["event.csv"].sha256, *hash);
    }
}
