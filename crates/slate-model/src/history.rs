//! What a person did last, as one vector that joins every slot of their list.
//!
//! An event is the embedding of its item, that of its kind, and its age; a linear layer brings them
//! to the encoder's width. A GRU goes over them from the oldest to the newest and gives its last
//! state; a transformer attends among them and gives their mean. Nobody's history is all zeros.

use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;

use crate::fused;
use crate::gru::Gru;
use crate::initial::Initial;
use crate::input::Events;
use crate::network::look_up;
use crate::network_config::{HistoryConfig, HistoryEncoder, NetworkConfig};
use crate::noise::Noise;
use crate::tables::TableSize;
use crate::transformer::Transformer;

/// An encoder of histories.
#[derive(Module, Debug)]
pub(crate) struct History {
    item: Embedding,
    kind: Embedding,
    input: Linear,
    encoder: Encoder,
    width: usize,
}

/// What goes over the events.
#[derive(Module, Debug)]
enum Encoder {
    Gru(Gru),
    Transformer(Transformer),
}

/// Width of the embedding of an event's kind.
const KIND_WIDTH: usize = 4;

impl History {
    pub(crate) fn new(
        config: &HistoryConfig,
        network: &NetworkConfig,
        items: TableSize,
        kinds: u32,
        initial: &Initial<'_>,
    ) -> Self {
        let item_width = items.width;
        let width = config.hidden;
        Self {
            item: initial.embedding("history.item", items.ids as usize, item_width),
            kind: initial.embedding("history.kind", kinds as usize, KIND_WIDTH),
            input: initial.linear("history.input", item_width + KIND_WIDTH + 1, width),
            encoder: match config.encoder {
                HistoryEncoder::Gru => Encoder::Gru(Gru::new(
                    "history.encoder.gru",
                    [width, width, config.layers],
                    false,
                    initial,
                )),
                HistoryEncoder::Transformer => {
                    let own = NetworkConfig {
                        hidden: width,
                        layers: config.layers,
                        heads: config.heads,
                        feed_forward: 2 * width,
                        ..network.clone()
                    };
                    Encoder::Transformer(Transformer::new("history.encoder", &own, initial))
                }
            },
            width,
        }
    }

    /// # Shapes
    /// - output: `[N, width]`
    pub(crate) fn forward(&self, events: &Events, lists: usize, noise: &mut Noise) -> Tensor<2> {
        let count = events.length;
        let parts = vec![
            look_up(&self.item, &events.item),
            look_up(&self.kind, &events.kind),
            events.age.clone(),
        ];
        let hidden = fused::affine(&self.input, Tensor::cat(parts, 1), false);
        match &self.encoder {
            Encoder::Gru(gru) => gru.last(hidden, &events.real, noise),
            Encoder::Transformer(transformer) => {
                let states = transformer.forward(hidden, &events.real, noise);
                let real = events.real.clone().reshape([lists * count, 1]);
                let sums = (states * real)
                    .reshape([lists, count, self.width])
                    .sum_dim(1)
                    .reshape([lists, self.width]);
                let counts = events.real.clone().sum_dim(1);
                sums / counts.clamp_min(1.0)
            }
        }
    }
}
