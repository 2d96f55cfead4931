//! Held-out scores to calibrators, and a fair comparison of them.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use slate_calibrate::{Calibrator, CalibratorFile, FittedOn, Method};
use slate_eval::{Difference, Metric};
use slate_types::{Scores, Seed};

use super::evaluation::{self, Labels, Measure};
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Folds of the out-of-fold comparison when there is no test file.
const FOLDS: u64 = 5;
/// Bins of the reliability diagrams.
const BINS: usize = 12;
/// Metrics each calibrator is judged by.
const METRICS: [&str; 4] = ["logloss", "pcoc", "ece", "brier"];
/// The score read as log-odds without any fitting: what calibration has to beat.
pub(crate) const RAW: &str = "raw";

/// The method of this name.
///
/// # Errors
/// An unknown name, with the known ones.
pub(crate) fn method(name: &str) -> Result<Method> {
    Method::from_name(name.trim()).ok_or_else(|| {
        let known: Vec<String> = Method::ALL
            .iter()
            .map(|m| format!("`{}`", m.name()))
            .collect();
        Refusal::new(format!(
            "unknown calibrator `{name}`, expected one of {}",
            known.join(", ")
        ))
        .into()
    })
}

/// Refuses no method and a method twice.
///
/// # Errors
/// As said.
pub(crate) fn distinct(methods: &[Method]) -> Result<()> {
    if methods.is_empty() {
        return Err(Refusal::new("no calibrator is named, expected at least one").into());
    }
    for (at, method) in methods.iter().enumerate() {
        if methods[..at].contains(method) {
            return Err(Refusal::new(format!("`{}` is named twice", method.name())).into());
        }
    }
    Ok(())
}

/// One calibrator's results.
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) metrics: Vec<Metric>,
    /// Its probabilities on the rows it was judged on.
    pub(crate) probabilities: Vec<f64>,
    /// Log loss minus the raw score's; below 0 is better than raw.
    pub(crate) against_raw: Option<Difference>,
}

/// All calibrators side by side; the raw score comes first.
pub(crate) struct Comparison {
    pub(crate) methods: Vec<Judged>,
    pub(crate) verdict: String,
    pub(crate) json: Value,
}

/// What to fit and how to judge.
pub(crate) struct Job<'a> {
    pub(crate) fit: &'a ScoreTable,
    pub(crate) test: Option<&'a ScoreTable>,
    pub(crate) methods: &'a [Method],
    pub(crate) label: Option<crate::cli::Label>,
    pub(crate) measure: &'a Measure,
    pub(crate) seed: Seed,
    pub(crate) in_sample: bool,
    pub(crate) command: &'a str,
}

/// Refuses scores of the splits a ranker was trained or chosen on.
///
/// # Errors
/// A table with rows of the training or validation split, unless `allowed`.
pub(crate) fn refuse_in_sample(table: &ScoreTable, allowed: bool) -> Result<bool> {
    let has = |name: &str| {
        table
            .split
            .as_ref()
            .is_some_and(|split| split.iter().any(|s| s == name))
    };
    let seen = ["train", "valid"].into_iter().find(|name| has(name));
    if let Some(name) = seen
        && !allowed
    {
        let what = if name == "train" {
            "training"
        } else {
            "validation"
        };
        return Err(Refusal::new(format!(
            "these are scores of the {what} split, on which a ranker is surer than it should be"
        ))
        .hint("score another split with `slate score --split calibrate`, or pass --allow-in-sample")
        .into());
    }
    Ok(seen.is_some())
}

