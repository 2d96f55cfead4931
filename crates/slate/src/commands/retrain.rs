//! `slate retrain` and `slate backfill`: the month's model, made, judged and put into use or not.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, engine};
use crate::artefacts::registry::Registry;
use crate::cli::{BackfillArgs, LogArgs, LogFormat, RetrainArgs, RetrainCommand};
use crate::console::{Align, Console, ExitStatus, Outcome, Table};
use crate::machine;
use crate::pipeline::calendar::Month;
use crate::pipeline::retrain::notices::Fault;
use crate::pipeline::retrain::record::Record;
use crate::pipeline::retrain::{Outcome as Ended, Retrain, Verdict, months, notices};
use crate::pipeline::stages::{Done, Event};

/// Memory for stages where the machine does not say what it has.
const MEMORY: u64 = 8 << 30;

pub(super) fn run(context: &Context, args: &RetrainArgs) -> Result<Outcome> {
    if let Some(RetrainCommand::Status) = args.command {
        return status(context);
    }
    let month = match &args.month {
        Some(month) => Month::parse(month)?,
        None => Month::last(),
    };
    let only = (args.from.as_deref(), args.until.as_deref());
    with_retrain(context, args.log, only, false, &|retrain, log| {
        if args.dry_run {
            return plan(retrain, month);
        }
        let told = one(retrain, month, log)?;
        let mut outcome = Outcome::done(told.json, told.text);
        outcome.status = told.status;
        Ok(outcome)
    })
}

/// One month after the other.
pub(super) fn backfill(context: &Context, args: &BackfillArgs) -> Result<Outcome> {
    let last = match &args.to {
        Some(month) => Month::parse(month)?,
        None => Month::last(),
    };
    let span = Month::range(&format!("{}..{last}", args.from))?;
    with_retrain(context, args.log, (None, None), true, &|retrain, log| {
        let mut status = ExitStatus::Success;
        let mut months = Vec::new();
        let mut text = String::new();
        for &month in &span {
            let told = one(retrain, month, log)?;
            text.push_str(&told.text);
            text.push('\n');
            let mut json = told.json;
            json["month"] = json!(month.to_string());
            months.push(json);
            status = worse(status, told.status);
        }
        let mut outcome = Outcome::done(json!({ "months": months }), text);
        outcome.status = status;
        Ok(outcome)
    })
}

/// The one of both that a scheduler should hear of.
fn worse(a: ExitStatus, b: ExitStatus) -> ExitStatus {
    if a == ExitStatus::BadInput || b == ExitStatus::Success {
        a
    } else {
        b
    }
}

