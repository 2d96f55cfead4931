//! Held-out scores to calibrators, and a fair comparison of them.
//!
//! [`fitting`] makes a map of rows, [`blend`] orders by probability and money, [`verdict`] puts the
//! comparison into words.

mod blend;
mod fitting;
mod verdict;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use slate_calibrate::{CalibratorFile, Method, Reads};
use slate_eval::{Corp, Difference, Metric};
use slate_types::{Progress, Seed};

pub(crate) use self::blend::Blended;
use self::blend::{Blend, ranks};
use self::fitting::Rows;
pub(crate) use self::fitting::{Fitting, Weighing, apply, unknown_segments};
use super::evaluation::{self, Given, Labels, Measure};
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Metrics each calibrator is judged by.
const METRICS: [&str; 5] = ["logloss", "ne", "brier", "pcoc", "ece"];
/// The metric that must not change where each list is ordered by one ranker.
const ORDER_METRIC: &str = "ndcg@10";
/// Draws behind the bands of reliability diagrams.
const BAND_DRAWS: usize = 200;
/// The method that others are compared with where it is among them.
const REFERENCE: Method = Method::Isotonic;
/// The score taken at its word, without any fitting: what calibration has to beat.
pub(crate) const RAW: &str = "raw";

/// The methods of these names; `all` stands for all there are.
///
/// # Errors
/// An unknown name, no name, a name twice.
pub(crate) fn methods(names: &[String]) -> Result<Vec<Method>> {
    if names.iter().any(|name| name.trim() == "all") {
        return Ok(Method::ALL.to_vec());
    }
    let methods = names
        .iter()
        .map(|name| method(name))
        .collect::<Result<Vec<_>>>()?;
    distinct(&methods)?;
    Ok(methods)
}

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
fn distinct(methods: &[Method]) -> Result<()> {
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
    /// Each of [`METRICS`] minus that of the reference; none for the reference itself. Below 0 is better,
    /// but for PCOC, which is best at 1.
    pub(crate) against: Vec<Difference>,
    /// Different probabilities it gave.
    pub(crate) distinct: usize,
    /// Its order where probabilities are mixed with money; none without prices.
    pub(crate) blended: Option<Blended>,
}

/// All calibrators side by side; the score by itself comes first.
pub(crate) struct Comparison {
    pub(crate) methods: Vec<Judged>,
    /// The method that the others are compared with.
    pub(crate) reference: String,
    /// Methods that could not be fitted, and why.
    pub(crate) left_out: Vec<String>,
    /// How the blended orders are made, where there are any.
    pub(crate) formula: Option<&'static str>,
    /// What became of the order of one ranker's score.
    pub(crate) order: String,
    pub(crate) verdict: String,
    pub(crate) json: Value,
}

/// What to fit and how to judge.
pub(crate) struct Job<'a> {
    pub(crate) fit: &'a ScoreTable,
    pub(crate) test: Option<&'a ScoreTable>,
    pub(crate) methods: &'a [Method],
    /// Leaves methods out that cannot be fitted.
    pub(crate) skip: bool,
    pub(crate) label: Option<crate::cli::Label>,
    pub(crate) fitting: &'a Fitting,
    pub(crate) weighing: Weighing,
    /// The same of the rows of `test`.
    pub(crate) test_weighing: Weighing,
    /// Slots whose revenue and purchases the blended orders are judged by.
    pub(crate) top: usize,
    pub(crate) measure: &'a Measure,
    pub(crate) seed: Seed,
    pub(crate) in_sample: bool,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// Refuses scores of the splits a ranker was trained or chosen on.
