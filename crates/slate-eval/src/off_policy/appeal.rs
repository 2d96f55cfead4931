//! The position-based model with an appeal that numbers tell, for items that stood in one slot only.
//!
//! `P(click) = θ_slot · σ(b + x·β)`, the model of "regression EM" (Wang et al. 2018), here climbed at once
//! instead of in turns: rows of equal numbers are alike wherever they stood, so attention and appeal are
//! told apart without an item in two slots. What the numbers do not know of appeal and the logger did, it
//! takes for attention.

use super::outcome::{careful_logit, scale_of};
use super::regression::{MOST_STEPS, Sums};
use crate::line::logistic;
use crate::{EvalError, check};

/// What the loss must fall by with log θ where θ is 1 for its slot to be looked at more than any other.
const STEEP: f64 = 1e-6;

/// Rows of the first slots, made ready to be fitted to, as often as resamples ask.
pub(super) struct AppealRows {
    /// Which of the rows given these are.
    pub(super) rows: Vec<u32>,
    slots: Vec<u32>,
    clicks: Vec<bool>,
    width: usize,
    /// `[rows, width]`, each column by its mean and deviation.
    scaled: Vec<f64>,
    /// Slots.
    count: usize,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AppealModel {
    /// θ of each slot, from 0 to 1; 1 for the slot that is looked at most.
    examination: Vec<f64>,
    /// b, from the logit of the click rate, and β of each number after it is standardised.
    coefficients: Vec<f64>,
    /// The slot that is looked at most.
    most: usize,
    base: f64,
}

/// Where a climb ended.
struct Climbed {
    model: AppealModel,
    loss: f64,
    /// What the loss rises by with each log θ.
    slopes: Vec<f64>,
    /// Whether nothing was left to gain.
    settled: bool,
}

impl AppealModel {
    /// θ of each slot beside slot 0's; NaN for one without rows.
    pub(super) fn curve(&self) -> Vec<f64> {
        let first = self.examination[0];
        self.examination.iter().map(|theta| theta / first).collect()
    }
}

impl AppealRows {
    /// Takes the rows of the first `count` slots; `features` are `[rows, width]`, row-major.
    ///
    /// # Errors
    /// Columns of other lengths, features that are not finite, clicks other than 0 and 1.
    pub(super) fn new(
        features: &[f64],
        slots: &[u32],
        clicks: &[u8],
        count: usize,
    ) -> Result<Self, EvalError> {
        check::labels(clicks, slots.len())?;
        check::finite("features", features)?;
        let width = features.len().checked_div(slots.len()).unwrap_or(0);
        check::length("features", features.len(), slots.len() * width)?;
        let rows: Vec<u32> = (0..slots.len())
            .filter(|&row| (slots[row] as usize) < count)
            .map(|row| row as u32)
            .collect();
        let of = |row: u32, at: usize| features[row as usize * width + at];
        let column = |at| rows.iter().map(move |&row| of(row, at));
        let scale: Vec<[f64; 2]> = (0..width).map(|at| scale_of(column(at))).collect();
        // Numbers so large that their squares are none.
        check::finite("the spread of the features", scale.as_flattened())?;
        let mut scaled = Vec::with_capacity(rows.len() * width);
        for &row in &rows {
            let standard = scale.iter().enumerate();
            scaled.extend(standard.map(|(at, [mean, unit])| (of(row, at) - mean) / unit));
        }
        Ok(Self {
            slots: rows.iter().map(|&row| slots[row as usize]).collect(),
            clicks: rows.iter().map(|&row| clicks[row as usize] > 0).collect(),
            rows,
            width,
            scaled,
            count,
        })
    }

