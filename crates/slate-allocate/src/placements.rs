//! How likely each row of a list is to stand at each of its places.

/// A square table: row `i` at place `k`, both from 0. Every row and every column sums to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Placements {
    rows: usize,
    chances: Vec<f64>,
}

impl Placements {
    /// A table of zeros.
    pub(crate) fn empty(rows: usize) -> Self {
        Self {
            rows,
            chances: vec![0.0; rows * rows],
        }
    }

    /// Takes `[rows × places]` probabilities.
    pub(crate) fn of_table(rows: usize, chances: Vec<f64>) -> Self {
        debug_assert_eq!(chances.len(), rows * rows);
        Self { rows, chances }
    }

    /// Number of rows, and of places.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Probability that `row` stands at `place`.
    pub fn at(&self, row: usize, place: usize) -> f64 {
        self.chances[row * self.rows + place]
    }

    /// Probabilities of all places of `row`.
    pub fn of(&self, row: usize) -> &[f64] {
        &self.chances[row * self.rows..(row + 1) * self.rows]
    }

    pub(crate) fn set(&mut self, row: usize, place: usize, chance: f64) {
        self.chances[row * self.rows + place] = chance;
    }

    /// Mixes in the average order, which puts every row everywhere equally often.
    pub(crate) fn mix(&mut self, share: f64) {
        let even = 1.0 / self.rows as f64;
        for chance in &mut self.chances {
            *chance = (1.0 - share) * *chance + share * even;
        }
    }
}
