//! The rows to be judged, borrowed from wherever they are.

use slate_types::ListOffsets;

use crate::{EvalError, check};

/// Lists of rows with their scores and whatever else is known of them. Every column has one value
/// per row, in list order.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Where lists begin and end.
    pub lists: &'a ListOffsets,
    /// What orders the rows: finite, larger is shown earlier. To rank by calibrated probability
    /// and break its ties by score, pass the ranks of that order.
    pub scores: &'a [f64],
    /// Read by `logloss`, `brier`, `pcoc` and `ece`.
    pub probabilities: Option<&'a [f64]>,
    /// Read by `ndcg`: 0 is not relevant.
    pub grades: Option<&'a [u8]>,
    /// Read by all metrics but `ndcg`: 1 is a purchase, or a click, as the caller decides.
    pub labels: Option<&'a [u8]>,
    /// Weights of rows; read by `auc`, `logloss`, `brier`, `pcoc` and `ece`. In the other metrics
    /// each list or placement counts once.
    pub weights: Option<&'a [f64]>,
}

impl<'a> Sample<'a> {
    /// A sample of which only lists and scores are known; set the other fields.
    pub fn new(lists: &'a ListOffsets, scores: &'a [f64]) -> Self {
        Self {
            lists,
            scores,
            probabilities: None,
            grades: None,
            labels: None,
            weights: None,
        }
    }

    /// Checks every column that is there.
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        let rows = self.lists.rows();
        check::scores(self.scores, rows)?;
        if let Some(probabilities) = self.probabilities {
            check::probabilities(probabilities, rows)?;
        }
        if let Some(grades) = self.grades {
            check::length("grades", grades.len(), rows)?;
        }
        if let Some(labels) = self.labels {
            check::labels(labels, rows)?;
        }
        check::weights(self.weights, rows)
    }

    /// The list of each row.
    pub(crate) fn list_of_row(&self) -> Vec<u32> {
        let mut list_of_row = vec![0; self.lists.rows()];
        for (list, rows) in (0..).zip(self.lists.iter()) {
            list_of_row[rows].fill(list);
        }
        list_of_row
    }

    /// Weight of a row.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }
}