/// Prepares a retrain and tells how it goes.
fn with_retrain(
    context: &Context,
    log: LogArgs,
    only: (Option<&str>, Option<&str>),
    done_stays: bool,
    act: &dyn Fn(&Retrain<'_>, Log) -> Result<Outcome>,
) -> Result<Outcome> {
    let section = context
        .config
        .need(context.config.file.retrain.as_ref(), "retrain")?;
    let log = Log {
        console: context.console,
        format: log.log_format,
    };
    let memory = match &section.memory {
        Some(text) => engine::bytes(text)?,
        None => machine::memory().map_or(MEMORY, |(total, _)| 3 * (total / 4)),
    };
    let console = Console {
        // Lines of JSON are for programs, which have no use for a bar.
        quiet: context.console.quiet || log.format == LogFormat::Json,
        ..context.console
    };
    let bar = console.bar();
    let observe = |event: &Event<'_>| log.event(event);
    let say = |text: &str| log.say("note", text);
    let machine = (context.seed, context.threads, memory);
    let mut retrain = Retrain::new(&context.config.file, machine, only, &observe, &say, &bar)?;
    retrain.done_stays = done_stays;
    act(&retrain, log)
}

/// Where progress is told.
#[derive(Debug, Clone, Copy)]
struct Log {
    console: Console,
    format: LogFormat,
}

impl Log {
    fn event(self, event: &Event<'_>) {
        let (kind, mut value, text) = match event {
            Event::Begun { stage } => ("begun", json!({ "stage": stage }), format!("{stage} …")),
            Event::Reused { stage } => (
                "reused",
                json!({ "stage": stage }),
                format!("{stage}: was there"),
            ),
            Event::Finished { stage, seconds } => (
                "finished",
                json!({ "stage": stage, "seconds": seconds }),
                format!("{stage}: done in {seconds:.1} s"),
            ),
            Event::Retry {
                stage,
                attempt,
                wait,
                error,
            } => (
                "retry",
                json!({
                    "stage": stage, "attempt": attempt, "wait_seconds": wait.as_secs_f64(),
                    "error": error,
                }),
                format!(
                    "{stage}: {error}; this may pass, attempt {} in {:.0} s",
                    attempt + 1,
                    wait.as_secs_f64()
                ),
            ),
            Event::Damaged { stage, file, why } => (
                "damaged",
                json!({ "stage": stage, "file": file, "why": why }),
                format!(
                    "{stage}: `{}` is damaged ({why}); it is made again",
                    file.display()
                ),
            ),
        };
        match self.format {
            LogFormat::Text => self.console.say(&text),
            LogFormat::Json => {
                value["event"] = json!(kind);
                self.line(value);
            }
        }
    }

    fn say(self, kind: &str, text: &str) {
        match self.format {
            LogFormat::Text => self.console.say(text),
            LogFormat::Json => self.line(json!({ "event": kind, "text": text })),
        }
    }

    /// A JSON object with the time of day.
    fn line(self, mut value: Value) {
        let now: chrono::DateTime<chrono::Utc> = SystemTime::now().into();
        value["time"] = json!(now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        self.console.say(&value.to_string());
    }
}

/// What a month came to.
struct Told {
    json: Value,
    text: String,
    status: ExitStatus,
}

fn one(retrain: &Retrain<'_>, month: Month, log: Log) -> Result<Told> {
    retrain.begun.set(false);
    let ended = retrain.month(month);
    let is_asked = retrain.stop.load(Ordering::Relaxed);
    match &ended {
        Err(error) if retrain.begun.get() && !is_asked => tell_error(retrain, month, error, log),
        _ => {}
    }
    match ended? {
        Ended::Nothing(record) => {
            // Killed before all had heard of it.
            tell(retrain, month, &record, &[], log);
            Ok(nothing(&record))
        }
        Ended::Left(month, record) => Ok(left(month, record.as_ref())),
        Ended::Partly { stages, problems } => {
            let told: String = problems
                .iter()
                .map(|told| format!("  - {told}\n"))
                .collect();
            Ok(Told {
                text: format!("{month}: ended as asked\n{told}{}", table(&stages)),
                json: json!({
                    "verdict": null, "reasons": problems, "stages": stages_json(&stages),
                }),
                status: if problems.is_empty() {
                    ExitStatus::Success
                } else {
                    ExitStatus::BadInput
                },
            })
        }
        Ended::Done {
            record,
            stages,
            report,
        } => {
            tell(retrain, month, &record, &stages, log);
            Ok(done(&record, &stages, &report))
        }
    }
}

fn left(month: Month, record: Option<&Record>) -> Told {
    let ended = record.and_then(|record| record.ended.as_ref());
    let verdict = ended.map(|ended| ended.verdict);
    let text = match verdict {
        Some(verdict) => format!(
            "{month}: left as it is, {}; logs or configuration changed since, and `slate retrain --month {month}` \
             does it anew where no later model is in use\n",
            verdict.name()
        ),
        None => format!("{month}: passed over, since the model in use is of a later month\n"),
    };
    Told {
        text,
        json: json!({
            "verdict": "nothing_to_do", "before": verdict, "changed": true, "reasons": [], "stages": [],
        }),
        status: still(verdict),
    }
}

/// Bad data that are still there are still bad.
fn still(verdict: Option<Verdict>) -> ExitStatus {
    match verdict {
        Some(Verdict::Failed) => ExitStatus::BadInput,
        _ => ExitStatus::Success,
    }
}

fn nothing(record: &Record) -> Told {
    let ended = record.ended.as_ref();
    let before = ended.map_or("unknown", |ended| ended.verdict.name());
    let reasons = ended.map_or(&[][..], |ended| &ended.reasons);
    Told {
        text: format!(
            "{}: nothing to do; of these logs and this configuration it was {before}: {}\n",
            record.month,
            reasons.join("; ")
        ),
        json: json!({
            "verdict": "nothing_to_do", "before": before, "reasons": reasons,
            "run": ended.and_then(|ended| ended.version.clone()), "stages": [],
        }),
        status: still(ended.map(|ended| ended.verdict)),
    }
}

fn done(record: &Record, stages: &[Done], report: &Path) -> Told {
    let ended = record
        .ended
        .as_ref()
        .expect("a month that is done says how");
    let reasons: String = ended
        .reasons
        .iter()
        .map(|reason| format!("  - {reason}\n"))
        .collect();
    let version = ended.version.as_ref();
    let version = version.map_or_else(String::new, |version| format!("version {version}\n"));
    Told {
        text: format!(
            "{} {}: {}\n{reasons}{}{version}the report is {}\n",
            record.model,
            record.month,
            ended.verdict.name(),
            table(stages),
            report.display()
        ),
        json: json!({
            "verdict": ended.verdict, "reasons": ended.reasons, "run": ended.version,
            "report": report, "stages": stages_json(stages),
        }),
        status: match ended.verdict {
            Verdict::Promoted => ExitStatus::Success,
            Verdict::Kept => ExitStatus::CheckFailed,
            Verdict::Failed => ExitStatus::BadInput,
        },
    }
}

fn stages_json(stages: &[Done]) -> Vec<Value> {
    stages
        .iter()
        .map(|done| {
            let state = if done.span.reused { "reused" } else { "done" };
            json!({ "name": done.name, "state": state, "seconds": done.span.seconds })
        })
        .collect()
}

fn table(stages: &[Done]) -> String {
    let mut table = Table::new(&[
        ("stage", Align::Left),
        ("state", Align::Left),
        ("seconds", Align::Right),
    ]);
    for done in stages {
        let state = if done.span.reused {
            "was there"
        } else {
            "done"
        };
        let seconds = format!("{:.1}", done.span.seconds);
        table.row([done.name.clone(), state.to_owned(), seconds]);
    }
    table.render()
}

/// Tells those who do not sit here, once; that they cannot be told changes nothing about the month, and is
/// tried again when the month is asked for again.
fn tell(retrain: &Retrain<'_>, month: Month, record: &Record, stages: &[Done], log: Log) {
    let (section, months) = (&retrain.section, retrain.months());
    if section.webhook.is_none() && section.textfile.is_none() || record.is_told(&months, month) {
        return;
    }
    let metrics = section
        .textfile
        .as_ref()
        .map(|path| notices::write_metrics(path, record, stages, now()));
    let post = section
        .webhook
        .as_ref()
        .map(|url| notices::post(url, record));
    let told: Result<Vec<()>> = metrics.into_iter().chain(post).collect();
    if let Err(error) = told.and_then(|_| record.note_told(&months, month)) {
        log.say("warning", &format!("warning: {error:#}"));
    }
}

/// Tells them that a month was begun and did not end.
fn tell_error(retrain: &Retrain<'_>, month: Month, error: &anyhow::Error, log: Log) {
    let section = &retrain.section;
    let fault = Fault {
        model: &section.model,
        month,
        error,
    };
    let metrics = section
        .textfile
        .as_ref()
        .map(|path| notices::write_fault(path, &fault, now()));
    let post = section
        .webhook
        .as_ref()
        .map(|url| notices::post_fault(url, &fault));
    // The verdict is news again, whatever it is.
    Record::forget_told(&retrain.months(), month);
    for told in metrics.into_iter().chain(post) {
        if let Err(error) = told {
            log.say("warning", &format!("warning: {error:#}"));
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

fn plan(retrain: &Retrain<'_>, month: Month) -> Result<Outcome> {
    let planned = retrain.plan(month)?;
    let mut table = Table::new(&[("stage", Align::Left), ("state", Align::Left)]);
    for stage in &planned {
        table.row([stage.name.clone(), stage.state.to_owned()]);
    }
    let text = format!(
        "{month}: nothing is done, this is what would be\n{}",
        table.render()
    );
    Ok(Outcome::done(json!({ "stages": planned }), text))
}

fn status(context: &Context) -> Result<Outcome> {
    let section = context
        .config
        .need(context.config.file.retrain.as_ref(), "retrain")?;
    let registry = Registry::new(&section.registry, &section.model)?;
    let current = registry.current()?;
    let records = Record::all(&months(section))?;
    let mut table = Table::new(&[
        ("month", Align::Left),
        ("verdict", Align::Left),
        ("version", Align::Left),
        ("why", Align::Left),
    ]);
    for record in &records {
        let (verdict, version, why) = match &record.ended {
            None => ("begun, not done", None, String::new()),
            Some(ended) => (
                ended.verdict.name(),
                ended.version.as_deref(),
                ended.reasons.first().cloned().unwrap_or_default(),
            ),
        };
        table.row([&record.month, verdict, version.unwrap_or("-"), &why]);
    }
    let used = current.as_ref().map_or_else(
        || format!("no version of `{}` is in use yet\n", section.model),
        |promotion| format!("in use: {}\n", promotion.version),
    );
    let json = json!({ "current": current, "months": records });
    Ok(Outcome::done(json, format!("{}{used}", table.render())))
}
