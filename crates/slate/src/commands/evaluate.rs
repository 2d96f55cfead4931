//! `slate evaluate`: how good scores are, and how sure that is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use slate_eval::{EvalError, Metric};
use slate_types::Progress as _;

use super::Context;
use crate::artefacts::scores::{ScoreTable, letor, trec};
use crate::artefacts::write_file;
use crate::cli::{EvaluateArgs, Label};
use crate::console::{Align, Console, Outcome, Refusal, Table};
use crate::pipeline::evaluation::{self, Given, Labels, Measure};

/// Mean weights that do not speak against the propensities.
const FITTING_WEIGHT: std::ops::Range<f64> = 0.8..1.25;
/// Values of `--by` that get a line of their own.
const MOST_SEGMENTS: usize = 1000;

pub(super) fn run(context: &Context, args: &EvaluateArgs) -> Result<Outcome> {
    let section = &context.config.file.evaluate;
    let convention = args
        .convention
        .as_deref()
        .unwrap_or(if args.qrels.is_some() {
            "trec_eval"
        } else {
            "slate"
        });
    let mut measure = Measure::new(section, &args.metrics, convention, context.seed)?;
    measure.weighted = args.weighted;
    measure.cluster = args.cluster;
    let mut notes = Notes::new(context);
    let table = read(args, &mut notes)?;
    if args.metrics.is_empty() && args.scores.is_none() {
        measure = measure.with(&["ndcg@10", "map", "mrr"])?;
    }
    if args.metrics.is_empty() && table.get("probability").is_none() {
        let (fewer, left_out) = measure.without_probabilities();
        measure = fewer;
        if left_out {
            notes.add(
                "the scores have no `probability`, so metrics of probabilities are left out; `slate calibrate \
                 --apply` adds it",
            );
        }
    }
    let labels = Labels::of(&table, args.label)?;
    if args.label.is_none() && labels.label == Label::Click && table.get("purchase").is_some() {
        notes.add("there is no purchase in the scores, so clicks are the outcome");
    }
    let bar = context.console.bar();
    bar.begin("measure", None, "metrics");
    let metrics = evaluation::evaluate(Given::of(&table), &labels, &measure)?;
    bar.end();
    for (k, weights) in evaluation::weights(Given::of(&table), &labels, &measure)? {
        let told = format!(
            "inverse propensity at {k}: mean weight {:.3}, {:.0} effective of {} placements, largest \
             weight {:.1}",
            weights.mean, weights.effective, weights.placements, weights.largest
        );
        if FITTING_WEIGHT.contains(&weights.mean) {
            notes.add(&told);
        } else {
            let why = "it is near 1 where propensities are those of these rows and the order knows \
                       nothing of what was drawn, so these numbers are off";
            notes.warn(&format!("{told}; {why}"));
        }
    }
    let each = if args.per_list {
        Some(each_list(&table, &labels, &measure)?)
    } else {
        None
    };
    let mut text = match &each {
        Some(each) => per_list_text(&table, &metrics, each),
        None => evaluation::metric_table(&metrics),
    };
    let mut against = Vec::new();
    for path in &args.against {
        let other = ScoreTable::read(path)?;
        let (given, other) = (Given::of(&table), Given::of(&other));
        let differences = evaluation::compare(given, other, &labels, &measure)?;
        against.push((path.display().to_string(), differences));
    }
    // All comparisons of this call together.
    slate_eval::adjust(against.iter_mut().flat_map(|(_, differences)| differences));
    for (name, differences) in &against {
        let differences = evaluation::difference_table(name, args.cluster.name(), differences);
        text.push_str(&format!("\n{differences}"));
    }
    let segments = match &args.by {
        Some(column) => segments(&table, &labels, column, &measure)?,
        None => Vec::new(),
    };
    if let Some(column) = &args.by {
        text.push_str(&format!("\n{}", segment_table(column, &measure, &segments)));
    }
    let by = args.by.as_ref().map(|column| {
        let segments = segments.iter().map(|(value, metrics)| {
            let metrics: Vec<&Metric> = metrics.iter().flatten().collect();
            json!({ "value": value, "metrics": metrics })
        });
        json!({ "column": column, "segments": segments.collect::<Vec<_>>() })
    });
    if let Some(out) = &args.out {
        let name = args.name.clone().unwrap_or_else(|| table.scorer.clone());
        let mut document = evaluation::document(
            &name,
            &table,
            &labels,
            &metrics,
            &against,
            &measure,
            &context.command,
        );
        if let Some(by) = &by {
            document["by"] = by.clone();
        }
        document["notes"] = json!(notes.told);
        let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
        write_file(out, text.as_bytes(), context.force)?;
    }
    let mut json = json!({
        "metrics": metrics, "against": compared(&against), "notes": notes.told,
    });
    if let Some(by) = by {
        json["by"] = by;
    }
    if let Some(each) = &each {
        json["per_list"] = per_list_json(&table, &metrics, each);
    }
    Ok(Outcome::done(json, text))
}

/// Differences with the name of what they are against.
fn compared(against: &[(String, Vec<slate_eval::Difference>)]) -> Vec<Value> {
    let all = against.iter().flat_map(|(name, differences)| {
        differences.iter().map(move |difference| {
            let mut value = json!(difference);
            value["against"] = json!(name);
            value
        })
    });
    all.collect()
}

/// What a reader of the numbers should know, told at once and kept with them.
struct Notes {
    console: Console,
    told: Vec<String>,
}

impl Notes {
    fn new(context: &Context) -> Self {
        Self {
            console: context.console,
            told: Vec::new(),
        }
    }

