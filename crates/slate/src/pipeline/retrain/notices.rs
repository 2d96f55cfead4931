//! What the world is told of a month: metrics for Prometheus, and a post to a webhook.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::gate::Verdict;
use super::record::Record;
use crate::artefacts::replace_file;
use crate::console::hint_of;
use crate::pipeline::calendar::Month;
use crate::pipeline::stages::Done;

/// How long a webhook may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a month is called that was begun and did not end.
const ERROR: &str = "error";

/// An error that ended a month before there was a verdict.
pub(crate) struct Fault<'a> {
    pub(crate) model: &'a str,
    pub(crate) month: Month,
    pub(crate) error: &'a anyhow::Error,
}

/// Writes metrics in the text format of `OpenMetrics`, which Prometheus' textfile collector reads.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_metrics(path: &Path, record: &Record, stages: &[Done], now: f64) -> Result<()> {
    replace_file(path, metrics(record, stages, now).as_bytes())
}

/// Writes the same metrics of a month that was begun and did not end.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_fault(path: &Path, fault: &Fault<'_>, now: f64) -> Result<()> {
    let mut families = Families::new(fault.model);
    families.verdict(ERROR);
    families.ended(&fault.month.to_string(), now);
    replace_file(path, families.end().as_bytes())
}

fn metrics(record: &Record, stages: &[Done], now: f64) -> String {
    let mut families = Families::new(&record.model);
    let ended = record.ended.as_ref();
    families.verdict(ended.map_or(ERROR, |ended| ended.verdict.name()));
    families.ended(&record.month, now);
    let seconds = stages.iter().filter(|done| !done.span.reused).map(|done| {
        let stage = format!(",stage=\"{}\"", label(&done.name));
        (stage, done.span.seconds)
    });
    families.add(
        "slate_retrain_stage_seconds",
        "How long each stage took that was not there already.",
        &seconds.collect::<Vec<_>>(),
    );
    let values = ended.and_then(|ended| ended.metrics.as_array());
    let values = values.into_iter().flatten().flat_map(|metric| {
        let name = label(metric["name"].as_str().unwrap_or_default());
        ["challenger", "champion"]
            .into_iter()
            .filter_map(move |of| {
                let labels = format!(",metric=\"{name}\",of=\"{of}\"");
                Some((labels, metric[of].as_f64()?))
            })
    });
    families.add(
        "slate_retrain_metric",
        "Metrics of the new model and of the one in use on the held-out window.",
        &values.collect::<Vec<_>>(),
    );
    families.end()
}

/// Text in the format of `OpenMetrics`, of one model.
struct Families {
    model: String,
    text: String,
}

impl Families {
    fn new(model: &str) -> Self {
        Self {
            model: label(model),
            text: String::new(),
        }
    }

    /// Adds a family of gauges: further labels of each, and its value.
    fn add(&mut self, name: &str, help: &str, lines: &[(String, f64)]) {
        let (text, model) = (&mut self.text, &self.model);
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{{model=\"{model}\"{labels}}} {value}");
        }
    }

    fn verdict(&mut self, own: &str) {
        let verdicts = [Verdict::Promoted, Verdict::Kept, Verdict::Failed];
        let names = verdicts.map(Verdict::name).into_iter().chain([ERROR]);
        let lines = names.map(|name| {
            let labels = format!(",verdict=\"{name}\"");
            (labels, f64::from(u8::from(name == own)))
        });
        let help = "1 for what the last month came to; error where it was begun and did not end.";
        self.add("slate_retrain_verdict", help, &lines.collect::<Vec<_>>());
    }

    fn ended(&mut self, month: &str, now: f64) {
        let labels = format!(",month=\"{}\"", label(month));
        let help = "When the last month ended.";
        self.add(
            "slate_retrain_end_timestamp_seconds",
            help,
            &[(labels, now)],
        );
    }

    fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// Text as a label's value.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Posts what a month came to as JSON. `text` is what chat programs show.
///
/// # Errors
/// A URL that is none, a server that cannot be reached or refuses.
pub(crate) fn post(url: &str, record: &Record) -> Result<()> {
    let ended = record.ended.as_ref().context("the month is not done")?;
    let reasons = ended.reasons.join("; ");
    let text = format!(
        "{} for {}: {}. {reasons}",
        record.model,
        record.month,
        ended.verdict.name()
    );
    let body = json!({
        "text": text, "model": record.model, "month": record.month, "verdict": ended.verdict,
        "reasons": ended.reasons, "version": ended.version, "metrics": ended.metrics,
    });
    send(url, &body)
}

/// Posts that a month was begun and did not end, with what to do.
///
/// # Errors
/// As [`post`].
pub(crate) fn post_fault(url: &str, fault: &Fault<'_>) -> Result<()> {
    let mut reasons = vec![format!("{:#}", fault.error)];
    reasons.extend(hint_of(fault.error));
    let text = format!(
        "{} for {}: {ERROR}. {}; the model in use stays, and the same command goes on",
        fault.model,
        fault.month,
        reasons.join("; ")
    );
    let body = json!({
        "text": text, "model": fault.model, "month": fault.month.to_string(), "verdict": ERROR,
        "reasons": reasons, "version": null, "metrics": null,
    });
    send(url, &body)
}

fn send(url: &str, body: &Value) -> Result<()> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .build();
    let told = || format!("cannot post the verdict to `{}`", without_secrets(url));
    ureq::Agent::new_with_config(config)
        .post(url)
        .header("content-type", "application/json")
        .send(body.to_string())
        .with_context(told)?;
    Ok(())
}

/// The server of a URL: the path of a webhook is often its password.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefacts::manifest;
    use crate::pipeline::retrain::record::Ended;

    #[test]
    fn metrics_are_text_that_prometheus_reads() {
        let record = Record {
            format: manifest::FORMAT,
            kind: "month record".to_owned(),
            month: "2026-05".to_owned(),
            model: "page\"ranker".to_owned(),
            of: String::new(),
            lag: String::new(),
            champion: 1,
            ended: Some(Ended {
                verdict: Verdict::Kept,
                reasons: vec!["worse".to_owned()],
                unsound: false,
                version: None,
                metrics: json!([{ "name": "ndcg@10", "challenger": 0.5, "champion": null }]),
                stages: std::collections::BTreeMap::new(),
                report: String::new(),
            }),
        };
        let text = metrics(&record, &[], 7.0);
        for line in [
            "slate_retrain_verdict{model=\"page\\\"ranker\",verdict=\"kept\"} 1",
            "slate_retrain_verdict{model=\"page\\\"ranker\",verdict=\"failed\"} 0",
            "slate_retrain_end_timestamp_seconds{model=\"page\\\"ranker\",month=\"2026-05\"} 7",
            "slate_retrain_metric{model=\"page\\\"ranker\",metric=\"ndcg@10\",of=\"challenger\"} 0.5",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_url_is_told_without_its_secrets() {
        let url = "https://user:pass@hooks.example.com/T0/secret";
        assert_eq!(without_secrets(url), "https://hooks.example.com/…");
    }
}
