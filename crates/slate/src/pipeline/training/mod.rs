//! Dataset to run: the training loop's batches, its validation and its files.

mod content;
mod files;
mod lists;
mod memory;
mod pair;
mod parent;
mod reservoir;
mod state_dict;
mod trees;
mod unfinished;
mod validation;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{Dataset, FeatureMap, SplitData};
use slate_model::{
    Batches, Beginning, BoxError, Checkpoint, CheckpointPlan, Culprit, DeviceSpec, Every, Head,
    ModelError, OPTIMIZER_FILE, Ranker, TrainConfig, TrainEvent, TrainOptions, Trained, Training,
    Validation,
};
use slate_trees::TreesError;
use slate_types::{FeatureShape, Progress, Seed, Split};

use files::{Best, More, run_manifest, write_run};
use lists::Lists;
pub(crate) use parent::Parent;
use reservoir::Seen;
pub(crate) use state_dict::import;
pub(crate) use trees::{grow, is_grown};
pub(crate) use unfinished::Unfinished;
use unfinished::{Log, METRICS_FILE};
use validation::Judged;

use super::scoring;
use crate::artefacts::{manifest, tensorboard};
use crate::machine;

/// What a finished training reports.
pub(crate) struct Report {
    pub(crate) json: Value,
    pub(crate) best_epoch: u32,
    pub(crate) best_metric: f64,
    pub(crate) metric: String,
    pub(crate) parameters: usize,
    pub(crate) lists_per_second: f64,
    /// Inputs of the dataset that the network was told to leave unread.
    pub(crate) unread: Vec<String>,
    /// Share of the training placements on whose page there is no seed item that towers can read.
    pub(crate) without_seed: f64,
    /// Why training ended before its time, where it did with something to save.
    pub(crate) diverged: Option<String>,
    /// Why metrics.jsonl and the TensorBoard events are not whole.
    pub(crate) log_failure: Option<String>,
}

/// What training is given beside its options.
pub(crate) struct Setting<'a> {
    pub(crate) data: &'a Path,
    /// A device by its own name: not `auto`.
    pub(crate) device: DeviceSpec,
    /// Threads or cards that share out a batch, where not all threads or one card.
    pub(crate) replicas: Option<u32>,
    pub(crate) seed: Seed,
    /// The run to go on from, where training does not begin with nothing.
    pub(crate) update: Option<&'a Parent>,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
    /// Whether to write TensorBoard events, the one file of a run that tells the time of day.
    pub(crate) events: bool,
    /// Set when training should save what it can and end.
    pub(crate) stop: Option<&'static AtomicBool>,
    /// Where to keep checkpoints, and how; none are kept without.
    pub(crate) keep: Option<Keep<'a>>,
}

/// How a training is kept alive over kills.
pub(crate) struct Keep<'a> {
    pub(crate) unfinished: &'a Unfinished,
    /// Whether to go on from the last checkpoint.
    pub(crate) resume: bool,
    pub(crate) every: Every,
    pub(crate) checkpoints: usize,
}

