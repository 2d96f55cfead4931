//! What training says while it runs: lines for `metrics.jsonl` and progress bars.
//!
//! As JSON an event is one object with `event` = `ahead`, `step`, `epoch` or `stopped`. Seconds and lists
//! per second are wall-clock; everything else is the same for the same seed and data.

use serde::{Deserialize, Serialize};

/// Something that happened in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum TrainEvent {
    /// The lists of an epoch were judged before they are learned.
    Ahead {
        /// Epoch, counted from 1.
        epoch: u32,
        /// What was found.
        #[serde(flatten)]
        found: Ahead,
    },
    /// An optimiser step was made.
    Step {
        /// Epoch, counted from 1.
        epoch: u32,
        /// Step, counted from 1 over all epochs.
        step: u64,
        /// Steps of all epochs, where the number of lists is known; early stopping makes fewer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps_total: Option<u64>,
        /// Loss of the step's batch, before the step.
        loss: f64,
        /// Euclidean norm of all gradients, before clipping.
        gradient_norm: f64,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Lists seen in this epoch.
        lists: usize,
        /// Lists per second of wall-clock time in this epoch.
        lists_per_second: f64,
    },
    /// An epoch and its validation are over.
    Epoch {
        /// Epoch, counted from 1.
        epoch: u32,
        /// Mean loss of the epoch's batches, by lists, each before its step.
        train_loss: f64,
        /// Validation metric, larger is better.
        metric: f64,
        /// Name of the metric.
        name: String,
        /// Whether this is the best epoch so far.
        best: bool,
        /// Learning rate of the epoch's last step.
        learning_rate: f64,
        /// Wall-clock seconds of training and validation.
        seconds: f64,
    },
    /// Training is over.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// What the lists of an epoch come to under the weights from before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// The day, as in `2026-03-01`.
    pub day: String,
    /// Lists of the day.
    pub lists: usize,
    /// Name of the metric.
    pub metric: String,
    /// The metric, larger is better; none where no list of the day has an outcome.
    pub value: Option<f64>,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs ran.
    Epochs,
    /// The metric did not improve for `patience` epochs.
    Patience,
    /// Loss, gradients or weights stopped being finite after the best epoch.
    Diverged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_flat_json_objects() {
        let event = TrainEvent::Epoch {
            epoch: 2,
            train_loss: 1.5,
            metric: 0.25,
            name: "ndcg@10".to_owned(),
            best: true,
            learning_rate: 0.001,
            seconds: 0.5,
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"event":"epoch","epoch":2,"train_loss":1.5,"metric":0.25,"name":"ndcg@10","best":true,"learning_rate":0.001,"seconds":0.5}"#
        );
        assert_eq!(serde_json::from_str::<TrainEvent>(&text).unwrap(), event);
    }
}
