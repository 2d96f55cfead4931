//! A metric reduced to what a resample of lists needs: sums per list, or rows sorted once.

use crate::auc::{self, RankedRows};
use crate::proper::{brier_of, log_loss_of, why_nothing};
use crate::reliability::{BinnedRows, ECE_BINS};
use crate::{Convention, EvalError, MetricName, Per, Sample, hit, mrr, ndcg, ptr};

/// One metric of one sample, ready to be computed for any multiplicity of each list.
pub(crate) struct Statistic {
    pub(crate) name: MetricName,
    /// Lists or rows that count.
    pub(crate) n: u64,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    /// Sum of the first parts ÷ sum of the second; one pair per list.
    Ratio(Vec<[f64; 2]>),
    Auc(RankedRows),
    Ece(BinnedRows),
}

impl Statistic {
    /// Reduces a checked sample.
    pub(crate) fn new(
        name: MetricName,
        sample: &Sample<'_>,
        convention: Convention,
    ) -> Result<Self, EvalError> {
        let missing = |column| EvalError::Missing {
            metric: name.to_string(),
            column,
        };
        let labels = || sample.labels.ok_or_else(|| missing("labels"));
        let probabilities = || sample.probabilities.ok_or_else(|| missing("probabilities"));
        let form = match name {
            MetricName::Ndcg { k } => {
                let grades = sample.grades.ok_or_else(|| missing("grades"))?;
                mean(ndcg(sample.lists, sample.scores, grades, k, &convention)?)
            }
            MetricName::Hit { k } => {
                mean(hit(sample.lists, sample.scores, labels()?, k, &convention)?)
            }
            MetricName::Mrr { k } => {
                mean(mrr(sample.lists, sample.scores, labels()?, k, &convention)?)
            }
            MetricName::Ptr { k } => {
                let counts = ptr(sample.lists, sample.scores, labels()?, k, &convention)?;
                Form::Ratio(
                    counts
                        .into_iter()
                        .map(|count| match convention.ptr {
                            Per::Placement => [count.positives, count.placements as f64],
                            Per::List => [count.positives, 1.0],
                        })
                        .collect(),
                )
            }
            MetricName::LogLoss => sums(sample, probabilities()?, labels()?, |p, y| {
                [log_loss_of(p, y), 1.0]
            }),
            MetricName::Brier => sums(sample, probabilities()?, labels()?, |p, y| {
                [brier_of(p, y), 1.0]
            }),
            MetricName::Pcoc => sums(sample, probabilities()?, labels()?, |p, y| {
                [p, f64::from(y)]
            }),
            MetricName::Auc => Form::Auc(RankedRows::new(
                sample.scores,
                labels()?,
                sample.weights,
                &sample.list_of_row(),
            )),
            MetricName::Ece => Form::Ece(BinnedRows::new(
                probabilities()?,
                labels()?,
                sample.weights,
                &sample.list_of_row(),
                ECE_BINS,
            )?),
        };
        let n = match (&form, name) {
            (
                Form::Ratio(lists),
                MetricName::Ndcg { .. }
                | MetricName::Hit { .. }
                | MetricName::Mrr { .. }
                | MetricName::Ptr { .. },
            ) => lists.iter().map(|parts| parts[1]).sum::<f64>() as u64,
            _ => match sample.weights {
                Some(weights) => weights.iter().filter(|weight| **weight > 0.0).count() as u64,
                None => sample.lists.rows() as u64,
            },
        };
        Ok(Self { name, n, form })
    }

    /// The metric over all lists once.
    pub(crate) fn value(&self, sample: &Sample<'_>) -> Result<f64, EvalError> {
        self.resampled(|_| 1.0).ok_or_else(|| {
            let why = match self.name {
                MetricName::Ndcg { .. } => "no list has a row with a grade above 0",
                MetricName::Hit { .. } | MetricName::Mrr { .. } | MetricName::Ptr { .. } => {
                    "no list has a row with label 1"
                }
                MetricName::Auc => {
                    return auc::nothing(sample.labels.unwrap_or_default(), sample.weights);
                }
                MetricName::Pcoc => why_nothing("pcoc"),
                MetricName::LogLoss | MetricName::Brier | MetricName::Ece => why_nothing("brier"),
            };
            EvalError::NothingToMeasure {
                metric: self.name.to_string(),
                why,
            }
        })
    }

    /// The metric with each list counted `count(list)` times; `None` where it does not exist.
    pub(crate) fn resampled(&self, count: impl Fn(usize) -> f64) -> Option<f64> {
        match &self.form {
            Form::Ratio(lists) => {
                let (mut above, mut below) = (0.0, 0.0);
                for (list, parts) in lists.iter().enumerate() {
                    let times = count(list);
                    above += times * parts[0];
                    below += times * parts[1];
                }
                (below > 0.0).then_some(above / below)
            }
            Form::Auc(rows) => rows.value(count),
            Form::Ece(rows) => rows.value(count),
        }
    }

    /// Lists that can move the metric, of `lists`.
    pub(crate) fn contributing(&self, lists: usize) -> usize {
        match &self.form {
            Form::Ratio(parts) => parts.iter().filter(|parts| **parts != [0.0, 0.0]).count(),
            Form::Auc(_) | Form::Ece(_) => lists,
        }
    }
}

/// A mean over the lists that have a value.
fn mean(values: Vec<Option<f64>>) -> Form {
    Form::Ratio(
        values
            .into_iter()
            .map(|value| value.map_or([0.0, 0.0], |value| [value, 1.0]))
            .collect(),
    )
}

/// Weighted sums over the rows of each list.
fn sums(
    sample: &Sample<'_>,
    probabilities: &[f64],
    labels: &[u8],
    parts: impl Fn(f64, u8) -> [f64; 2],
) -> Form {
    Form::Ratio(
        sample
            .lists
            .iter()
            .map(|rows| {
                rows.fold([0.0, 0.0], |[above, below], row| {
                    let weight = sample.weight(row);
                    let [numerator, denominator] = parts(probabilities[row], labels[row]);
                    [above + weight * numerator, below + weight * denominator]
                })
            })
            .collect(),
    )
}
