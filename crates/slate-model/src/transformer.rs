//! A transformer encoder over the slots of a list (Vaswani et al. 2017; for ranking, Pobrotyn et
//! al. 2020).
//!
//! There are no positional encodings, so permuting a list's slots permutes its scores. Padding is
//! masked out of the attention, so it changes no score. Normalisation stands before each block by
//! default (Xiong et al. 2020).

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

use crate::fused::{self, Projections};
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
        if fused::is_fused(&input) {
            self.fused(input, real, noise)
        } else {
            self.composed(input, real, noise)
        }
    }

    fn composed(&self, input: Tensor<2>, real: &Tensor<2>, noise: &mut Noise) -> Tensor<2> {
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

    /// The same in two operations, with the same noise.
    fn fused(&self, input: Tensor<2>, real: &Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let [rows, hidden] = input.dims();
        let wide = self.inner.weight.dims()[1];
        let attention = &self.attention;
        let layers = Projections {
            query: &attention.query,
            key: &attention.key,
            value: &attention.value,
            output: &attention.output,
        };
        let norm = (&self.attention_norm, self.place);
        let mask = noise.factors(rows * hidden);
        let mixed = fused::attention(input, real, attention.heads, &layers, norm, mask);
        let norm = (&self.feed_forward_norm, self.place);
        let masks = [rows * wide, rows * hidden].map(|count| noise.factors(count));
        let layers = [&self.inner, &self.outer];
        fused::feed_forward(mixed, layers, self.activation, norm, masks)
    }
}

impl Attention {
    fn forward(&self, input: &Tensor<2>, real: &Tensor<2>) -> Tensor<2> {
        let [lists, places] = real.dims();
        let project = |layer: &Linear| fused::affine(layer, input.clone(), false);
        let inputs = [&self.query, &self.key, &self.value].map(project);
        let context = fused::plain::attend(inputs, real.clone(), [lists, places, self.heads]);
        fused::affine(&self.output, context, false)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::{Device, TensorData};
    use slate_types::Seed;

    use super::*;
    use crate::NetworkOptions;
    use crate::fused::tests::{assert_same, real};

    /// A layer, and an input that wants a gradient as well.
    #[derive(Module, Debug)]
    struct Case {
        layer: Layer,
        input: Param<Tensor<2>>,
    }

    #[test]
    fn a_layer_is_that_of_its_parts() {
        let device = Device::flex();
        let initial = Initial {
            seed: Seed(5),
            device: &device,
        };
        let value = |place: usize| (place as f32 * 0.37).sin() * 1.5;
        let input: Vec<f32> = (0..12 * 6).map(value).collect();
        for (place, activation, dropout, lengths) in [
            (NormPlace::Pre, Activation::Relu, 0.0, [4, 4, 4]),
            (NormPlace::Pre, Activation::Gelu, 0.3, [4, 1, 2]),
            (NormPlace::Post, Activation::Gelu, 0.0, [4, 1, 2]),
            (NormPlace::Post, Activation::Relu, 0.3, [4, 4, 4]),
        ] {
            let config = NetworkOptions {
                hidden: 6,
                heads: Some(2),
                feed_forward: Some(9),
                norm: Some(place),
                activation,
                ..Default::default()
            };
            let case = Case {
                layer: Layer::new("layer", &config.check().unwrap(), &initial),
                input: Param::from_data(TensorData::new(input.clone(), [12, 6]), &device),
            };
            let real = real(&lengths, 4);
            let noise = || Noise::dropout(dropout, Seed(3), &device);
            // Padding gets no slope from above in a network; here it does, and both agree.
            assert_same(
                &case,
                |case| case.layer.fused(case.input.val(), &real, &mut noise()),
                |case| case.layer.composed(case.input.val(), &real, &mut noise()),
            );
        }
    }
}
