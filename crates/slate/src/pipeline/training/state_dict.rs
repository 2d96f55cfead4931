//! A run whose weights were trained in PyTorch.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::Dataset;
use slate_model::{Ranker, TrainOptions};
use slate_types::Split;

use super::unfinished::METRICS_FILE;
use super::{Best, More, Setting, unread, validate, write_run};
use crate::artefacts::manifest;

/// What an imported run reports.
pub(crate) struct Imported {
    pub(crate) json: Value,
    pub(crate) metric: f64,
    pub(crate) metric_name: String,
    pub(crate) parameters: usize,
    /// Inputs of the dataset that the network was told to leave unread.
    pub(crate) unread: Vec<String>,
}

/// Writes a run with the weights of a state dict into the empty folder `out`.
///
/// # Errors
/// A dataset or configuration that cannot be used, and weights of another network.
pub(crate) fn import(
    options: &TrainOptions,
    setting: &Setting<'_>,
    weights: &Path,
    out: &Path,
) -> Result<Imported> {
    let dataset = Dataset::open(setting.data)
        .with_context(|| format!("cannot open the dataset `{}`", setting.data.display()))?;
    let config = options.clone().check()?;
    let shape = super::pair::shape(dataset.map(), options)?;
    let valid = dataset.split(Split::Valid)?;
    let ranker = Ranker::untrained(&config, &shape, setting.seed, setting.device)?
        .with_state_dict(weights)?;
    let found = validate(&ranker, &config, &valid, &shape)
        .map_err(|error| anyhow::Error::from_boxed(error).context("cannot validate the weights"))?;
    // No epoch was trained here.
    fs::write(out.join(METRICS_FILE), "").context("cannot write metrics.jsonl")?;
    let best = Best {
        epoch: Some(0),
        trees: None,
        metric: &found.name,
        value: found.metric,
    };
    let note = json!({ "from": "pytorch", "sha256": manifest::sha256(weights)? });
    let note = More {
        notes: vec![("imported", note)],
        ..More::default()
    };
    Ok(Imported {
        json: write_run(options, setting, &dataset, &ranker, &best, note, out)?,
        metric: found.metric,
        metric_name: found.name,
        parameters: ranker.parameters(),
        unread: unread(&config, dataset.map()),
    })
}
