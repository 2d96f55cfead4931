//! Stages that hold the new model to the one in use on the held-out window: by metrics, by segments, by
//! what either would have earned, and by what it takes to score a list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use arrow::array::Float64Array;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slate_eval::off_policy::{Choice, IntervalMethod, Intervals, Verdict};
use slate_eval::{Difference, Metric};
use slate_features::{CategoricalFeature, Dataset, SplitData};
use slate_types::{FormatVersion, Silent, Split};

use super::data::{ChampionFeatures, Features};
use super::job::Job;
use super::model::{Calibrate, ChampionScore, TEST, Train};
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::config::{PolicyFile, Source};
use crate::console::Refusal;
use crate::pipeline::backtest::{self, Asked, Settings, Unit, document};
use crate::pipeline::columns::Cluster;
use crate::pipeline::evaluation::{self, Given as Judged, Labels, Measure};
use crate::pipeline::policy::Policy;
use crate::pipeline::scoring;
use crate::pipeline::shown::{From, Shown};
use crate::pipeline::stages::{Given, Need, Stage, Takes, VOLATILE};

/// Lists that are timed, at most.
const TIMED: usize = 2000;
/// Times each model scores them; the median counts.
const ROUNDS: usize = 5;

/// A metric of both models.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compared {
    pub(super) challenger: Metric,
    pub(super) champion: Option<Metric>,
    /// The new model minus the one in use.
    pub(super) difference: Option<Difference>,
}

/// A part of the held-out lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Place of the categorical feature.
    column: usize,
    pub(super) feature: String,
    id: u32,
    pub(super) value: String,
    pub(super) lists: u64,
}

/// What both models come to on the held-out lists, or on a part of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Judgement {
    format: FormatVersion,
    kind: String,
    pub(super) lists: usize,
    pub(super) part: Option<Part>,
    pub(super) metrics: Vec<Compared>,
    /// Parts to look at by themselves.
    parts: Vec<Part>,
}

impl Judgement {
    pub(super) const FILE: &str = "judgement.json";

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let value = super::job::read(folder, Self::FILE)?;
        Ok(serde_json::from_value(value)?)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        manifest::write_json(&folder.join(Self::FILE), &serde_json::to_value(self)?)
    }
}

/// Compares both models on all held-out lists, and says which parts are looked at by themselves.
pub(super) struct Judge(pub(super) Arc<Job>);

impl Judge {
    pub(super) const NAME: &str = "judge";
}

impl Stage for Judge {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        judged(&self.0)
    }

    fn inputs(&self) -> Result<Value> {
        Ok(judged_by(&self.0))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let names: Vec<&str> = job
            .section
            .gate
            .rules
            .iter()
            .map(|rule| rule.metric.as_str())
            .collect();
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.dedup();
        let both = Both::read(job, given)?;
        let metrics = both.compare(job, &names)?;
        let dataset = Dataset::open(given.output(Features::NAME))?;
        // Looked for in any case, so that a name that is none is told in the first month.
        let mut parts = parts(job, &dataset)?;
        if job.champion.is_none() {
            parts.clear();
        }
        Judgement {
            format: manifest::FORMAT,
            kind: "judgement".to_owned(),
            lists: both.challenger.lists.len(),
            part: None,
            metrics,
            parts,
        }
        .write(given.out)
    }

    fn adds(&self, output: &Path) -> Result<Vec<Arc<dyn Stage>>> {
        let parts = Judgement::read(output)?.parts.into_iter();
        let stage = |part| Arc::new(JudgePart(Arc::clone(&self.0), part)) as Arc<dyn Stage>;
        Ok(parts.map(stage).collect())
    }
}

/// Compares both models on a part of the held-out lists.
pub(super) struct JudgePart(Arc<Job>, Part);

impl JudgePart {
    /// What the names of all of them begin with.
    pub(super) const BEGINNING: &str = "judge ";
}

impl Stage for JudgePart {
    fn name(&self) -> String {
        format!("{}{}={}", Self::BEGINNING, self.1.feature, self.1.value)
    }

    fn needs(&self) -> Vec<Need> {
        judged(&self.0)
    }

