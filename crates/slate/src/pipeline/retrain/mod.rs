//! The monthly retrain: from logs to a model in use, or to the reason why not.
//!
//! A month is a graph of [`stages`](super::stages): `logs` and `data` check what came in, `features`,
//! `train`, `score` and `calibrate` make a model, `judge`, `backtest` and `latency` hold it to the one in
//! use, `gate` decides, `promote` puts it into the registry, `report` shows it. What is done is done once:
//! killed anywhere and started again, a month ends with the same bytes.

mod beginning;
mod bucket;
mod data;
mod faults;
mod gate;
mod job;
mod judging;
mod log_check;
mod log_files;
mod model;
pub(crate) mod notices;
mod profile;
mod promotion;
pub(crate) mod record;
mod report;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use slate_types::{Progress, Seed};

use self::beginning::Asked;
use self::data::{ChampionFeatures, Embed, Features};
use self::faults::is_about_data;
pub(crate) use self::gate::Verdict;
use self::gate::{Decision, Gate};
use self::job::{Champion, Job};
use self::judging::{Backtest, Judge, Latency};
use self::log_check::{LogCheck, Problem};
use self::model::{Calibrate, ChampionScore, Score, Train};
use self::profile::DataCheck;
use self::promotion::Promote;
use self::record::{Ended, PAGE, Record};
use self::report::Report;
use super::calendar::{DAY, Month};
use super::stages::{Done, Event, Interrupted, Limits, Planned, Runner, Stage, Store};
use super::training::was_interrupted;
use crate::artefacts::registry::Registry;
use crate::artefacts::{Lease, manifest, replace_file, sweep_hidden};
use crate::config::{ConfigFile, RetrainSection};
use crate::console::Refusal;

/// The stage whose output later months are held to.
pub(crate) const PROFILES: &str = DataCheck::NAME;

/// How a month is to be retrained.
pub(crate) struct Retrain<'a> {
    pub(crate) file: &'a ConfigFile,
    pub(crate) section: RetrainSection,
    pub(crate) registry: Registry,
    pub(crate) seed: Seed,
    pub(crate) threads: usize,
    /// Bytes for all stages that run together.
    pub(crate) memory: u64,
    /// Whether a month that was done is left as it is, whatever changed since.
    pub(crate) done_stays: bool,
    /// Stage to make anew, with all behind it.
    pub(crate) from: Option<&'a str>,
    /// Last stage to make.
    pub(crate) until: Option<&'a str>,
    pub(crate) observe: &'a (dyn Fn(&Event<'_>) + Sync),
    pub(crate) say: &'a dyn Fn(&str),
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'static AtomicBool,
    /// Whether a month was begun: who is far away hears of errors from then on.
    pub(crate) begun: Cell<bool>,
}

/// What came of asking for a month.
pub(crate) enum Outcome {
    /// It was done before, of the same logs and configuration.
    Nothing(Record),
    /// It is left as it is: done before, of other logs or another configuration, or older than the model in
    /// use.
    Left(Month, Option<Record>),
    Done {
        record: Record,
        /// With how long each took.
        stages: Vec<Done>,
        report: PathBuf,
    },
    /// Ended at `until`.
    Partly {
        stages: Vec<Done>,
        problems: Vec<String>,
    },
}

/// How far the stages came.
enum Ran {
    Whole(Vec<Done>),
    /// To where it was asked to end, with what the checks found.
    Partly(Vec<Done>, Vec<String>),
    /// The checks found this; whether the month's lists are not to be learned from later either.
    Failed(Vec<Done>, Vec<String>, bool),
}

