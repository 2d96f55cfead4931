//! What can be wrong with a sample, a metric's name or a convention.

use slate_types::Hint;

/// Why a number cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// There is no row at all.
    #[error("the sample has no rows, expected at least one list")]
    NoRows,
    /// Two columns do not belong together.
    #[error("`{what}` has {given} rows, expected {expected}")]
    Length {
        /// Name of the column.
        what: &'static str,
        /// Rows it has.
        given: usize,
        /// Rows of the lists or of the other columns.
        expected: usize,
    },
    /// A score or difference is NaN or infinite.
    #[error("`{what}` at row {row} is {value}, expected a finite number")]
    NotFinite {
        /// Name of the column.
        what: &'static str,
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A probability is outside [0, 1] or NaN.
    #[error("`probabilities` at row {row} is {value}, expected a number from 0 to 1")]
    Probability {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A label is neither 0 nor 1.
    #[error("`labels` at row {row} is {value}, expected 0 or 1")]
    Label {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: u8,
    },
    /// A page or cluster has a number it cannot have.
    #[error("`{what}` at list {list} is {value}, expected a number below {lists}")]
    Number {
        /// Name of the column.
        what: &'static str,
        /// First such list, counted from 0.
        list: usize,
        /// The value.
        value: u32,
        /// Number of lists.
        lists: usize,
    },
    /// A grade is above the largest there should be.
    #[error("`grades` at row {row} is {value}, expected a whole number from 0 to {most}")]
    Grade {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: u8,
        /// The largest grade.
        most: u8,
    },
    /// A propensity is not above 0, or above 1, or unknown.
    #[error("`propensities` at row {row} is {value}, expected a number above 0 and up to 1")]
    Propensity {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A weight is negative, NaN or infinite.
    #[error("`weights` at row {row} is {value}, expected a finite number from 0 up")]
    Weight {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// The sample lacks a column that the metric reads.
    #[error("`{metric}` needs `{column}`, which the sample does not have")]
    Missing {
        /// The metric asked for.
        metric: String,
        /// The column it reads.
        column: &'static str,
    },
    /// The data are sound but say nothing about this metric.
    #[error("nothing to measure for `{metric}`: {why}")]
    NothingToMeasure {
        /// The metric asked for.
        metric: String,
        /// What is missing from the data.
        why: &'static str,
    },
    /// No metric of this name.
    #[error("unknown metric `{given}`, expected one of {known}", known = crate::metric::KNOWN)]
    UnknownMetric {
        /// What was asked for.
        given: String,
        /// The known name nearest to it, where one is near.
        nearest: Option<String>,
    },
    /// No estimator of this name.
    #[error("unknown estimator `{given}`, expected one of {known}", known = crate::off_policy::KNOWN)]
    UnknownEstimator {
        /// What was asked for.
        given: String,
        /// The known name nearest to it, where one is near.
        nearest: Option<String>,
    },
    /// The number after `@` of an estimator is missing, out of range or too much.
    #[error("estimator `{given}` has no valid parameter, expected {expected}")]
    EstimatorParameter {
        /// What was asked for.
        given: String,
        /// What stands there.
        expected: &'static str,
    },
    /// The number after `@` is missing or no count from 1 up.
    #[error("metric `{given}` has no valid cutoff, expected a whole number from 1 up after `@`")]
    Cutoff {
        /// What was asked for.
        given: String,
    },
    /// No convention of this name, and no list of settings.
    #[error(
        "unknown convention `{given}`, expected one of {known}, or settings as in \
         `gain=exp;ties=mean;empty=skip;per=item`",
        known = crate::convention::KNOWN
    )]
    UnknownConvention {
        /// What was asked for.
        given: String,
    },
    /// A column to be compared has no rows.
    #[error("the {what} has no rows, expected at least one")]
    EmptyColumn {
        /// `reference` or `column now`.
        what: &'static str,
    },
    /// Numbers were compared with a reference of ids, or the other way round.
    #[error("the column now holds {given}, expected {expected} as in the reference")]
    ColumnKind {
        /// What was given.
        given: &'static str,
        /// What the reference is of.
        expected: &'static str,
    },
    /// A reference that no column can have, such as one from a damaged file.
    #[error("the reference is not sound: {problem}")]
    Reference {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An interval's level is not a probability strictly inside (0, 1).
    #[error("interval level is {0}, expected a number between 0 and 1")]
    Level(f64),
    /// A diagram with no bins.
    #[error("number of bins is 0, expected at least 1")]
    NoBins,
    /// Two samples that should differ in their scores alone differ elsewhere.
    #[error("the two samples differ in `{column}` at {place}, expected the same rows in both")]
    Unpaired {
        /// The column in which they differ.
        column: &'static str,
        /// Row or list, counted from 0.
        place: String,
    },
}

impl Hint for EvalError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownMetric {
                nearest: Some(nearest),
                ..
            }
            | Self::UnknownEstimator {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::Missing {
                column: "probabilities",
                ..
            } => Some("calibrate the scores first; a score is not a probability".to_owned()),
            Self::Propensity { .. } => Some(
                "inverse propensity needs the probability of each placement shown; use the replay \
                 form, or leave rows without one out"
                    .to_owned(),
            ),
            Self::Unpaired { .. } => {
                Some("score the same split of the same dataset with both models".to_owned())
            }
            Self::NothingToMeasure { .. } => {
                Some("use more data, or another label, or leave this metric out".to_owned())
            }
            _ => None,
        }
    }
}
