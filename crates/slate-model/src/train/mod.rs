//! The training loop.
//!
//! Input: batches of lists, made on a thread of their own while the step before runs. After each
//! epoch the caller validates; the weights with the best metric are kept, and training stops when
//! `patience` epochs brought nothing better. The result depends on config, seed and batches, not on
//! the number of threads, nor on how often training was killed and resumed from a checkpoint.

#[cfg(all(test, feature = "gpu"))]
mod card_tests;
mod checkpoint;
mod piece;
mod prepare;
mod step;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use slate_types::{Batch, FeatureShape, Seed};

use checkpoint::{Best, Clock, Progress};
pub use checkpoint::{Checkpoint, CheckpointPlan, Every};
use step::Trainer;

use crate::events::Ahead;
use crate::extend::{Beginning, NewRows};
use crate::ranker::Ranker;
use crate::schedule::{Plateau, learning_rate};
use crate::{
    BoxError, DeviceSpec, ModelError, OptimizerState, StopReason, TrainConfig, TrainEvent,
    batch_check, weights,
};

/// Training lists, cut into batches.
pub trait Batches: Send {
    /// The batches of an epoch, counted from 1, in the order to train on, without the first
    /// `skip`. The same epoch gives the same batches each time it is asked for.
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_>;

    /// Lists in each epoch: what progress and the learning rate schedule count on.
    fn lists_per_epoch(&self) -> usize;

    /// Epochs there are, where the data say it and not the config; all of them are trained on then, and
    /// each is judged [ahead](Self::ahead).
    fn epochs(&self) -> Option<u32> {
        None
    }

    /// Lists in an epoch, counted from 1, where epochs are not alike.
    fn lists_in(&self, epoch: u32) -> usize {
        let _ = epoch;
        self.lists_per_epoch()
    }

    /// What the lists of an epoch come to under the weights from before it.
    ///
    /// # Errors
    /// Whatever keeps them from being judged.
    fn ahead(&mut self, epoch: u32, ranker: &Ranker) -> Result<Option<Ahead>, BoxError> {
        let _ = (epoch, ranker);
        Ok(None)
    }
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
    /// Epoch with the best validation metric, counted from 1; the first of several equal ones. 0: an update
    /// that made nothing better, whose weights are those it began with.
    pub best_epoch: u32,
    /// The validation metric after that epoch.
    pub best_metric: f64,
    /// The validation metric of the ranker that an update began with.
    pub metric_before: Option<f64>,
    /// Name of the metric.
    pub metric_name: String,
    /// Epochs that ran.
    pub epochs: u32,
    /// Optimiser steps that ran.
    pub steps: u64,
    /// Why training ended.
    pub stopped: StopReason,
    /// The optimiser's state at the end, where the config asks for it and training did not diverge.
    pub optimizer: Option<OptimizerState>,
}

/// Batches made ahead of the step that uses them.
const AHEAD: usize = 4;

/// A training to be run.
#[derive(Debug)]
pub struct Training<'a> {
    /// What to train, and how.
    pub config: &'a TrainConfig,
    /// The inputs of the batches.
    pub shape: &'a FeatureShape,
    /// Start of initial weights and dropout.
    pub seed: Seed,
    /// Where to compute.
    pub device: DeviceSpec,
    /// Threads of the processor that share out a batch, all where it is none; or cards from `device`
    /// on, that one alone where it is none.
    pub replicas: Option<u32>,
    /// Where checkpoints go; none are written without.
    pub checkpoints: Option<&'a CheckpointPlan>,
    /// The ranker whose weights it begins with; seeded ones where it is none. Its own validation counts as
    /// that of an epoch 0, so that an update is never worse by it. It is trained as `[train.update]` says.
    pub update: Option<Beginning<'a>>,
    /// Where to go on from; none for the beginning.
    pub resume: Option<Checkpoint>,
    /// Set by anyone to end training after the step that runs.
    pub stop: Option<&'a AtomicBool>,
}

/// Trains a ranker from the beginning, without checkpoints: [`Training::run`] with the defaults.
///
/// # Errors
/// As [`Training::run`].
pub fn train(
    config: &TrainConfig,
    shape: &FeatureShape,
    seed: Seed,
    device: DeviceSpec,
    data: &mut dyn Batches,
    validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
    observe: &mut dyn FnMut(&TrainEvent),
) -> Result<Trained, ModelError> {
    let training = Training {
        config,
        shape,
        seed,
        device,
        replicas: None,
        checkpoints: None,
        update: None,
        resume: None,
        stop: None,
    };
    training.run(data, validate, observe)
}

