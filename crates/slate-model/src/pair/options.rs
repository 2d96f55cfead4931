//! `[train.network.towers]`: which inputs are whose, and the shape of the towers.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::options::refuse;

/// `[train.network.towers]` in a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TowersOptions {
    /// Names of the inputs that describe the page's seed item. The name of an embedding means its vector.
    pub seed: Vec<String>,
    /// Names of the inputs that describe the item in a slot; under `shared` those of `seed` in the same
    /// order, of the other item.
    pub candidate: Vec<String>,
    /// Names of the inputs of neither that are read beside the pair. Left out: all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Vec<String>>,
    /// Names of the mean vectors of histories that say what the page's visitor likes: `history_NAME` is compared
    /// with `NAME`, which `candidate` has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub visitor: Vec<String>,
    /// Width of an item's vector, 1 to 1024.
    pub width: usize,
    /// Whether both items go through one tower.
    pub shared: bool,
    /// Share of vectors that are taken for absent in training, in `[0, 1)`, each by itself: so that a
    /// tower copes with an item that has no title or no picture.
    pub modality_dropout: f64,
}

impl Default for TowersOptions {
    fn default() -> Self {
        Self {
            seed: Vec::new(),
            candidate: Vec::new(),
            context: None,
            visitor: Vec::new(),
            width: 64,
            shared: true,
            modality_dropout: 0.1,
        }
    }
}

/// The shape of towers, every choice made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowersConfig {
    /// Width of an item's vector.
    pub width: usize,
    /// Whether both items go through one tower.
    pub shared: bool,
    /// Share of vectors that are taken for absent in training.
    pub modality_dropout: f64,
}

impl TowersOptions {
    pub(crate) fn check(&self) -> Result<TowersConfig, ModelError> {
        for (side, names) in [("seed", &self.seed), ("candidate", &self.candidate)] {
            if names.is_empty() {
                let allowed = format!("names of the inputs that describe the {side}");
                return Err(refuse(&format!("network.towers.{side}"), &allowed, "empty"));
            }
        }
        if self.shared && self.seed.len() != self.candidate.len() {
            let allowed = format!(
                "{} names, one for each of `seed`, because the tower is shared",
                self.seed.len()
            );
            let given = format!("{} names", self.candidate.len());
            return Err(refuse("network.towers.candidate", &allowed, given));
        }
        let config = TowersConfig {
            width: self.width,
            shared: self.shared,
            modality_dropout: self.modality_dropout,
        };
        config.check()?;
        Ok(config)
    }
}

impl TowersConfig {
    /// Checks ranges, for a config that was read from a file.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if !(1..=1024).contains(&self.width) {
            let allowed = "a number from 1 to 1024";
            return Err(refuse("network.towers.width", allowed, self.width));
        }
        if !(0.0..1.0).contains(&self.modality_dropout) {
            return Err(refuse(
                "network.towers.modality_dropout",
                "a share from 0 to below 1",
                self.modality_dropout,
            ));
        }
        Ok(())
    }
}
