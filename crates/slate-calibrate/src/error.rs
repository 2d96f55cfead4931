//! Why rows cannot be fitted.

use slate_types::Hint;

/// Rows that no calibrator can be fitted to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Two columns do not belong together.
    #[error("`{what}` has {given} rows, expected {expected} as `scores` has")]
    Length {
        /// Name of the column.
        what: &'static str,
        /// Rows it has.
        given: usize,
        /// Rows of `scores`.
        expected: usize,
    },
    /// A score is NaN or infinite.
    #[error("`scores` at row {row} is {value}, expected a finite number")]
    Score {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A label is not what the method takes.
    #[error("`labels` at row {row} is {value}, expected {expected}")]
    Label {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
        /// What the method takes.
        expected: &'static str,
    },
    /// A weight is negative, NaN or infinite.
    #[error("`weights` at row {row} is {value}, expected a finite number from 0 up")]
    Weight {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// Every weight is 0.
    #[error("all {rows} weights are 0, nothing to fit")]
    NoWeight {
        /// Number of rows.
        rows: usize,
    },
    /// There are hardly any rows.
    #[error("need at least {needed} rows with a weight above 0, got {got}")]
    TooFew {
        /// Rows needed.
        needed: usize,
        /// Rows with weight above 0.
        got: usize,
    },
    /// A score is outside [0, 1], where scores should be probabilities.
    #[error("`scores` at row {row} is {value}, expected a probability, from 0 to 1")]
    NotAProbability {
        /// First such row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// All labels are the same.
    #[error("all {rows} labels are {label}, nothing to fit")]
    OneClass {
        /// Rows with weight above 0.
        rows: usize,
        /// Their label, 0 or 1.
        label: u8,
    },
    /// Only rows with the highest score are positive, so the steeper the exponential the better.
    #[error("all positives have the highest score {score}, so no exponential fits best")]
    NoFiniteFit {
        /// That score.
        score: f64,
    },
    /// Scores are too far apart, or too near each other, for a curve through them.
    #[error("scores from {low:e} to {high:e} are too far apart, or too near, for a smooth curve")]
    Spread {
        /// The lowest score.
        low: f64,
        /// The highest score.
        high: f64,
    },
    /// One score divides the classes, so the steeper a curve the better.
    #[error("a score divides positives from negatives, so no curve is the best")]
    Separable,
    /// Fewer than two bins have a positive.
    #[error("need at least 2 bins with a positive, got {got}")]
    TooFewBins {
        /// Bins with a positive.
        got: usize,
    },
    /// Bounds that are no range of probabilities.
    #[error("bounds are {low} to {high}, expected 0 <= low <= high <= 1")]
    Bounds {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// A number of bins of 0.
    #[error("number of bins is 0, expected at least 1")]
    NoBins,
}

impl Hint for FitError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OneClass { .. } | Self::TooFew { .. } => {
                "use a longer calibration window, or a label with more events"
            }
            Self::NoFiniteFit { .. } | Self::TooFewBins { .. } | Self::Separable => {
                "use a longer calibration window, or the method `isotonic` or `sigmoid`"
            }
            Self::Spread { .. } => "scale the scores, or use the method `isotonic`",
            Self::Label { .. } => "labels are 1 for the event, as a purchase, and 0 otherwise",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
