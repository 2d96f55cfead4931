//! Isotonic calibration: the best non-decreasing map from score to probability.
//!
//! Input: one score (finite, larger = more relevant), one label (0 to 1) and one weight (0 or
//! more) per row, in any order. Output: knots (score, probability), linear between them and
//! constant outside. Method: equal scores become one point, then adjacent violators are pooled
//! (Ayer et al. 1955; Best and Chakravarti 1990); O(n log n). A pooled block keeps both of its ends
//! as knots, so the map is steps joined by ramps, as scikit-learn's is.
//!
//! The map never decreases, whatever the data say: a falling trend becomes a flat line. It wants
//! many positives, about 1,000 (Niculescu-Mizil and Caruana 2005).
//!
//! ```
//! let map = slate_calibrate::isotonic::fit(&[0.2, 0.1, 0.4, 0.3], &[1.0, 0.0, 1.0, 0.0], None)?;
//! assert_eq!(map.apply(0.25), 0.5);
//! assert_eq!(map.apply(0.1), 0.25, "no row proves that an event is impossible");
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use rayon::prelude::*;

use crate::FitError;
use crate::bins::Bin;
use crate::examples::{Examples, Labels};
use crate::sorted::{Block, pool};

/// Parts of the range of scores that a table of knots has.
const CELLS: usize = 1 << 12;

/// How far probabilities stay away from 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bounds {
    /// From `1 / (n0 + 2)` to `1 - 1 / (n1 + 2)`, where n0 and n1 are the rows shared out by the
    /// classes' weights: Platt's targets (1999). The first block is often without any positive and
    /// its 0 would make the first purchase there infinitely surprising; this bound adds less than
    /// one expected event over all rows.
    Smoothed,
    /// 0 to 1: the plain least-squares fit.
    Unit,
    /// From the first to the second number, both from 0 to 1.
    Range(f64, f64),
}

/// A fitted map: knots with rising scores and non-decreasing probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Isotonic {
    scores: Vec<f64>,
    probabilities: Vec<f64>,
}

/// Fits with [`Bounds::Smoothed`].
///
/// # Errors
/// [`FitError`] for columns of different lengths, scores that are not finite, labels outside 0 to
/// 1, negative weights, all weights 0, fewer than two rows, or labels that are all 0 or all 1.
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Isotonic, FitError> {
    fit_within(scores, labels, weights, Bounds::Smoothed)
}

/// Fits and cuts the probabilities at `bounds`.
///
/// # Errors
/// As [`fit`]; [`FitError::Bounds`] for a range that is none.
pub fn fit_within(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
    bounds: Bounds,
) -> Result<Isotonic, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Share)?;
    let (low, high) = bounds.of(&examples, examples.len())?;
    Ok(Isotonic::steps(&pool(&examples), low, high))
}

/// Fits the centred map: linear through the points (mean score, rate) of the pooled blocks,
/// constant outside (Oron and Flournoy 2017). It rises strictly between the outermost blocks, so it
/// ties nothing there. Cut at [`Bounds::Smoothed`].
///
/// # Errors
/// As [`fit`].
pub fn fit_centred(
    scores: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
) -> Result<Isotonic, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Share)?;
    let (low, high) = Bounds::Smoothed.of(&examples, examples.len())?;
    let blocks = pool(&examples);
    let mut moments = vec![0.0; blocks.len()];
    for (row, score) in examples.scores.iter().enumerate() {
        let block = blocks.partition_point(|block| block.last < *score);
        moments[block] += examples.weight(row) * score;
    }
    let mut map = Isotonic {
        scores: vec![],
        probabilities: vec![],
    };
    for (block, moment) in blocks.iter().zip(moments) {
        let centre = (moment / block.weight).clamp(block.first, block.last);
        map.push(centre, block.mean.clamp(low, high));
    }
    Ok(map)
}

