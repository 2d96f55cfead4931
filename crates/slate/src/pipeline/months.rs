//! Whole recipes over time: each month a recipe is trained and calibrated on what was known when the
//! month began, and scores the month.
//!
//! Nothing of a month is known when its models are made: labels are those known at its first moment, so
//! a purchase window that was still open then leaves its list out, and feature maps, models and
//! calibrators see earlier lists alone. Each stage is a folder named by the hash of what it is made of;
//! recipes that agree share it, and a stage that is there is not made again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slate_calibrate::{Method, Reads, fit_reading};
use slate_features::{Dataset, FeatureMap, Format, MapSource, SplitSpec};
use slate_logs::{AttributionOptions, EngineOptions, RemoteLog};
use slate_model::DeviceSpec;
use slate_types::{Progress, Scores, Seed, Split};

use super::calendar::Month;
use super::evaluation::Labels;
use super::featurise::{self, Logs};
use super::scoring;
use super::training::{self, Setting};
use crate::artefacts::scores::ScoreTable;
use crate::artefacts::{Staged, manifest};
use crate::config::{Config, ConfigFile};
use crate::console::Refusal;

/// Share of the past that is neither trained nor calibrated on: splits leave no part empty.
const HELD_BACK: f64 = 0.02;
/// Digits of the hash that names a stage.
const DIGITS: usize = 16;

/// A training recipe: a configuration file.
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) config: ConfigFile,
    method: Method,
}

impl Recipe {
    /// Reads a configuration and checks that it is one that can be trained over time.
    ///
    /// # Errors
    /// As [`Config::read`]; a section that is missing, a split by dates.
    pub(crate) fn read(path: &Path, set: &[String]) -> Result<Self> {
        let config = Config::read(path, set)?;
        config.need(config.file.features.as_ref(), "features")?;
        if config.file.train.is_none() {
            config.need(config.file.trees.as_ref(), "train")?;
        }
        let split = config.file.split.clone().unwrap_or_default();
        if split.valid_from.is_some() || split.test_from.is_some() {
            let told = format!("`{}` splits by dates", path.display());
            return Err(Refusal::new(told)
                .hint("every month has dates of its own: give `valid` and `calibrate` as shares")
                .into());
        }
        let methods = super::calibration::methods(&config.file.calibrate.methods)?;
        let stem = path.file_stem().unwrap_or_default();
        Ok(Self {
            name: stem.to_string_lossy().into_owned(),
            config: config.file,
            method: methods[0],
        })
    }
}

/// What a recipe made of a month.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stage {
    pub(crate) month: String,
    pub(crate) recipe: String,
    /// Folders below the cache.
    past: String,
    next: String,
    run: String,
    /// Rows and purchases the calibrator was fitted on.
    calibrated_on: [usize; 2],
    /// Lists of the month, and the latest list that any of its models saw.
    pub(crate) lists: usize,
    latest_seen: i64,
    /// Stages that were there already.
    pub(crate) reused: usize,
}

/// How recipes are run.
pub(crate) struct Rolling<'a> {
    pub(crate) logs: &'a str,
    /// What tells one state of the logs from another, [`log_files`].
    pub(crate) log_files: Vec<Value>,
    pub(crate) cache: &'a Path,
    pub(crate) seed: Seed,
    pub(crate) threads: usize,
    pub(crate) device: DeviceSpec,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