///
/// # Errors
/// A table with rows of the training or validation split, unless `allowed`.
pub(crate) fn refuse_in_sample(table: &ScoreTable, allowed: bool) -> Result<bool> {
    // Other programs write `Train`, `training`, `val` or `validation`.
    let has = |name: &str| {
        let is = |split: &String| split.to_lowercase().starts_with(name);
        table
            .split
            .as_ref()
            .is_some_and(|split| split.iter().any(is))
    };
    let seen = ["train", "val"].into_iter().find(|name| has(name));
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

/// Refuses a test table that shares rows with the one that calibrators are fitted on, or that
/// another ranker scored.
///
/// # Errors
/// Shared impressions, or, where there are none to compare, the same items of the same lists;
/// another scorer.
pub(crate) fn refuse_overlap(fit: &ScoreTable, test: &ScoreTable, allowed: bool) -> Result<bool> {
    if !fit.scorer.is_empty() && !test.scorer.is_empty() && fit.scorer != test.scorer {
        let told = format!(
            "--scores are by `{}` and --test by `{}`, expected one ranker",
            fit.scorer, test.scorer
        );
        return Err(Refusal::new(told)
            .hint("score both splits with the same run")
            .into());
    }
    let both = |name: &str| fit.get_integers(name).is_some() && test.get_integers(name).is_some();
    let rows_of = |table: &ScoreTable| -> Vec<(i64, i64)> {
        // Without names, a row is its list and its score.
        let names = ["impression", "item_id"]
            .into_iter()
            .find(|name| both(name));
        let name = |row: usize| match names.and_then(|name| table.get_integers(name)) {
            Some(values) => values[row],
            None => table.score[row].to_bits() as i64,
        };
        let list = |row: usize| {
            if names == Some("impression") {
                0
            } else {
                table.list_id[row]
            }
        };
        (0..table.rows())
            .map(|row| (list(row), name(row)))
            .collect()
    };
    let known: std::collections::HashSet<(i64, i64)> = rows_of(fit).into_iter().collect();
    let shared = rows_of(test)
        .iter()
        .filter(|row| known.contains(row))
        .count();
    if shared > 0 && !allowed {
        return Err(Refusal::new(format!(
            "{shared} rows of --test are also in --scores, so the comparison would be in-sample"
        ))
        .hint("judge on another split, leave out --test for out-of-fold numbers, or pass --allow-in-sample")
        .into());
    }
    Ok(shared > 0)
}

/// Refuses columns that no segment can be made of.
///
/// # Errors
/// A column twice, a column that is an outcome or follows from the score.
pub(crate) fn check_segments(by: &[String]) -> Result<()> {
    const TOLD: [&str; 7] = [
        "score",
        "probability",
        "grade",
        "click",
        "purchase",
        "weight",
        "click_score",
    ];
    for (at, name) in by.iter().enumerate() {
        if TOLD.contains(&name.as_str()) {
            let told = format!("--by `{name}` is an outcome or a score, not a segment of traffic");
            return Err(Refusal::new(told).into());
        }
        if by[..at].contains(name) {
            return Err(Refusal::new(format!("--by names `{name}` twice")).into());
        }
    }
    Ok(())
}

/// Fits every method, writes one JSON file each and `comparison.json` into the empty folder `out`.
///
/// # Errors
/// Scores or labels that cannot be fitted, a full disk.
pub(crate) fn calibrate(job: &Job<'_>, out: &Path) -> Result<Comparison> {
    let fit_labels = Labels::of(job.fit, job.label)?;
    let mut fit_table = job.fit.clone();
    job.weighing.apply(&mut fit_table, &fit_labels)?;
    let rows = Rows {
        table: &fit_table,
        labels: &fit_labels,
        weighted: !job.weighing.is_plain(),
    };
    // Before anything is measured: labels that cannot be fitted are the first thing to tell.
    let mut fitted = Vec::with_capacity(job.methods.len());
    let steps = Some(job.methods.len() as u64);
    job.progress.begin("fit", steps, "methods");
    let mut left_out = Vec::new();
    for &method in job.methods {
        let file = fitting::fit(method, &rows, job.fitting, None);
        let file = match file.with_context(|| format!("cannot fit `{}`", method.name())) {
            Ok(file) => file,
            // Of all methods some may not suit the rows.
            Err(error) if job.skip && method != REFERENCE => {
                left_out.push(format!("{error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        fitting::write(&file, &out.join(format!("{}.json", method.name())))?;
        fitted.push((method, file));
        job.progress.advance(1);
    }
    job.progress.end();
    let tested = match job.test {
        None => None,
        Some(test) => {
            let (mut test, labels) = (test.clone(), fit_labels.like(test)?);
            job.test_weighing.apply(&mut test, &labels)?;
            Some((test, labels))
        }
    };
    let (test, labels) = match &tested {
        Some((test, labels)) => (test, labels),
        None => (&fit_table, &fit_labels),
    };
    let weighted = match &tested {
        Some(_) => !job.test_weighing.is_plain(),
        None => !job.weighing.is_plain(),
    };
    let measure = Measure {
        weighted,
        ..job.measure.with(&METRICS)?
    };
    let blend = Blend::of(&fit_table, test, [&fit_labels, labels]);
    let folds = fitting::folds(&fit_table, measure.cluster, job.seed)?;
    let needs_folds = tested.is_none() || blend.is_some();

    // Probabilities of each method on the rows it was fitted on, out of fold, and on those it is
    // judged on. The score by itself comes first.
    let unfitted = CalibratorFile::new(fitting::unfitted(job.fitting.reads));
    let mut each = vec![(
        RAW.to_owned(),
        apply(&unfitted, &fit_table)?,
        apply(&unfitted, test)?,
    )];
    job.progress
        .begin("apply and fit by folds", steps, "methods");
    for (method, file) in &fitted {
        let name = method.name();
        let on_fit = if needs_folds {
            fitting::out_of_fold(*method, &rows, job.fitting, &folds)
                .with_context(|| format!("cannot cross-fit `{name}`"))?
        } else {
            Vec::new()
        };
        let on_test = match &tested {
            Some((test, _)) => apply(file, test)?,
            None => on_fit.clone(),
        };
        each.push((name.to_owned(), on_fit, on_test));
        job.progress.advance(1);
    }
    job.progress.end();
    let names = || fitted.iter().map(|(method, _)| *method);
    let reference = names()
        .find(|method| *method == REFERENCE)
        .or_else(|| names().next());
    let reference = reference.map_or(RAW, Method::name);
    let at = each.iter().position(|(name, ..)| name == reference);
    let at = at.expect("the reference is one of the methods");

    let revenue = Measure {
        worth: blend
            .as_ref()
            .map_or_else(Default::default, |blend| blend.worth),
        weighted: false,
        ..measure.with(&[
            &format!("revenue@{}", job.top),
            &format!("ptr@{}", job.top),
            ORDER_METRIC,
        ])?
    };
    let judge_blend = |fit: &[f64], test_p: &[f64], reference: Option<&Blended>| {
        let judged = blend.as_ref().map(|blend| {
            let (fit, test) = ((&fit_table, &fit_labels, fit), (test, labels, test_p));
            // Without a test file the rows are the same, and each list's weight is tuned on others.
            let folds = tested.is_none().then_some(&folds[..]);
            blend.judge(fit, test, folds, reference, &revenue)
        });
        judged.transpose()
    };
    let of_reference = judge_blend(&each[at].1, &each[at].2, None)?;
    let losses = measure.with(&METRICS)?;
    let mut methods = Vec::with_capacity(each.len());
    job.progress
        .begin("judge", Some(each.len() as u64), "methods");
    for (name, on_fit, on_test) in &each {
        let given = Given::of(test).promising(on_test);
        let is_reference = name == reference;
        let against = if is_reference {
            Vec::new()
        } else {
            evaluation::compare(given, given.promising(&each[at].2), labels, &losses)?
        };
        methods.push(Judged {
            name: name.clone(),
            metrics: evaluation::evaluate(given, labels, &measure)?,
            probabilities: on_test.clone(),
            against,
            distinct: distinct_values(on_test),
            blended: if is_reference {
                None
            } else {
                judge_blend(on_fit, on_test, of_reference.as_ref())?
            },
        });
        job.progress.advance(1);
    }
    job.progress.end();
    methods[at].blended = of_reference;
    adjust(&mut methods);

    let weights = test.get("weight").filter(|_| weighted);
    let order = Order::new(test, labels, &methods, job.fitting, &measure)?;
    let basis = verdict::Basis {
        reference,
        fitted_rows: fit_table.rows(),
        fitted_positives: fit_labels.count(),
        judged_rows: test.rows(),
        judged_positives: labels.count(),
        label: labels.label.column(),
        unit: measure.cluster.name(),
        level: measure.bootstrap.level,
    };
    let mut comparison = Comparison {
        verdict: verdict::words(&methods, &basis),
        reference: reference.to_owned(),
        formula: blend.as_ref().map(|blend| blend.formula),
        order: order.words(),
        left_out,
        methods,
        json: Value::Null,
    };
    comparison.json = document(job, &comparison, labels, weights, &order, &basis)?;
    manifest::write_json(&out.join("comparison.json"), &comparison.json)?;
    // Diagrams are for the report, and long.
    for (_, entry) in comparison.json["methods"]
        .as_object_mut()
        .into_iter()
        .flatten()
    {
        entry
            .as_object_mut()
            .map(|entry| entry.remove("reliability"));
    }
    Ok(comparison)
}

/// Holm's adjustment over the methods, metric by metric.
fn adjust(methods: &mut [Judged]) {
    for metric in 0..METRICS.len() {
        let losses = methods
            .iter_mut()
            .filter_map(|judged| judged.against.get_mut(metric));
        slate_eval::adjust(losses);
        let blended = methods
            .iter_mut()
            .filter_map(|judged| judged.blended.as_mut());
        slate_eval::adjust(blended.filter_map(|blended| blended.against.get_mut(metric)));
    }
}

fn distinct_values(values: &[f64]) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.dedup();
    sorted.len()
}

/// What calibration does to the order of a ranker's own score: nothing, as ties are broken by it.
struct Order {
    raw: Metric,
    /// The method that changes the metric most, and by how much.
    largest: Option<(String, f64)>,
    segmented: bool,
}

impl Order {
    fn new(
        table: &ScoreTable,
        labels: &Labels,
        methods: &[Judged],
        fitting: &Fitting,
        measure: &Measure,
    ) -> Result<Self> {
        let measure = Measure {
            weighted: false,
            ..measure.with(&[ORDER_METRIC])?
        };
        let raw = evaluation::evaluate(Given::of(table), labels, &measure)?.remove(0);
        let mut largest: Option<(String, f64)> = None;
        for judged in methods {
            let scores = ranks(&table.lists, &judged.probabilities, &table.score);
            let given = Given::of(table).ordered(&scores);
            let value = evaluation::evaluate(given, labels, &measure.plain())?[0].value;
            let change = value - raw.value;
            if largest
                .as_ref()
                .is_none_or(|(_, most)| change.abs() > most.abs())
            {
                largest = Some((judged.name.clone(), change));
            }
        }
        Ok(Self {
            raw,
            largest,
            segmented: !fitting.by.is_empty(),
        })
    }

    fn words(&self) -> String {
        let value = evaluation::with_interval(&self.raw);
        let head = format!("Ordered by probability, ties by score, {ORDER_METRIC} is {value}");
        match &self.largest {
            Some((name, change)) if change.abs() > 1e-12 => {
                let why = if self.segmented {
                    ": segments have maps of their own"
                } else {
                    ""
                };
                format!(
                    "{head} for the score itself, and changes most with `{name}`, by {change:+.5}{why}."
                )
            }
            _ => format!("{head} with every method and without any: calibration changes no order."),
        }
    }

    fn json(&self) -> Value {
        json!({
            "metric": self.raw,
            "largest_change": self.largest.as_ref().map(|(_, change)| change),
            "by": self.largest.as_ref().map(|(name, _)| name),
            "words": self.words(),
        })
    }
}

fn document(
    job: &Job<'_>,
    comparison: &Comparison,
    labels: &Labels,
    weights: Option<&[f64]>,
    order: &Order,
    basis: &verdict::Basis<'_>,
) -> Result<Value> {
    let mut entries = Map::new();
    for judged in &comparison.methods {
        let corp = Corp::new(&judged.probabilities, &labels.positives, weights)?;
        // A band is of rows that all count the same.
        let band = match weights {
            None => corp.band(BAND_DRAWS, job.measure.bootstrap.level, job.seed)?,
            Some(_) => Vec::new(),
        };
        let mut entry = json!({
            "metrics": judged.metrics,
            "against": judged.against,
            "distinct": judged.distinct,
            "reliability": { "steps": corp.steps(), "band": band },
        });
        entry["standing"] = json!(match judged.against.first() {
            Some(loss) => verdict::standing(loss, basis.level).name(),
            None => "reference",
        });
        if let Some(blended) = &judged.blended {
            entry["blended"] = blended.json();
        }
        if judged.name != RAW {
            entry["file"] = json!(format!("{}.json", judged.name));
        }
        entries.insert(judged.name.clone(), entry);
    }
    let (judged_on, how) = match job.test {
        Some(test) => (test, "held-out file".to_owned()),
        None => (
            job.fit,
            format!("out of fold, {} folds by list", fitting::FOLDS),
        ),
    };
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "calibrators",
        "command": job.command,
        "intervals": job.measure.intervals(),
        "label": labels.label.column(),
        "in_sample": job.in_sample,
        "scores_are": if job.fitting.reads == Reads::Probability { "probability" } else { "log-odds" },
        "by": job.fitting.by,
        "weights": job.weighing.told(),
        "test_weights": job.test.map(|_| job.test_weighing.told()),
        "fitted_on": {
            "rows": job.fit.rows(), "positives": basis.fitted_positives, "scorer": job.fit.scorer,
        },
        "judged_on": {
            "rows": judged_on.rows(), "positives": basis.judged_positives,
            "scorer": judged_on.scorer, "how": how,
        },
        "reference": comparison.reference,
        "blend": comparison.formula,
        "order": order.json(),
        "methods": entries,
        "left_out": comparison.left_out,
        "verdict": comparison.verdict,
    }))
}