/// Fits to bins instead of rows, each standing at its mean score with its rate and weight: fewer
/// and safer steps. Cut at [`Bounds::Smoothed`].
///
/// # Errors
/// As [`fit`], where a row is a bin.
pub fn fit_binned(bins: &[Bin]) -> Result<Isotonic, FitError> {
    let scores: Vec<f64> = bins.iter().map(|bin| bin.mean_score).collect();
    let rates: Vec<f64> = bins.iter().map(|bin| bin.rate).collect();
    let weights: Vec<f64> = bins.iter().map(|bin| bin.weight).collect();
    let examples = Examples::new(&scores, &rates, Some(&weights), Labels::Share)?;
    let rows = bins.iter().map(|bin| bin.rows).sum();
    let (low, high) = Bounds::Smoothed.of(&examples, rows)?;
    Ok(Isotonic::steps(&pool(&examples), low, high))
}

/// A line between two knots, or the constant outside of all.
#[derive(Clone, Copy)]
struct Piece {
    x: f64,
    y: f64,
    slope: f64,
    most: f64,
}

impl Piece {
    /// The probability at a score that is no NaN.
    fn at(self, score: f64) -> f64 {
        // Each rounded step is non-decreasing in the score, and so is the result; the cut keeps
        // the last one from passing the next knot, and an infinite score in its constant.
        (self.y + self.slope * (score - self.x)).min(self.most)
    }
}

impl Bounds {
    /// Lowest and highest probability for `examples`, which stand for `rows` rows.
    pub(crate) fn of(self, examples: &Examples<'_>, rows: usize) -> Result<(f64, f64), FitError> {
        let (low, high) = match self {
            Self::Unit => (0.0, 1.0),
            Self::Range(low, high) => (low, high),
            Self::Smoothed => {
                // Weights of any scale: what counts is how the rows are shared out.
                let n1 = rows as f64 * (examples.positive / examples.weight).min(1.0);
                let n0 = rows as f64 - n1;
                (1.0 / (n0 + 2.0), 1.0 - 1.0 / (n1 + 2.0))
            }
        };
        if 0.0 <= low && low <= high && high <= 1.0 {
            Ok((low, high))
        } else {
            Err(FitError::Bounds { low, high })
        }
    }
}

impl Isotonic {
    /// Both ends of each block, its mean cut at `low` and `high`.
    fn steps(blocks: &[Block], low: f64, high: f64) -> Self {
        let mut map = Self {
            scores: vec![],
            probabilities: vec![],
        };
        for block in blocks {
            let value = block.mean.clamp(low, high);
            map.push(block.first, value);
            if block.last > block.first {
                map.push(block.last, value);
            }
        }
        map
    }

    fn push(&mut self, score: f64, probability: f64) {
        self.scores.push(score);
        self.probabilities.push(probability);
    }

    /// Takes knots as they are in a file: finite rising scores, and probabilities from 0 to 1 that
    /// do not decrease; at least one knot. Returns the first knot that breaks this, counted from 0.
    pub fn from_knots(knots: &[[f64; 2]]) -> Result<Self, usize> {
        check_knots(knots)?;
        Ok(Self {
            scores: knots.iter().map(|knot| knot[0]).collect(),
            probabilities: knots.iter().map(|knot| knot[1]).collect(),
        })
    }

