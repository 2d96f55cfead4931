//! The page of a month, whatever it came to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::data::Features;
use super::gate::{Decision, Gate};
use super::job::{Job, read};
use super::judging::{Backtest, Judge, JudgePart, Judgement};
use super::log_check::LogCheck;
use super::model::{Calibrate, Train};
use super::profile::DataCheck;
use super::promotion::Promote;
use super::record::{PAGE, Record};
use crate::artefacts::manifest;
use crate::artefacts::registry::Registry;
use crate::pipeline::stages::{Done, Given, Need, Stage};
use crate::report;

/// Writes the page of a month that came to a model.
pub(super) struct Report {
    pub(super) job: Arc<Job>,
    /// Folder of the months' records.
    pub(super) months: PathBuf,
}

impl Report {
    pub(super) const NAME: &str = "report";
    /// What the page shows of the month, as JSON.
    const MONTH: &str = "month.json";
}

impl Stage for Report {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::stage(Promote::NAME),
            Need::stage(Gate::NAME),
            Need::stage(Judge::NAME),
            Need::AddedBy(Judge::NAME.to_owned()),
            Need::stage(Backtest::NAME),
            Need::stage(DataCheck::NAME),
            Need::stage(LogCheck::NAME),
            Need::stage(Calibrate::NAME),
            Need::stage(Train::NAME),
            Need::stage(Features::NAME),
        ]
    }

    fn inputs(&self) -> Result<Value> {
        let earlier = Record::before(&self.months, self.job.month)?;
        Ok(json!({ "earlier": earlier, "champion": self.job.champion_id() }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let parts = given.outputs_like(JudgePart::BEGINNING);
        let page = Page {
            job: &self.job,
            months: &self.months,
            decision: &Decision::read(given.output(Gate::NAME))?,
            judgement: Some(Judgement::read(given.output(Judge::NAME))?),
            parts: parts
                .map(|folder| read(folder, Judgement::FILE))
                .collect::<Result<_>>()?,
            logs: read(given.output(LogCheck::NAME), LogCheck::FILE)?,
            data: read(given.output(DataCheck::NAME), DataCheck::FILE)?,
            promotion: read(given.output(Promote::NAME), Promote::FILE)?,
        };
        let more = [Backtest::NAME, Calibrate::NAME, Train::NAME, Features::NAME];
        let more: Vec<PathBuf> = more.map(|name| given.output(name).to_owned()).into();
        let month = page.month()?;
        manifest::write_json(&given.out.join(Self::MONTH), &month)?;
        let html = page.html(month, &more)?;
        std::fs::write(given.out.join(PAGE), html).context("cannot write the month's report")
    }
}

/// The page of a month that ended before there was a model: of what the stages found that were done.
///
/// # Errors
/// A disk that cannot be read.
pub(super) fn of_failed(
    job: &Arc<Job>,
    months: &Path,
    decision: &Decision,
    stages: &[Done],
) -> Result<String> {
    let output = |name: &str| {
        let done = stages.iter().find(|done| done.name == name);
        done.map(|done| done.output.path.clone())
    };
    let found =
        |name: &str, file: &str| output(name).map_or(Ok(Value::Null), |folder| read(&folder, file));
    let page = Page {
        job,
        months,
        decision,
        judgement: None,
        parts: Vec::new(),
        logs: found(LogCheck::NAME, LogCheck::FILE)?,
        data: found(DataCheck::NAME, DataCheck::FILE)?,
        promotion: Value::Null,
    };
    let more: Vec<PathBuf> = output(Features::NAME).into_iter().collect();
    page.html(page.month()?, &more)
}

/// What the page of a month shows.
struct Page<'a> {
    job: &'a Job,
    months: &'a Path,
    decision: &'a Decision,
    judgement: Option<Judgement>,
    parts: Vec<Value>,
    logs: Value,
    data: Value,
    promotion: Value,
}

impl Page<'_> {
    fn month(&self) -> Result<Value> {
        let job = self.job;
        let before = job.champion.as_ref().map_or(0, |champion| champion.number);
        let number = self.promotion["promotion"].as_u64().unwrap_or(before);
        let version = &self.promotion["version"];
        let mut earlier = Record::before(self.months, job.month)?;
        earlier.push(json!({
            "month": job.month.to_string(), "verdict": self.decision.verdict,
            "metrics": self.judgement.as_ref().map(Record::metrics), "version": version,
        }));
        Ok(json!({
            "format": manifest::FORMAT, "kind": "month", "month": job.month.to_string(),
            "model": job.registry.model, "decision": self.decision,
            "judgement": self.judgement, "parts": self.parts, "months": earlier,
            "logs": self.logs, "data": self.data,
            "version": version, "lineage": lineage(&job.registry, number)?,
            "trained": if job.updates() { "update" } else { "full" },
        }))
    }

    /// The page, of the month and of the artefacts in other folders.
    fn html(&self, month: Value, more: &[PathBuf]) -> Result<String> {
        let job = self.job;
        let mut parts = vec![report::Part::new("month", Report::MONTH, month)];
        parts.extend(report::collect(more)?);
        let title = format!("{} in {}", job.registry.model, job.month);
        Ok(report::page(&title, &parts, Some(&job.as_of())))
    }
}

/// The promotions up to a number, each with what its version came from.
fn lineage(registry: &Registry, upto: u64) -> Result<Vec<Value>> {
    let promotions = registry.promotions()?.into_iter();
    promotions
        .filter(|promotion| promotion.number <= upto)
        .map(|promotion| {
            let about = registry.version(&promotion.version).ok();
            let about = about.map(|version| version.about);
            Ok(json!({
                "number": promotion.number, "version": promotion.version,
                "reason": promotion.reason, "about": about,
            }))
        })
        .collect()
}
