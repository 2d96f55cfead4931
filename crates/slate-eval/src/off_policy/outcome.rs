//! A small model of what a placement earns, so that weights have less to explain.
//!
//! `mean reward = link(base + slot + features·β)`: logistic for outcomes from 0 to 1, linear for any
//! other. The base is that of the mean reward, slots and features are drawn towards it by a ridge, so a
//! slot never seen counts as an average one. Fitted on other folds than it forecasts: a model that saw
//! the reward it is subtracted from hides variance.

use rayon::prelude::*;
use slate_types::Seed;

use crate::line::logistic;
use crate::{EvalError, check};

/// Penalty on half the squared coefficients.
const RIDGE: f64 = 1.0;
/// Slots with a coefficient of their own.
const MOST_SLOTS: usize = 64;
/// Rows summed at a time, so that sums do not depend on threads.
const CHUNK: usize = 1 << 14;
const MOST_STEPS: usize = 100;

/// Which link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeModel {
    /// For rewards from 0 to 1.
    Logistic,
    /// For any.
    Linear,
}

/// Rows a model is fitted to.
#[derive(Debug, Clone, Copy)]
pub struct Outcomes<'a> {
    /// `[rows, width]`, row-major, finite.
    pub features: &'a [f64],
    /// Numbers per row.
    pub width: usize,
    /// Slot of each row, from 0.
    pub slots: &'a [u32],
    /// Reward of each row.
    pub rewards: &'a [f64],
}

/// Which fold each cluster belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folds {
    /// Number of folds; 1 fits and forecasts on the same rows.
    pub count: u32,
    /// Which clusters go together.
    pub seed: Seed,
}

impl Folds {
    /// The fold of each of so many clusters: in random order, one after the other.
    pub fn assign(self, clusters: usize) -> Vec<u32> {
        let seed = self.seed.derive("folds");
        let mut order: Vec<(u64, usize)> = (0..clusters)
            .map(|cluster| (seed.index(cluster as u64).0, cluster))
            .collect();
        order.sort_unstable();
        let mut folds = vec![0; clusters];
        for (place, (_, cluster)) in order.into_iter().enumerate() {
            folds[cluster] = place as u32 % self.count;
        }
        folds
    }
}

/// A model per fold, each fitted on the other folds.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossFitted {
    models: Vec<Fitted>,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
struct Fitted {
    link: OutcomeModel,
    base: f64,
    slots: Vec<f64>,
    features: Vec<f64>,
    /// What is subtracted from each feature, and divided by.
    scale: Vec<[f64; 2]>,
}

impl OutcomeModel {
    /// Fits a model for each fold on the rows of all others; `folds_of_rows` has numbers below `count`.
    ///
    /// # Errors
    /// Errors of the columns; [`EvalError::Probability`] for a logistic reward outside 0 to 1;
    /// [`EvalError::NoRows`] where a fold has no others.
    pub fn cross_fit(
        self,
        outcomes: &Outcomes<'_>,
        folds_of_rows: &[u32],
        count: u32,
    ) -> Result<CrossFitted, EvalError> {
        let rows = outcomes.slots.len();
        check::length("rewards", outcomes.rewards.len(), rows)?;
        check::length("features", outcomes.features.len(), rows * outcomes.width)?;
        check::length("folds", folds_of_rows.len(), rows)?;
        check::finite("features", outcomes.features)?;
        match self {
            Self::Logistic => check::probabilities(outcomes.rewards, rows)?,
            Self::Linear => check::finite("rewards", outcomes.rewards)?,
        }
        let models = (0..count).map(|fold| {
            let learned = |row: usize| count == 1 || folds_of_rows[row] != fold;
            let chosen: Vec<u32> = (0..rows)
                .filter(|&r| learned(r))
                .map(|r| r as u32)
                .collect();
            if chosen.is_empty() {
                return Err(EvalError::NoRows);
            }
            Ok(self.fit(outcomes, &chosen))
        });
        Ok(CrossFitted {
            models: models.collect::<Result<_, _>>()?,
        })
    }

    fn fit(self, outcomes: &Outcomes<'_>, rows: &[u32]) -> Fitted {
        let count = rows.len() as f64;
        let width = outcomes.width;
        let of = |row: u32, at: usize| outcomes.features[row as usize * width + at];
        let scale: Vec<[f64; 2]> = (0..width)
            .map(|at| {
                let mean = rows.iter().map(|&row| of(row, at)).sum::<f64>() / count;
                let squares: f64 = rows.iter().map(|&row| (of(row, at) - mean).powi(2)).sum();
                let deviation = (squares / count).sqrt();
                [mean, if deviation > 0.0 { deviation } else { 1.0 }]
            })
            .collect();
        let deepest = rows.iter().map(|&row| outcomes.slots[row as usize]).max();
        let slots = (deepest.unwrap_or(0) as usize + 1).min(MOST_SLOTS);
        let mean = rows
            .iter()
            .map(|&row| outcomes.rewards[row as usize])
            .sum::<f64>()
            / count;
        let base = match self {
            Self::Logistic => {
                // Never certain, so that a sample without rewards has a logarithm.
                let mean = (mean * count + 0.5) / (count + 1.0);
                (mean / (1.0 - mean)).ln()
            }
            Self::Linear => mean,
        };
        let design = Design {
            link: self,
            base,
            slots,
            width,
            row: &|row, features| {
                let row = rows[row];
                for (at, [middle, unit]) in scale.iter().enumerate() {
                    features[at] = (of(row, at) - middle) / unit;
                }
                (
                    outcomes.slots[row as usize] as usize,
                    outcomes.rewards[row as usize],
                )
            },
            rows: rows.len(),
        };
        let coefficients = design.solve();
        Fitted {
            link: self,
            base,
            slots: coefficients[..slots].to_vec(),
            features: coefficients[slots..].to_vec(),
            scale,
        }
    }
}

