//! A padded batch of lists: what training and scoring read.
//!
//! On disk lists are ragged; they are padded only here. Every array is row-major with the shape
//! given on its field, where `B` is [`Batch::lists`] and `L` is [`Batch::slots`]. Padded places
//! hold zero everywhere and `false` in [`Batch::mask`].

use serde::{Deserialize, Serialize};

/// Widths of the inputs a network is built for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureShape {
    /// Number of dense (f32) inputs per slot.
    pub dense: usize,
    /// Number of ids of each categorical input, the unknown id 0 included.
    pub categorical: Vec<u32>,
}

/// `B` lists padded to `L` slots.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Number of lists, `B`.
    pub lists: usize,
    /// Slots each list is padded to, `L`: the length of the longest list of the batch.
    pub slots: usize,
    /// Dense features per slot, `D`.
    pub dense_width: usize,
    /// Categorical features per slot, `C`.
    pub categorical_width: usize,
    /// `[B, L, D]`, already transformed by the feature map.
    pub dense: Vec<f32>,
    /// `[B, L, C]`, ids below the cardinality in [`FeatureShape::categorical`]; 0 is unknown.
    pub categorical: Vec<u32>,
    /// `[B, L]`, true where there is a slot and false where there is padding.
    pub mask: Vec<bool>,
    /// `[B, L]`, 0 or 1.
    pub click: Vec<f32>,
    /// `[B, L]`, 0 or 1.
    pub purchase: Vec<f32>,
    /// `[B, L]`, grades 0, 1, 2, … as numbers.
    pub grade: Vec<f32>,
    /// `[B, L]`, positive; 0 on padding.
    pub weight: Vec<f32>,
    /// `[B, L]`, the logged slot, counted from 0.
    pub slot: Vec<u32>,
    /// `[B]`, the number of each list in the data it comes from, for messages; empty where there
    /// is none.
    pub list_numbers: Vec<u32>,
}

impl Batch {
    /// Number of real slots, padding left out.
    pub fn rows(&self) -> usize {
        self.mask.iter().filter(|&&real| real).count()
    }

    /// The list at a place of the batch, by its number in the data where that is known.
    pub fn list_number(&self, list: usize) -> usize {
        self.list_numbers
            .get(list)
            .map_or(list, |&number| number as usize)
    }
}
