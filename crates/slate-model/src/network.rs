//! The network: inputs to a hidden vector per slot, a body, and one score per head.
//!
//! Dense inputs, the embeddings of the categorical ones, means of the embeddings of several ids and
//! the vector of the person's history stand side by side; a linear layer brings them to the hidden
//! width; the body is an MLP, a transformer or a GRU; a linear layer gives the heads' columns, from
//! which scores follow. A linear network is that last layer alone. A network that compares two items has
//! what is known of the pair beside the inputs of neither, and an MLP.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::activation::{gelu, relu};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor};
use slate_types::{Batch, FeatureShape, Seed};

use crate::ModelError;
use crate::batch_norm::{BatchMoments, BatchNorm, Standard};
use crate::device::is_processor;
use crate::fused;
use crate::gru::Gru;
use crate::history::History;
use crate::initial::Initial;
use crate::input::{self, Input, Several};
use crate::input_norm::InputNorm;
use crate::mlp::Mlp;
use crate::network_config::{Activation, NetworkConfig, NetworkKind};
use crate::noise::Noise;
use crate::pair::{self, Pair, PairVectors};
use crate::shards::Shard;
use crate::tables::TableSizes;
use crate::transformer::Transformer;

/// A network with its weights.
#[derive(Module, Debug)]
pub(crate) struct Network {
    embeddings: Vec<Embedding>,
    several: Vec<Embedding>,
    history: Option<History>,
    /// Towers, in a network that compares two items.
    pair: Option<Pair>,
    input_norm: Option<LayerNorm>,
    batch_norm: Option<BatchNorm>,
    /// None in a linear network, whose heads read the inputs.
    input: Option<Linear>,
    body: Option<Body>,
    heads: Linear,
    /// What a slot adds to each column for where it stood; for training alone.
    position: Option<Embedding>,
}

/// What a pass gives.
pub(crate) struct Pass {
    /// `[N·L, columns]`, as [`Outputs`](crate::outputs::Outputs) says; padded places hold numbers
    /// without meaning.
    pub(crate) columns: Tensor<2>,
    /// The vectors of both items, in a network that compares two.
    pub(crate) vectors: Option<PairVectors>,
}

/// What happens between the input layer and the heads.
#[derive(Module, Debug)]
enum Body {
    Mlp(Mlp),
    Transformer(Transformer),
    Gru(Gru),
}

