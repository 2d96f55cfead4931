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

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::loss_options::{Loss, LossKind, LossOptions};
use crate::network_config::{NetworkConfig, NetworkOptions};
use crate::optimizer::OptimizerKind;
use crate::outputs::Outputs;
use crate::pair::{InBatch, InBatchOptions};
use crate::precision::Precision;
use crate::update_options::{UpdateOptimizer, UpdateOptions};
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
    /// The optimiser.
    pub optimizer: OptimizerKind,
    /// Share of the last step that `sgd` goes on with, in `[0, 1)`; left out: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Step size, above 0.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises linearly to its full size.
    pub warmup_steps: u64,
    /// What the learning rate does after the warm-up.
    pub schedule: Schedule,
    /// Epochs without a better validation metric after which `plateau` lowers the learning rate,
    /// at least 1; left out: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_epochs: Option<u32>,
    /// What `plateau` multiplies the learning rate by, between 0 and 1; left out: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_factor: Option<f64>,
    /// Weight decay, not negative, of every parameter: decoupled for `adamw` and `lion`, part of
    /// the gradient for `sgd` and `adagrad`.
    pub weight_decay: f64,
    /// Batches whose gradients are averaged for one optimiser step, at least 1.
    pub accumulate: u32,
    /// Decay of a running mean of the weights, in `[0, 1)`; 0 keeps none. Where there is one it is
    /// validated and saved in place of the weights.
    pub ema: f64,
    /// Factors of a slot's weight by its grade, above 0; 1 for grades left out: `{ 0 = 0.5 }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grade_weights: BTreeMap<String, f64>,
    /// Whether the purchase head is click × purchase given click, over all placements shown.
    pub entire_space: bool,
    /// Largest Euclidean norm of all gradients together; 0 switches clipping off.
    pub gradient_clip: f64,
    /// Epochs without a better validation metric after which training stops; 0 never stops early.
    pub patience: u32,
    /// The head whose scores rank a list.
    pub score_head: Head,
    /// What is done about slots that are clicked for where they stand.
    pub position: PositionOptions,
    /// A loss over the other items of a batch, for `kind = "similar"` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_batch: Option<InBatchOptions>,
    /// Chance, in `[0, 1)`, that a categorical id is read as the unknown one in training, the same for all
    /// slots of a list that show it.
    #[serde(skip_serializing_if = "is_zero")]
    pub mask_ids: f64,
    /// How exactly a step multiplies: `mixed` on cards that have 16-bit products.
    #[serde(skip_serializing_if = "Precision::is_full")]
    pub precision: Precision,
    /// How an update is trained, and what is kept for the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateOptions>,
}

/// Left out of files where it says nothing, as in those from before there was such a key.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            network: NetworkOptions::default(),
            losses: vec![LossOptions::new(Head::Purchase, LossKind::Softmax)],
            epochs: 10,
            batch_lists: 64,
            optimizer: OptimizerKind::AdamW,
            momentum: None,
            learning_rate: 1e-3,
            warmup_steps: 0,
            schedule: Schedule::Cosine,
            plateau_epochs: None,
            plateau_factor: None,
            weight_decay: 1e-2,
            accumulate: 1,
            ema: 0.0,
            grade_weights: BTreeMap::new(),
            entire_space: false,
            gradient_clip: 1.0,
            patience: 3,
            score_head: Head::Purchase,
            position: PositionOptions::default(),
            in_batch: None,
            mask_ids: 0.0,
            precision: Precision::Full,
            update: None,
        }
    }
}

/// `[train.position]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionOptions {
    /// The remedy.
    pub kind: PositionKind,
    /// Slots that `tower` tells apart, 1 to 4096; those behind are one. Left out: 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<usize>,
    /// Exponent of `inverse`, above 0. Left out: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// Largest weight of `inverse`, at least 1. Left out: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
}

impl Default for PositionOptions {
    fn default() -> Self {
        Self {
            kind: PositionKind::Off,
            slots: None,
            power: None,
            most: None,
        }
    }
}

/// What is done about position bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PositionKind {
    /// Nothing.
    Off,
    /// Each slot adds a learned number to the scores in training, and nothing in scoring.
    Tower,
    /// A slot with an outcome weighs `min((slot + 1)^power, most)`: the inverse of the chance that
    /// it was looked at.
    Inverse,
}

