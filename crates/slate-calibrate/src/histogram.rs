//! Histogram calibration: each quantile bin of scores gets its rate (Zadrozny and Elkan 2001).
//!
//! Input: one score (finite), one label (0 to 1) and one weight per row. Output: steps. Unlike the
//! textbook's, neighbouring bins whose rates fall are pooled, because a map that turns an order
//! round is no calibration of a ranker. Equal scores are never in two bins.
//!
//! ```
//! let scores: Vec<f64> = (0..40).map(f64::from).collect();
//! let labels: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i % 4 == 0 || i >= 36))).collect();
//! let map = slate_calibrate::histogram::fit_bins(&scores, &labels, None, 10)?;
//! assert_eq!(map.apply(35.0), 0.25);
//! assert_eq!(map.apply(36.0), 1.0 - 1.0 / 15.0, "no row proves that an event is certain");
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::bins;
use crate::examples::{Examples, Labels};
use crate::isotonic::Bounds;
use crate::sorted::{Block, push};

/// Bins of [`fit`].
pub const BINS: usize = 20;

/// A fitted map: constant from each boundary to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// Lowest score of each step, rising. The first step also holds below its boundary.
    from: Vec<f64>,
    probabilities: Vec<f64>,
}

/// Fits with [`BINS`] bins.
///
/// # Errors
/// As [`crate::isotonic::fit`].
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Steps, FitError> {
    fit_bins(scores, labels, weights, BINS)
}

/// Fits with at most `count` bins, rates cut at [`Bounds::Smoothed`].
///
/// # Errors
/// As [`crate::isotonic::fit`]; [`FitError::NoBins`].
pub fn fit_bins(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
    count: usize,
) -> Result<Steps, FitError> {
    let bins = bins::quantile(scores, labels, weights, count)?;
    let examples = Examples::new(scores, labels, weights, Labels::Share)?;
    let (low, high) = Bounds::Smoothed.of(&examples, examples.len())?;
    let mut blocks = Vec::new();
    for bin in bins {
        let block = Block {
            first: bin.lowest,
            last: bin.lowest,
            mean: bin.rate,
            weight: bin.weight,
            sum: bin.rate * bin.weight,
        };
        push(&mut blocks, block);
    }
    Ok(Steps {
        from: blocks.iter().map(|block| block.first).collect(),
        probabilities: blocks
            .iter()
            .map(|block| block.mean.clamp(low, high))
            .collect(),
    })
}

impl Steps {
    /// Takes steps as they are in a file: finite rising scores, and probabilities from 0 to 1 that
    /// do not decrease; at least one step. Returns the first step that breaks this, from 0.
    pub fn from_steps(steps: &[[f64; 2]]) -> Result<Self, usize> {
        crate::isotonic::check_knots(steps)?;
        Ok(Self {
            from: steps.iter().map(|step| step[0]).collect(),
            probabilities: steps.iter().map(|step| step[1]).collect(),
        })
    }

    /// The steps (lowest score, probability), by rising score.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = [f64; 2]> + '_ {
        let pairs = self.from.iter().zip(&self.probabilities);
        pairs.map(|(from, probability)| [*from, *probability])
    }

    /// The probability at `score`. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let above = self.from.partition_point(|from| *from <= score);
        self.probabilities[above.saturating_sub(1)]
    }
}