    fn inputs(&self) -> Result<Value> {
        Ok(json!({ "by": judged_by(&self.0), "part": self.1 }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let (job, part) = (&self.0, &self.1);
        let dataset = Dataset::open(given.output(Features::NAME))?;
        let data = dataset.split(Split::Test)?;
        let width = dataset.map().categorical.len();
        let of_part = |id: Option<u32>| id == Some(part.id);
        let lists: Vec<usize> = (0..data.lists.len())
            .filter(|&list| of_part(common(&data, list, part.column, width)))
            .collect();
        let rows: Vec<usize> = lists
            .iter()
            .flat_map(|&list| data.lists.range(list))
            .collect();
        let both = Both::read(job, given)?.rows(&rows)?;
        let metrics = both.compare(job, std::slice::from_ref(&job.section.gate.segment_metric))?;
        Judgement {
            format: manifest::FORMAT,
            kind: "judgement".to_owned(),
            lists: lists.len(),
            part: Some(part.clone()),
            metrics,
            parts: Vec::new(),
        }
        .write(given.out)
    }
}

fn judged(job: &Job) -> Vec<Need> {
    let mut needs = vec![Need::stage(Features::NAME), Need::stage(Calibrate::NAME)];
    if job.champion.is_some() {
        needs.push(Need::stage(ChampionScore::NAME));
    }
    needs
}

fn judged_by(job: &Job) -> Value {
    json!({
        "gate": job.section.gate, "evaluate": job.file.evaluate, "seed": job.seed,
        "champion": job.champion_id(),
    })
}

/// Scores of both models for the same rows.
struct Both {
    challenger: ScoreTable,
    champion: Option<ScoreTable>,
}

impl Both {
    fn read(job: &Job, given: &Given<'_>) -> Result<Self> {
        let read = |stage: &str| ScoreTable::read(&given.output(stage).join(TEST));
        Ok(Self {
            challenger: read(Calibrate::NAME)?,
            champion: match job.champion {
                Some(_) => Some(read(ChampionScore::NAME)?),
                None => None,
            },
        })
    }

    fn rows(&self, rows: &[usize]) -> Result<Self> {
        let champion = self.champion.as_ref();
        Ok(Self {
            challenger: self.challenger.rows_of(rows)?,
            champion: champion.map(|table| table.rows_of(rows)).transpose()?,
        })
    }

    fn compare(&self, job: &Job, names: &[String]) -> Result<Vec<Compared>> {
        let measure = Measure::new(&job.file.evaluate, names, "slate", job.seed)?;
        let labels = Labels::of(&self.challenger, None)?;
        let own = evaluation::evaluate(Judged::of(&self.challenger), &labels, &measure)?;
        let Some(champion) = &self.champion else {
            let alone = own.into_iter().map(|challenger| Compared {
                challenger,
                champion: None,
                difference: None,
            });
            return Ok(alone.collect());
        };
        let (new, old) = (Judged::of(&self.challenger), Judged::of(champion));
        let theirs = evaluation::evaluate(old, &labels, &measure)?;
        let differences = evaluation::compare(new, old, &labels, &measure)?;
        let all = own.into_iter().zip(theirs).zip(differences);
        let compared = all.map(|((challenger, champion), difference)| Compared {
            challenger,
            champion: Some(champion),
            difference: Some(difference),
        });
        Ok(compared.collect())
    }
}

/// The id that all rows of a list have in a column; none where they differ.
fn common(data: &SplitData, list: usize, column: usize, width: usize) -> Option<u32> {
    let mut ids = data
        .lists
        .range(list)
        .map(|row| data.categorical[row * width + column]);
    let first = ids.next()?;
    ids.all(|id| id == first).then_some(first)
}

/// The values of the features that guard, where there are lists enough.
fn parts(job: &Job, dataset: &Dataset) -> Result<Vec<Part>> {
    let gate = &job.section.gate;
    let features = &dataset.map().categorical;
    let data = dataset.split(Split::Test)?;
    let mut parts = Vec::new();
    for feature in &gate.segments {
        let Some(column) = features.iter().position(|own| own.name() == feature) else {
            let known: Vec<&str> = features.iter().map(CategoricalFeature::name).collect();
            let told = format!(
                "`retrain.gate.segments` names `{feature}`, which is no categorical feature"
            );
            return Err(Refusal::new(told)
                .hint(format!("those are {}", known.join(", ")))
                .into());
        };
        let mut lists: BTreeMap<u32, u64> = BTreeMap::new();
        for list in 0..data.lists.len() {
            if let Some(id) = common(&data, list, column, features.len()) {
                *lists.entry(id).or_default() += 1;
            }
        }
        lists.retain(|_, lists| *lists >= gate.segment_lists);
        parts.extend(lists.into_iter().map(|(id, lists)| Part {
            column,
            feature: feature.clone(),
            id,
            value: value_of(&features[column], id),
            lists,
        }));
    }
    Ok(parts)
}

/// An id as people know it.
fn value_of(feature: &CategoricalFeature, id: u32) -> String {
    match feature {
        // In brackets: a value may itself be called unknown.
        _ if id == 0 => "(unknown)".to_owned(),
        CategoricalFeature::Vocabulary { values, .. } => values[id as usize - 1].clone(),
        _ => format!("id {id}"),
    }
}

/// Estimates what either order would have earned, where the log has the probabilities for it.
pub(super) struct Backtest(pub(super) Arc<Job>);

impl Backtest {
    pub(super) const NAME: &str = "backtest";
    /// As `slate backtest` writes it, so that the report shows it.
    pub(super) const FILE: &str = "manifest.json";
    const ESTIMATORS: [&str; 4] = ["ips", "snips", "dm", "dr"];
    const MAIN: &str = "dr";
}

impl Stage for Backtest {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        judged(&self.0)
    }

    fn inputs(&self) -> Result<Value> {
        Ok(judged_by(&self.0))
    }

    fn takes(&self) -> Takes {
        self.0.takes(false)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let value = match self.estimate(given) {
            Ok(value) => value,
            // A log that shows one order only, or has no chances, cannot tell; that is an answer.
            Err(error) if super::faults::is_refusal(&error) => json!({
                "format": manifest::FORMAT, "kind": "backtest left out",
                "verdict": Verdict::CannotTell, "why": format!("{error:#}"),
            }),
            Err(error) => return Err(error),
        };
        manifest::write_json(&given.out.join(Self::FILE), &value)
    }
}

impl Backtest {
    fn estimate(&self, given: &Given<'_>) -> Result<Value> {
        let job = &self.0;
        let both = Both::read(job, given)?;
        let mut table = both.challenger;
        if !table.has("propensity") {
            return Err(Refusal::new("the log has no propensities").into());
        }
        let champion = both.champion.unwrap_or_else(|| table.clone());
        for (name, scores) in [
            ("challenger", table.score.clone()),
            ("champion", champion.score),
        ] {
            table.set_other(name, Arc::new(Float64Array::from(scores)));
        }
        let file = given.unfinished.join("both.parquet");
        std::fs::create_dir_all(given.unfinished)?;
        table.write(&file, false)?;
        let shown = Shown::read(&From::File(file), None, &[])?;
        let policies = if job.champion.is_some() {
            vec![by_column("champion"), by_column("challenger")]
        } else {
            vec![by_source("logged", Source::Logged), by_column("challenger")]
        };
        let section = &job.file.evaluate;
        let settings = Settings {
            reward: None,
            unit: Unit::List,
            cluster: Cluster::List,
            top: None,
            propensities: Asked::Column("propensity".to_owned()),
            prefix: None,
            estimators: Self::ESTIMATORS
                .iter()
                .map(|name| Ok(name.parse::<Choice>()?))
                .collect::<Result<_>>()?,
            main: Self::MAIN.parse()?,
            outcome: None,
            cells: Vec::new(),
            intervals: Intervals {
                method: IntervalMethod::Percentile,
                bootstrap: slate_eval::Bootstrap {
                    draws: section.draws,
                    seed: job.seed.derive("bootstrap"),
                    level: section.level,
                },
                largest_reward: None,
            },
            by: None,
            seed: job.seed.derive("outcome folds"),
            device: job.device,
        };
        let compared = backtest::compare(&shown, &policies, &settings, given.progress)?;
        let summary = document::summary(&compared, &settings);
        Ok(document::document(
            &summary,
            &compared,
            &shown,
            &policies,
            &settings,
            &job.command,
        ))
    }
}

/// The policy that orders by a column.
fn by_column(name: &str) -> Policy {
    by_source(name, Source::Column(name.to_owned()))
}

fn by_source(name: &str, source: Source) -> Policy {
    let ranker = match &source {
        Source::Column(name) => format!("column:{name}"),
        _ => name.to_owned(),
    };
    Policy {
        name: name.to_owned(),
        path: PathBuf::from(name),
        file: PolicyFile {
            format: FormatVersion(1),
            name: Some(name.to_owned()),
            ranker,
            calibrator: None,
            order: None,
            explore: slate_allocate::Exploration::default(),
        },
        source,
    }
}

/// Times both models on the same lists, one after the other.
pub(super) struct Latency(pub(super) Arc<Job>);

impl Latency {
    pub(super) const NAME: &str = "latency";
    pub(super) const FILE: &str = "latency.json";
}

impl Stage for Latency {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        // After what else computes, so that little runs beside it.
        let mut needs = vec![
            Need::stage(Train::NAME),
            Need::stage(Features::NAME),
            Need::stage(Judge::NAME),
        ];
        if self.0.champion.is_some() {
            needs.push(Need::stage(ChampionFeatures::NAME));
        }
        needs
    }