impl Training<'_> {
    /// Trains a ranker.
    ///
    /// `validate` is called after every epoch with the weights as they are (their running mean,
    /// with `ema`); `observe` hears of every step and epoch, on the calling thread.
    ///
    /// # Errors
    /// [`ModelError::EmptyData`] where an epoch has no slot, [`ModelError::NoPositives`] where a
    /// loss saw no positive label in the first epoch, [`ModelError::Diverged`] where loss,
    /// gradients or weights stop being finite, [`ModelError::BatchShape`] and
    /// [`ModelError::BatchValue`] for a batch that does not fit `shape`,
    /// [`ModelError::Validation`] and [`ModelError::Metric`] for a failed validation,
    /// [`ModelError::Interrupted`] where `stop` was set, [`ModelError::Checkpoint`] and
    /// [`ModelError::Tensor`] for a checkpoint of another training, and [`ModelError::Io`] where
    /// one cannot be written.
    pub fn run(
        self,
        data: &mut dyn Batches,
        validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<Trained, ModelError> {
        let mut config = match self.update {
            None => self.config.clone(),
            Some(_) => self.config.of_update(),
        };
        if let Some(epochs) = data.epochs() {
            config = config.with_epochs(epochs);
        }
        Training {
            config: &config,
            ..self
        }
        .run_checked(data, validate, observe)
    }

    /// [`run`](Self::run), with the configuration that counts.
    fn run_checked(
        self,
        data: &mut dyn Batches,
        validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<Trained, ModelError> {
        let options = self.config.options();
        let mut start = match self.update {
            None => Ranker::untrained(self.config, self.shape, self.seed, self.device)?,
            Some(Beginning {
                ranker, new_rows, ..
            }) => {
                let like = new_rows.cloned().unwrap_or_else(NewRows::default);
                ranker.updated_like(self.config, self.shape, &like)?
            }
        };
        if let Some(count) = self.replicas {
            start = start.with_replicas(self.device, count)?;
        }
        options.precision.check(start.replicas().first())?;
        let steps = |epoch: u32| {
            let batches = data.lists_in(epoch).div_ceil(options.batch_lists) as u64;
            batches.div_ceil(u64::from(options.accumulate))
        };
        let total = (1..=options.epochs).map(steps).sum();
        let kept = self.update.and_then(|update| update.optimizer);
        let trainer = Trainer::new(self.config, self.seed, start, kept)?;
        let mut run = Run {
            progress: Progress {
                positives: vec![false; self.config.losses().len()],
                ..Progress::default()
            },
            total,
            clock: Clock::new(),
            best: None,
            training: self,
            trainer,
        };
        match run.training.resume.take() {
            Some(checkpoint) => run.restore(checkpoint)?,
            None if run.training.update.is_some() => run.before(validate)?,
            None => {}
        }
        let trained = run.epochs(data, validate, observe)?;
        observe(&TrainEvent::Stopped {
            reason: trained.stopped,
        });
        Ok(trained)
    }
}

/// A training that runs.
struct Run<'a> {
    training: Training<'a>,
    trainer: Trainer<'a>,
    progress: Progress,
    best: Option<(Best, Ranker)>,
    /// Steps announced for all epochs.
    total: u64,
    clock: Clock,
}

