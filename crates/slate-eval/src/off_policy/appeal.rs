//! The position-based model with an appeal that numbers tell, for items that stood in one slot only.
//!
//! `P(click) = θ_slot · σ(b + x·β)` ("regression EM", Wang et al. 2018): rows of equal numbers are alike
//! wherever they stood, so attention and appeal are told apart without an item in two slots. What the
//! numbers do not know of appeal and the logger did, it takes for attention.

use rayon::prelude::*;

use super::outcome::{OutcomeModel, careful_logit, scale_of};
use super::regression::{Design, Seen};
use crate::line::logistic;
use crate::{EvalError, check};

/// Ends where no θ moves by this.
const MOVED: f64 = 1e-9;
/// Rows summed at a time, so that sums do not depend on threads.
const CHUNK: usize = 1 << 14;
/// Newton steps, or halvings, that find a θ.
const MOST_TRIES: usize = 60;

/// Rows that a model is fitted to, one value per row but for `features`.
#[derive(Debug, Clone, Copy)]
pub struct AppealRows<'a> {
    /// `[rows, width]`, row-major, finite: numbers that say how appealing a row is, wherever it stands.
    pub features: &'a [f64],
    /// Slot, from 0.
    pub slots: &'a [u32],
    /// Clicked: 0 or 1.
    pub clicks: &'a [u8],
    /// How often the row counts, from 0 up.
    pub counts: &'a [f64],
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct AppealModel {
    /// θ of each slot, from 0 to 1; 1 for slot 0, above which none goes; NaN for one never shown.
    pub examination: Vec<f64>,
    /// b, and β of each number after it is standardised over the rows that count.
    pub coefficients: Vec<f64>,
    /// Of the clicks.
    pub log_likelihood: f64,
    base: f64,
}

impl AppealModel {
    /// Maximises the likelihood of the clicks, less half the squares of b (from the logit of the click rate)
    /// and β. In turns: β by a Newton step on how likely each row appeals, given its click; each θ by
    /// itself. Ends where no θ moves by 1e-9, or after `steps`. With `start` it goes on from there.
    ///
    /// # Errors
    /// Errors of the columns; [`EvalError::NoRows`] where none counts; [`EvalError::NothingToMeasure`] where
    /// slot 0 has no click.
    pub fn fit(
        rows: &AppealRows<'_>,
        steps: usize,
        start: Option<&Self>,
    ) -> Result<Self, EvalError> {
        let count = rows.slots.len();
        check::labels(rows.clicks, count)?;
        check::weights(Some(rows.counts), count)?;
        check::finite("features", rows.features)?;
        let width = rows.features.len().checked_div(count).unwrap_or(0);
        check::length("features", rows.features.len(), count * width)?;
        let all: f64 = rows.counts.iter().sum();
        if all == 0.0 {
            return Err(EvalError::NoRows);
        }
        let clicked = |slot: Option<u32>| {
            let rows_of = (0..count).filter(|&row| slot.is_none_or(|s| s == rows.slots[row]));
            rows_of
                .map(|row| rows.counts[row] * f64::from(rows.clicks[row]))
                .sum::<f64>()
        };
        if clicked(Some(0)) == 0.0 {
            return Err(EvalError::NothingToMeasure {
                metric: "examination".to_owned(),
                why: "slot 0 has no click",
            });
        }
        let scaled = standardised(rows, width);
        let slots = rows.slots.iter().max().map_or(0, |most| *most as usize + 1);
        let mut model = match start {
            Some(start) => start.clone(),
            None => Self {
                examination: vec![1.0; slots],
                coefficients: vec![0.0; 1 + width],
                log_likelihood: f64::NAN,
                base: careful_logit(clicked(None) / all, all),
            },
        };
        // What a resample did not show it knows nothing of.
        model.examination.resize(slots, 1.0);
        for theta in &mut model.examination {
            *theta = if theta.is_nan() { 1.0 } else { *theta };
        }
        let fitting = Fitting {
            rows,
            scaled: &scaled,
            width,
        };
        for _ in 0..steps {
            let appeal = fitting.appeal(&model);
            model.coefficients = fitting.coefficients(&model, &appeal);
            let appeal = fitting.appeal(&model);
            let next = fitting.examination(&appeal, slots);
            let pairs = next.iter().zip(&model.examination);
            let moved = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            model.examination = next;
            if moved < MOVED {
                break;
            }
        }
        let appeal = fitting.appeal(&model);
        model.log_likelihood = fitting.log_likelihood(&model, &appeal);
        let mut shown = vec![false; slots];
        for (&slot, &count) in rows.slots.iter().zip(rows.counts) {
            shown[slot as usize] |= count > 0.0;
        }
        for (theta, shown) in model.examination.iter_mut().zip(shown) {
            if !shown {
                *theta = f64::NAN;
            }
        }
        Ok(model)
    }
}