    fn inputs(&self) -> Result<Value> {
        Ok(json!({ "gate": self.0.section.gate, "champion": self.0.champion_id() }))
    }

    fn takes(&self) -> Takes {
        Takes {
            // Alone: another stage beside it would be measured too.
            memory: self.0.memory,
            device: true,
        }
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let gate = &job.section.gate;
        let own = Timed::open(given.output(Train::NAME), given.output(Features::NAME), job)?;
        let champion = match &job.champion {
            None => None,
            Some(champion) => {
                let data = given.output(ChampionFeatures::NAME);
                Some(Timed::open(&champion.folder, data, job)?)
            }
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(own.seconds()?);
            if let Some(champion) = &champion {
                theirs.push(champion.seconds()?);
            }
        }
        let lists = own.data.lists.len() as f64;
        let a_list = |seconds: &mut Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            seconds
                .get(seconds.len() / 2)
                .map(|median| 1e6 * median / lists)
        };
        let (ours, theirs) = (a_list(&mut ours), a_list(&mut theirs));
        let times = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let bytes = champion.as_ref().map(|champion| champion.bytes);
        let larger = bytes.map(|bytes| own.bytes as f64 / bytes as f64);
        // What was measured is beside; others read it only where it does not fit, since it is another number
        // each time.
        let too_slow = times.filter(|times| gate.latency > 0.0 && *times > gate.latency);
        let measured = json!({ "micros_a_list": ours, "champion": theirs, "times": times });
        manifest::write_json(&given.out.join(VOLATILE), &measured)?;
        let value = json!({
            "format": manifest::FORMAT, "kind": "latency",
            "latency": too_slow, "size": larger, "bytes": own.bytes, "champion_bytes": bytes,
        });
        manifest::write_json(&given.out.join(Self::FILE), &value)
    }
}

/// A model and lists to time it on.
struct Timed {
    ranker: Box<dyn scoring::Scores>,
    data: SplitData,
    shape: slate_types::FeatureShape,
    /// Of what it learned.
    bytes: u64,
}

impl Timed {
    fn open(run: &Path, data: &Path, job: &Job) -> Result<Self> {
        let dataset = Dataset::open(data)?;
        let split = dataset.split(Split::Test)?;
        let lists: Vec<u32> = (0..split.lists.len().min(TIMED) as u32).collect();
        let (ranker, _) = scoring::load(run, job.device)?;
        let files = [slate_model::WEIGHTS_FILE, slate_trees::TREES_FILE];
        let sizes = files.map(|name| run.join(name).metadata().map_or(0, |about| about.len()));
        Ok(Self {
            ranker,
            data: split.select(&lists),
            shape: dataset.shape(),
            bytes: sizes.iter().sum(),
        })
    }

    fn seconds(&self) -> Result<f64> {
        let began = Instant::now();
        scoring::score_split(&*self.ranker, &self.data, &self.shape, &Silent)?;
        Ok(began.elapsed().as_secs_f64())
    }
}