    /// Climbs to a maximum of the likelihood of the clicks where each row counts so often, less half the squares of b
    /// (from the logit of the click rate) and β, over all of them at once: Fisher's scoring on log θ, b and
    /// β, on the side of the bound where θ is 1. With `start`, which has to be of these rows, it goes on from
    /// there.
    ///
    /// # Errors
    /// [`EvalError::NoRows`] where none counts; [`EvalError::NothingToMeasure`] where slot 0 has no click, or
    /// no maximum is reached.
    pub(super) fn fit(
        &self,
        counts: &[f64],
        start: Option<&AppealModel>,
    ) -> Result<AppealModel, EvalError> {
        let all: f64 = counts.iter().sum();
        if all == 0.0 {
            return Err(EvalError::NoRows);
        }
        let mut shown = vec![0.0; self.count];
        let mut clicks = vec![0.0; self.count];
        for ((&slot, &click), &count) in self.slots.iter().zip(&self.clicks).zip(counts) {
            shown[slot as usize] += count;
            clicks[slot as usize] += if click { count } else { 0.0 };
        }
        if clicks[0] == 0.0 {
            return Err(EvalError::NothingToMeasure {
                metric: "examination".to_owned(),
                why: "slot 0 has no click",
            });
        }
        let mut model = start.cloned().unwrap_or_else(|| AppealModel {
            examination: vec![1.0; self.count],
            coefficients: vec![0.0; 1 + self.width],
            most: 0,
            base: careful_logit(clicks.iter().sum::<f64>() / all, all),
        });
        for (slot, theta) in model.examination.iter_mut().enumerate() {
            // Nobody clicked there: the likeliest is that nobody looks, whatever the rest.
            if clicks[slot] == 0.0 {
                *theta = 0.0;
            }
        }
        if clicks[model.most] == 0.0 {
            model.most = 0;
        }
        let mut best = self.settle(model, counts);
        // The slot that is looked at most would rather not be it, and no other is as far: another may be
        // likelier by far, from where this one stands.
        if best.slopes[best.model.most] > STEEP {
            let from = best.model.clone();
            let others = (0..self.count).filter(|&slot| slot != from.most);
            for most in others.filter(|&slot| from.examination[slot] > 0.0) {
                let all = from.examination[most];
                let scaled = from.examination.iter().map(|theta| (theta / all).min(1.0));
                let start = AppealModel {
                    examination: scaled.collect(),
                    most,
                    ..from.clone()
                };
                let found = self.settle(start, counts);
                if found.loss < best.loss {
                    best = found;
                }
            }
        }
        if !best.settled {
            return Err(EvalError::NothingToMeasure {
                metric: "examination".to_owned(),
                why: "the model of appeal does not settle on these numbers",
            });
        }
        let mut model = best.model;
        for (theta, shown) in model.examination.iter_mut().zip(&shown) {
            if *shown == 0.0 {
                *theta = f64::NAN;
            }
        }
        Ok(model)
    }

    /// Climbs, and again where a slot would be looked at more often than the one that is by definition looked
    /// at always: it takes its place.
    fn settle(&self, model: AppealModel, counts: &[f64]) -> Climbed {
        let mut found = self.climb(model, counts);
        for _ in 0..self.count {
            let bound = (0..self.count)
                .filter(|&slot| slot != found.model.most && found.model.examination[slot] == 1.0);
            let steepest = bound
                .map(|slot| (found.slopes[slot], slot))
                .filter(|(slope, _)| *slope < -STEEP)
                .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let Some((_, slot)) = steepest else { break };
            found.model.most = slot;
            found = self.climb(found.model, counts);
        }
        found
    }

    /// To where no step is worth taking.
    fn climb(&self, mut model: AppealModel, counts: &[f64]) -> Climbed {
        model.examination[model.most] = 1.0;
        let logarithms = model.examination.iter().map(|theta| theta.ln());
        let mut at: Vec<f64> = logarithms
            .chain(model.coefficients.iter().copied())
            .collect();
        let mut now = self.sums(&at, model.base, counts);
        let mut settled = false;
        for _ in 0..MOST_STEPS {
            let held = |place: usize| {
                place < self.count
                    && (place == model.most
                        || at[place] == f64::NEG_INFINITY
                        || (at[place] == 0.0 && now.gradient[place] <= 0.0))
            };
            let moving: Vec<usize> = (0..at.len()).filter(|&place| !held(place)).collect();
            let Some(step) = now.step(&moving) else { break };
            let pulls = moving.iter().zip(&step);
            let decrease: f64 = pulls.map(|(&place, s)| s * now.gradient[place]).sum();
            let nothing = |share: f64| decrease <= share * (1.0 + now.loss.abs());
            if nothing(1e-15) {
                settled = true;
                break;
            }
            let mut share = 1.0;
            let next = loop {
                let mut moved = at.clone();
                for (&place, step) in moving.iter().zip(&step) {
                    let to = at[place] - share * step;
                    moved[place] = if place < self.count { to.min(0.0) } else { to };
                }
                let sums = self.sums(&moved, model.base, counts);
                if sums.loss <= now.loss {
                    break Some((moved, sums));
                }
                share *= 0.5;
                if share < 1e-6 {
                    break None;
                }
            };
            let Some(next) = next else {
                // What is left to gain is less than the loss is rounded by.
                settled = nothing(1e-11);
                break;
            };
            (at, now) = next;
        }
        let thetas = at.iter().map(|u| u.exp());
        model.examination = thetas.take(self.count).collect();
        model.coefficients = at.split_off(self.count);
        Climbed {
            model,
            loss: now.loss,
            slopes: now.gradient,
            settled,
        }
    }