    fn add(&mut self, text: &str) {
        self.console.say(&format!("note: {text}"));
        self.told.push(text.to_owned());
    }

    fn warn(&mut self, text: &str) {
        self.console.warn(text);
        self.told.push(text.to_owned());
    }
}

fn read(args: &EvaluateArgs, notes: &mut Notes) -> Result<ScoreTable> {
    if let (Some(qrels), Some(run)) = (&args.qrels, &args.trec_run) {
        let judged = trec::read(qrels, run, args.complete)?;
        if judged.unjudged > 0 {
            let unjudged = judged.unjudged;
            notes.add(&format!(
                "{unjudged} queries of the run have no judgement and are left out"
            ));
        }
        if judged.missing > 0 {
            let told = if args.complete {
                "count as lists in which nothing was found"
            } else {
                "are left out; --complete counts them as lists in which nothing was found"
            };
            let missing = judged.missing;
            notes.add(&format!(
                "{missing} judged queries are not in the run and {told}"
            ));
        }
        return Ok(judged.table);
    }
    if let (Some(data), Some(predictions)) = (&args.letor, &args.predictions) {
        return letor::read(data, predictions);
    }
    let path: &Path = args.scores.as_deref().unwrap_or(Path::new(""));
    ScoreTable::read(path)
}

/// Each metric list by list; none where a list has none.
fn each_list(
    table: &ScoreTable,
    labels: &Labels,
    measure: &Measure,
) -> Result<Vec<Vec<Option<f64>>>> {
    let names = measure.metrics.iter();
    names
        .map(|name| evaluation::per_list(Given::of(table), labels, *name, measure))
        .collect()
}

/// Objects, one per list.
fn per_list_json(table: &ScoreTable, metrics: &[Metric], each: &[Vec<Option<f64>>]) -> Value {
    let object = |list: usize| {
        let mut object = json!({ "list": table.list_name(list) });
        for (metric, values) in metrics.iter().zip(each) {
            object[&metric.name] = json!(values[list]);
        }
        object
    };
    (0..table.lists.len()).map(object).collect()
}

/// Lines `metric  list  value`, and the means under `all`.
fn per_list_text(table: &ScoreTable, metrics: &[Metric], each: &[Vec<Option<f64>>]) -> String {
    let mut text = String::new();
    for list in 0..table.lists.len() {
        let name = table.list_name(list);
        for (metric, values) in metrics.iter().zip(each) {
            if let Some(value) = values[list] {
                let _ = writeln!(text, "{:<22}\t{name}\t{value:.4}", metric.name);
            }
        }
    }
    for metric in metrics {
        let _ = writeln!(text, "{:<22}\tall\t{:.4}", metric.name, metric.value);
    }
    text
}

/// A value of a column, and what could be measured of its rows.
type Segment = (String, Vec<Option<Metric>>);

/// Metrics of the rows of each value of a column.
fn segments(
    table: &ScoreTable,
    labels: &Labels,
    column: &str,
    measure: &Measure,
) -> Result<Vec<Segment>> {
    let values = if column == "decile" {
        deciles(table.need("probability")?)
    } else {
        table.text(column)?
    };
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, value) in values.iter().enumerate() {
        rows.entry(value).or_default().push(row);
    }
    if rows.len() > MOST_SEGMENTS {
        let told = format!(
            "`{column}` has {} values, expected at most {MOST_SEGMENTS}",
            rows.len()
        );
        return Err(Refusal::new(told).into());
    }
    let mut segments: Vec<Segment> = Vec::with_capacity(rows.len());
    for (value, rows) in rows {
        let part = table.rows_of(&rows)?;
        let labels = labels.like(&part)?;
        let mut metrics = Vec::with_capacity(measure.metrics.len());
        for name in &measure.metrics {
            let one = measure.with(&[&name.to_string()])?;
            metrics.push(
                match evaluation::evaluate(Given::of(&part), &labels, &one) {
                    Ok(mut metrics) => metrics.pop(),
                    // A segment without a purchase has no NDCG.
                    Err(error) if nothing_to_measure(&error) => None,
                    Err(error) => return Err(error),
                },
            );
        }
        segments.push((value.to_owned(), metrics));
    }
    // Numbers by value, not by digits; they come sorted as text.
    let numbers: Option<Vec<f64>> = segments
        .iter()
        .map(|(value, _)| value.parse().ok())
        .collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<usize> = (0..segments.len()).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        segments = order
            .into_iter()
            .map(|at| std::mem::take(&mut segments[at]))
            .collect();
    }
    Ok(segments)
}

fn nothing_to_measure(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(EvalError::NothingToMeasure { .. })
    )
}

/// The tenth of the rows, by rising probability, that each row belongs to; ties stay together.
fn deciles(probabilities: &[f64]) -> Vec<String> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut deciles = vec![String::new(); order.len()];
    let mut decile = 1;
    for (place, &row) in order.iter().enumerate() {
        if place > 0 && probabilities[row] != probabilities[order[place - 1]] {
            decile = place * 10 / order.len() + 1;
        }
        deciles[row] = decile.to_string();
    }
    deciles
}

fn segment_table(column: &str, measure: &Measure, segments: &[Segment]) -> String {
    let names: Vec<String> = measure.metrics.iter().map(ToString::to_string).collect();
    let mut header = vec![(column, Align::Left)];
    header.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    let mut table = Table::new(&header);
    for (value, metrics) in segments {
        let cell = |metric: &Option<Metric>| {
            metric
                .as_ref()
                .map_or_else(|| "–".to_owned(), evaluation::with_interval)
        };
        let mut cells = vec![value.clone()];
        cells.extend(metrics.iter().map(cell));
        table.row(cells);
    }
    table.render()
}
