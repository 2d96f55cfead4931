//! Arrays of arrays: values of rows or lists end to end, and where each begins.

/// Ids of several values for each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ragged {
    /// `[rows + 1]`, growing from 0: the values of row `r` are those from `offsets[r]` up to
    /// `offsets[r + 1]`.
    pub offsets: Vec<u64>,
    /// Ids below the feature's cardinality; 0 is unknown.
    pub values: Vec<u32>,
}

impl Ragged {
    /// The values of row `row`.
    pub fn of(&self, row: usize) -> &[u32] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// What the person of each list did last before it, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// `[lists + 1]`, growing from 0.
    pub offsets: Vec<u64>,
    /// Ids of items below the history's cardinality; 0 is unknown.
    pub item: Vec<u32>,
    /// Types of events, indices into [`slate_types::log::EVENT_TYPES`].
    pub kind: Vec<u8>,
    /// `ln(1 + hours)` from the event to the page, above 0.
    pub age: Vec<f32>,
}

/// Vectors of the rows' items: a table, and the row of the table for each placement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// `[known + 1, width]`, row-major; row 0 is all zeros, for unknown items.
    pub table: std::sync::Arc<[f32]>,
    /// Numbers of one vector.
    pub width: usize,
    /// `[rows]`, rows of the table.
    pub index: Vec<u32>,
}

impl Vectors {
    /// The vector of row `row`.
    pub fn of(&self, row: usize) -> &[f32] {
        let at = self.index[row] as usize * self.width;
        &self.table[at..at + self.width]
    }
}

/// What a part has beside its matrices, in the order of the feature map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extras {
    /// One entry for each multi-valued feature.
    pub multi_valued: Vec<Ragged>,
    /// One entry for each embedding.
    pub vectors: Vec<Vectors>,
    /// User histories, where the map has them.
    pub history: Option<History>,
    /// `[rows]`, the share of all rows that show the row's item; empty unless
    /// [counted](crate::SplitData::count_items).
    pub item_share: Vec<f32>,
}
