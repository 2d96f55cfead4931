//! The run that an update goes on from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::Dataset;
use slate_model::{
    DeviceSpec, MODEL_FILE, OPTIMIZER_FILE, OptimizerState, Ranker, TrainOptions, UpdateOptimizer,
    WEIGHTS_FILE,
};

use crate::artefacts::manifest;
use crate::console::Refusal;

/// A finished run, read.
pub(crate) struct Parent {
    pub(super) run: PathBuf,
    pub(super) ranker: Ranker,
    pub(super) feature_map: String,
    /// What its manifest says of the lists it kept; null where it kept none.
    pub(super) replay: Value,
    has_optimizer: bool,
    /// What the update's manifest says of it: its hashes, and how many updates lie between a training
    /// from nothing and this one.
    pub(super) record: Value,
}

impl Parent {
    /// # Errors
    /// What is no run, a run of trees, files that are broken or are not those the manifest tells of.
    pub(crate) fn load(run: &Path, device: DeviceSpec) -> Result<Self> {
        let told = || format!("cannot go on from the run `{}`", run.display());
        let manifest = manifest::read_json(&run.join("manifest.json")).with_context(told)?;
        if manifest["kind"] != "run" {
            let kind = manifest["kind"].as_str().unwrap_or("something unknown");
            return Err(
                Refusal::new(format!("`{}` is {kind}, expected a run", run.display())).into(),
            );
        }
        let described = manifest::read_json(&run.join(MODEL_FILE)).with_context(told)?;
        if described["kind"] == slate_trees::KIND {
            return Err(
                Refusal::new(format!("`{}` is a run of trees", run.display()))
                    .hint("only networks are updated; grow trees anew")
                    .into(),
            );
        }
        manifest::verify(run, &manifest).with_context(told)?;
        let updates = manifest["parent_run"]["updates"].as_u64().unwrap_or(0);
        Ok(Self {
            replay: manifest["replay"].clone(),
            has_optimizer: !manifest["files"][OPTIMIZER_FILE].is_null(),
            ranker: Ranker::load(run, device).with_context(told)?,
            feature_map: manifest["data"]["feature_map_sha256"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            record: json!({
                "weights_sha256": manifest["files"][WEIGHTS_FILE]["sha256"],
                "manifest_sha256": manifest::sha256(&run.join("manifest.json"))?,
                "updates": updates + 1,
            }),
            run: run.to_owned(),
        })
    }

    /// Refuses a dataset whose ids may mean something else than the run's: its feature map must be the
    /// run's, or have grown out of it.
    pub(super) fn check(&self, dataset: &Dataset) -> Result<()> {
        let mut ancestors = dataset.map().extensions.iter();
        if dataset.manifest().feature_map_sha256 == self.feature_map
            || ancestors.any(|step| step.parent_sha256 == self.feature_map)
        {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the dataset's feature map is neither that of the run `{}` nor an extension of it",
            self.run.display()
        ))
        .hint(format!(
            "make the dataset with `slate features --feature-map {} --extend`",
            self.run.join("feature_map.json").display()
        ))
        .into())
    }

    /// Refuses a run that is as many updates from a training from nothing as there may be.
    pub(super) fn check_depth(&self, options: &TrainOptions) -> Result<()> {
        let most = options.update.as_ref().map_or(0, |update| update.most);
        let updates = self.record["updates"].as_u64().unwrap_or(1) - 1;
        if most == 0 || updates < u64::from(most) {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the run `{}` is {updates} updates from a training from nothing, and `train.update.most` is {most}",
            self.run.display()
        ))
        .hint("train from nothing: leave --update-from out")
        .into())
    }

    /// The optimiser's state that an update begins with, where its options ask for the run's.
    ///
    /// # Errors
    /// A run that kept none, or that of another optimiser.
    pub(super) fn optimizer(&self, options: &TrainOptions) -> Result<Option<OptimizerState>> {
        let update = options.update.as_ref();
        if update.is_none_or(|update| update.optimizer != UpdateOptimizer::Kept) {
            return Ok(None);
        }
        let run = self.run.display();
        let fresh = "or set `train.update.optimizer = \"fresh\"`";
        if !self.has_optimizer {
            return Err(
                Refusal::new(format!("the run `{run}` kept no state of its optimiser"))
                    .hint(format!(
                        "train it with `train.update.optimizer = \"kept\"`, {fresh}"
                    ))
                    .into(),
            );
        }
        let state = OptimizerState::load(&self.run)
            .with_context(|| format!("cannot go on from the run `{run}`"))?;
        let (own, asked) = (state.kind().name(), options.optimizer.name());
        if own == asked {
            return Ok(Some(state));
        }
        Err(Refusal::new(format!(
            "the run `{run}` kept the state of `{own}`, but `train.optimizer` is `{asked}`"
        ))
        .hint(format!("set `train.optimizer = \"{own}\"`, {fresh}"))
        .into())
    }
}
