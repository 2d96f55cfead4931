//! Venn-Abers calibration: two isotonic fits for each score, and a probability between them
//! (Vovk and Petej 2014).
//!
//! Input: one score (finite), one label (0 or 1) and one weight per row. Output: steps. To a new
//! score belong the fit in which it is a row without the event (`low`) and the one in which it is a
//! row with it (`high`); the truth is one of them, and one of the two is calibrated without any
//! assumption but that rows are exchangeable. `p = high / (1 - low + high)` is never 0 or 1. The
//! distance of the two says how little is known at that score.
//!
//! Of rare events it promises too much: `1 - low + high` is then nearly 1 and p nearly `high`, the
//! fit in which one more event happened.
//!
//! Over 2,048 different scores the fit reads quantile bins of them (ties never split).
//!
//! ```
//! let scores = [0.0, 1.0, 2.0, 3.0];
//! let map = slate_calibrate::venn_abers::fit(&scores, &[0.0, 0.0, 1.0, 1.0], None)?;
//! assert_eq!(map.interval(9.0), [2.0 / 3.0, 1.0], "one of three rows would be without the event");
//! assert!((map.apply(9.0) - 0.75).abs() < 1e-15);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::FitError;
use crate::bins;
use crate::examples::{Examples, Labels};

/// Different scores up to which each is a point of its own.
const POINTS: usize = 2048;

/// A fitted map.
#[derive(Debug, Clone, PartialEq)]
pub struct VennAbers {
    /// `[low, high]` below the first score.
    below: [f64; 2],
    steps: Vec<Step>,
}

/// Both fits at a score and from there to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// A score of the fit.
    pub score: f64,
    /// `[low, high]` of just this score.
    pub at: [f64; 2],
    /// `[low, high]` above it, up to the next.
    pub above: [f64; 2],
}

/// Fits both.
///
/// # Errors
/// As [`crate::sigmoid::fit`].
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<VennAbers, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    let mut sorted = examples.scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.dedup();
    // As many bins as rows are bins of one score each.
    let count = if sorted.len() <= POINTS {
        examples.len()
    } else {
        POINTS
    };
    let bins = bins::quantile(scores, labels, weights, count)?;
    // The new row is as heavy as the mean row of its label: where negatives were sampled and each
    // stands for many, a row with the event still is one.
    let positives = examples.labels.iter().sum::<f64>();
    let negatives = examples.len() as f64 - positives;
    let weights = [
        (examples.weight - examples.positive) / negatives,
        examples.positive / positives,
    ];
    let points: Vec<Pool> = bins
        .iter()
        .map(|bin| Pool {
            weight: bin.weight,
            sum: bin.rate * bin.weight,
        })
        .collect();
    let scores: Vec<f64> = bins.iter().map(|bin| bin.mean_score).collect();
    Ok(VennAbers::of_points(&scores, &points, weights))
}

/// Rows with one value.
#[derive(Debug, Clone, Copy)]
struct Pool {
    weight: f64,
    sum: f64,
}

impl Pool {
    fn mean(self) -> f64 {
        self.sum / self.weight
    }

    fn with(self, other: Self) -> Self {
        Self {
            weight: self.weight + other.weight,
            sum: self.sum + other.sum,
        }
    }
}

/// The value of `new` in the isotonic fit of the blocks before, itself and the blocks after. Both
/// stacks have their nearest block on top.
fn value(before: &[Pool], new: Pool, after: &[Pool]) -> f64 {
    let (mut left, mut right, mut block) = (before.len(), after.len(), new);
    loop {
        if right > 0 && after[right - 1].mean() <= block.mean() {
            right -= 1;
            block = block.with(after[right]);
        } else if left > 0 && before[left - 1].mean() >= block.mean() {
            left -= 1;
            block = block.with(before[left]);
        } else {
            return block.mean().clamp(0.0, 1.0);
        }
    }
}

impl VennAbers {
    /// Of pooled rows by rising score; `weights` are those of a new row with label 0 and 1.
    fn of_points(scores: &[f64], points: &[Pool], weights: [f64; 2]) -> Self {
        // Blocks of the points from each one on, nearest on top, kept as what each point pooled.
        let mut after: Vec<Pool> = Vec::new();
        let mut pooled: Vec<Vec<Pool>> = Vec::new();
        for point in points.iter().rev() {
            let (mut block, mut taken) = (*point, Vec::new());
            while let Some(next) = after.pop_if(|next| next.mean() <= block.mean()) {
                block = block.with(next);
                taken.push(next);
            }
            after.push(block);
            pooled.push(taken);
        }
        let with = |before: &[Pool], point: Option<Pool>, after: &[Pool]| {
            [(weights[0], 0.0), (weights[1], weights[1])].map(|(weight, sum)| {
                let row = Pool { weight, sum };
                let new = point.map_or(row, |point| point.with(row));
                value(before, new, after)
            })
        };
        let mut before: Vec<Pool> = Vec::new();
        let mut map = Self {
            below: with(&before, None, &after),
            steps: Vec::with_capacity(points.len()),
        };
        let mut last = map.below;
        // Rounding may let a value fall by a hair.
        let mut rising = |values: [f64; 2]| {
            last = [last[0].max(values[0]), last[1].max(values[1])];
            last
        };
        for (score, point) in scores.iter().zip(points) {
            after.pop();
            after.extend(pooled.pop().unwrap_or_default().into_iter().rev());
            let at = rising(with(&before, Some(*point), &after));
            let mut block = *point;
            while let Some(previous) = before.pop_if(|previous| previous.mean() >= block.mean()) {
                block = block.with(previous);
            }
            before.push(block);
            let above = rising(with(&before, None, &after));
            let previous = map.steps.last().map_or(map.below, |step| step.above);
            if at != previous || above != previous {
                map.steps.push(Step {
                    score: *score,
                    at,
                    above,
                });
            }
        }
        map
    }

    /// Takes what a file holds: finite rising scores, and pairs `low <= high` from 0 to 1 that
    /// never fall. Returns the first step that breaks this, counted from 0.
    pub fn from_steps(below: [f64; 2], steps: Vec<Step>) -> Result<Self, usize> {
        let mut last = below;
        let mut rises = |[low, high]: [f64; 2]| {
            let sound = last[0] <= low && last[1] <= high && low <= high && high <= 1.0;
            last = [low, high];
            sound
        };
        if !(0.0 <= below[0] && rises(below)) {
            return Err(0);
        }
        for (i, step) in steps.iter().enumerate() {
            let rising = i == 0 || steps[i - 1].score < step.score;
            if !(step.score.is_finite() && rising && rises(step.at) && rises(step.above)) {
                return Err(i);
            }
        }
        Ok(Self { below, steps })
    }

    /// `[low, high]` below the first step.
    pub fn below(&self) -> [f64; 2] {
        self.below
    }

    /// The steps, by rising score.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Both fits at `score`, `[low, high]`. NaN gives NaN.
    pub fn interval(&self, score: f64) -> [f64; 2] {
        if score.is_nan() {
            return [f64::NAN; 2];
        }
        match self.steps.partition_point(|step| step.score <= score) {
            0 => self.below,
            above if self.steps[above - 1].score == score => self.steps[above - 1].at,
            above => self.steps[above - 1].above,
        }
    }

    /// The probability at `score`, inside the interval. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        let [low, high] = self.interval(score);
        // high / (1 - low + high), in a form whose every rounded step is non-decreasing.
        1.0 / (1.0 + (1.0 - low) / high)
    }
}