impl CrossFitted {
    /// What the model of `fold`, which has not seen that fold, expects of a row with these features in
    /// each of the slots, one after the other.
    pub fn forecast(
        &self,
        fold: u32,
        features: &[f64],
        slots: impl IntoIterator<Item = u32>,
        mut each: impl FnMut(f64),
    ) {
        let model = &self.models[fold as usize % self.models.len()];
        let scaled = features.iter().zip(&model.scale);
        let known: f64 = scaled
            .zip(&model.features)
            .map(|((x, [middle, unit]), beta)| beta * (x - middle) / unit)
            .sum();
        for slot in slots {
            let slot = (slot as usize).min(MOST_SLOTS - 1);
            let own = model.slots.get(slot).copied().unwrap_or(0.0);
            each(model.link.mean(model.base + known + own));
        }
    }
}

impl OutcomeModel {
    fn mean(self, z: f64) -> f64 {
        match self {
            Self::Linear => z,
            Self::Logistic => logistic(z),
        }
    }

    fn loss(self, z: f64, reward: f64) -> f64 {
        match self {
            Self::Linear => 0.5 * (z - reward) * (z - reward),
            // log(1 + e^z) − r·z without overflow.
            Self::Logistic => z.max(0.0) + (-z.abs()).exp().ln_1p() - reward * z,
        }
    }
}

/// Rows as the solver sees them: features written into a slice, slot and reward returned.
struct Design<'a> {
    link: OutcomeModel,
    base: f64,
    slots: usize,
    width: usize,
    #[expect(clippy::type_complexity, reason = "one closure, used here alone")]
    row: &'a (dyn Fn(usize, &mut [f64]) -> (usize, f64) + Sync),
    rows: usize,
}

/// Loss, gradient and curvature of some rows.
struct Sums {
    loss: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
}

impl Design<'_> {
    /// Coefficients of slots and features that minimise the loss and half the ridge times their squares:
    /// Newton, halving steps that overshoot.
    fn solve(&self) -> Vec<f64> {
        let size = self.slots + self.width;
        let mut beta = vec![0.0; size];
        let mut now = self.sums(&beta);
        for _ in 0..MOST_STEPS {
            let Some(step) = cholesky_solve(&now.hessian, &now.gradient) else {
                break;
            };
            let decrease: f64 = step.iter().zip(&now.gradient).map(|(s, g)| s * g).sum();
            if decrease <= 1e-14 * (1.0 + now.loss.abs()) {
                break;
            }
            let mut share = 1.0;
            let next = loop {
                let moved = beta.iter().zip(&step).map(|(b, s)| b - share * s);
                let moved: Vec<f64> = moved.collect();
                let sums = self.sums(&moved);
                if sums.loss <= now.loss || share < 1e-6 {
                    break (moved, sums);
                }
                share *= 0.5;
            };
            (beta, now) = next;
        }
        beta
    }

    fn sums(&self, beta: &[f64]) -> Sums {
        let size = beta.len();
        let chunks = self.rows.div_ceil(CHUNK);
        let parts: Vec<Sums> = (0..chunks)
            .into_par_iter()
            .map(|chunk| {
                let mut sums = Sums {
                    loss: 0.0,
                    gradient: vec![0.0; size],
                    hessian: vec![0.0; size * size],
                };
                let mut features = vec![0.0; self.width];
                for row in chunk * CHUNK..((chunk + 1) * CHUNK).min(self.rows) {
                    self.add(row, beta, &mut features, &mut sums);
                }
                sums
            })
            .collect();
        let squares: f64 = beta.iter().map(|b| b * b).sum();
        let mut all = Sums {
            loss: 0.5 * RIDGE * squares,
            gradient: beta.iter().map(|b| RIDGE * b).collect(),
            hessian: vec![0.0; size * size],
        };
        for at in 0..size {
            all.hessian[at * size + at] = RIDGE;
        }
        for part in parts {
            all.loss += part.loss;
            let pairs = all.gradient.iter_mut().zip(part.gradient);
            pairs.for_each(|(sum, value)| *sum += value);
            let pairs = all.hessian.iter_mut().zip(part.hessian);
            pairs.for_each(|(sum, value)| *sum += value);
        }
        all
    }

    fn add(&self, row: usize, beta: &[f64], features: &mut [f64], sums: &mut Sums) {
        let size = beta.len();
        let (slot, reward) = (self.row)(row, features);
        let slot = slot.min(self.slots - 1);
        let of_features = &beta[self.slots..];
        let known: f64 = features.iter().zip(of_features).map(|(x, b)| x * b).sum();
        let z = self.base + beta[slot] + known;
        let mean = self.link.mean(z);
        let curve = match self.link {
            OutcomeModel::Linear => 1.0,
            OutcomeModel::Logistic => mean * (1.0 - mean),
        };
        let gap = mean - reward;
        sums.loss += self.link.loss(z, reward);
        sums.gradient[slot] += gap;
        sums.hessian[slot * size + slot] += curve;
        for (at, x) in features.iter().enumerate() {
            let place = self.slots + at;
            sums.gradient[place] += gap * x;
            // The lower half is all that is read.
            sums.hessian[place * size + slot] += curve * x;
            for (before, y) in features[..=at].iter().enumerate() {
                sums.hessian[place * size + self.slots + before] += curve * x * y;
            }
        }
    }
}

