//! A transformer encoder over the slots of a list (Vaswani et al. 2017; for ranking, Pobrotyn et
//! al. 2020).
//!
//! There are no positional encodings, so permuting a list's slots permutes its scores. Padding is
//! masked out of the attention, so it changes no score. Normalisation stands before each block by
//! default (Xiong et al. 2020).

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Tensor};

use crate::initial::Initial;
use crate::network::activate;
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
    /// - padding: `[N, 1, 1, L]`
    pub(crate) fn forward(
        &self,
        mut hidden: Tensor<2>,
        size: [usize; 2],
        padding: Option<&Tensor<4, Bool>>,
        noise: &mut Noise,
    ) -> Tensor<2> {
        for layer in &self.layers {
            hidden = layer.forward(hidden, size, padding, noise);
        }
        match &self.norm {
            Some(norm) => norm.forward(hidden),
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

    fn forward(
        &self,
        input: Tensor<2>,
        size: [usize; 2],
        padding: Option<&Tensor<4, Bool>>,
        noise: &mut Noise,
    ) -> Tensor<2> {
        let feed_forward = |hidden: Tensor<2>, noise: &mut Noise| {
            let inner = noise.apply(activate(self.activation, self.inner.forward(hidden)));
            noise.apply(self.outer.forward(inner))
        };
        match self.place {
            NormPlace::Pre => {
                let normed = self.attention_norm.forward(input.clone());
                let mixed = input + noise.apply(self.attention.forward(normed, size, padding));
                let normed = self.feed_forward_norm.forward(mixed.clone());
                mixed + feed_forward(normed, noise)
            }
            NormPlace::Post => {
                let attended = self.attention.forward(input.clone(), size, padding);
                let mixed = self.attention_norm.forward(input + noise.apply(attended));
                let wide = feed_forward(mixed.clone(), noise);
                self.feed_forward_norm.forward(mixed + wide)
            }
        }
    }
}

impl Attention {
    fn forward(
        &self,
        input: Tensor<2>,
        [lists, slots]: [usize; 2],
        padding: Option<&Tensor<4, Bool>>,
    ) -> Tensor<2> {
        let hidden = input.dims()[1];
        let width = hidden / self.heads;
        let split = |rows: Tensor<2>| -> Tensor<4> {
            rows.reshape([lists, slots, self.heads, width])
                .swap_dims(1, 2)
        };
        let query = split(
            self.query
                .forward(input.clone())
                .mul_scalar((width as f32).powf(-0.5)),
        );
        let key = split(self.key.forward(input.clone()));
        let value = split(self.value.forward(input));
        let mut logits = query.matmul(key.swap_dims(2, 3));
        if let Some(padding) = padding {
            // Far below any logit of a finite network, and still finite, so that the difference
            // to the row's maximum is never ∞ − ∞.
            let shape = [lists, self.heads, slots, slots];
            logits = logits.mask_fill(padding.clone().expand(shape), -1e30);
        }
        let mixed = softmax(logits, 3).matmul(value);
        self.output
            .forward(mixed.swap_dims(1, 2).reshape([lists * slots, hidden]))
    }
}
