//! Which inputs of a slot trees read, and a slot as a row of numbers.

use hessboost::data::FeatureType;
use serde::{Deserialize, Serialize};
use slate_types::{Batch, FeatureShape};

use crate::{TreesConfig, TreesError};

/// An input that trees may split on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// The dense input with this index.
    Dense(usize),
    /// The categorical input with this index; splits choose a set of ids.
    Categorical(usize),
}

/// The columns trees read of a shape, in the order of their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    shape: FeatureShape,
    read: Vec<Column>,
}

impl Columns {
    /// All dense inputs, and those categorical ones with few enough ids.
    ///
    /// # Errors
    /// [`TreesError::NoInputs`] where nothing is left.
    pub(crate) fn of(config: &TreesConfig, shape: &FeatureShape) -> Result<Self, TreesError> {
        let most = config.options().most_ids;
        let dense = (0..shape.dense).map(Column::Dense);
        let few = shape.categorical.iter().enumerate();
        let few = few.filter(|(_, ids)| **ids <= most);
        let read = dense.chain(few.map(|(at, _)| Column::Categorical(at)));
        Self::new(shape, read.collect())
    }

    /// Columns that a file names.
    ///
    /// # Errors
    /// [`TreesError::NoInputs`] where there are none, or one the shape does not have.
    pub(crate) fn new(shape: &FeatureShape, read: Vec<Column>) -> Result<Self, TreesError> {
        let known = |column: &Column| match *column {
            Column::Dense(at) => at < shape.dense,
            Column::Categorical(at) => at < shape.categorical.len(),
        };
        if read.is_empty() || !read.iter().all(known) {
            return Err(TreesError::NoInputs);
        }
        Ok(Self {
            shape: shape.clone(),
            read,
        })
    }

    pub(crate) fn shape(&self) -> &FeatureShape {
        &self.shape
    }

    pub(crate) fn read(&self) -> &[Column] {
        &self.read
    }

    pub(crate) fn types(&self) -> Vec<FeatureType> {
        let kind = |column: &Column| match column {
            Column::Dense(_) => FeatureType::Numerical,
            Column::Categorical(_) => FeatureType::Categorical,
        };
        self.read.iter().map(kind).collect()
    }

    /// Appends the rows of a batch's slots, list after list, padding left out.
    ///
    /// # Errors
    /// [`TreesError::BatchShape`] for a batch of other inputs, [`TreesError::BatchValue`] for an
    /// input that is not finite and an id that is too large, with its place.
    pub(crate) fn append(&self, batch: &Batch, rows: &mut Vec<f32>) -> Result<(), TreesError> {
        let (dense, categorical) = (self.shape.dense, self.shape.categorical.len());
        let places = batch.lists * batch.slots;
        length("dense_width", batch.dense_width, dense)?;
        length("categorical_width", batch.categorical_width, categorical)?;
        length("mask", batch.mask.len(), places)?;
        length("dense", batch.dense.len(), places * dense)?;
        length("categorical", batch.categorical.len(), places * categorical)?;
        for (place, _) in batch.mask.iter().enumerate().filter(|(_, real)| **real) {
            for column in &self.read {
                match *column {
                    Column::Dense(at) => {
                        let input = batch.dense[place * dense + at];
                        if !input.is_finite() {
                            let expected = "a finite number".to_owned();
                            return Err(value(batch, "dense", place, at, input, expected));
                        }
                        rows.push(input);
                    }
                    Column::Categorical(at) => {
                        let id = batch.categorical[place * categorical + at];
                        let ids = self.shape.categorical[at];
                        if id >= ids {
                            let expected = format!("an id below {ids}");
                            return Err(value(batch, "categorical", place, at, id, expected));
                        }
                        rows.push(id as f32);
                    }
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn length(array: &'static str, given: usize, expected: usize) -> Result<(), TreesError> {
    if given == expected {
        Ok(())
    } else {
        Err(TreesError::BatchShape {
            array,
            given,
            expected,
        })
    }
}

pub(crate) fn value(
    batch: &Batch,
    array: &'static str,
    place: usize,
    column: usize,
    given: impl std::fmt::Display,
    expected: String,
) -> TreesError {
    TreesError::BatchValue {
        array,
        list: batch.list_number(place / batch.slots),
        slot: place % batch.slots,
        column,
        given: given.to_string(),
        expected,
    }
}