/// Solves `matrix · x = right` for a symmetric positive matrix of which the lower half is read. None
/// where it is not positive.
pub(super) fn cholesky_solve(matrix: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    let mut lower = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let inner: f64 = (0..j)
                .map(|k| lower[i * size + k] * lower[j * size + k])
                .sum();
            let rest = matrix[i * size + j] - inner;
            lower[i * size + j] = if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / lower[j * size + j]
            };
        }
    }
    let mut x = right.to_vec();
    for i in 0..size {
        let inner: f64 = (0..i).map(|k| lower[i * size + k] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * size + i];
    }
    for i in (0..size).rev() {
        let inner: f64 = (i + 1..size).map(|k| lower[k * size + i] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * size + i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    /// Rewards of a market whose law is known come back, also in a slot never seen.
    #[test]
    fn the_model_finds_a_law_of_its_own_kind() {
        let seed = Seed(4);
        let rows = 40_000;
        let unit = |i: usize, what: &str| seed.derive(what).index(i as u64).unit();
        let features: Vec<f64> = (0..rows).map(|i| 4.0 * unit(i, "x") - 2.0).collect();
        let slots: Vec<u32> = (0..rows as u32).map(|i| i % 3).collect();
        let law = |x: f64, slot: u32| {
            let z = -2.0 + 0.8 * x - 0.5 * f64::from(slot);
            1.0 / (1.0 + (-z).exp())
        };
        let rewards: Vec<f64> = (0..rows)
            .map(|i| f64::from(u8::from(unit(i, "y") < law(features[i], slots[i]))))
            .collect();
        let outcomes = Outcomes {
            features: &features,
            width: 1,
            slots: &slots,
            rewards: &rewards,
        };
        let folds = Folds { count: 3, seed };
        let of_rows = folds.assign(rows);
        let model = OutcomeModel::Logistic
            .cross_fit(&outcomes, &of_rows, 3)
            .unwrap();
        for fold in 0..3 {
            for x in [-1.5, 0.0, 1.5] {
                let mut slot = 0;
                model.forecast(fold, &[x], 0..3, |q| {
                    assert!((q - law(x, slot)).abs() < 0.02, "{q} {}", law(x, slot));
                    slot += 1;
                });
                model.forecast(fold, &[x], [50], |q| assert!((0.0..0.6).contains(&q)));
            }
        }
    }

    /// From `tests/data/gold_backtest.py` (`SciPy`).
    #[test]
    fn coefficients_are_those_of_other_solvers() {
        for (name, link) in [
            ("logistic_table", OutcomeModel::Logistic),
            ("ridge_linear", OutcomeModel::Linear),
        ] {
            let case = golden(name);
            let floats =
                |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).unwrap() };
            let slots: Vec<usize> = serde_json::from_value(case["slot"].clone()).unwrap();
            let x: Vec<Vec<f64>> = serde_json::from_value(case["numeric"].clone()).unwrap();
            let (y, weights) = (floats("target"), floats("weight"));
            // Weights are whole numbers: rows as often.
            let rows: Vec<usize> = (0..y.len())
                .flat_map(|row| std::iter::repeat_n(row, weights[row] as usize))
                .collect();
            let design = Design {
                link,
                base: 0.0,
                slots: 4,
                width: 2,
                row: &|at, features| {
                    features.copy_from_slice(&x[rows[at]]);
                    (slots[rows[at]], y[rows[at]])
                },
                rows: rows.len(),
            };
            for (ours, theirs) in design.solve().iter().zip(floats("coefficients")) {
                assert!((ours - theirs).abs() < 1e-8, "{name} {ours} {theirs}");
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_has_no_solution() {
        assert!(cholesky_solve(&[1.0, 0.0, 2.0, 1.0], &[1.0, 1.0]).is_none());
        let x = cholesky_solve(&[4.0, 0.0, 2.0, 3.0], &[8.0, 7.0]).unwrap();
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12);
    }
}
