//! Reading a dataset folder.
//!
//! Opening checks the manifest, the feature map's hash and the header, type, shape and length of
//! every array, without reading their numbers; [`Dataset::verify`] also reads every byte for its
//! SHA-256. Loading a part checks what would break later: ids beyond their cardinality,
//! numbers that are not finite, labels that are not labels.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use slate_types::{FeatureShape, ListOffsets, Split};

use crate::{
    FeatureError, FeatureMap, Manifest,
    data::SplitData,
    extras_writer::{HISTORY, history_vector_name, multi_valued_names, vector_name},
    manifest::MANIFEST_FILE,
    map::FEATURE_MAP_FILE,
    npy::{Element, Reader, hex},
    ragged::{EventVectors, Extras, History, Ragged, Vectors},
    vectors::table_name,
    writer::file_name,
};

/// A dataset folder, opened and checked.
#[derive(Debug, Clone)]
pub struct Dataset {
    folder: PathBuf,
    manifest: Manifest,
    map: FeatureMap,
}

impl Dataset {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`FeatureError::Io`] for a file that is missing, [`FeatureError::Version`] for a newer
    /// layout, [`FeatureError::Json`] and [`FeatureError::Npy`] for files that are broken,
    /// [`FeatureError::Mismatch`] where a file is not the one the manifest describes.
    pub fn open(folder: &Path) -> Result<Self, FeatureError> {
        let path = folder.join(MANIFEST_FILE);
        let manifest = Manifest::read(&path)?;
        if manifest.kind != "dataset" {
            return Err(FeatureError::Mismatch {
                file: path,
                what: "kind",
                found: manifest.kind,
                expected: "dataset".to_owned(),
            });
        }
        let path = folder.join(FEATURE_MAP_FILE);
        let map = FeatureMap::read(&path)?;
        let mismatch = |what, found: String, expected: String| {
            Err(FeatureError::Mismatch {
                file: path.clone(),
                what,
                found,
                expected,
            })
        };
        let hash = sha256(&path)?;
        if hash != manifest.feature_map_sha256 {
            return mismatch("SHA-256", hash, manifest.feature_map_sha256.clone());
        }
        let expected = manifest.shape();
        // The manifest counts the columns of the two matrices.
        let found = FeatureShape {
            multi_valued: vec![],
            history: None,
            ..map.shape()
        };
        if found != expected {
            return mismatch("shape", format!("{found:?}"), format!("{expected:?}"));
        }
        for (name, expected) in &manifest.files {
            Reader::open(&folder.join(name))?.check(expected)?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            manifest,
            map,
        })
    }

    /// Reads every array and compares its SHA-256 with the manifest's.
    ///
    /// # Errors
    /// [`FeatureError::Mismatch`] for the first file that differs.
    pub fn verify(&self) -> Result<(), FeatureError> {
        for (name, expected) in &self.manifest.files {
            let file = self.folder.join(name);
            let found = sha256(&file)?;
            if found != expected.sha256 {
                let expected = expected.sha256.clone();
                return Err(FeatureError::Mismatch {
                    file,
                    what: "SHA-256",
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the folder says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The feature map the numbers were made with.
    pub fn map(&self) -> &FeatureMap {
        &self.map
    }

    /// Widths of the inputs a network needs.
    pub fn shape(&self) -> FeatureShape {
        self.map.shape()
    }

    /// Loads one part.
    ///
    /// # Errors
    /// As [`Dataset::open`], and [`FeatureError::Npy`] for numbers out of range.
    pub fn split(&self, split: Split) -> Result<SplitData, FeatureError> {
        if self.manifest.files.is_empty() && !self.manifest.exports.is_empty() {
            return Err(FeatureError::NoArrays {
                folder: self.folder.clone(),
            });
        }
        let offsets_path = self.folder.join(file_name(split, "list_offsets"));
        let lists =
            ListOffsets::new(self.array(split, "list_offsets", None)?).map_err(|error| {
                FeatureError::Npy {
                    file: offsets_path,
                    problem: error.to_string(),
                }
            })?;
        let (n, rows) = (lists.len() as u64, lists.rows() as u64);
        let shape = self.shape();
        let (d, c) = (self.map.dense.len(), self.map.categorical.len());
        let data = SplitData {
            dense: self.array(split, "dense", Some(&[rows, d as u64]))?,
            categorical: self.array(split, "categorical", Some(&[rows, c as u64]))?,
            grade: self.array(split, "grade", Some(&[rows]))?,
            click: self.array(split, "click", Some(&[rows]))?,
            purchase: self.array(split, "purchase", Some(&[rows]))?,
            weight: self.array(split, "weight", Some(&[rows]))?,
            slot: self.array(split, "slot", Some(&[rows]))?,
            propensity: self.array(split, "propensity", Some(&[rows]))?,
            price: self.array(split, "price", Some(&[rows]))?,
            ad_rate: self.array(split, "ad_rate", Some(&[rows]))?,
            raw_score: self.array(split, "raw_score", Some(&[rows]))?,
            item: self.array(split, "item", Some(&[rows]))?,
            impression: self.array(split, "impression", Some(&[rows]))?,
            list_id: self.array(split, "list_id", Some(&[n]))?,
            list_ts: self.array(split, "list_ts", Some(&[n]))?,
            extras: self.extras(split, n, rows)?,
            lists,
        };
        self.check_values(split, &data, &shape)?;
        Ok(data)
    }

    /// What the map has beside matrices.
    fn extras(&self, split: Split, lists: u64, rows: u64) -> Result<Extras, FeatureError> {
        let mut extras = Extras::default();
        for feature in &self.map.multi_valued {
            let [values, offsets] = multi_valued_names(&feature.name);
            let ragged = Ragged {
                offsets: self.array(split, &offsets, Some(&[rows + 1]))?,
                values: self.array(split, &values, None)?,
            };
            self.check_offsets(split, &offsets, &ragged.offsets, ragged.values.len())?;
            self.check_ids(split, &values, &ragged.values, feature.ids.cardinality())?;
            extras.multi_valued.push(ragged);
        }
        for feature in &self.map.embedding {
            let name = table_name(&feature.name);
            let reader = Reader::open(&self.folder.join(&name))?;
            let known = reader.shape.first().copied().unwrap_or(0);
            let vectors = Vectors {
                table: reader.read::<f32>()?.into(),
                width: feature.width as usize,
                index: self.array(split, &vector_name(&feature.name), Some(&[rows]))?,
            };
            self.check_ids(
                split,
                &vector_name(&feature.name),
                &vectors.index,
                known as u32,
            )?;
            extras.vectors.push(vectors);
        }
        if let Some(feature) = &self.map.history {
            let [offsets, item, kind, age] = HISTORY;
            let mut history = History {
                offsets: self.array(split, offsets, Some(&[lists + 1]))?,
                item: self.array(split, item, None)?,
                kind: self.array(split, kind, None)?,
                age: self.array(split, age, None)?,
                vectors: Vec::new(),
            };
            for length in [history.item.len(), history.kind.len(), history.age.len()] {
                self.check_offsets(split, offsets, &history.offsets, length)?;
            }
            self.check_ids(split, item, &history.item, feature.ids.cardinality())?;
            for (own, table) in self.map.history_vectors() {
                let name = history_vector_name(&own.name);
                let rows: Vec<u32> = self.array(split, &name, None)?;
                self.check_offsets(split, offsets, &history.offsets, rows.len())?;
                let known = &extras.vectors[table];
                let known = known.table.len() / known.width.max(1);
                self.check_ids(split, &name, &rows, known as u32)?;
                history.vectors.push(EventVectors {
                    table,
                    prior: own.prior_events as f32,
                    rows,
                });
            }
            extras.history = Some(history);
        }
        Ok(extras)
    }

    fn check_offsets(
        &self,
        split: Split,
        array: &str,
        offsets: &[u64],
        values: usize,
    ) -> Result<(), FeatureError> {
        let sound = offsets.first() == Some(&0)
            && offsets.is_sorted()
            && offsets.last() == Some(&(values as u64));
        if sound {
            return Ok(());
        }
        Err(FeatureError::Npy {
            file: self.folder.join(file_name(split, array)),
            problem: format!("it does not grow from 0 to {values}, the number of values"),
        })
    }

    fn check_ids(
        &self,
        split: Split,
        array: &str,
        ids: &[u32],
        size: u32,
    ) -> Result<(), FeatureError> {
        match ids.iter().position(|id| *id >= size) {
            None => Ok(()),
            Some(place) => Err(FeatureError::Npy {
                file: self.folder.join(file_name(split, array)),
                problem: format!("number {place} is not below {size}"),
            }),
        }
    }

    /// One array, its shape that of the other arrays.
    fn array<T: Element>(
        &self,
        split: Split,
        array: &str,
        shape: Option<&[u64]>,
    ) -> Result<Vec<T>, FeatureError> {
        let name = file_name(split, array);
        let file = self.folder.join(&name);
        let Some(expected) = self.manifest.files.get(&name) else {
            let problem = "the manifest does not list it".to_owned();
            return Err(FeatureError::Npy { file, problem });
        };
        if let Some(shape) = shape
            && shape != expected.shape
        {
            let problem = format!(
                "its shape is {:?}, but the lists and inputs need {shape:?}",
                expected.shape
            );
            return Err(FeatureError::Npy { file, problem });
        }
        let reader = Reader::open(&file)?;
        reader.check(expected)?;
        reader.read()
    }

    fn check_values(
        &self,
        split: Split,
        data: &SplitData,
        shape: &FeatureShape,
    ) -> Result<(), FeatureError> {
        let bad = |array: &str, place: usize, expected: &str| {
            Err(FeatureError::Npy {
                file: self.folder.join(file_name(split, array)),
                problem: format!("number {place} is not {expected}"),
            })
        };
        if let Some(place) = data.dense.iter().position(|value| !value.is_finite()) {
            return bad("dense", place, "finite");
        }
        let cardinalities = shape.categorical.iter().cycle();
        if let Some(place) = data
            .categorical
            .iter()
            .zip(cardinalities)
            .position(|(id, size)| id >= size)
        {
            return bad("categorical", place, "below the cardinality of its column");
        }
        if let Some(place) = data.click.iter().position(|&label| label > 1) {
            return bad("click", place, "0 or 1");
        }
        if let Some(place) = data.purchase.iter().position(|&label| label > 1) {
            return bad("purchase", place, "0 or 1");
        }
        if let Some(place) = data
            .weight
            .iter()
            .position(|&w| !(w > 0.0 && w.is_finite()))
        {
            return bad("weight", place, "finite and above 0");
        }
        Ok(())
    }
}

/// SHA-256 of a file, lower-case hex.
pub(crate) fn sha256(path: &Path) -> Result<String, FeatureError> {
    let mut file = File::open(path).map_err(FeatureError::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(FeatureError::io("read", path))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
