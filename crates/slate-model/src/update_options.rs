//! `[train.update]`: how a training goes on from the run before, and what it keeps for the next.
//!
//! `optimizer` and `reservoir` count in every training, because the next one reads what they keep;
//! the other keys count in a training that goes on from a run, and are not looked at in one that
//! begins with nothing.
//!
//! ```
//! use slate_model::TrainOptions;
//!
//! let options: TrainOptions = toml::from_str(
//!     r#"
//!     [update]
//!     epochs = 2
//!     rates = { tables = 1.0, body = 0.1, heads = 0.0 }
//!     distil = 0.5
//!     "#,
//! )?;
//! let config = options.check().expect("all in range");
//! assert_eq!(config.options().epochs, 10);
//! assert_eq!(config.of_update().options().epochs, 2);
//! # Ok::<(), toml::de::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::options::{not_negative, positive, refuse};
use crate::parts::Part;

/// `[train.update]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateOptions {
    /// Most passes over the training lists in an update, at least 1; left out: `train.epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Factor of `train.learning_rate` in an update, above 0.
    pub learning_rate: f64,
    /// Further factors of the learning rate for parts of the network.
    pub rates: UpdateRates,
    /// Weight of a penalty towards the ranker that the update began with, not negative: half the
    /// squared distance of all columns, a mean over slots by their weights.
    pub distil: f64,
    /// The optimiser's state at the beginning of an update.
    pub optimizer: UpdateOptimizer,
    /// Lists of earlier trainings in each epoch, not negative: their number by that of new lists.
    pub replay: f64,
    /// Lists kept of all that this training and those before it have seen; 0 keeps none.
    pub reservoir: u64,
    /// Whether epochs are days: each is judged before it is learned, once.
    pub by_day: bool,
    /// What a new id's row of an embedding table begins as.
    pub new_ids: NewIdRule,
    /// Most updates between two trainings from nothing; 0 is no limit.
    pub most: u32,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            epochs: None,
            learning_rate: 1.0,
            rates: UpdateRates::default(),
            distil: 0.0,
            optimizer: UpdateOptimizer::Fresh,
            replay: 0.0,
            reservoir: 0,
            by_day: false,
            new_ids: NewIdRule::Mean,
            most: 0,
        }
    }
}

/// Factors of the learning rate in an update, not negative; 0 freezes a part to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRates {
    /// Of embedding tables.
    pub tables: f64,
    /// Of all that is neither table nor head.
    pub body: f64,
    /// Of the last layer, and of what a slot adds to it under `position = { kind = "tower" }`.
    pub heads: f64,
}

impl Default for UpdateRates {
    fn default() -> Self {
        Self {
            tables: 1.0,
            body: 1.0,
            heads: 1.0,
        }
    }
}

impl UpdateRates {
    pub(crate) fn of(&self, part: Part) -> f64 {
        match part {
            Part::Tables => self.tables,
            Part::Body => self.body,
            Part::Heads => self.heads,
        }
    }
}

/// The optimiser's state at the beginning of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum UpdateOptimizer {
    /// None, as in any training.
    Fresh,
    /// That of the run before, at the end of its training; every training keeps its own for it.
    Kept,
}

/// What a new id's row of an embedding table begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NewIdRule {
    /// The mean of all known rows.
    Mean,
    /// The mean of the rows of the known ids whose items have the nearest vectors.
    Content,
}

impl UpdateOptions {
    /// # Errors
    /// [`ModelError::Option`] for a value out of range, and for keys that exclude each other.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if self.epochs == Some(0) {
            return Err(refuse("update.epochs", "a number of 1 or more", 0));
        }
        positive("update.learning_rate", self.learning_rate)?;
        let UpdateRates {
            tables,
            body,
            heads,
        } = self.rates;
        for (key, rate) in [("tables", tables), ("body", body), ("heads", heads)] {
            not_negative(&format!("update.rates.{key}"), rate)?;
        }
        if tables + body + heads == 0.0 {
            let allowed = "at least one factor above 0: nothing would be trained";
            return Err(refuse("update.rates", allowed, "0 for every part"));
        }
        not_negative("update.distil", self.distil)?;
        not_negative("update.replay", self.replay)?;
        if let Some(epochs) = self.epochs.filter(|_| self.by_day) {
            let allowed = "it left out beside `by_day`, whose epochs are the days of the lists";
            return Err(refuse("update.epochs", allowed, epochs));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::TrainOptions;

    fn message(text: &str) -> String {
        let options = toml::from_str::<TrainOptions>(&format!("[update]\n{text}"));
        match options.map(TrainOptions::check) {
            Err(error) => error.message().to_owned(),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(_)) => "accepted".to_owned(),
        }
    }

    #[test]
    fn bad_options_are_refused_with_key_value_and_range() {
        assert_eq!(message("rates = { heads = 0.0, body = 0.0 }"), "accepted");
        assert_eq!(message("by_day = true\nreplay = 1.5"), "accepted");
        for (text, expected) in [
            (
                "epochs = 0",
                "`train.update.epochs` is 0, expected a number of 1 or more",
            ),
            (
                "learning_rate = 0.0",
                "`train.update.learning_rate` is 0, expected a finite number above 0",
            ),
            (
                "rates = { body = -1.0 }",
                "`train.update.rates.body` is -1, expected a finite number of 0 or more",
            ),
            (
                "rates = { tables = 0.0, body = 0.0, heads = 0.0 }",
                "`train.update.rates` is 0 for every part, expected at least one factor above 0: \
                 nothing would be trained",
            ),
            (
                "distil = nan",
                "`train.update.distil` is NaN, expected a finite number of 0 or more",
            ),
            (
                "replay = -0.5",
                "`train.update.replay` is -0.5, expected a finite number of 0 or more",
            ),
            (
                "by_day = true\nepochs = 2",
                "`train.update.epochs` is 2, expected it left out beside `by_day`, whose epochs are \
                 the days of the lists",
            ),
            (
                "optimizer = \"old\"",
                "unknown variant `old`, expected `fresh` or `kept`",
            ),
        ] {
            assert_eq!(message(text), expected, "for {text}");
        }
        assert!(message("rate = 1.0").starts_with("unknown field `rate`"));
    }
}
