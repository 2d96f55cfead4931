//! Which file of a folder is for training, validation and testing.
//!
//! A name without `.gz` is taken apart at dots, dashes and underscores. A file is for training
//! where a part is `train`, for validation where one is `vali`, `valid` or `validation`, for
//! testing where one is `test`: `train.txt`, `rank.train.gz`, `fold1-vali.libsvm`. What is left
//! of the name must end as data files do; `rank.train.query` and `train.conf` are no data.

use std::path::{Path, PathBuf};

use crate::{FeatureError, dataset::sha256, npy::hex};
use sha2::{Digest, Sha256};

const TRAIN: &[&str] = &["train"];
const VALID: &[&str] = &["vali", "valid", "validation"];
const TEST: &[&str] = &["test"];
/// Endings of data files, beside the words above.
const ENDINGS: &[&str] = &["txt", "dat", "data", "svm", "libsvm", "svmlight", "letor"];

/// The data files of a source.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) train: PathBuf,
    pub(crate) valid: Option<PathBuf>,
    pub(crate) test: Option<PathBuf>,
}

impl Sources {
    /// A single file is for training.
    pub(crate) fn find(source: &Path) -> Result<Self, FeatureError> {
        let about = source
            .metadata()
            .map_err(FeatureError::io("open", source))?;
        if !about.is_dir() {
            return Ok(Self {
                train: source.to_path_buf(),
                valid: None,
                test: None,
            });
        }
        let mut names = Vec::new();
        for entry in source
            .read_dir()
            .map_err(FeatureError::io("read", source))?
        {
            let entry = entry.map_err(FeatureError::io("read", source))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        let one = |words| one(source, &names, words);
        let train = one(TRAIN)?.ok_or_else(|| FeatureError::LetorFolder {
            folder: source.to_path_buf(),
            problem: format!(
                "has no training file, expected one like `train.txt` or `rank.train.gz` (files: {})",
                names.join(", ")
            ),
        })?;
        Ok(Self {
            train,
            valid: one(VALID)?,
            test: one(TEST)?,
        })
    }

    /// One hash of all files, query sizes too.
    pub(crate) fn hash(&self) -> Result<String, FeatureError> {
        let mut hash = Sha256::new();
        for file in [Some(&self.train), self.valid.as_ref(), self.test.as_ref()]
            .into_iter()
            .flatten()
        {
            hash.update(sha256(file)?);
            if let Some(sizes) = sizes_file(file) {
                hash.update(sha256(&sizes)?);
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

/// LightGBM's file of query sizes beside a data file, where there is one.
pub(crate) fn sizes_file(data: &Path) -> Option<PathBuf> {
    let name = data.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    ["query", "query.gz"]
        .into_iter()
        .map(|ending| data.with_file_name(format!("{name}.{ending}")))
        .find(|file| file.is_file())
}

/// The one file with one of these words in its name.
fn one(folder: &Path, names: &[String], words: &[&str]) -> Result<Option<PathBuf>, FeatureError> {
    let found: Vec<&String> = names.iter().filter(|name| is_data(name, words)).collect();
    match found[..] {
        [] => Ok(None),
        [name] => Ok(Some(folder.join(name))),
        [first, second, ..] => Err(FeatureError::LetorFolder {
            folder: folder.to_path_buf(),
            problem: format!(
                "has both `{first}` and `{second}`, expected one `{}` file",
                words[0]
            ),
        }),
    }
}

fn is_data(name: &str, words: &[&str]) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let has_word = name
        .split(['.', '-', '_'])
        .any(|part| words.contains(&part));
    let ending = name.rsplit(['.', '-', '_']).next().unwrap_or_default();
    has_word && (words.contains(&ending) || ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is_for() {
        for name in [
            "train.txt",
            "train",
            "rank.train.gz",
            "Fold1-train.libsvm.gz",
            "a_train.dat",
        ] {
            assert!(is_data(name, TRAIN), "{name}");
            assert!(!is_data(name, TEST), "{name}");
        }
        for name in [
            "rank.train.query",
            "train.conf",
            "training.txt",
            "README.md",
            "train.csv",
        ] {
            assert!(!is_data(name, TRAIN), "{name}");
        }
        assert!(is_data("vali.txt", VALID));
    }

    #[test]
    fn missing_and_double_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = || Sources::find(folder.path()).unwrap_err().to_string();
        std::fs::write(folder.path().join("test.txt"), "").unwrap();
        assert!(message().contains("has no training file"), "{}", message());
        assert!(message().contains("(files: test.txt)"), "{}", message());
        std::fs::write(folder.path().join("train.txt"), "").unwrap();
        std::fs::write(folder.path().join("rank.train"), "").unwrap();
        assert!(
            message().contains("has both `rank.train` and `train.txt`"),
            "{}",
            message()
        );
    }
}