impl Run<'_> {
    /// Validates the weights that an update begins with.
    fn before(
        &mut self,
        validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
    ) -> Result<(), ModelError> {
        let epoch = 0;
        let ranker = self.trainer.ranker(0)?;
        let found = validate(&ranker).map_err(|source| ModelError::Validation { epoch, source })?;
        let Validation { metric, name } = found;
        if !metric.is_finite() {
            let value = metric;
            return Err(ModelError::Metric { name, epoch, value });
        }
        self.progress.metric_before = Some(metric);
        let best = Best {
            epoch,
            metric,
            name,
        };
        self.best = Some((best, ranker));
        Ok(())
    }

    /// Judges the lists of the epoch before it is learned; in a resumed one, tells what was found.
    fn ahead(
        &mut self,
        data: &mut dyn Batches,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<(), ModelError> {
        if data.epochs().is_none() {
            return Ok(());
        }
        let epoch = self.progress.epoch;
        if self.progress.ahead.is_none() {
            let ranker = self.trainer.ranker(self.progress.step);
            let ranker = ranker.map_err(|error| self.rescue(error))?;
            let found = data.ahead(epoch, &ranker);
            self.progress.ahead =
                found.map_err(|source| ModelError::Validation { epoch, source })?;
        }
        if let Some(found) = self.progress.ahead.clone() {
            observe(&TrainEvent::Ahead { epoch, found });
        }
        Ok(())
    }

    fn epochs(
        &mut self,
        data: &mut dyn Batches,
        validate: &mut dyn FnMut(&Ranker) -> Result<Validation, BoxError>,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<Trained, ModelError> {
        let options = self.training.config.options();
        let mut stopped = StopReason::Epochs;
        while self.progress.epoch <= options.epochs {
            let epoch = self.progress.epoch;
            let began = Instant::now();
            self.ahead(data, observe)?;
            let train_loss = self
                .epoch(data, observe)
                .map_err(|error| self.rescue(error))?;
            let ranker = self
                .trainer
                .ranker(self.progress.step)
                .map_err(|error| self.rescue(error))?;
            let found =
                validate(&ranker).map_err(|source| ModelError::Validation { epoch, source })?;
            let Validation { metric, name } = found;
            if !metric.is_finite() {
                return Err(ModelError::Metric {
                    name,
                    epoch,
                    value: metric,
                });
            }
            let better = self
                .best
                .as_ref()
                .is_none_or(|(best, _)| metric > best.metric);
            if better {
                let name = name.clone();
                self.best = Some((
                    Best {
                        epoch,
                        metric,
                        name,
                    },
                    ranker,
                ));
            }
            self.progress.plateau.after_epoch(options, better);
            observe(&TrainEvent::Epoch {
                epoch,
                train_loss,
                metric,
                name,
                best: better,
                learning_rate: self.rate(self.progress.step),
                seconds: began.elapsed().as_secs_f64(),
            });
            self.progress.next_epoch();
            let waited = self.best.as_ref().map_or(0, |(best, _)| epoch - best.epoch);
            if options.patience > 0 && waited >= options.patience {
                stopped = StopReason::Patience;
                break;
            }
        }
        Ok(self
            .trained(stopped)
            .expect("a checked config has at least one epoch"))
    }

    /// What there is to give back after the epochs so far; none before the first.
    fn trained(&self, stopped: StopReason) -> Option<Trained> {
        let (best, ranker) = self.best.as_ref()?;
        Some(Trained {
            ranker: ranker.clone(),
            best_epoch: best.epoch,
            best_metric: best.metric,
            metric_before: self.progress.metric_before,
            metric_name: best.name.clone(),
            epochs: self.progress.epoch - 1,
            steps: self.progress.step,
            stopped,
            optimizer: self.optimizer(stopped),
        })
    }

    /// The optimiser's state, where the next update wants it and it is one to go on from.
    fn optimizer(&self, stopped: StopReason) -> Option<OptimizerState> {
        let wanted = self.training.config.keeps_optimizer() && stopped != StopReason::Diverged;
        let names = || weights::names(&self.trainer.network);
        wanted.then(|| OptimizerState::of(&self.trainer.optimizer, &names()))
    }

    /// Gives a divergence the best weights from before it.
    fn rescue(&self, mut error: ModelError) -> ModelError {
        if let ModelError::Diverged { best, .. } = &mut error {
            *best = self.trained(StopReason::Diverged).map(Box::new);
        }
        error
    }

    /// Trains one epoch, or what is left of it; the mean loss over its lists.
    fn epoch(
        &mut self,
        data: &mut dyn Batches,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<f64, ModelError> {
        let (epoch, skip) = (self.progress.epoch, self.progress.batches);
        let days = data.epochs().is_some();
        std::thread::scope(|scope| {
            let (send, batches) = sync_channel(AHEAD);
            scope.spawn(move || {
                for batch in data.epoch(epoch, skip) {
                    // Training ended early; its error is on the other side.
                    if send.send(batch).is_err() {
                        break;
                    }
                }
            });
            self.steps(batches, observe)
        })?;
        // Of days, the first may well have no purchase.
        let last = if days {
            self.training.config.options().epochs
        } else {
            1
        };
        if epoch == last {
            self.trainer
                .objective()
                .require_positives(&self.progress.positives)?;
        }
        Ok(self.progress.loss_sum / self.progress.lists as f64)
    }

    fn steps(
        &mut self,
        batches: Receiver<Batch>,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<(), ModelError> {
        let accumulate = self.training.config.options().accumulate as usize;
        let (began, lists_before) = (Instant::now(), self.progress.lists);
        let mut batches = batches.into_iter();
        loop {
            let group: Vec<Batch> = batches.by_ref().take(accumulate).collect();
            if group.is_empty() {
                break;
            }
            self.step(group, began, lists_before, observe)?;
        }
        if self.progress.lists == 0 {
            return Err(ModelError::EmptyData {
                epoch: self.progress.epoch,
            });
        }
        Ok(())
    }

    /// One optimiser step over a group of batches.
    fn step(
        &mut self,
        mut group: Vec<Batch>,
        began: Instant,
        lists_before: usize,
        observe: &mut dyn FnMut(&TrainEvent),
    ) -> Result<(), ModelError> {
        let (config, shape) = (self.training.config, self.training.shape);
        self.progress.batches += group.len();
        let step = self.progress.step + 1;
        for (place, batch) in group.iter_mut().enumerate() {
            batch_check::features(batch, shape)?;
            batch_check::labels(batch)?;
            if config.reads_items() {
                batch_check::items(batch)?;
            }
            prepare::weigh(batch, config);
            prepare::mask(batch, config, self.training.seed, step, place);
        }
        group.retain(|batch| batch.rows() > 0);
        if group.is_empty() {
            return Ok(());
        }
        for batch in &group {
            let objective = self.trainer.objective();
            objective.find_positives(batch, &mut self.progress.positives);
        }
        let rate = self.rate(step);
        let (losses, gradient_norm) = self.trainer.step(step, &group, rate)?;
        self.progress.step = step;
        for (batch, loss) in group.iter().zip(&losses) {
            self.progress.lists += batch.lists;
            self.progress.loss_sum += loss * batch.lists as f64;
        }
        let lists = self.progress.lists;
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        observe(&TrainEvent::Step {
            epoch: self.progress.epoch,
            step,
            steps_total: (self.total > 0).then_some(self.total.max(step)),
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            gradient_norm,
            learning_rate: rate,
            lists,
            lists_per_second: (lists - lists_before) as f64 / seconds,
        });
        self.checkpoint()
    }

    /// The learning rate of a step.
    fn rate(&self, step: u64) -> f64 {
        let rate = learning_rate(self.training.config.options(), step, self.total);
        rate * self.progress.plateau.factor
    }

    /// Writes a checkpoint where one is due; ends where someone asked for it.
    fn checkpoint(&mut self) -> Result<(), ModelError> {
        let stop = self
            .training
            .stop
            .is_some_and(|stop| stop.load(Ordering::Relaxed));
        let mut written = None;
        if let Some(plan) = self.training.checkpoints
            && (stop || self.clock.is_due(plan.every, self.progress.step))
        {
            let began = Instant::now();
            let best = self.best.as_ref().map(|(best, ranker)| (best, ranker));
            let checkpoint = Checkpoint::of(&self.progress, best, &self.trainer, plan);
            written = Some(checkpoint.write(plan)?);
            self.clock.wrote(began);
        }
        if stop {
            return Err(ModelError::Interrupted {
                step: self.progress.step,
                checkpoint: written,
            });
        }
        Ok(())
    }

    /// Puts a checkpoint's state in place of the beginning.
    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), ModelError> {
        let start = self.trainer.start().clone();
        let config = self.training.config;
        let (progress, best) = checkpoint.restore(&start, config, &mut self.trainer)?;
        self.progress = progress;
        self.best = best;
        Ok(())
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            step: 0,
            epoch: 1,
            batches: 0,
            lists: 0,
            loss_sum: 0.0,
            positives: Vec::new(),
            plateau: Plateau::default(),
            metric_before: None,
            ahead: None,
        }
    }
}
