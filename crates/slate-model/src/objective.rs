//! The losses of a config over a batch: what to divide by, and each shard's share.
//!
//! A batch's loss is the weighted sum of its losses, each a mean over the whole batch. The means'
//! divisors depend on labels and weights alone, so they are known before the first score; then
//! every shard can be computed by itself.

use slate_types::Batch;

use crate::loss::{self, Sum};
use crate::options::{Label, LossKind, LossOptions};
use crate::shards::Shard;
use crate::{Head, ModelError};

/// The losses of a config.
pub(crate) struct Objective<'a> {
    pub(crate) losses: &'a [LossOptions],
}

impl Objective<'_> {
    /// The mass of each loss over all shards of a batch.
    pub(crate) fn masses(&self, batch: &Batch, shards: &[Shard]) -> Vec<f64> {
        let mass = |loss: &LossOptions| {
            let of = |shard: &Shard| {
                let zeros = vec![0.0; shard.places.len() * Head::ALL.len()];
                sum(loss, batch, shard, &zeros, &mut |_, _| ()).mass
            };
            shards.iter().map(of).sum()
        };
        self.losses.iter().map(mass).collect()
    }

    /// A shard's share of the batch's loss, and its gradient.
    ///
    /// # Shapes
    /// - scores, gradient: `[N, L, 2]`, columns in the order of [`Head::ALL`]; the gradient is
    ///   zero on padding.
    pub(crate) fn share(
        &self,
        batch: &Batch,
        shard: &Shard,
        masses: &[f64],
        scores: &[f32],
    ) -> (f64, Vec<f32>) {
        let mut total = 0.0;
        let mut gradient = vec![0.0; scores.len()];
        for (loss, &mass) in self.losses.iter().zip(masses) {
            if mass > 0.0 {
                let factor = loss.weight / mass;
                let part = sum(loss, batch, shard, scores, &mut |place, slope| {
                    gradient[place] += factor * slope;
                });
                total += factor * part.loss;
            }
        }
        (
            total,
            gradient.into_iter().map(|slope| slope as f32).collect(),
        )
    }

    /// Whether each loss finds a positive label in the batch.
    pub(crate) fn find_positives(&self, batch: &Batch, found: &mut [bool]) {
        for (loss, found) in self.losses.iter().zip(found) {
            let values = label_values(loss.label(), batch);
            let weighted = |place: usize| batch.mask[place] && batch.weight[place] > 0.0;
            *found |= (0..values.len()).any(|place| weighted(place) && values[place] > 0.0);
        }
    }

    /// # Errors
    /// [`ModelError::NoPositives`] for the first loss that found none.
    pub(crate) fn require_positives(&self, found: &[bool]) -> Result<(), ModelError> {
        match self.losses.iter().zip(found).find(|(_, found)| !**found) {
            None => Ok(()),
            Some((loss, _)) => Err(ModelError::NoPositives {
                label: loss.label().name().to_owned(),
                loss: loss.loss.name().to_owned(),
                head: loss.head.name().to_owned(),
            }),
        }
    }
}

/// One loss summed over a shard's lists; `slope` gets each place of the score array with the
/// derivative of the sum.
fn sum(
    loss: &LossOptions,
    batch: &Batch,
    shard: &Shard,
    scores: &[f32],
    slope: &mut dyn FnMut(usize, f64),
) -> Sum {
    let labels = label_values(loss.label(), batch);
    let mut total = Sum::default();
    let mut list = List::default();
    for start in (0..shard.places.len()).step_by(shard.slots.max(1)) {
        list.clear();
        // Padding stands behind the slots of a list.
        for (slot, place) in shard.places[start..start + shard.slots].iter().enumerate() {
            let Some(place) = *place else { break };
            let score = scores[(start + slot) * Head::ALL.len() + loss.head.column()];
            let label = f64::from(labels[place]);
            list.scores.push(score.into());
            list.labels.push(match loss.label() {
                Label::Click | Label::Purchase => label,
                Label::Grade => label.exp2() - 1.0,
            });
            list.weights.push(batch.weight[place].into());
        }
        list.gradient.resize(list.scores.len(), 0.0);
        let function = match loss.loss {
            LossKind::Softmax => loss::softmax,
            LossKind::Bce => loss::bce,
        };
        let part = function(
            &list.scores,
            &list.labels,
            &list.weights,
            &mut list.gradient,
        );
        total.loss += part.loss;
        total.mass += part.mass;
        for (slot, &derivative) in list.gradient.iter().enumerate() {
            slope(
                (start + slot) * Head::ALL.len() + loss.head.column(),
                derivative,
            );
        }
    }
    total
}

/// The arrays of one list, kept between lists.
#[derive(Default)]
struct List {
    scores: Vec<f64>,
    labels: Vec<f64>,
    weights: Vec<f64>,
    gradient: Vec<f64>,
}

impl List {
    fn clear(&mut self) {
        self.scores.clear();
        self.labels.clear();
        self.weights.clear();
        self.gradient.clear();
    }
}

fn label_values(label: Label, batch: &Batch) -> &[f32] {
    match label {
        Label::Click => &batch.click,
        Label::Purchase => &batch.purchase,
        Label::Grade => &batch.grade,
    }
}
