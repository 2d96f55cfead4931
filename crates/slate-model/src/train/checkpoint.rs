//! Checkpoints: everything a resumed training needs to end with the same bytes.
//!
//! A checkpoint is a folder `step-NNNNNNNN` with `state.json` (counters, sums, the best epoch so
//! far) and `state.safetensors` (weights, optimiser, running mean, best weights). It is written
//! beside, made durable and renamed, so that it is there whole or not at all. Dropout and the order
//! of batches follow from seed, epoch and step, so their state is these numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use slate_types::FormatVersion;

use super::step::Trainer;
use crate::bundle;
use crate::events::Ahead;
use crate::ranker::Ranker;
use crate::schedule::Plateau;
use crate::weights::{self, Weight};
use crate::{ModelError, TrainConfig};

/// Newest version of a checkpoint this crate reads, and the one it writes.
const CHECKPOINT_FORMAT: FormatVersion = FormatVersion(1);

const STATE_FILE: &str = "state.json";
const ARRAYS_FILE: &str = "state.safetensors";

/// Where and how often checkpoints are written.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointPlan {
    /// A folder that exists.
    pub folder: PathBuf,
    /// What the training is of: anything whose change makes a checkpoint useless. Compared field
    /// by field when training is resumed.
    pub identity: BTreeMap<String, String>,
    /// Checkpoints kept, at least 1.
    pub keep: usize,
    /// How often.
    pub every: Every,
}

/// How often checkpoints are written. It never changes what training gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Every {
    /// As often as this share of the running time allows.
    Share(f64),
    /// After so many optimiser steps.
    Steps(u64),
}

/// When the next checkpoint is due.
pub(super) struct Clock {
    next: Instant,
    last: Option<(Instant, Duration)>,
}

/// Time before the first checkpoint, whose cost is not known yet.
const FIRST: Duration = Duration::from_secs(2);

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now() + FIRST,
            last: None,
        }
    }

    pub(super) fn is_due(&self, every: Every, step: u64) -> bool {
        match every {
            Every::Steps(steps) => step.is_multiple_of(steps.max(1)),
            Every::Share(share) => match self.last {
                None => Instant::now() >= self.next,
                Some((end, cost)) => end.elapsed() >= cost.div_f64(share.clamp(1e-4, 1.0)),
            },
        }
    }

    pub(super) fn wrote(&mut self, began: Instant) {
        self.last = Some((Instant::now(), began.elapsed()));
    }
}

/// How far training is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Optimiser steps made.
    pub(super) step: u64,
    /// The epoch that runs, from 1.
    pub(super) epoch: u32,
    /// Batches of it that are done.
    pub(super) batches: usize,
    /// Lists in them.
    pub(super) lists: usize,
    /// Sum of their losses, each times its lists.
    pub(super) loss_sum: f64,
    /// Whether each loss has seen a positive label.
    pub(super) positives: Vec<bool>,
    pub(super) plateau: Plateau,
    /// The validation metric of what an update began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metric_before: Option<f64>,
    /// What the epoch that runs came to before it began, where that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ahead: Option<Ahead>,
}

impl Progress {
    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
        self.batches = 0;
        self.lists = 0;
        self.loss_sum = 0.0;
        self.ahead = None;
    }
}

/// The best epoch so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    pub(super) epoch: u32,
    pub(super) metric: f64,
    pub(super) name: String,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: FormatVersion,
    kind: String,
    identity: BTreeMap<String, String>,
    progress: Progress,
    best: Option<Best>,
    /// Steps the optimiser made with each parameter.
    times: Vec<i32>,
}

const KIND: &str = "checkpoint";

/// The state of a training between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    path: PathBuf,
    state: State,
    /// `weights/NAME`, `optimizer/NAME#first`, `mean/NAME`, `best/NAME`.
    arrays: BTreeMap<String, Weight>,
}

