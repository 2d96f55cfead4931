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

use crate::FitError;
use crate::bins::Bin;
use crate::examples::{Examples, Labels};

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
    let points = examples
        .scores
        .iter()
        .zip(&examples.labels)
        .zip(&examples.weights)
        .map(|((&score, &label), &weight)| Point {
            score,
            label,
            weight,
        })
        .collect();
    from_points(points, examples.scores.len(), bounds)
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
    let points = (0..examples.scores.len())
        .map(|i| Point {
            score: examples.scores[i],
            label: examples.labels[i],
            weight: examples.weights[i],
        })
        .collect();
    from_points(
        points,
        bins.iter().map(|bin| bin.rows).sum(),
        Bounds::Smoothed,
    )
}

#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    label: f64,
    weight: f64,
}

/// Neighbouring points with one value.
struct Block {
    first: f64,
    last: f64,
    mean: f64,
    weight: f64,
}

fn from_points(points: Vec<Point>, rows: usize, bounds: Bounds) -> Result<Isotonic, FitError> {
    let (low, high) = match bounds {
        Bounds::Unit => (0.0, 1.0),
        Bounds::Range(low, high) => (low, high),
        Bounds::Smoothed => {
            let weight: f64 = points.iter().map(|point| point.weight).sum();
            let positive: f64 = points.iter().map(|point| point.weight * point.label).sum();
            // Weights of any scale: what counts is how the rows are shared out.
            let n1 = rows as f64 * (positive / weight).min(1.0);
            let n0 = rows as f64 - n1;
            (1.0 / (n0 + 2.0), 1.0 - 1.0 / (n1 + 2.0))
        }
    };
    if !(0.0 <= low && low <= high && high <= 1.0) {
        return Err(FitError::Bounds { low, high });
    }
    Ok(regress(points, low, high))
}

/// Weighted least squares under the constraint not to decrease, its values then cut at `low` and
/// `high`. There is at least one point, and weights are positive; labels may be any finite numbers.
fn regress(mut points: Vec<Point>, low: f64, high: f64) -> Isotonic {
    // By label within equal scores, so that sums do not depend on the order of the rows.
    points.sort_by(|a, b| {
        a.score
            .total_cmp(&b.score)
            .then(a.label.total_cmp(&b.label))
            .then(a.weight.total_cmp(&b.weight))
    });
    let mut blocks: Vec<Block> = Vec::new();
    for tied in points.chunk_by(|a, b| a.score == b.score) {
        let weight: f64 = tied.iter().map(|point| point.weight).sum();
        let sum: f64 = tied.iter().map(|point| point.weight * point.label).sum();
        // The mean of equal labels is that label, whatever rounding makes of the sum.
        let mean = if tied[0].label == tied[tied.len() - 1].label {
            tied[0].label
        } else {
            sum / weight
        };
        let mut block = Block {
            first: tied[0].score,
            last: tied[0].score,
            mean,
            weight,
        };
        while let Some(before) = blocks.pop_if(|before| before.mean >= block.mean) {
            if before.mean > block.mean {
                block.mean = (before.weight * before.mean + block.weight * block.mean)
                    / (before.weight + block.weight);
            }
            block.weight += before.weight;
            block.first = before.first;
        }
        blocks.push(block);
    }
    let mut map = Isotonic {
        scores: vec![],
        probabilities: vec![],
    };
    for block in blocks {
        let value = block.mean.clamp(low, high);
        map.scores.push(block.first);
        map.probabilities.push(value);
        if block.last > block.first {
            map.scores.push(block.last);
            map.probabilities.push(value);
        }
    }
    map
}

impl Isotonic {
    /// Takes knots as they are in a file: finite rising scores, and probabilities from 0 to 1 that
    /// do not decrease; at least one knot. Returns the first knot that breaks this, counted from 0.
    pub fn from_knots(knots: &[[f64; 2]]) -> Result<Self, usize> {
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
        // The first knot above the score.
        let above = self.scores.partition_point(|knot| *knot <= score);
        if above == 0 {
            return self.probabilities[0];
        }
        let (x0, y0) = (self.scores[above - 1], self.probabilities[above - 1]);
        if above == self.scores.len() || score == x0 {
            return y0;
        }
        let (x1, y1) = (self.scores[above], self.probabilities[above]);
        // Each rounded step is non-decreasing in the score, and so is the result; the cut keeps
        // the last one from passing the next knot.
        (y0 + (y1 - y0) / (x1 - x0) * (score - x0)).min(y1)
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
            let points = (0..x.len())
                .filter(|&i| w[i] > 0.0)
                .map(|i| Point {
                    score: x[i] + 0.0,
                    label: sign * y[i],
                    weight: w[i],
                })
                .collect();
            let low = case["args"]["y_min"].as_f64().unwrap_or(f64::NEG_INFINITY);
            let high = case["args"]["y_max"].as_f64().unwrap_or(f64::INFINITY);
            let map = regress(points, low, high);
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
    fn knots_are_checked() {
        assert_eq!(Isotonic::from_knots(&[]), Err(0));
        assert_eq!(Isotonic::from_knots(&[[0.0, 0.1], [0.0, 0.2]]), Err(1));
        assert_eq!(Isotonic::from_knots(&[[0.0, 0.3], [1.0, 0.2]]), Err(1));
        assert_eq!(Isotonic::from_knots(&[[f64::NAN, 0.3]]), Err(0));
        assert_eq!(Isotonic::from_knots(&[[0.0, 1.3]]), Err(0));
    }
}
