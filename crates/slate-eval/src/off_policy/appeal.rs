//! The position-based model with an appeal that numbers tell, for items that stood in one slot only.
//!
//! `P(click) = θ_slot · σ(b + x·β)` ("regression EM", Wang et al. 2018): rows of equal numbers are alike
//! wherever they stood, so attention and appeal are told apart without an item in two slots. What the
//! numbers do not know of appeal and the logger did, it takes for attention.

use super::outcome::{OutcomeModel, careful_logit, scale_of};
use super::regression::{Design, Seen};
use crate::line::logistic;
use crate::{EvalError, check};

/// Ends where no θ and no coefficient moves by this.
const MOVED: f64 = 1e-9;
/// Newton steps, or halvings, that find a θ.
const MOST_TRIES: usize = 60;

/// Rows of the first slots, made ready to be fitted to, as often as resamples ask.
pub(super) struct AppealRows {
    /// Which of the rows given these are.
    pub(super) rows: Vec<u32>,
    slots: Vec<u32>,
    clicks: Vec<bool>,
    width: usize,
    /// `[rows, width]`, each column by its mean and deviation.
    scaled: Vec<f64>,
    /// Rows of each slot, by their place in `rows`.
    of_slot: Vec<Vec<u32>>,
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
        let mut scaled = Vec::with_capacity(rows.len() * width);
        let mut of_slot = vec![Vec::new(); count];
        for (place, &row) in rows.iter().enumerate() {
            let standard = scale.iter().enumerate();
            scaled.extend(standard.map(|(at, [mean, unit])| (of(row, at) - mean) / unit));
            of_slot[slots[row as usize] as usize].push(place as u32);
        }
        Ok(Self {
            slots: rows.iter().map(|&row| slots[row as usize]).collect(),
            clicks: rows.iter().map(|&row| clicks[row as usize] > 0).collect(),
            rows,
            width,
            scaled,
            of_slot,
        })
    }

    /// Maximises the likelihood of the clicks where each row counts so often, less half the squares of b
    /// (from the logit of the click rate) and β. In turns: β by a Newton step on how likely each row appeals,
    /// given its click; each θ by itself. Ends where nothing moves by 1e-9, or after `steps`; with `start`
    /// it goes on from there, which has to be of these rows.
    ///
    /// # Errors
    /// [`EvalError::NoRows`] where none counts; [`EvalError::NothingToMeasure`] where slot 0 has no click.
    pub(super) fn fit(
        &self,
        counts: &[f64],
        steps: usize,
        start: Option<&AppealModel>,
    ) -> Result<AppealModel, EvalError> {
        let all: f64 = counts.iter().sum();
        if all == 0.0 {
            return Err(EvalError::NoRows);
        }
        let clicked = |rows: &mut dyn Iterator<Item = usize>| {
            rows.filter(|&row| self.clicks[row])
                .map(|row| counts[row])
                .sum::<f64>()
        };
        let mut first = self.of_slot[0].iter().map(|&row| row as usize);
        if clicked(&mut first) == 0.0 {
            return Err(EvalError::NothingToMeasure {
                metric: "examination".to_owned(),
                why: "slot 0 has no click",
            });
        }
        let slots = self.of_slot.len();
        let mut model = start.cloned().unwrap_or_else(|| AppealModel {
            examination: vec![1.0; slots],
            coefficients: vec![0.0; 1 + self.width],
            most: 0,
            base: careful_logit(clicked(&mut (0..self.rows.len())) / all, all),
        });
        // What a resample did not show it knows nothing of.
        for theta in &mut model.examination {
            *theta = if theta.is_nan() { 1.0 } else { *theta };
        }
        for _ in 0..slots {
            self.climb(&mut model, counts, steps);
            // A slot that would be looked at more often than the one that is by definition looked at always
            // takes its place.
            let appeal = self.appeal(&model);
            let steepness = |slot: usize| self.slope(slot, 1.0, &appeal, counts)[0];
            let others = (0..slots).filter(|&slot| slot != model.most);
            let pegged = others
                .map(|slot| (steepness(slot), slot))
                .filter(|(steep, _)| *steep > 1e-6)
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let Some((_, slot)) = pegged else { break };
            model.most = slot;
        }
        for (theta, rows) in model.examination.iter_mut().zip(&self.of_slot) {
            if rows.iter().all(|&row| counts[row as usize] == 0.0) {
                *theta = f64::NAN;
            }
        }
        Ok(model)
    }

    fn climb(&self, model: &mut AppealModel, counts: &[f64], steps: usize) {
        model.examination[model.most] = 1.0;
        let mut appeal = self.appeal(model);
        for _ in 0..steps {
            let coefficients = self.coefficients(model, &appeal, counts);
            let before = std::mem::replace(&mut model.coefficients, coefficients);
            appeal = self.appeal(model);
            let pairs = model.coefficients.iter().zip(&before);
            let mut moved = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            for slot in (0..self.of_slot.len()).filter(|&slot| slot != model.most) {
                let before = model.examination[slot];
                let slope = |theta: f64| self.slope(slot, theta, &appeal, counts);
                let next = solve_falling(slope, before);
                moved = moved.max((next - before).abs());
                model.examination[slot] = next;
            }
            if moved < MOVED {
                break;
            }
        }
    }

    /// σ of each row.
    fn appeal(&self, model: &AppealModel) -> Vec<f64> {
        let (b, beta) = (model.coefficients[0], &model.coefficients[1..]);
        let of = |row: usize| {
            let features = &self.scaled[row * self.width..(row + 1) * self.width];
            let known: f64 = features.iter().zip(beta).map(|(x, b)| x * b).sum();
            logistic(model.base + b + known)
        };
        (0..self.rows.len()).map(of).collect()
    }

    /// One Newton step of a logistic regression on how likely each row appealed.
    fn coefficients(&self, model: &AppealModel, appeal: &[f64], counts: &[f64]) -> Vec<f64> {
        let design = Design {
            link: OutcomeModel::Logistic,
            base: model.base,
            slots: 1,
            width: self.width,
            row: &|row, features| {
                features.copy_from_slice(&self.scaled[row * self.width..(row + 1) * self.width]);
                let theta = model.examination[self.slots[row] as usize];
                let gamma = appeal[row];
                let passed = gamma * (1.0 - theta) / (1.0 - theta * gamma).max(f64::MIN_POSITIVE);
                Seen {
                    slot: 0,
                    reward: if self.clicks[row] { 1.0 } else { passed },
                    weight: counts[row],
                }
            },
            rows: self.rows.len(),
        };
        design.solve_from(model.coefficients.clone(), 1)
    }

    /// Slope of the likelihood in θ of a slot, clicks ÷ θ − Σ γ ÷ (1 − θγ) over what was not clicked, and
    /// that of the slope.
    fn slope(&self, slot: usize, theta: f64, appeal: &[f64], counts: &[f64]) -> [f64; 2] {
        let mut sums = [0.0; 2];
        for &row in &self.of_slot[slot] {
            let (gamma, count) = (appeal[row as usize], counts[row as usize]);
            let term = if self.clicks[row as usize] {
                1.0 / theta
            } else {
                -gamma / (1.0 - theta * gamma).max(f64::MIN_POSITIVE)
            };
            sums[0] += count * term;
            sums[1] -= count * term * term;
        }
        sums
    }
}

