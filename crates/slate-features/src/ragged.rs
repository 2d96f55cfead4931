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
    /// One entry for each mean of vectors.
    pub vectors: Vec<EventVectors>,
}

impl History {
    /// The rows of the `at`-th mean's table that it is of, for a list, oldest event first.
    pub(crate) fn table_rows(&self, at: usize, list: usize) -> &[u32] {
        let events = self.offsets[list] as usize..self.offsets[list + 1] as usize;
        &self.vectors[at].rows[events]
    }
}

/// Vectors of the items of a history's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventVectors {
    /// Which of [`Extras::vectors`] has the table.
    pub table: usize,
    /// How many vectors of zeros a mean counts beside those of the events.
    pub prior: f32,
    /// `[events]`, rows of the table; 0 for an item without a vector.
    pub rows: Vec<u32>,
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
        self.row(self.index[row])
    }

    /// A row of the table.
    pub(crate) fn row(&self, row: u32) -> &[f32] {
        let at = row as usize * self.width;
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

impl Extras {
    /// Numbers of the vectors of a row's items.
    pub(crate) fn item_vector_width(&self) -> usize {
        self.vectors.iter().map(|own| own.width).sum()
    }

    /// Numbers of the mean vectors of a list's history.
    pub(crate) fn history_vector_width(&self) -> usize {
        let history = self.history.iter().flat_map(|history| &history.vectors);
        history.map(|past| self.vectors[past.table].width).sum()
    }

    /// Fills `into` with the mean vectors of a list's history, one behind the other.
    ///
    /// # Shapes
    /// - into: as many numbers as these vectors have together.
    pub(crate) fn history_means(&self, list: usize, into: &mut [f32]) {
        let Some(history) = &self.history else { return };
        let mut rest = into;
        for (at, past) in history.vectors.iter().enumerate() {
            let own = &self.vectors[past.table];
            let (mean, behind) = rest.split_at_mut(own.width);
            mean.fill(0.0);
            let mut count = past.prior;
            let rows = history.table_rows(at, list).iter();
            for &row in rows.filter(|row| **row > 0) {
                let numbers = mean.iter_mut().zip(own.row(row));
                numbers.for_each(|(sum, number)| *sum += number);
                count += 1.0;
            }
            if count > 0.0 {
                for number in mean.iter_mut() {
                    *number /= count;
                }
            }
            rest = behind;
        }
    }
}
