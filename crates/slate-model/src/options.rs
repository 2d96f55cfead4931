//! The `[train]` section of a config: what is written there, and what is accepted.
//!
//! [`TrainOptions`] is the file, strict about names; [`TrainOptions::check`] refuses values out of
//! range and gives the [`TrainConfig`] that training takes. Defaults of the optimiser are those
//! of `torch.optim.AdamW`.
//!
//! ```
//! use slate_model::TrainOptions;
//!
//! let options: TrainOptions = toml::from_str(
//!     r#"
//!     epochs = 8
//!     losses = [{ head = "purchase", loss = "softmax" }, { head = "click", loss = "bce" }]
//!     [network]
//!     kind = "transformer"
//!     hidden = 48
//!     heads = 5
//!     "#,
//! )?;
//! let refused = options.check().unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "`train.network.heads` is 5, expected a divisor of `hidden` = 48"
//! );
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::network_config::{NetworkConfig, NetworkOptions};
use crate::{Head, ModelError};

/// `[train]` in a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// The network to train.
    pub network: NetworkOptions,
    /// Losses, added up by their weights.
    pub losses: Vec<LossOptions>,
    /// Most passes over the training lists, at least 1.
    pub epochs: u32,
    /// Lists per optimiser step, at least 1.
    pub batch_lists: usize,
    /// Step size of `AdamW`, above 0.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises linearly to its full size.
    pub warmup_steps: u64,
    /// What the learning rate does after the warm-up.
    pub schedule: Schedule,
    /// Decoupled weight decay of `AdamW`, not negative; applied to every parameter.
    pub weight_decay: f64,
    /// Largest Euclidean norm of all gradients together; 0 switches clipping off.
    pub gradient_clip: f64,
    /// Epochs without a better validation metric after which training stops; 0 never stops early.
    pub patience: u32,
    /// The head whose scores rank a list.
    pub score_head: Head,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            network: NetworkOptions::default(),
            losses: vec![LossOptions {
                head: Head::Purchase,
                loss: LossKind::Softmax,
                label: None,
                weight: 1.0,
            }],
            epochs: 10,
            batch_lists: 64,
            learning_rate: 1e-3,
            warmup_steps: 0,
            schedule: Schedule::Cosine,
            weight_decay: 1e-2,
            gradient_clip: 1.0,
            patience: 3,
            score_head: Head::Purchase,
        }
    }
}

/// One loss of `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossOptions {
    /// The head it trains.
    pub head: Head,
    /// The loss.
    pub loss: LossKind,
    /// The label it reads; left out, the label named like the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Its factor in the sum of losses, above 0.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl LossOptions {
    /// The label this loss reads.
    pub fn label(&self) -> Label {
        self.label.unwrap_or(match self.head {
            Head::Click => Label::Click,
            Head::Purchase => Label::Purchase,
        })
    }
}

/// How scores are compared with labels; the formulas are in [`loss`](crate::loss).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LossKind {
    /// Listwise softmax cross-entropy.
    Softmax,
    /// Binary cross-entropy per slot.
    Bce,
}

impl LossKind {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Bce => "bce",
        }
    }
}

/// What a slot is labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Label {
    /// Clicked: 0 or 1.
    Click,
    /// Purchased: 0 or 1.
    Purchase,
    /// The gain `2^grade − 1` of the grade; for the softmax loss only.
    Grade,
}

impl Label {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Purchase => "purchase",
            Self::Grade => "grade",
        }
    }
}

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls along half a cosine, to 0 after the last step of the last epoch.
    Cosine,
}

/// Checked `[train]` options; only these can be trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TrainConfig {
    options: TrainOptions,
    #[serde(skip)]
    network: NetworkConfig,
}

impl TrainConfig {
    /// The options, defaults filled in.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// The network, every choice made.
    pub fn network(&self) -> &NetworkConfig {
        &self.network
    }

    /// Lists per optimiser step: the size [`Batches`](crate::Batches) should cut.
    pub fn batch_lists(&self) -> usize {
        self.options.batch_lists
    }
}

