//! The folder of a training that is not finished, and what goes on in it.
//!
//! `.NAME.training` beside the run `NAME` holds checkpoints, `metrics.jsonl` and TensorBoard events.
//! It outlives a kill, an interrupt and an error, and is removed when the run is in place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;
use slate_model::{Checkpoint, ModelError, TrainEvent};

use crate::artefacts::neighbour;
use crate::artefacts::tensorboard::{self, EventFile};
use crate::console::Refusal;

/// Name of the log in an unfinished training and in a run.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// The folder of a training that is not finished.
#[derive(Debug)]
pub(crate) struct Unfinished {
    folder: PathBuf,
}

impl Unfinished {
    /// The folder beside `out`, which is not touched.
    ///
    /// # Errors
    /// An output without a name.
    pub(crate) fn beside(out: &Path) -> Result<Self> {
        let folder = neighbour(out, "training")?;
        Ok(Self { folder })
    }

    /// A folder of this very name.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Whether there is a checkpoint to go on from.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn has_checkpoints(&self) -> Result<bool> {
        Ok(!self.list()?.is_empty())
    }

    /// Whether there is anything.
    pub(crate) fn exists(&self) -> bool {
        self.folder.exists()
    }

    /// For a command that is no training of a network and writes the same output.
    ///
    /// # Errors
    /// Checkpoints of an unfinished training, without `force`.
    pub(crate) fn refuse_other(&self, force: bool) -> Result<()> {
        match self.list()?.first() {
            Some(last) if !force => Err(Refusal::new(format!(
                "a training of a network with this output was not finished; its last checkpoint is `{}`",
                last.display()
            ))
            .hint("go on with it by its own command and --resume, or choose another --out")
            .into()),
            _ => Ok(()),
        }
    }

    /// For a training that begins anew and may not remove anything.
    ///
    /// # Errors
    /// Checkpoints of an earlier training.
    pub(crate) fn refuse_earlier(&self) -> Result<()> {
        match self.list()?.first() {
            None => Ok(()),
            Some(last) => Err(Refusal::new(format!(
                "an earlier training was not finished; its last checkpoint is `{}`",
                last.display()
            ))
            .hint(
                "pass --resume to go on from it (with --force where a run is in the way), or --force \
                 alone to begin anew",
            )
            .into()),
        }
    }

    /// Makes the folder ready to be written: empty, or with what is there to `resume` from.
    pub(super) fn begin(&self, resume: bool) -> Result<()> {
        if !resume {
            self.remove()?;
        }
        let checkpoints = self.checkpoints();
        fs::create_dir_all(&checkpoints)
            .with_context(|| format!("cannot create `{}`", checkpoints.display()))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where checkpoints go.
    pub(super) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    fn list(&self) -> Result<Vec<PathBuf>> {
        Ok(Checkpoint::list(&self.checkpoints())?)
    }

    /// The last checkpoint, if there is one.
    ///
    /// # Errors
    /// One that is broken or of another training; the one before it is named.
    pub(super) fn last(&self, identity: &BTreeMap<String, String>) -> Result<Option<Checkpoint>> {
        let found = self.list()?;
        let Some(last) = found.first() else {
            return Ok(None);
        };
        match Checkpoint::read(last, identity) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(error @ ModelError::Checkpoint { .. }) => Err(error.into()),
            Err(error) => Err(Self::unusable(error.into(), last, found.get(1))),
        }
    }

    /// An error about the arrays of a checkpoint says which one it is about, and what to do.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let found = self.list().unwrap_or_default();
        match (error.downcast_ref(), found.first()) {
            (Some(ModelError::Tensor { path, .. }), Some(last)) if path.starts_with(last) => {
                Self::unusable(error, last, found.get(1))
            }
            _ => error,
        }
    }

    fn unusable(error: anyhow::Error, last: &Path, before: Option<&PathBuf>) -> anyhow::Error {
        let hint = match before {
            Some(before) => format!(
                "remove it to go on from the one before, `{}`: rm -r '{}'",
                before.display(),
                last.display()
            ),
            None => "there is none before it: leave out --resume and pass --force to begin anew"
                .to_owned(),
        };
        let told = format!("checkpoint `{}` cannot be used", last.display());
        error.context(Refusal::new(told).hint(hint))
    }

    /// Removes the folder and all in it.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The files that tell how training goes: `metrics.jsonl`, and TensorBoard events.
///
/// `metrics.jsonl` has nothing that depends on the clock, so that one seed gives one file. The
/// events have the time of day and lists per second, and are the one file of a run that differs
/// from run to run.
pub(super) struct Log {
    metrics: BufWriter<File>,
    events: Option<EventFile>,
    /// Steps between two points of a curve.
    stride: u64,
    step: u64,
    failed: Option<std::io::Error>,
}

/// Points of a curve over steps, about.
const POINTS: u64 = 2000;

/// Tags of the values that an epoch ends with.
const EPOCH_LOSS: &str = "train/epoch_loss";
const VALIDATION: &str = "val/";

