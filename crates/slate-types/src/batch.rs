//! A padded batch of lists: what training and scoring read.
//!
//! On disk lists are ragged; they are padded only here. Every array is row-major with the shape
//! given on its field, where `B` is [`Batch::lists`] and `L` is [`Batch::slots`]. Padded places
//! hold zero everywhere and `false` in [`Batch::mask`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Widths of the inputs a network is built for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureShape {
    /// Number of dense (f32) inputs per slot.
    pub dense: usize,
    /// Number of ids of each categorical input, the unknown id 0 included.
    pub categorical: Vec<u32>,
    /// Number of ids of each input of several ids, the unknown id 0 included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multi_valued: Vec<u32>,
    /// What the history of the list's person is made of, where it is an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryShape>,
    /// Which inputs describe which item, for a network that compares two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairInputs>,
}

/// Inputs of a network that compares the item in a slot with the one its page is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairInputs {
    /// Of the page's seed item: the same at every slot of a list.
    pub seed: InputPlaces,
    /// Of the item in the slot.
    pub candidate: InputPlaces,
    /// Of neither: what else the network reads.
    pub context: InputPlaces,
    /// Vectors of what the page's visitor did before, each beside that of the candidate it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visitor: Vec<VisitorPlaces>,
}

/// Dense inputs that are two vectors of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitorPlaces {
    /// Of the visitor: the same at every slot of a list.
    pub visitor: Range<usize>,
    /// Of the item in the slot.
    pub candidate: Range<usize>,
}

/// Some of the inputs of a batch, by their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputPlaces {
    /// Dense inputs that are a vector together, all zero where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<Range<usize>>,
    /// Dense inputs that are a number each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<usize>,
    /// Categorical inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<usize>,
    /// Inputs of several ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multi_valued: Vec<usize>,
}

impl InputPlaces {
    /// The dense inputs, numbers first, then vectors.
    pub fn dense_ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let numbers = self.numbers.iter().map(|&at| at..at + 1);
        numbers.chain(self.vectors.iter().cloned())
    }

    /// How many dense inputs, those of vectors included.
    pub fn dense(&self) -> usize {
        self.dense_ranges().map(|range| range.len()).sum()
    }
}

/// Widths of a person's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryShape {
    /// Number of ids of items, the unknown id 0 included.
    pub items: u32,
    /// Number of kinds of events.
    pub kinds: u32,
}

/// Several ids for each slot of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotIds {
    /// `[B·L + 1]`, growing from 0: the ids of place `p` are those from `offsets[p]` up to
    /// `offsets[p + 1]`.
    pub offsets: Vec<u32>,
    /// Ids below the number in [`FeatureShape::multi_valued`]; 0 is unknown.
    pub values: Vec<u32>,
}

impl SlotIds {
    /// The ids of a place.
    pub fn of(&self, place: usize) -> &[u32] {
        &self.values[self.offsets[place] as usize..self.offsets[place + 1] as usize]
    }
}

/// What the person of each list did last before it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListHistory {
    /// `[B + 1]`, growing from 0: the events of list `b` are those from `offsets[b]` up to
    /// `offsets[b + 1]`, oldest first.
    pub offsets: Vec<u32>,
    /// Ids of items below [`HistoryShape::items`]; 0 is unknown.
    pub item: Vec<u32>,
    /// Kinds of events below [`HistoryShape::kinds`].
    pub kind: Vec<u32>,
    /// `ln(1 + hours)` from the event to the page, above 0.
    pub age: Vec<f32>,
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
    /// One entry for each input of several ids.
    pub multi_valued: Vec<SlotIds>,
    /// Histories, where they are an input.
    pub history: Option<ListHistory>,
    /// `[B, L]`, the item in the slot; empty where nobody asked for it.
    pub item: Vec<i64>,
    /// `[B, L]`, the share of all placements of the data that show the slot's item, above 0 at
    /// slots; empty where nobody asked for it.
    pub item_share: Vec<f32>,
}

impl Batch {
    /// Number of real slots, padding left out.
    pub fn rows(&self) -> usize {
        self.mask.iter().filter(|&&real| real).count()
    }

    /// Leaves these inputs out in every slot: vectors are 0, ids the unknown id, of several ids there is
    /// none, and numbers are `unknown`, one for each of `inputs.numbers`: what a missing one becomes.
    ///
    /// # Panics
    /// Where `unknown` has another length.
    pub fn hide(&mut self, inputs: &InputPlaces, unknown: &[f32]) {
        assert_eq!(
            inputs.numbers.len(),
            unknown.len(),
            "a value for each number"
        );
        let numbers = inputs.numbers.iter().zip(unknown);
        let numbers = numbers.map(|(&at, &value)| (at..at + 1, value));
        let vectors = inputs.vectors.iter().map(|range| (range.clone(), 0.0));
        for (range, value) in vectors.chain(numbers) {
            for row in self.dense.chunks_exact_mut(self.dense_width) {
                row[range.clone()].fill(value);
            }
        }
        for &at in &inputs.categorical {
            for row in self.categorical.chunks_exact_mut(self.categorical_width) {
                row[at] = 0;
            }
        }
        for &at in &inputs.multi_valued {
            let ids = &mut self.multi_valued[at];
            ids.offsets.fill(0);
            ids.values.clear();
        }
    }

    /// The list at a place of the batch, by its number in the data where that is known.
    pub fn list_number(&self, list: usize) -> usize {
        self.list_numbers
            .get(list)
            .map_or(list, |&number| number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_unknown_and_all_else_stays() {
        let mut batch = Batch {
            lists: 1,
            slots: 2,
            dense_width: 4,
            categorical_width: 2,
            dense: (1..=8).map(|value| value as f32).collect(),
            categorical: vec![1, 2, 3, 4],
            multi_valued: vec![
                SlotIds {
                    offsets: vec![0, 1, 3],
                    values: vec![5, 6, 7],
                };
                2
            ],
            ..Batch::default()
        };
        let whole = batch.clone();
        batch.hide(&InputPlaces::default(), &[]);
        assert_eq!(batch, whole);
        let inputs = InputPlaces {
            vectors: std::iter::once(2..4).collect(),
            numbers: vec![0],
            categorical: vec![1],
            multi_valued: vec![0],
        };
        batch.hide(&inputs, &[-1.5]);
        assert_eq!(batch.dense, [-1.5, 2.0, 0.0, 0.0, -1.5, 6.0, 0.0, 0.0]);
        assert_eq!(batch.categorical, [1, 0, 3, 0]);
        assert!(batch.multi_valued[0].of(0).is_empty() && batch.multi_valued[0].of(1).is_empty());
        assert_eq!(batch.multi_valued[1], whole.multi_valued[1]);
    }
}