/// Trains on a dataset and writes a whole run into the empty folder `out`.
///
/// # Errors
/// A dataset or configuration that cannot be used, a training that diverges in its first epoch or
/// is interrupted, a checkpoint of another training, a full disk.
pub(crate) fn train(options: &TrainOptions, setting: &Setting<'_>, out: &Path) -> Result<Report> {
    let dataset = Dataset::open(setting.data)
        .with_context(|| format!("cannot open the dataset `{}`", setting.data.display()))?;
    let mut config = options.clone().check()?;
    if let Some(parent) = setting.update {
        parent.check(&dataset)?;
        parent.check_depth(options)?;
        config = config.of_update();
    }
    let shape = pair::shape(dataset.map(), options)?;
    let train = dataset.split(Split::Train)?;
    let without_seed = pair::without_seed(dataset.map(), options, &train)?;
    let mut seen = Seen::new(train, options, setting.update, &dataset)?;
    if config.reads_items() {
        seen.data.count_items();
    }
    let seen = seen;
    let train = &seen.data;
    if setting.device == DeviceSpec::Cpu {
        let longest = train.lists.iter().map(|list| list.len()).max();
        memory::check(config.network(), longest.unwrap_or(0), machine::memory())?;
    }
    let optimizer = setting.update.map(|parent| parent.optimizer(options));
    let optimizer = optimizer.transpose()?.flatten();
    let new_rows = setting
        .update
        .map(|parent| content::new_rows(&config, &parent.ranker, dataset.map(), train));
    let new_rows = new_rows.transpose()?.flatten();
    let valid = dataset.split(Split::Valid)?;
    let mut source = Lists::new(&seen, &config, &shape, &dataset, setting.seed)?;
    let plan = setting.keep.as_ref().map(|keep| -> Result<_> {
        Ok(CheckpointPlan {
            folder: keep.unfinished.checkpoints(),
            identity: identity(options, setting)?,
            keep: keep.checkpoints,
            every: keep.every,
        })
    });
    let plan = plan.transpose()?;
    let resume = match (&setting.keep, &plan) {
        (Some(keep), Some(plan)) if keep.resume => keep.unfinished.last(&plan.identity)?,
        _ => None,
    };
    // Nothing of an earlier training is removed before this one is known to be able to begin.
    if let Some(keep) = &setting.keep {
        keep.unfinished.begin(keep.resume)?;
    }
    let folder = setting
        .keep
        .as_ref()
        .map_or(out, |keep| keep.unfinished.folder());
    let epochs = source.epochs().unwrap_or(config.options().epochs);
    let lists_until =
        |epoch: u32| -> u64 { (1..=epoch).map(|epoch| source.lists_in(epoch) as u64).sum() };
    let steps = (1..=epochs).map(|epoch| {
        let batches = source.lists_in(epoch).div_ceil(config.batch_lists());
        batches.div_ceil(options.accumulate as usize) as u64
    });
    let steps = steps.sum();
    let mut log = Log::open(folder, setting.events, resume.as_ref(), steps)?;

    let mut rates = Vec::new();
    let (mut lists_done, mut rate) = (resume.as_ref().map_or(0, Checkpoint::lists_done), f64::NAN);
    let done = resume.as_ref().map_or(0, Checkpoint::epochs_done);
    setting
        .progress
        .begin("train", Some(lists_until(epochs)), "lists");
    setting
        .progress
        .advance(lists_until(done) + lists_done as u64);
    let metric = outcome(&config).metric_name();
    let mut best_metric = f64::NEG_INFINITY;
    let training = Training {
        config: &config,
        shape: &shape,
        seed: setting.seed.derive("train"),
        device: setting.device,
        replicas: setting.replicas,
        checkpoints: plan.as_ref(),
        update: setting.update.map(|parent| Beginning {
            ranker: &parent.ranker,
            new_rows: new_rows.as_ref(),
            optimizer: optimizer.as_ref(),
        }),
        resume,
        stop: setting.stop,
    };
    let trained = training.run(
        &mut source,
        &mut |ranker| validate(ranker, &config, &valid, &shape),
        &mut |event| {
            match event {
                TrainEvent::Step {
                    loss,
                    lists,
                    lists_per_second,
                    learning_rate,
                    ..
                } => {
                    // The event counts from the start of the epoch.
                    let before = if *lists >= lists_done { lists_done } else { 0 };
                    setting.progress.advance((*lists - before) as u64);
                    lists_done = *lists;
                    rate = *lists_per_second;
                    let best = if best_metric.is_finite() {
                        format!("  best {metric} {best_metric:.4}")
                    } else {
                        String::new()
                    };
                    let note = format!("loss {loss:.4}  rate {learning_rate:.1e}{best}");
                    setting.progress.note(&note);
                }
                TrainEvent::Epoch { metric: value, .. } => {
                    best_metric = best_metric.max(*value);
                    rates.extend(Some(rate).filter(|rate| rate.is_finite()));
                    lists_done = 0;
                }
                _ => {}
            }
            log.note(event);
        },
    );
    setting.progress.end();
    let log_failure = log.close().err().map(|error| error.to_string());
    let (trained, diverged) =
        saved(trained, &dataset, &seen).map_err(|error| match &setting.keep {
            Some(keep) => keep.unfinished.explain(error),
            None => error,
        })?;

    if let Some(keep) = &setting.keep {
        let events = setting.events.then_some(tensorboard::FILE_NAME);
        for name in std::iter::once(METRICS_FILE).chain(events) {
            std::fs::copy(keep.unfinished.folder().join(name), out.join(name))
                .with_context(|| format!("cannot copy {name} into the run"))?;
        }
    }
    let best = Best {
        epoch: Some(trained.best_epoch),
        trees: None,
        metric: &metric,
        value: trained.best_metric,
    };
    let diverged_note = diverged.as_ref().map(|why| ("diverged", json!(why)));
    let before = trained.metric_before;
    let before = before.map(|value| ("before", json!({ "metric": metric, "value": value })));
    let days = source.epochs().map(|_| unfinished::days(out));
    let days = days.transpose()?.map(|days| ("progressive", days));
    let (kept, mut more_files) = seen.keep(options, &dataset, out)?;
    if let Some(state) = &trained.optimizer {
        state.save(out)?;
        more_files.push(OPTIMIZER_FILE.to_owned());
    }
    let kept = kept.map(|kept| ("replay", kept));
    let more = More {
        notes: [diverged_note, before, days, kept]
            .into_iter()
            .flatten()
            .collect(),
        files: more_files,
    };
    let manifest = write_run(
        options,
        setting,
        &dataset,
        &trained.ranker,
        &best,
        more,
        out,
    )?;
    rates.sort_by(f64::total_cmp);
    Ok(Report {
        best_epoch: trained.best_epoch,
        best_metric: trained.best_metric,
        metric,
        parameters: trained.ranker.parameters(),
        lists_per_second: rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN),
        unread: unread(&config, dataset.map()),
        without_seed,
        diverged,
        log_failure,
        json: manifest,
    })
}

