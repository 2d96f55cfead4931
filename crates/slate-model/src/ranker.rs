//! A ranker: a network with its weights, for inference.
//!
//! Input: a [`Batch`] of the shape it was trained for. Output: one score per slot and head. A
//! score depends on its list alone, not on the batch around it nor on the number of threads,
//! but for the last bit or two where another batch means another amount of padding.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use slate_types::{Batch, FeatureShape, Seed};

use crate::network::{Network, Pass};
use crate::network_config::NetworkConfig;
use crate::noise::Noise;
use crate::outputs::Outputs;
use crate::replicas::Replicas;
use crate::shards::Shard;
use crate::weights::{self, Weight, fetch};
use crate::{DeviceSpec, Head, ModelError, TrainConfig, batch_check};

/// A network with its weights; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ranker {
    network: Network,
    description: Description,
    replicas: Replicas,
}

/// What a network is besides its weights: `model.json`, less its version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) network: NetworkConfig,
    pub(crate) shape: FeatureShape,
    pub(crate) outputs: Outputs,
    pub(crate) score_head: Head,
}

impl Description {
    pub(crate) fn of(config: &TrainConfig, shape: &FeatureShape) -> Self {
        Self {
            network: config.network().clone(),
            shape: shape.clone(),
            outputs: config.outputs().clone(),
            score_head: config.options().score_head,
        }
    }
}

/// Scores of a batch, `[B, L]` in the batch's order.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchScores {
    /// Scores of the click head, larger = likelier; `NaN` on padding.
    pub click: Vec<f32>,
    /// Scores of the purchase head, larger = likelier; `NaN` on padding.
    pub purchase: Vec<f32>,
    /// Scores of the grade head, larger = more relevant; `NaN` on padding. Empty for a network
    /// without one.
    pub grade: Vec<f32>,
}

/// Vectors of a batch's items, each of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchVectors {
    /// Numbers of one vector.
    pub width: usize,
    /// `[B, width]`, of the lists' seed items; `NaN` for a list without slots.
    pub seed: Vec<f32>,
    /// `[B, L, width]`, of the items in the slots; `NaN` on padding.
    pub candidate: Vec<f32>,
    /// Numbers of a vector in the space of tastes; 0 where the network does not know visitors.
    pub taste_width: usize,
    /// `[B, L, taste_width]`, of the items in the slots; `NaN` on padding. The vector of a visitor is
    /// `Σ v / (n + prior)` over those of the `n` items in the history, and a visitor's product with a
    /// candidate is how like the candidate is to them.
    pub taste: Vec<f32>,
}

impl BatchScores {
    /// The scores of one head.
    pub fn of(&self, head: Head) -> &[f32] {
        match head {
            Head::Click => &self.click,
            Head::Purchase => &self.purchase,
            Head::Grade => &self.grade,
        }
    }
}

impl BatchScores {
    fn of_mut(&mut self, head: Head) -> &mut Vec<f32> {
        match head {
            Head::Click => &mut self.click,
            Head::Purchase => &mut self.purchase,
            Head::Grade => &mut self.grade,
        }
    }
}

impl Ranker {
    /// A ranker with the initial weights that training starts from.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where `shape` has no inputs, or a categorical input without ids.
    pub fn untrained(
        config: &TrainConfig,
        shape: &FeatureShape,
        seed: Seed,
        device: DeviceSpec,
    ) -> Result<Self, ModelError> {
        let description = Description::of(config, shape);
        Self::build(description, seed, Replicas::open(device, None)?)
    }

    /// The same ranker, its batches shared out to `count` threads of the processor, or to `count`
    /// cards from the named one on.
    ///
    /// # Errors
    /// [`ModelError::Device`] for a card that is not there, [`ModelError::Threads`].
    pub fn with_replicas(self, device: DeviceSpec, count: u32) -> Result<Self, ModelError> {
        let replicas = Replicas::open(device, Some(count))?;
        Ok(Self { replicas, ..self })
    }

    pub(crate) fn build(
        description: Description,
        seed: Seed,
        replicas: Replicas,
    ) -> Result<Self, ModelError> {
        let network = Network::new(
            &description.network,
            &description.shape,
            description.outputs.columns(),
            seed,
            replicas.first(),
        )?;
        Ok(Self {
            network,
            description,
            replicas,
        })
    }

