//! The training loop.
//!
//! Input: batches of lists, made on a thread of their own while the step before runs. Each step
//! cuts its batch into shards, lets the workers carry them through the network and back, sums the
//! gradients in the shards' order, clips them and steps `AdamW`. After each epoch the caller
//! validates; the weights with the best metric are kept, and training stops when `patience` epochs
//! brought nothing better. The result depends on config, seed and batches, not on the number of
//! threads.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData};
use slate_types::{Batch, FeatureShape, Seed};

use crate::gradients::combine;
use crate::network::Network;
use crate::noise::Noise;
use crate::objective::Objective;
use crate::ranker::Ranker;
use crate::schedule::learning_rate;
use crate::shards::Shard;
use crate::weights::host;
use crate::{
    BoxError, DeviceSpec, Head, ModelError, StopReason, TrainConfig, TrainEvent, batch_check,
    shards,
};

/// Training lists, cut into batches.
pub trait Batches: Send {
    /// The batches of an epoch, counted from 1, in the order to train on. The same epoch gives
    /// the same batches each time it is asked for.
    fn epoch(&mut self, epoch: u32) -> Box<dyn Iterator<Item = Batch> + Send + '_>;

    /// Lists in each epoch: what progress and the learning rate schedule count on.
    fn lists_per_epoch(&self) -> usize;
}

/// What the caller found after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The metric, larger is better; finite.
    pub metric: f64,
    /// Its name, as in `ndcg@10`.
    pub name: String,
}

/// What training gives back.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The network with the weights of the best epoch.
    pub ranker: Ranker,
    /// Epoch with the best validation metric, counted from 1; the first of several equal ones.
    pub best_epoch: u32,
    /// The validation metric after that epoch.
    pub best_metric: f64,
    /// Name of the metric.
    pub metric_name: String,
    /// Epochs that ran.
    pub epochs: u32,
    /// Optimiser steps that ran.
    pub steps: u64,
    /// Why training ended.
    pub stopped: StopReason,
}

/// Batches made ahead of the step that uses them.
const AHEAD: usize = 4;

/// Trains a ranker.
///
/// `validate` is called after every epoch with the weights as they are; `observe` hears of every
/// step and epoch, on the calling thread.
///
/// # Errors
/// [`ModelError::EmptyData`] where an epoch has no slot, [`ModelError::NoPositives`] where a loss
/// saw no positive label in the first epoch, [`ModelError::Diverged`] where loss, gradients or
/// weights stop being finite, [`ModelError::BatchShape`] and [`ModelError::BatchValue`] for a batch
/// that does not fit `shape`, and [`ModelError::Validation`] and [`ModelError::Metric`] for a
/// failed validation.
pub fn train(
    config: &TrainConfig,
    shape: &FeatureShape,
    seed: Seed,
    device: DeviceSpec,
    data: &mut dyn Batches,
    validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
    observe: &mut dyn FnMut(&TrainEvent),
) -> Result<Trained, ModelError> {
    let start = Ranker::untrained(config, shape, seed, device)?;
    let options = config.options();
    let steps_per_epoch = data.lists_per_epoch().div_ceil(options.batch_lists) as u64;
    let mut trainer = Trainer {
        config,
        seed,
        total: steps_per_epoch * u64::from(options.epochs),
        objective: Objective {
            losses: &options.losses,
        },
        optimizer: AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(options.weight_decay as f32)
            .init(),
        network: start.network().clone().train(),
        start,
        step: 0,
    };
    let mut best: Option<Trained> = None;
    for epoch in 1..=options.epochs {
        let began = Instant::now();
        let train_loss = trainer.epoch(epoch, data, observe)?;
        let ranker = trainer.ranker()?;
        let found = validate(&ranker).map_err(|source| ModelError::Validation { epoch, source })?;
        let Validation { metric, name } = found;
        if !metric.is_finite() {
            return Err(ModelError::Metric {
                name,
                epoch,
                value: metric,
            });
        }
        let better = best.as_ref().is_none_or(|best| metric > best.best_metric);
        if better {
            best = Some(Trained {
                ranker,
                best_epoch: epoch,
                best_metric: metric,
                metric_name: name.clone(),
                epochs: epoch,
                steps: trainer.step,
                stopped: StopReason::Epochs,
            });
        }
        let seconds = began.elapsed().as_secs_f64();
        observe(&TrainEvent::Epoch {
            epoch,
            train_loss,
            metric,
            name,
            best: better,
            seconds,
        });
        if let Some(best) = &mut best {
            best.epochs = epoch;
            best.steps = trainer.step;
            if options.patience > 0 && epoch - best.best_epoch >= options.patience {
                best.stopped = StopReason::Patience;
                break;
            }
        }
    }
    let trained = best.expect("a checked config has at least one epoch");
    observe(&TrainEvent::Stopped {
        reason: trained.stopped,
    });
    Ok(trained)
}

