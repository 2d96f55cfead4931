//! What estimates rest on, and whether to believe them.

use anyhow::Result;
use slate_eval::off_policy::{
    Change, Estimates, Estimator, Evidence, IntervalMethod, Intervals, Judgement, Log, Target,
    WeightReport, deciding_rewards, estimate, judge, report_weights, used_weights,
};

use super::targets::{Columns, Making, Propensities};
use super::{Row, p_of};
use crate::pipeline::policy::Values;

/// Share of the rewarded placements whose weights are clipped to see whether that matters.
const CLIPPED: f64 = 0.01;
/// Share of its weight that an estimate must keep to rest on what was shown.
const LEAST_KEPT: f64 = 0.5;

/// The verdict's grounds.
pub(super) struct Judged {
    /// Of each policy; none where nothing is weighed.
    pub(super) weights: Vec<WeightReport>,
    pub(super) judgements: Vec<Judgement>,
    /// Differences with weights clipped at these values.
    pub(super) clipped: Vec<(f64, Vec<Change>)>,
}

/// What is judged.
pub(super) struct Judging<'a> {
    pub(super) log: &'a Log<'a>,
    pub(super) columns: &'a [Columns],
    pub(super) main: &'a Row,
    pub(super) intervals: &'a Intervals,
    /// Whether propensities were read, and whether weights average 1 where they are right.
    pub(super) weighed: bool,
    pub(super) centred: bool,
}

/// Intervals that cost nothing, where only values are read.
pub(super) fn plain() -> Intervals {
    Intervals {
        method: IntervalMethod::Delta,
        ..Intervals::default()
    }
}

