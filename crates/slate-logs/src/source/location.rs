//! Where the tables of a log are: folders, files, patterns and URLs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use slate_types::log::{EVENT, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION, Table};
use url::Url;

use crate::LogError;

/// `[logs]` of a config: tables that are not in the folder of the others. Each is a file, a folder
/// of parts, a pattern such as `logs/dt=2026-0[1-3]-*/*.parquet`, or the URL of one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogTables {
    /// Pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_impression: Option<String>,
    /// Placements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot_impression: Option<String>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
}

impl LogTables {
    /// Where this table is said to be.
    pub(crate) fn of(&self, table: &Table) -> Option<&str> {
        let given = match table.name {
            name if name == PAGE_IMPRESSION.name => &self.page_impression,
            name if name == SLOT_IMPRESSION.name => &self.slot_impression,
            name if name == EVENT.name => &self.event,
            name if name == ITEM.name => &self.item,
            _ => return None,
        };
        given.as_deref()
    }

    /// Whether no table is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A place as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine; may be a pattern.
    Local(PathBuf),
    /// Behind a URL; the path may be a pattern.
    Remote(Url),
}

impl Place {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`LogError::Location`] for a URL that is none and a scheme that is not known.
    pub(crate) fn parse(text: &str) -> Result<Self, LogError> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        let refuse = |problem: String| LogError::Location {
            location: text.to_owned(),
            problem,
        };
        let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated: what is wrong with it is that it must not be seen.
            return Err(LogError::Location {
                location: format!("{scheme}://…"),
                problem: "credentials in a URL end up in logs; give them by the environment"
                    .to_owned(),
            });
        }
        match scheme {
            "s3" | "gs" | "az" | "http" | "https" => Ok(Self::Remote(url)),
            "file" => url
                .to_file_path()
                .map(Self::Local)
                .map_err(|()| refuse("no path of this machine".to_owned())),
            _ => Err(refuse(format!(
                "unknown scheme `{scheme}`, expected s3, gs, az, http, https or file"
            ))),
        }
    }
}

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Parquet,
    JsonLines,
    Csv,
}

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// What a name says of its file; none for files that are no tables.
    pub(crate) fn of(name: &str) -> Option<(Self, Packing)> {
        let (name, packing) = if let Some(name) = name.strip_suffix(".gz") {
            (name, Packing::Gzip)
        } else if let Some(name) = name.strip_suffix(".zst") {
            (name, Packing::Zstd)
        } else {
            (name, Packing::Plain)
        };
        let format = match name.rsplit_once('.')?.1 {
            "parquet" if packing == Packing::Plain => Self::Parquet,
            "jsonl" | "ndjson" => Self::JsonLines,
            "csv" => Self::Csv,
            _ => return None,
        };
        Some((format, packing))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::JsonLines => "JSON lines",
            Self::Csv => "CSV",
        }
    }
}

/// Names a table's file in a folder may have, the first that is there counts.
pub(crate) fn names_of(table: &Table) -> Vec<String> {
    let mut names = vec![format!("{}.parquet", table.name)];
    for format in ["jsonl", "ndjson", "csv"] {
        for packing in ["", ".gz", ".zst"] {
            names.push(format!("{}.{format}{packing}", table.name));
        }
    }
    names
}

/// Whether a path is a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a file of a folder of parts is one: nothing on the way to it is hidden or a note, and its
/// folders below the table's are partitions such as `dt=2026-01-03`.
pub(crate) fn is_part(below: &str) -> bool {
    let mut names = below.split('/').filter(|name| !name.is_empty()).rev();
    let Some(file) = names.next() else {
        return false;
    };
    let visible = |name: &str| !name.starts_with(['_', '.']);
    visible(file)
        && Format::of(file).is_some()
        && names.all(|name| visible(name) && name.contains('='))
}

/// The files of a pattern on this machine, sorted by name.
pub(crate) fn matches(pattern: &Path) -> Result<Vec<PathBuf>, LogError> {
    let text = pattern.to_string_lossy();
    let refuse = |problem: String| LogError::Location {
        location: text.to_string(),
        problem,
    };
    let mut files = Vec::new();
    for found in glob::glob(&text).map_err(|error| refuse(error.to_string()))? {
        let path = found.map_err(|error| refuse(error.to_string()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(refuse("no file matches".to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let place = |text| Place::parse(text).map_err(|error| error.to_string());
        assert_eq!(place("logs/x"), Ok(Place::Local("logs/x".into())));
        assert_eq!(place("file:///a/b"), Ok(Place::Local("/a/b".into())));
        assert!(matches!(place("s3://bucket/a"), Ok(Place::Remote(_))));
        let message = place("ftp://host/a").unwrap_err();
        assert!(message.contains("unknown scheme `ftp`"), "{message}");
        let message = place("s3://me:secret@bucket/a").unwrap_err();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn names_say_what_is_in_a_file() {
        assert_eq!(
            Format::of("a.parquet"),
            Some((Format::Parquet, Packing::Plain))
        );
        assert_eq!(
            Format::of("a.ndjson.gz"),
            Some((Format::JsonLines, Packing::Gzip))
        );
        assert_eq!(
            Format::of("a.b.csv.zst"),
            Some((Format::Csv, Packing::Zstd))
        );
        for name in ["a", "a.parquet.gz", "a.txt", "csv", "a.gz"] {
            assert_eq!(Format::of(name), None, "{name}");
        }
    }

    #[test]
    fn parts_are_visible_and_below_partitions() {
        for part in ["0.parquet", "dt=2026-01-01/0.parquet", "dt=1/h=2/x.csv.gz"] {
            assert!(is_part(part), "{part}");
        }
        for other in [
            "_SUCCESS",
            ".0.parquet",
            "old/0.parquet",
            "dt=1/_tmp/0.parquet",
            "a.md",
            "",
        ] {
            assert!(!is_part(other), "{other}");
        }
    }
}