    /// The knots (score, probability), by rising score.
    pub fn knots(&self) -> impl ExactSizeIterator<Item = [f64; 2]> + '_ {
        self.scores
            .iter()
            .zip(&self.probabilities)
            .map(|(&score, &p)| [score, p])
    }

    /// The probability at `score`: linear between knots, constant outside. NaN gives NaN.
    pub fn apply(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let above = self.scores.partition_point(|knot| *knot <= score);
        self.piece(above).at(score)
    }

    /// The probability of each score, in order: as [`Isotonic::apply`], with a table that says
    /// where in the knots to look.
    pub(crate) fn apply_all(&self, scores: &[f64]) -> Vec<f64> {
        let (low, high) = (self.scores[0], self.scores[self.scores.len() - 1]);
        let scale = CELLS as f64 / (high - low);
        if !scale.is_finite() || scores.len() < CELLS {
            return scores.iter().map(|score| self.apply(*score)).collect();
        }
        // Never falls in the score, so a knot of an earlier cell is below a score, one of a later
        // cell above it.
        let cell = |score: f64| ((score - low) * scale).clamp(0.0, (CELLS - 1) as f64) as usize;
        let pieces: Vec<Piece> = (0..=self.scores.len())
            .map(|above| self.piece(above))
            .collect();
        let mut starts = vec![0_usize; CELLS + 1];
        for knot in &self.scores {
            starts[cell(*knot) + 1] += 1;
        }
        for cell in 0..CELLS {
            starts[cell + 1] += starts[cell];
        }
        let value = |score: &f64| {
            if score.is_nan() {
                return f64::NAN;
            }
            let cell = cell(*score);
            let (start, end) = (starts[cell], starts[cell + 1]);
            // Most cells have no knot.
            let above = if start == end {
                start
            } else {
                start + self.scores[start..end].partition_point(|knot| knot <= score)
            };
            pieces[above].at(*score)
        };
        scores.par_iter().with_min_len(1 << 12).map(value).collect()
    }

    /// The map from the knot before `above` on, up to that knot.
    fn piece(&self, above: usize) -> Piece {
        let flat = |y: f64| Piece {
            x: 0.0,
            y,
            slope: 0.0,
            most: y,
        };
        if above == 0 {
            return flat(self.probabilities[0]);
        }
        let (x0, y0) = (self.scores[above - 1], self.probabilities[above - 1]);
        if above == self.scores.len() {
            return flat(y0);
        }
        let (x1, y1) = (self.scores[above], self.probabilities[above]);
        let slope = (y1 - y0) / (x1 - x0);
        if !slope.is_finite() {
            // Knots so near that no score lies between them.
            return flat(y0);
        }
        Piece {
            x: x0,
            y: y0,
            slope,
            most: y1,
        }
    }

    /// The one score with this probability; `None` where no score or a whole flat step has it.
    pub fn invert(&self, probability: f64) -> Option<f64> {
        if self
            .probabilities
            .binary_search_by(|p| p.total_cmp(&probability))
            .is_ok()
        {
            // A knot's value also holds beyond the last knot and before the first; inside it is
            // unique only where a ramp passes through a single knot.
            let first = self.probabilities.partition_point(|p| *p < probability);
            let after = self.probabilities.partition_point(|p| *p <= probability);
            let inner = first > 0 && after < self.probabilities.len();
            return (inner && after - first == 1).then(|| self.scores[first]);
        }
        let above = self.probabilities.partition_point(|p| *p < probability);
        if above == 0 || above == self.probabilities.len() {
            return None;
        }
        let (x0, y0) = (self.scores[above - 1], self.probabilities[above - 1]);
        let (x1, y1) = (self.scores[above], self.probabilities[above]);
        Some((x0 + (probability - y0) / (y1 - y0) * (x1 - x0)).clamp(x0, x1))
    }
}