/// What changes from step to step, and what each step needs.
struct Trainer<'a> {
    config: &'a TrainConfig,
    seed: Seed,
    /// Steps announced for all epochs.
    total: u64,
    objective: Objective<'a>,
    optimizer: ModuleOptimizer,
    /// The weights, as leaves of an autodiff graph.
    network: Network,
    /// The untrained ranker: shape, device and workers.
    start: Ranker,
    step: u64,
}

impl Trainer<'_> {
    /// Trains one epoch; the mean loss over its lists.
    fn epoch(
        &mut self,
        epoch: u32,
        data: &mut dyn Batches,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<f64, ModelError> {
        std::thread::scope(|scope| {
            let (send, batches) = sync_channel(AHEAD);
            scope.spawn(move || {
                for batch in data.epoch(epoch) {
                    // Training ended early; its error is on the other side.
                    if send.send(batch).is_err() {
                        break;
                    }
                }
            });
            self.steps(epoch, batches, observe)
        })
    }

    fn steps(
        &mut self,
        epoch: u32,
        batches: Receiver<Batch>,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<f64, ModelError> {
        let began = Instant::now();
        let mut positives = vec![false; self.objective.losses.len()];
        let (mut lists, mut loss_sum) = (0_usize, 0.0);
        for batch in batches {
            batch_check::features(&batch, self.start.shape())?;
            batch_check::labels(&batch)?;
            if batch.rows() == 0 {
                continue;
            }
            self.objective.find_positives(&batch, &mut positives);
            let rate = learning_rate(self.config.options(), self.step + 1, self.total);
            let (loss, gradient_norm) = self.step(&batch, rate)?;
            lists += batch.lists;
            loss_sum += loss * batch.lists as f64;
            observe(&TrainEvent::Step {
                epoch,
                step: self.step,
                steps_total: (self.total > 0).then_some(self.total.max(self.step)),
                loss,
                gradient_norm,
                learning_rate: rate,
                lists,
                lists_per_second: lists as f64 / began.elapsed().as_secs_f64().max(1e-9),
            });
        }
        if lists == 0 {
            return Err(ModelError::EmptyData { epoch });
        }
        if epoch == 1 {
            self.objective.require_positives(&positives)?;
        }
        Ok(loss_sum / lists as f64)
    }

    /// One optimiser step; the batch's loss and the norm of its gradient before clipping.
    fn step(&mut self, batch: &Batch, rate: f64) -> Result<(f64, f64), ModelError> {
        self.step += 1;
        let shards = shards::cut(batch);
        let masses = self.objective.masses(batch, &shards);
        let device = self.start.device();
        let noise_seed = self.seed.derive("dropout").index(self.step);
        let (network, objective) = (&self.network, &self.objective);
        let rate_of_dropout = self.config.network().dropout;
        let parts = self.start.workers().map(shards.len(), |place| {
            let mut noise =
                Noise::dropout(rate_of_dropout, noise_seed.index(place as u64), &device);
            backward(
                network,
                objective,
                batch,
                &shards[place],
                &masses,
                &mut noise,
            )
        });
        let (losses, gradients): (Vec<f64>, Vec<GradientsParams>) = parts.into_iter().unzip();
        let loss: f64 = losses.iter().sum();
        self.finite("loss", loss)?;
        let (gradients, norm) = combine(
            &self.network,
            gradients,
            self.config.options().gradient_clip,
        );
        self.finite("gradient norm", norm)?;
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
        Ok((loss, norm))
    }

    /// The weights as they are, for inference.
    fn ranker(&self) -> Result<Ranker, ModelError> {
        let ranker = self.start.with_network(self.network.valid());
        self.finite("largest weight", ranker.largest_weight())?;
        Ok(ranker)
    }

    fn finite(&self, what: &'static str, value: f64) -> Result<(), ModelError> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(ModelError::Diverged {
                step: self.step,
                what,
                value,
            })
        }
    }
}

