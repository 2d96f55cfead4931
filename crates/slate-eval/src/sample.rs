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
    /// Read by `ndcg`, `dcg` and `err`: 0 is not relevant.
    pub grades: Option<&'a [u8]>,
    /// Read by most metrics: 1 is a purchase, or a click, as the caller decides.
    pub labels: Option<&'a [u8]>,
    /// Read by `ctr`: 1 is a click.
    pub clicks: Option<&'a [u8]>,
    /// Read by `revenue`: what a row with label 1 earns, finite, from 0 up.
    pub worth: Option<&'a [f64]>,
    /// Read by the forms `:ips` and `:snips`: the slot a row was shown in, from 0.
    pub slots: Option<&'a [u32]>,
    /// Read by the same: probability that the logger put the row there, above 0.
    pub propensities: Option<&'a [f64]>,
    /// Read under `ties=docid`: rows of one score stand by rising number.
    pub tie_order: Option<&'a [u32]>,
    /// Rows that no rank was given to, such as documents judged and not retrieved: metrics at k
    /// count them among what there was to find. Metrics over rows do not know them.
    pub unranked: Option<&'a [bool]>,
    /// Read under `per=page`: the page of each list.
    pub pages: Option<&'a [u32]>,
    /// The cluster of each list: numbers below the number of lists. Intervals resample clusters,
    /// and lists where there are none. Lists of one user, or of one day, depend on each other.
    pub clusters: Option<&'a [u32]>,
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
            clicks: None,
            worth: None,
            slots: None,
            propensities: None,
            tie_order: None,
            unranked: None,
            pages: None,
            clusters: None,
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
        for labels in [self.labels, self.clicks].into_iter().flatten() {
            check::labels(labels, rows)?;
        }
        if let Some(worth) = self.worth {
            check::length("worth", worth.len(), rows)?;
            check::finite("worth", worth)?;
        }
        if let Some(propensities) = self.propensities {
            check::propensities(propensities, rows)?;
        }
        for (what, column) in [("slots", self.slots), ("tie_order", self.tie_order)] {
            if let Some(column) = column {
                check::length(what, column.len(), rows)?;
            }
        }
        if let Some(unranked) = self.unranked {
            check::length("unranked", unranked.len(), rows)?;
        }
        for (what, column) in [("pages", self.pages), ("clusters", self.clusters)] {
            if let Some(column) = column {
                check::numbers(what, column, self.lists.len())?;
            }
        }
        check::weights(self.weights, rows)
    }

    /// The unit that is resampled of each list.
    pub(crate) fn cluster(&self, list: usize) -> u32 {
        self.clusters.map_or(list as u32, |clusters| clusters[list])
    }

    /// Number of units that are resampled.
    pub(crate) fn cluster_count(&self) -> usize {
        check::count(self.clusters, self.lists.len())
    }

    /// The resampled unit of each row.
    pub(crate) fn cluster_of_row(&self) -> Vec<u32> {
        let mut cluster_of_row = vec![0; self.lists.rows()];
        for (list, rows) in self.lists.iter().enumerate() {
            cluster_of_row[rows].fill(self.cluster(list));
        }
        cluster_of_row
    }

    /// Weight of a row.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }
}