fn is_of_epoch(tag: &str) -> bool {
    tag == EPOCH_LOSS || tag.starts_with(VALIDATION)
}

impl Log {
    /// Begins the files in `folder`, or goes on with what they had at the checkpoint.
    pub(super) fn open(
        folder: &Path,
        with_events: bool,
        resumed: Option<&Checkpoint>,
        steps: u64,
    ) -> Result<Self> {
        let path = folder.join(METRICS_FILE);
        let told = match resumed {
            Some(checkpoint) => told_until(&path, checkpoint.epochs_done())?,
            None => String::new(),
        };
        let create = || -> std::io::Result<BufWriter<File>> {
            // Beside and renamed: what was told stays told when this is killed.
            let partial = folder.join(".metrics.jsonl.partial");
            let mut file = File::create(&partial)?;
            file.write_all(told.as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            Ok(BufWriter::new(file))
        };
        let metrics = create().with_context(|| format!("cannot create `{}`", path.display()))?;
        let path = folder.join(tensorboard::FILE_NAME);
        let events = match (with_events, resumed) {
            (false, _) => None,
            (true, Some(checkpoint)) if path.exists() => {
                let last = checkpoint.step();
                // A checkpoint of an epoch's last step is from before its validation.
                let keep = |tag: &str, step| step < last || (step == last && !is_of_epoch(tag));
                Some(EventFile::append(&path, keep, now()))
            }
            (true, _) => Some(EventFile::create(&path, now())),
        };
        let events = events
            .transpose()
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self {
            metrics,
            events,
            stride: steps.div_ceil(POINTS).max(1),
            step: resumed.map_or(0, Checkpoint::step),
            failed: None,
        })
    }

    /// Notes an event. A failure is told at the end: training is worth more than its log.
    pub(super) fn note(&mut self, event: &TrainEvent) {
        if let Err(error) = self.write(event) {
            self.failed.get_or_insert(error);
        }
    }

    fn write(&mut self, event: &TrainEvent) -> std::io::Result<()> {
        if let Some(line) = without_clock(event) {
            writeln!(self.metrics, "{line}")?;
            self.metrics.flush()?;
        }
        if let TrainEvent::Step { step, .. } = event {
            self.step = *step;
        }
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        let now = now();
        match event {
            TrainEvent::Step {
                step,
                loss,
                gradient_norm,
                learning_rate,
                lists_per_second,
                ..
            } if step.is_multiple_of(self.stride) => {
                for (tag, value) in [
                    ("train/loss", *loss),
                    ("train/gradient_norm", *gradient_norm),
                    ("train/learning_rate", *learning_rate),
                    ("train/lists_per_second", *lists_per_second),
                ] {
                    events.scalar(tag, *step, value, now)?;
                }
                events.flush()
            }
            TrainEvent::Epoch {
                train_loss,
                metric,
                name,
                ..
            } => {
                events.scalar(EPOCH_LOSS, self.step, *train_loss, now)?;
                events.scalar(&format!("{VALIDATION}{name}"), self.step, *metric, now)?;
                events.flush()
            }
            _ => Ok(()),
        }
    }

    /// Ends the files.
    ///
    /// # Errors
    /// The first failure there was.
    pub(super) fn close(mut self) -> std::io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.metrics.flush(),
        }
    }
}

/// The lines about the first epochs. An epoch that was told and not reached by the checkpoint is
/// told again.
fn told_until(path: &Path, epochs: u32) -> Result<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let keep = |line: &&str| {
        let event: Option<Value> = serde_json::from_str(line).ok();
        let epoch = event.and_then(|event| event["epoch"].as_u64());
        epoch.is_some_and(|epoch| epoch <= u64::from(epochs))
    };
    Ok(text
        .lines()
        .filter(keep)
        .map(|line| format!("{line}\n"))
        .collect())
}

/// What the days of a training came to before they were learned, as its log in `folder` tells.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn days(folder: &Path) -> Result<Value> {
    let path = folder.join(METRICS_FILE);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let events = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let days = events.filter_map(|event: Value| {
        let keys = ["day", "lists", "metric", "value"];
        let day = keys.map(|key| (key.to_owned(), event[key].clone()));
        (event["event"] == "ahead").then(|| Value::Object(day.into_iter().collect()))
    });
    Ok(days.collect())
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// An event as a line of `metrics.jsonl`: what depends on the clock is left out, so that one seed
/// gives one file. Steps are too many to keep.
fn without_clock(event: &TrainEvent) -> Option<String> {
    if matches!(event, TrainEvent::Step { .. }) {
        return None;
    }
    let mut value = serde_json::to_value(event).expect("an event is plain data");
    strip(&mut value);
    Some(value.to_string())
}

/// Removes what depends on the clock, at any depth.
fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.remove("seconds");
        fields.remove("lists_per_second");
        fields.values_mut().for_each(strip);
    }
}