impl<'a> Retrain<'a> {
    /// # Errors
    /// A configuration that cannot be retrained by the month.
    pub(crate) fn new(
        file: &'a ConfigFile,
        (seed, threads, memory): (Seed, usize, u64),
        (from, until): (Option<&'a str>, Option<&'a str>),
        observe: &'a (dyn Fn(&Event<'_>) + Sync),
        say: &'a dyn Fn(&str),
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let section = Job::check_config(file)?;
        Ok(Self {
            registry: Registry::new(&section.registry, &section.model)?,
            file,
            section,
            seed,
            threads,
            memory,
            done_stays: false,
            from,
            until,
            observe,
            say,
            progress,
            stop: crate::artefacts::end_when_asked(),
            begun: Cell::new(false),
        })
    }

    /// Folder of the months' records and reports.
    pub(crate) fn months(&self) -> PathBuf {
        months(&self.section)
    }

    /// Folder of all that is the model's own.
    fn folder(&self) -> PathBuf {
        self.section.work.join(&self.section.model)
    }

    fn store(&self) -> PathBuf {
        store(&self.section)
    }

    /// Retrains for a month.
    ///
    /// # Errors
    /// A stage that failed, a model that another process is at work on, a disk that cannot be written.
    pub(crate) fn month(&self, month: Month) -> Result<Outcome> {
        // Logs that cannot be looked at are a fault; wrong use and a month that is done are not.
        self.begun.set(true);
        let logs = self.look()?;
        self.begun.set(false);
        let asked = self.asked(&logs, month)?;
        let months = self.months();
        let whole = self.from.is_none() && self.until.is_none();
        if let Some(record) = Record::read(&months, month)?.filter(|_| whole)
            && let Some(outcome) = self.settled(record, &asked)
        {
            return Ok(outcome);
        }
        self.refuse_early(month)?;
        let lasts = Duration::from_secs_f64(self.section.lease_seconds);
        let lease = Lease::take(&self.registry.leases(), lasts, self.say)?;
        // Another process may have ended it meanwhile.
        let before = Record::read(&months, month)?;
        if let Some(record) = before
            .clone()
            .filter(|record| whole && asked.is_done(record))
        {
            return Ok(Outcome::Nothing(record));
        }
        self.begun.set(true);
        let champion = self.champion(before.as_ref(), &asked.of, month)?;
        if let Some(refusal) = too_old(champion.as_ref(), month) {
            self.begun.set(false);
            return if self.done_stays {
                Ok(Outcome::Left(month, before))
            } else {
                Err(refusal.into())
            };
        }
        let number = champion.as_ref().map_or(0, |champion| champion.number);
        let job = self.job(&logs, month, champion, format!("t{}", lease.token()))?;
        let phases = self.phases(&job);
        let phases = phases.inspect_err(|_| self.begun.set(false))?;
        self.registry.sweep()?;
        for folder in [self.folder(), months.join(month.to_string())] {
            sweep_hidden(&folder)?;
        }
        logs.remember(&self.index())?;
        let mut record = Record {
            format: manifest::FORMAT,
            kind: "month record".to_owned(),
            month: month.to_string(),
            model: self.section.model.clone(),
            of: asked.of,
            lag: asked.lag,
            champion: number,
            ended: None,
        };
        // What ends in between takes nothing back that was decided.
        let was_done = before.is_some_and(|record| record.ended.is_some());
        if self.until.is_none() || !was_done {
            record.write(&months, month)?;
        }
        let (stages, failed) = match self.run(&job, phases, &lease)? {
            Ran::Partly(stages, problems) => return Ok(Outcome::Partly { stages, problems }),
            Ran::Whole(stages) => (stages, None),
            Ran::Failed(stages, problems, unsound) => {
                (stages, Some((Decision::failed(problems), unsound)))
            }
        };
        let (ended, page) = self.end(&job, &stages, failed)?;
        record.ended = Some(ended);
        let report = months.join(month.to_string()).join(PAGE);
        lease.check()?;
        replace_file(&report, &page)?;
        lease.check()?;
        record.write(&months, month)?;
        Ok(Outcome::Done {
            record,
            stages,
            report,
        })
    }

    /// What is left to say of a month that has a record; none where it is to be done.
    fn settled(&self, record: Record, asked: &Asked) -> Option<Outcome> {
        if asked.is_done(&record) {
            self.restore_page(&record, asked.month);
            return Some(Outcome::Nothing(record));
        }
        let ended = record.ended.as_ref();
        let stays = self.done_stays && ended.is_some_and(|end| end.verdict != Verdict::Failed);
        stays.then_some(Outcome::Left(asked.month, Some(record)))
    }

    /// Puts the month's page back where it is not what it was and the stage that made it still has it.
    fn restore_page(&self, record: &Record, month: Month) {
        let Some(ended) = &record.ended else { return };
        let page = self.months().join(month.to_string()).join(PAGE);
        let is = |file: &Path| manifest::sha256(file).is_ok_and(|hash| hash == ended.report);
        let kept = ended.stages.get(Report::NAME);
        let kept = kept.map(|folder| self.store().join(folder).join(PAGE));
        if let Some(kept) = kept.filter(|kept| !is(&page) && is(kept)) {
            // Where that fails `verify` goes on telling of it.
            let _ = std::fs::read(kept).map(|bytes| replace_file(&page, &bytes));
        }
    }

    /// Runs the stages, phase by phase.
    fn run(&self, job: &Arc<Job>, phases: Vec<Option<&str>>, lease: &Lease) -> Result<Ran> {
        let store = Store::open(&self.store(), &job.mark)?;
        store.sweep()?;
        let may_write = || lease.check();
        let mut stages: Vec<Done> = Vec::new();
        for until in phases {
            let runner = Runner {
                settled: &stages,
                ..self.runner(&store, job, &may_write)
            };
            let done = runner.run(self.stages(job), until).or_else(|error| {
                // Who has lost the lease finds its files gone: that is not what is to be told.
                lease.check()?;
                // A training that was asked to end speaks of options that a retrain does not have.
                Err(if was_interrupted(&error) {
                    Interrupted.into()
                } else {
                    error
                })
            });
            let (problems, unsound) = match done {
                Ok(done) => {
                    stages = done;
                    problems(&stages)?
                }
                // What is damaged deep inside of a file shows only when it is read.
                Err(error) if is_about_data(&error) => {
                    (vec![job.by_its_name(&format!("{error:#}"))], true)
                }
                Err(error) => return Err(error),
            };
            let is_last = until.is_some() && until == self.until;
            if is_last || self.until.is_some() && !problems.is_empty() {
                return Ok(Ran::Partly(stages, problems));
            }
            if !problems.is_empty() {
                return Ok(Ran::Failed(stages, problems, unsound));
            }
        }
        Ok(Ran::Whole(stages))
    }

    /// What a month came to, and its page.
    fn end(
        &self,
        job: &Arc<Job>,
        stages: &[Done],
        failed: Option<(Decision, bool)>,
    ) -> Result<(Ended, Vec<u8>)> {
        if let Some((decision, unsound)) = failed {
            let page = report::of_failed(job, &self.months(), &decision, stages)?;
            let ended = Ended::new(stages, decision, None, page.as_bytes())?;
            return Ok((Ended { unsound, ..ended }, page.into_bytes()));
        }
        let output = |name: &str| path_of(stages, name);
        let mut decision = Decision::read(output(Gate::NAME)?)?;
        let promotion = job::read(output(Promote::NAME)?, Promote::FILE)?;
        let version = promotion["version"].as_str().map(str::to_owned);
        let current = self.registry.current()?;
        if let (Some(number), Some(current)) = (promotion["promotion"].as_u64(), current)
            && current.back
            && current.number > number
        {
            decision.reasons.push(format!(
                "it was taken back since, by promotion {}: {}",
                current.number, current.reason
            ));
        }
        let page = std::fs::read(output(Report::NAME)?.join(PAGE))?;
        Ok((Ended::new(stages, decision, version, &page)?, page))
    }

    /// The stages to end at, one after the other: bad data end a month before time is spent on them.
    fn phases(&self, job: &Arc<Job>) -> Result<Vec<Option<&str>>> {
        let names: Vec<String> = self.stages(job).iter().map(|stage| stage.name()).collect();
        let hint = || format!("the stages are, in this order, {}", names.join(", "));
        let place = |name: &str| {
            let found = names.iter().position(|own| own == name);
            let told = format!("there is no stage `{name}`");
            found.ok_or_else(|| Refusal::new(told).hint(hint()))
        };
        let from = self.from.map(place).transpose()?;
        let until = self.until.map(place).transpose()?;
        if let (Some(from), Some(until)) = (from, until)
            && from > until
        {
            let told = format!("stage `{}` is behind `{}`", names[from], names[until]);
            return Err(Refusal::new(told).hint(hint()).into());
        }
        Ok(match self.until {
            Some(LogCheck::NAME) => vec![self.until],
            Some(Embed::NAME | Features::NAME | ChampionFeatures::NAME) => {
                vec![Some(LogCheck::NAME), self.until]
            }
            Some(DataCheck::NAME) => vec![Some(LogCheck::NAME), self.until],
            until => vec![Some(LogCheck::NAME), Some(DataCheck::NAME), until],
        })
    }

    /// What would be done for a month, stage by stage.
    ///
    /// # Errors
    /// As [`Retrain::month`], but for what the stages themselves refuse.
    pub(crate) fn plan(&self, month: Month) -> Result<Vec<Planned>> {
        self.refuse_early(month)?;
        let logs = self.look()?;
        let record = Record::read(&self.months(), month)?;
        let of = self.made_of(&logs, month)?;
        let champion = self.champion(record.as_ref(), &of, month)?;
        if let Some(refusal) = too_old(champion.as_ref(), month) {
            return Err(refusal.into());
        }
        let job = self.job(&logs, month, champion, "plan".to_owned())?;
        let store = Store::at(&self.store(), &job.mark);
        let stages = self.stages(&job);
        self.runner(&store, &job, &|| Ok(()))
            .plan(stages, self.until)
    }

    fn runner<'r>(
        &'r self,
        store: &'r Store,
        job: &Job,
        may_write: &'r (dyn Fn() -> Result<()> + Sync),
    ) -> Runner<'r> {
        Runner {
            store,
            limits: Limits {
                jobs: self.section.jobs,
                memory: job.memory,
            },
            patience: self.patience(),
            anew: self.from,
            settled: &[],
            observe: self.observe,
            progress: self.progress,
            may_write,
        }
    }

    /// The stages of a month, in the order of submission.
    fn stages(&self, job: &Arc<Job>) -> Vec<Arc<dyn Stage>> {
        let own = || Arc::clone(job);
        let mut stages: Vec<Arc<dyn Stage>> = vec![Arc::new(LogCheck(own()))];
        if job.file.embed.is_some() {
            stages.push(Arc::new(Embed(own())));
        }
        stages.push(Arc::new(Features(own())));
        if job.champion.is_some() {
            stages.push(Arc::new(ChampionFeatures(own())));
        }
        stages.push(Arc::new(DataCheck(own())));
        stages.push(Arc::new(Train(own())));
        stages.push(Arc::new(Score(own())));
        if job.champion.is_some() {
            stages.push(Arc::new(ChampionScore(own())));
        }
        stages.push(Arc::new(Calibrate(own())));
        stages.push(Arc::new(Judge(own())));
        stages.push(Arc::new(Backtest(own())));
        stages.push(Arc::new(Latency(own())));
        stages.push(Arc::new(Gate(own())));
        stages.push(Arc::new(Promote(own())));
        stages.push(Arc::new(Report {
            job: own(),
            months: self.months(),
        }));
        stages
    }
}

