//! Dataset to run: the training loop's batches, its validation and its files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_eval::{Convention, ndcg};
use slate_features::{BatchOptions, Dataset, FeatureMap, SplitData, batches};
use slate_model::{
    Batches, BoxError, DeviceSpec, Head, Ranker, TrainConfig, TrainEvent, TrainOptions, Trained,
    Validation,
};
use slate_types::{Batch, FeatureShape, Progress, Seed, Split};

use super::scoring;
use crate::artefacts::manifest;

/// Slots counted by the metric that stops training.
const CUTOFF: usize = 10;

/// The training split, shuffled anew in each epoch.
struct Shuffled<'a> {
    data: &'a SplitData,
    shape: &'a FeatureShape,
    lists_per_batch: usize,
    seed: Seed,
}

impl Batches for Shuffled<'_> {
    fn epoch(&mut self, epoch: u32) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let options = BatchOptions {
            lists_per_batch: self.lists_per_batch,
            shuffle: Some((self.seed, epoch)),
            bucket_by_length: true,
        };
        Box::new(batches(self.data, self.shape, options).map(|(_, batch)| batch))
    }

    fn lists_per_epoch(&self) -> usize {
        self.data.lists.len()
    }
}

/// What a finished training reports.
pub(crate) struct Report {
    pub(crate) json: Value,
    pub(crate) best_epoch: u32,
    pub(crate) best_metric: f64,
    pub(crate) metric: String,
    pub(crate) parameters: usize,
    pub(crate) lists_per_second: f64,
    /// Inputs of the dataset that no network reads yet.
    pub(crate) unread: Vec<String>,
}

/// What training is given beside its options.
pub(crate) struct Setting<'a> {
    pub(crate) data: &'a Path,
    pub(crate) device: DeviceSpec,
    pub(crate) seed: Seed,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// Trains on a dataset and writes a whole run into the empty folder `out`.
///
/// # Errors
/// A dataset or configuration that cannot be used, a training that diverges, a full disk.
pub(crate) fn train(options: &TrainOptions, setting: &Setting<'_>, out: &Path) -> Result<Report> {
    let dataset = Dataset::open(setting.data)
        .with_context(|| format!("cannot open the dataset `{}`", setting.data.display()))?;
    let config = options.clone().check()?;
    let shape = dataset.shape();
    let train = dataset.split(Split::Train)?;
    let valid = dataset.split(Split::Valid)?;
    let mut source = Shuffled {
        data: &train,
        shape: &shape,
        lists_per_batch: config.batch_lists(),
        seed: setting.seed.derive("batches"),
    };

    let log = out.join("metrics.jsonl");
    let mut log = BufWriter::new(
        File::create(&log).with_context(|| format!("cannot create `{}`", log.display()))?,
    );
    let mut log_error = None;
    let mut rates = Vec::new();
    let (mut seen, mut rate) = (0, f64::NAN);
    let total = u64::from(options.epochs) * train.lists.len() as u64;
    setting.progress.begin("train", Some(total), "lists");
    let metric = metric_name(&config);
    let mut best_metric = f64::NEG_INFINITY;
    let trained = slate_model::train(
        &config,
        &shape,
        setting.seed.derive("train"),
        setting.device,
        &mut source,
        &mut |ranker| validate(ranker, &config, &valid, &shape),
        &mut |event| {
            match event {
                TrainEvent::Step {
                    loss,
                    lists,
                    lists_per_second,
                    ..
                } => {
                    // The event counts from the start of the epoch.
                    let before = if *lists >= seen { seen } else { 0 };
                    setting.progress.advance((*lists - before) as u64);
                    seen = *lists;
                    rate = *lists_per_second;
                    setting.progress.note(&if best_metric.is_finite() {
                        format!("loss {loss:.4}  best {metric} {best_metric:.4}")
                    } else {
                        format!("loss {loss:.4}")
                    });
                }
                TrainEvent::Epoch { metric: value, .. } => {
                    best_metric = best_metric.max(*value);
                    rates.push(rate);
                    seen = 0;
                }
                _ => {}
            }
            if let Some(line) = without_clock(event)
                && let Err(error) = writeln!(log, "{line}")
            {
                log_error.get_or_insert(error);
            }
        },
    )?;
    setting.progress.end();
    if let Some(error) = log_error {
        return Err(error).context("cannot write metrics.jsonl");
    }
    log.flush().context("cannot write metrics.jsonl")?;

    trained.ranker.save(out)?;
    std::fs::copy(
        setting.data.join("feature_map.json"),
        out.join("feature_map.json"),
    )
    .context("cannot copy the dataset's feature_map.json into the run")?;
    let manifest = run_manifest(options, setting, &dataset, &trained, &metric, out)?;
    manifest::write_json(&out.join("manifest.json"), &manifest)?;
    rates.sort_by(f64::total_cmp);
    Ok(Report {
        best_epoch: trained.best_epoch,
        best_metric: trained.best_metric,
        metric,
        parameters: trained.ranker.parameters(),
        lists_per_second: rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN),
        unread: unread(dataset.map()),
        json: manifest,
    })
}

