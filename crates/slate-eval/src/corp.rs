//! Reliability without bins: CORP (Dimitriadis, Gneiting and Jordan 2021).
//!
//! Input: one probability, one label and, optionally, one weight per row. The labels' best
//! non-decreasing fit to the predictions is what the predictions should have been. A mean score then
//! falls into three parts: miscalibration (what the fit gains on the predictions), discrimination
//! (what it gains on the base rate) and uncertainty (the base rate's own score):
//! `score = miscalibration - discrimination + uncertainty`, exactly, for any proper score.
//!
//! The fit gains something even on perfect predictions. [`Corp::band`] says how much to expect of
//! that: between its ends the fit of labels drawn from the predictions themselves stays at each
//! prediction in the given share of draws. It lies around the diagonal; a fit that leaves it is
//! evidence.
//!
//! ```
//! use slate_eval::{Corp, Proper};
//!
//! let (p, y) = ([0.2, 0.2, 0.4, 0.9], [0, 1, 0, 1]);
//! let corp = Corp::new(&p, &y, None)?;
//! let parts = corp.decomposition(Proper::Brier);
//! let sum = parts.miscalibration - parts.discrimination + parts.uncertainty;
//! assert!((sum - slate_eval::brier(&p, &y, None)?).abs() < 1e-15);
//! assert_eq!(corp.steps()[0].rate, 1.0 / 3.0);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use slate_types::Seed;

use crate::bootstrap::quantile;
use crate::proper::{brier_of, log_loss_of};
use crate::{EvalError, check};

/// Points of a band, at most.
const POINTS: usize = 200;
/// Groups of rows of nearly equal probability that a band is drawn over, at most.
const GROUPS: usize = 2000;

/// A proper score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proper {
    /// [`crate::brier()`].
    Brier,
    /// [`crate::log_loss()`].
    LogLoss,
}

impl Proper {
    fn of(self, probability: f64, label: u8) -> f64 {
        match self {
            Self::Brier => brier_of(probability, label),
            Self::LogLoss => log_loss_of(probability, label),
        }
    }
}

/// The three parts of a mean score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decomposition {
    /// What recalibration would gain; 0 at best.
    pub miscalibration: f64,
    /// What recalibrated predictions gain on the base rate.
    pub discrimination: f64,
    /// The score of the base rate.
    pub uncertainty: f64,
}

/// Predictions that should have been one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Lowest prediction.
    pub low: f64,
    /// Highest prediction.
    pub high: f64,
    /// What they should have been: their share of positives.
    pub rate: f64,
    /// Sum of their weights, or their number.
    pub weight: f64,
}

/// Where the fit of labels drawn from the predictions stays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BandPoint {
    /// The prediction.
    pub probability: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The best non-decreasing fit of labels to predictions.
pub struct Corp<'a> {
    probabilities: &'a [f64],
    labels: &'a [u8],
    weights: Option<&'a [f64]>,
    steps: Vec<Step>,
}

impl<'a> Corp<'a> {
    /// Fits.
    ///
    /// # Errors
    /// As [`crate::log_loss`].
    pub fn new(
        probabilities: &'a [f64],
        labels: &'a [u8],
        weights: Option<&'a [f64]>,
    ) -> Result<Self, EvalError> {
        let rows = probabilities.len();
        check::probabilities(probabilities, rows)?;
        check::labels(labels, rows)?;
        check::weights(weights, rows)?;
        let mut groups: Vec<Group> = (0..rows)
            .map(|row| {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                Group {
                    low: probabilities[row],
                    high: probabilities[row],
                    weight,
                    positive: weight * f64::from(labels[row]),
                }
            })
            .filter(|group| group.weight > 0.0)
            .collect();
        if groups.is_empty() {
            return Err(EvalError::NothingToMeasure {
                metric: "mcb".to_owned(),
                why: "all weights are 0",
            });
        }
        groups.par_sort_unstable_by(|a, b| {
            let by_rest = || {
                a.positive
                    .total_cmp(&b.positive)
                    .then(a.weight.total_cmp(&b.weight))
            };
            a.low.total_cmp(&b.low).then_with(by_rest)
        });
        let steps = pool(groups.chunk_by(|a, b| a.low == b.low).map(Group::sum));
        let steps = steps
            .into_iter()
            .map(|group| Step {
                low: group.low,
                high: group.high,
                rate: group.rate(),
                weight: group.weight,
            })
            .collect();
        Ok(Self {
            probabilities,
            labels,
            weights,
            steps,
        })
    }

