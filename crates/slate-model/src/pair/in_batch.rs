//! A loss over the other items of a batch: the candidate that was wanted beside all that were shown.
//!
//! For every positive placement `p` of a list with seed vector `s`, the loss is
//! `−z(p) + ln Σ exp z(j)` over the placements `j` of the batch, `z(j) = s · c(j) / temperature − ln q(j)`
//! (Yi et al. 2019). `q` is the share of placements that show the item: items shown often are met often as
//! negatives, and without the correction a tower would learn to avoid them. Placements of items that are
//! positive in the list are no negatives of it, wherever they are. The loss is a mean over positives by
//! their weight. Where the network knows what a page's visitor likes, `z` has that beside the seed's cosine.
//!
//! On the processor a large batch is cut into pieces of about 192 placements, lists of similar length
//! together, and negatives are those of the piece; a card has the batch in one.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use slate_types::Batch;

use super::PairVectors;
use crate::ModelError;
use crate::loss_options::Label;
use crate::objective::label_values;
use crate::options::{positive, refuse};
use crate::shards::Shard;

/// `[train.in_batch]` in a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InBatchOptions {
    /// What makes a placement positive.
    pub label: Label,
    /// Weight beside `train.losses`, above 0.
    pub weight: f64,
    /// What cosines are divided by, above 0.
    pub temperature: f64,
    /// Whether items that are shown often are corrected for.
    pub log_q: bool,
}

impl Default for InBatchOptions {
    fn default() -> Self {
        Self {
            label: Label::Purchase,
            weight: 1.0,
            temperature: 0.05,
            log_q: true,
        }
    }
}

/// The loss with its options checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InBatch(InBatchOptions);

/// A shard's share of the loss, and the slopes of both sides' vectors.
pub(crate) struct InBatchShare {
    pub(crate) loss: f64,
    /// `[N, width]`
    pub(crate) seed: Vec<f64>,
    /// `[N·L, width]`
    pub(crate) candidate: Vec<f64>,
}

impl InBatchOptions {
    pub(crate) fn check(&self) -> Result<InBatch, ModelError> {
        positive("in_batch.weight", self.weight)?;
        positive("in_batch.temperature", self.temperature)?;
        if self.temperature < 1e-3 {
            let allowed = "0.001 or more: cosines are divided by it";
            return Err(refuse("in_batch.temperature", allowed, self.temperature));
        }
        Ok(InBatch(self.clone()))
    }
}

impl InBatch {
    fn is_positive(&self, batch: &Batch, place: usize) -> bool {
        batch.mask[place]
            && batch.weight[place] > 0.0
            && label_values(self.0.label, batch)[place] > 0.0
    }

    /// What the loss of a batch is divided by: the weight of its positives.
    pub(crate) fn mass(&self, batch: &Batch) -> f64 {
        let places = (0..batch.mask.len()).filter(|&place| self.is_positive(batch, place));
        places.map(|place| f64::from(batch.weight[place])).sum()
    }

    /// What a list asks for and what a place is, so that their product divided by the temperature is
    /// `seed · candidate / temperature + visitor · candidate's taste`: a list wants what is like its seed
    /// and what its visitor likes.
    ///
    /// # Shapes
    /// - outputs: `[N, width]` and `[N·L, width]`
    pub(crate) fn sides(&self, vectors: &PairVectors) -> [Tensor<2>; 2] {
        let (seed, candidate) = (vectors.seed.clone(), vectors.candidate.clone());
        match &vectors.taste {
            None => [seed, candidate],
            Some(taste) => {
                let visitor = taste.visitor.clone() * self.0.temperature as f32;
                let of_candidate = taste.candidate.clone();
                [
                    Tensor::cat(vec![seed, visitor], 1),
                    Tensor::cat(vec![candidate, of_candidate], 1),
                ]
            }
        }
    }