/// Whether a training ended because someone asked it to.
pub(crate) fn was_interrupted(error: &anyhow::Error) -> bool {
    let network = matches!(error.downcast_ref(), Some(ModelError::Interrupted { .. }));
    network || matches!(error.downcast_ref(), Some(TreesError::Interrupted { .. }))
}

/// Whether a training failed for a checkpoint that is damaged, or of another training.
pub(crate) fn is_about_a_checkpoint(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ModelError::Checkpoint { .. } | ModelError::Tensor { .. })
    )
}

/// Whether `out` is the finished run of this very training.
pub(crate) fn is_done(options: &TrainOptions, setting: &Setting<'_>, out: &Path) -> Result<bool> {
    is_run_of(&json!({ "train": options }), setting, out)
}

/// Whether `out` is a finished run of this configuration, data and seed.
fn is_run_of(config: &Value, setting: &Setting<'_>, out: &Path) -> Result<bool> {
    if !out.join("manifest.json").is_file() {
        return Ok(false);
    }
    let manifest = manifest::read_json(&out.join("manifest.json"))?;
    let data = manifest::sha256(&setting.data.join("manifest.json"))?;
    Ok(manifest["kind"] == "run"
        && manifest["imported"].is_null()
        && manifest["config"] == *config
        && manifest["seed"] == json!(setting.seed)
        && manifest["parent_run"] == lineage(setting)
        && manifest["data"]["manifest_sha256"] == json!(data))
}

/// Whether what is in the folder of an unfinished training, if anything, is of this very training.
pub(crate) fn is_left_of(
    options: &TrainOptions,
    setting: &Setting<'_>,
    unfinished: &Unfinished,
) -> Result<bool> {
    let own = unfinished.last(&identity(options, setting)?);
    Ok(!unfinished.has_checkpoints()? || own.is_ok())
}

/// What a manifest says of the run that was gone on from.
fn lineage(setting: &Setting<'_>) -> Value {
    let parent = setting.update.map(|parent| parent.record.clone());
    parent.unwrap_or(Value::Null)
}

/// The devices that results depend on: how many threads share out a batch changes no bit of them.
fn devices(setting: &Setting<'_>) -> String {
    match (setting.device, setting.replicas) {
        (DeviceSpec::Cpu, _) | (_, None | Some(1)) => setting.device.to_string(),
        (first, Some(count)) => format!("{first} and {} more", count - 1),
    }
}