/// Refuses a test table that shares rows with the one that calibrators are fitted on.
///
/// # Errors
/// Shared impressions, or, where there are none to compare, the same lists and scores.
pub(crate) fn refuse_overlap(fit: &ScoreTable, test: &ScoreTable, allowed: bool) -> Result<bool> {
    let shared = match (
        fit.get_integers("impression"),
        test.get_integers("impression"),
    ) {
        (Some(fit), Some(test)) => {
            let fit: std::collections::HashSet<i64> = fit.iter().copied().collect();
            test.iter().filter(|id| fit.contains(id)).count()
        }
        _ if fit.list_id == test.list_id && fit.score == test.score => fit.rows(),
        _ => 0,
    };
    if shared > 0 && !allowed {
        return Err(Refusal::new(format!(
            "{shared} rows of --test are also in --scores, so the comparison would be in-sample"
        ))
        .hint("judge on another split, leave out --test for out-of-fold numbers, or pass --allow-in-sample")
        .into());
    }
    Ok(shared > 0)
}

/// Fits every method, writes one JSON file each and `comparison.json` into the empty folder `out`.
///
/// # Errors
/// Scores or labels that cannot be fitted, a full disk.
pub(crate) fn calibrate(job: &Job<'_>, out: &Path) -> Result<Comparison> {
    let fit_labels = Labels::of(job.fit, job.label)?;
    let label = fit_labels.label;
    let (judged_on, judged_labels) = match job.test {
        Some(test) => (test, Labels::of(test, Some(label))?),
        None => (job.fit, Labels::of(job.fit, Some(label))?),
    };
    let measure = job.measure.with(&METRICS)?;
    // Before anything is measured: labels that cannot be fitted are the first thing to tell.
    let mut fitted = Vec::with_capacity(job.methods.len());
    for &method in job.methods {
        let map = fit(method, job.fit, &fit_labels, None);
        fitted.push((
            method,
            map.with_context(|| format!("cannot fit `{}`", method.name()))?,
        ));
    }
    let raw = Calibrator::Raw
        .apply_all(&Scores(judged_on.score.clone()))?
        .into_inner();
    let mut methods = vec![Judged {
        name: RAW.to_owned(),
        metrics: evaluation::evaluate(judged_on, &judged_labels, Some(&raw), &measure)?,
        probabilities: raw,
        against_raw: None,
    }];
    for (method, fitted) in fitted {
        let name = method.name();
        let probabilities = match job.test {
            Some(test) => fitted.apply_all(&Scores(test.score.clone()))?.into_inner(),
            None => out_of_fold(method, job.fit, &fit_labels, job.seed)
                .with_context(|| format!("cannot cross-fit `{name}`"))?,
        };
        let fitted_on = fitted_on(job.fit, &fit_labels);
        let file = CalibratorFile {
            fitted_on: Some(fitted_on),
            ..CalibratorFile::new(fitted)
        };
        write_calibrator(&file, &out.join(format!("{name}.json")))?;
        let against_raw = evaluation::compare(
            (judged_on, Some(&probabilities)),
            (judged_on, Some(&methods[0].probabilities)),
            &judged_labels,
            &measure.with(&["logloss"])?,
        )?;
        methods.push(Judged {
            name: name.to_owned(),
            metrics: evaluation::evaluate(
                judged_on,
                &judged_labels,
                Some(&probabilities),
                &measure,
            )?,
            probabilities,
            against_raw: against_raw.into_iter().next(),
        });
    }
    let verdict = verdict(&methods, judged_on, &judged_labels, &measure)?;
    let json = document(job, &methods, &judged_labels, &verdict)?;
    manifest::write_json(&out.join("comparison.json"), &json)?;
    Ok(Comparison {
        methods,
        verdict,
        json,
    })
}