    /// A shard's share of the batch's loss, times its weight.
    ///
    /// # Shapes
    /// - seed: `[N, width]`, candidate: `[N·L, width]`
    pub(crate) fn share(
        &self,
        batch: &Batch,
        shard: &Shard,
        mass: f64,
        seed: &[f64],
        candidate: &[f64],
    ) -> InBatchShare {
        let width = seed.len() / shard.lists;
        let mut share = InBatchShare {
            loss: 0.0,
            seed: vec![0.0; seed.len()],
            candidate: vec![0.0; candidate.len()],
        };
        if mass <= 0.0 {
            return share;
        }
        let real = shard.places.iter().enumerate();
        let real: Vec<(usize, usize)> = real
            .filter_map(|(row, place)| Some((row, (*place)?)))
            .collect();
        let mut scores = Vec::with_capacity(real.len());
        for list in 0..shard.lists {
            let own = list * shard.slots..(list + 1) * shard.slots;
            let positives: Vec<(usize, usize)> = real
                .iter()
                .copied()
                .filter(|(row, place)| own.contains(row) && self.is_positive(batch, *place))
                .collect();
            if positives.is_empty() {
                continue;
            }
            let seed = &seed[list * width..(list + 1) * width];
            scores.clear();
            scores.extend(real.iter().map(|&(row, place)| {
                let other = &candidate[row * width..(row + 1) * width];
                let cosine: f64 = seed.iter().zip(other).map(|(a, b)| a * b).sum();
                let share = if self.0.log_q {
                    f64::from(batch.item_share[place]).ln()
                } else {
                    0.0
                };
                cosine / self.0.temperature - share
            }));
            for &(row, place) in &positives {
                let factor = self.0.weight * f64::from(batch.weight[place]) / mass;
                let counts = |other: usize, there: usize| {
                    let wanted = |&(_, own): &(usize, usize)| batch.item[own] == batch.item[there];
                    other == row || !positives.iter().any(wanted)
                };
                let counted = || {
                    let all = real.iter().zip(&scores);
                    all.filter(|((other, there), _)| counts(*other, *there))
                        .map(|(&(other, _), &score)| (other, score))
                };
                let most = counted().map(|(_, score)| score).fold(f64::MIN, f64::max);
                let total: f64 = counted().map(|(_, score)| (score - most).exp()).sum();
                let own = counted().find(|(other, _)| *other == row);
                let own = own.map_or(0.0, |(_, score)| score);
                share.loss += factor * (most + total.ln() - own);
                for (other, score) in counted() {
                    let chosen = (score - most).exp() / total;
                    let slope = chosen - if other == row { 1.0 } else { 0.0 };
                    let slope = factor * slope / self.0.temperature;
                    let vector = other * width..(other + 1) * width;
                    for (at, there) in vector.enumerate() {
                        share.seed[list * width + at] += slope * candidate[there];
                        share.candidate[there] += slope * seed[at];
                    }
                }
            }
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::{PIECES, cut};

    /// Three lists of two, two and one placements; items 7 and 8 are shown twice, and 8 is bought where 7 is,
    /// and where it stands alone.
    fn batch() -> Batch {
        Batch {
            lists: 3,
            slots: 2,
            mask: vec![true, true, true, true, true, false],
            purchase: vec![1.0, 1.0, 0.0, 1.0, 1.0, 0.0],
            weight: vec![1.0, 1.0, 1.0, 2.0, 0.5, 0.0],
            item: vec![7, 8, 7, 9, 8, 0],
            item_share: vec![0.4, 0.4, 0.4, 0.2, 0.4, 0.0],
            ..Batch::default()
        }
    }

    fn vectors(rows: usize, rate: f64) -> Vec<f64> {
        (0..rows * 3).map(|at| (at as f64 * rate).sin()).collect()
    }

    fn loss(options: &InBatchOptions, seed: &[f64], candidate: &[f64]) -> InBatchShare {
        let batch = batch();
        let shards = cut(&batch, PIECES);
        assert_eq!(shards.len(), 1);
        let loss = options.check().unwrap();
        loss.share(&batch, &shards[0], loss.mass(&batch), seed, candidate)
    }

    /// The formula, pair by pair. The shard has the list of one placement first.
    fn twin(options: &InBatchOptions, seed: &[f64], candidate: &[f64]) -> f64 {
        let batch = batch();
        let rows = [(0, 4), (2, 0), (3, 1), (4, 2), (5, 3)];
        let seed_of = |row: usize| &seed[row / 2 * 3..][..3];
        let (mut total, mut mass) = (0.0, 0.0);
        for (row, place) in rows {
            if batch.purchase[place] == 0.0 {
                continue;
            }
            let weight = f64::from(batch.weight[place]);
            mass += weight;
            let score = |other: usize, there: usize| {
                let here = &candidate[other * 3..][..3];
                let dot: f64 = seed_of(row).iter().zip(here).map(|(a, b)| a * b).sum();
                let share = f64::from(batch.item_share[there]);
                let chance = if options.log_q { share } else { 1.0 };
                (dot / options.temperature).exp() / chance
            };
            let below: f64 = rows
                .iter()
                .filter(|(other, there)| {
                    // Items bought in the list of `row`: 7 and 8, 9, 8.
                    let bought: &[i64] = [&[8][..], &[7, 8], &[9]][row / 2];
                    *other == row || !bought.contains(&batch.item[*there])
                })
                .map(|&(other, there)| score(other, there))
                .sum();
            total -= weight * (score(row, place) / below).ln();
        }
        options.weight * total / mass
    }

    #[test]
    fn the_loss_is_its_formula_and_its_slopes_are_its_differences() {
        for log_q in [true, false] {
            let options = InBatchOptions {
                weight: 0.7,
                temperature: 0.5,
                log_q,
                ..Default::default()
            };
            let (seed, candidate) = (vectors(3, 1.3), vectors(6, 0.7));
            let share = loss(&options, &seed, &candidate);
            assert!((share.loss - twin(&options, &seed, &candidate)).abs() < 1e-12);
            let by_seed = differences(&seed, &|seed| loss(&options, seed, &candidate).loss);
            for (at, slope) in by_seed.into_iter().enumerate() {
                assert!((slope - share.seed[at]).abs() < 1e-8, "seed {at}");
            }
            let by_candidate = differences(&candidate, &|own| loss(&options, &seed, own).loss);
            for (at, slope) in by_candidate.into_iter().enumerate() {
                assert!((slope - share.candidate[at]).abs() < 1e-8, "candidate {at}");
            }
        }
    }

    /// The slope of a function by each number, from its values beside it.
    fn differences(values: &[f64], of: &dyn Fn(&[f64]) -> f64) -> Vec<f64> {
        let step = 1e-6;
        let moved = |at: usize, by: f64| {
            let mut values = values.to_vec();
            values[at] += by;
            of(&values)
        };
        (0..values.len())
            .map(|at| (moved(at, step) - moved(at, -step)) / (2.0 * step))
            .collect()
    }

    #[test]
    fn unsound_options_are_refused() {
        let refused = |options: InBatchOptions| options.check().unwrap_err().to_string();
        assert_eq!(
            refused(InBatchOptions {
                weight: 0.0,
                ..Default::default()
            }),
            "`train.in_batch.weight` is 0, expected a finite number above 0"
        );
        assert_eq!(
            refused(InBatchOptions {
                temperature: 1e-4,
                ..Default::default()
            }),
            "`train.in_batch.temperature` is 0.0001, expected 0.001 or more: cosines are divided by it"
        );
    }
}
