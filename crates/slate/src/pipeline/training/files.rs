//! The files of a run beside its log, and the manifest that tells their hashes.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::Dataset;
use slate_model::{MODEL_FILE, Ranker, TrainOptions, WEIGHTS_FILE};

use super::unfinished::METRICS_FILE;
use super::{Setting, devices, lineage};
use crate::artefacts::manifest;

/// What a run came to on the validation split.
#[derive(serde::Serialize)]
pub(super) struct Best<'a> {
    /// Of a network; 0 where no epoch was trained here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u32>,
    /// Number of trees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trees: Option<u32>,
    pub(super) metric: &'a str,
    pub(super) value: f64,
}

/// What a run has beside what every run has.
#[derive(Default)]
pub(super) struct More<'a> {
    /// Entries of the manifest.
    pub(super) notes: Vec<(&'a str, Value)>,
    /// Files, by their paths in the run.
    pub(super) files: Vec<String>,
}

/// Writes the run of a network into `out`, where its log is already, and so are more files if given; the
/// manifest.
pub(super) fn write_run(
    options: &TrainOptions,
    setting: &Setting<'_>,
    dataset: &Dataset,
    ranker: &Ranker,
    best: &Best<'_>,
    more: More<'_>,
    out: &Path,
) -> Result<Value> {
    ranker.save(out)?;
    let mut notes = vec![("parameters", json!(ranker.parameters()))];
    notes.extend(more.notes);
    let config = json!({ "train": options });
    let more = More {
        notes,
        files: std::iter::once(WEIGHTS_FILE.to_owned())
            .chain(more.files)
            .collect(),
    };
    run_manifest(setting, dataset, &config, best, &more, out)
}

/// Writes the feature map and the manifest of a run into `out`, where its log and the files of its model are
/// already; the manifest.
pub(super) fn run_manifest(
    setting: &Setting<'_>,
    dataset: &Dataset,
    config: &Value,
    best: &Best<'_>,
    more: &More<'_>,
    out: &Path,
) -> Result<Value> {
    std::fs::copy(
        setting.data.join("feature_map.json"),
        out.join("feature_map.json"),
    )
    .context("cannot copy the dataset's feature_map.json into the run")?;
    let data_hash = manifest::sha256(&setting.data.join("manifest.json"))?;
    let mut files = serde_json::Map::new();
    let own = ["feature_map.json", METRICS_FILE, MODEL_FILE];
    for name in own.into_iter().chain(more.files.iter().map(String::as_str)) {
        files.insert(
            name.to_owned(),
            json!({ "sha256": manifest::sha256(&out.join(name))? }),
        );
    }
    let mut manifest = json!({
        "format": manifest::FORMAT,
        "kind": "run",
        "command": setting.command,
        "slate": env!("CARGO_PKG_VERSION"),
        "seed": setting.seed,
        "device": devices(setting),
        "config": config,
        "data": {
            "manifest_sha256": data_hash,
            "feature_map_sha256": dataset.manifest().feature_map_sha256,
        },
        "parent_run": lineage(setting),
        "best": best,
        "files": files,
    });
    for (key, value) in &more.notes {
        manifest[*key] = value.clone();
    }
    manifest::write_json(&out.join("manifest.json"), &manifest)?;
    Ok(manifest)
}