impl Checkpoint {
    /// Checkpoints in a folder, newest first.
    ///
    /// # Errors
    /// [`ModelError::Io`] where the folder cannot be read; one that is not there has none.
    pub fn list(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io("read", folder)(source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io("read", folder))?;
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
            if let Some(step) = step.and_then(|step| step.parse::<u64>().ok()) {
                found.push((step, entry.path()));
            }
        }
        found.sort();
        Ok(found.into_iter().rev().map(|(_, path)| path).collect())
    }

    /// Reads the checkpoint in `path`, a folder that [`list`](Self::list) names, and holds it to
    /// the training it should go on with.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Description`], [`ModelError::Format`],
    /// [`ModelError::Weights`] for files that are missing, truncated or newer, and
    /// [`ModelError::Checkpoint`] for one of another training, with what differs.
    pub fn read(path: &Path, identity: &BTreeMap<String, String>) -> Result<Self, ModelError> {
        let file = path.join(STATE_FILE);
        let text = fs::read(&file).map_err(io("read", &file))?;
        let state: State = bundle::parse(&file, &text, KIND, CHECKPOINT_FORMAT)?;
        let keys: BTreeSet<&String> = identity.keys().chain(state.identity.keys()).collect();
        let differing = |key: &&&String| state.identity.get(**key) != identity.get(**key);
        if let Some(key) = keys.iter().find(differing) {
            let value = |of: &BTreeMap<String, String>| {
                of.get(*key)
                    .cloned()
                    .unwrap_or_else(|| "left out".to_owned())
            };
            return Err(ModelError::Checkpoint {
                path: path.to_owned(),
                what: (*key).clone(),
                given: value(&state.identity),
                expected: value(identity),
            });
        }
        let arrays = bundle::read_arrays(&path.join(ARRAYS_FILE))?;
        Ok(Self {
            path: path.to_owned(),
            state,
            arrays,
        })
    }

    /// Optimiser steps made.
    pub fn step(&self) -> u64 {
        self.state.progress.step
    }

    /// Epochs that are over, validation included.
    pub fn epochs_done(&self) -> u32 {
        self.state.progress.epoch - 1
    }

    /// Lists of the epoch that runs which are done.
    pub fn lists_done(&self) -> usize {
        self.state.progress.lists
    }

    /// Where it was read from, or is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn of(
        progress: &Progress,
        best: Option<(&Best, &Ranker)>,
        trainer: &Trainer<'_>,
        plan: &CheckpointPlan,
    ) -> Self {
        let mut arrays = BTreeMap::new();
        let mut put = |part: &str, weights: BTreeMap<String, Weight>| {
            let named = weights.into_iter();
            arrays.extend(named.map(|(name, weight)| (format!("{part}/{name}"), weight)));
        };
        let (moments, times) = trainer.optimizer.state(&weights::names(&trainer.network));
        put("weights", weights::read(&trainer.network));
        put("optimizer", moments);
        put("mean", trainer.mean.clone().unwrap_or_default());
        put(
            "best",
            best.map(|(_, ranker)| ranker.weights()).unwrap_or_default(),
        );
        Self {
            path: plan.folder.join(format!("step-{:08}", progress.step)),
            state: State {
                format: CHECKPOINT_FORMAT,
                kind: KIND.to_owned(),
                identity: plan.identity.clone(),
                progress: progress.clone(),
                best: best.map(|(best, _)| best.clone()),
                times,
            },
            arrays,
        }
    }

    /// Writes it whole, and removes those that are no longer kept; its path.
    pub(super) fn write(&self, plan: &CheckpointPlan) -> Result<PathBuf, ModelError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let partial = plan.folder.join(format!(".{name}.partial"));
        let place = || -> Result<(), ModelError> {
            remove(&partial)?;
            fs::create_dir(&partial).map_err(io("write", &partial))?;
            bundle::write_arrays(&partial.join(ARRAYS_FILE), &self.arrays, CHECKPOINT_FORMAT)?;
            bundle::write_json(&partial.join(STATE_FILE), &self.state)?;
            // A resumed training writes the same checkpoint again.
            remove(&self.path)?;
            fs::rename(&partial, &self.path).map_err(io("write", &self.path))?;
            let folder = fs::File::open(&plan.folder).and_then(|folder| folder.sync_all());
            folder.map_err(io("write", &plan.folder))
        };
        place()?;
        for old in Self::list(&plan.folder)?.into_iter().skip(plan.keep.max(1)) {
            remove(&old)?;
        }
        Ok(self.path.clone())
    }

    /// Refuses counters that cannot be those of a training with this config and so many parameters.
    fn hold(&self, config: &TrainConfig, parameters: usize) -> Result<(), ModelError> {
        let Progress {
            epoch, positives, ..
        } = &self.state.progress;
        let of = |count: usize| format!("{count} values");
        let (losses, last) = (config.losses().len(), config.options().epochs);
        let wrong = if *epoch == 0 || *epoch > last {
            let expected = format!("a number from 1 to {last}");
            Some(("`epoch`", epoch.to_string(), expected))
        } else if *epoch > 1 && self.state.best.is_none() {
            let expected = "the best epoch so far".to_owned();
            Some(("`best`", "null".to_owned(), expected))
        } else if positives.len() != losses {
            Some(("`positives`", of(positives.len()), of(losses)))
        } else if self.state.times.len() != parameters {
            Some(("`times`", of(self.state.times.len()), of(parameters)))
        } else {
            None
        };
        match wrong {
            None => Ok(()),
            Some((what, given, expected)) => Err(ModelError::Checkpoint {
                path: self.path.clone(),
                what: what.to_owned(),
                given,
                expected,
            }),
        }
    }

    /// Puts the state into a trainer; how far training is, and the best ranker so far.
    pub(super) fn restore(
        mut self,
        start: &Ranker,
        config: &TrainConfig,
        trainer: &mut Trainer<'_>,
    ) -> Result<(Progress, Option<(Best, Ranker)>), ModelError> {
        let parameters = weights::names(&trainer.network).len();
        self.hold(config, parameters)?;
        let file = self.path.join(ARRAYS_FILE);
        let mut take = |part: &str| -> BTreeMap<String, Weight> {
            let prefix = format!("{part}/");
            let all = std::mem::take(&mut self.arrays);
            let (own, others) = all
                .into_iter()
                .partition(|(name, _)| name.starts_with(&prefix));
            self.arrays = others;
            let own: BTreeMap<String, Weight> = own;
            own.into_iter()
                .map(|(name, weight)| (name[prefix.len()..].to_owned(), weight))
                .collect()
        };
        let [weights, moments, mean, best] =
            ["weights", "optimizer", "mean", "best"].map(&mut take);
        let wanted = start.weights();
        let network = |weights| -> Result<_, ModelError> {
            bundle::check_arrays(&file, &wanted, &weights)?;
            Ok(weights::replace(start.network().clone(), weights))
        };
        trainer.network = network(weights)?;
        if trainer.mean.is_some() {
            bundle::check_arrays(&file, &wanted, &mean)?;
            trainer.mean = Some(mean);
        }
        let names = weights::names(&trainer.network);
        trainer
            .optimizer
            .restore(&names, moments, &self.state.times);
        let best = match self.state.best.take() {
            Some(found) => Some((found, start.with_network(network(best)?))),
            None => None,
        };
        Ok((self.state.progress, best))
    }
}

fn remove(path: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Io {
        action,
        path,
        source,
    }
}