/// A shard's share of the batch's loss, and of its gradient.
fn backward(
    network: &Network,
    objective: &Objective<'_>,
    batch: &Batch,
    shard: &Shard,
    masses: &[f64],
    noise: &mut Noise,
) -> (f64, GradientsParams) {
    let device = noise.device().clone();
    // Leaves of its own: a graph belongs to one thread.
    let network = network.clone().fork(&device.clone().autodiff());
    let scores = network.forward(&shard.input(batch, &device), noise);
    let (loss, slopes) = objective.share(batch, shard, masses, &host(scores.clone()));
    // The derivative of Σ score · slope with the slopes held fixed is the slopes: the backward
    // pass starts from the loss's exact gradient.
    let rows = [shard.places.len(), Head::ALL.len()];
    let slopes = Tensor::<2>::from_data(TensorData::new(slopes, rows), &device);
    let gradients = (scores * slopes).sum().backward();
    (loss, GradientsParams::from_grads(gradients, &network))
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Device;

    use super::*;
    use crate::options::{LossKind, LossOptions};
    use crate::weights::{read, replace};
    use crate::{Activation, NetworkKind, NetworkOptions};

    /// Gradients in the order of the network's parameters.
    struct Flat<'a> {
        gradients: &'a GradientsParams,
        path: Vec<String>,
        values: Vec<(String, Vec<f32>)>,
    }

    impl ModuleVisitor for Flat<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_lowercase());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self
                .gradients
                .get::<D>(param.id)
                .expect("every weight has a gradient");
            self.values.push((self.path.join("."), host(gradient)));
        }
    }

    /// Lists of 1, 3 and 4 slots, one of them without labels.
    fn batch() -> Batch {
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
            slot: vec![0; 16],
        }
    }

    fn worst_relative_error(kind: NetworkKind) -> f64 {
        // GELU, because a finite difference across a corner of ReLU is not a derivative.
        let options = NetworkOptions {
            kind,
            hidden: 4,
            layers: 2,
            dropout: 0.0,
            activation: Activation::Gelu,
            ..Default::default()
        };
        let device = Device::flex();
        let shape = FeatureShape {
            dense: 2,
            categorical: vec![3],
        };
        let config = options.check().unwrap();
        let network = Network::new(&config, &shape, Seed(1), &device).unwrap();
        let loss = |head, loss| LossOptions {
            head,
            loss,
            label: None,
            weight: 1.0,
        };
        let losses = [
            loss(Head::Purchase, LossKind::Softmax),
            loss(Head::Purchase, LossKind::Bce),
            loss(Head::Click, LossKind::Bce),
        ];
        let objective = Objective { losses: &losses };
        let batch = batch();
        let shards = shards::cut(&batch);
        assert_eq!(shards.len(), 1);
        let masses = objective.masses(&batch, &shards);
        let loss_of = |network: Network| {
            let network = network.train();
            let mut noise = Noise::none(&device);
            backward(
                &network, &objective, &batch, &shards[0], &masses, &mut noise,
            )
        };
        let trained = network.clone().train();
        let (_, gradients) = loss_of(trained.clone());
        let mut flat = Flat {
            gradients: &gradients,
            path: Vec::new(),
            values: Vec::new(),
        };
        trained.visit(&mut flat);
        let weights = read(&network);
        let largest = flat
            .values
            .iter()
            .flat_map(|(_, values)| values)
            .fold(0.0_f64, |most, value| most.max(f64::from(value.abs())));
        let mut worst = 0.0_f64;
        for (name, values) in &flat.values {
            // Every third weight: all layers, and not too many networks.
            for (place, &value) in values.iter().enumerate().step_by(3) {
                let step = 5e-3;
                let moved = |by: f32| {
                    let mut weights = weights.clone();
                    weights.get_mut(name).expect("same names").values[place] += by;
                    let network = replace(network.clone(), weights);
                    let input = shards[0].input(&batch, &device);
                    let scores = host(network.forward(&input, &mut Noise::none(&device)));
                    objective.share(&batch, &shards[0], &masses, &scores).0
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                worst = worst.max((slope - f64::from(value)).abs());
            }
        }
        worst / largest
    }

    #[test]
    fn gradients_of_all_weights_equal_finite_differences() {
        for kind in [NetworkKind::Mlp, NetworkKind::Transformer] {
            let error = worst_relative_error(kind);
            assert!(error < 1e-3, "{kind:?}: {error}");
        }
    }
}
