//! Logs to dataset: attribution, history, feature map, tensors.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{FeatureSpec, Format, MapSource, Origin, Outputs, SplitSpec};
use slate_logs::{AttributionOptions, EngineOptions, ExamplesSummary, LogSource, LogTables};
use slate_types::{Progress, Seed};

use crate::artefacts::{Staged, manifest};
use crate::console::Refusal;

/// Where a log is said to be.
#[derive(Debug)]
pub(crate) struct Logs<'a> {
    /// Folder or URL.
    pub(crate) root: Option<&'a str>,
    /// Tables elsewhere.
    pub(crate) tables: LogTables,
}

impl<'a> Logs<'a> {
    /// What `--logs` and `[logs]` say; one of them must say something.
    pub(crate) fn new(root: Option<&'a str>, tables: Option<&LogTables>) -> Result<Self> {
        let tables = tables.cloned().unwrap_or_default();
        if root.is_none() && tables.is_empty() {
            return Err(Refusal::new("no logs are given".to_owned())
                .hint("say `--logs DIR`, or name the tables under [logs] of the configuration")
                .into());
        }
        Ok(Self { root, tables })
    }

    /// The log, remote and text tables brought into a folder below `work`.
    pub(crate) fn open(&self, work: &Path, progress: &dyn Progress) -> Result<LogSource> {
        let folder = work.join("log");
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        LogSource::gather(self.root, &self.tables, &folder, progress)
            .with_context(|| format!("cannot open the logs `{self}`"))
    }
}

impl std::fmt::Display for Logs<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.root.unwrap_or("[logs]"))
    }
}

/// What the step needs beside the paths.
pub(crate) struct Job<'a> {
    pub(crate) attribution: AttributionOptions,
    pub(crate) features: &'a FeatureSpec,
    pub(crate) split: &'a SplitSpec,
    pub(crate) feature_map: MapSource,
    pub(crate) formats: &'a BTreeSet<Format>,
    pub(crate) engine: &'a EngineOptions,
    pub(crate) seed: Seed,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// What came out.
pub(crate) struct Made {
    pub(crate) examples: ExamplesSummary,
    pub(crate) dataset: slate_features::DatasetSummary,
    /// The `--json` object.
    pub(crate) json: Value,
}

/// Writes a dataset into the empty folder `out`, which stands beside its final place. The examples
/// between the two steps live in a hidden neighbour and are gone at the end.
///
/// # Errors
/// Logs, configuration or disk that cannot be used.
pub(crate) fn features(job: Job<'_>, logs: &Logs<'_>, out: &Path) -> Result<Made> {
    let attribution = job.attribution.check()?;
    // A hidden folder beside the output, never put in place: it is removed at the end.
    let work = Staged::folder(&out.with_extension("work"), true)?;
    let source = logs.open(work.path(), job.progress)?;
    let examples_file = work.path().join("examples.parquet");
    let rejects_file = work.path().join("rejects.parquet");
    let sequences_file = work.path().join("sequences.parquet");
    let examples = slate_logs::examples(
        &source,
        &attribution,
        job.engine,
        &slate_logs::ExampleColumns::Only(job.feature_map.columns(job.features)),
        slate_logs::ExampleFiles {
            examples: &examples_file,
            rejects: &rejects_file,
            sequences: &sequences_file,
        },
        job.progress,
    )
    .with_context(|| format!("cannot attribute the logs `{logs}`"))?;

    let origin = Origin {
        command: job.command.to_owned(),
        label_as_of: Some(examples.label_as_of_text.clone()),
        examples_hash: Some(examples.hash.clone()),
        seed: Some(job.seed),
    };
    let dataset = slate_features::build(
        slate_features::Inputs {
            examples: &examples_file,
            sequences: sequences_file.exists().then_some(&sequences_file),
        },
        job.features,
        job.split,
        job.feature_map,
        Outputs {
            folder: out,
            formats: job.formats,
        },
        origin,
        job.progress,
    )
    .with_context(|| format!("cannot make a dataset of the logs `{logs}`"))?;
    if rejects_file.exists() {
        std::fs::copy(&rejects_file, out.join("rejects.parquet"))
            .context("cannot keep the rejected rows")?;
    }
    let json = summary(&examples)?;
    manifest::write_json(&out.join("join.json"), &join_file(&json))?;
    let json = with_cluster(json, &examples)?;
    Ok(Made {
        examples,
        dataset,
        json,
    })
}

/// The summary as a file of its own.
pub(crate) fn join_file(summary: &Value) -> Value {
    let mut join = summary.clone();
    join["format"] = json!(manifest::FORMAT);
    join["kind"] = json!("join");
    join
}

/// The summary with what the cluster did, if there was one: that differs from run to run, so no file
/// has it.
pub(crate) fn with_cluster(mut summary: Value, examples: &ExamplesSummary) -> Result<Value> {
    if let Some(cluster) = &examples.cluster {
        summary["cluster"] = serde_json::to_value(cluster)?;
    }
    Ok(summary)
}

/// What attribution found, for programs.
pub(crate) fn summary(examples: &ExamplesSummary) -> Result<Value> {
    let mut join = serde_json::Map::new();
    for line in &examples.join.lines {
        let mut fields = serde_json::to_value(line)?;
        if let Some(fields) = fields.as_object_mut() {
            fields.remove("event_type");
        }
        join.insert(line.event_type.clone(), fields);
    }
    Ok(json!({
        "rows": examples.rows,
        "lists": examples.lists,
        "join": join,
        "matured": examples.matured_rows,
        "rejects": examples.rejects,
        "label_as_of": examples.label_as_of_text,
        "hash": examples.hash,
    }))
}
