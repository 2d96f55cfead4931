//! Policies compared on a log: what each would have earned, how sure that is, and whether the log can
//! tell at all.
//!
//! [`rewards`] says what placements earned, [`targets`] how likely each policy was to show them,
//! [`forecasts`] what a model expects; `slate-eval` estimates and judges; [`details`] looks at slots,
//! segments and lists, [`words`] says it. [`interleave`] simulates another way to find out.

mod details;
pub(crate) mod document;
mod forecasts;
pub(crate) mod interleave;
mod rewards;
mod table_policy;
mod targets;
mod words;

use anyhow::{Context as _, Result};
use slate_eval::holm;
use slate_eval::off_policy::{
    Change, Choice, Estimates, Estimator, Evidence, Intervals, Judgement, Log, Per, Target,
    WeightReport, deciding_rewards, estimate, judge, report_weights,
};
use slate_model::DeviceSpec;
use slate_types::{Progress, Seed};

use self::forecasts::Forecasts;
pub(crate) use self::forecasts::OutcomeKind;
pub(crate) use self::rewards::Rewards;
pub(crate) use self::targets::Propensities;
use self::targets::{Columns, Making};
pub(crate) use self::words::{estimate_table, segment_table, weight_table};
use super::columns::Cluster;
use super::policy::{Policy, Values};
use super::shown::Shown;
use crate::config::Source;
use crate::console::Refusal;

/// Share of the placements whose weights are clipped to see whether that matters.
const CLIPPED: f64 = 0.01;
/// Propensities this near to 1 left no choice.
const CERTAIN: f64 = 1.0 - 1e-9;

/// What a value is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Unit {
    Placement,
    List,
    Page,
    User,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::List => "list",
            Self::Page => "page",
            Self::User => "user",
        }
    }
}

/// What is asked of a log.
pub(crate) struct Settings {
    pub(crate) reward: Option<String>,
    pub(crate) unit: Unit,
    pub(crate) cluster: Cluster,
    /// Places that count; none for all.
    pub(crate) top: Option<usize>,
    pub(crate) propensities: Asked,
    /// Column with the probability of each placement given those above it.
    pub(crate) prefix: Option<String>,
    pub(crate) estimators: Vec<Choice>,
    /// The estimator the verdict rests on.
    pub(crate) main: Choice,
    pub(crate) outcome: Option<OutcomeKind>,
    /// Columns whose values make the cells of `mips`.
    pub(crate) cells: Vec<String>,
    pub(crate) intervals: Intervals,
    /// Column whose values are looked at by themselves.
    pub(crate) by: Option<String>,
    pub(crate) seed: Seed,
    pub(crate) device: DeviceSpec,
}

/// Where propensities come from.
pub(crate) enum Asked {
    /// A column.
    Column(String),
    /// Lists were in random order.
    Uniform,
    /// The logged order was the only one, and users look at places with these probabilities, given
    /// several times over to say how sure that is.
    Examination {
        of_place: Vec<f64>,
        draws: Vec<Vec<f64>>,
    },
    /// Several loggers: columns with the probability of each placement under each, and how many lists
    /// each showed.
    Balanced(Vec<String>, Vec<f64>),
}

/// One estimator on all policies.
pub(crate) struct Row {
    pub(crate) estimator: Estimator,
    pub(crate) estimates: Estimates,
    /// Holm's p values of the changes.
    pub(crate) p_holm: Vec<f64>,
}

/// What came out.
pub(crate) struct Compared {
    pub(crate) names: Vec<String>,
    pub(crate) rewards: Rewards,
    pub(crate) rows: Vec<Row>,
    /// Estimators left out, and why.
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) main: Row,
    pub(crate) weights: Vec<WeightReport>,
    pub(crate) judgements: Vec<Judgement>,
    /// Differences with weights clipped at these values.
    pub(crate) clipped: Vec<(f64, Vec<Change>)>,
    /// Lists in random order that would suffice, for each change.
    pub(crate) random_lists: Vec<Option<f64>>,
    pub(crate) slots: Vec<details::OfSlot>,
    pub(crate) segments: Vec<details::Segment>,
    pub(crate) disagreements: Vec<details::Disagreement>,
    /// Share of lists that each policy but the first orders differently from the first.
    pub(crate) differ: Vec<Option<f64>>,
}

