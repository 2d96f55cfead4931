//! Score tables to metrics.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_eval::{Bootstrap, Convention, Difference, Metric, MetricName, Sample};
use slate_types::Seed;

use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::cli::Label;
use crate::config::EvaluateSection;
use crate::console::{Align, Refusal, Table};

/// Outcomes of each row, as metrics want them.
pub(crate) struct Labels {
    /// Which outcome.
    pub(crate) label: Label,
    /// Grade of each row: 0 or 1 for clicks and purchases.
    pub(crate) grades: Vec<u8>,
    /// 0 or 1. For [`Label::Grade`] the purchases, or whatever is above grade 0 where the file has
    /// none.
    pub(crate) positives: Vec<u8>,
    /// What a positive is, for conventions.
    positive: &'static str,
}

impl Labels {
    /// Takes the outcome asked for, or else purchases where there is one and clicks where there is
    /// none.
    ///
    /// # Errors
    /// An outcome the file does not have, a value that is no outcome, no outcome at all.
    pub(crate) fn of(table: &ScoreTable, asked: Option<Label>) -> Result<Self> {
        let some = |name: &str| -> Result<bool> {
            Ok(table.get(name).is_some() && whole(table, name, 1.0)?.contains(&1))
        };
        let label = match asked {
            Some(label) => label,
            None if some("purchase")? => Label::Purchase,
            None if some("click")? => Label::Click,
            None if table.get("grade").is_some() => Label::Grade,
            None => {
                return Err(Refusal::new(
                    "the scores have no outcome: neither a purchase, nor a click, nor grades",
                )
                .hint("score a split whose lists have outcomes, or pass --label")
                .into());
            }
        };
        let most = if label == Label::Grade { 30.0 } else { 1.0 };
        let grades = whole(table, label.column(), most)?;
        let (positives, positive) = match label {
            Label::Grade if some("purchase")? => (whole(table, "purchase", 1.0)?, "purchase"),
            Label::Grade => (grades.iter().map(|&g| u8::from(g > 0)).collect(), "grade>0"),
            other => (grades.clone(), other.column()),
        };
        Ok(Self {
            label,
            grades,
            positives,
            positive,
        })
    }

    /// What a metric counts as the outcome: NDCG reads grades, the others positives.
    fn told(&self, metric: &str) -> &'static str {
        if metric.starts_with("ndcg") {
            self.label.column()
        } else {
            self.positive
        }
    }
}

fn whole(table: &ScoreTable, name: &str, most: f64) -> Result<Vec<u8>> {
    let values = table.need(name)?;
    let bad = |v: &f64| v.fract() != 0.0 || !(0.0..=most).contains(v);
    if let Some(row) = values.iter().position(bad) {
        return Err(Refusal::new(format!(
            "`{name}` at row {row} is {}, expected a whole number from 0 to {most}",
            values[row]
        ))
        .into());
    }
    Ok(values.iter().map(|&v| v as u8).collect())
}

/// How metrics are computed.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    pub(crate) metrics: Vec<MetricName>,
    pub(crate) convention: Convention,
    pub(crate) bootstrap: Bootstrap,
    /// Whether the column `weight` weighs the rows of metrics over rows.
    pub(crate) weighted: bool,
}

impl Measure {
    /// From the configuration, with the names on the command line first.
    ///
    /// # Errors
    /// An unknown metric or convention, a level outside (0, 1), too few draws.
    pub(crate) fn new(
        section: &EvaluateSection,
        names: &[String],
        convention: &str,
        seed: Seed,
    ) -> Result<Self> {
        let names = if names.is_empty() {
            &section.metrics
        } else {
            names
        };
        if names.is_empty() {
            return Err(Refusal::new("no metric is named, expected at least one").into());
        }
        let metrics = names
            .iter()
            .map(|name| Ok(name.trim().parse()?))
            .collect::<Result<Vec<_>>>()?;
        anyhow::ensure!(
            section.draws >= 20,
            "evaluate.draws is {}, expected at least 20",
            section.draws
        );
        Ok(Self {
            metrics,
            convention: convention.parse()?,
            bootstrap: Bootstrap {
                draws: section.draws,
                seed: seed.derive("bootstrap"),
                level: section.level,
            },
            weighted: false,
        })
    }

