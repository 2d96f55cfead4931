//! Finding the files of a format in a folder.

use std::path::{Path, PathBuf};

use super::ImportError;

/// The one file in `dir` whose name, without `.gz`, ends with `suffix`; none where there is none.
///
/// # Errors
/// [`ImportError::Ambiguous`] for two or more, since guessing could import a sample for the whole.
pub(crate) fn find(dir: &Path, suffix: &str) -> Result<Option<PathBuf>, ImportError> {
    let failed = |source| ImportError::Read {
        path: dir.to_owned(),
        line: 0,
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.strip_suffix(".gz").unwrap_or(&name).ends_with(suffix) && path.is_file() {
            found.push((name, path));
        }
    }
    if found.len() > 1 {
        found.sort();
        let names: Vec<_> = found.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(ImportError::Ambiguous {
            path: dir.to_owned(),
            expected: described(suffix),
            found: names.join(", "),
        });
    }
    Ok(found.pop().map(|(_, path)| path))
}

/// The one file in `dir` whose name ends so.
///
/// # Errors
/// [`ImportError::NoSource`] where there is none, [`ImportError::Ambiguous`] for two or more.
pub(crate) fn require(dir: &Path, suffix: &str) -> Result<PathBuf, ImportError> {
    find(dir, suffix)?.ok_or_else(|| ImportError::NoSource {
        path: dir.to_owned(),
        expected: described(suffix),
    })
}

/// `src` itself where it is a file, or the only CSV file in it.
///
/// # Errors
/// As [`require`].
pub(crate) fn only_csv(src: &Path) -> Result<PathBuf, ImportError> {
    if src.is_file() {
        Ok(src.to_owned())
    } else {
        require(src, ".csv")
    }
}

fn described(suffix: &str) -> String {
    let star = if suffix.starts_with('.') || suffix.starts_with('-') {
        "*"
    } else {
        ""
    };
    format!("file `{star}{suffix}` or `{star}{suffix}.gz`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_found_and_two_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = require(dir.path(), "-views.csv").unwrap_err().to_string();
        assert!(
            missing.ends_with("holds no file `*-views.csv` or `*-views.csv.gz`"),
            "{missing}"
        );

        std::fs::write(dir.path().join("a-views.csv.gz"), "").unwrap();
        std::fs::write(dir.path().join("README.md"), "").unwrap();
        let found = require(dir.path(), "-views.csv").unwrap();
        assert_eq!(found.file_name().unwrap(), "a-views.csv.gz");

        std::fs::write(dir.path().join("a-views.csv"), "").unwrap();
        let two = require(dir.path(), "-views.csv").unwrap_err().to_string();
        assert!(two.ends_with(": `a-views.csv`, `a-views.csv.gz`"), "{two}");
    }
}
