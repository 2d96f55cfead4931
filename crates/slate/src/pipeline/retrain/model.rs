//! Stages over models: training, scores of the held-out lists, probabilities.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_calibrate::CalibratorFile;
use slate_features::Dataset;
use slate_model::{DeviceSpec, Every};
use slate_types::{Progress, Split};

use super::data::{ChampionFeatures, Features};
use super::job::Job;
use super::profile::DataCheck;
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::pipeline::calibration;
use crate::pipeline::evaluation::Measure;
use crate::pipeline::scoring;
use crate::pipeline::stages::{Given, Need, Stage, Takes};
use crate::pipeline::training::{self, Keep, Parent, Setting, Unfinished};

/// Most of the running time that checkpoints may take.
const CHECKPOINT_SHARE: f64 = 0.02;
const CHECKPOINTS: usize = 2;
/// The scores of the held-out window.
pub(super) const TEST: &str = "test.parquet";
const CALIBRATE: &str = "calibrate.parquet";
/// The calibrator of a version.
pub(super) const CALIBRATOR: &str = "calibrator.json";

/// Trains: an update of the model in use, or from nothing.
pub(super) struct Train(pub(super) Arc<Job>);

impl Train {
    pub(super) const NAME: &str = "train";
}

impl Stage for Train {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        // Bad data is found before time is spent on it.
        vec![Need::stage(Features::NAME), Need::stage(DataCheck::NAME)]
    }

    fn inputs(&self) -> Result<Value> {
        let job = &self.0;
        let from = job.updates().then(|| job.champion_id());
        Ok(json!({
            "train": job.file.train, "trees": job.file.trees, "from": from, "seed": job.seed,
            "device": job.device.find()?.name.to_string(), "command": job.command,
        }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(true)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let device = job.device.find()?.name;
        let parent = match &job.champion {
            Some(champion) if job.updates() => Some(Parent::load(&champion.folder, device)?),
            _ => None,
        };
        let unfinished = Unfinished::at(given.unfinished);
        let setting = |resume| Setting {
            data: given.output(Features::NAME),
            device,
            replicas: None,
            seed: job.seed,
            update: parent.as_ref(),
            command: &job.command,
            progress: given.progress,
            events: false,
            stop: Some(given.stop),
            keep: Some(Keep {
                unfinished: &unfinished,
                resume,
                every: Every::Share(CHECKPOINT_SHARE),
                checkpoints: CHECKPOINTS,
            }),
        };
        match (&job.file.train, &job.file.trees) {
            (Some(options), _) => {
                let mut trained = training::train(options, &setting(true), given.out);
                if trained.as_ref().is_err_and(training::is_about_a_checkpoint) {
                    // A damaged checkpoint costs the time since it began, and nothing else.
                    empty(given.out)?;
                    trained = training::train(options, &setting(false), given.out);
                }
                if let Some(diverged) = trained?.diverged {
                    anyhow::bail!("{diverged}");
                }
                Ok(())
            }
            (None, Some(trees)) => {
                let setting = Setting {
                    device: DeviceSpec::Cpu,
                    keep: None,
                    ..setting(false)
                };
                training::grow(trees, &setting, given.out).map(|_| ())
            }
            (None, None) => unreachable!("the configuration was checked"),
        }
    }
}

fn empty(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder)?;
    Ok(std::fs::create_dir(folder)?)
}

/// Scores what the new model has not been trained on.
pub(super) struct Score(pub(super) Arc<Job>);

impl Score {
    pub(super) const NAME: &str = "score";
}

impl Stage for Score {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::stage(Features::NAME), Need::stage(Train::NAME)]
    }

    fn inputs(&self) -> Result<Value> {
        Ok(json!({ "device": self.0.device.find()?.name.to_string() }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(true)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let dataset = Dataset::open(given.output(Features::NAME))?;
        let runs = [given.output(Train::NAME).to_owned()];
        for (split, file) in [(Split::Calibrate, CALIBRATE), (Split::Test, TEST)] {
            let device = self.0.device;
            let table = scoring::by_runs(&runs, &dataset, split, device, given.progress)?;
            table.write(&given.out.join(file), false)?;
        }
        Ok(())
    }
}

/// Fits calibrators on scores the new model has not learned from, and applies the first of them.
pub(super) struct Calibrate(pub(super) Arc<Job>);

impl Calibrate {
    pub(super) const NAME: &str = "calibrate";
}

impl Stage for Calibrate {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::stage(Score::NAME)]
    }

    fn inputs(&self) -> Result<Value> {
        let file = &self.0.file;
        Ok(json!({
            "calibrate": file.calibrate, "evaluate": file.evaluate, "seed": self.0.seed,
            "command": self.0.command,
        }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let section = &job.file.calibrate;
        let scores = given.output(Score::NAME);
        let fit = ScoreTable::read(&scores.join(CALIBRATE))?;
        let mut test = ScoreTable::read(&scores.join(TEST))?;
        let methods = calibration::methods(&section.methods)?;
        let measure = Measure::new(&job.file.evaluate, &[], "slate", job.seed)?;
        calibration::calibrate(
            &calibration::Job {
                fit: &fit,
                test: Some(&test),
                methods: &methods,
                skip: false,
                label: None,
                fitting: &calibration::Fitting::default(),
                weighing: calibration::Weighing::default(),
                test_weighing: calibration::Weighing::default(),
                top: section.top,
                measure: &measure,
                seed: job.seed,
                in_sample: false,
                command: &job.command,
                progress: given.progress,
            },
            given.out,
        )?;
        let chosen = format!("{}.json", methods[0].name());
        std::fs::copy(given.out.join(chosen), given.out.join(CALIBRATOR))?;
        promise(&mut test, given.out)?;
        test.write(&given.out.join(TEST), false)
    }
}

/// Scores the held-out window with the model in use and its own calibrator.
pub(super) struct ChampionScore(pub(super) Arc<Job>);

impl ChampionScore {
    pub(super) const NAME: &str = "champion score";
}

impl Stage for ChampionScore {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::stage(ChampionFeatures::NAME)]
    }

    fn inputs(&self) -> Result<Value> {
        let device = self.0.device.find()?.name.to_string();
        Ok(json!({ "champion": self.0.champion_id(), "device": device }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(true)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let champion = self.0.champion()?;
        let dataset = Dataset::open(given.output(ChampionFeatures::NAME))?;
        let runs = [champion.folder.clone()];
        let device = self.0.device;
        let progress: &dyn Progress = given.progress;
        let mut table = scoring::by_runs(&runs, &dataset, Split::Test, device, progress)?;
        promise(&mut table, &champion.folder)?;
        table.write(&given.out.join(TEST), false)
    }
}

/// Sets the probabilities that the calibrator in a folder makes of the scores.
fn promise(table: &mut ScoreTable, folder: &Path) -> Result<()> {
    let path = folder.join(CALIBRATOR);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = CalibratorFile::from_json(&text)
        .with_context(|| format!("cannot use the calibrator `{}`", path.display()))?;
    let probabilities = calibration::apply(&file, table)?;
    table.set("probability", probabilities);
    Ok(())
}

/// The hash of a dataset's manifest.
pub(super) fn dataset_hash(folder: &Path) -> Result<String> {
    manifest::sha256(&folder.join("manifest.json"))
}
