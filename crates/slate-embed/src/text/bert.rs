//! The BERT encoder: layers of self-attention over tokens, normalised behind each sum.
//!
//! Rows are tokens of all texts, one text after the other, without padding.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::config::{Config, Family};
use crate::EmbedError;
use crate::layers::{Activation, Linear, Norm, Texts, attend};
use crate::weights::Weights;

/// The network.
pub(super) struct Bert {
    /// `[vocabulary, hidden]`
    words: Tensor,
    /// `[positions, hidden]`, with the vector of the first kind of text added where there are kinds.
    positions: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    activation: Activation,
}

struct Layer {
    /// Queries, keys and values.
    packed: Linear,
    output: Linear,
    attention_norm: Norm,
    inner: Linear,
    outer: Linear,
    norm: Norm,
}

/// What a family calls the parts of a layer.
struct Names {
    layer: &'static str,
    query: [&'static str; 3],
    output: &'static str,
    attention_norm: &'static str,
    inner: &'static str,
    outer: &'static str,
    norm: &'static str,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    query: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    outer: "output.dense",
    norm: "output.LayerNorm",
};

const DISTIL_BERT: Names = Names {
    layer: "transformer.layer",
    query: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    inner: "ffn.lin1",
    outer: "ffn.lin2",
    norm: "output_layer_norm",
};

/// Heads that pretraining leaves behind, and counters.
fn is_spare(name: &str) -> bool {
    [
        "pooler.",
        "cls.",
        "lm_head.",
        "vocab_",
        "classifier.",
        "pre_classifier.",
    ]
    .iter()
    .any(|part| name.starts_with(part))
        || name.ends_with("position_ids")
        || name.ends_with("token_type_ids")
}

impl Bert {
    pub(super) fn load(path: &Path, config: &Config, device: &Device) -> Result<Self, EmbedError> {
        let weights =
            Weights::open(path)?.without_prefix(&["bert.", "distilbert.", "roberta.", "model."]);
        let (hidden, inner) = (config.hidden(), config.inner());
        let names = match config.family {
            Family::Bert | Family::Roberta => &BERT,
            Family::DistilBert => &DISTIL_BERT,
        };
        let norm = |name: &str| -> Result<Norm, EmbedError> {
            let gamma = weights.get(&format!("{name}.weight"), &[hidden])?;
            let beta = weights.get(&format!("{name}.bias"), &[hidden])?;
            Ok(Norm::new(&gamma, &beta, config.epsilon())?.to_device(device)?)
        };
        let part = |name: &str, outputs: usize, inputs: usize| -> Result<_, EmbedError> {
            let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
            Ok((weight, weights.get(&format!("{name}.bias"), &[outputs])?))
        };
        let linear = |name: &str, outputs: usize, inputs: usize| -> Result<Linear, EmbedError> {
            let parts = [part(name, outputs, inputs)?];
            Ok(Linear::of_rows(&parts)?.to_device(device)?)
        };
        let table = |name: &str, rows: usize| {
            weights.get(&format!("embeddings.{name}.weight"), &[rows, hidden])
        };
        let words = table("word_embeddings", config.vocabulary())?;
        let mut positions = table("position_embeddings", config.position_rows())?;
        if config.family != Family::DistilBert {
            let kinds = table("token_type_embeddings", config.types())?;
            positions = positions.broadcast_add(&kinds.get(0)?)?;
        }
        let first = config.first_position();
        let positions = positions
            .narrow(0, first, config.positions())?
            .contiguous()?;
        let mut layers = Vec::with_capacity(config.layers());
        for at in 0..config.layers() {
            let own = |name: &str| format!("{}.{at}.{name}", names.layer);
            let packed = names.query.map(|name| part(&own(name), hidden, hidden));
            let packed = packed.into_iter().collect::<Result<Vec<_>, _>>()?;
            layers.push(Layer {
                packed: Linear::of_rows(&packed)?.to_device(device)?,
                output: linear(&own(names.output), hidden, hidden)?,
                attention_norm: norm(&own(names.attention_norm))?,
                inner: linear(&own(names.inner), inner, hidden)?,
                outer: linear(&own(names.outer), hidden, inner)?,
                norm: norm(&own(names.norm))?,
            });
        }
        let network = Self {
            words: words.to_device(device)?,
            positions: positions.to_device(device)?,
            norm: norm("embeddings.LayerNorm")?,
            layers,
            heads: config.heads(),
            activation: if config.is_gelu() {
                Activation::Gelu
            } else {
                Activation::Relu
            },
        };
        weights.finish(is_spare)?;
        Ok(network)
    }

    /// The last states of all tokens.
    ///
    /// # Shapes
    /// - ids: `[rows]`, output: `[rows, hidden]`
    pub(super) fn forward(
        &self,
        ids: &[u32],
        texts: &Texts,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let places: Vec<u32> = texts
            .ranges()
            .flat_map(|range| 0..range.len() as u32)
            .collect();
        let ids = Tensor::new(ids, device)?;
        let words = self.words.index_select(&ids, 0)?;
        let places = self
            .positions
            .index_select(&Tensor::new(places, device)?, 0)?;
        let mut x = self.norm.of_sum(&words, &places)?;
        for layer in &self.layers {
            let packed = layer.packed.forward(&x, Activation::None)?;
            let context = attend(&packed, texts, self.heads)?;
            let context = layer.output.forward(&context, Activation::None)?;
            x = layer.attention_norm.of_sum(&x, &context)?;
            let inner = layer.inner.forward(&x, self.activation)?;
            let outer = layer.outer.forward(&inner, Activation::None)?;
            x = layer.norm.of_sum(&x, &outer)?;
        }
        Ok(x)
    }
}
