//! Spline calibration: log-odds a smooth curve of the score that never falls.
//!
//! Input: one score (finite), one label (0 or 1) and one weight per row. Output: knots of the fitted
//! curve, as [`crate::isotonic`] has them. Method: cubic B-splines with interior knots at the
//! scores' octiles, coefficients that never decrease (so the curve does not either; Pya and Wood
//! 2015) and a penalty on changes of slope (Eilers and Marx 1996): the stronger it is, the nearer
//! the curve comes to [`crate::sigmoid`]. Its strength is the one of least AIC. Outside the fitted
//! scores the curve is constant.
//!
//! ```
//! let scores: Vec<f64> = (0..200).map(|i| f64::from(i) / 20.0).collect();
//! let labels: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 10 < i / 20))).collect();
//! let map = slate_calibrate::spline::fit(&scores, &labels, None)?;
//! assert!((map.apply(5.0) - 0.45).abs() < 0.05);
//! assert!(map.apply(2.0) < map.apply(2.1));
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use crate::constrained::{Regression, Solution, solve};
use crate::examples::{Examples, Labels};
use crate::sigmoid::logistic;
use crate::{FitError, Isotonic};

/// Parts of the scores with equally many rows, at whose ends interior knots stand.
const PARTS: usize = 8;
/// Strengths of the penalty that are tried.
const STRENGTHS: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
/// Knots of the result between two of the spline's.
const FINE: usize = 32;