/// Where a falling function is 0 between 0 and 1, or the end it does not fall that far from; it is given with
/// its slope. Newton's steps, halved where they leave what is known to hold it.
fn solve_falling(of: impl Fn(f64) -> [f64; 2]) -> f64 {
    if of(1.0)[0] >= 0.0 {
        return 1.0;
    }
    let (mut low, mut high, mut at) = (0.0, 1.0, 0.5);
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

/// Features by their mean and deviation, which resamples share.
fn standardised(rows: &AppealRows<'_>, width: usize) -> Vec<f64> {
    let scale: Vec<[f64; 2]> = (0..width)
        .map(|at| scale_of(rows.features.iter().skip(at).step_by(width).copied()))
        .collect();
    let column = (0..width).cycle();
    let pairs = rows.features.iter().zip(column);
    pairs
        .map(|(x, at)| (x - scale[at][0]) / scale[at][1])
        .collect()
}

struct Fitting<'a> {
    rows: &'a AppealRows<'a>,
    scaled: &'a [f64],
    width: usize,
}

impl Fitting<'_> {
    fn features(&self, row: usize) -> &[f64] {
        &self.scaled[row * self.width..(row + 1) * self.width]
    }

    /// σ of each row.
    fn appeal(&self, model: &AppealModel) -> Vec<f64> {
        let (b, beta) = (model.coefficients[0], &model.coefficients[1..]);
        let of = |row: usize| {
            let known: f64 = self
                .features(row)
                .iter()
                .zip(beta)
                .map(|(x, b)| x * b)
                .sum();
            logistic(model.base + b + known)
        };
        (0..self.rows.slots.len()).into_par_iter().map(of).collect()
    }

    /// One Newton step of a logistic regression on how likely each row appealed.
    fn coefficients(&self, model: &AppealModel, appeal: &[f64]) -> Vec<f64> {
        let design = Design {
            link: OutcomeModel::Logistic,
            base: model.base,
            slots: 1,
            width: self.width,
            row: &|row, features| {
                features.copy_from_slice(self.features(row));
                let theta = model.examination[self.rows.slots[row] as usize];
                let gamma = appeal[row];
                let passed = gamma * (1.0 - theta) / (1.0 - theta * gamma).max(f64::MIN_POSITIVE);
                Seen {
                    slot: 0,
                    reward: if self.rows.clicks[row] > 0 {
                        1.0
                    } else {
                        passed
                    },
                    weight: self.rows.counts[row],
                }
            },
            rows: self.rows.slots.len(),
        };
        design.solve_from(model.coefficients.clone(), 1)
    }

    /// The likeliest θ of each slot: where clicks ÷ θ = Σ γ ÷ (1 − θγ) over what was not clicked.
    fn examination(&self, appeal: &[f64], slots: usize) -> Vec<f64> {
        let mut of_slot: Vec<Vec<u32>> = vec![Vec::new(); slots];
        for (row, &slot) in self.rows.slots.iter().enumerate() {
            of_slot[slot as usize].push(row as u32);
        }
        let theta = |slot: usize| {
            if slot == 0 {
                return 1.0;
            }
            let rows = &of_slot[slot];
            let slope = |theta: f64| {
                let part = |rows: &[u32]| {
                    let mut sums = [0.0; 2];
                    for &row in rows {
                        let (gamma, count) = (appeal[row as usize], self.rows.counts[row as usize]);
                        let term = if self.rows.clicks[row as usize] > 0 {
                            1.0 / theta
                        } else {
                            -gamma / (1.0 - theta * gamma).max(f64::MIN_POSITIVE)
                        };
                        sums[0] += count * term;
                        sums[1] -= count * term * term;
                    }
                    sums
                };
                let parts = rows.chunks(CHUNK).map(part);
                parts.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d])
            };
            solve_falling(slope)
        };
        (0..slots).into_par_iter().map(theta).collect()
    }

    fn log_likelihood(&self, model: &AppealModel, appeal: &[f64]) -> f64 {
        let of = |row: usize| {
            let count = self.rows.counts[row];
            if count == 0.0 {
                return 0.0;
            }
            let p = model.examination[self.rows.slots[row] as usize] * appeal[row];
            count
                * if self.rows.clicks[row] > 0 {
                    p.ln()
                } else {
                    (-p).ln_1p()
                }
        };
        (0..self.rows.slots.len()).map(of).sum()
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
            let (features, counts) = (floats("features"), floats("counts"));
            let rows = AppealRows {
                features: &features,
                slots: &slots,
                clicks: &clicks,
                counts: &counts,
            };
            let model = AppealModel::fit(&rows, 5_000, None).unwrap();
            let theirs = case["log_likelihood"].as_f64().unwrap();
            assert!((model.log_likelihood - theirs).abs() < 1e-5);
            let ours = model.examination.iter().chain(&model.coefficients);
            for (ours, theirs) in ours.zip(floats("theta").iter().chain(&floats("beta"))) {
                assert!((ours - theirs).abs() < 1e-4, "{ours} {theirs}");
            }
            // From another start the same end.
            let mut start = model.clone();
            start.examination.fill(0.1);
            start.coefficients.fill(0.3);
            let again = AppealModel::fit(&rows, 5_000, Some(&start)).unwrap();
            for (a, b) in again.examination.iter().zip(&model.examination) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    /// Every item stands in one slot only, better ones higher, and still attention is found; without the
    /// number that tells appeal it is not.
    #[test]
    fn attention_is_told_from_appeal_that_numbers_know() {
        let rows = 60_000;
        let unit = |row: usize, what: &str| Seed(5).derive(what).index(row as u64).unit();
        let theta = [1.0, 0.6, 0.3];
        let slots: Vec<u32> = (0..rows as u32).map(|row| row % 3).collect();
        let appeal: Vec<f64> = (0..rows)
            .map(|row| 2.0 * unit(row, "x") - 0.6 * f64::from(slots[row]))
            .collect();
        let clicks: Vec<u8> = (0..rows)
            .map(|row| {
                let p = theta[slots[row] as usize] * logistic(-1.5 + appeal[row]);
                u8::from(unit(row, "click") < p)
            })
            .collect();
        let counts = vec![1.0; rows];
        let fit = |features: &[f64]| {
            let rows = AppealRows {
                features,
                slots: &slots,
                clicks: &clicks,
                counts: &counts,
            };
            AppealModel::fit(&rows, 500, None).unwrap()
        };
        let found = fit(&appeal).examination;
        for (found, theta) in found.iter().zip(theta) {
            assert!((found - theta).abs() < 0.04, "{found} {theta}");
        }
        let blind = fit(&[]).examination;
        assert!(blind[2] < 0.2, "{blind:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let rows = AppealRows {
            features: &[],
            slots: &[0, 1],
            clicks: &[0, 1],
            counts: &[1.0, 1.0],
        };
        let refused = |rows: &AppealRows<'_>| AppealModel::fit(rows, 10, None).unwrap_err();
        assert!(matches!(refused(&rows), EvalError::NothingToMeasure { .. }));
        let none = AppealRows {
            counts: &[0.0, 0.0],
            ..rows
        };
        assert_eq!(refused(&none), EvalError::NoRows);
        // A slot that no row with a weight stands in is unknown.
        let some = AppealRows {
            clicks: &[1, 1],
            counts: &[1.0, 0.0],
            ..rows
        };
        let model = AppealModel::fit(&some, 10, None).unwrap();
        assert!(model.examination[1].is_nan() && model.coefficients[0].is_finite());
    }
}