impl Network {
    /// Builds a network with seeded initial weights and so many columns of output.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where there are no inputs, or an input of ids has none.
    pub(crate) fn new(
        config: &NetworkConfig,
        shape: &FeatureShape,
        columns: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let refuse = |given: &str, expected: &str| ModelError::Shape {
            expected: expected.to_owned(),
            given: given.to_owned(),
        };
        let history = shape.history.zip(config.history.as_ref());
        pair::check(shape)?;
        let all = TableSizes::of(config, shape)?;
        // What is read beside a pair, or else everything.
        let (tables, dense) = match &shape.pair {
            Some(pair) if config.towers.is_some() => (all.at(&pair.context), pair.context.dense()),
            _ => (all.clone(), shape.dense),
        };
        let ids = tables.categorical.len() + tables.multi_valued.len();
        if dense == 0 && ids == 0 && history.is_none() && config.towers.is_none() {
            return Err(refuse(
                "no inputs",
                "at least one dense or categorical input",
            ));
        }
        if let Some(column) = shape.categorical.iter().position(|&ids| ids == 0) {
            let given = format!("no ids for categorical input {column}");
            return Err(refuse(&given, "at least the unknown id 0"));
        }
        if let Some(column) = shape.multi_valued.iter().position(|&ids| ids == 0) {
            let given = format!("no ids for input {column} of several ids");
            return Err(refuse(&given, "at least the unknown id 0"));
        }
        let initial = Initial {
            seed: seed.derive("initial weights"),
            device,
        };
        let of_history = history.map_or(0, |(_, history)| history.hidden);
        let hidden = config.hidden;
        let towers = config.towers.as_ref();
        let pair = towers.map(|towers| Pair::new(towers, config, shape, &all, &initial));
        let pair = pair.transpose()?;
        let of_pair = pair.as_ref().map_or(0, Pair::outputs);
        let inputs = dense + tables.width() + of_history + of_pair;
        let linear = config.kind == NetworkKind::Linear;
        Ok(Self {
            embeddings: initial.embeddings("embeddings", &tables.categorical),
            several: initial.embeddings("several", &tables.multi_valued),
            history: history.zip(all.history).map(|((shape, own), items)| {
                History::new(own, config, items, shape.kinds, &initial)
            }),
            pair,
            input_norm: (config.input_norm == InputNorm::Layer && dense > 0)
                .then(|| initial.norm(dense)),
            batch_norm: (config.input_norm == InputNorm::Batch && dense > 0)
                .then(|| BatchNorm::new(dense, &initial)),
            input: (!linear).then(|| initial.linear("input", inputs, hidden)),
            body: match config.kind {
                NetworkKind::Linear => None,
                NetworkKind::Mlp | NetworkKind::Similar => {
                    Some(Body::Mlp(Mlp::new(config, &initial)))
                }
                NetworkKind::Transformer => {
                    let transformer = Transformer::new("body", config, &initial);
                    Some(Body::Transformer(transformer))
                }
                NetworkKind::Gru => Some(Body::Gru(Gru::new(
                    "body.gru",
                    [hidden, hidden, config.layers],
                    config.bidirectional,
                    &initial,
                ))),
            },
            heads: initial.linear("heads", if linear { inputs } else { hidden }, columns),
            position: (config.position_slots > 0).then(|| {
                // No slot is favoured before training.
                initial.zeros(config.position_slots, columns)
            }),
        })
    }

    /// The inputs of a batch's lists.
    pub(crate) fn read(&self, shard: &Shard, batch: &Batch, device: &Device) -> Input {
        let running = self.batch_norm.as_ref().map(BatchNorm::running);
        self.read_by(shard, batch, running.as_ref(), device)
    }

    /// The inputs of a batch's lists, the dense ones standardised by what is given.
    pub(crate) fn read_by(
        &self,
        shard: &Shard,
        batch: &Batch,
        standard: Option<&Standard>,
        device: &Device,
    ) -> Input {
        let pair = self.pair.as_ref().map(Pair::inputs);
        Input::new(shard, batch, pair, standard, device)
    }

    /// Moments of a batch's dense inputs, where the network standardises by them.
    pub(crate) fn moments(&self, batch: &Batch) -> Option<BatchMoments> {
        self.batch_norm.as_ref()?;
        input::moments(batch, self.pair.as_ref().map(Pair::inputs))
    }

    /// The same network, whose running moments follow a batch's.
    pub(crate) fn followed(self, batch: &BatchMoments) -> Self {
        let batch_norm = self.batch_norm.map(|norm| norm.followed(batch));
        Self { batch_norm, ..self }
    }

    /// Numbers of an item's vector, in a network that compares two.
    pub(crate) fn vector_width(&self) -> Option<usize> {
        self.pair.as_ref().map(Pair::width)
    }

    /// Numbers of an item's vector in the space of tastes, 0 where visitors are not known.
    pub(crate) fn taste_width(&self) -> usize {
        self.pair.as_ref().map_or(0, Pair::taste_width)
    }