/// Folder of the months' records and reports.
pub(crate) fn months(section: &RetrainSection) -> PathBuf {
    section.work.join(&section.model).join("months")
}

/// Folder of what its stages made.
pub(crate) fn store(section: &RetrainSection) -> PathBuf {
    section.work.join(&section.model).join("store")
}

/// End of the logs that a month can see.
fn until(section: &RetrainSection, month: Month) -> i64 {
    month.next().begins() + section.lag_days as i64 * DAY
}

fn path_of<'a>(stages: &'a [Done], name: &str) -> Result<&'a Path> {
    let found = stages.iter().find(|done| done.name == name);
    let found = found.with_context(|| format!("stage `{name}` is not done"))?;
    Ok(&found.output.path)
}

/// What the checks found, and whether the month's lists are not to be learned from later either.
fn problems(stages: &[Done]) -> Result<(Vec<String>, bool)> {
    let (mut told, mut unsound) = (Vec::new(), false);
    for (stage, file) in [
        (LogCheck::NAME, LogCheck::FILE),
        (DataCheck::NAME, DataCheck::FILE),
    ] {
        if let Ok(folder) = path_of(stages, stage) {
            let value = job::read(folder, file)?;
            let problems: Vec<Problem> = serde_json::from_value(value["problems"].clone())?;
            for problem in problems {
                unsound |= problem.unsound;
                told.push(format!("{} ({})", problem.what, problem.hint));
            }
        }
    }
    Ok((told, unsound))
}

/// Why a month is not retrained for where a later one is in use.
fn too_old(champion: Option<&Champion>, month: Month) -> Option<Refusal> {
    let champion = champion?;
    let told = format!(
        "the model in use, `{}`, is of a later month than {month}: it has learned from the lists that it would \
         be judged on",
        champion.version.id
    );
    let hint = "go back first, `slate registry rollback`, or retrain for a later month";
    (champion.version.about.month > month.to_string()).then(|| Refusal::new(told).hint(hint))
}

impl Ended {
    fn new(
        stages: &[Done],
        decision: Decision,
        version: Option<String>,
        page: &[u8],
    ) -> Result<Self> {
        let metrics = match path_of(stages, Judge::NAME) {
            Ok(folder) => Record::metrics(&judging::Judgement::read(folder)?),
            Err(_) => Value::Null,
        };
        let folder = |done: &Done| {
            let name = done.output.path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        Ok(Self {
            verdict: decision.verdict,
            reasons: decision.reasons,
            unsound: false,
            version,
            metrics,
            stages: stages
                .iter()
                .map(|done| (done.name.clone(), folder(done)))
                .collect::<BTreeMap<_, _>>(),
            report: manifest::hex(&Sha256::digest(page)),
        })
    }
}
