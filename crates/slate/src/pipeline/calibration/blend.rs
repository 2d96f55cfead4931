//! Orders that probabilities make where they are mixed with money: by the expected value of a
//! placement, `log p + β log price + w log ad_rate`.
//!
//! A calibrator that keeps the order of one ranker changes this one. Its last weight is tuned for
//! each calibrator on the rows it was fitted on, by probabilities of calibrators that had not seen
//! them: a curve that is off should not lose for a weight that suits another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use slate_eval::{Difference, Metric};
use slate_types::ListOffsets;

use super::super::columns::Worth;
use super::super::evaluation::{self, Given, Labels, Measure};
use crate::artefacts::scores::ScoreTable;

/// Weights tried for the last term.
const GRID: [f64; 9] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];

/// The two-sided p value of a normal mean one standard error from 0.
const ONE_ERROR: f64 = 0.317;

/// What is mixed into the order of a table.
pub(crate) struct Blend {
    /// How the order is made, for people.
    pub(crate) formula: &'static str,
    /// What is earned.
    pub(crate) worth: Worth,
}

/// The order of one calibrator.
pub(crate) struct Blended {
    /// The weight of the last term.
    pub(crate) weight: f64,
    pub(crate) metrics: Vec<Metric>,
    /// Minus those of the reference; none for the reference itself.
    pub(crate) against: Vec<Difference>,
    /// The order, as scores.
    scores: Vec<f64>,
}

/// Logs of a column, for orders: a value of 0 or unknown counts as half of the least one there is.
fn logs(values: &[f64]) -> Vec<f64> {
    let positive = |value: &f64| *value > 0.0;
    let least = values
        .iter()
        .copied()
        .filter(positive)
        .fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { least } else { 1.0 };
    let log = |value: &f64| {
        if positive(value) {
            value.ln()
        } else {
            (least / 2.0).ln()
        }
    };
    values.iter().map(log).collect()
}

impl Blend {
    /// What both tables allow: prices and rates, prices alone, or nothing.
    pub(crate) fn of(fit: &ScoreTable, test: &ScoreTable, labels: [&Labels; 2]) -> Option<Self> {
        let has = |name: &str| {
            let known = |table: &ScoreTable| {
                let values = table.get(name);
                values.is_some_and(|values| values.iter().any(|value| *value > 0.0))
            };
            known(fit) && known(test)
        };
        // A purchase without a price earns nobody knows what.
        let priced = |table: &ScoreTable, labels: &Labels| {
            table.get("price").is_some_and(|prices| {
                let mut rows = prices.iter().zip(&labels.positives);
                rows.all(|(price, positive)| *positive == 0 || !price.is_nan())
            })
        };
        if !has("price") || !priced(fit, labels[0]) || !priced(test, labels[1]) {
            return None;
        }
        Some(if has("ad_rate") {
            Self {
                formula: "log p + log price + w log ad_rate",
                worth: Worth::Fee,
            }
        } else {
            Self {
                formula: "log p + w log price",
                worth: Worth::Price,
            }
        })
    }

    /// The order of a table's rows, as scores: ties of the blend are broken by the ranker's score.
    fn scores(&self, table: &ScoreTable, probabilities: &[f64], weight: f64) -> Vec<f64> {
        let prices = logs(table.get("price").unwrap_or_default());
        let rates = match self.worth {
            Worth::Fee => Some(logs(table.get("ad_rate").unwrap_or_default())),
            Worth::Price => None,
        };
        let blend: Vec<f64> = probabilities
            .iter()
            .enumerate()
            .map(|(row, p)| {
                let p = p.max(f64::MIN_POSITIVE).ln();
                match &rates {
                    Some(rates) => p + prices[row] + weight * rates[row],
                    None => p + weight * prices[row],
                }
            })
            .collect();
        ranks(&table.lists, &blend, &table.score)
    }

    /// The weight that earned most on rows whose probabilities are out of fold, if it earned more
    /// than the weight 1 of the expected value by over a standard error; else 1.
    fn tune(
        &self,
        table: &ScoreTable,
        labels: &Labels,
        probabilities: &[f64],
        measure: &Measure,
    ) -> Result<f64> {
        let measure = measure.plain();
        let order = |weight| self.scores(table, probabilities, weight);
        let given = Given::of(table);
        let expected = order(1.0);
        let earned = |scores: &[f64]| -> Result<f64> {
            Ok(evaluation::evaluate(given.ordered(scores), labels, &measure)?[0].value)
        };
        let mut best = (earned(&expected)?, 1.0);
        for weight in GRID {
            let earned = earned(&order(weight))?;
            if earned > best.0 {
                best = (earned, weight);
            }
        }
        let scores = order(best.1);
        let (a, b) = (given.ordered(&scores), given.ordered(&expected));
        let gained = evaluation::compare(a, b, labels, &measure)?;
        let sure = gained[0].p < ONE_ERROR;
        Ok(if sure { best.1 } else { 1.0 })
    }