/// Fits the curve.
///
/// # Errors
/// As [`crate::sigmoid::fit`]; [`FitError::Spread`]; [`FitError::Separable`] where a score divides the classes, so that
/// no curve is steep enough.
pub fn fit(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Result<Isotonic, FitError> {
    let examples = Examples::new(scores, labels, weights, Labels::Binary)?;
    examples.refuse_separable()?;
    let basis = Basis::new(&examples);
    let (low, high) = (basis.low(), basis.high());
    // Knots and the points between them must be numbers apart.
    let step = (high - low) / 1e6;
    if high > low && !(step.is_normal() && low + step > low && high - step < high) {
        return Err(FitError::Spread { low, high });
    }
    let best = STRENGTHS
        .into_iter()
        .map(|strength| basis.fit(&examples, strength))
        .min_by(|a, b| aic(a).total_cmp(&aic(b)));
    let best = best.expect("there are strengths");
    let coefficients = totals(&best.coefficients);
    let mut knots: Vec<[f64; 2]> = Vec::new();
    for pair in basis.distinct().windows(2) {
        for step in 0..=FINE {
            let score = pair[0] + (pair[1] - pair[0]) * step as f64 / FINE as f64;
            let value = logistic(basis.curve(&coefficients, score));
            match knots.last() {
                Some([last, _]) if score <= *last => {}
                // Rounding may let a curve fall by a hair.
                Some([_, before]) => knots.push([score, value.max(*before)]),
                None => knots.push([score, value]),
            }
        }
    }
    if knots.is_empty() {
        // All scores are equal.
        knots.push([
            basis.low(),
            logistic(basis.curve(&coefficients, basis.low())),
        ]);
    }
    Isotonic::from_knots(&knots).map_err(|_| FitError::Spread { low, high })
}

/// Akaike's criterion, halved.
fn aic(solution: &Solution) -> f64 {
    solution.loss + solution.freedom
}

/// Increments to coefficients.
fn totals(increments: &[f64]) -> Vec<f64> {
    let mut total = 0.0;
    increments
        .iter()
        .map(|increment| {
            total += increment;
            total
        })
        .collect()
}

/// Cubic B-splines over clamped knots.
struct Basis {
    /// Four times the lowest score, the interior knots, four times the highest.
    knots: Vec<f64>,
}

impl Basis {
    fn new(examples: &Examples<'_>) -> Self {
        let mut sorted = examples.scores.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let mut knots = vec![low; 4];
        for part in 1..PARTS {
            let place = (sorted.len() - 1) as f64 * part as f64 / PARTS as f64;
            let below = place.floor() as usize;
            let above = (below + 1).min(sorted.len() - 1);
            let knot = sorted[below] + (place - below as f64) * (sorted[above] - sorted[below]);
            if knot > knots[knots.len() - 1] && knot < high {
                knots.push(knot);
            }
        }
        knots.extend([high; 4]);
        Self { knots }
    }

    fn low(&self) -> f64 {
        self.knots[0]
    }

    fn high(&self) -> f64 {
        self.knots[self.knots.len() - 1]
    }

    /// Number of splines.
    fn len(&self) -> usize {
        self.knots.len() - 4
    }

    /// The knots without repetition.
    fn distinct(&self) -> &[f64] {
        &self.knots[3..=self.len()]
    }

    /// The first of the four splines that are not 0 at `score`, and their values (de Boor 1972).
    fn at(&self, score: f64) -> (usize, [f64; 4]) {
        let x = score.clamp(self.low(), self.high());
        let inner = &self.knots[4..self.len()];
        let span = 3 + inner.partition_point(|knot| *knot <= x);
        let mut values = [1.0, 0.0, 0.0, 0.0];
        for degree in 1..4 {
            let mut saved = 0.0;
            for (i, value) in values.iter_mut().enumerate().take(degree) {
                let (left, right) = (self.knots[span + 1 + i - degree], self.knots[span + 1 + i]);
                let part = if right > left {
                    *value / (right - left)
                } else {
                    0.0
                };
                *value = saved + (right - x) * part;
                saved = (x - left) * part;
            }
            values[degree] = saved;
        }
        if self.low() == self.high() {
            values = [1.0, 0.0, 0.0, 0.0];
        }
        (span - 3, values)
    }

    /// The curve's log-odds.
    fn curve(&self, coefficients: &[f64], score: f64) -> f64 {
        let (first, values) = self.at(score);
        let inside = &coefficients[first..first + 4];
        inside.iter().zip(values).map(|(c, v)| c * v).sum()
    }

    /// The curve of least log loss plus penalty, as increments from spline to spline: the first is
    /// free, the others are not negative.
    fn fit(&self, examples: &Examples<'_>, strength: f64) -> Solution {
        let width = self.len();
        let mut bounded = vec![true; width];
        bounded[0] = false;
        let penalty = self.penalty(strength);
        let regression = Regression {
            examples,
            columns: |score, row: &mut [f64]| {
                // Column j is the sum of the splines from j on.
                let (first, values) = self.at(score);
                row[..=first].fill(1.0);
                let mut rest = 1.0;
                for (offset, value) in values.iter().enumerate().take(3) {
                    rest -= value;
                    row[first + offset + 1] = rest;
                }
                row[first + 4..].fill(0.0);
            },
            bounded: &bounded,
            penalty: &penalty,
        };
        let mut start = vec![0.0; width];
        start[0] = (examples.positive / (examples.weight - examples.positive)).ln();
        solve(&regression, start)
    }

    /// `strength` times the sum of squared changes of slope, as a form in the increments. Slopes
    /// are those between the splines' centres (Greville), over the width of all scores.
    fn penalty(&self, strength: f64) -> Vec<f64> {
        let width = self.len();
        let centre = |m: usize| (self.knots[m + 1] + self.knots[m + 2] + self.knots[m + 3]) / 3.0;
        let spread = self.high() - self.low();
        // Slope j belongs to increment j + 1.
        let scale: Vec<f64> = (0..width - 1)
            .map(|m| {
                let gap = centre(m + 1) - centre(m);
                if gap > 0.0 { spread / gap } else { 0.0 }
            })
            .collect();
        let mut form = vec![0.0; width * width];
        for j in 0..width - 2 {
            let pairs = [(j + 1, -scale[j]), (j + 2, scale[j + 1])];
            for (a, x) in pairs {
                for (b, y) in pairs {
                    form[a * width + b] += strength * x * y;
                }
            }
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// From `tests/data/gold_maps.py`: the same curves by `SciPy`'s B-splines and general
    /// optimisers, at three strengths.
    #[test]
    fn equals_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/maps.json")).unwrap();
        for set in golden["sets"].as_array().unwrap() {
            let (scores, labels) = (floats(&set["s"]), floats(&set["y"]));
            let weights = (!set["w"].is_null()).then(|| floats(&set["w"]));
            let weights = weights.as_deref();
            let examples = Examples::new(&scores, &labels, weights, Labels::Binary).unwrap();
            let basis = Basis::new(&examples);
            assert_eq!(basis.knots, floats(&set["spline"]["knots"]));
            for fit in set["spline"]["fits"].as_array().unwrap() {
                let strength = fit["lambda"].as_f64().unwrap();
                let solution = basis.fit(&examples, strength);
                let coefficients = totals(&solution.coefficients);
                for (query, expected) in floats(&set["q"]).iter().zip(floats(&fit["pred"])) {
                    let ours = logistic(basis.curve(&coefficients, *query));
                    let name = set["name"].as_str().unwrap();
                    assert!(
                        (ours - expected).abs() < 1e-6,
                        "{name} {strength} {query} {ours}"
                    );
                }
            }
        }
    }

    #[test]
    fn scores_of_any_size_are_fitted_or_refused() {
        for scale in [1e-320, 1e-310, 1e-300, 1e-6, 1e6, 1e300, 1.7e307] {
            let scores: Vec<f64> = (0..60)
                .map(|i| scale * (f64::from(i % 20) - 10.0))
                .collect();
            let labels: Vec<f64> = (0..60).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
            match fit(&scores, &labels, None) {
                Ok(map) => assert!((0.0..=1.0).contains(&map.apply(0.0)), "{scale}"),
                Err(error) => assert!(matches!(error, FitError::Spread { .. }), "{scale} {error}"),
            }
        }
    }

    #[test]
    fn the_knots_are_the_curve() {
        let seed = slate_types::Seed(4);
        let scores: Vec<f64> = (0..3000)
            .map(|i| 6.0 * seed.index(i).unit() - 5.0)
            .collect();
        let label = |(i, s): (u64, &f64)| {
            let rate = logistic(s - 2.0 + (2.0 * s).sin());
            f64::from(u8::from(seed.derive("label").index(i).unit() < rate))
        };
        let labels: Vec<f64> = (0..).zip(&scores).map(label).collect();
        let map = fit(&scores, &labels, None).unwrap();
        let examples = Examples::new(&scores, &labels, None, Labels::Binary).unwrap();
        let basis = Basis::new(&examples);
        let fits = STRENGTHS.map(|strength| totals(&basis.fit(&examples, strength).coefficients));
        let gap = |coefficients: &Vec<f64>| {
            let gaps = scores.iter().map(|score| {
                (map.apply(*score) - logistic(basis.curve(coefficients, *score))).abs()
            });
            gaps.fold(0.0, f64::max)
        };
        let nearest = fits.iter().map(gap).fold(f64::INFINITY, f64::min);
        assert!(nearest < 1e-4, "{nearest}");
    }
}
