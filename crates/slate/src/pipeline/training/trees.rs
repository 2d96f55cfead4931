//! Dataset to a run of gradient-boosted trees.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{Dataset, SplitData};
use slate_trees::{
    Column, Examples, Label, StopReason, TREES_FILE, TreeRanker, TreesConfig, TreesOptions,
};
use slate_types::{FeatureShape, Split};

use super::unfinished::{METRICS_FILE, now};
use super::validation::Judged;
use super::{Best, More, Setting, run_manifest, scoring};
use crate::artefacts::tensorboard::{self, EventFile};

/// What grown trees report.
pub(crate) struct Grown {
    pub(crate) json: Value,
    pub(crate) best_trees: u32,
    pub(crate) best_metric: f64,
    pub(crate) metric: String,
    pub(crate) leaves: usize,
    /// Inputs of the dataset that trees do not read.
    pub(crate) unread: Vec<String>,
}

/// Grows trees on a dataset and writes a whole run into the empty folder `out`.
///
/// # Errors
/// A dataset or configuration that cannot be used, an interrupt, a full disk.
pub(crate) fn grow(options: &TreesOptions, setting: &Setting<'_>, out: &Path) -> Result<Grown> {
    let dataset = Dataset::open(setting.data)
        .with_context(|| format!("cannot open the dataset `{}`", setting.data.display()))?;
    let config = options.clone().check()?;
    let shape = dataset.shape();
    let train = examples(&config, &shape, &dataset.split(Split::Train)?)?;
    let valid = dataset.split(Split::Valid)?;
    let held_out = examples(&config, &shape, &valid)?;
    let outcome = match options.label {
        Label::Click => Judged::Click,
        Label::Purchase => Judged::Purchase,
        Label::Grade => Judged::Grade,
    };
    let (lists, outcomes) = (valid.lists.clone(), outcome.of(&valid).to_vec());
    drop(valid);
    // Scores of nothing: whether there is an outcome to judge by at all.
    let none = vec![0.0; lists.rows()];
    outcome
        .judge(&lists, &none, &outcomes)
        .map_err(anyhow::Error::from_boxed)?;
    let judge = move |scores: &[f32]| {
        let scores: Vec<f64> = scores.iter().map(|&score| f64::from(score)).collect();
        outcome
            .judge(&lists, &scores, &outcomes)
            .unwrap_or(f64::NAN)
    };

    let metric = outcome.metric_name();
    let mut log = Log::create(out, &metric, setting.events)?;
    let progress = setting.progress;
    progress.begin("train", Some(u64::from(options.trees)), "trees");
    let mut best = f64::NEG_INFINITY;
    let training = slate_trees::Training {
        config: &config,
        shape: &shape,
        seed: setting.seed.derive("trees"),
        stop: setting.stop,
    };
    let trained = training.run(train, held_out, Box::new(judge), &mut |round| {
        best = best.max(round.metric);
        progress.advance(1);
        progress.note(&format!("{metric} {:.4}  best {best:.4}", round.metric));
        log.note(round);
    });
    progress.end();
    let trained = trained?;
    log.close(trained.stopped)?;

    let names = Names::of(&dataset);
    let ranker = &trained.ranker;
    ranker.save(out)?;
    let importance: Vec<Value> = ranker
        .importance()
        .iter()
        .map(|one| json!({ "input": names.of_column(one.column), "gain": one.gain, "splits": one.splits }))
        .collect();
    let manifest = run_manifest(
        setting,
        &dataset,
        &json!({ "trees": options }),
        &Best {
            epoch: None,
            trees: Some(trained.best_trees),
            metric: &metric,
            value: trained.best_metric,
        },
        &More {
            notes: vec![
                ("leaves", json!(ranker.leaves())),
                ("importance", json!(importance)),
            ],
            files: vec![TREES_FILE.to_owned()],
        },
        out,
    )?;
    Ok(Grown {
        json: manifest,
        best_trees: trained.best_trees,
        best_metric: trained.best_metric,
        metric: metric.clone(),
        leaves: ranker.leaves(),
        unread: names.unread(ranker, &dataset),
    })
}