impl PositionOptions {
    /// Slots of the tower, 0 without one.
    fn check(&self) -> Result<usize, ModelError> {
        let of = |kind| self.kind == kind;
        let set = [
            ("slots", self.slots.is_some(), of(PositionKind::Tower)),
            ("power", self.power.is_some(), of(PositionKind::Inverse)),
            ("most", self.most.is_some(), of(PositionKind::Inverse)),
        ];
        if let Some((key, ..)) = set.iter().find(|(_, set, read)| *set && !read) {
            let allowed = "it left out: this `kind` does not read it";
            return Err(refuse(&format!("position.{key}"), allowed, "set"));
        }
        positive("position.power", self.power.unwrap_or(1.0))?;
        let most = self.most.unwrap_or(10.0);
        if !(most.is_finite() && most >= 1.0) {
            return Err(refuse(
                "position.most",
                "a finite number of 1 or more",
                most,
            ));
        }
        let slots = self.slots.unwrap_or(64);
        if !(1..=4096).contains(&slots) {
            return Err(refuse("position.slots", "a number from 1 to 4096", slots));
        }
        Ok(if of(PositionKind::Tower) { slots } else { 0 })
    }

    /// The factor of the weight of a slot with an outcome.
    pub(crate) fn factor(&self, slot: u32) -> f64 {
        if self.kind != PositionKind::Inverse {
            return 1.0;
        }
        let inverse = (f64::from(slot) + 1.0).powf(self.power.unwrap_or(1.0));
        inverse.min(self.most.unwrap_or(10.0))
    }
}

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls along half a cosine, to 0 after the last step of the last epoch.
    Cosine,
    /// Rises from a 25th along half a cosine over the first 30 % of all steps, then falls along
    /// another to a 250,000th (Smith 2018, numbers of `torch.optim.lr_scheduler.OneCycleLR`).
    OneCycle,
    /// Stays until the validation metric stops rising, then falls by a factor.
    Plateau,
}

/// Checked `[train]` options; only these can be trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TrainConfig {
    options: TrainOptions,
    #[serde(skip)]
    network: NetworkConfig,
    #[serde(skip)]
    losses: Vec<Loss>,
    #[serde(skip)]
    in_batch: Option<InBatch>,
    #[serde(skip)]
    outputs: Outputs,
    #[serde(skip)]
    grade_weights: BTreeMap<u8, f64>,
    /// Whether it is that of an update.
    #[serde(skip)]
    updates: bool,
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

    /// The configuration of an update by these options: with the epochs and the learning rate that
    /// `[train.update]` says. Of an update's it is the same.
    #[must_use]
    pub fn of_update(&self) -> Self {
        let mut config = self.clone();
        if let Some(update) = self.options.update.as_ref().filter(|_| !self.updates) {
            config.options.epochs = update.epochs.unwrap_or(self.options.epochs);
            config.options.learning_rate *= update.learning_rate;
        }
        config.updates = true;
        config
    }

    /// The same with so many epochs, of which none ends training early.
    pub(crate) fn with_epochs(mut self, epochs: u32) -> Self {
        self.options.epochs = epochs;
        self.options.patience = 0;
        self
    }

    /// What `[train.update]` says, in an update.
    pub fn update(&self) -> Option<&UpdateOptions> {
        self.options.update.as_ref().filter(|_| self.updates)
    }

    /// Whether the optimiser's state is kept for the next update.
    pub(crate) fn keeps_optimizer(&self) -> bool {
        let update = self.options.update.as_ref();
        update.is_some_and(|update| update.optimizer == UpdateOptimizer::Kept)
    }

    /// Lists per batch: the size [`Batches`](crate::Batches) should cut.
    pub fn batch_lists(&self) -> usize {
        self.options.batch_lists
    }

    pub(crate) fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Whether training reads which items a batch shows, and how often each is shown.
    pub fn reads_items(&self) -> bool {
        self.in_batch.is_some()
    }

    pub(crate) fn in_batch(&self) -> Option<&InBatch> {
        self.in_batch.as_ref()
    }

    pub(crate) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Factors of slot weights by grade; empty where there are none.
    pub(crate) fn grade_weights(&self) -> &BTreeMap<u8, f64> {
        &self.grade_weights
    }
}