    /// The fit: constant on each step, whose rates rise strictly.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What a prediction should have been.
    pub(crate) fn recalibrated(&self, probability: f64) -> f64 {
        let step = self.steps.partition_point(|step| step.high < probability);
        self.steps[step.min(self.steps.len() - 1)].rate
    }

    /// Share of positives among all rows.
    pub(crate) fn base_rate(&self) -> f64 {
        let weight: f64 = self.steps.iter().map(|step| step.weight).sum();
        self.steps
            .iter()
            .map(|step| step.weight * step.rate)
            .sum::<f64>()
            / weight
    }

    /// The parts of the mean score.
    pub fn decomposition(&self, score: Proper) -> Decomposition {
        let base = self.base_rate();
        let [mut given, mut fitted, mut constant, mut weight] = [0.0; 4];
        for (row, (&p, &y)) in self.probabilities.iter().zip(self.labels).enumerate() {
            let of_row = self.weights.map_or(1.0, |weights| weights[row]);
            if of_row > 0.0 {
                given += of_row * score.of(p, y);
                fitted += of_row * score.of(self.recalibrated(p), y);
                constant += of_row * score.of(base, y);
                weight += of_row;
            }
        }
        Decomposition {
            miscalibration: (given - fitted) / weight,
            discrimination: (constant - fitted) / weight,
            uncertainty: constant / weight,
        }
    }

    /// The band in which fits stay if the predictions are right, in `level` of `draws` draws, at about
    /// 200 of the predictions, the first and the last among them. Over 2,000 rows are drawn in
    /// groups of nearly equal predictions.
    /// Weights are not used: a row is one draw.
    ///
    /// # Errors
    /// [`EvalError::Level`].
    pub fn band(&self, draws: usize, level: f64, seed: Seed) -> Result<Vec<BandPoint>, EvalError> {
        if !(level > 0.0 && level < 1.0) {
            return Err(EvalError::Level(level));
        }
        let mut sorted = self.probabilities.to_vec();
        sorted.par_sort_unstable_by(f64::total_cmp);
        let groups: Vec<(f64, u64)> = crate::bins::equal_mass(&sorted, GROUPS.min(sorted.len()))
            .into_iter()
            .map(|rows| {
                let count = rows.len() as u64;
                (sorted[rows].iter().sum::<f64>() / count as f64, count)
            })
            .collect();
        let mut points: Vec<usize> = crate::bins::equal_mass(
            &groups.iter().map(|group| group.0).collect::<Vec<_>>(),
            POINTS.min(groups.len()),
        )
        .into_iter()
        .map(|range| range.start + range.len() / 2)
        .chain([0, groups.len() - 1])
        .collect();
        points.sort_unstable();
        points.dedup();
        let seed = seed.derive("consistency band");
        let fits: Vec<Vec<f64>> = (0..draws)
            .into_par_iter()
            .map(|draw| {
                let mut random = ChaCha8Rng::seed_from_u64(seed.index(draw as u64).0);
                let drawn = groups.iter().map(|&(probability, rows)| {
                    let binomial = Binomial::new(rows, probability.clamp(0.0, 1.0));
                    let positive = binomial.map_or(0, |binomial| binomial.sample(&mut random));
                    Group {
                        low: probability,
                        high: probability,
                        weight: rows as f64,
                        positive: positive as f64,
                    }
                });
                let steps = pool(drawn);
                let at = |&point: &usize| {
                    let probability = groups[point].0;
                    steps[steps.partition_point(|step| step.high < probability)].rate()
                };
                points.iter().map(at).collect()
            })
            .collect();
        let tail = (1.0 - level) / 2.0;
        Ok(points
            .iter()
            .enumerate()
            .map(|(place, &point)| {
                let mut values: Vec<f64> = fits.iter().map(|fit| fit[place]).collect();
                values.sort_unstable_by(f64::total_cmp);
                let probability = groups[point].0;
                let end = |share| {
                    if values.is_empty() {
                        f64::NAN
                    } else {
                        quantile(&values, share)
                    }
                };
                BandPoint {
                    probability,
                    low: end(tail),
                    high: end(1.0 - tail),
                }
            })
            .collect())
    }
}

