//! Parts of a dataset in other formats, written in the same pass as the arrays, block by block.
//!
//! | format | files of a part | opened by |
//! |---|---|---|
//! | `npy` | `PART/*.npy` | NumPy, and every later command |
//! | `npz` | `PART.npz`, the same arrays in one file | NumPy |
//! | `parquet` | `PART.parquet`, a row for each placement; `PART.history.parquet`, one for each list | DuckDB, pandas, Polars, Spark |
//! | `letor` | `PART.txt`, `PART.txt.query`, `PART.ids.csv`, and `features.tsv` | LightGBM, XGBoost, allRank, RankLib |

mod letor;
mod npz;
mod parquet;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use slate_types::Split;

use crate::{
    ArrayFile, FeatureError, FeatureMap, SplitCounts, data::SplitData, dataset::sha256,
    writer::SplitWriter,
};

/// A format of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Plain NumPy arrays: what training and scoring read.
    Npy,
    /// The same arrays in one file for each part, not compressed.
    Npz,
    /// Rows with named columns.
    Parquet,
    /// LibSVM text with query ids.
    Letor,
}

impl Format {
    /// All, in the order they are listed to a person.
    pub const ALL: [Self; 4] = [Self::Npy, Self::Npz, Self::Parquet, Self::Letor];

    /// The name a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Parquet => "parquet",
            Self::Letor => "letor",
        }
    }
}

/// One part being written in every format that was asked for.
pub(crate) struct PartWriter {
    split: Split,
    arrays: Option<SplitWriter>,
    parquet: Option<parquet::ParquetPart>,
    letor: Option<letor::LetorPart>,
}

impl PartWriter {
    /// Opens the files of a part under `out`.
    pub(crate) fn create(
        out: &Path,
        split: Split,
        map: &FeatureMap,
        counts: SplitCounts,
        formats: &BTreeSet<Format>,
    ) -> Result<Self, FeatureError> {
        let wants = |format| formats.contains(&format);
        let arrays = wants(Format::Npy) || wants(Format::Npz);
        Ok(Self {
            split,
            arrays: arrays
                .then(|| SplitWriter::create(out, split, map, counts.lists, counts.rows))
                .transpose()?,
            parquet: wants(Format::Parquet)
                .then(|| parquet::ParquetPart::create(out, split, map))
                .transpose()?,
            letor: wants(Format::Letor)
                .then(|| letor::LetorPart::create(out, split, map))
                .transpose()?,
        })
    }

    /// Appends lists `lists` of `data`.
    pub(crate) fn write(
        &mut self,
        data: &SplitData,
        lists: Range<usize>,
    ) -> Result<(), FeatureError> {
        if let Some(arrays) = &mut self.arrays {
            arrays.write(data, lists.clone())?;
        }
        if let Some(parquet) = &mut self.parquet {
            parquet.write(data, lists.clone())?;
        }
        if let Some(letor) = &mut self.letor {
            letor.write(data, lists)?;
        }
        Ok(())
    }

    /// Makes everything durable; adds arrays to `files` and the rest to `exports`.
    pub(crate) fn finish(
        self,
        out: &Path,
        formats: &BTreeSet<Format>,
        files: &mut BTreeMap<String, ArrayFile>,
        exports: &mut BTreeMap<String, String>,
    ) -> Result<(), FeatureError> {
        let mut written: Vec<PathBuf> = Vec::new();
        if let Some(arrays) = self.arrays {
            let mut of_part = BTreeMap::new();
            arrays.finish(&mut of_part)?;
            if formats.contains(&Format::Npz) {
                written.push(npz::pack(out, self.split, of_part.keys())?);
            }
            if formats.contains(&Format::Npy) {
                files.append(&mut of_part);
            } else {
                let folder = out.join(self.split.name());
                std::fs::remove_dir_all(&folder).map_err(FeatureError::io("remove", &folder))?;
            }
        }
        if let Some(parquet) = self.parquet {
            written.extend(parquet.finish()?);
        }
        if let Some(letor) = self.letor {
            written.extend(letor.finish()?);
        }
        for path in written {
            let hash = sha256(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            exports.insert(name.into_owned(), hash);
        }
        Ok(())
    }
}

/// A file that must not exist yet.
fn create(path: &Path) -> Result<std::fs::File, FeatureError> {
    std::fs::File::create_new(path).map_err(FeatureError::io("create", path))
}

/// The rows of these lists.
fn rows_of(data: &SplitData, lists: &Range<usize>) -> Range<usize> {
    if lists.is_empty() {
        return 0..0;
    }
    data.lists.range(lists.start).start..data.lists.range(lists.end - 1).end
}
