//! Stages over data: vectors of items, the month's dataset, and the same lists as the model in use reads
//! them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{FeatureMap, Format, MapSource};

use super::job::{Job, Reads};
use crate::artefacts::manifest;
use crate::pipeline::embedding::{self, TABLES};
use crate::pipeline::featurise::{self, Logs};
use crate::pipeline::stages::{Given, Need, Stage, Takes};

/// Computes vectors of items that are new: into the folder that `[[features.embedding]]` reads.
pub(super) struct Embed(pub(super) Arc<Job>);

impl Embed {
    pub(super) const NAME: &str = "embed";

    /// The folder whose `items/` the features read.
    fn folder(job: &Job) -> Result<std::path::PathBuf> {
        let spec = job.file.features.as_ref().context("checked before")?;
        let first = spec.embedding.first().map(|embedding| &embedding.path);
        let folder = first.and_then(|path| Path::new(path).parent()?.parent());
        let told = "[embed] computes vectors that no [[features.embedding]] reads from `…/items/`";
        Ok(folder.context(told)?.to_owned())
    }
}

impl Stage for Embed {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::stage(super::log_check::LogCheck::NAME)]
    }

    fn inputs(&self) -> Result<Value> {
        let items = self.0.logs.files.iter();
        let items: Vec<_> = items
            .filter(|(name, _)| name.starts_with("item"))
            .map(|(name, file)| (name, &file.sha256))
            .collect();
        Ok(json!({ "embed": self.0.file.embed, "items": items }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(true)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let section = job.file.embed.clone().unwrap_or_default();
        let out = Self::folder(job)?;
        let seen = given.unfinished.join("logs");
        job.logs.link_into(&seen, given.progress)?;
        let embedded = embedding::embed(
            &embedding::Job {
                section: &section,
                items: &seen,
                pictures: Path::new(&job.section.logs),
                out: &out,
                device: "auto".parse()?,
                force: false,
                gc: false,
            },
            given.progress,
        )?;
        // The vectors stay where they are; what is kept here says which they were.
        let mut value = serde_json::to_value(&embedded.manifest)?;
        value["folder"] = json!(out.join(TABLES));
        manifest::write_json(&given.out.join("vectors.json"), &value)
    }
}

/// Makes the month's dataset, its feature map fitted or grown out of that of the model in use.
pub(super) struct Features(pub(super) Arc<Job>);

impl Features {
    pub(super) const NAME: &str = "features";

    /// The map that is grown.
    fn parent_map(&self) -> Option<std::path::PathBuf> {
        let champion = self.0.champion.as_ref().filter(|_| self.0.updates())?;
        Some(champion.folder.join("feature_map.json"))
    }
}

impl Stage for Features {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        after_vectors(&self.0)
    }

    fn inputs(&self) -> Result<Value> {
        let map = self.parent_map();
        Ok(json!({
            "made_of": made_of(&self.0, &Reads::of(&self.0.file)),
            "map": map.map(|map| manifest::sha256(&map)).transpose()?,
        }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(false)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let map = match self.parent_map() {
            None => MapSource::Fit,
            Some(map) => MapSource::Extended {
                map: FeatureMap::read(&map)?,
                refit: false,
            },
        };
        dataset(&self.0, &Reads::of(&self.0.file), map, given)
    }
}

/// Makes the dataset that the model in use can score: the same lists by its own map.
pub(super) struct ChampionFeatures(pub(super) Arc<Job>);

impl ChampionFeatures {
    pub(super) const NAME: &str = "champion features";
}

impl Stage for ChampionFeatures {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        after_vectors(&self.0)
    }

    fn inputs(&self) -> Result<Value> {
        let champion = self.0.champion()?;
        let map = champion.folder.join("feature_map.json");
        Ok(json!({
            "made_of": made_of(&self.0, &champion.reads), "map": manifest::sha256(&map)?,
        }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(false)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let champion = self.0.champion()?;
        let map = FeatureMap::read(&champion.folder.join("feature_map.json"))?;
        dataset(&self.0, &champion.reads, MapSource::Given(map), given)
    }
}

fn after_vectors(job: &Job) -> Vec<Need> {
    let mut needs = vec![Need::stage(super::log_check::LogCheck::NAME)];
    if job.file.embed.is_some() {
        needs.push(Need::stage(Embed::NAME));
    }
    needs
}

fn made_of(job: &Job, reads: &Reads) -> Value {
    json!({
        "logs": job.logs_seen(), "attribution": job.attribution(reads), "split": job.split(),
        "features": reads.features, "seed": job.seed, "command": job.command,
    })
}

fn dataset(job: &Job, reads: &Reads, feature_map: MapSource, given: &Given<'_>) -> Result<()> {
    // Only what the month can see: a file of a later month is not even opened.
    let seen = given.unfinished.join("logs");
    job.logs.link_into(&seen, given.progress)?;
    let logs = seen.to_string_lossy();
    let out = given.out;
    featurise::features(
        featurise::Job {
            attribution: job.attribution(reads),
            features: &reads.features,
            split: &job.split(),
            feature_map,
            formats: &BTreeSet::from([Format::Npy]),
            engine: &job.engine(),
            seed: job.seed,
            command: &job.command,
            progress: given.progress,
        },
        &Logs::new(Some(&logs), job.file.logs.as_ref())?,
        out,
    )?;
    job.logs.unchanged()
}
