//! A small model of what a placement earns, so that weights have less to explain.
//!
//! `mean reward = link(base + slot + features·β)`: logistic for outcomes from 0 to 1, linear for any
//! other. The base is that of the mean reward, slots and features are drawn towards it by a ridge, so a
//! slot never seen counts as an average one. Fitted on other folds than it forecasts: a model that saw
//! the reward it is subtracted from hides variance.

use slate_types::Seed;

use super::regression::{Design, Seen};
use crate::{EvalError, check};

/// Slots with a coefficient of their own.
const MOST_SLOTS: usize = 64;

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
        let column = |at| rows.iter().map(move |&row| of(row, at));
        let scale: Vec<[f64; 2]> = (0..width).map(|at| scale_of(column(at))).collect();
        let deepest = rows.iter().map(|&row| outcomes.slots[row as usize]).max();
        let slots = (deepest.unwrap_or(0) as usize + 1).min(MOST_SLOTS);
        let mean = rows
            .iter()
            .map(|&row| outcomes.rewards[row as usize])
            .sum::<f64>()
            / count;
        let base = match self {
            Self::Logistic => careful_logit(mean, count),
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
                Seen {
                    slot: outcomes.slots[row as usize] as usize,
                    reward: outcomes.rewards[row as usize],
                    weight: 1.0,
                }
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

/// What a column is standardised by: its mean and deviation, or 1 where it does not vary.
pub(super) fn scale_of(column: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let count = column.clone().count() as f64;
    let mean = column.clone().sum::<f64>() / count;
    let squares: f64 = column.map(|x| (x - mean).powi(2)).sum();
    let deviation = (squares / count).sqrt();
    // A constant column misses its own mean by a rounding.
    let varies = deviation > 1e-12 * mean.abs();
    [mean, if varies { deviation } else { 1.0 }]
}

/// The logit of a rate among so many, never certain, so that none at all has one too.
pub(super) fn careful_logit(mean: f64, count: f64) -> f64 {
    let mean = (mean * count + 0.5) / (count + 1.0);
    (mean / (1.0 - mean)).ln()
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

#[cfg(test)]
mod tests {
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
}
