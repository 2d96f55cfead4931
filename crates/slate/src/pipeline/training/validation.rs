//! The metric that decides which weights, or how many trees, are kept: NDCG@10 on the validation
//! split, by the outcome that the ranking score learns.

use slate_eval::{Convention, ndcg};
use slate_features::SplitData;
use slate_model::BoxError;
use slate_types::ListOffsets;

/// Slots counted by the metric that stops training.
const CUTOFF: usize = 10;

/// The outcome a ranking score learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Click,
    Purchase,
    Grade,
}

impl Judged {
    fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Purchase => "purchase",
            Self::Grade => "grade",
        }
    }

    /// The metric, named after the outcome it counts.
    pub(super) fn metric_name(self) -> String {
        format!("{}_ndcg@{CUTOFF}", self.name())
    }

    /// The outcome of each row of a part.
    pub(super) fn of(self, data: &SplitData) -> &[u8] {
        match self {
            Self::Click => &data.click,
            Self::Purchase => &data.purchase,
            Self::Grade => &data.grade,
        }
    }

    /// The metric of scores in row order.
    ///
    /// # Errors
    /// No list with an outcome.
    pub(super) fn judge(
        self,
        lists: &ListOffsets,
        scores: &[f64],
        outcomes: &[u8],
    ) -> Result<f64, BoxError> {
        mean_ndcg(lists, scores, outcomes)?.ok_or_else(|| {
            format!(
                "no list of the validation split has a {}: a larger one is needed to stop training by",
                self.name()
            )
            .into()
        })
    }
}

/// The metric of scores in row order; none where no list has an outcome.
///
/// # Errors
/// Scores that cannot be ranked by.
pub(super) fn mean_ndcg(
    lists: &ListOffsets,
    scores: &[f64],
    outcomes: &[u8],
) -> Result<Option<f64>, BoxError> {
    let values = ndcg(
        lists,
        scores,
        outcomes,
        Some(CUTOFF),
        &Convention::default(),
    )?;
    let values: Vec<f64> = values.into_iter().flatten().collect();
    Ok((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
}