impl TrainOptions {
    /// Checks ranges and that the options fit each other.
    ///
    /// # Errors
    /// [`ModelError::Option`] with the key, its value and what is allowed.
    pub fn check(self) -> Result<TrainConfig, ModelError> {
        let mut network = self.network.check()?;
        network.position_slots = self.position.check()?;
        let from_one = |key: &str, value: u64| {
            if value >= 1 {
                Ok(())
            } else {
                Err(refuse(key, "a number of 1 or more", value))
            }
        };
        from_one("epochs", self.epochs.into())?;
        from_one("batch_lists", self.batch_lists as u64)?;
        from_one("accumulate", self.accumulate.into())?;
        positive("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("gradient_clip", self.gradient_clip)?;
        below_one("ema", self.ema)?;
        below_one("mask_ids", self.mask_ids)?;
        self.update.as_ref().map_or(Ok(()), UpdateOptions::check)?;
        self.check_optimizer()?;
        self.check_schedule()?;
        if self.losses.is_empty() {
            return Err(refuse("losses", "at least one loss", "empty"));
        }
        let mut losses: Vec<Loss> = Vec::with_capacity(self.losses.len());
        for (place, options) in self.losses.iter().enumerate() {
            let loss = options.check(place)?;
            let same = |other: &Loss| {
                (other.head, other.kind, other.label) == (loss.head, loss.kind, loss.label)
            };
            if losses.iter().any(same) {
                let given = format!(
                    "a second {} loss of `{}`",
                    loss.kind.name(),
                    loss.head.name()
                );
                return Err(refuse(&format!("losses[{place}]"), "each loss once", given));
            }
            losses.push(loss);
        }
        if losses.iter().all(|loss| loss.head != self.score_head) {
            let allowed = "a head that one of `train.losses` trains";
            let given = format!("`{}`", self.score_head.name());
            return Err(refuse("score_head", allowed, given));
        }
        let in_batch = self.in_batch.as_ref().map(InBatchOptions::check);
        let in_batch = in_batch.transpose()?;
        if in_batch.is_some() && network.towers.is_none() {
            let allowed = format!("it left out for `kind = \"{}\"`", network.kind.name());
            return Err(refuse("in_batch", &allowed, "set"));
        }
        let outputs = Outputs::of(&losses, self.entire_space)?;
        let grade_weights = by_grade("grade_weights", 0, &self.grade_weights)?;
        Ok(TrainConfig {
            options: self,
            network,
            losses,
            in_batch,
            outputs,
            grade_weights,
            updates: false,
        })
    }

    fn check_optimizer(&self) -> Result<(), ModelError> {
        match self.momentum {
            None => Ok(()),
            Some(momentum) if self.optimizer == OptimizerKind::Sgd => {
                below_one("momentum", momentum)
            }
            Some(_) => Err(refuse(
                "momentum",
                "it left out where `optimizer` is not `sgd`",
                "set",
            )),
        }
    }

    fn check_schedule(&self) -> Result<(), ModelError> {
        if self.schedule == Schedule::OneCycle && self.warmup_steps > 0 {
            let allowed = "0 for `schedule = \"one_cycle\"`, which has a warm-up of its own";
            return Err(refuse("warmup_steps", allowed, self.warmup_steps));
        }
        if self.schedule != Schedule::Plateau {
            let set = [
                ("plateau_epochs", self.plateau_epochs.is_some()),
                ("plateau_factor", self.plateau_factor.is_some()),
            ];
            if let Some((key, _)) = set.iter().find(|(_, set)| *set) {
                let allowed = "it left out where `schedule` is not `plateau`";
                return Err(refuse(key, allowed, "set"));
            }
        }
        if self.plateau_epochs == Some(0) {
            return Err(refuse("plateau_epochs", "a number of 1 or more", 0));
        }
        match self.plateau_factor {
            Some(factor) if !(factor > 0.0 && factor < 1.0) => {
                Err(refuse("plateau_factor", "a number between 0 and 1", factor))
            }
            _ => Ok(()),
        }
    }
}

/// Factors by grade, the grades written as the keys of a table.
pub(crate) fn by_grade(
    key: &str,
    lowest: u8,
    given: &BTreeMap<String, f64>,
) -> Result<BTreeMap<u8, f64>, ModelError> {
    let mut factors = BTreeMap::new();
    for (grade, &factor) in given {
        let number = grade.parse::<u8>().ok();
        let Some(number) = number.filter(|grade| (lowest..=31).contains(grade)) else {
            let allowed = format!("grades from {lowest} to 31 as keys");
            return Err(refuse(
                key,
                &allowed,
                format!("a table with the key `{grade}`"),
            ));
        };
        positive(&format!("{key}.{grade}"), factor)?;
        factors.insert(number, factor);
    }
    Ok(factors)
}

pub(crate) fn refuse(key: &str, expected: &str, given: impl fmt::Display) -> ModelError {
    ModelError::Option {
        key: key.to_owned(),
        expected: expected.to_owned(),
        given: given.to_string(),
    }
}

pub(crate) fn positive(key: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(refuse(key, "a finite number above 0", value))
    }
}

pub(crate) fn not_negative(key: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(refuse(key, "a finite number of 0 or more", value))
    }
}

fn below_one(key: &str, value: f64) -> Result<(), ModelError> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(refuse(key, "a number from 0 to below 1", value))
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
            "unknown variant `buy`, expected one of `click`, `purchase`, `grade`"
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