impl Rolling<'_> {
    /// Trains a recipe on what was known when `month` began, and scores the month with probabilities.
    ///
    /// # Errors
    /// Logs too short before the month, a month without lists, and what every stage refuses.
    pub(crate) fn month(&self, recipe: &Recipe, month: Month) -> Result<(ScoreTable, Stage)> {
        let within = || format!("recipe `{}` in {month}", recipe.name);
        self.stages(recipe, month).with_context(within)
    }

    fn stages(&self, recipe: &Recipe, month: Month) -> Result<(ScoreTable, Stage)> {
        let mut reused = 0;
        let own = recipe.config.split.clone().unwrap_or_default();
        let past_split = SplitSpec {
            valid: own.valid,
            calibrate: own.calibrate,
            test: Some(HELD_BACK),
            ..SplitSpec::default()
        };
        let (past, there) =
            self.dataset(recipe, &past_split, Some(month.day_before(0)), None, "past")?;
        reused += usize::from(there);
        let next_split = SplitSpec {
            valid_from: Some(month.day_before(2)),
            calibrate_from: Some(month.day_before(1)),
            test_from: Some(month.day_before(0)),
            ..SplitSpec::default()
        };
        let map = past.join("feature_map.json");
        let (next, there) = self.dataset(recipe, &next_split, None, Some(&map), "next")?;
        reused += usize::from(there);
        let (run, there) = self.run(recipe, &past)?;
        reused += usize::from(there);

        let runs = [run.clone()];
        let by_run = |dataset: &Dataset, split| {
            scoring::by_runs(&runs, dataset, split, self.device, self.progress)
        };
        let dataset = Dataset::open(&past)?;
        let held_out = by_run(&dataset, Split::Calibrate)?;
        let latest_seen = latest(&dataset)?;
        anyhow::ensure!(
            latest_seen < month.begins(),
            "a list of the month itself was trained on"
        );
        let labels = Labels::of(&held_out, None)?;
        let outcomes: Vec<f64> = labels.positives.iter().map(|&y| f64::from(y)).collect();
        let calibrator = fit_reading(
            Reads::LogOdds,
            recipe.method,
            &held_out.score,
            &outcomes,
            None,
        )?;

        let scored = by_run(&Dataset::open(&next)?, Split::Test)?;
        let times = scored
            .get_integers("ts")
            .context("the dataset has no times")?;
        let ends = month.next().begins();
        let rows: Vec<usize> = (0..times.len()).filter(|&row| times[row] < ends).collect();
        if rows.is_empty() {
            return Err(
                Refusal::new("the log has no list of this month whose labels are final").into(),
            );
        }
        let mut table = scored.rows_of(&rows)?;
        let scores = Scores(table.score.clone());
        table.set("probability", calibrator.apply_all(&scores)?.into_inner());
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let stage = Stage {
            month: month.to_string(),
            recipe: recipe.name.clone(),
            past: name(&past),
            next: name(&next),
            run: name(&run),
            calibrated_on: [outcomes.len(), labels.count()],
            lists: table.lists.len(),
            latest_seen,
            reused,
        };
        Ok((table, stage))
    }

    /// A dataset, and whether it was there.
    fn dataset(
        &self,
        recipe: &Recipe,
        split: &SplitSpec,
        as_of: Option<String>,
        map: Option<&Path>,
        kind: &str,
    ) -> Result<(PathBuf, bool)> {
        let mut attribution: AttributionOptions =
            recipe.config.attribution.clone().unwrap_or_default();
        if as_of.is_some() {
            attribution.label_as_of = as_of;
        }
        let features = recipe.config.features.as_ref().context("checked before")?;
        let map_hash = map.map(manifest::sha256).transpose()?;
        let made_of = json!({
            "attribution": attribution, "features": features, "split": split, "map": map_hash,
            "logs": self.log_state(recipe), "seed": self.seed,
        });
        let folder = self.stage(kind, &made_of);
        if folder.is_dir() {
            return Ok((folder, true));
        }
        let staged = Staged::folder(&folder, false)?;
        let job = featurise::Job {
            attribution,
            features,
            split,
            feature_map: match map {
                None => MapSource::Fit,
                Some(map) => MapSource::Given(FeatureMap::read(map)?),
            },
            formats: &BTreeSet::from([Format::Npy]),
            engine: &EngineOptions {
                threads: self.threads,
                ..EngineOptions::default()
            },
            seed: self.seed,
            command: self.command,
            progress: self.progress,
        };
        let logs = Logs::new(Some(self.logs), recipe.config.logs.as_ref())?;
        featurise::features(job, &logs, staged.path())?;
        staged.commit()?;
        Ok((folder, false))
    }

    /// A run of the recipe on a dataset, and whether it was there.
    fn run(&self, recipe: &Recipe, data: &Path) -> Result<(PathBuf, bool)> {
        let made_of = json!({
            "train": recipe.config.train, "trees": recipe.config.trees,
            "data": manifest::sha256(&data.join("manifest.json"))?, "seed": self.seed,
        });
        let folder = self.stage("run", &made_of);
        if folder.is_dir() {
            return Ok((folder, true));
        }
        let staged = Staged::folder(&folder, false)?;
        let setting = Setting {
            data,
            device: self.device.find()?.name,
            replicas: None,
            seed: self.seed,
            update: None,
            command: self.command,
            progress: self.progress,
            events: false,
            stop: None,
            keep: None,
        };
        match (&recipe.config.train, &recipe.config.trees) {
            (Some(options), _) => drop(training::train(options, &setting, staged.path())?),
            (None, Some(trees)) => drop(training::grow(trees, &setting, staged.path())?),
            (None, None) => unreachable!("a recipe has one of both"),
        }
        staged.commit()?;
        Ok((folder, false))
    }

    /// The folder of a stage made of this.
    fn stage(&self, kind: &str, made_of: &Value) -> PathBuf {
        let hash = manifest::hex(&Sha256::digest(made_of.to_string().as_bytes()));
        self.cache.join(format!("{kind}-{}", &hash[..DIGITS]))
    }

    fn log_state(&self, recipe: &Recipe) -> Value {
        json!({
            "root": self.logs, "files": self.log_files, "tables": recipe.config.logs,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Name, size and time of change of every file of a log, or its version where it is in an object store; none
/// where that is not known: on a web server, and where there is no such folder.
///
/// # Errors
/// A folder or store that cannot be listed.
pub(crate) fn log_files(logs: &str) -> Result<Option<Vec<Value>>> {
    if let Some(root) = RemoteLog::local(logs)? {
        let mut files = Vec::new();
        if !root.is_dir() {
            return Ok(None);
        }
        state_of(&root, &mut files)?;
        return Ok(Some(files));
    }
    if RemoteLog::is_unlisted(logs)? {
        return Ok(None);
    }
    let log = RemoteLog::list(logs)?;
    let files = log.files();
    let state = files.map(|(name, bytes, version)| json!([name, bytes, version]));
    Ok(Some(state.collect()))
}

/// Adds every file below a folder, in order of their names.
fn state_of(folder: &Path, files: &mut Vec<Value>) -> Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            state_of(&path, files)?;
            continue;
        }
        let about = path.metadata()?;
        let changed = about.modified()?.duration_since(std::time::UNIX_EPOCH);
        let nanos = changed.map_or(0, |since| since.as_nanos() as u64);
        files.push(json!([path.display().to_string(), about.len(), nanos]));
    }
    Ok(())
}

/// Time of the latest list in what models and calibrators see of a dataset.
fn latest(dataset: &Dataset) -> Result<i64> {
    let mut latest = i64::MIN;
    for split in [Split::Train, Split::Valid, Split::Calibrate] {
        let times = dataset.split(split)?.list_ts;
        latest = latest.max(times.iter().copied().max().unwrap_or(i64::MIN));
    }
    Ok(latest)
}
