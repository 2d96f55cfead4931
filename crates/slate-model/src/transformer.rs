//! A transformer encoder over the slots of a list (Vaswani et al. 2017; for ranking, Pobrotyn et
//! al. 2020).
//!
//! There are no positional encodings, so permuting a list's slots permutes its scores. Padding is
//! masked out of the attention, so it changes no score. Normalisation stands before each block by
//! default (Xiong et al. 2020).

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

use crate::fused;
use crate::initial::Initial;
use crate::network::activated;
use crate::network_config::{Activation, NetworkConfig, NormPlace};
use crate::noise::Noise;

/// Encoder layers, and a last normalisation where the layers normalise first.
#[derive(Module, Debug)]
pub(crate) struct Transformer {
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
}

/// Self-attention and feed-forward, each with dropout, a residual sum and normalisation.
#[derive(Module, Debug)]
struct Layer {
    attention_norm: LayerNorm,
    attention: Attention,
    feed_forward_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    place: NormPlace,
}

/// Multi-head scaled dot-product self-attention.
///
/// Three matrices instead of one packed one: taking a slice costs a full-size zero gradient in
/// the backward pass, three small products do not.
#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Transformer {
    /// `name` is the module it is part of.
    pub(crate) fn new(name: &str, config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        let layer = |place| format!("{name}.transformer.layers.{place}");
        let layers = (0..config.layers)
            .map(|place| Layer::new(&layer(place), config, initial))
            .collect();
        let norm = (config.norm == NormPlace::Pre).then(|| initial.norm(config.hidden));
        Self { layers, norm }
    }

    /// # Shapes
    /// - hidden, output: `[N·L, hidden]`
    /// - real: `[N, L]`, 1 on slots and 0 on padding
    pub(crate) fn forward(
        &self,
        mut hidden: Tensor<2>,
        real: &Tensor<2>,
        noise: &mut Noise,
    ) -> Tensor<2> {
        for layer in &self.layers {
            hidden = layer.forward(hidden, real, noise);
        }
        match &self.norm {
            Some(norm) => fused::norm(norm, hidden),
            None => hidden,
        }
    }
}

impl Layer {
    fn new(name: &str, config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        let linear = |part: &str, inputs, outputs| {
            initial.linear(&format!("{name}.{part}"), inputs, outputs)
        };
        let (hidden, wide) = (config.hidden, config.feed_forward);
        Self {
            attention_norm: initial.norm(hidden),
            attention: Attention {
                query: linear("attention.query", hidden, hidden),
                key: linear("attention.key", hidden, hidden),
                value: linear("attention.value", hidden, hidden),
                output: linear("attention.output", hidden, hidden),
                heads: config.heads,
            },
            feed_forward_norm: initial.norm(hidden),
            inner: linear("inner", hidden, wide),
            outer: linear("outer", wide, hidden),
            activation: config.activation,
            place: config.norm,
        }
    }

    fn forward(&self, input: Tensor<2>, real: &Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let feed_forward = |hidden: Tensor<2>, noise: &mut Noise| {
            let inner = noise.apply(activated(self.activation, &self.inner, hidden));
            noise.apply(fused::affine(&self.outer, inner, false))
        };
        match self.place {
            NormPlace::Pre => {
                let normed = fused::norm(&self.attention_norm, input.clone());
                let mixed = input + noise.apply(self.attention.forward(&normed, real));
                let normed = fused::norm(&self.feed_forward_norm, mixed.clone());
                mixed + feed_forward(normed, noise)
            }
            NormPlace::Post => {
                let attended = self.attention.forward(&input, real);
                let mixed = fused::norm(&self.attention_norm, input + noise.apply(attended));
                let wide = feed_forward(mixed.clone(), noise);
                fused::norm(&self.feed_forward_norm, mixed + wide)
            }
        }
    }
}

impl Attention {
    fn forward(&self, input: &Tensor<2>, real: &Tensor<2>) -> Tensor<2> {
        let [lists, places] = real.dims();
        let project = |layer: &Linear| fused::affine(layer, input.clone(), false);
        let inputs = [&self.query, &self.key, &self.value].map(project);
        let context = fused::attend(inputs, real.clone(), [lists, places, self.heads]);
        fused::affine(&self.output, context, false)
    }
}
