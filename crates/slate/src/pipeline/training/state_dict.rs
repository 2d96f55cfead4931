//! A run whose weights were trained in PyTorch.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_features::Dataset;
use slate_model::{Ranker, StopReason, TrainOptions, Trained};
use slate_types::Split;

use super::unfinished::METRICS_FILE;
use super::{Report, Setting, metric_name, run_manifest, unread, validate};
use crate::artefacts::manifest;

/// Writes a run with the weights of a state dict into the empty folder `out`.
///
/// # Errors
/// A dataset or configuration that cannot be used, and weights of another network.
pub(crate) fn import(
    options: &TrainOptions,
    setting: &Setting<'_>,
    weights: &Path,
    out: &Path,
) -> Result<Report> {
    let dataset = Dataset::open(setting.data)
        .with_context(|| format!("cannot open the dataset `{}`", setting.data.display()))?;
    let config = options.clone().check()?;
    let shape = dataset.shape();
    let valid = dataset.split(Split::Valid)?;
    let ranker = Ranker::untrained(&config, &shape, setting.seed, setting.device)?
        .with_state_dict(weights)?;
    let found = validate(&ranker, &config, &valid, &shape)
        .map_err(|error| anyhow::Error::from_boxed(error).context("cannot validate the weights"))?;
    let trained = Trained {
        ranker,
        best_epoch: 0,
        best_metric: found.metric,
        metric_name: found.name,
        epochs: 0,
        steps: 0,
        stopped: StopReason::Epochs,
    };
    trained.ranker.save(out)?;
    // No epoch was trained here.
    fs::write(out.join(METRICS_FILE), "").context("cannot write metrics.jsonl")?;
    fs::copy(
        setting.data.join("feature_map.json"),
        out.join("feature_map.json"),
    )
    .context("cannot copy the dataset's feature_map.json into the run")?;
    let metric = metric_name(&config);
    let mut manifest = run_manifest(options, setting, &dataset, &trained, &metric, out)?;
    manifest["imported"] = json!({ "from": "pytorch", "sha256": manifest::sha256(weights)? });
    manifest::write_json(&out.join("manifest.json"), &manifest)?;
    Ok(Report {
        best_epoch: 0,
        best_metric: trained.best_metric,
        metric,
        parameters: trained.ranker.parameters(),
        lists_per_second: f64::NAN,
        unread: unread(&config, dataset.map()),
        diverged: None,
        log_failure: None,
        json: manifest,
    })
}
