//! Labelled rows, collected from batches.

use hessboost::data::DMatrix;
use slate_types::{Batch, FeatureShape};

use crate::columns::{Columns, length, value};
use crate::{Label, Objective, TreesConfig, TreesError};

/// Rows of lists with what is learned from them.
#[derive(Debug, Clone)]
pub struct Examples {
    columns: Columns,
    label: Label,
    /// `[rows, columns]`.
    rows: Vec<f32>,
    /// `[rows]`.
    labels: Vec<f32>,
    /// `[rows]`.
    weights: Vec<f32>,
    /// Rows of each list.
    lengths: Vec<usize>,
}

impl Examples {
    /// No rows yet.
    ///
    /// # Errors
    /// [`TreesError::NoInputs`] where the shape has nothing that trees read.
    pub fn new(config: &TreesConfig, shape: &FeatureShape) -> Result<Self, TreesError> {
        Ok(Self {
            columns: Columns::of(config, shape)?,
            label: config.options().label,
            rows: Vec::new(),
            labels: Vec::new(),
            weights: Vec::new(),
            lengths: Vec::new(),
        })
    }

    /// Adds the lists of a batch; lists without slots are left out.
    ///
    /// # Errors
    /// [`TreesError::BatchShape`] for a batch of other inputs; [`TreesError::BatchValue`] for an
    /// input that is not finite, an id that is too large, and a label or weight out of range.
    pub fn push(&mut self, batch: &Batch) -> Result<(), TreesError> {
        self.columns.append(batch, &mut self.rows)?;
        let places = batch.mask.len();
        let (name, labels, most) = match self.label {
            Label::Click => ("click", &batch.click, 1.0),
            Label::Purchase => ("purchase", &batch.purchase, 1.0),
            // 2^grade has to stay small against 2^53.
            Label::Grade => ("grade", &batch.grade, 31.0),
        };
        for (array, values, most) in [(name, labels, most), ("weight", &batch.weight, f32::MAX)] {
            length(array, values.len(), places)?;
            let bad = |place: &usize| batch.mask[*place] && !(0.0..=most).contains(&values[*place]);
            if let Some(place) = (0..places).find(bad) {
                let expected = if most == f32::MAX {
                    "a finite number of 0 or more".to_owned()
                } else {
                    format!("a number from 0 to {most}")
                };
                return Err(value(batch, array, place, 0, values[place], expected));
            }
        }
        for list in 0..batch.lists {
            let before = self.labels.len();
            let slots = list * batch.slots..(list + 1) * batch.slots;
            for place in slots.filter(|&place| batch.mask[place]) {
                self.labels.push(labels[place]);
                self.weights.push(batch.weight[place]);
            }
            let length = self.labels.len() - before;
            self.lengths.extend((length > 0).then_some(length));
        }
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Whether a tree could learn from the labels.
    pub(crate) fn has_positives(&self) -> bool {
        self.labels.iter().any(|&label| label > 0.0)
    }

    /// The matrix the library wants. A list weighs the mean weight of its rows, and under
    /// `logistic` each row its own.
    pub(crate) fn matrix(self, config: &TreesConfig) -> Result<DMatrix, TreesError> {
        let (rows, width) = (self.labels.len(), self.columns.read().len());
        let build = || {
            let mut matrix = DMatrix::from_dense_vec(self.rows, rows, width)?
                .with_feature_types(&self.columns.types())?
                .with_labels(&self.labels)?
                .with_group_sizes(&self.lengths)?;
            if config.options().min_rows > 1 {
                // Each row is evidence of its own, so that counting evidence counts rows.
                let each: Vec<u64> = (0..rows as u64).collect();
                matrix = matrix.with_split_groups(&each)?;
            }
            if self.weights.iter().all(|&weight| weight == 1.0) {
                return Ok(matrix);
            }
            if config.options().objective == Objective::Logistic {
                return matrix.with_weights(&self.weights);
            }
            let mut at = 0;
            let mean = |&length: &usize| {
                let own = &self.weights[at..at + length];
                at += length;
                let sum: f64 = own.iter().map(|&weight| f64::from(weight)).sum();
                (sum / length as f64) as f32
            };
            let means: Vec<f32> = self.lengths.iter().map(mean).collect();
            matrix.with_group_weights(&means)
        };
        build().map_err(TreesError::grow)
    }
}
