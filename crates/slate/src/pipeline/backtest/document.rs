//! The manifest of a backtest: everything a report shows.

use serde_json::{Value, json};

use super::{Compared, Row, Settings};
use crate::artefacts::manifest;
use crate::pipeline::policy::Policy;
use crate::pipeline::shown::Shown;

/// The document, of which the `summary` is a part.
pub(crate) fn document(
    summary: &Value,
    compared: &Compared,
    shown: &Shown,
    policies: &[Policy],
    settings: &Settings,
    command: &str,
) -> Value {
    let mut document = summary.clone();
    let described: Vec<Value> = policies
        .iter()
        .map(|policy| json!({ "name": policy.name, "policy": policy.file }))
        .collect();
    let clipped: Vec<Value> = compared
        .clipped
        .iter()
        .map(|(at, changes)| json!({ "clip": at, "changes": changes }))
        .collect();
    let more = json!({
        "format": manifest::FORMAT,
        "kind": "backtest",
        "command": command,
        "scorer": shown.table.scorer,
        "lists": shown.lists().len(),
        "rows": shown.table.rows(),
        "reward": compared.rewards.name,
        "unit": settings.unit.name(),
        "top": settings.top,
        "intervals": {
            "level": settings.intervals.bootstrap.level,
            "together": compared.names.len() - 1,
            "draws": settings.intervals.bootstrap.draws,
            "seed": settings.intervals.bootstrap.seed,
            "method": settings.intervals.method.name(),
            "clusters": settings.cluster.name(),
        },
        "policies": described,
        "main": compared.main.estimator,
        "left_out": compared.left_out,
        "weights": compared.weights,
        "judgements": compared.judgements,
        "clipped": clipped,
        "random_lists": compared.random_lists,
        "slots": compared.slots,
        "segments": { "by": settings.by, "of": compared.segments },
        "disagreements": compared.disagreements,
        "differ": compared.differ,
    });
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}

/// What `--json` prints.
pub(crate) fn summary(compared: &Compared, settings: &Settings) -> Value {
    let names = &compared.names;
    let estimates: Vec<Value> = compared
        .rows
        .iter()
        .flat_map(|row| {
            let policies = row.estimates.policies.iter().enumerate();
            policies.map(move |(at, estimate)| {
                json!({
                    "policy": names[at],
                    "estimator": row.estimator,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "error": estimate.error,
                    "ess": compared.weights.get(at).map(|report| report.effective),
                    "max_weight": compared.weights.get(at).map(|report| report.largest),
                })
            })
        })
        .collect();
    let differences: Vec<Value> = compared
        .rows
        .iter()
        .flat_map(|row| changes(row, compared, settings))
        .collect();
    let main = changes(&compared.main, compared, settings);
    let sentences: Vec<String> = (1..names.len())
        .map(|at| compared.sentence(at, settings))
        .collect();
    let verdicts: Vec<Value> = compared
        .judgements
        .iter()
        .map(|judgement| json!(judgement.verdict))
        .collect();
    json!({
        "estimates": estimates,
        "difference": main[0],
        "verdict": verdicts[0],
        "verdicts": verdicts,
        "differences": differences,
        "sentences": sentences,
        "sound": compared.judgements.iter().map(|j| j.sound).collect::<Vec<_>>(),
        "doubts": compared.judgements.iter().map(|j| &j.doubts).collect::<Vec<_>>(),
    })
}

/// The changes of an estimator as metrics.
fn changes(row: &Row, compared: &Compared, settings: &Settings) -> Vec<Value> {
    let changes = row.estimates.changes.iter().zip(&row.p_holm).enumerate();
    changes
        .map(|(at, (change, p_holm))| {
            json!({
                "name": format!("{} - {}", compared.names[at + 1], compared.names[0]),
                "value": change.difference,
                "low": change.low,
                "high": change.high,
                "n": row.estimates.clusters,
                "unit": settings.unit.name(),
                "convention": format!(
                    "estimator={};reward={};interval={}s",
                    row.estimator, compared.rewards.name, settings.cluster.name()
                ),
                "error": change.error,
                "p": change.p,
                "p_holm": p_holm,
                "relative": change.relative,
            })
        })
        .collect()
}