/// Compares the first policy with each of the others.
///
/// # Errors
/// Columns that are missing or cannot be, policies that cannot be applied, a log that shows one order
/// only.
pub(crate) fn compare(
    shown: &Shown,
    policies: &[Policy],
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compared> {
    let rewards = Rewards::of(&shown.table, settings.reward.as_deref())?;
    let clusters = settings.cluster.of_lists(&shown.table)?;
    let units = match settings.unit {
        Unit::Placement | Unit::List => None,
        Unit::Page => Cluster::Page.of_lists(&shown.table)?,
        Unit::User => Cluster::User.of_lists(&shown.table)?,
    };
    let single = shown.is_single();
    let mut log = Log::new(
        shown.lists(),
        &rewards.of_rows,
        if single { &shown.slots } else { &shown.places },
    );
    log.clusters = clusters.as_deref();
    log.top = settings.top.map(|top| top as u32);
    log.per = match (settings.unit, &units) {
        (Unit::Placement, _) => Per::Placement,
        (_, Some(units)) => Per::Numbered(units),
        (_, None) => Per::List,
    };
    let wanted = |estimator: Estimator| estimator.reads_propensities();
    let all = settings.estimators.iter().chain([&settings.main]);
    let propensities = if all.clone().any(|choice| wanted(choice.example())) {
        propensities(shown, &settings.propensities)?
    } else {
        Propensities::Uniform
    };
    let reads_model = all.clone().any(|choice| choice.example().reads_model());
    let values: Vec<Values> = if single {
        Vec::new()
    } else {
        let one = |policy: &Policy| {
            policy.values(shown, Some(&rewards.of_rows), settings.device, progress)
        };
        policies.iter().map(one).collect::<Result<_>>()?
    };
    progress.begin("fit outcomes", None, "placements");
    let forecasts = if reads_model {
        let kind = match (settings.outcome, single) {
            (_, true) => OutcomeKind::Cells,
            (Some(kind), false) => kind,
            (None, false) => OutcomeKind::Regression,
        };
        let values: Vec<&Values> = values.iter().collect();
        let seed = settings.seed;
        let clusters = clusters.as_deref();
        Some(Forecasts::fit(
            kind, shown, &rewards, &values, clusters, seed,
        )?)
    } else {
        None
    };
    progress.end();
    let given_prefix = match &settings.prefix {
        Some(name) => Some(shown.table.numeric(name)?),
        None => None,
    };
    let cell_numbers = details::cells(shown, &settings.cells)?;
    let making = Making {
        shown,
        propensities: &propensities,
        given_prefix: given_prefix.as_deref(),
        top: settings.top.unwrap_or(usize::MAX),
        forecasts: forecasts.as_ref(),
        cells: cell_numbers.as_deref(),
    };
    progress.begin("weigh placements", Some(policies.len() as u64), "policies");
    let mut columns: Vec<Columns> = Vec::with_capacity(policies.len());
    for (at, policy) in policies.iter().enumerate() {
        let made = if policy.source == Source::Logged {
            Ok(making.of_logger())
        } else if single {
            making.of_table(&table_policy::of(policy, shown)?)
        } else {
            making.of_order(&values[at])
        };
        let of = || format!("cannot weigh the policy `{}`", policy.name);
        columns.push(made.with_context(of)?);
        progress.advance(1);
    }
    progress.end();
    let targets: Vec<Target<'_>> = columns.iter().map(Columns::target).collect();
    // Several differences, one level for all together.
    let changes = policies.len() - 1;
    let mut intervals = settings.intervals;
    intervals.bootstrap.level = 1.0 - (1.0 - intervals.bootstrap.level) / changes as f64;

    progress.begin(
        "estimate",
        Some(settings.estimators.len() as u64 + 1),
        "estimators",
    );
    let one = |choice: Choice| -> Result<Row> {
        let estimator = choice.of(&log, &targets)?;
        let estimates = estimate(&log, &targets, estimator, &intervals)?;
        let p: Vec<f64> = estimates.changes.iter().map(|change| change.p).collect();
        let p_holm = holm(&p);
        progress.advance(1);
        Ok(Row {
            estimator,
            estimates,
            p_holm,
        })
    };
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for &choice in &settings.estimators {
        match one(choice) {
            Ok(row) => rows.push(row),
            Err(error) => left_out.push((choice.example().to_string(), error.to_string())),
        }
    }
    let mut main = one(settings.main)?;
    progress.end();
    if let Asked::Examination { of_place, draws } = &settings.propensities {
        let widen = Widen {
            making: &making,
            log: &log,
            values: &values,
            draws,
            of_place,
        };
        widen.apply(&mut main)?;
    }
    let level = intervals.bootstrap.level;
    let weights: Vec<WeightReport> = targets
        .iter()
        .map(|target| report_weights(&log, target, level))
        .collect::<Result<_, _>>()?;
    let clipped = clipped(&log, &targets, main.estimator, &columns)?;
    let rests = main.estimator.reads_propensities();
    let model_only = !rests && main.estimator.reads_model();
    let centred = !matches!(propensities, Propensities::Examination(_));
    let mut judgements = Vec::with_capacity(changes);
    let mut random_lists = Vec::with_capacity(changes);
    for at in 1..policies.len() {
        let change = &main.estimates.changes[at - 1];
        judgements.push(judge(&Evidence {
            change,
            clusters: main.estimates.clusters,
            level,
            weights: rests.then_some([&weights[0], &weights[at]]),
            rewards: if rests {
                Some(deciding_rewards(&log, &targets[0], &targets[at])?)
            } else {
                None
            },
            centred,
            unseen: [columns[0].unseen, columns[at].unseen],
            model_only,
            clipped: clipped.last().map(|(_, changes)| &changes[at - 1]),
        }));
        random_lists.push(if single {
            None
        } else {
            details::random_lists(
                shown,
                [&values[0], &values[at]],
                &log,
                change.difference,
                level,
            )?
        });
    }
    let slots = details::by_slot(&log, &targets)?;
    let segments = match &settings.by {
        Some(column) => {
            let of = details::Segments {
                log: &log,
                columns: &columns,
                estimator: main.estimator,
                intervals: &intervals,
            };
            of.by(shown, column)?
        }
        None => Vec::new(),
    };
    // Any order is as good as another under `random`, so there is none to differ from.
    let ordered = |at: usize| !single && policies[at].source != Source::Random;
    let differ = (1..policies.len())
        .map(|at| {
            let both = ordered(0) && ordered(at);
            both.then(|| details::differ(shown, [&values[0], &values[at]]))
        })
        .collect();
    let disagreements = if ordered(0) && ordered(1) {
        details::disagreements(shown, &values, &rewards, settings.seed)
    } else {
        Vec::new()
    };
    Ok(Compared {
        names: policies.iter().map(|policy| policy.name.clone()).collect(),
        rewards,
        rows,
        left_out,
        main,
        weights,
        judgements,
        clipped,
        random_lists,
        slots,
        segments,
        disagreements,
        differ,
    })
}

/// Reads propensities and refuses those that leave nothing to weigh.
fn propensities(shown: &Shown, asked: &Asked) -> Result<Propensities> {
    let known = match asked {
        Asked::Uniform => return Ok(Propensities::Uniform),
        Asked::Examination { of_place, .. } => {
            return Ok(Propensities::Examination(of_place.clone()));
        }
        Asked::Balanced(names, lists) => {
            let columns: Vec<Vec<f64>> = names
                .iter()
                .map(|name| shown.table.numeric(name))
                .collect::<Result<_>>()?;
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            slate_eval::off_policy::balanced_propensities(&columns, lists)?
        }
        Asked::Column(name) => {
            let values = match shown.table.get(name) {
                Some(values) => values.to_vec(),
                None if shown.table.has(name) => shown.table.numeric(name)?,
                None => {
                    return Err(Refusal::new(format!("the placements have no column `{name}`"))
                        .hint(
                            "without logged propensities: --propensity uniform for lists in random \
                             order, --examination for what users look at (`slate backtest examine`), \
                             or --estimators dm",
                        )
                        .into());
                }
            };
            if let Some(row) = values.iter().position(|p| *p > 1.0 || *p < 0.0) {
                let told = format!(
                    "`{name}` at row {row} is {}, expected a number above 0 and up to 1",
                    values[row]
                );
                return Err(Refusal::new(told).into());
            }
            values
        }
    };
    let choice = shown
        .lists()
        .iter()
        .filter(|rows| rows.len() > 1 || shown.is_single());
    let certain = |rows: std::ops::Range<usize>| rows.into_iter().all(|row| known[row] >= CERTAIN);
    let mut lists = 0;
    let mut fixed = 0;
    for rows in choice {
        lists += 1;
        fixed += usize::from(certain(rows));
    }
    if lists > 0 && fixed == lists {
        return Err(Refusal::new(
            "every propensity is 1: the logger showed one order and would have shown no other, so \
             nothing is known of any other",
        )
        .hint(
            "log some lists in random order (even 1 % helps), or weigh clicks by what users look at: \
             --examination FILE (`slate backtest examine`), or take the model's word: --estimators dm \
             --main dm",
        )
        .into());
    }
    Ok(Propensities::Known(known))
}

/// Differences with the largest weights clipped, mildest first; none for estimators that clip nothing.
fn clipped(
    log: &Log<'_>,
    targets: &[Target<'_>],
    main: Estimator,
    columns: &[Columns],
) -> Result<Vec<(f64, Vec<Change>)>> {
    let clip = |at: f64| match main {
        Estimator::Ips { .. } | Estimator::Snips => Some(Estimator::Ips { clip: at }),
        Estimator::Dr { .. } | Estimator::Sndr => Some(Estimator::Dr { clip: at }),
        _ => None,
    };
    if clip(1.0).is_none() {
        return Ok(Vec::new());
    }
    let mut positive: Vec<f64> = columns
        .iter()
        .flat_map(|columns| columns.weights.iter().copied().filter(|w| *w > 0.0))
        .collect();
    positive.sort_unstable_by(f64::total_cmp);
    if positive.is_empty() {
        return Ok(Vec::new());
    }
    let plain = Intervals {
        method: slate_eval::off_policy::IntervalMethod::Delta,
        ..Intervals::default()
    };
    let at = |share: f64| positive[((1.0 - share) * (positive.len() - 1) as f64) as usize];
    let mut limits = vec![at(CLIPPED / 10.0), at(CLIPPED)];
    limits.dedup();
    let mut differences = Vec::new();
    for limit in limits {
        if let Some(estimator) = clip(limit) {
            let estimates = estimate(log, targets, estimator, &plain)?;
            differences.push((limit, estimates.changes));
        }
    }
    Ok(differences)
}

/// Carries how unsure examination is into the intervals.
struct Widen<'a> {
    making: &'a Making<'a>,
    log: &'a Log<'a>,
    values: &'a [Values],
    draws: &'a [Vec<f64>],
    of_place: &'a [f64],
}

impl Widen<'_> {
    /// Estimates again under each draw of the examination; the variance between them is added, and the
    /// ends move out by as much.
    fn apply(&self, main: &mut Row) -> Result<()> {
        let plain = Intervals {
            method: slate_eval::off_policy::IntervalMethod::Delta,
            ..Intervals::default()
        };
        let mut each: Vec<Estimates> = Vec::with_capacity(self.draws.len());
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
                .map(|values| {
                    if values.foreseen {
                        making.of_order(values)
                    } else {
                        Ok(making.of_logger())
                    }
                })
                .collect::<Result<_>>()?;
            let targets: Vec<Target<'_>> = columns.iter().map(Columns::target).collect();
            each.push(estimate(self.log, &targets, main.estimator, &plain)?);
        }
        if each.len() < 2 {
            return Ok(());
        }
        let variance = |of: &dyn Fn(&Estimates) -> f64| {
            let values: Vec<f64> = each.iter().map(of).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            squares / (values.len() - 1) as f64
        };
        let wider = |error: f64, more: f64| (error * error + more).sqrt() / error;
        for at in 0..main.estimates.policies.len() {
            let more = variance(&|estimates| estimates.policies[at].value);
            let one = &mut main.estimates.policies[at];
            let ratio = if one.error > 0.0 {
                wider(one.error, more)
            } else {
                1.0
            };
            one.low = one.value - ratio * (one.value - one.low);
            one.high = one.value + ratio * (one.high - one.value);
            one.error *= ratio;
        }
        for at in 0..main.estimates.changes.len() {
            let more = variance(&|estimates| estimates.changes[at].difference);
            let one = &mut main.estimates.changes[at];
            let ratio = if one.error > 0.0 {
                wider(one.error, more)
            } else {
                1.0
            };
            one.low = one.difference - ratio * (one.difference - one.low);
            one.high = one.difference + ratio * (one.high - one.difference);
            one.error *= ratio;
        }
        Ok(())
    }
}