impl Judging<'_> {
    pub(super) fn judge(&self) -> Result<Judged> {
        let main = self.main.estimator;
        let level = self.intervals.bootstrap.level;
        let targets: Vec<Target<'_>> = self.columns.iter().map(Columns::target).collect();
        // Weights before they are clipped: what is cut away is no evidence that the rest is right.
        let kin = main.unbiased().unwrap_or(main);
        let weigher = match kin {
            Estimator::Dm if self.weighed => Some(Estimator::Ips {
                clip: f64::INFINITY,
            }),
            Estimator::Dm => None,
            other => Some(other),
        };
        let used: Vec<Vec<f64>> = match weigher {
            Some(weigher) => targets
                .iter()
                .map(|target| used_weights(self.log, target, weigher))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let weighers: Vec<Target<'_>> = used.iter().map(|used| Target::new(used)).collect();
        let weights: Vec<WeightReport> = weighers
            .iter()
            .map(|weights| report_weights(self.log, weights, level))
            .collect::<Result<_, _>>()?;
        let clipped = self.clipped(&targets, &used)?;
        let unbiased = match main.unbiased() {
            Some(kin) => Some(estimate(self.log, &targets, kin, &plain())?),
            None => None,
        };
        let model_only = main == Estimator::Dm || self.keeps_little(&targets, &used)?;
        let values = &self.main.estimates.policies;
        let mut judgements = Vec::with_capacity(targets.len() - 1);
        for at in 1..targets.len() {
            let rests = main.reads_weights();
            judgements.push(judge(&Evidence {
                change: &self.main.estimates.changes[at - 1],
                clusters: self.main.estimates.clusters,
                level,
                weights: rests.then(|| [&weights[0], &weights[at]]),
                rewards: if rests {
                    Some(deciding_rewards(self.log, &weighers[0], &weighers[at])?)
                } else {
                    None
                },
                centred: self.centred && main != Estimator::Replay,
                unseen: [self.columns[0].unseen, self.columns[at].unseen],
                model_only,
                scale: values[0].value.abs().max(values[at].value.abs()),
                unbiased: unbiased.as_ref().map(|unbiased| &unbiased.changes[at - 1]),
                clipped: clipped.last().map(|(_, changes)| &changes[at - 1]),
            }));
        }
        Ok(Judged {
            weights,
            judgements,
            clipped,
        })
    }

    /// Whether an estimator around a model cuts most of some policy's weight away.
    fn keeps_little(&self, targets: &[Target<'_>], used: &[Vec<f64>]) -> Result<bool> {
        let main = self.main.estimator;
        if !main.reads_model() || used.is_empty() {
            return Ok(false);
        }
        for (target, raw) in targets.iter().zip(used) {
            let kept: f64 = used_weights(self.log, target, main)?.iter().sum();
            if kept < LEAST_KEPT * raw.iter().sum::<f64>() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Differences with the largest weights clipped, mildest first; none for estimators that clip
    /// nothing.
    fn clipped(
        &self,
        targets: &[Target<'_>],
        used: &[Vec<f64>],
    ) -> Result<Vec<(f64, Vec<Change>)>> {
        let clip = |at: f64| match self.main.estimator {
            Estimator::Ips { .. } | Estimator::Snips => Some(Estimator::Ips { clip: at }),
            Estimator::Dr { .. } | Estimator::Sndr => Some(Estimator::Dr { clip: at }),
            _ => None,
        };
        if clip(1.0).is_none() {
            return Ok(Vec::new());
        }
        // Of each policy by itself: beside a policy whose weights are all 1 any other is large.
        let limit = |share: f64| {
            let of_policy = used.iter().map(|used| {
                let rewarded = used.iter().zip(self.log.rewards);
                let mut positive: Vec<f64> = rewarded
                    .filter(|(w, r)| **w > 0.0 && **r != 0.0)
                    .map(|(w, _)| *w)
                    .collect();
                positive.sort_unstable_by(f64::total_cmp);
                let last = positive.len().saturating_sub(1);
                let place = ((1.0 - share) * last as f64) as usize;
                positive.get(place).copied().unwrap_or(0.0)
            });
            of_policy.fold(0.0, f64::max)
        };
        let mut limits = vec![limit(CLIPPED / 10.0), limit(CLIPPED)];
        limits.dedup();
        let mut differences = Vec::new();
        for limit in limits.into_iter().filter(|limit| *limit > 0.0) {
            if let Some(estimator) = clip(limit) {
                let estimates = estimate(self.log, targets, estimator, &plain())?;
                differences.push((limit, estimates.changes));
            }
        }
        Ok(differences)
    }
}

/// Carries how unsure examination is into the intervals.
pub(super) struct Widen<'a> {
    pub(super) making: &'a Making<'a>,
    pub(super) log: &'a Log<'a>,
    pub(super) values: &'a [Values],
    pub(super) draws: &'a [Vec<f64>],
    pub(super) of_place: &'a [f64],
}

impl Widen<'_> {
    /// Hands over the columns of all policies under each draw of the examination.
    pub(super) fn under_each(&self, mut take: impl FnMut(&[Columns]) -> Result<()>) -> Result<()> {
        for draw in self.draws {
            // A place that a draw knows nothing of is as the curve says.
            let known = self.of_place.iter().enumerate().map(|(place, theta)| {
                let drawn = draw.get(place).copied().unwrap_or(*theta);
                if drawn > 0.0 { drawn } else { *theta }
            });
            let propensities = Propensities::Examination(known.collect());
            let making = Making {
                propensities: &propensities,
                ..*self.making
            };
            let columns: Vec<Columns> = self
                .values
                .iter()
                .map(|values| making.of_values(values))
                .collect::<Result<_>>()?;
            take(&columns)?;
        }
        Ok(())
    }

    /// Estimates again under each draw; the variance between them is added to that over clusters.
    pub(super) fn apply(&self, rows: &mut [&mut Row]) -> Result<()> {
        let mut each: Vec<Vec<Estimates>> = vec![Vec::new(); rows.len()];
        self.under_each(|columns| {
            let targets: Vec<Target<'_>> = columns.iter().map(Columns::target).collect();
            for (row, each) in rows.iter().zip(&mut each) {
                each.push(estimate(self.log, &targets, row.estimator, &plain())?);
            }
            Ok(())
        })?;
        let least = self.log.least_value();
        for (row, each) in rows.iter_mut().zip(&each) {
            for (at, one) in row.estimates.policies.iter_mut().enumerate() {
                let values: Vec<f64> = each.iter().map(|e| e.policies[at].value).collect();
                *one = one.with_more_variance(variance(&values)).from_least(least);
            }
            for (at, one) in row.estimates.changes.iter_mut().enumerate() {
                let differences: Vec<f64> = each.iter().map(|e| e.changes[at].difference).collect();
                *one = one.with_more_variance(variance(&differences));
            }
            row.p_holm = p_of(&row.estimates);
        }
        Ok(())
    }
}

/// 0 for fewer than two values.
pub(super) fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    squares / (values.len() - 1) as f64
}