    /// The columns of every place.
    pub(crate) fn forward(&self, input: &Input, noise: &mut Noise) -> Pass {
        let mut parts: Vec<Tensor<2>> = Vec::new();
        if let Some(dense) = input.dense.clone() {
            parts.push(match (&self.input_norm, &self.batch_norm) {
                (Some(norm), _) => fused::norm(norm, dense),
                (None, Some(norm)) => norm.forward(dense),
                (None, None) => dense,
            });
        }
        for (table, ids) in self.embeddings.iter().zip(&input.ids) {
            parts.push(look_up(table, ids));
        }
        for (table, several) in self.several.iter().zip(&input.multi_valued) {
            parts.push(mean_of(table, several));
        }
        let mut vectors = None;
        if let (Some(pair), Some(items)) = (&self.pair, &input.pair) {
            let (known, both) = pair.forward(items, input.slots, noise);
            parts.push(known);
            vectors = Some(both);
        }
        if let (Some(encoder), Some(events)) = (&self.history, &input.history) {
            let vectors = encoder.forward(events, input.lists, noise);
            // The person of a list is the same at each of its places.
            parts.push(at_each_place(vectors, input.slots));
        }
        let joined = if parts.len() == 1 {
            parts.remove(0)
        } else {
            Tensor::cat(parts, 1)
        };
        let hidden = match &self.input {
            Some(layer) => fused::affine(layer, joined, false),
            None => joined,
        };
        let hidden = match &self.body {
            None => hidden,
            Some(Body::Mlp(mlp)) => mlp.forward(hidden, noise),
            Some(Body::Transformer(transformer)) => transformer.forward(hidden, &input.real, noise),
            Some(Body::Gru(gru)) => gru.forward(hidden, &input.real, noise),
        };
        Pass {
            columns: fused::affine(&self.heads, hidden, false),
            vectors,
        }
    }

    /// As [`forward`](Self::forward), with what each place adds to its scores by standing where it
    /// stood: for training on what was shown. Scores for a new order are without it.
    pub(crate) fn forward_as_shown(&self, input: &Input, noise: &mut Noise) -> Pass {
        let mut pass = self.forward(input, noise);
        if let Some(table) = &self.position {
            let last = table.weight.dims()[0] as i64 - 1;
            pass.columns = pass.columns + look_up(table, &input.slot.clone().clamp_max(last));
        }
        pass
    }
}

/// What is of a list, at each of its places.
///
/// # Shapes
/// - input: `[N, width]`, output: `[N·L, width]`
pub(crate) fn at_each_place(of_lists: Tensor<2>, slots: usize) -> Tensor<2> {
    let [lists, width] = of_lists.dims();
    let each: Tensor<3> = of_lists.unsqueeze_dim(1);
    each.expand([lists, slots, width])
        .reshape([lists * slots, width])
}

/// The mean of the vectors of several ids for each row.
///
/// # Shapes
/// - output: `[rows, width]`
pub(crate) fn mean_of(table: &Embedding, several: &Several) -> Tensor<2> {
    let vectors = embedding(table.weight.val(), several.ids.clone());
    let [rows, _, width] = vectors.dims();
    let mean = (vectors * several.share.clone()).sum_dim(1);
    mean.reshape([rows, width])
}

/// The vectors of one id for each row.
///
/// # Shapes
/// - ids: `[rows, 1]`, output: `[rows, width]`
pub(crate) fn look_up(table: &Embedding, ids: &Tensor<2, Int>) -> Tensor<2> {
    let vectors = embedding(table.weight.val(), ids.clone());
    let [rows, _, width] = vectors.dims();
    vectors.reshape([rows, width])
}

/// A linear layer and the non-linearity after it.
pub(crate) fn activated(kind: Activation, layer: &Linear, input: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::Relu => fused::affine(layer, input, true),
        Activation::Gelu => exact_gelu(fused::affine(layer, input, false)),
    }
}

/// Applies a non-linearity.
pub(crate) fn activate<const D: usize>(kind: Activation, input: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Relu => relu(input),
        Activation::Gelu => exact_gelu(input),
    }
}

/// GELU with the error function, forwards and backwards. Burn's own has the slope of the
/// approximation by tanh on cards.
fn exact_gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    if is_processor(&input.device()) {
        return gelu(input);
    }
    let share = (input.clone() * std::f32::consts::FRAC_1_SQRT_2).erf();
    input * (share + 1.0) * 0.5
}
