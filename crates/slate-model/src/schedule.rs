//! The learning rate of each step.

use crate::{Schedule, TrainOptions};

/// Learning rate of `step`, counted from 1, of `total` steps.
///
/// It rises linearly over the warm-up, so that the last warm-up step has the full rate, and then
/// follows the schedule. Steps past `total`, which happen where the data were longer than
/// announced, keep the rate of the last one.
pub(crate) fn learning_rate(options: &TrainOptions, step: u64, total: u64) -> f64 {
    let warmup = options.warmup_steps;
    if step <= warmup {
        return options.learning_rate * step as f64 / warmup as f64;
    }
    match options.schedule {
        Schedule::Constant => options.learning_rate,
        Schedule::Cosine => {
            let span = total.saturating_sub(warmup).max(1);
            let done = (step - 1 - warmup).min(span - 1) as f64 / span as f64;
            options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
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
