//! The shape of a network: what `[train.network]` says, and every choice made.
//!
//! [`NetworkOptions`] is the file; [`NetworkConfig`] is what `model.json` keeps, so that a saved
//! ranker does not change when a default does.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::options::refuse;

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
        }
    }
}

/// Kinds of networks over a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkKind {
    /// Each slot by itself.
    Mlp,
    /// Self-attention among the slots of a list, without positions: permuting the slots permutes
    /// the scores.
    Transformer,
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
}

impl NetworkOptions {
    /// Checks ranges and fills in what was left out.
    ///
    /// # Errors
    /// [`ModelError::Option`] with the key, its value and what is allowed.
    pub fn check(&self) -> Result<NetworkConfig, ModelError> {
        let transformer = self.kind == NetworkKind::Transformer;
        if !transformer {
            let given = [
                ("network.heads", self.heads.is_some()),
                ("network.feed_forward", self.feed_forward.is_some()),
                ("network.norm", self.norm.is_some()),
            ];
            if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                return Err(refuse(key, "it left out for `kind = \"mlp\"`", "set"));
            }
        }
        let default_heads = || {
            [4, 3, 2]
                .into_iter()
                .find(|n| self.hidden.is_multiple_of(*n))
        };
        let heads = match (transformer, self.heads) {
            (false, _) => 1,
            (true, Some(heads)) => heads,
            (true, None) => default_heads().unwrap_or(1),
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
            embedding_width: self.embedding_width,
        };
        config.check()?;
        Ok(config)
    }
}

impl NetworkConfig {
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
}
