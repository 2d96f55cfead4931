//! A multilayer perceptron: every slot by itself.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::initial::Initial;
use crate::network::{activate, activated};
use crate::network_config::{Activation, NetworkConfig};
use crate::noise::Noise;

/// Non-linearity and dropout, with linear layers between: `layers` hidden layers, the network's
/// input layer being the first.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    pub(crate) fn new(config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        let layer = |place: usize| {
            initial.linear(
                &format!("body.mlp.layers.{place}"),
                config.hidden,
                config.hidden,
            )
        };
        Self {
            layers: (0..config.layers - 1).map(layer).collect(),
            activation: config.activation,
        }
    }

    /// # Shapes
    /// - input, output: `[rows, hidden]`
    pub(crate) fn forward(&self, input: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let mut hidden = noise.apply(activate(self.activation, input));
        for layer in &self.layers {
            hidden = noise.apply(activated(self.activation, layer, hidden));
        }
        hidden
    }
}
