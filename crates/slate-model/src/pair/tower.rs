//! One item to one vector of length 1, from whatever is known of it.
//!
//! Every modality (a title's vector, a picture's vector, and all numbers and ids together) is brought
//! to the tower's width by a linear layer. A gate looks at each and says how much of it counts; the
//! shares of those that are there add up to 1, with that of a learned vector that is always there, so
//! that an item of which nothing is known has a vector too. A hidden layer follows, with a way around it.

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::input::{ItemInput, Sizes};
use crate::fused;
use crate::initial::Initial;
use crate::network::{activated, look_up, mean_of};
use crate::network_config::{Activation, NetworkConfig};
use crate::noise::Noise;
use crate::tables::TableSize;

/// What is added to the gate of a modality that is not there: its share is 0 then, exactly.
const ABSENT: f32 = -1e4;

/// A tower with its weights.
#[derive(Module, Debug)]
pub(crate) struct Tower {
    /// One for each vector that goes in.
    modalities: Vec<Linear>,
    embeddings: Vec<Embedding>,
    several: Vec<Embedding>,
    /// Of numbers and ids; none where there are none.
    facts: Option<Linear>,
    /// One for each of the above.
    gates: Vec<Linear>,
    /// `[1, width]`, what stands for an item of which nothing is known.
    nothing: Param<Tensor<2>>,
    inner: Linear,
    outer: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Tower {
    pub(super) fn new(
        name: &str,
        width: usize,
        config: &NetworkConfig,
        sizes: &Sizes,
        initial: &Initial<'_>,
    ) -> Self {
        let linear = |part: &str, inputs: usize, outputs: usize| {
            initial.linear(&format!("{name}.{part}"), inputs, outputs)
        };
        let tables = |part: &str, sizes: &[TableSize]| -> Vec<Embedding> {
            initial.embeddings(&format!("{name}.{part}"), sizes)
        };
        let facts = sizes.numbers + sizes.tables.width();
        let modalities = sizes.vectors.len() + usize::from(facts > 0);
        Self {
            modalities: sizes
                .vectors
                .iter()
                .enumerate()
                .map(|(at, &inputs)| linear(&format!("modalities.{at}"), inputs, width))
                .collect(),
            embeddings: tables("embeddings", &sizes.tables.categorical),
            several: tables("several", &sizes.tables.multi_valued),
            facts: (facts > 0).then(|| linear("facts", facts, width)),
            gates: (0..modalities)
                .map(|at| linear(&format!("gates.{at}"), width, 1))
                .collect(),
            nothing: initial.zeros(1, width).weight,
            inner: linear("inner", width, width),
            outer: linear("outer", width, width),
            activation: config.activation,
        }
    }

    /// The vectors of items; `present` says which of their vectors count.
    ///
    /// # Shapes
    /// - present: `[rows, modalities]`, output: `[rows, width]`
    pub(super) fn forward(
        &self,
        input: &ItemInput,
        present: Option<&Tensor<2>>,
        noise: &mut Noise,
    ) -> Tensor<2> {
        let mut seen: Vec<Tensor<2>> = Vec::new();
        let mut says: Vec<Tensor<2>> = Vec::new();
        for (at, (layer, vector)) in self.modalities.iter().zip(&input.vectors).enumerate() {
            let hidden = fused::affine(layer, vector.clone(), false);
            let gate = fused::affine(&self.gates[at], hidden.clone(), false);
            let present = present.expect("vectors come with their presence");
            let absent = present.clone().narrow(1, at, 1).neg().add_scalar(1.0) * ABSENT;
            says.push(gate + absent);
            seen.push(hidden);
        }
        if let Some(layer) = &self.facts {
            let mut parts: Vec<Tensor<2>> = input.numbers.iter().cloned().collect();
            let ids = self.embeddings.iter().zip(&input.ids);
            parts.extend(ids.map(|(table, ids)| look_up(table, ids)));
            let several = self.several.iter().zip(&input.several);
            parts.extend(several.map(|(table, several)| mean_of(table, several)));
            let hidden = fused::affine(layer, Tensor::cat(parts, 1), false);
            let gate = self.gates.last().expect("facts have a gate");
            says.push(fused::affine(gate, hidden.clone(), false));
            seen.push(hidden);
        }
        let nothing = self.nothing.val();
        let width = nothing.dims()[1];
        seen.push(nothing.expand([input.rows, width]));
        says.push(Tensor::zeros([input.rows, 1], &seen[0].device()));
        let shares = softmax(Tensor::cat(says, 1), 1);
        let parts = seen.into_iter().enumerate();
        let fused = parts
            .map(|(at, hidden)| hidden * shares.clone().narrow(1, at, 1))
            .reduce(|sum, part| sum + part)
            .expect("something stands for every item");
        let hidden = activated(self.activation, &self.inner, fused.clone());
        let vector = fused + fused::affine(&self.outer, noise.apply(hidden), false);
        let length = vector.clone().square().sum_dim(1).add_scalar(1e-12).sqrt();
        vector / length
    }
}