fn examples(config: &TreesConfig, shape: &FeatureShape, data: &SplitData) -> Result<Examples> {
    let mut examples = Examples::new(config, shape)?;
    for (_, batch) in scoring::in_order(data, shape) {
        examples.push(&batch)?;
    }
    Ok(examples)
}

/// Inputs of a dataset by name.
struct Names {
    dense: Vec<String>,
    categorical: Vec<String>,
}

impl Names {
    fn of(dataset: &Dataset) -> Self {
        let manifest = dataset.manifest();
        let categorical = manifest.categorical.iter();
        Self {
            dense: manifest.dense.clone(),
            categorical: categorical.map(|input| input.name.clone()).collect(),
        }
    }

    /// The name of a column; vectors of items stand behind the dense inputs and have none.
    fn of_column(&self, column: Column) -> String {
        match column {
            Column::Dense(at) => {
                self.dense.get(at).cloned().unwrap_or_else(|| {
                    format!("vector of the item, number {}", at - self.dense.len())
                })
            }
            Column::Categorical(at) => self.categorical[at].clone(),
        }
    }

    fn unread(&self, ranker: &TreeRanker, dataset: &Dataset) -> Vec<String> {
        let unread = |at: &usize| !ranker.columns().contains(&Column::Categorical(*at));
        let places = (0..self.categorical.len()).filter(unread);
        let mut names: Vec<String> = places.map(|at| self.categorical[at].clone()).collect();
        let map = dataset.map();
        names.extend(map.multi_valued.iter().map(|input| input.name.clone()));
        names.extend(map.history.as_ref().map(|_| "history".to_owned()));
        names
    }
}

/// `metrics.jsonl` and TensorBoard events.
struct Log {
    metric: String,
    metrics: BufWriter<File>,
    events: Option<EventFile>,
    failed: Option<std::io::Error>,
}

impl Log {
    fn create(out: &Path, metric: &str, events: bool) -> Result<Self> {
        let open = || -> std::io::Result<Self> {
            Ok(Self {
                metric: metric.to_owned(),
                metrics: BufWriter::new(File::create(out.join(METRICS_FILE))?),
                events: events
                    .then(|| EventFile::create(&out.join(tensorboard::FILE_NAME), now()))
                    .transpose()?,
                failed: None,
            })
        };
        open().context("cannot create the log of the training")
    }

    fn note(&mut self, round: &slate_trees::Round) {
        let mut write = || -> std::io::Result<()> {
            let line = json!({
                "event": "tree", "trees": round.trees, "metric": round.metric,
                "name": self.metric, "best": round.best,
            });
            writeln!(self.metrics, "{line}")?;
            let Some(events) = &mut self.events else {
                return Ok(());
            };
            let tag = format!("val/{}", self.metric);
            events.scalar(&tag, round.trees.into(), round.metric, now())
        };
        if let Err(error) = write() {
            self.failed.get_or_insert(error);
        }
    }

    fn close(mut self, reason: StopReason) -> Result<()> {
        let reason = match reason {
            StopReason::Trees => "trees",
            StopReason::Patience => "patience",
        };
        let line = json!({ "event": "stopped", "reason": reason });
        let mut end = || -> std::io::Result<()> {
            writeln!(self.metrics, "{line}")?;
            self.metrics.flush()?;
            self.events.as_mut().map_or(Ok(()), EventFile::flush)
        };
        let ended = self.failed.take().map_or_else(&mut end, Err);
        ended.context("cannot write the log of the training")
    }
}

/// Whether `out` is the finished run of these very trees.
pub(crate) fn is_grown(options: &TreesOptions, setting: &Setting<'_>, out: &Path) -> Result<bool> {
    super::is_run_of(&json!({ "trees": options }), setting, out)
}
