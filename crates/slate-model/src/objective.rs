//! The losses of a config over a batch: what to divide by, and each shard's share.
//!
//! A batch's loss is the weighted sum of its losses, each a mean over the whole batch. The means'
//! divisors depend on labels and weights alone, so they are known before the first score; then
//! every shard can be computed by itself.

use slate_types::Batch;

use crate::ModelError;
use crate::loss::List;
use crate::loss_options::{Label, Loss};
use crate::outputs::Outputs;
use crate::shards::Shard;

/// The losses of a config, and what the network's columns mean.
pub(crate) struct Objective<'a> {
    pub(crate) losses: &'a [Loss],
    pub(crate) outputs: &'a Outputs,
}

impl Objective<'_> {
    /// The mass of each loss over all shards of a batch.
    pub(crate) fn masses(&self, batch: &Batch, shards: &[Shard]) -> Vec<f64> {
        let mut list = Buffers::default();
        let mut of_list = |loss: &Loss, places: &[Option<usize>]| {
            list.clear();
            let values = label_values(loss.label, batch);
            for &place in places.iter().flatten() {
                list.labels.push(loss.target(values[place]));
                list.weights.push(batch.weight[place].into());
            }
            loss.function.mass(&list.labels, &list.weights)
        };
        let mut mass = |loss: &Loss| {
            let mut total = 0.0;
            for shard in shards {
                let lists = shard.places.chunks_exact(shard.slots);
                total += lists.map(|places| of_list(loss, places)).sum::<f64>();
            }
            total
        };
        self.losses.iter().map(&mut mass).collect()
    }

    /// A shard's share of the batch's loss, and its gradient.
    ///
    /// # Shapes
    /// - scores, gradient: `[N, L, columns]`; the gradient is zero on padding.
    pub(crate) fn share(
        &self,
        batch: &Batch,
        shard: &Shard,
        masses: &[f64],
        scores: &[f64],
    ) -> (f64, Vec<f64>) {
        self.share_at(batch, shard, masses, [scores; 2])
    }

    /// As [`share`](Self::share), with ranks taken from the second scores.
    pub(crate) fn share_at(
        &self,
        batch: &Batch,
        shard: &Shard,
        masses: &[f64],
        scores: [&[f64]; 2],
    ) -> (f64, Vec<f64>) {
        let mut total = 0.0;
        let mut gradient = vec![0.0; scores[0].len()];
        for (loss, &mass) in self.losses.iter().zip(masses) {
            if mass > 0.0 {
                let factor = loss.weight / mass;
                let loss = self.sum(loss, batch, shard, scores, &mut |place, slope| {
                    gradient[place] += factor * slope;
                });
                total += factor * loss;
            }
        }
        (total, gradient)
    }

    /// Whether each loss finds a positive label in the batch.
    pub(crate) fn find_positives(&self, batch: &Batch, found: &mut [bool]) {
        for (loss, found) in self.losses.iter().zip(found) {
            let values = label_values(loss.label, batch);
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
                label: loss.label.name().to_owned(),
                loss: loss.kind.name().to_owned(),
                head: loss.head.name().to_owned(),
            }),
        }
    }

    /// One loss summed over a shard's lists; `slope` gets each place of the score array with the
    /// derivative of the sum.
    fn sum(
        &self,
        loss: &Loss,
        batch: &Batch,
        shard: &Shard,
        [scores, ranked_by]: [&[f64]; 2],
        slope: &mut dyn FnMut(usize, f64),
    ) -> f64 {
        let labels = label_values(loss.label, batch);
        let width = self.outputs.columns();
        let columns = loss.function.columns();
        let mut total = 0.0;
        let mut list = Buffers::default();
        let mut row_slopes = vec![0.0; width];
        for start in (0..shard.places.len()).step_by(shard.slots.max(1)) {
            list.clear();
            // Padding stands behind the slots of a list.
            for (slot, place) in shard.places[start..start + shard.slots].iter().enumerate() {
                let Some(place) = *place else { break };
                let row = (start + slot) * width..(start + slot + 1) * width;
                self.outputs
                    .read(loss, &scores[row.clone()], &mut list.scores);
                self.outputs
                    .read(loss, &ranked_by[row], &mut list.ranked_by);
                list.labels.push(loss.target(labels[place]));
                list.weights.push(batch.weight[place].into());
            }
            list.gradient.resize(list.scores.len(), 0.0);
            let part = loss.function.evaluate(
                List {
                    scores: &list.scores,
                    labels: &list.labels,
                    weights: &list.weights,
                    ranked_by: &list.ranked_by,
                },
                &mut list.gradient,
            );
            total += part.loss;
            for (slot, slopes) in list.gradient.chunks_exact(columns).enumerate() {
                let row = (start + slot) * width;
                row_slopes.fill(0.0);
                let values = &scores[row..row + width];
                self.outputs
                    .carry_back(loss, values, slopes, &mut row_slopes);
                for (column, &derivative) in row_slopes.iter().enumerate() {
                    slope(row + column, derivative);
                }
            }
        }
        total
    }
}

/// The arrays of one list, kept between lists.
#[derive(Default)]
struct Buffers {
    scores: Vec<f64>,
    ranked_by: Vec<f64>,
    labels: Vec<f64>,
    weights: Vec<f64>,
    gradient: Vec<f64>,
}

impl Buffers {
    fn clear(&mut self) {
        self.scores.clear();
        self.ranked_by.clear();
        self.labels.clear();
        self.weights.clear();
        self.gradient.clear();
    }
}

pub(crate) fn label_values(label: Label, batch: &Batch) -> &[f32] {
    match label {
        Label::Click => &batch.click,
        Label::Purchase => &batch.purchase,
        Label::Grade => &batch.grade,
    }
}