/// Inputs of a map that have no place in a network yet.
fn unread(map: &FeatureMap) -> Vec<String> {
    let features = map.multi_valued.iter();
    let mut names: Vec<String> = features.map(|feature| feature.name.clone()).collect();
    names.extend(map.history.as_ref().map(|_| "history".to_owned()));
    names
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

/// The validation metric, named after the outcome it counts.
fn metric_name(config: &TrainConfig) -> String {
    let outcome = if by_grade(config) {
        "grade"
    } else {
        config.options().score_head.name()
    };
    format!("{outcome}_ndcg@{CUTOFF}")
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

/// NDCG@10 on the validation split, by the outcome that the score head is trained on.
fn validate(
    ranker: &Ranker,
    config: &TrainConfig,
    valid: &SplitData,
    shape: &FeatureShape,
) -> Result<Validation, BoxError> {
    let scored = scoring::score_split(ranker, valid, shape, &slate_types::Silent)?;
    let head = config.options().score_head;
    let grades: &[u8] = match head {
        _ if by_grade(config) => &valid.grade,
        Head::Purchase => &valid.purchase,
        Head::Click => &valid.click,
    };
    let values = ndcg(
        &valid.lists,
        &scored.score,
        grades,
        Some(CUTOFF),
        &Convention::default(),
    )?;
    let values: Vec<f64> = values.into_iter().flatten().collect();
    if values.is_empty() {
        return Err(format!(
            "no list of the validation split has a {}: a larger one is needed to stop training by",
            head.name()
        )
        .into());
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Ok(Validation {
        metric: mean,
        name: metric_name(config),
    })
}

fn run_manifest(
    options: &TrainOptions,
    setting: &Setting<'_>,
    dataset: &Dataset,
    trained: &Trained,
    metric: &str,
    out: &Path,
) -> Result<Value> {
    let data_hash = manifest::sha256(&setting.data.join("manifest.json"))?;
    let mut files = serde_json::Map::new();
    for name in [
        "feature_map.json",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    ] {
        files.insert(
            name.to_owned(),
            json!({ "sha256": manifest::sha256(&out.join(name))? }),
        );
    }
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "run",
        "command": setting.command,
        "slate": env!("CARGO_PKG_VERSION"),
        "seed": setting.seed,
        "device": setting.device.resolved(),
        "config": { "train": options },
        "data": {
            "manifest_sha256": data_hash,
            "feature_map_sha256": dataset.manifest().feature_map_sha256,
        },
        "parent_run": Value::Null,
        "best": { "epoch": trained.best_epoch, "metric": metric, "value": trained.best_metric },
        "parameters": trained.ranker.parameters(),
        "files": files,
    }))
}