fn write_calibrator(file: &CalibratorFile, path: &Path) -> Result<()> {
    std::fs::write(path, file.to_json())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn fitted_on(table: &ScoreTable, labels: &Labels) -> FittedOn {
    let positives: Vec<f64> = labels.positives.iter().map(|&y| f64::from(y)).collect();
    FittedOn {
        split: table.split.as_ref().map(|split| {
            let names: std::collections::BTreeSet<&str> =
                split.iter().map(String::as_str).collect();
            names.into_iter().collect::<Vec<_>>().join("+")
        }),
        label: Some(labels.label.column().to_owned()),
        ..FittedOn::count(&positives, None)
    }
}

/// Fits on all rows, or on the rows where `keep` holds.
fn fit(
    method: Method,
    table: &ScoreTable,
    labels: &Labels,
    keep: Option<&[bool]>,
) -> Result<Calibrator> {
    let kept = |row: &usize| keep.is_none_or(|keep| keep[*row]);
    let rows: Vec<usize> = (0..table.rows()).filter(kept).collect();
    let scores: Vec<f64> = rows.iter().map(|&row| table.score[row]).collect();
    let positives: Vec<f64> = rows
        .iter()
        .map(|&row| f64::from(labels.positives[row]))
        .collect();
    Ok(slate_calibrate::fit(method, &scores, &positives, None)?)
}

/// Probabilities of each list from a calibrator that has not seen the list.
fn out_of_fold(
    method: Method,
    table: &ScoreTable,
    labels: &Labels,
    seed: Seed,
) -> Result<Vec<f64>> {
    let seed = seed.derive("calibration folds");
    let fold_of = |row: usize| seed.index(table.list_id[row] as u64).0 % FOLDS;
    let mut probabilities = vec![f64::NAN; table.rows()];
    for fold in 0..FOLDS {
        let keep: Vec<bool> = (0..table.rows()).map(|row| fold_of(row) != fold).collect();
        if keep.iter().all(|&k| k) {
            continue;
        }
        let fitted = fit(method, table, labels, Some(&keep))?;
        for row in (0..table.rows()).filter(|&row| !keep[row]) {
            probabilities[row] = fitted.apply(table.score[row]);
        }
    }
    Ok(probabilities)
}

/// Says which calibrator has the least log loss, and whether that could be chance.
fn verdict(
    methods: &[Judged],
    table: &ScoreTable,
    labels: &Labels,
    measure: &Measure,
) -> Result<String> {
    let loss = |judged: &Judged| judged.metrics[0].value;
    let mut order: Vec<&Judged> = methods.iter().collect();
    order.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    let best = order[0];
    let logloss = measure.with(&["logloss"])?;
    let mut told = Vec::new();
    for other in &order[1..] {
        let difference = evaluation::compare(
            (table, Some(&best.probabilities)),
            (table, Some(&other.probabilities)),
            labels,
            &logloss,
        )?;
        let clear = difference.first().is_some_and(|d| d.high < 0.0);
        let what = if clear {
            "better than"
        } else {
            "not told apart from"
        };
        told.push(format!("{what} `{}`", other.name));
    }
    Ok(format!(
        "least log loss: `{}`; {}",
        best.name,
        told.join(", ")
    ))
}

fn document(job: &Job<'_>, methods: &[Judged], labels: &Labels, verdict: &str) -> Result<Value> {
    let mut entries = Map::new();
    for judged in methods {
        let bins = slate_eval::reliability(&judged.probabilities, &labels.positives, BINS)?;
        let mut entry = json!({ "metrics": judged.metrics, "reliability": bins });
        if let Some(difference) = &judged.against_raw {
            entry["against_raw"] = json!(difference);
        }
        if judged.name != RAW {
            entry["file"] = json!(format!("{}.json", judged.name));
        }
        entries.insert(judged.name.clone(), entry);
    }
    let judged_on = match job.test {
        Some(test) => json!({ "rows": test.rows(), "scorer": test.scorer, "how": "held-out file" }),
        None => json!({
            "rows": job.fit.rows(),
            "scorer": job.fit.scorer,
            "how": format!("out of fold, {FOLDS} folds by list"),
        }),
    };
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "calibrators",
        "command": job.command,
        "intervals": job.measure.intervals(),
        "label": labels.label.column(),
        "in_sample": job.in_sample,
        "fitted_on": { "rows": job.fit.rows(), "scorer": job.fit.scorer },
        "judged_on": judged_on,
        "methods": entries,
        "verdict": verdict,
    }))
}
