//! Vectors by item id: reading a table and finding rows in it.
//!
//! In: an `.npy` of f32 `[n, width]` and one of i64 `[n]` with the id of each vector. Out: the rows in
//! the order of growing ids, after a row of zeros for ids that have none.

use std::path::Path;

use crate::{
    ArrayFile, FeatureError,
    map::{Scale, VectorScale},
    moments::Moments,
    npy::{Reader, Writer},
    spec::Embedding,
};

/// A table in memory.
#[derive(Debug)]
pub(crate) struct VectorTable {
    ids: Vec<i64>,
    pub(crate) width: usize,
    /// Fingerprint of the encoder, where it is known.
    pub(crate) encoder: Option<String>,
    /// `[ids + 1, width]`.
    table: Vec<f32>,
}

impl VectorTable {
    /// Reads the two files of an embedding.
    ///
    /// # Errors
    /// [`FeatureError::Npy`] for shapes that do not fit each other, a repeated id, or a number that is
    /// not finite.
    pub(crate) fn read(spec: &Embedding) -> Result<Self, FeatureError> {
        let broken = |file: &Path, problem: String| FeatureError::Npy {
            file: file.to_path_buf(),
            problem,
        };
        let vectors = Reader::open(&spec.path)?;
        let [rows, width] = vectors.shape[..] else {
            let problem = format!("its shape is {:?}, expected [items, width]", vectors.shape);
            return Err(broken(&spec.path, problem));
        };
        let ids = Reader::open(&spec.ids)?;
        if ids.shape != [rows] {
            let problem = format!(
                "its shape is {:?}, expected one id for each of {rows} vectors",
                ids.shape
            );
            return Err(broken(&spec.ids, problem));
        }
        if width == 0 {
            return Err(broken(&spec.path, "its vectors have no numbers".to_owned()));
        }
        let (width, unsorted) = (width as usize, vectors.read::<f32>()?);
        let given = ids.read::<i64>()?;
        if let Some(at) = unsorted.iter().position(|value| !value.is_finite()) {
            return Err(broken(&spec.path, format!("number {at} is not finite")));
        }
        let mut order: Vec<usize> = (0..given.len()).collect();
        order.sort_unstable_by_key(|&at| given[at]);
        let mut table = vec![0.0; width];
        table.reserve(unsorted.len());
        for &at in &order {
            table.extend_from_slice(&unsorted[at * width..(at + 1) * width]);
        }
        let ids: Vec<i64> = order.into_iter().map(|at| given[at]).collect();
        if let Some(at) = (1..ids.len()).find(|&at| ids[at - 1] == ids[at]) {
            return Err(broken(
                &spec.ids,
                format!("the id {} stands twice", ids[at]),
            ));
        }
        Ok(Self {
            ids,
            width,
            encoder: encoder_of(&spec.path),
            table,
        })
    }

    /// Rows of the table, that of no item among them.
    pub(crate) fn len(&self) -> usize {
        self.ids.len() + 1
    }

    /// The row of an id, 0 where it has none.
    pub(crate) fn row(&self, id: i64) -> u32 {
        self.ids.binary_search(&id).map_or(0, |at| at as u32 + 1)
    }

    /// The row of an id, 0 where it has none or zeros, which stand for none.
    pub(crate) fn row_of_vector(&self, id: i64) -> u32 {
        let row = self.row(id);
        let vector = &self.table[row as usize * self.width..][..self.width];
        if is_there(vector) { row } else { 0 }
    }

    /// The rows of these ids.
    pub(crate) fn rows(&self, ids: impl Iterator<Item = Option<i64>>) -> Vec<u32> {
        ids.map(|id| id.map_or(0, |id| self.row(id))).collect()
    }

    /// Mean and deviation of each number over the vectors in these rows, none of which is row 0; vectors of zeros
    /// count as none. None where nothing is left.
    pub(crate) fn scale(&self, rows: impl Iterator<Item = usize>) -> Option<VectorScale> {
        let mut moments = vec![Moments::default(); self.width];
        for row in rows {
            let vector = &self.table[row * self.width..(row + 1) * self.width];
            if is_there(vector) {
                let each = moments.iter_mut().zip(vector);
                each.for_each(|(moments, &number)| moments.add(number.into()));
            }
        }
        let scales = moments.iter().map(|moments| moments.scale());
        (moments[0].count > 0).then(|| VectorScale {
            mean: scales.clone().map(|scale| scale.mean).collect(),
            sd: scales.map(|scale| scale.sd).collect(),
        })
    }

    /// Standardises all vectors that are there.
    pub(crate) fn standardise(&mut self, scale: &VectorScale) {
        let root = (self.width as f64).sqrt();
        for vector in self.table.chunks_exact_mut(self.width) {
            if !is_there(vector) {
                continue;
            }
            for ((number, &mean), &sd) in vector.iter_mut().zip(&scale.mean).zip(&scale.sd) {
                let sd = sd * root;
                *number = Scale { mean, sd }.apply((*number).into()) as f32;
            }
        }
    }

    /// Writes the table to a new file.
    pub(crate) fn write(&self, path: &Path) -> Result<ArrayFile, FeatureError> {
        let shape = [self.ids.len() as u64 + 1, self.width as u64];
        let mut writer = Writer::create(path, &shape)?;
        writer.write(&self.table)?;
        writer.finish()
    }
}

/// Whether a row is a vector: zeros stand for none.
fn is_there(row: &[f32]) -> bool {
    row.iter().any(|number| *number != 0.0)
}

/// What made the vectors of a file, as the manifest beside it says: `slate embed` writes one.
fn encoder_of(path: &Path) -> Option<String> {
    let text = std::fs::read(path.with_file_name("manifest.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let part = &manifest[path.file_stem()?.to_str()?];
    Some(part["identity"]["fingerprint"].as_str()?.to_owned())
}

/// Name of the file with the table of an embedding.
pub(crate) fn table_name(feature: &str) -> String {
    format!("embedding_{feature}.npy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(numbers: &[f32]) -> VectorTable {
        let mut table = vec![0.0; 2];
        table.extend(numbers);
        VectorTable {
            ids: (1..=numbers.len() as i64 / 2).collect(),
            width: 2,
            encoder: None,
            table,
        }
    }

    #[test]
    fn numbers_are_standardised_by_the_vectors_that_are_there() {
        let mut own = table(&[1.0, 5.0, 3.0, 5.0, 0.0, 0.0, 8.0, 6.0]);
        // Of the first two and the empty one; the last is of no training row.
        let scale = own.scale([1, 2, 3].into_iter()).unwrap();
        assert_eq!(
            (&scale.mean[..], &scale.sd[..]),
            (&[2.0, 5.0][..], &[1.0, 0.0][..])
        );
        own.standardise(&scale);
        let root = 2.0_f32.sqrt();
        let expected = [
            0.0,
            0.0,
            -1.0 / root,
            0.0,
            1.0 / root,
            0.0,
            0.0,
            0.0,
            6.0 / root,
            0.0,
        ];
        for (number, expected) in own.table.iter().zip(expected) {
            assert!((number - expected).abs() < 1e-6, "{:?}", own.table);
        }
        assert_eq!(own.scale([3].into_iter()), None);
    }
}