    /// How intervals are made, for files.
    pub(crate) fn intervals(&self) -> Value {
        json!({
            "level": self.bootstrap.level,
            "draws": self.bootstrap.draws,
            "seed": self.bootstrap.seed,
            "method": "percentile bootstrap over lists",
        })
    }

    /// The weights to use, none unless asked for.
    fn weights<'a>(&self, table: &'a ScoreTable) -> Result<Option<&'a [f64]>> {
        if self.weighted {
            table.need("weight").map(Some)
        } else {
            Ok(None)
        }
    }

    /// The same with other metrics.
    pub(crate) fn with(&self, names: &[&str]) -> Result<Self> {
        let metrics = names
            .iter()
            .map(|name| Ok(name.parse()?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            metrics,
            ..self.clone()
        })
    }

    /// The same without metrics of probabilities, and whether any was left out.
    pub(crate) fn without_probabilities(&self) -> (Self, bool) {
        let ranking = |name: &&MetricName| !name.reads_probabilities();
        let metrics: Vec<MetricName> = self.metrics.iter().filter(ranking).copied().collect();
        let fewer = metrics.len() < self.metrics.len();
        (
            Self {
                metrics,
                ..self.clone()
            },
            fewer,
        )
    }
}

fn sample<'a>(
    table: &'a ScoreTable,
    labels: &'a Labels,
    probabilities: Option<&'a [f64]>,
    weights: Option<&'a [f64]>,
) -> Sample<'a> {
    let mut sample = Sample::new(&table.lists, &table.score);
    sample.grades = Some(&labels.grades);
    sample.labels = Some(&labels.positives);
    sample.probabilities = probabilities;
    sample.weights = weights;
    sample
}

/// Metrics of a table. `probabilities` replaces the table's own column.
///
/// # Errors
/// What the metrics refuse.
pub(crate) fn evaluate(
    table: &ScoreTable,
    labels: &Labels,
    probabilities: Option<&[f64]>,
    measure: &Measure,
) -> Result<Vec<Metric>> {
    let probabilities = probabilities.or_else(|| table.get("probability"));
    let mut metrics = slate_eval::evaluate(
        &sample(table, labels, probabilities, measure.weights(table)?),
        &measure.metrics,
        &measure.convention,
        &measure.bootstrap,
    )?;
    for metric in &mut metrics {
        metric.convention = format!("{};label={}", metric.convention, labels.told(&metric.name));
        if measure.weighted && metric.unit == "row" && !metric.name.starts_with("ptr") {
            metric.convention.push_str(";weighted");
        }
    }
    Ok(metrics)
}

/// The first table minus the second, paired by list.
///
/// # Errors
/// Tables of different rows, and what the metrics refuse.
pub(crate) fn compare(
    (a, a_probabilities): (&ScoreTable, Option<&[f64]>),
    (b, b_probabilities): (&ScoreTable, Option<&[f64]>),
    labels: &Labels,
    measure: &Measure,
) -> Result<Vec<Difference>> {
    if !std::ptr::eq(a, b) {
        same_rows(a, b)?;
    }
    let a_probabilities = a_probabilities.or_else(|| a.get("probability"));
    let b_probabilities = b_probabilities.or_else(|| b.get("probability"));
    slate_eval::compare(
        &sample(a, labels, a_probabilities, measure.weights(a)?),
        &sample(b, labels, b_probabilities, measure.weights(b)?),
        &measure.metrics,
        &measure.convention,
        &measure.bootstrap,
    )
    .context("cannot compare the two score files")
}

