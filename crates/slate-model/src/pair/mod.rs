//! Two items compared: the page's seed item and the one in a slot.
//!
//! A tower brings each to a vector of length 1. What is known of the pair then is their cosine, their
//! product number by number, both vectors, and the cosines of the vectors that went in, where both
//! sides have them; and, where it is asked for, how like the candidate is to what the page's visitor did
//! before. The towers may be one tower with one set of weights.

mod in_batch;
mod input;
mod options;
mod taste;
mod tower;

use burn::module::Module;
use burn::tensor::Tensor;
use slate_types::{FeatureShape, PairInputs, VisitorPlaces};

pub(crate) use in_batch::InBatch;
pub use in_batch::InBatchOptions;
pub(crate) use input::PairInput;
pub use options::{TowersConfig, TowersOptions};

use crate::ModelError;
use crate::initial::Initial;
use crate::network::at_each_place;
use crate::network_config::NetworkConfig;
use crate::noise::Noise;
use crate::tables::TableSizes;
use taste::{Taste, TasteVectors};
use tower::Tower;

/// Both towers.
#[derive(Module, Debug)]
pub(crate) struct Pair {
    seed: Tower,
    /// None where the seed's tower is of both.
    candidate: Option<Tower>,
    taste: Taste,
    #[module(skip)]
    inputs: PairInputs,
    #[module(skip)]
    modality_dropout: f64,
    width: usize,
}

/// The vectors of both sides, each of length 1, and those of tastes.
pub(crate) struct PairVectors {
    /// `[N, width]`, one for each list.
    pub(crate) seed: Tensor<2>,
    /// `[N·L, width]`, one for each place.
    pub(crate) candidate: Tensor<2>,
    /// Of visitors and candidates, where visitors are known by something.
    pub(crate) taste: Option<TasteVectors>,
}

/// Refuses places of inputs that a shape does not have.
///
/// # Errors
/// [`ModelError::Shape`].
pub(crate) fn check(shape: &FeatureShape) -> Result<(), ModelError> {
    let sides = shape.pair.iter();
    let mut sides = sides.flat_map(|pair| [&pair.seed, &pair.candidate, &pair.context]);
    if let Some(pair) = &shape.pair {
        let fits = |entry: &&VisitorPlaces| {
            entry.visitor.len() == entry.candidate.len()
                && entry.visitor.end <= shape.dense
                && pair.candidate.vectors.contains(&entry.candidate)
        };
        if let Some(entry) = pair.visitor.iter().find(|entry| !fits(entry)) {
            return Err(ModelError::Shape {
                expected: "a vector of the candidate, and one of the visitor as wide".to_owned(),
                given: format!("{entry:?}"),
            });
        }
    }
    match sides.find(|side| !input::are_there(side, shape)) {
        None => Ok(()),
        Some(side) => Err(ModelError::Shape {
            expected: "places of inputs that there are".to_owned(),
            given: format!("{side:?}"),
        }),
    }
}

impl Pair {
    /// # Errors
    /// [`ModelError::Shape`] where nothing says which inputs are whose, or two sides that share a tower
    /// differ.
    pub(crate) fn new(
        towers: &TowersConfig,
        config: &NetworkConfig,
        shape: &FeatureShape,
        tables: &TableSizes,
        initial: &Initial<'_>,
    ) -> Result<Self, ModelError> {
        let refuse = |expected: &str, given: String| ModelError::Shape {
            expected: expected.to_owned(),
            given,
        };
        let Some(inputs) = &shape.pair else {
            let given = "inputs of no item".to_owned();
            return Err(refuse("inputs of a seed item and of a candidate", given));
        };
        let tower = |name: &str, side| Tower::new(name, towers.width, config, side, initial);
        let (seed, candidate) = (
            input::sizes(&inputs.seed, tables),
            input::sizes(&inputs.candidate, tables),
        );
        if towers.shared && seed != candidate {
            let expected = "inputs of the same sizes for both sides of a shared tower";
            let given = format!("{seed:?} of the seed and {candidate:?} of the candidate");
            return Err(refuse(expected, given));
        }
        Ok(Self {
            seed: tower("pair.seed", &seed),
            candidate: (!towers.shared).then(|| tower("pair.candidate", &candidate)),
            taste: Taste::new(towers.width, &inputs.visitor, initial),
            inputs: inputs.clone(),
            modality_dropout: towers.modality_dropout,
            width: towers.width,
        })
    }

    /// Numbers that [`forward`](Self::forward) gives for each place.
    pub(crate) fn outputs(&self) -> usize {
        let visitor = self.inputs.visitor.len();
        1 + 3 * self.width + input::matching(&self.inputs).count() + visitor
    }

    /// Which inputs of a batch are whose.
    pub(crate) fn inputs(&self) -> &PairInputs {
        &self.inputs
    }

    /// Numbers of a side's vector.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Numbers of an item's vector in the space of tastes, all kinds of content together.
    pub(crate) fn taste_width(&self) -> usize {
        self.inputs.visitor.len() * self.width
    }

    /// What is known of each pair, and the vectors of both sides.
    ///
    /// # Shapes
    /// - output: `[N·L, outputs]`
    pub(crate) fn forward(
        &self,
        input: &PairInput,
        slots: usize,
        noise: &mut Noise,
    ) -> (Tensor<2>, PairVectors) {
        let candidate = self.candidate.as_ref().unwrap_or(&self.seed);
        // What is taken for absent is so for the gates and for the cosines.
        let mut kept = |present: &Option<Tensor<2>>| {
            let present = present.clone();
            present.map(|present| noise.keep(self.modality_dropout, present))
        };
        let present = [kept(&input.seed.present), kept(&input.candidate.present)];
        let seed = self.seed.forward(&input.seed, present[0].as_ref(), noise);
        let of_candidate = candidate.forward(&input.candidate, present[1].as_ref(), noise);
        let there = at_each_place(seed.clone(), slots);
        let here = of_candidate.clone();
        let product = there.clone() * here.clone();
        let mut known = vec![product.clone().sum_dim(1), product, there, here];
        if let ([Some(of_seed), Some(of_candidate)], Some(cosines)) = (&present, &input.cosines) {
            let of_seed = at_each_place(of_seed.clone(), slots);
            for (column, at) in input::matching(&self.inputs).enumerate() {
                let both = of_seed.clone().narrow(1, at, 1) * of_candidate.clone().narrow(1, at, 1);
                known.push(cosines.clone().narrow(1, column, 1) * both);
            }
        }
        let dropout = self.modality_dropout;
        let taste = self.taste.forward(&input.visitor, slots, dropout, noise);
        let taste = taste.map(|(like, vectors)| {
            known.push(like);
            vectors
        });
        let vectors = PairVectors {
            seed,
            candidate: of_candidate,
            taste,
        };
        (Tensor::cat(known, 1), vectors)
    }
}
