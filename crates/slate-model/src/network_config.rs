//! The shape of a network: what `[train.network]` says, and every choice made.
//!
//! [`NetworkOptions`] is the file; [`NetworkConfig`] is what `model.json` keeps, so that a saved
//! ranker does not change when a default does.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::input_norm::InputNorm;
use crate::options::refuse;
use crate::pair::{TowersConfig, TowersOptions};
use crate::tables::EmbeddingWidths;

/// `[train.network]` in a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkOptions {
    /// The kind of network.
    pub kind: NetworkKind,
    /// Width of a slot's hidden vector, 1 to 4096.
    pub hidden: usize,
    /// Hidden layers of an MLP, or encoder layers of a transformer; 1 to 64.
    pub layers: usize,
    /// Attention heads, a divisor of `hidden`; transformer only. Left out: 4, or fewer where 4
    /// does not divide `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Width inside the feed-forward block; transformer only. Left out: twice `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_forward: Option<usize>,
    /// Share of hidden values set to zero in training, in `[0, 1)`.
    pub dropout: f64,
    /// The non-linearity.
    pub activation: Activation,
    /// Where layer normalisation stands; transformer only. Left out: `pre`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormPlace>,
    /// Width of every embedding, 1 to 1024. Left out: `min(32, ⌈1.6 n^0.56⌉)` for `n` ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_width: Option<usize>,
    /// Whether a GRU goes over the slots backwards too; `hidden` is then even. Left out: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bidirectional: Option<bool>,
    /// How dense inputs are normalised before they are read: `"layer"` or `"batch"`. Left out: not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_norm: Option<InputNorm>,
    /// How the history of a list's person is read, where the dataset has histories. Left out: by
    /// a GRU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryOptions>,
    /// Which inputs describe which of the two items; for `kind = "similar"` alone, which needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub towers: Option<TowersOptions>,
}

/// `[train.network.history]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryOptions {
    /// What goes over the events; `none` leaves histories unread.
    pub encoder: HistoryChoice,
    /// Width of the vector of a person, 1 to 1024.
    pub hidden: usize,
    /// Layers, 1 to 8.
    pub layers: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            encoder: HistoryChoice::Gru,
            hidden: 32,
            layers: 1,
        }
    }
}

/// What a config may ask to go over histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HistoryChoice {
    /// A recurrent unit, oldest event first.
    Gru,
    /// Self-attention among the events.
    Transformer,
    /// Nothing: histories are not read.
    None,
}

/// What goes over histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryEncoder {
    /// A recurrent unit, oldest event first.
    Gru,
    /// Self-attention among the events.
    Transformer,
}

/// How histories are read, every choice made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryConfig {
    /// What goes over the events.
    pub encoder: HistoryEncoder,
    /// Width of the vector of a person.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads; 1 for a GRU, where it means nothing.
    pub heads: usize,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            kind: NetworkKind::Transformer,
            hidden: 64,
            layers: 2,
            heads: None,
            feed_forward: None,
            dropout: 0.1,
            activation: Activation::Relu,
            norm: None,
            embedding_width: None,
            bidirectional: None,
            input_norm: None,
            history: None,
            towers: None,
        }
    }
}

/// Kinds of networks over a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkKind {
    /// A weighted sum of a slot's inputs, without hidden layers: logistic regression, under
    /// cross-entropy. A categorical input has one weight for each id. `hidden`, `layers`,
    /// `activation` and `dropout` mean nothing to it, and histories are read only where asked for.
    Linear,
    /// Each slot by itself.
    Mlp,
    /// Self-attention among the slots of a list, without positions: permuting the slots permutes
    /// the scores.
    Transformer,
    /// A recurrent unit over the slots in logged order.
    Gru,
    /// Each slot by itself, as a pair of the page's seed item and the item in the slot: a tower for
    /// each, and an MLP over both vectors and the inputs of neither.
    Similar,
}

/// Non-linearity of the hidden layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `x Φ(x)`, exact.
    Gelu,
}

