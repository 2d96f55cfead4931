//! Score tables to metrics.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_eval::{Bootstrap, Convention, Difference, Metric, MetricName, Sample, WeightSummary};
use slate_types::Seed;

use super::columns::{Cluster, Columns, Worth};
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::cli::Label;
use crate::config::EvaluateSection;
use crate::console::{Align, Refusal, Table};

/// What a positive is where grades are all there is.
const ABOVE_0: &str = "grade>0";

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
        let positive = match label {
            Label::Grade if some("purchase")? => "purchase",
            Label::Grade => ABOVE_0,
            other => other.column(),
        };
        Self::with(table, label, positive)
    }

    /// The same outcomes of other rows, whether or not any of them is positive.
    ///
    /// # Errors
    /// An outcome the file does not have, a value that is no outcome.
    pub(crate) fn like(&self, table: &ScoreTable) -> Result<Self> {
        Self::with(table, self.label, self.positive)
    }

    fn with(table: &ScoreTable, label: Label, positive: &'static str) -> Result<Self> {
        let most = if label == Label::Grade { 30.0 } else { 1.0 };
        let grades = whole(table, label.column(), most)?;
        let positives = match positive {
            ABOVE_0 => grades.iter().map(|&g| u8::from(g > 0)).collect(),
            name if name == label.column() => grades.clone(),
            name => whole(table, name, 1.0)?,
        };
        Ok(Self {
            label,
            grades,
            positives,
            positive,
        })
    }

    /// Number of rows that count as positive.
    pub(crate) fn count(&self) -> usize {
        self.positives
            .iter()
            .map(|&positive| usize::from(positive))
            .sum()
    }

    /// What a metric counts as the outcome: NDCG, DCG and ERR read grades, the others positives.
    fn told(&self, name: MetricName) -> &'static str {
        match name {
            MetricName::Ndcg { .. } | MetricName::Dcg { .. } | MetricName::Err { .. } => {
                self.label.column()
            }
            MetricName::Ctr { .. } => "click",
            _ => self.positive,
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
    /// What intervals resample.
    pub(crate) cluster: Cluster,
    /// What revenue counts.
    pub(crate) worth: Worth,
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
            cluster: Cluster::List,
            worth: Worth::Price,
        })
    }

    /// How intervals are made, for files.
    pub(crate) fn intervals(&self) -> Value {
        json!({
            "level": self.bootstrap.level,
            "draws": self.bootstrap.draws,
            "seed": self.bootstrap.seed,
            "method": format!("percentile bootstrap over {}s", self.cluster.name()),
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

    /// Refuses metrics over rows where some rows have no score.
    fn refuse_unranked(&self, table: &ScoreTable) -> Result<()> {
        let over_rows = |name: &&MetricName| name.is_over_rows() || **name == MetricName::ListAuc;
        match self.metrics.iter().find(over_rows) {
            Some(name) if table.unranked.is_some() => Err(Refusal::new(format!(
                "`{name}` needs a score for every row, but some judged documents were not retrieved"
            ))
            .hint("ask for metrics at k, such as ndcg@10, map and recall@100")
            .into()),
            _ => Ok(()),
        }
    }

    /// A convention with what this program chose.
    fn told(&self, convention: &str, name: MetricName, labels: &Labels) -> String {
        let mut told = format!("{convention};label={}", labels.told(name));
        if matches!(name, MetricName::Revenue { .. }) {
            told.push_str(&format!(";worth={}", self.worth.name()));
        }
        if self.weighted && name.is_over_rows() {
            told.push_str(";weighted");
        }
        told.replace(
            "interval=clusters",
            &format!("interval={}s", self.cluster.name()),
        )
    }

    /// The same without intervals.
    pub(crate) fn plain(&self) -> Self {
        let bootstrap = Bootstrap {
            draws: 0,
            ..self.bootstrap
        };
        Self {
            bootstrap,
            ..self.clone()
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

/// A table and what is judged of it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) table: &'a ScoreTable,
    /// What orders the rows.
    pub(crate) scores: &'a [f64],
    pub(crate) probabilities: Option<&'a [f64]>,
}

impl<'a> Given<'a> {
    /// A table's own columns.
    pub(crate) fn of(table: &'a ScoreTable) -> Self {
        Self {
            table,
            scores: &table.score,
            probabilities: table.get("probability"),
        }
    }

    /// With other probabilities.
    pub(crate) fn promising(self, probabilities: &'a [f64]) -> Self {
        Self {
            probabilities: Some(probabilities),
            ..self
        }
    }

    /// In another order.
    pub(crate) fn ordered(self, scores: &'a [f64]) -> Self {
        Self { scores, ..self }
    }

    fn sample(
        self,
        labels: &'a Labels,
        columns: &'a Columns,
        measure: &Measure,
    ) -> Result<Sample<'a>> {
        let mut sample = Sample::new(&self.table.lists, self.scores);
        sample.grades = Some(&labels.grades);
        sample.labels = Some(&labels.positives);
        sample.probabilities = self.probabilities;
        sample.weights = measure.weights(self.table)?;
        columns.lay(self.table, &mut sample);
        Ok(sample)
    }
}

/// Metrics of a table.
///
/// # Errors
/// What the metrics refuse.
pub(crate) fn evaluate(
    given: Given<'_>,
    labels: &Labels,
    measure: &Measure,
) -> Result<Vec<Metric>> {
    measure.refuse_unranked(given.table)?;
    let columns = Columns::of(given.table, labels, measure)?;
    let mut metrics = slate_eval::evaluate(
        &given.sample(labels, &columns, measure)?,
        &measure.metrics,
        &measure.convention,
        &measure.bootstrap,
    )?;
    for (metric, name) in metrics.iter_mut().zip(&measure.metrics) {
        metric.convention = measure.told(&metric.convention, *name, labels);
    }
    Ok(metrics)
}

/// What the weights of each cutoff of metrics by inverse propensity rest on, as `(k, summary)`.
///
/// # Errors
/// What the metrics refuse.
pub(crate) fn weights(
    given: Given<'_>,
    labels: &Labels,
    measure: &Measure,
) -> Result<Vec<(usize, WeightSummary)>> {
    let mut cutoffs: Vec<usize> = measure
        .metrics
        .iter()
        .filter_map(|name| name.weighted_at())
        .collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    if cutoffs.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(given.table, labels, measure)?;
    let sample = given.sample(labels, &columns, measure)?;
    let summary = |k| {
        Ok((
            k,
            slate_eval::weight_summary(&sample, k, &measure.convention)?,
        ))
    };
    cutoffs.into_iter().map(summary).collect()
}

/// A metric list by list; none where a list has none.
///
/// # Errors
/// What the metric refuses.
pub(crate) fn per_list(
    given: Given<'_>,
    labels: &Labels,
    name: MetricName,
    measure: &Measure,
) -> Result<Vec<Option<f64>>> {
    let columns = Columns::of(given.table, labels, measure)?;
    let sample = given.sample(labels, &columns, measure)?;
    Ok(slate_eval::per_list(&sample, name, &measure.convention)?)
}

/// The first minus the second, paired by list.
///
/// # Errors
/// Tables of different rows, and what the metrics refuse.
pub(crate) fn compare(
    a: Given<'_>,
    b: Given<'_>,
    labels: &Labels,
    measure: &Measure,
) -> Result<Vec<Difference>> {
    if !std::ptr::eq(a.table, b.table) {
        same_rows(a.table, b.table)?;
    }
    let columns = Columns::of(a.table, labels, measure)?;
    slate_eval::compare(
        &a.sample(labels, &columns, measure)?,
        // Of the same rows, so with the same columns beside the scores.
        &Sample {
            scores: b.scores,
            probabilities: b.probabilities,
            ..a.sample(labels, &columns, measure)?
        },
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
    let (d, value) = (decimals(metric.value), metric.value);
    if metric.low.is_nan() {
        // One list has no interval.
        return format!("{value:.d$}");
    }
    format!("{value:.d$} [{:.d$}, {:.d$}]", metric.low, metric.high)
}

/// A difference as people read it, with its interval.
pub(crate) fn difference_cell(difference: &Difference) -> String {
    signed_interval(difference.difference, difference.low, difference.high)
}

/// A signed number with its interval, in digits that show its width.
pub(crate) fn signed_interval(value: f64, low: f64, high: f64) -> String {
    let d = decimals_of_width(value, low, high);
    format!("{value:+.d$} [{low:+.d$}, {high:+.d$}]")
}

/// Decimals that show the width of an interval, or the value where there is none.
pub(crate) fn decimals_of_width(value: f64, low: f64, high: f64) -> usize {
    let width = if high > low { high - low } else { value.abs() };
    if width > 0.0 && width.is_finite() {
        (1.0 - width.log10().floor()).clamp(0.0, 7.0) as usize
    } else {
        4
    }
}

/// A number of lists or users that would suffice: two significant digits, rounded up and grouped.
pub(crate) fn about(value: f64) -> String {
    let unit = 10.0_f64.powf(value.log10().floor() - 1.0).max(1.0);
    let digits = format!("{:.0}", (value / unit).ceil() * unit);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Decimals for three to four significant digits.
pub(crate) fn decimals(value: f64) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 4;
    }
    (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize
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

/// A table of differences, with Holm's p values where several are made.
pub(crate) fn difference_table(against: &str, unit: &str, differences: &[Difference]) -> String {
    let mut table = Table::new(&[
        ("difference", Align::Left),
        ("value", Align::Right),
        ("low", Align::Right),
        ("high", Align::Right),
        ("relative", Align::Right),
        ("p", Align::Right),
        ("p, Holm", Align::Right),
    ]);
    for one in differences {
        let d = decimals(one.difference);
        table.row([
            one.name.clone(),
            format!("{:+.d$}", one.difference),
            format!("{:+.d$}", one.low),
            format!("{:+.d$}", one.high),
            if one.relative.is_nan() {
                String::new()
            } else {
                format!("{:+.2} %", 100.0 * one.relative)
            },
            format!("{:.4}", one.p),
            format!("{:.4}", one.p_holm),
        ]);
    }
    format!("against {against}, paired by {unit}:\n{}", table.render())
}