    /// Of log θ of each slot, then b and β: the loss, its gradient, and Fisher's information.
    fn sums(&self, at: &[f64], base: f64, counts: &[f64]) -> Sums {
        let theta: Vec<f64> = at[..self.count].iter().map(|u| u.exp()).collect();
        let (b, beta) = (at[self.count], &at[self.count + 1..]);
        let size = at.len();
        Sums::over(self.rows.len(), at, self.count, |rows, sums| {
            for row in rows {
                let (slot, count) = (self.slots[row] as usize, counts[row]);
                let theta = theta[slot];
                if count == 0.0 || theta == 0.0 {
                    continue;
                }
                let features = &self.scaled[row * self.width..(row + 1) * self.width];
                let known: f64 = features.iter().zip(beta).map(|(x, b)| x * b).sum();
                let z = base + b + known;
                // What is left of appeal, and of a click, each without a difference of nearly equal numbers.
                let (gamma, left) = (logistic(z), logistic(-z));
                let unclicked = (1.0 - theta + theta * left).max(f64::MIN_POSITIVE);
                let odds = theta * gamma / unclicked;
                let pull = if self.clicks[row] {
                    let log_gamma = z.min(0.0) - (-z.abs()).exp().ln_1p();
                    sums.loss -= count * (at[slot] + log_gamma);
                    -count
                } else {
                    sums.loss -= count * unclicked.ln();
                    count * odds
                };
                let weight = count * odds;
                sums.gradient[slot] += pull;
                sums.hessian[slot * size + slot] += weight;
                // The first is b's.
                let of = |at: usize| left * if at == 0 { 1.0 } else { features[at - 1] };
                for one in 0..=self.width {
                    let (place, x) = (self.count + one, of(one));
                    sums.gradient[place] += pull * x;
                    sums.hessian[place * size + slot] += weight * x;
                    for other in 0..=one {
                        sums.hessian[place * size + self.count + other] += weight * x * of(other);
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use slate_types::Seed;

    /// From `tests/data/gold_appeal.py`: the likelihood maximised at once, by `SciPy`.
    #[test]
    fn the_likeliest_model_is_found() {
        let text = include_str!("../../tests/data/appeal.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let floats =
                |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).unwrap() };
            let slots: Vec<u32> = serde_json::from_value(case["slots"].clone()).unwrap();
            let clicks: Vec<u8> = serde_json::from_value(case["clicks"].clone()).unwrap();
            let count = *slots.iter().max().unwrap() as usize + 1;
            let rows = AppealRows::new(&floats("features"), &slots, &clicks, count).unwrap();
            let model = rows.fit(&floats("counts"), None).unwrap();
            let theirs = floats("theta").into_iter().chain(floats("beta"));
            let ours = model.curve().into_iter().chain(model.coefficients.clone());
            for (ours, theirs) in ours.zip(theirs) {
                assert!((ours - theirs).abs() < 1e-7, "{ours} {theirs}");
            }
            // From another start the same end.
            let mut start = model.clone();
            start.examination.fill(0.1);
            start.coefficients.fill(0.3);
            let again = rows.fit(&floats("counts"), Some(&start)).unwrap();
            for (a, b) in again.curve().iter().zip(model.curve()) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
        }
    }

    /// Every item stands in one slot only, better ones higher, and still attention is found, also where the
    /// first slot is not looked at most; without the number that tells appeal it is not.
    #[test]
    fn attention_is_told_from_appeal_that_numbers_know() {
        let rows = 60_000;
        let unit = |row: usize, what: &str| Seed(5).derive(what).index(row as u64).unit();
        let slots: Vec<u32> = (0..rows as u32).map(|row| row % 3).collect();
        let appeal: Vec<f64> = (0..rows)
            .map(|row| 2.0 * unit(row, "x") - 0.6 * f64::from(slots[row]))
            .collect();
        let counts = vec![1.0; rows];
        for theta in [[1.0, 0.6, 0.3], [0.4, 0.8, 0.6]] {
            let clicks: Vec<u8> = (0..rows)
                .map(|row| {
                    let p = theta[slots[row] as usize] * logistic(-1.5 + appeal[row]);
                    u8::from(unit(row, "click") < p)
                })
                .collect();
            let fit = |features: &[f64]| {
                let rows = AppealRows::new(features, &slots, &clicks, 3).unwrap();
                rows.fit(&counts, None).unwrap().curve()
            };
            let found = fit(&appeal);
            for (found, truth) in found.iter().zip(theta.map(|t| t / theta[0])) {
                assert!((found / truth - 1.0).abs() < 0.12, "{found} {truth}");
            }
            let blind = fit(&[]);
            assert!(blind[2] < 0.7 * theta[2] / theta[0], "{blind:?}");
        }
    }

    /// Whichever slot is taken for the one that is looked at most, none ends likelier: few rows, and slots that
    /// are looked at nearly alike.
    #[test]
    fn no_other_slot_on_top_is_likelier() {
        let mut moved = 0;
        for seed in 0..60 {
            let unit = |row: usize, what: &str| Seed(seed).derive(what).index(row as u64).unit();
            let slots: Vec<u32> = (0..400).map(|row| row % 4).collect();
            let x: Vec<f64> = (0..400)
                .map(|row| 2.0 * unit(row, "x") - 0.5 * f64::from(slots[row]))
                .collect();
            let clicks: Vec<u8> = (0..400)
                .map(|row| {
                    let theta = [0.9, 0.8, 1.0, 0.9][slots[row] as usize];
                    u8::from(unit(row, "click") < theta * logistic(x[row] - 0.5))
                })
                .collect();
            let rows = AppealRows::new(&x, &slots, &clicks, 4).unwrap();
            let counts = vec![1.0; 400];
            let model = rows.fit(&counts, None).unwrap();
            moved += usize::from(model.most != 0);
            let loss = |model: &AppealModel| {
                let thetas = model.examination.iter().map(|theta| theta.ln());
                let at: Vec<f64> = thetas.chain(model.coefficients.iter().copied()).collect();
                rows.sums(&at, model.base, &counts).loss
            };
            for most in 0..4 {
                let start = AppealModel {
                    examination: vec![1.0; 4],
                    coefficients: vec![0.0; 2],
                    most,
                    base: model.base,
                };
                let other = rows.climb(start, &counts);
                assert!(other.settled);
                assert!(
                    loss(&model) <= other.loss + 1e-6,
                    "seed {seed}, slot {most}"
                );
            }
        }
        assert!(moved > 10, "{moved}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let rows = |clicks: &[u8]| AppealRows::new(&[], &[0, 1], clicks, 2).unwrap();
        let refused = |clicks: &[u8], counts: &[f64]| rows(clicks).fit(counts, None).unwrap_err();
        let why = refused(&[0, 1], &[1.0, 1.0]);
        assert!(matches!(why, EvalError::NothingToMeasure { .. }));
        assert_eq!(refused(&[1, 1], &[0.0, 0.0]), EvalError::NoRows);
        // A slot that no row with a weight stands in is unknown.
        let model = rows(&[1, 1]).fit(&[1.0, 0.0], None).unwrap();
        assert!(model.curve()[1].is_nan() && model.coefficients[0].is_finite());
        // However deep a slot is, only the first ones take room.
        let deep = AppealRows::new(&[], &[0, u32::MAX], &[1, 0], 2).unwrap();
        assert_eq!(deep.rows, [0]);
        assert!(AppealRows::new(&[f64::NAN, 0.0], &[0, 1], &[1, 0], 2).is_err());
        assert!(AppealRows::new(&[1.7e308, 1.6e308], &[0, 1], &[1, 0], 2).is_err());
        assert!(AppealRows::new(&[0.0; 3], &[0, 1], &[1, 0], 2).is_err());
    }
}
