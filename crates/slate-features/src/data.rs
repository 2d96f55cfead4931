//! One part of a dataset in memory: ragged lists and everything known about their rows.

use slate_types::{FeatureShape, ListOffsets};

use crate::ragged::Extras;

/// Rows of whole lists, list after list, as plain arrays.
///
/// Arrays of rows have [`SplitData::rows`] entries, `dense` and `categorical` that many times
/// their width, `list_id` and `list_ts` one entry per list.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitData {
    /// Where each list begins and ends.
    pub lists: ListOffsets,
    /// `[rows, d]`, row-major, transformed by the feature map, finite.
    pub dense: Vec<f32>,
    /// `[rows, c]`, row-major, ids below their column's cardinality; 0 is unknown.
    pub categorical: Vec<u32>,
    /// Relevance grade.
    pub grade: Vec<u8>,
    /// 0 or 1.
    pub click: Vec<u8>,
    /// 0 or 1.
    pub purchase: Vec<u8>,
    /// Sample weight, above 0.
    pub weight: Vec<f32>,
    /// Logged slot, from 0.
    pub slot: Vec<u32>,
    /// Probability that the logging policy put this item here; NaN where unknown.
    pub propensity: Vec<f64>,
    /// Price in minor units; NaN where unknown.
    pub price: Vec<f64>,
    /// Share of the sale paid for promotion; NaN where unknown.
    pub ad_rate: Vec<f64>,
    /// Score the logging system gave; NaN where unknown.
    pub raw_score: Vec<f64>,
    /// Item shown.
    pub item: Vec<i64>,
    /// Placement.
    pub impression: Vec<i64>,
    /// Id of each list.
    pub list_id: Vec<i64>,
    /// Time of each list, UTC microseconds; 0 where lists have no time.
    pub list_ts: Vec<i64>,
    /// What the feature map has beside dense and categorical columns.
    pub extras: Extras,
}

impl SplitData {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lists.rows()
    }

    /// Numbers and ids of a row in `dense` and `categorical`: of the shape a network reads, without
    /// the vectors, which are looked up.
    pub(crate) fn widths(shape: &FeatureShape, vectors: usize) -> (usize, usize) {
        (shape.dense - vectors, shape.categorical.len())
    }

    /// Counts how often each item is shown, so that batches say it of their items.
    pub fn count_items(&mut self) {
        let mut sorted = self.item.clone();
        sorted.sort_unstable();
        let share = |item: &i64| {
            let count = sorted.partition_point(|other| other <= item)
                - sorted.partition_point(|other| other < item);
            count as f32 / sorted.len() as f32
        };
        self.extras.item_share = self.item.iter().map(share).collect();
    }

    /// Numbers of all vectors of a row.
    pub(crate) fn vector_width(&self) -> usize {
        self.extras.item_vector_width() + self.extras.history_vector_width()
    }
}