/// Rows of neighbouring predictions.
#[derive(Clone, Copy)]
struct Group {
    low: f64,
    high: f64,
    weight: f64,
    positive: f64,
}

impl Group {
    fn rate(&self) -> f64 {
        (self.positive / self.weight).min(1.0)
    }

    fn sum(tied: &[Self]) -> Self {
        let mut sum = tied[0];
        for group in &tied[1..] {
            sum.weight += group.weight;
            sum.positive += group.positive;
        }
        sum
    }
}

/// Pools neighbours whose rates do not rise (Ayer et al. 1955).
fn pool(groups: impl Iterator<Item = Group>) -> Vec<Group> {
    let mut stack: Vec<Group> = Vec::new();
    for mut group in groups {
        while let Some(before) = stack.pop_if(|before| before.rate() >= group.rate()) {
            group.low = before.low;
            group.weight += before.weight;
            group.positive += before.positive;
        }
        stack.push(group);
    }
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_cal.py`: scikit-learn's isotonic fit, parts checked there against
    /// model-diagnostics.
    #[test]
    fn equals_the_golden_decompositions() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/data/calibration_metrics.json")).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let p: Vec<f64> = serde_json::from_value(case["p"].clone()).unwrap();
            let y: Vec<u8> = serde_json::from_value(case["y"].clone()).unwrap();
            let corp = Corp::new(&p, &y, None).unwrap();
            for (score, name) in [(Proper::Brier, "brier"), (Proper::LogLoss, "log")] {
                let parts = corp.decomposition(score);
                for (ours, key) in [
                    (parts.miscalibration, "mcb"),
                    (parts.discrimination, "dsc"),
                    (parts.uncertainty, "unc"),
                ] {
                    let key = format!("corp_{name}_{key}");
                    let expected = case["metrics"][&key].as_f64().unwrap();
                    assert!(
                        (ours - expected).abs() < 1e-9,
                        "{} {key} {ours}",
                        case["name"]
                    );
                }
            }
        }
    }

    /// Labels drawn from the predictions leave a 90 % band at a tenth of the points, more or less;
    /// labels drawn from half of them leave it nearly everywhere.
    #[test]
    fn the_band_holds_right_predictions_and_not_wrong_ones() {
        let seed = Seed(8);
        let p: Vec<f64> = (0..4000)
            .map(|i| 0.02 + 0.3 * seed.index(i).unit())
            .collect();
        let outside = |rate: f64| {
            let mut shares = 0.0;
            for round in 0..8 {
                let draw = seed.derive("labels").index(round);
                let y: Vec<u8> = (0..4000)
                    .map(|i| u8::from(draw.index(i).unit() < rate * p[i as usize]))
                    .collect();
                let corp = Corp::new(&p, &y, None).unwrap();
                let band = corp.band(200, 0.9, Seed(round)).unwrap();
                assert_eq!(band.len(), 202);
                let out = band.iter().filter(|point| {
                    let fit = corp.recalibrated(point.probability);
                    fit < point.low || fit > point.high
                });
                shares += out.count() as f64 / 202.0 / 8.0;
            }
            shares
        };
        let right = outside(1.0);
        assert!((0.05..0.16).contains(&right), "{right}");
        let wrong = outside(0.5);
        assert!(wrong > 0.8, "{wrong}");
    }
}
