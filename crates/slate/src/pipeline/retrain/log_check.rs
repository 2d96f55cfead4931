//! The first stage: are the month's logs there, whole and as many as ever?

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slate_logs::{Day, LogSource, LogTables, daily};

use super::job::Job;
use super::profile::Profile;
use crate::artefacts::manifest;
use crate::pipeline::calendar::{DAY, Month};
use crate::pipeline::stages::{Given, Stage};

/// Something that is wrong with data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Problem {
    /// What, where, and what was expected.
    pub(super) what: String,
    /// What to do.
    pub(super) hint: String,
    /// Whether the month's lists are not to be learned from later either.
    pub(super) unsound: bool,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, hint: &str) -> Self {
        Self {
            what: what.into(),
            hint: hint.to_owned(),
            unsound: true,
        }
    }
}

/// What was found in the logs of a month.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    format: slate_types::FormatVersion,
    kind: String,
    pub(super) month: String,
    files: BTreeMap<String, String>,
    pub(super) days: Vec<DayCounts>,
    pub(super) problems: Vec<Problem>,
}

/// One of a day's counts.
type Count = fn(&DayCounts) -> u64;

/// What was logged on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DayCounts {
    pub(super) day: String,
    pub(super) pages: u64,
    pub(super) slots: u64,
    pub(super) events: u64,
}

impl Found {
    pub(super) fn pages_a_day(&self) -> f64 {
        mean(&self.days, |day| day.pages)
    }

    pub(super) fn events_a_page(&self) -> f64 {
        mean(&self.days, |day| day.events) / self.pages_a_day().max(f64::MIN_POSITIVE)
    }
}