    /// Scores every slot of a batch. Labels and weights are not looked at.
    ///
    /// Scores are log-odds for a head trained with binary cross-entropy, and otherwise only
    /// comparable inside a list. A batch without lists gives no scores.
    ///
    /// # Errors
    /// [`ModelError::BatchShape`] and [`ModelError::BatchValue`] for a batch that does not fit
    /// the feature shape of this ranker, [`ModelError::Compute`] for a device that fails.
    pub fn score(&self, batch: &Batch) -> Result<BatchScores, ModelError> {
        batch_check::features(batch, self.shape())?;
        let shards = self.replicas.cut(batch);
        let parts = self.replicas.map(shards.len(), |place, device| {
            let scores = fetch(self.pass(&shards[place], batch, device).columns)?;
            Ok(scores.into_iter().map(f64::from).collect())
        });
        let parts = parts
            .into_iter()
            .collect::<Result<Vec<Vec<f64>>, ModelError>>()?;
        let outputs = &self.description.outputs;
        let mut scores = BatchScores {
            click: Vec::new(),
            purchase: Vec::new(),
            grade: Vec::new(),
        };
        for head in outputs.heads() {
            let column = scores.of_mut(head);
            column.resize(batch.mask.len(), f32::NAN);
            for (shard, values) in shards.iter().zip(&parts) {
                let rows = values.chunks_exact(outputs.columns());
                for (place, row) in shard.places.iter().zip(rows) {
                    if let Some(place) = *place {
                        column[place] = outputs.score(head, row) as f32;
                    }
                }
            }
        }
        Ok(scores)
    }

    fn pass(&self, shard: &Shard, batch: &Batch, device: &Device) -> Pass {
        let input = self.network.read(shard, batch, device);
        let noise = &mut Noise::none(device);
        if device == self.replicas.first() {
            self.network.forward(&input, noise)
        } else {
            let network = self.network.clone().to_device(device);
            network.forward(&input, noise)
        }
    }

    /// The vectors of a batch's items, or none for a network that does not compare two. The product of
    /// a seed's vector with a candidate's is the cosine that the network reads.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn vectors(&self, batch: &Batch) -> Result<Option<BatchVectors>, ModelError> {
        let Some(width) = self.network.vector_width() else {
            return Ok(None);
        };
        batch_check::features(batch, self.shape())?;
        let shards = self.replicas.cut(batch);
        let parts = self.replicas.map(shards.len(), |place, device| {
            let vectors = self.pass(&shards[place], batch, device).vectors;
            let vectors = vectors.expect("a network with towers gives vectors");
            let taste = vectors.taste.map(|taste| fetch(taste.candidate));
            let taste = taste.transpose()?.unwrap_or_default();
            Ok([fetch(vectors.seed)?, fetch(vectors.candidate)?, taste])
        });
        let taste_width = self.network.taste_width();
        let mut vectors = BatchVectors {
            width,
            seed: vec![f32::NAN; batch.lists * width],
            candidate: vec![f32::NAN; batch.mask.len() * width],
            taste_width,
            taste: vec![f32::NAN; batch.mask.len() * taste_width],
        };
        for (shard, part) in shards.iter().zip(parts) {
            let [seed, candidate, taste] = part?;
            let rows = candidate.chunks_exact(width).zip(&shard.places);
            for (row, (values, place)) in rows.enumerate() {
                let Some(place) = *place else { continue };
                vectors.candidate[place * width..(place + 1) * width].copy_from_slice(values);
                vectors.taste[place * taste_width..(place + 1) * taste_width]
                    .copy_from_slice(&taste[row * taste_width..(row + 1) * taste_width]);
                let (list, own) = (place / batch.slots, row / shard.slots);
                vectors.seed[list * width..(list + 1) * width]
                    .copy_from_slice(&seed[own * width..(own + 1) * width]);
            }
        }
        Ok(Some(vectors))
    }

    /// The head whose scores rank a list.
    pub fn score_head(&self) -> Head {
        self.description.score_head
    }

    /// The inputs this ranker takes.
    pub fn shape(&self) -> &FeatureShape {
        &self.description.shape
    }

    /// The shape of the network.
    pub fn network_config(&self) -> &NetworkConfig {
        &self.description.network
    }

    /// Number of weights, embeddings and running moments included.
    pub fn parameters(&self) -> usize {
        self.weights()
            .values()
            .map(|weight| weight.values.len())
            .sum()
    }

    #[cfg(all(test, feature = "gpu"))]
    pub(crate) fn with_devices(self, replicas: Replicas) -> Self {
        Self { replicas, ..self }
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// The same ranker with other weights.
    pub(crate) fn with_network(&self, network: Network) -> Self {
        Self {
            network,
            ..self.clone()
        }
    }

    pub(crate) fn weights(&self) -> BTreeMap<String, Weight> {
        weights::read(&self.network)
    }

    /// Largest weight by size; NaN where there is one.
    pub(crate) fn largest_weight(&self) -> f64 {
        let larger = |most: f64, weight: &f32| {
            let size = f64::from(weight.abs());
            if size > most || size.is_nan() {
                size
            } else {
                most
            }
        };
        self.weights()
            .values()
            .flat_map(|weight| &weight.values)
            .fold(0.0, larger)
    }
}
