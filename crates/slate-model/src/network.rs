//! The network: inputs to a hidden vector per slot, a body, and one score per head.
//!
//! Dense inputs and the embeddings of the categorical ones stand side by side; a linear layer
//! brings them to the hidden width; the body is an MLP or a transformer; a linear layer gives the
//! heads' columns, from which scores follow.

use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::activation::{gelu, relu};
use burn::tensor::module::embedding;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use slate_types::{FeatureShape, Seed};

use crate::ModelError;
use crate::initial::Initial;
use crate::mlp::Mlp;
use crate::network_config::{Activation, NetworkConfig, NetworkKind};
use crate::noise::Noise;
use crate::transformer::Transformer;

/// A network with its weights.
#[derive(Module, Debug)]
pub(crate) struct Network {
    embeddings: Vec<Embedding>,
    input: Linear,
    body: Body,
    heads: Linear,
}

/// What happens between the input layer and the heads.
#[derive(Module, Debug)]
enum Body {
    Mlp(Mlp),
    Transformer(Transformer),
}

/// `N` lists of `L` places as tensors, rows in list order.
pub(crate) struct Input {
    /// Lists, `N`.
    pub(crate) lists: usize,
    /// Places per list, `L`.
    pub(crate) slots: usize,
    /// `[N·L, D]`, or none without dense inputs.
    pub(crate) dense: Option<Tensor<2>>,
    /// One `[N·L, 1]` for each categorical input.
    pub(crate) ids: Vec<Tensor<2, Int>>,
    /// `[N, 1, 1, L]`, true on padding; none where no list is padded.
    pub(crate) padding: Option<Tensor<4, Bool>>,
}

impl Input {
    /// Puts host arrays on a device: dense `[N·L, D]`, ids one `[N·L]` per categorical input,
    /// `padding` `[N·L]`.
    pub(crate) fn new(
        [lists, slots]: [usize; 2],
        dense: Vec<f32>,
        ids: Vec<Vec<i64>>,
        padding: Vec<bool>,
        device: &Device,
    ) -> Self {
        let rows = lists * slots;
        let width = dense.len() / rows;
        let dense =
            (width > 0).then(|| Tensor::from_data(TensorData::new(dense, [rows, width]), device));
        let ids = ids
            .into_iter()
            .map(|column| Tensor::from_data(TensorData::new(column, [rows, 1]), device))
            .collect();
        let padding = padding
            .contains(&true)
            .then(|| Tensor::from_data(TensorData::new(padding, [lists, 1, 1, slots]), device));
        Self {
            lists,
            slots,
            dense,
            ids,
            padding,
        }
    }
}

impl Network {
    /// Builds a network with seeded initial weights and so many columns of output.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where there are no inputs, or a categorical input has no ids.
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
        if shape.dense == 0 && shape.categorical.is_empty() {
            return Err(refuse(
                "no inputs",
                "at least one dense or categorical input",
            ));
        }
        if let Some(column) = shape.categorical.iter().position(|&ids| ids == 0) {
            let given = format!("no ids for categorical input {column}");
            return Err(refuse(&given, "at least the unknown id 0"));
        }
        let initial = Initial {
            seed: seed.derive("initial weights"),
            device,
        };
        let widths: Vec<usize> = shape
            .categorical
            .iter()
            .map(|&ids| config.embedding_width_for(ids))
            .collect();
        let embeddings = shape
            .categorical
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (&ids, &width))| {
                initial.embedding(&format!("embeddings.{column}"), ids as usize, width)
            })
            .collect();
        let inputs = shape.dense + widths.iter().sum::<usize>();
        Ok(Self {
            embeddings,
            input: initial.linear("input", inputs, config.hidden),
            body: match config.kind {
                NetworkKind::Mlp => Body::Mlp(Mlp::new(config, &initial)),
                NetworkKind::Transformer => Body::Transformer(Transformer::new(config, &initial)),
            },
            heads: initial.linear("heads", config.hidden, columns),
        })
    }

    /// Scores of every place.
    ///
    /// # Shapes
    /// - output: `[N·L, columns]`, as [`Outputs`](crate::outputs::Outputs) says; padded places hold
    ///   numbers without meaning.
    pub(crate) fn forward(&self, input: &Input, noise: &mut Noise) -> Tensor<2> {
        let rows = input.lists * input.slots;
        let mut parts: Vec<Tensor<2>> = input.dense.iter().cloned().collect();
        for (table, ids) in self.embeddings.iter().zip(&input.ids) {
            let vectors = embedding(table.weight.val(), ids.clone());
            let width = vectors.dims()[2];
            parts.push(vectors.reshape([rows, width]));
        }
        let joined = if parts.len() == 1 {
            parts.remove(0)
        } else {
            Tensor::cat(parts, 1)
        };
        let hidden = self.input.forward(joined);
        let hidden = match &self.body {
            Body::Mlp(mlp) => mlp.forward(hidden, noise),
            Body::Transformer(transformer) => transformer.forward(hidden, input, noise),
        };
        self.heads.forward(hidden)
    }
}

/// Applies a non-linearity.
pub(crate) fn activate<const D: usize>(kind: Activation, input: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Relu => relu(input),
        Activation::Gelu => gelu(input),
    }
}
