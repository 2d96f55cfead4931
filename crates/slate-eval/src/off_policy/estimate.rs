//! Estimates of several policies from one log, and their differences.

use serde::Serialize;

use super::estimator::Estimator;
use super::intervals::{Ends, Intervals, Spread, student, t_p};
use super::log::{Log, Target};
use super::resample;
use super::sums::Sums;
use crate::{EvalError, check};

/// The value of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Per unit.
    pub value: f64,
    /// Lower end; NaN where there is none.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Standard error over clusters, to first order.
    pub error: f64,
}

/// How much more a policy earns than the first one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// Per unit.
    pub difference: f64,
    /// Lower end; NaN where there is none.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Standard error over clusters, to first order.
    pub error: f64,
    /// Two-sided p value of no difference: Student's t over clusters.
    pub p: f64,
    /// As a share of what the first one earns; NaN where that is not above 0.
    pub relative: f64,
}

/// What one estimator says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimates {
    /// Of each policy, as given.
    pub policies: Vec<Estimate>,
    /// Of each but the first, against the first, from the same clusters and resamples.
    pub changes: Vec<Change>,
    /// Units the values are per.
    pub units: f64,
    /// Clusters that intervals resample.
    pub clusters: usize,
}

/// Estimates what each policy earns per unit, and what each but the first earns more than the first.
///
/// # Errors
/// Errors of the columns; [`EvalError::Missing`] for one that the estimator reads;
/// [`EvalError::NothingToMeasure`] where a slot has no weight to be normalised by, or no unit counts.
pub fn estimate(
    log: &Log<'_>,
    targets: &[Target<'_>],
    estimator: Estimator,
    intervals: &Intervals,
) -> Result<Estimates, EvalError> {
    log.check()?;
    intervals.check()?;
    let nothing = |why| EvalError::NothingToMeasure {
        metric: estimator.to_string(),
        why,
    };
    let units = log.units();
    let all_units: f64 = units.iter().sum();
    if all_units == 0.0 {
        return Err(nothing("no placement stands in a slot that counts"));
    }
    let mut each = Vec::with_capacity(targets.len());
    for target in targets {
        target.check(log)?;
        let sums = Sums::new(log, target, estimator)?;
        let totals = sums.totals();
        if !sums.is_supported(&totals) {
            return Err(nothing(
                "in some slot nothing was ever shown that this policy would show there",
            ));
        }
        each.push((sums, totals));
    }
    let clusters = units.len();
    let draws = resampled(intervals, &units, &each);
    let influences: Vec<Vec<f64>> = each
        .iter()
        .map(|(sums, totals)| {
            let own = units.iter().enumerate();
            own.map(|(cluster, &own)| sums.influence(cluster, totals, all_units, own))
                .collect()
        })
        .collect();
    let values: Vec<f64> = each
        .iter()
        .map(|(_, totals)| Sums::value(totals, all_units))
        .collect();
    let mut policies = Vec::with_capacity(each.len());
    for (at, &value) in values.iter().enumerate() {
        let Ends { low, high, error } = intervals.ends(Spread {
            value,
            influence: &influences[at],
            draws: draws.iter().map(|draw| draw[at]).collect(),
        });
        policies.push(Estimate {
            value,
            low,
            high,
            error,
        });
    }
    let mut changes = Vec::new();
    for at in 1..each.len() {
        let pairs = influences[at].iter().zip(&influences[0]);
        let influence: Vec<f64> = pairs.map(|(b, a)| b - a).collect();
        let difference = values[at] - values[0];
        let Ends { low, high, error } = intervals.ends(Spread {
            value: difference,
            influence: &influence,
            draws: draws.iter().map(|draw| draw[at] - draw[0]).collect(),
        });
        changes.push(Change {
            difference,
            low,
            high,
            error,
            p: t_p(difference, error, clusters as f64 - 1.0),
            relative: relative(difference, values[0]),
        });
    }
    Ok(Estimates {
        policies,
        changes,
        units: all_units,
        clusters,
    })
}

/// The value of every policy in each resample.
fn resampled(intervals: &Intervals, units: &[f64], each: &[(Sums, Vec<f64>)]) -> Vec<Vec<f64>> {
    if intervals.draws() == 0 || units.len() < 2 {
        return Vec::new();
    }
    let width = 1 + each.iter().map(|(sums, _)| sums.width()).sum::<usize>();
    let mut columns = Vec::with_capacity(units.len() * width);
    for (cluster, &own) in units.iter().enumerate() {
        columns.push(own);
        for (sums, _) in each {
            columns.extend_from_slice(sums.row(cluster));
        }
    }
    let totals = resample::totals(&intervals.bootstrap, &columns, width);
    let value = |draw: &[f64]| {
        let mut first = 1;
        let of_policy = each.iter().map(|(sums, _)| {
            let own = &draw[first..first + sums.width()];
            first += sums.width();
            Sums::value(own, draw[0])
        });
        of_policy.collect()
    };
    totals.chunks_exact(width).map(value).collect()
}

/// The difference of two estimates from logs that share no cluster, such as two arms of an experiment:
/// errors add up, and degrees of freedom are Welch's.
///
/// # Errors
/// [`EvalError::Level`].
pub fn estimate_independent(
    first: (&Estimate, usize),
    second: (&Estimate, usize),
    level: f64,
) -> Result<Change, EvalError> {
    check::level(level)?;
    let ((a, of_a), (b, of_b)) = (first, second);
    let (va, vb) = (a.error * a.error, b.error * b.error);
    let error = (va + vb).sqrt();
    let difference = b.value - a.value;
    let each = va * va / (of_a as f64 - 1.0) + vb * vb / (of_b as f64 - 1.0);
    let freedom = (va + vb) * (va + vb) / each;
    let half = if error == 0.0 {
        0.0
    } else if freedom >= 1.0 {
        error
            * statrs::distribution::ContinuousCDF::inverse_cdf(
                &student(freedom),
                f64::midpoint(1.0, level),
            )
    } else {
        f64::NAN
    };
    Ok(Change {
        difference,
        low: difference - half,
        high: difference + half,
        error,
        p: t_p(difference, error, freedom),
        relative: relative(difference, a.value),
    })
}

fn relative(difference: f64, of: f64) -> f64 {
    if of > 0.0 { difference / of } else { f64::NAN }
}