/// What a checkpoint has to agree with to be gone on from, key by key.
fn identity(options: &TrainOptions, setting: &Setting<'_>) -> Result<BTreeMap<String, String>> {
    fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    flatten(&format!("{path}.{key}"), value, into);
                }
            }
            Value::Array(parts) if parts.iter().any(Value::is_object) => {
                for (place, value) in parts.iter().enumerate() {
                    flatten(&format!("{path}[{place}]"), value, into);
                }
            }
            other => {
                into.insert(path.to_owned(), other.to_string());
            }
        }
    }
    let mut identity = BTreeMap::new();
    flatten("train", &serde_json::to_value(options)?, &mut identity);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    identity.insert("slate".to_owned(), version);
    identity.insert("seed".to_owned(), setting.seed.0.to_string());
    let data = manifest::sha256(&setting.data.join("manifest.json"))?;
    identity.insert("dataset manifest".to_owned(), data);
    identity.insert("device".to_owned(), devices(setting));
    if setting.update.is_some() {
        identity.insert("update from".to_owned(), lineage(setting).to_string());
    }
    Ok(identity)
}

/// What training gave; where it diverged after an epoch that was validated, what that epoch gave
/// and why it ended there.
fn saved(
    trained: Result<Trained, ModelError>,
    dataset: &Dataset,
    data: &Seen,
) -> Result<(Trained, Option<String>)> {
    let mut error = match trained {
        Ok(trained) => return Ok((trained, None)),
        Err(error) => error,
    };
    let ModelError::Diverged { culprit, best, .. } = &mut error else {
        return Err(error.into());
    };
    let place = culprit
        .as_ref()
        .map(|culprit| place_of(culprit, dataset, data));
    match (best.take(), place) {
        (Some(best), place) => {
            let place = place.map_or_else(String::new, |place| format!(" ({place})"));
            Ok((*best, Some(format!("{error}{place}"))))
        }
        (None, Some(place)) => Err(anyhow::Error::new(error).context(place)),
        (None, None) => Err(error.into()),
    }
}

/// A slot in the words of the dataset.
fn place_of(culprit: &Culprit, dataset: &Dataset, seen: &Seen) -> String {
    let data = &seen.data;
    let feature = dataset.manifest().dense.get(culprit.column);
    let feature = feature.map_or("a vector of its item", String::as_str);
    let row = data.lists.range(culprit.list).start + culprit.slot;
    let place = if culprit.list < seen.fresh {
        format!("row {row} of the training part")
    } else {
        "a list of the replay".to_owned()
    };
    format!(
        "{place}, list_id {}, item {}: feature `{feature}` is {}",
        data.list_id[culprit.list], data.item[row], culprit.value
    )
}

/// Inputs of a map that the network was told to leave unread.
fn unread(config: &TrainConfig, map: &FeatureMap) -> Vec<String> {
    let history = map
        .history
        .as_ref()
        .filter(|_| config.network().history.is_none());
    history.map(|_| "history".to_owned()).into_iter().collect()
}

/// The outcome the head that ranks learns.
fn outcome(config: &TrainConfig) -> Judged {
    match config.options().score_head {
        _ if by_grade(config) => Judged::Grade,
        Head::Grade => Judged::Grade,
        Head::Purchase => Judged::Purchase,
        Head::Click => Judged::Click,
    }
}

/// Whether the head that ranks is trained on grades.
fn by_grade(config: &TrainConfig) -> bool {
    let options = config.options();
    let losses = options
        .losses
        .iter()
        .filter(|loss| loss.head == options.score_head);
    losses
        .map(slate_model::LossOptions::label)
        .any(|label| label == slate_model::Label::Grade)
}

/// What the weights come to on the validation split.
fn validate(
    ranker: &Ranker,
    config: &TrainConfig,
    valid: &SplitData,
    shape: &FeatureShape,
) -> Result<Validation, BoxError> {
    let scored = scoring::score_split(ranker, valid, shape, &slate_types::Silent)?;
    let outcome = outcome(config);
    Ok(Validation {
        metric: outcome.judge(&valid.lists, &scored.score, outcome.of(valid))?,
        name: outcome.metric_name(),
    })
}
