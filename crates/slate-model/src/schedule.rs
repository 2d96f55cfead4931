//! The learning rate of each step.

use serde::{Deserialize, Serialize};

use crate::{Schedule, TrainOptions};

/// Learning rate of `step`, counted from 1, of `total` steps.
///
/// It rises linearly over the warm-up, so that the last warm-up step has the full rate, and then
/// follows the schedule. Steps past `total`, which happen where the data were longer than
/// announced, keep the rate of the last one.
pub(crate) fn learning_rate(options: &TrainOptions, step: u64, total: u64) -> f64 {
    let full = options.learning_rate;
    let warmup = options.warmup_steps;
    if step <= warmup {
        return full * step as f64 / warmup as f64;
    }
    match options.schedule {
        Schedule::Constant | Schedule::Plateau => full,
        Schedule::Cosine => {
            let span = total.saturating_sub(warmup).max(1);
            let done = (step - 1 - warmup).min(span - 1) as f64 / span as f64;
            full * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
        }
        Schedule::OneCycle => {
            let last = total.saturating_sub(1).max(1) as f64;
            let peak = (RISE * total as f64 - 1.0).max(0.0);
            let at = ((step - 1) as f64).min(last);
            if at <= peak {
                half_cosine(full / START, full, at / peak.max(1.0))
            } else {
                let fall = (at - peak) / (last - peak).max(1.0);
                half_cosine(full, full / START / END, fall)
            }
        }
    }
}

/// Share of the steps in which one cycle rises.
const RISE: f64 = 0.3;
/// What the full rate is divided by where one cycle starts, and what that by where it ends.
const START: f64 = 25.0;
const END: f64 = 1e4;

/// From `from` to `to` along half a cosine.
fn half_cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// What the validation metric has done to the learning rate of [`Schedule::Plateau`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plateau {
    /// Factor of the learning rate.
    pub(crate) factor: f64,
    /// Epochs since the metric was better, or since the rate fell.
    waited: u32,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 1.0,
            waited: 0,
        }
    }
}

impl Plateau {
    /// After an epoch's validation; other schedules pay no heed.
    pub(crate) fn after_epoch(&mut self, options: &TrainOptions, better: bool) {
        if options.schedule != Schedule::Plateau {
            return;
        }
        self.waited = if better { 0 } else { self.waited + 1 };
        if self.waited >= options.plateau_epochs.unwrap_or(1) {
            self.waited = 0;
            self.factor *= options.plateau_factor.unwrap_or(0.5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, warmup_steps: u64, total: u64) -> Vec<f64> {
        let options = TrainOptions {
            schedule,
            warmup_steps,
            learning_rate: 1.0,
            ..Default::default()
        };
        (1..=total)
            .map(|step| learning_rate(&options, step, total))
            .collect()
    }

    #[test]
    fn rates_rise_and_stay_or_fall() {
        assert_eq!(rates(Schedule::Constant, 2, 4), [0.5, 1.0, 1.0, 1.0]);
        let cosine = rates(Schedule::Cosine, 1, 5);
        assert_eq!(&cosine[..2], [1.0, 1.0]);
        assert!(
            cosine[1..].windows(2).all(|pair| pair[0] > pair[1]),
            "{cosine:?}"
        );
        assert!((cosine[3] - 0.5).abs() < 1e-15, "{cosine:?}");
    }

    /// Numbers of the formula in PyTorch's documentation of `OneCycleLR`, worked out in Python.
    #[test]
    fn one_cycle_rises_and_falls_along_half_cosines() {
        let expected = [
            0.04,
            0.52,
            1.0,
            0.950_484_6,
            0.811_745_3,
            0.611_262_0,
            0.388_742_0,
            0.188_258_3,
            0.049_519_4,
            4e-6,
        ];
        let rates = rates(Schedule::OneCycle, 0, 10);
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn a_plateau_lowers_the_rate_once_in_so_many_epochs() {
        let options = TrainOptions {
            schedule: Schedule::Plateau,
            plateau_epochs: Some(2),
            plateau_factor: Some(0.1),
            ..Default::default()
        };
        let mut plateau = Plateau::default();
        let better = [true, false, false, false, true, false, false];
        let factors: Vec<f64> = better
            .map(|better| {
                plateau.after_epoch(&options, better);
                plateau.factor
            })
            .to_vec();
        let lower = 0.1 * 0.1;
        assert_eq!(factors, [1.0, 1.0, 0.1, 0.1, 0.1, 0.1, lower]);
    }

    #[test]
    fn a_warmup_longer_than_training_is_only_a_ramp() {
        assert_eq!(rates(Schedule::Cosine, 4, 2), [0.25, 0.5]);
        let options = TrainOptions {
            warmup_steps: 3,
            ..Default::default()
        };
        assert!(learning_rate(&options, 9, 2) > 0.0);
    }
}