    /// The weight of each fold, tuned on the others.
    fn tune_by_fold(
        &self,
        (table, labels, probabilities): (&ScoreTable, &Labels, &[f64]),
        folds: &[u64],
        measure: &Measure,
    ) -> Result<BTreeMap<u64, f64>> {
        let mut weights = BTreeMap::new();
        let numbers: BTreeSet<u64> = folds.iter().copied().collect();
        for fold in numbers {
            let others: Vec<usize> = (0..folds.len()).filter(|&row| folds[row] != fold).collect();
            let part = table.rows_of(&others)?;
            let part_labels = labels.like(&part)?;
            let p: Vec<f64> = others.iter().map(|&row| probabilities[row]).collect();
            weights.insert(fold, self.tune(&part, &part_labels, &p, measure)?);
        }
        Ok(weights)
    }

    /// Tunes on `fit` and judges on `test`, by `measure`, whose first metric is the revenue. Where
    /// both are the same rows, `folds` keeps a row's list out of what its weight is tuned on.
    ///
    /// # Errors
    /// What the metrics refuse.
    pub(crate) fn judge(
        &self,
        fit: (&ScoreTable, &Labels, &[f64]),
        test: (&ScoreTable, &Labels, &[f64]),
        folds: Option<&[u64]>,
        reference: Option<&Blended>,
        measure: &Measure,
    ) -> Result<Blended> {
        let revenue = Measure {
            metrics: measure.metrics[..1].to_vec(),
            ..measure.clone()
        };
        let weight = self.tune(fit.0, fit.1, fit.2, &revenue)?;
        let mut scores = self.scores(test.0, test.2, weight);
        if let Some(folds) = folds {
            for (fold, weight) in self.tune_by_fold(fit, folds, &revenue)? {
                let tuned = self.scores(test.0, test.2, weight);
                for row in (0..folds.len()).filter(|&row| folds[row] == fold) {
                    scores[row] = tuned[row];
                }
            }
        }
        let given = Given::of(test.0).ordered(&scores);
        let against = match reference {
            Some(reference) => {
                let other = given.ordered(&reference.scores);
                evaluation::compare(given, other, test.1, measure)?
            }
            None => Vec::new(),
        };
        Ok(Blended {
            weight,
            metrics: evaluation::evaluate(given, test.1, measure)?,
            against,
            scores,
        })
    }
}

impl Blended {
    /// As it stands in a file.
    pub(crate) fn json(&self) -> Value {
        json!({ "weight": self.weight, "metrics": self.metrics, "against": self.against })
    }
}

/// Ranks of rows by a first column and, where it ties, by a second, list by list, as scores: rows
/// that are equal in both share one.
pub(crate) fn ranks(lists: &ListOffsets, first: &[f64], second: &[f64]) -> Vec<f64> {
    let mut ranks = vec![0.0; first.len()];
    for rows in lists.iter() {
        let mut order: Vec<usize> = rows.collect();
        // Adding 0 makes one of -0 and 0.
        let key = |row: usize| (first[row] + 0.0, second[row] + 0.0);
        order.sort_by(|&a, &b| {
            let (a, b) = (key(a), key(b));
            b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        let mut rank = 0.0;
        for (place, &row) in order.iter().enumerate() {
            if place > 0 && key(row) != key(order[place - 1]) {
                rank -= 1.0;
            }
            ranks[row] = rank;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_break_ties_by_the_second_column_and_keep_true_ones() {
        let lists = ListOffsets::from_lengths([4, 2]).unwrap();
        let first = [0.5, 0.5, 0.9, 0.5, 0.0, -0.0];
        let second = [1.0, 2.0, 0.0, 1.0, 3.0, 3.0];
        assert_eq!(
            ranks(&lists, &first, &second),
            [-2.0, -1.0, 0.0, -2.0, 0.0, 0.0]
        );
    }

    #[test]
    fn unknown_values_count_as_half_the_least() {
        let values = logs(&[0.2, f64::NAN, 0.0, 0.1]);
        assert_eq!(values[1], 0.05_f64.ln());
        assert_eq!(values[1], values[2]);
    }
}