/// Where a falling function is 0 between 0 and 1, or the end it does not fall that far from; it is given with
/// its slope. Newton's steps, halved where they leave what is known to hold it.
fn solve_falling(of: impl Fn(f64) -> [f64; 2], start: f64) -> f64 {
    if of(1.0)[0] >= 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    let mut at = if 0.0 < start && start < 1.0 {
        start
    } else {
        0.5
    };
    for _ in 0..MOST_TRIES {
        let [value, slope] = of(at);
        if value > 0.0 {
            low = at;
        } else {
            high = at;
        }
        let next = at - value / slope;
        let next = if low < next && next < high {
            next
        } else {
            f64::midpoint(low, high)
        };
        let moved = (next - at).abs();
        at = next;
        if moved < 1e-13 {
            break;
        }
    }
    at
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
            // As many steps as curves are given.
            let model = rows.fit(&floats("counts"), 500, None).unwrap();
            let theirs = floats("theta").into_iter().chain(floats("beta"));
            let ours = model.curve().into_iter().chain(model.coefficients.clone());
            for (ours, theirs) in ours.zip(theirs) {
                assert!((ours - theirs).abs() < 1e-4, "{ours} {theirs}");
            }
            // From another start the same end.
            let mut start = model.clone();
            start.examination.fill(0.1);
            start.coefficients.fill(0.3);
            let again = rows.fit(&floats("counts"), 500, Some(&start)).unwrap();
            for (a, b) in again.curve().iter().zip(model.curve()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
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
                rows.fit(&counts, 500, None).unwrap().curve()
            };
            let found = fit(&appeal);
            for (found, truth) in found.iter().zip(theta.map(|t| t / theta[0])) {
                assert!((found / truth - 1.0).abs() < 0.12, "{found} {truth}");
            }
            let blind = fit(&[]);
            assert!(blind[2] < 0.7 * theta[2] / theta[0], "{blind:?}");
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let rows = |clicks: &[u8]| AppealRows::new(&[], &[0, 1], clicks, 2).unwrap();
        let refused =
            |clicks: &[u8], counts: &[f64]| rows(clicks).fit(counts, 10, None).unwrap_err();
        let why = refused(&[0, 1], &[1.0, 1.0]);
        assert!(matches!(why, EvalError::NothingToMeasure { .. }));
        assert_eq!(refused(&[1, 1], &[0.0, 0.0]), EvalError::NoRows);
        // A slot that no row with a weight stands in is unknown.
        let model = rows(&[1, 1]).fit(&[1.0, 0.0], 10, None).unwrap();
        assert!(model.curve()[1].is_nan() && model.coefficients[0].is_finite());
        // However deep a slot is, only the first ones take room.
        let deep = AppealRows::new(&[], &[0, u32::MAX], &[1, 0], 2).unwrap();
        assert_eq!(deep.rows, [0]);
        assert!(AppealRows::new(&[f64::NAN, 0.0], &[0, 1], &[1, 0], 2).is_err());
        assert!(AppealRows::new(&[0.0; 3], &[0, 1], &[1, 0], 2).is_err());
    }
}
