//! The stage that puts a version into the registry, and into use where the gate says so.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::Dataset;
use slate_types::Split;

use super::data::Features;
use super::gate::{Decision, Gate, Verdict};
use super::job::{Job, Reads};
use super::model::{CALIBRATOR, Calibrate, Train, dataset_hash};
use super::profile::{DataCheck, Profile};
use crate::artefacts::manifest;
use crate::artefacts::registry::About;
use crate::pipeline::stages::{Given, Need, Stage};

/// Puts the new model into the registry, and into use where the gate lets it.
pub(super) struct Promote(pub(super) Arc<Job>);

impl Promote {
    pub(super) const NAME: &str = "promote";
    pub(super) const FILE: &str = "promotion.json";
}

impl Stage for Promote {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::stage(Gate::NAME),
            Need::stage(Train::NAME),
            Need::stage(Calibrate::NAME),
            Need::stage(DataCheck::NAME),
            Need::stage(Features::NAME),
        ]
    }

    fn inputs(&self) -> Result<Value> {
        let job = &self.0;
        Ok(json!({
            "model": job.registry.model, "month": job.month.to_string(),
            "champion": job.champion_id(),
            "number": job.champion.as_ref().map_or(0, |champion| champion.number),
        }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let files = given.unfinished.join("version");
        if files.exists() {
            std::fs::remove_dir_all(&files)?;
        }
        copy_files(given.output(Train::NAME), &files)?;
        for (stage, name) in [
            (Calibrate::NAME, CALIBRATOR),
            (DataCheck::NAME, Profile::FILE),
            (Gate::NAME, Decision::FILE),
        ] {
            std::fs::copy(given.output(stage).join(name), files.join(name))
                .with_context(|| format!("cannot copy `{name}` into the version"))?;
        }
        manifest::write_json(&files.join(Reads::FILE), &json!(Reads::of(&job.file)))?;
        let about = self.about(given.output(Features::NAME))?;
        (given.may_write)()?;
        let version = job.registry.add(&files, about, &job.mark)?;
        let decision = Decision::read(given.output(Gate::NAME))?;
        let mut value = json!({
            "format": manifest::FORMAT, "kind": "promotion of a month",
            "version": version.id, "promotion": null,
        });
        if decision.verdict == Verdict::Promoted {
            let after = job.champion.as_ref().map_or(0, |champion| champion.number);
            let reason = format!("{}: {}", job.month, decision.reasons.join("; "));
            (given.may_write)()?;
            let promotion = job.registry.promote(&version.id, after, &reason)?;
            value["promotion"] = json!(promotion.number);
        }
        manifest::write_json(&given.out.join(Self::FILE), &value)
    }
}

impl Promote {
    fn about(&self, features: &Path) -> Result<About> {
        let job = &self.0;
        let dataset = Dataset::open(features)?;
        let splits = &dataset.manifest().splits;
        let parent = job.champion.as_ref();
        let updates = parent.filter(|_| job.updates());
        Ok(About {
            month: job.month.to_string(),
            trained: if updates.is_some() { "update" } else { "full" }.to_owned(),
            parent: parent.map(|champion| champion.version.id.clone()),
            updates: updates.map_or(0, |champion| champion.version.about.updates + 1),
            trained_until: splits[&Split::Valid].first_ts.unwrap_or(0),
            seen_until: splits[&Split::Test].last_ts.unwrap_or(0),
            dataset: dataset_hash(features)?,
        })
    }
}

/// Copies a run, but for what its stage says of itself.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_files(&path, &target)?;
        } else if !path.ends_with("stage.json") {
            std::fs::copy(&path, &target)
                .with_context(|| format!("cannot copy `{}`", path.display()))?;
        }
    }
    Ok(())
}
