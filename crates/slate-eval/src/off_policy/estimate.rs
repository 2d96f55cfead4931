//! Estimates of several policies from one log, and their differences.

use serde::Serialize;
use statrs::distribution::ContinuousCDF;

use super::estimator::Estimator;
use super::intervals::{Ends, IntervalMethod, Intervals, Spread, bernstein, student, t_p};
use super::log::{Log, Per, Target};
use super::resample;
use super::sums::Sums;
use crate::{EvalError, check};

/// Clusters that are resampled one by one. Of more, neighbours are resampled together: sums of independent
/// clusters are independent, and so many of them leave nothing to gain.
const MOST_RESAMPLED: usize = 1 << 15;

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
    /// Two-sided p value of no difference: Student's t over clusters, of bootstraps with as many degrees of
    /// freedom as the interval.
    pub p: f64,
    /// As a share of what the first one earns; NaN where that is not above 0.
    pub relative: f64,
    /// Degrees of freedom that `p` has.
    #[serde(skip)]
    pub(crate) freedom: f64,
}

impl Estimate {
    /// The same with more variance than clusters show; the ends move out by as much as the error grows.
    #[must_use]
    pub fn with_more_variance(self, more: f64) -> Self {
        let ratio = grown(self.error, more);
        Self {
            low: self.value - ratio * (self.value - self.low),
            high: self.value + ratio * (self.high - self.value),
            error: ratio * self.error,
            ..self
        }
    }

    /// The same where no value can lie below `least`; an estimate that does is its own lower end.
    #[must_use]
    pub fn from_least(self, least: f64) -> Self {
        if self.low.is_nan() {
            return self;
        }
        Self {
            low: self.low.max(least.min(self.value)),
            ..self
        }
    }
}

impl Change {
    /// The same with more variance than clusters show.
    #[must_use]
    pub fn with_more_variance(self, more: f64) -> Self {
        let ratio = grown(self.error, more);
        let error = ratio * self.error;
        Self {
            low: self.difference - ratio * (self.difference - self.low),
            high: self.difference + ratio * (self.high - self.difference),
            error,
            p: t_p(self.difference, error, self.freedom),
            ..self
        }
    }
}

fn grown(error: f64, more: f64) -> f64 {
    if error > 0.0 && more > 0.0 {
        (error * error + more).sqrt() / error
    } else {
        1.0
    }
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
    let bounded = match intervals.method {
        IntervalMethod::Bernstein => Some(Bounded::new(
            log,
            estimator,
            intervals.largest_reward,
            &each,
        )?),
        _ => None,
    };
    let level = intervals.bootstrap.level;
    let least = log.least_value();
    let mut policies = Vec::with_capacity(each.len());
    for (at, &value) in values.iter().enumerate() {
        let Ends { low, high, error } = intervals.ends(Spread {
            value,
            influence: &influences[at],
            draws: draws.iter().map(|draw| draw[at]).collect(),
        });
        let (low, high) = match &bounded {
            Some(bounded) => bounded.of_policy(at, level)?,
            None => (low, high),
        };
        let estimate = Estimate {
            value,
            low,
            high,
            error,
        };
        policies.push(estimate.from_least(least));
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
        let (low, high) = match &bounded {
            Some(bounded) => bounded.of_change(at, level)?,
            None => (low, high),
        };
        let freedom = intervals.freedom(&influence);
        changes.push(Change {
            difference,
            low,
            high,
            error,
            p: t_p(difference, error, freedom),
            relative: relative(difference, values[0]),
            freedom,
        });
    }
    Ok(Estimates {
        policies,
        changes,
        units: all_units,
        clusters,
    })
}

/// Sums of lists that have a bound.
struct Bounded<'a> {
    each: &'a [(Sums, Vec<f64>)],
    /// Largest sum that a list can have.
    most: f64,
}

impl<'a> Bounded<'a> {
    fn new(
        log: &Log<'_>,
        estimator: Estimator,
        largest_reward: Option<f64>,
        each: &'a [(Sums, Vec<f64>)],
    ) -> Result<Self, EvalError> {
        let refused = |why| EvalError::NothingToMeasure {
            metric: format!("{estimator} with bernstein intervals"),
            why,
        };
        let Estimator::Ips { clip } = estimator else {
            return Err(refused("only ips@L has sums with a bound"));
        };
        if clip.is_infinite() || log.clusters.is_some() || log.per != Per::List {
            return Err(refused("it takes clipped weights, per list, over lists"));
        }
        if log.rewards.iter().any(|reward| *reward < 0.0) {
            return Err(refused("it takes rewards from 0 up"));
        }
        let seen = log.rewards.iter().copied().fold(0.0, f64::max);
        let most = largest_reward.unwrap_or(seen);
        if most.is_nan() || most < seen {
            return Err(refused(
                "a reward of the log is above the largest there can be",
            ));
        }
        let rows = log
            .lists
            .iter()
            .map(|rows| rows.filter(|&row| log.counts(row)).count());
        let rows = rows.max().unwrap_or(0);
        Ok(Self {
            each,
            most: clip * most * rows as f64,
        })
    }

    fn sums(&self, at: usize) -> Vec<f64> {
        let sums = &self.each[at].0;
        (0..sums.of_cluster.len() / sums.width())
            .map(|cluster| sums.row(cluster)[0])
            .collect()
    }

    fn of_policy(&self, at: usize, level: f64) -> Result<(f64, f64), EvalError> {
        bernstein(&self.sums(at), self.most, level)
    }

    /// Differences lie between the bound below 0 and above.
    fn of_change(&self, at: usize, level: f64) -> Result<(f64, f64), EvalError> {
        let pairs = self.sums(at).into_iter().zip(self.sums(0));
        let moved: Vec<f64> = pairs.map(|(b, a)| b - a + self.most).collect();
        let (low, high) = bernstein(&moved, 2.0 * self.most, level)?;
        Ok((low - self.most, high - self.most))
    }
}

/// The value of every policy in each resample.
fn resampled(intervals: &Intervals, units: &[f64], each: &[(Sums, Vec<f64>)]) -> Vec<Vec<f64>> {
    if intervals.draws() == 0 || units.len() < 2 {
        return Vec::new();
    }
    let width = 1 + each.iter().map(|(sums, _)| sums.width()).sum::<usize>();
    let groups = units.len().min(MOST_RESAMPLED);
    let mut columns = vec![0.0; groups * width];
    for (cluster, &own) in units.iter().enumerate() {
        let group = cluster * groups / units.len();
        let sums = &mut columns[group * width..(group + 1) * width];
        sums[0] += own;
        let own = each.iter().flat_map(|(sums, _)| sums.row(cluster));
        for (sum, value) in sums[1..].iter_mut().zip(own) {
            *sum += value;
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
        error * student(freedom).inverse_cdf(f64::midpoint(1.0, level))
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
        freedom,
    })
}

fn relative(difference: f64, of: f64) -> f64 {
    if of > 0.0 { difference / of } else { f64::NAN }
}