/// Where a transformer layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NormPlace {
    /// Before attention and feed-forward, and once more before the heads; trains without warm-up.
    Pre,
    /// After each residual sum, as in the first transformer.
    Post,
}

/// A checked network shape with every choice made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The kind of network.
    pub kind: NetworkKind,
    /// Width of a slot's hidden vector.
    pub hidden: usize,
    /// Hidden or encoder layers.
    pub layers: usize,
    /// Attention heads; 1 for an MLP, where it means nothing.
    pub heads: usize,
    /// Width inside the feed-forward block; `hidden` for an MLP, where it means nothing.
    pub feed_forward: usize,
    /// Share of hidden values set to zero in training.
    pub dropout: f64,
    /// The non-linearity.
    pub activation: Activation,
    /// Where layer normalisation stands.
    pub norm: NormPlace,
    /// Width of every embedding, or none for the rule of [`NetworkConfig::embedding_width_for`].
    pub embedding_width: Option<usize>,
    /// Widths of the embeddings where ids have grown since the first training; none: by the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widths: Option<EmbeddingWidths>,
    /// Whether a GRU goes backwards too.
    #[serde(default)]
    pub bidirectional: bool,
    /// How dense inputs are normalised before they are read.
    #[serde(default)]
    pub input_norm: InputNorm,
    /// How histories are read, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryConfig>,
    /// Towers, where two items are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub towers: Option<TowersConfig>,
    /// Slots that the position tower tells apart; 0 without one.
    #[serde(default)]
    pub position_slots: usize,
}

impl NetworkOptions {
    /// Checks ranges and fills in what was left out.
    ///
    /// # Errors
    /// [`ModelError::Option`] with the key, its value and what is allowed.
    pub fn check(&self) -> Result<NetworkConfig, ModelError> {
        let transformer = self.kind == NetworkKind::Transformer;
        let linear = self.kind == NetworkKind::Linear;
        if !transformer {
            let given = [
                ("network.heads", self.heads.is_some()),
                ("network.feed_forward", self.feed_forward.is_some()),
                ("network.norm", self.norm.is_some()),
            ];
            if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                let allowed = format!("it left out for `kind = \"{}\"`", self.kind.name());
                return Err(refuse(key, &allowed, "set"));
            }
        }
        let bidirectional = self.bidirectional.unwrap_or(false);
        if self.kind != NetworkKind::Gru && self.bidirectional.is_some() {
            let allowed = format!("it left out for `kind = \"{}\"`", self.kind.name());
            return Err(refuse("network.bidirectional", &allowed, "set"));
        }
        if self.kind == NetworkKind::Gru && self.activation != Activation::Relu {
            let allowed = "it left out for `kind = \"gru\"`, whose non-linearities are its own";
            return Err(refuse("network.activation", allowed, "set"));
        }
        let heads = match (transformer, self.heads) {
            (false, _) => 1,
            (true, Some(heads)) => heads,
            (true, None) => heads_for(self.hidden),
        };
        let wide = if transformer {
            self.hidden.saturating_mul(2)
        } else {
            self.hidden
        };
        let config = NetworkConfig {
            kind: self.kind,
            hidden: self.hidden,
            layers: self.layers,
            heads,
            feed_forward: self.feed_forward.unwrap_or(wide),
            dropout: self.dropout,
            activation: self.activation,
            norm: self.norm.unwrap_or(NormPlace::Pre),
            embedding_width: self.embedding_width.or(linear.then_some(1)),
            widths: None,
            bidirectional,
            input_norm: self.input_norm.unwrap_or_default(),
            history: match &self.history {
                None if linear => None,
                history => history.clone().unwrap_or_default().check()?,
            },
            towers: self.check_towers()?,
            position_slots: 0,
        };
        config.check()?;
        Ok(config)
    }
}

