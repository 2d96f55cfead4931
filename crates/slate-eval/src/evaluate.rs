//! Metrics of one sample, each with its interval.

use crate::statistic::{Form, Statistic};
use crate::{Bootstrap, Convention, EvalError, Metric, MetricName, Sample};

/// Computes `metrics` of `sample`, in the order asked for, with bootstrap intervals clustered by
/// list, or by the sample's clusters.
///
/// Intervals are percentile intervals. `ece`, `ace` and `ece2` are the exception: resampling
/// inflates them, so their draws are mirrored at the value ("basic" interval) and, but for `ece2`,
/// cut at 0. Every interval is widened to hold its value. Draws in which a metric does not exist are left out. With fewer than two
/// contributing clusters the ends are NaN.
///
/// # Errors
/// The errors of the columns; [`EvalError::Missing`] for a column a metric needs;
/// [`EvalError::NothingToMeasure`], for instance when no label is 1; [`EvalError::Level`].
pub fn evaluate(
    sample: &Sample<'_>,
    metrics: &[MetricName],
    convention: &Convention,
    bootstrap: &Bootstrap,
) -> Result<Vec<Metric>, EvalError> {
    sample.check()?;
    bootstrap.check()?;
    let mut statistics = Vec::with_capacity(metrics.len());
    let mut values = Vec::with_capacity(metrics.len());
    for &name in metrics {
        let statistic = Statistic::new(name, sample, *convention)?;
        values.push(statistic.value(sample)?);
        statistics.push(statistic);
    }
    let clusters = sample.cluster_count();
    let draws: Vec<Vec<Option<f64>>> = bootstrap.run(clusters, |counts| {
        statistics
            .iter()
            .map(|s| s.resampled(|cluster| f64::from(counts[cluster])))
            .collect()
    });
    Ok(statistics
        .iter()
        .zip(values)
        .enumerate()
        .map(|(i, (statistic, value))| {
            let drawn: Vec<f64> = draws.iter().filter_map(|draw| draw[i]).collect();
            let (low, high) = if statistic.contributing(clusters) < 2 {
                (f64::NAN, f64::NAN)
            } else {
                match (bootstrap.middle(drawn), &statistic.form) {
                    (None, _) => (f64::NAN, f64::NAN),
                    (Some((low, high)), Form::Bins(_)) => {
                        let least = match statistic.name {
                            MetricName::Ece2 => f64::NEG_INFINITY,
                            _ => 0.0,
                        };
                        let basic = (
                            (2.0 * value - high).max(least),
                            (2.0 * value - low).min(1.0),
                        );
                        (basic.0.min(value), basic.1.max(value))
                    }
                    (Some((low, high)), _) => (low.min(value), high.max(value)),
                }
            };
            Metric {
                name: statistic.name.to_string(),
                value,
                low,
                high,
                n: statistic.n,
                unit: statistic.name.unit(convention).to_owned(),
                convention: told(statistic, sample, *convention),
            }
        })
        .collect())
}

/// Computes a metric list by list, in the order of the lists: `None` where a list has none, and for
/// every list where the metric is no mean or ratio of sums over lists (`auc`, `ne`, `slope`, `ece`
/// and their like).
///
/// # Errors
/// As [`evaluate`], but for [`EvalError::NothingToMeasure`].
pub fn per_list(
    sample: &Sample<'_>,
    metric: MetricName,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let sample = Sample {
        clusters: None,
        ..*sample
    };
    sample.check()?;
    Ok(match Statistic::new(metric, &sample, *convention)?.form {
        Form::Ratio(lists) => lists
            .into_iter()
            .map(|[above, below]| (below > 0.0).then(|| above / below))
            .collect(),
        _ => vec![None; sample.lists.len()],
    })
}

/// The convention of a metric, with how its interval is made where that is not by resampling lists.
pub(crate) fn told(statistic: &Statistic, sample: &Sample<'_>, convention: Convention) -> String {
    let mut told = statistic.name.convention(&convention);
    if let (MetricName::Err { .. }, Some(grades)) = (statistic.name, sample.grades) {
        told.push_str(&format!(
            ";most={}",
            crate::statistic::largest_grade(grades)
        ));
    }
    if matches!(statistic.form, Form::Linear { .. }) {
        told.push_str(";interval=first-order");
    }
    if sample.clusters.is_some() {
        told.push_str(";interval=clusters");
    }
    told
}
