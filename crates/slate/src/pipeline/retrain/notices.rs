//! What the world is told of a month: metrics for Prometheus, and a post to a webhook.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::gate::Verdict;
use super::record::Record;
use crate::artefacts::replace_file;
use crate::pipeline::stages::Done;

/// How long a webhook may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes metrics in the text format of `OpenMetrics`, which Prometheus' textfile collector reads.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_metrics(path: &Path, record: &Record, stages: &[Done], now: f64) -> Result<()> {
    replace_file(path, metrics(record, stages, now).as_bytes())
}

fn metrics(record: &Record, stages: &[Done], now: f64) -> String {
    let model = label(&record.model);
    let mut text = String::new();
    let mut family = |name: &str, help: &str, lines: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{{model=\"{model}\"{labels}}} {value}");
        }
    };
    let verdict = record.ended.as_ref().map(|ended| ended.verdict);
    let verdicts = [Verdict::Promoted, Verdict::Kept, Verdict::Failed];
    let lines: Vec<(String, f64)> = verdicts
        .iter()
        .map(|one| {
            let labels = format!(",verdict=\"{}\"", one.name());
            (labels, f64::from(u8::from(Some(*one) == verdict)))
        })
        .collect();
    family(
        "slate_retrain_verdict",
        "1 for what the last month came to.",
        &lines,
    );
    let month = format!(",month=\"{}\"", label(&record.month));
    family(
        "slate_retrain_end_timestamp_seconds",
        "When the last month ended.",
        &[(month, now)],
    );
    let seconds: Vec<(String, f64)> = stages
        .iter()
        .filter(|done| !done.span.reused)
        .map(|done| {
            (
                format!(",stage=\"{}\"", label(&done.name)),
                done.span.seconds,
            )
        })
        .collect();
    family(
        "slate_retrain_stage_seconds",
        "How long each stage took that was not there already.",
        &seconds,
    );
    let ended = record.ended.as_ref().map(|ended| &ended.metrics);
    let values = ended.and_then(Value::as_array);
    let values: Vec<(String, f64)> = values
        .into_iter()
        .flatten()
        .flat_map(|metric| {
            let name = label(metric["name"].as_str().unwrap_or_default());
            ["challenger", "champion"]
                .into_iter()
                .filter_map(move |of| {
                    let labels = format!(",metric=\"{name}\",of=\"{of}\"");
                    Some((labels, metric[of].as_f64()?))
                })
        })
        .collect();
    family(
        "slate_retrain_metric",
        "Metrics of the new model and of the one in use on the held-out window.",
        &values,
    );
    text.push_str("# EOF\n");
    text
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
    let body = json!({
        "text": format!(
            "{} for {}: {}. {}",
            record.model, record.month, ended.verdict.name(), ended.reasons.join("; ")
        ),
        "model": record.model, "month": record.month, "verdict": ended.verdict,
        "reasons": ended.reasons, "version": ended.version, "metrics": ended.metrics,
    });
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