/// Holds knots to what [`Isotonic::from_knots`] says; the first unsound one.
pub(crate) fn check_knots(knots: &[[f64; 2]]) -> Result<(), usize> {
    if knots.is_empty() {
        return Err(0);
    }
    for (i, &[score, probability]) in knots.iter().enumerate() {
        let sound = score.is_finite() && (0.0..=1.0).contains(&probability);
        let rising = i == 0 || knots[i - 1][0] < score && knots[i - 1][1] <= probability;
        if !sound || !rising {
            return Err(i);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// From `tests/data/gold_iso.py`: scikit-learn 1.9.1, 33 cases. Falling cases are fitted to
    /// negated labels.
    #[test]
    fn equals_scikit_learn() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/isotonic.json")).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 33);
        for case in cases {
            let sign = if case["increasing"].as_bool().unwrap() {
                1.0
            } else {
                -1.0
            };
            let (x, y) = (floats(&case["x"]), floats(&case["y"]));
            let w = if case["w"].is_null() {
                vec![1.0; x.len()]
            } else {
                floats(&case["w"])
            };
            // Labels of any size, which the public door does not let in.
            let kept: Vec<usize> = (0..x.len()).filter(|&i| w[i] > 0.0).collect();
            let column = |value: &dyn Fn(usize) -> f64| kept.iter().map(|&i| value(i)).collect();
            let examples = Examples {
                scores: column(&|i| x[i]),
                labels: column(&|i| sign * y[i]),
                weights: Some(column(&|i| w[i])),
                binary: false,
                weight: 0.0,
                positive: 0.0,
            };
            let low = case["args"]["y_min"].as_f64().unwrap_or(f64::NEG_INFINITY);
            let high = case["args"]["y_max"].as_f64().unwrap_or(f64::INFINITY);
            let map = Isotonic::steps(&pool(&examples), low, high);
            for (q, expected) in floats(&case["query"])
                .iter()
                .zip(floats(&case["pred_clip"]))
            {
                let ours = sign * map.apply(*q);
                let tolerance = 1e-12 * expected.abs().max(1.0);
                assert!(
                    (ours - expected).abs() <= tolerance,
                    "{} {q} {ours}",
                    case["name"]
                );
            }
        }
    }

    #[test]
    fn bounds_hold() {
        let (x, y) = ([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 1.0]);
        let ends = |bounds| {
            let map = fit_within(&x, &y, None, bounds).unwrap();
            (map.apply(-9.0), map.apply(9.0))
        };
        assert_eq!(ends(Bounds::Unit), (0.0, 1.0));
        assert_eq!(ends(Bounds::Range(0.1, 0.8)), (0.1, 0.8));
        assert_eq!(ends(Bounds::Smoothed), (0.25, 0.75));
        let small = fit(&x, &y, Some(&[1e-6; 4])).unwrap();
        assert!(
            (small.apply(-9.0) - 0.25).abs() < 1e-12,
            "the scale of weights does not matter"
        );
        assert_eq!(
            fit_within(&x, &y, None, Bounds::Range(0.5, 0.2)),
            Err(FitError::Bounds {
                low: 0.5,
                high: 0.2
            })
        );
    }

    #[test]
    fn bins_of_single_rows_are_the_rows() {
        let (x, y) = ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0, 1.0]);
        let bins = crate::bins::quantile(&x, &y, None, 5).unwrap();
        assert_eq!(fit_binned(&bins).unwrap(), fit(&x, &y, None).unwrap());
    }

    #[test]
    fn ramps_are_inverted_and_steps_are_not() {
        let map =
            Isotonic::from_knots(&[[0.0, 0.1], [1.0, 0.2], [2.0, 0.2], [4.0, 0.6], [5.0, 0.9]])
                .unwrap();
        assert!((map.invert(0.4).unwrap() - 3.0).abs() < 1e-12);
        assert_eq!(map.invert(0.6), Some(4.0));
        for none in [0.05, 0.1, 0.2, 0.9, 0.95, f64::NAN] {
            assert_eq!(map.invert(none), None, "{none}");
        }
    }

    #[test]
    fn many_scores_are_mapped_as_one_by_one() {
        let knots: Vec<[f64; 2]> = (0..300)
            .map(|i| [(f64::from(i) / 10.0).exp(), f64::from(i) / 300.0])
            .collect();
        let map = Isotonic::from_knots(&knots).unwrap();
        let seed = slate_types::Seed(1);
        let mut scores: Vec<f64> = (0..9000)
            .map(|i| 40.0 * seed.index(i).unit() - 3.0)
            .collect();
        scores.extend(knots.iter().map(|knot| knot[0]));
        scores.extend([f64::MIN, f64::MAX, f64::INFINITY]);
        for (score, value) in scores.iter().zip(map.apply_all(&scores)) {
            assert_eq!(value, map.apply(*score), "{score}");
        }
    }

    #[test]
    fn knots_are_checked() {
        assert_eq!(Isotonic::from_knots(&[]), Err(0));
        assert_eq!(Isotonic::from_knots(&[[0.0, 0.1], [0.0, 0.2]]), Err(1));
        assert_eq!(Isotonic::from_knots(&[[0.0, 0.3], [1.0, 0.2]]), Err(1));
        assert_eq!(Isotonic::from_knots(&[[f64::NAN, 0.3]]), Err(0));
        assert_eq!(Isotonic::from_knots(&[[0.0, 1.3]]), Err(0));
    }
}