impl NetworkOptions {
    fn check_towers(&self) -> Result<Option<TowersConfig>, ModelError> {
        match (&self.towers, self.kind == NetworkKind::Similar) {
            (None, false) => Ok(None),
            (Some(towers), true) => towers.check().map(Some),
            (None, true) => {
                let allowed = "set for `kind = \"similar\"`: it names the inputs of both items";
                Err(refuse("network.towers", allowed, "left out"))
            }
            (Some(_), false) => {
                let allowed = format!("it left out for `kind = \"{}\"`", self.kind.name());
                Err(refuse("network.towers", &allowed, "set"))
            }
        }
    }
}

impl NetworkKind {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Transformer => "transformer",
            Self::Gru => "gru",
            Self::Similar => "similar",
        }
    }
}

impl HistoryOptions {
    fn check(&self) -> Result<Option<HistoryConfig>, ModelError> {
        within("network.history.hidden", self.hidden, 1024)?;
        within("network.history.layers", self.layers, 8)?;
        let encoder = match self.encoder {
            HistoryChoice::None => return Ok(None),
            HistoryChoice::Gru => HistoryEncoder::Gru,
            HistoryChoice::Transformer => HistoryEncoder::Transformer,
        };
        let heads = match encoder {
            HistoryEncoder::Gru => 1,
            HistoryEncoder::Transformer => heads_for(self.hidden),
        };
        Ok(Some(HistoryConfig {
            encoder,
            hidden: self.hidden,
            layers: self.layers,
            heads,
        }))
    }
}

/// Four attention heads, or fewer where they do not divide the width.
fn heads_for(hidden: usize) -> usize {
    let fits = |heads: &usize| hidden.is_multiple_of(*heads);
    [4, 3, 2].into_iter().find(fits).unwrap_or(1)
}

impl NetworkConfig {
    /// Bytes that a training step needs at the very least where a list has so many slots: what the forward
    /// pass keeps of that list alone for the backward pass. Saturates.
    pub fn least_bytes(&self, slots: usize) -> u64 {
        let [slots, hidden, wide, heads] =
            [slots, self.hidden, self.feed_forward, self.heads].map(|own| own as u64);
        let of_slot = match self.kind {
            NetworkKind::Linear => 0,
            NetworkKind::Mlp | NetworkKind::Similar => hidden,
            // Every slot looks at every other.
            NetworkKind::Transformer => heads
                .saturating_mul(slots)
                .saturating_add(8 * hidden + wide),
            NetworkKind::Gru => 6 * hidden,
        };
        [slots, self.layers as u64, size_of::<f32>() as u64]
            .into_iter()
            .fold(of_slot, u64::saturating_mul)
    }

    /// Checks ranges, for a config that was read from a file.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        within("network.hidden", self.hidden, 4096)?;
        within("network.layers", self.layers, 64)?;
        within("network.feed_forward", self.feed_forward, 4 * 4096)?;
        if let Some(width) = self.embedding_width {
            within("network.embedding_width", width, 1024)?;
        }
        if self.heads == 0 || !self.hidden.is_multiple_of(self.heads) {
            let allowed = format!("a divisor of `hidden` = {}", self.hidden);
            return Err(refuse("network.heads", &allowed, self.heads));
        }
        if self.bidirectional && !self.hidden.is_multiple_of(2) {
            let allowed = "an even number for a bidirectional GRU";
            return Err(refuse("network.hidden", allowed, self.hidden));
        }
        if let Some(history) = &self.history {
            within("network.history.hidden", history.hidden, 1024)?;
            within("network.history.layers", history.layers, 8)?;
            if history.heads == 0 || !history.hidden.is_multiple_of(history.heads) {
                let allowed = format!("a divisor of {}", history.hidden);
                return Err(refuse("network.history.heads", &allowed, history.heads));
            }
        }
        if let Some(towers) = &self.towers {
            towers.check()?;
        }
        if self.towers.is_some() != (self.kind == NetworkKind::Similar) {
            let allowed = "there for `kind = \"similar\"` and for no other";
            return Err(refuse("network.towers", allowed, self.kind.name()));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(refuse(
                "network.dropout",
                "a share from 0 to below 1",
                self.dropout,
            ));
        }
        Ok(())
    }

    /// Width of the embedding of a categorical input with `ids` ids.
    ///
    /// The rule for `embedding_width` left out is `min(32, ⌈1.6 n^0.56⌉)`, fastai's with a lower
    /// ceiling.
    pub fn embedding_width_for(&self, ids: u32) -> usize {
        let rule = || (1.6 * f64::from(ids).powf(0.56)).ceil().min(32.0) as usize;
        self.embedding_width.unwrap_or_else(rule).max(1)
    }
}