/// The median count of days, of which there is at least one.
fn median(days: &[DayCounts], of: impl Fn(&DayCounts) -> u64) -> u64 {
    let mut counts: Vec<u64> = days.iter().map(of).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn mean(days: &[DayCounts], of: impl Fn(&DayCounts) -> u64) -> f64 {
    days.iter().map(|day| of(day) as f64).sum::<f64>() / days.len().max(1) as f64
}

/// Looks at the month's logs.
pub(super) struct LogCheck(pub(super) Arc<Job>);

impl LogCheck {
    pub(super) const NAME: &str = "logs";
    pub(super) const FILE: &str = "logs.json";
}

impl Stage for LogCheck {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn inputs(&self) -> Result<Value> {
        let job = &self.0;
        Ok(json!({
            "logs": job.logs_seen(), "month": job.month.to_string(),
            "checks": job.section.checks, "before": job.before_hashes()?,
        }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let job = &self.0;
        let mut problems = Vec::new();
        // Whether a file has nothing but days after the month: its lists are as sound without it.
        let ends = job.month.next().begins();
        let settles = |name: &str| job.logs.files[name].from.is_some_and(|from| from >= ends);
        for (name, file) in &job.logs.files {
            if file.bytes == 0 {
                let told = format!("`{}/{name}` is an empty file", job.section.logs);
                problems.push(Problem {
                    unsound: !settles(name),
                    ..Problem::new(told, "remove it, or bring the file again")
                });
            }
        }
        for (one, two) in job.logs.doubled() {
            let told = format!("`{one}` and `{two}` are the same bytes");
            let hint = "a part was delivered twice: remove one of the two";
            problems.push(Problem {
                unsound: !(settles(one) && settles(two)),
                ..Problem::new(told, hint)
            });
        }
        let seen = given.unfinished.join("logs");
        let (mut days, mut later) = (Vec::new(), Vec::new());
        if problems.is_empty() {
            job.logs.link_into(&seen, given.progress)?;
            let counted = self.days(&seen, given);
            job.logs.unchanged()?;
            match counted {
                Ok(found) => (days, later) = found,
                // A log that cannot be read is data that is bad, not a fault of this program.
                Err(error) if super::faults::is_about_data(&error) => {
                    // By the name of the logs, not of the links to them.
                    let told = job.by_its_name(&format!("{error:#}"));
                    problems.push(Problem::new(told, "bring the file again and start anew"));
                }
                Err(error) => return Err(error),
            }
        }
        if !days.is_empty() {
            problems.extend(self.uneven(&days));
            problems.extend(self.late(&days, &later));
        }
        let files = job.logs.files.iter();
        let mut found = Found {
            format: manifest::FORMAT,
            kind: "log check".to_owned(),
            month: job.month.to_string(),
            files: files.map(|(k, v)| (k.clone(), v.sha256.clone())).collect(),
            days,
            problems,
        };
        if !found.days.is_empty()
            && let Some(before) = &job.before
        {
            let before = Profile::read(&before.sound)?;
            let more = self.against(&found, &before);
            found.problems.extend(more);
        }
        manifest::write_json(&given.out.join(Self::FILE), &serde_json::to_value(&found)?)
    }
}

impl LogCheck {
    /// The days of the month, and those after it in which its labels settle.
    fn days(
        &self,
        seen: &std::path::Path,
        given: &Given<'_>,
    ) -> Result<(Vec<DayCounts>, Vec<DayCounts>)> {
        let month = self.0.month;
        let root = seen.to_string_lossy();
        let work = given.unfinished.join("tables");
        std::fs::create_dir_all(&work)?;
        let source = LogSource::gather(Some(&root), &LogTables::default(), &work, given.progress)?;
        let day = |month: Month| month.begins().div_euclid(DAY);
        let until = self.0.sees_until().div_euclid(DAY);
        let mut days = daily(&source, day(month), until, &self.0.engine())?;
        let later = days.split_off((day(month.next()) - day(month)) as usize);
        let counts = |days: Vec<Day>| days.iter().map(counts).collect();
        Ok((counts(days), counts(later)))
    }

    /// Days after the month's end that have far fewer events than its own: with their files missing, what
    /// was bought late would count as not bought.
    fn late(&self, days: &[DayCounts], later: &[DayCounts]) -> Option<Problem> {
        let least = self.0.section.checks.day;
        let median = median(days, |day| day.events);
        let few = |day: &&DayCounts| (day.events as f64) < least * median as f64;
        let few: Vec<&DayCounts> = later.iter().filter(few).collect();
        let first = few.first()?;
        let what = format!(
            "{} of the {} days after {} in which its labels settle have fewer than {least} of its median day's \
             {median} events, the first is {} with {}",
            few.len(),
            later.len(),
            self.0.month,
            first.day,
            first.events
        );
        let hint = "is a partition missing or late? bring it and start again, or read labels sooner: \
                    `retrain.lag_days`";
        // The month's lists are sound, and can be learned from once the events are there.
        Some(Problem {
            unsound: false,
            ..Problem::new(what, hint)
        })
    }

    /// Days that have far less than the others.
    fn uneven(&self, days: &[DayCounts]) -> Vec<Problem> {
        let least = self.0.section.checks.day;
        let mut problems = Vec::new();
        let kinds: [(&str, Count); 3] = [
            ("pages", |day| day.pages),
            ("placements", |day| day.slots),
            ("events", |day| day.events),
        ];
        for (what, of) in kinds {
            let median = median(days, of);
            if median == 0 {
                let told = format!("most days of {} have no {what}", self.0.month);
                problems.push(Problem::new(told, "are the month's logs all there?"));
                continue;
            }
            let few = |day: &&DayCounts| (of(day) as f64) < least * median as f64;
            let few: Vec<&DayCounts> = days.iter().filter(few).collect();
            if let Some(first) = few.first() {
                let told = format!(
                    "{} of {} days have fewer than {least} of the median day's {median} {what}, the first \
                     is {} with {}",
                    few.len(),
                    days.len(),
                    first.day,
                    of(first)
                );
                let hint = "is a partition missing, late or cut off? bring it and start again";
                problems.push(Problem::new(told, hint));
            }
        }
        problems
    }

    /// How the month is beside the last that was sound.
    fn against(&self, found: &Found, before: &Profile) -> Vec<Problem> {
        let most = self.0.section.checks.volume;
        let mut problems = Vec::new();
        for (what, now, then) in [
            ("pages a day", found.pages_a_day(), before.pages_a_day),
            ("events a page", found.events_a_page(), before.events_a_page),
        ] {
            let factor = now / then;
            if then > 0.0 && !(1.0 / most..=most).contains(&factor) {
                problems.push(Problem::new(
                    format!(
                        "{now:.3} {what}, {factor:.2} times those of the last sound month ({then:.3}), expected a factor within {most}"
                    ),
                    "is tracking broken? if the market is like that, raise `retrain.checks.volume`",
                ));
            }
        }
        problems
    }
}

fn counts(day: &Day) -> DayCounts {
    DayCounts {
        day: super::job::date(day.day * DAY),
        pages: day.pages,
        slots: day.slots,
        events: day.events.values().sum(),
    }
}
