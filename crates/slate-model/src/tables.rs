//! Sizes of the embedding tables of a network.
//!
//! A table is as wide as the rule says for its ids when the network is first trained. An update may bring
//! more ids, and the width stays: [`EmbeddingWidths`] keeps it.

use serde::{Deserialize, Serialize};
use slate_types::{FeatureShape, InputPlaces};

use crate::ModelError;
use crate::network_config::NetworkConfig;

/// Widths of the tables of a network whose ids have grown since it was first trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingWidths {
    /// Of each categorical input.
    pub categorical: Vec<usize>,
    /// Of each input of several ids.
    pub multi_valued: Vec<usize>,
    /// Of the items of histories, where the network reads them.
    pub history: Option<usize>,
}

/// Rows and width of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableSize {
    pub(crate) ids: u32,
    pub(crate) width: usize,
}

/// The tables of some inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSizes {
    pub(crate) categorical: Vec<TableSize>,
    pub(crate) multi_valued: Vec<TableSize>,
    pub(crate) history: Option<TableSize>,
}

impl TableSizes {
    /// Of all inputs of a shape.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the widths that a file keeps are not those of the shape's inputs.
    pub(crate) fn of(config: &NetworkConfig, shape: &FeatureShape) -> Result<Self, ModelError> {
        let history = shape.history.filter(|_| config.history.is_some());
        let by_rule = || EmbeddingWidths {
            categorical: by_rule(config, &shape.categorical),
            multi_valued: by_rule(config, &shape.multi_valued),
            history: history.map(|own| config.embedding_width_for(own.items)),
        };
        let widths = config.widths.clone().unwrap_or_else(by_rule);
        let sound = |widths: &[usize], sizes: &[u32]| {
            widths.len() == sizes.len() && widths.iter().all(|width| (1..=1024).contains(width))
        };
        if !sound(&widths.categorical, &shape.categorical)
            || !sound(&widths.multi_valued, &shape.multi_valued)
            || widths.history.is_some() != history.is_some()
        {
            return Err(ModelError::Shape {
                expected: "a width from 1 to 1024 for each table of the inputs".to_owned(),
                given: format!("{widths:?}"),
            });
        }
        let sizes = |ids: &[u32], widths: &[usize]| {
            let pairs = ids.iter().zip(widths);
            pairs
                .map(|(&ids, &width)| TableSize { ids, width })
                .collect()
        };
        Ok(Self {
            categorical: sizes(&shape.categorical, &widths.categorical),
            multi_valued: sizes(&shape.multi_valued, &widths.multi_valued),
            history: history.zip(widths.history).map(|(own, width)| TableSize {
                ids: own.items,
                width,
            }),
        })
    }

    /// Of the inputs at these places; histories stay.
    pub(crate) fn at(&self, places: &InputPlaces) -> Self {
        let of = |sizes: &[TableSize], places: &[usize]| {
            places.iter().map(|&place| sizes[place]).collect()
        };
        Self {
            categorical: of(&self.categorical, &places.categorical),
            multi_valued: of(&self.multi_valued, &places.multi_valued),
            history: self.history,
        }
    }

    /// Numbers that the ids of a slot become, without histories.
    pub(crate) fn width(&self) -> usize {
        let both = self.categorical.iter().chain(&self.multi_valued);
        both.map(|size| size.width).sum()
    }

    /// As a file keeps them.
    pub(crate) fn widths(&self) -> EmbeddingWidths {
        let of = |sizes: &[TableSize]| sizes.iter().map(|size| size.width).collect();
        EmbeddingWidths {
            categorical: of(&self.categorical),
            multi_valued: of(&self.multi_valued),
            history: self.history.map(|size| size.width),
        }
    }
}

fn by_rule(config: &NetworkConfig, sizes: &[u32]) -> Vec<usize> {
    sizes
        .iter()
        .map(|&ids| config.embedding_width_for(ids))
        .collect()
}