fn within(key: &str, value: usize, most: usize) -> Result<(), ModelError> {
    if (1..=most).contains(&value) {
        Ok(())
    } else {
        Err(refuse(key, &format!("a number from 1 to {most}"), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &NetworkOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let config = NetworkOptions {
            hidden: 48,
            ..Default::default()
        }
        .check()
        .unwrap();
        assert_eq!((config.heads, config.feed_forward), (4, 96));
        let odd = NetworkOptions {
            hidden: 7,
            ..Default::default()
        }
        .check()
        .unwrap();
        assert_eq!(odd.heads, 1);
    }

    #[test]
    fn embedding_widths_follow_the_rule() {
        let config = NetworkOptions::default().check().unwrap();
        let widths: Vec<usize> = [1, 2, 10, 100, 1_000_000]
            .map(|n| config.embedding_width_for(n))
            .to_vec();
        assert_eq!(widths, [2, 3, 6, 22, 32]);
    }

    #[test]
    fn shapes_that_cannot_be_built_are_refused() {
        let base = NetworkOptions::default();
        assert_eq!(
            refused(&NetworkOptions {
                heads: Some(0),
                ..base.clone()
            }),
            "`train.network.heads` is 0, expected a divisor of `hidden` = 64"
        );
        assert_eq!(
            refused(&NetworkOptions {
                hidden: 0,
                ..base.clone()
            }),
            "`train.network.hidden` is 0, expected a number from 1 to 4096"
        );
        assert_eq!(
            refused(&NetworkOptions {
                dropout: 1.0,
                ..base.clone()
            }),
            "`train.network.dropout` is 1, expected a share from 0 to below 1"
        );
        let mlp = NetworkOptions {
            kind: NetworkKind::Mlp,
            heads: Some(2),
            ..base
        };
        assert_eq!(
            refused(&mlp),
            "`train.network.heads` is set, expected it left out for `kind = \"mlp\"`"
        );
    }

    #[test]
    fn towers_belong_to_the_network_that_compares() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let towers = TowersOptions {
            seed: names(&["seed_title"]),
            candidate: names(&["title"]),
            ..Default::default()
        };
        let of = |kind, towers: Option<TowersOptions>| NetworkOptions {
            kind,
            towers,
            ..Default::default()
        };
        let good = of(NetworkKind::Similar, Some(towers.clone()));
        assert_eq!(good.check().unwrap().towers.unwrap().width, 64);
        assert_eq!(
            refused(&of(NetworkKind::Similar, None)),
            "`train.network.towers` is left out, expected set for `kind = \"similar\"`: it names the \
             inputs of both items"
        );
        assert_eq!(
            refused(&of(NetworkKind::Mlp, Some(towers.clone()))),
            "`train.network.towers` is set, expected it left out for `kind = \"mlp\"`"
        );
        let uneven = TowersOptions {
            candidate: names(&["title", "image"]),
            ..towers.clone()
        };
        assert_eq!(
            refused(&of(NetworkKind::Similar, Some(uneven))),
            "`train.network.towers.candidate` is 2 names, expected 1 names, one for each of `seed`, \
             because the tower is shared"
        );
        let dropped = TowersOptions {
            modality_dropout: 1.0,
            ..towers
        };
        assert_eq!(
            refused(&of(NetworkKind::Similar, Some(dropped))),
            "`train.network.towers.modality_dropout` is 1, expected a share from 0 to below 1"
        );
    }
}