/// Refuses two tables that are not of the same rows in the same order.
fn same_rows(a: &ScoreTable, b: &ScoreTable) -> Result<()> {
    let differ = |what: &str| {
        let refusal = Refusal::new(format!(
            "the two score files differ in `{what}`, expected the same rows in the same order"
        ));
        refusal.hint("score the same split of the same dataset with both")
    };
    if a.list_id != b.list_id {
        return Err(differ("list_id").into());
    }
    let mut named = false;
    for name in ["impression", "item_id", "slot"] {
        match (a.get_integers(name), b.get_integers(name)) {
            (Some(a), Some(b)) if a == b => named |= name != "slot",
            (None, None) => {}
            _ => return Err(differ(name).into()),
        }
    }
    for name in ["purchase", "click", "grade"] {
        if let (Some(a), Some(b)) = (a.get(name), b.get(name))
            && !a
                .iter()
                .zip(b)
                .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
        {
            return Err(differ(name).into());
        }
    }
    if !named {
        let refusal = Refusal::new(
            "the score files name neither `impression` nor `item_id`, so their rows cannot be paired",
        );
        return Err(refusal
            .hint("add one of the two columns to both files")
            .into());
    }
    Ok(())
}

/// The file that `slate evaluate --out` writes and `slate report` reads.
pub(crate) fn document(
    name: &str,
    table: &ScoreTable,
    labels: &Labels,
    metrics: &[Metric],
    against: &[(String, Vec<Difference>)],
    measure: &Measure,
    command: &str,
) -> Value {
    let against: Vec<Value> = against
        .iter()
        .map(|(name, differences)| json!({ "name": name, "differences": differences }))
        .collect();
    json!({
        "format": manifest::FORMAT,
        "kind": "evaluation",
        "name": name,
        "command": command,
        "intervals": measure.intervals(),
        "scorer": table.scorer,
        "label": labels.label.column(),
        "lists": table.lists.len(),
        "rows": table.rows(),
        "metrics": metrics,
        "against": against,
    })
}

/// A metric as people read it, with its interval.
pub(crate) fn with_interval(metric: &Metric) -> String {
    let d = decimals(metric.value);
    format!(
        "{:.d$} [{:.d$}, {:.d$}]",
        metric.value, metric.low, metric.high
    )
}

/// Decimals for three to four significant digits.
pub(crate) fn decimals(value: f64) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 4;
    }
    (3.0 - value.abs().log10().floor()).clamp(1.0, 6.0) as usize
}

/// A table of metrics.
pub(crate) fn metric_table(metrics: &[Metric]) -> String {
    let mut table = Table::new(&[
        ("metric", Align::Left),
        ("value", Align::Right),
        ("low", Align::Right),
        ("high", Align::Right),
        ("n", Align::Right),
        ("unit", Align::Left),
        ("convention", Align::Left),
    ]);
    for m in metrics {
        let d = decimals(m.value);
        table.row([
            m.name.clone(),
            format!("{:.d$}", m.value),
            format!("{:.d$}", m.low),
            format!("{:.d$}", m.high),
            m.n.to_string(),
            m.unit.clone(),
            m.convention.clone(),
        ]);
    }
    table.render()
}

/// A table of differences.
pub(crate) fn difference_table(against: &str, differences: &[Difference]) -> String {
    let mut table = Table::new(&[
        ("difference", Align::Left),
        ("value", Align::Right),
        ("low", Align::Right),
        ("high", Align::Right),
        ("p", Align::Right),
    ]);
    for one in differences {
        let d = decimals(one.difference);
        table.row([
            one.name.clone(),
            format!("{:+.d$}", one.difference),
            format!("{:+.d$}", one.low),
            format!("{:+.d$}", one.high),
            format!("{:.4}", one.p),
        ]);
    }
    format!("against {against}, paired by list:\n{}", table.render())
}