impl TrainOptions {
    /// Checks ranges and that the options fit each other.
    ///
    /// # Errors
    /// [`ModelError::Option`] with the key, its value and what is allowed.
    pub fn check(self) -> Result<TrainConfig, ModelError> {
        let network = self.network.check()?;
        let from_one = |key: &str, value: u64| {
            if value >= 1 {
                Ok(())
            } else {
                Err(refuse(key, "a number of 1 or more", value))
            }
        };
        from_one("epochs", self.epochs.into())?;
        from_one("batch_lists", self.batch_lists as u64)?;
        positive("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("gradient_clip", self.gradient_clip)?;
        if self.losses.is_empty() {
            return Err(refuse("losses", "at least one loss", "empty"));
        }
        for (place, loss) in self.losses.iter().enumerate() {
            let key = |field: &str| format!("losses[{place}].{field}");
            positive(&key("weight"), loss.weight)?;
            if loss.loss == LossKind::Bce && loss.label() == Label::Grade {
                let allowed = "`click` or `purchase` for a bce loss, whose labels are 0 or 1";
                return Err(refuse(&key("label"), allowed, "`grade`"));
            }
            let same = |other: &LossOptions| {
                (other.head, other.loss, other.label()) == (loss.head, loss.loss, loss.label())
            };
            if self.losses[..place].iter().any(same) {
                let given = format!(
                    "a second {} loss of `{}`",
                    loss.loss.name(),
                    loss.head.name()
                );
                return Err(refuse(&format!("losses[{place}]"), "each loss once", given));
            }
        }
        if self.losses.iter().all(|loss| loss.head != self.score_head) {
            let allowed = "a head that one of `train.losses` trains";
            return Err(refuse(
                "score_head",
                allowed,
                format!("`{}`", self.score_head.name()),
            ));
        }
        Ok(TrainConfig {
            options: self,
            network,
        })
    }
}

pub(crate) fn refuse(key: &str, expected: &str, given: impl fmt::Display) -> ModelError {
    ModelError::Option {
        key: key.to_owned(),
        expected: expected.to_owned(),
        given: given.to_string(),
    }
}

fn positive(key: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(refuse(key, "a finite number above 0", value))
    }
}

fn not_negative(key: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(refuse(key, "a finite number of 0 or more", value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        match toml::from_str::<TrainOptions>(text) {
            Err(error) => error.message().to_owned(),
            Ok(options) => match options.check() {
                Err(error) => error.to_string(),
                Ok(_) => "accepted".to_owned(),
            },
        }
    }

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(message(""), "accepted");
    }

    #[test]
    fn bad_options_are_refused_with_key_value_and_range() {
        let cases = [
            (
                "learning_rate = 0.0",
                "`train.learning_rate` is 0, expected a finite number above 0",
            ),
            (
                "learning_rate = nan",
                "`train.learning_rate` is NaN, expected a finite number above 0",
            ),
            (
                "epochs = 0",
                "`train.epochs` is 0, expected a number of 1 or more",
            ),
            (
                "losses = []",
                "`train.losses` is empty, expected at least one loss",
            ),
            (
                "gradient_clip = -1.0",
                "`train.gradient_clip` is -1, expected a finite number of 0 or more",
            ),
            (
                "score_head = \"click\"",
                "`train.score_head` is `click`, expected a head that one of `train.losses` trains",
            ),
            (
                "losses = [{ head = \"purchase\", loss = \"bce\", label = \"grade\" }]",
                "`train.losses[0].label` is `grade`, expected `click` or `purchase` for a bce \
                 loss, whose labels are 0 or 1",
            ),
            (
                "losses = [{ head = \"purchase\", loss = \"bce\", weight = 0.0 }]",
                "`train.losses[0].weight` is 0, expected a finite number above 0",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(message(text), expected, "for {text}");
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let head = message("losses = [{ head = \"buy\", loss = \"bce\" }]");
        assert_eq!(
            head,
            "unknown variant `buy`, expected `click` or `purchase`"
        );
        let key = message("learning-rate = 0.1");
        assert!(
            key.starts_with("unknown field `learning-rate`, expected one of"),
            "{key}"
        );
    }

    #[test]
    fn a_loss_given_twice_is_refused() {
        let text = "losses = [{ head = \"purchase\", loss = \"bce\" }, { head = \"purchase\", \
                    loss = \"bce\", label = \"purchase\" }]";
        assert_eq!(
            message(text),
            "`train.losses[1]` is a second bce loss of `purchase`, expected each loss once"
        );
    }
}
