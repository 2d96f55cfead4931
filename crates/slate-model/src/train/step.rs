//! One optimiser step: batches to shards, shards through the network and back, weights moved.

use std::collections::BTreeMap;

use slate_types::{Batch, Seed};

use super::piece::{Leaves, Task, backward};
use crate::batch_norm::BatchMoments;
use crate::error::Culprit;
use crate::gradients::{Gradients, RunningSum};
use crate::network::Network;
use crate::noise::Noise;
use crate::objective::Objective;
use crate::optimizer::Optimizer;
use crate::parts::Part;
use crate::ranker::Ranker;
use crate::shards::Shard;
use crate::weights::{self, Weight, host};
use crate::{ModelError, OptimizerState, Precision, TrainConfig, distil, shards};

/// What changes from step to step, and what each step needs.
pub(super) struct Trainer<'a> {
    config: &'a TrainConfig,
    seed: Seed,
    pub(super) optimizer: Optimizer,
    pub(super) network: Network,
    /// Running mean of the weights, by name, where one is kept.
    pub(super) mean: Option<BTreeMap<String, Weight>>,
    /// The ranker before any step: shape, device and workers; what an update is drawn to.
    start: Ranker,
    /// Whether each parameter stays as it was.
    frozen: Vec<bool>,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(
        config: &'a TrainConfig,
        seed: Seed,
        start: Ranker,
        kept: Option<&OptimizerState>,
    ) -> Result<Self, ModelError> {
        let names = weights::names(start.network());
        let rate = |name: &str| {
            config
                .update()
                .map_or(1.0, |own| own.rates.of(Part::of(name)))
        };
        let rates: Vec<f64> = names.iter().map(|(name, _)| rate(name)).collect();
        let frozen = rates.iter().map(|&rate| rate == 0.0).collect();
        let mut optimizer = Optimizer::new(config.options()).with_factors(rates);
        if let Some(kept) = kept {
            kept.begin(&mut optimizer, &names)?;
        }
        Ok(Self {
            config,
            seed,
            optimizer,
            frozen,
            network: start.network().clone(),
            mean: (config.options().ema > 0.0).then(|| start.weights()),
            start,
        })
    }

    pub(super) fn start(&self) -> &Ranker {
        &self.start
    }

    pub(super) fn objective(&self) -> Objective<'a> {
        Objective {
            losses: self.config.losses(),
            outputs: self.config.outputs(),
        }
    }

    /// Step number `step` over a group of batches; the batches' losses, and the norm of the mean
    /// of their gradients before clipping.
    pub(super) fn step(
        &mut self,
        step: u64,
        group: &[Batch],
        rate: f64,
    ) -> Result<(Vec<f64>, f64), ModelError> {
        let seed = self.seed.derive("dropout").index(step);
        let mut losses = Vec::with_capacity(group.len());
        let workers = self.start.replicas().workers();
        let mut total: Option<Gradients> = None;
        let mut moments = Vec::new();
        for (place, batch) in group.iter().enumerate() {
            // The first batch has the seed of a step of one batch.
            let seed = if place == 0 {
                seed
            } else {
                seed.derive("batch").index(place as u64)
            };
            let own = self.moments(batch);
            let (loss, gradients) = self.backward(batch, own.as_ref(), seed)?;
            if !loss.is_finite() {
                return Err(self.diverged(step, "loss", loss, Some(batch)));
            }
            losses.push(loss);
            // At once, so that a large group keeps no more gradients than a small one.
            total = Some(match total {
                None => gradients,
                Some(total) => Gradients::sum([total, gradients], workers),
            });
            moments.extend(own);
        }
        let mut total = total.expect("a group has at least one batch");
        if group.len() > 1 {
            total.scale(1.0 / group.len() as f32, workers);
        }
        // Without a gradient a parameter stays, and clipping does not count it.
        for (gradient, _) in total.0.iter_mut().zip(&self.frozen).filter(|(_, is)| **is) {
            *gradient = None;
        }
        let norm = total.clip(self.config.options().gradient_clip, workers);
        if !norm.is_finite() {
            return Err(self.diverged(step, "gradient norm", norm, group.first()));
        }
        self.optimizer
            .step(rate, &mut self.network, &total, workers);
        for own in &moments {
            self.network = self.network.clone().followed(own);
        }
        self.follow(step);
        Ok((losses, norm))
    }

    /// The loss of a batch and its gradient; dense inputs are standardised by `moments` where there are some.
    ///
    /// # Errors
    /// [`ModelError::Compute`] for a device that fails.
    pub(super) fn backward(
        &self,
        batch: &Batch,
        moments: Option<&BatchMoments>,
        seed: Seed,
    ) -> Result<(f64, Gradients), ModelError> {
        let replicas = self.start.replicas();
        let shards = replicas.cut(batch);
        let objective = self.objective();
        let in_batch = self.config.in_batch();
        let task = Task {
            standard: moments.map(BatchMoments::standard),
            network: &self.network,
            leaves: Leaves::default(),
            masses: objective.masses(batch, &shards),
            objective,
            in_batch: in_batch.map(|loss| (loss, loss.mass(batch))),
            teacher: self.teacher(batch, &shards),
            batch,
        };
        let dropout = self.config.network().dropout;
        let precision = self.config.options().precision;
        let (sum, workers) = (RunningSum::default(), replicas.workers());
        let parts = replicas.map(shards.len(), |place, device| {
            let run = |precision| {
                let mut noise = Noise::dropout(dropout, seed.index(place as u64), device);
                backward(&task, &shards[place], precision, &mut noise)
            };
            let (mut loss, mut gradients) = run(precision)?;
            let is_sound = || loss.is_finite() && gradients.is_finite();
            if precision == Precision::Mixed && !is_sound() {
                (loss, gradients) = run(Precision::Full)?;
            }
            sum.put(place, gradients);
            // The last ones are for all threads together, which have nothing else to do then.
            if place + workers.threads() < shards.len() {
                sum.advance();
            }
            Ok(loss)
        });
        let losses = parts.into_iter().collect::<Result<Vec<f64>, _>>()?;
        Ok((losses.iter().sum(), sum.finish(workers)))
    }

    /// Moments of a batch's dense inputs, where the network standardises by them; none where an update keeps
    /// the body, which reads by its running moments then.
    fn moments(&self, batch: &Batch) -> Option<BatchMoments> {
        let update = self.config.update();
        let stays = update.is_some_and(|own| own.rates.of(Part::Body) == 0.0);
        (!stays).then(|| self.network.moments(batch)).flatten()
    }

    /// What an update with a penalty is drawn to, and what each slot's distance counts.
    fn teacher(&self, batch: &Batch, shards: &[Shard]) -> Option<(&Network, f64)> {
        let weight = self.config.update().map_or(0.0, |own| own.distil);
        let mass = (weight > 0.0).then(|| distil::mass(batch, shards))?;
        (mass > 0.0).then(|| (self.start.network(), weight / mass))
    }

    /// Moves the running mean after the weights.
    fn follow(&mut self, step: u64) {
        let Some(mean) = &mut self.mean else { return };
        // Early means would be of the initial weights: the first steps count more.
        let early = (1.0 + step as f64) / (10.0 + step as f64);
        let kept = self.config.options().ema.min(early) as f32;
        for (name, weight) in weights::read(&self.network) {
            let mean = mean.get_mut(&name).expect("a network keeps its names");
            let pairs = mean.values.iter_mut().zip(&weight.values);
            // A weight that never moved is its own mean to the bit.
            let moving = pairs.filter(|(mean, weight)| mean != weight);
            moving.for_each(|(mean, weight)| *mean = *mean * kept + weight * (1.0 - kept));
        }
    }

    /// The weights after `step` as they are, or their running mean, for inference.
    pub(super) fn ranker(&self, step: u64) -> Result<Ranker, ModelError> {
        let network = match &self.mean {
            Some(mean) => weights::replace(self.network.clone(), mean.clone()),
            None => self.network.clone(),
        };
        let ranker = self.start.with_network(network);
        let largest = ranker.largest_weight();
        if largest.is_finite() {
            Ok(ranker)
        } else {
            Err(self.diverged(step, "largest weight", largest, None))
        }
    }

    fn diverged(
        &self,
        step: u64,
        what: &'static str,
        value: f64,
        batch: Option<&Batch>,
    ) -> ModelError {
        ModelError::Diverged {
            step,
            what,
            value,
            culprit: batch.and_then(|batch| self.culprit(batch)),
            best: None,
        }
    }

    /// The first slot whose scores are not finite, or else the one with the largest input.
    fn culprit(&self, batch: &Batch) -> Option<Culprit> {
        let device = self.start.replicas().first();
        let mut failing: Option<usize> = None;
        for shard in shards::cut(batch, shards::PIECES) {
            let input = self.network.read(&shard, batch, device);
            let scores = host(
                self.network
                    .forward(&input, &mut Noise::none(device))
                    .columns,
            );
            let columns = scores.len() / shard.places.len();
            let rows = scores.chunks_exact(columns).zip(&shard.places);
            let bad = rows.filter(|(row, _)| row.iter().any(|score| !score.is_finite()));
            let first = bad.filter_map(|(_, place)| *place).min();
            failing = failing.into_iter().chain(first).min();
        }
        let width = batch.dense_width;
        if width == 0 {
            return None;
        }
        let largest = |place: usize| {
            let row = batch.dense[place * width..(place + 1) * width]
                .iter()
                .enumerate();
            row.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
                .map(|(column, value)| (column, *value))
        };
        let real = (0..batch.mask.len()).filter(|&place| batch.mask[place]);
        let place = failing.or_else(|| {
            real.max_by(|&a, &b| {
                let size = |place| largest(place).map_or(0.0, |(_, value)| value.abs());
                size(a).total_cmp(&size(b))
            })
        })?;
        let (column, value) = largest(place)?;
        Some(Culprit {
            list: batch.list_number(place / batch.slots),
            slot: place % batch.slots,
            column,
            value,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::Range;

    use burn::tensor::Device;
    use slate_types::{
        FeatureShape, HistoryShape, InputPlaces, ListHistory, PairInputs, SlotIds, VisitorPlaces,
    };

    use super::super::piece::doubles;
    use super::*;
    use crate::outputs::Outputs;
    use crate::weights::{names, read, replace};
    use crate::{
        Activation, Head, HistoryChoice, HistoryOptions, InBatchOptions, InputNorm, LossKind,
        LossOptions, NetworkKind, NetworkOptions, TowersOptions,
    };

    /// Lists of 1, 3 and 4 slots, one of them without labels.
    pub(in crate::train) fn batch() -> Batch {
        let lengths = [1, 3, 4, 2];
        let real = |place: usize| place % 4 < lengths[place / 4];
        let wave = |place: usize, rate: f32| (place as f32 * rate).sin();
        let label = |place: usize| {
            f32::from(u8::from(
                place < 12 && place.is_multiple_of(3) && real(place),
            ))
        };
        Batch {
            lists: 4,
            slots: 4,
            dense_width: 2,
            categorical_width: 1,
            dense: (0..32).map(|place| wave(place, 1.7)).collect(),
            categorical: (0..16).map(|place| place % 3).collect(),
            mask: (0..16).map(real).collect(),
            click: (0..16).map(label).collect(),
            purchase: (0..16).map(label).collect(),
            grade: (0..16).map(label).collect(),
            weight: (0..16).map(|place| 1.5 + wave(place, 0.9)).collect(),
            slot: (0..16).map(|place| place % 4).collect(),
            multi_valued: vec![SlotIds {
                offsets: (0..=16_u32).map(|place| place * 2 - place.min(3)).collect(),
                values: (0..29).map(|at| at % 4).collect(),
            }],
            history: Some(ListHistory {
                offsets: vec![0, 3, 3, 4, 6],
                item: vec![1, 4, 0, 2, 2, 3],
                kind: vec![0, 1, 1, 0, 1, 0],
                age: vec![3.0, 2.5, 0.1, 1.0, 2.0, 0.5],
            }),
            ..Batch::default()
        }
    }

    /// As [`batch`], with a seed item: three numbers of the five are of items, and so is the last id.
    pub(in crate::train) fn pairs() -> (Batch, PairInputs) {
        let one = batch();
        let mut dense = Vec::new();
        let mut categorical = Vec::new();
        for place in 0..16 {
            let seed = (place / 4) as f32;
            dense.extend_from_slice(&one.dense[2 * place..2 * place + 2]);
            // Lists 1 and 2 have a seed without a vector, every third candidate has none.
            let is_there = |there: bool, value: f32| if there { value } else { 0.0 };
            let has = place / 4 != 1 && place / 4 != 2;
            dense.extend([seed.cos(), 0.3].map(|value| is_there(has, value)));
            let wave = (place as f32 * 2.3).sin();
            dense.extend([wave, 0.7].map(|value| is_there(place % 3 > 0, value)));
            dense.extend([seed - 1.0, wave * 0.5]);
            categorical.extend([
                one.categorical[place],
                place as u32 / 4 % 3,
                place as u32 % 3,
            ]);
        }
        let side = |vector: Range<usize>, number: usize, id: usize| InputPlaces {
            vectors: vec![vector],
            numbers: vec![number],
            categorical: vec![id],
            multi_valued: vec![],
        };
        let inputs = PairInputs {
            seed: side(2..4, 6, 1),
            candidate: side(4..6, 7, 2),
            context: InputPlaces {
                vectors: vec![],
                numbers: vec![0, 1],
                categorical: vec![0],
                multi_valued: vec![0],
            },
            // The seed's vector is the same at every slot of a list, as a visitor's is.
            visitor: vec![VisitorPlaces {
                visitor: 2..4,
                candidate: 4..6,
            }],
        };
        let batch = Batch {
            dense_width: 8,
            categorical_width: 3,
            dense,
            categorical,
            item: (0..16).map(|place| place % 5).collect(),
            item_share: vec![0.25; 16],
            ..one
        };
        (batch, inputs)
    }

    fn worst_relative_error(kind: NetworkKind, encoder: HistoryChoice) -> f64 {
        // GELU, because a finite difference across a corner of ReLU is not a derivative.
        let options = NetworkOptions {
            kind,
            hidden: 4,
            layers: 2,
            dropout: 0.0,
            activation: match kind {
                NetworkKind::Gru => Activation::Relu,
                _ => Activation::Gelu,
            },
            bidirectional: (kind == NetworkKind::Gru).then_some(true),
            input_norm: Some(match kind {
                NetworkKind::Mlp | NetworkKind::Similar => InputNorm::Batch,
                _ => InputNorm::Layer,
            }),
            towers: (kind == NetworkKind::Similar).then(|| TowersOptions {
                seed: vec!["a vector, a number, an id".to_owned()],
                candidate: vec!["the same of the other".to_owned()],
                width: 3,
                shared: encoder == HistoryChoice::Gru,
                modality_dropout: 0.0,
                ..Default::default()
            }),
            history: Some(HistoryOptions {
                encoder,
                hidden: 4,
                layers: 1,
            }),
            ..Default::default()
        };
        let device = Device::flex();
        let (batch, pair) = match kind {
            NetworkKind::Similar => {
                let (batch, pair) = pairs();
                (batch, Some(pair))
            }
            _ => (batch(), None),
        };
        let shape = FeatureShape {
            dense: batch.dense_width,
            categorical: vec![3; batch.categorical_width],
            multi_valued: vec![4],
            history: Some(HistoryShape { items: 5, kinds: 2 }),
            pair,
        };
        let in_batch = InBatchOptions::default().check().unwrap();
        let in_batch = Some((&in_batch, in_batch.mass(&batch)));
        let mut config = options.check().unwrap();
        config.position_slots = 3;
        let losses = [
            LossOptions::new(Head::Purchase, LossKind::Softmax),
            LossOptions::new(Head::Purchase, LossKind::Bce),
            LossOptions::new(Head::Click, LossKind::Bce),
        ];
        let losses: Vec<_> = losses.iter().map(|loss| loss.check(0).unwrap()).collect();
        let outputs = Outputs::of(&losses, true).unwrap();
        let network = Network::new(&config, &shape, outputs.columns(), Seed(1), &device).unwrap();
        let teacher = Network::new(&config, &shape, outputs.columns(), Seed(2), &device).unwrap();
        let objective = || Objective {
            losses: &losses,
            outputs: &outputs,
        };
        let shards = shards::cut(&batch, shards::PIECES);
        assert_eq!(shards.len(), 1);
        let factor = 0.7 / distil::mass(&batch, &shards);
        let standard = network.moments(&batch).map(|own| own.standard());
        let task = |network| Task {
            standard: standard.clone(),
            network,
            leaves: Leaves::default(),
            objective: objective(),
            batch: &batch,
            masses: objective().masses(&batch, &shards),
            in_batch,
            teacher: Some((&teacher, factor)),
        };
        let mut noise = Noise::none(&device);
        let mut twice = |in_batch| {
            let task = Task {
                in_batch,
                ..task(&network)
            };
            let mut own = || backward(&task, &shards[0], Precision::Full, &mut noise).unwrap();
            let (_, first) = own();
            assert_eq!(own().1, first, "from leaves that another piece had");
            first
        };
        twice(None);
        let gradients = twice(in_batch);
        let input = network.read_by(&shards[0], &batch, standard.as_ref(), &device);
        let columns =
            |network: &Network| network.forward_as_shown(&input, &mut Noise::none(&device));
        let own = teacher.read(&shards[0], &batch, &device);
        let aim = teacher.forward_as_shown(&own, &mut Noise::none(&device));
        let aim = doubles(&aim.columns).unwrap();
        let masses = task(&network).masses;
        let weights = read(&network);
        let values = gradients.0.iter().flatten().flatten();
        let largest = values.fold(0.0_f64, |most, value| most.max(f64::from(value.abs())));
        let mut worst = 0.0_f64;
        for ((name, _), values) in names(&network).iter().zip(&gradients.0) {
            if ["batch_norm.mean", "batch_norm.variance"].contains(&name.as_str()) {
                assert_eq!(*values, None);
                continue;
            }
            let values = values.as_ref().expect("every weight has a gradient");
            // Every third weight: all layers, and not too many networks.
            for (place, &value) in values.iter().enumerate().step_by(3) {
                let step = 2e-3;
                let moved = |by: f32| {
                    let mut weights = weights.clone();
                    weights.get_mut(name).expect("same names").values[place] += by;
                    let network = replace(network.clone(), weights);
                    let pass = columns(&network);
                    let scores = doubles(&pass.columns).unwrap();
                    let (loss, _) = objective().share(&batch, &shards[0], &masses, &scores);
                    // Written out by itself: of a batch in one piece, rows are its slots.
                    let width = outputs.columns();
                    let rows = scores.chunks_exact(width).zip(aim.chunks_exact(width));
                    let rows = rows.zip(&shards[0].places);
                    let distances = rows.map(|((scores, aim), place)| {
                        let weight = place.map_or(0.0, |place| f64::from(batch.weight[place]));
                        let pairs = scores.iter().zip(aim);
                        weight * pairs.map(|(a, b)| 0.5 * (a - b).powi(2)).sum::<f64>()
                    });
                    let loss = loss + factor * distances.sum::<f64>();
                    let of_vectors = pass.vectors.zip(in_batch).map(|(vectors, (own, mass))| {
                        let [list, place] = own.sides(&vectors).map(|side| doubles(&side).unwrap());
                        own.share(&batch, &shards[0], mass, &list, &place).loss
                    });
                    loss + of_vectors.unwrap_or(0.0)
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                worst = worst.max((slope - f64::from(value)).abs());
            }
        }
        worst / largest
    }

    #[test]
    fn gradients_of_all_weights_equal_finite_differences() {
        for (kind, encoder) in [
            (NetworkKind::Linear, HistoryChoice::Gru),
            (NetworkKind::Mlp, HistoryChoice::Gru),
            (NetworkKind::Transformer, HistoryChoice::Transformer),
            (NetworkKind::Gru, HistoryChoice::Gru),
            (NetworkKind::Similar, HistoryChoice::Gru),
            (NetworkKind::Similar, HistoryChoice::Transformer),
        ] {
            let error = worst_relative_error(kind, encoder);
            assert!(error < 1e-3, "{kind:?} {encoder:?}: {error}");
        }
    }
}
