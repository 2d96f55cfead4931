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
mod judging;
mod propensities;
mod rewards;
mod table_policy;
mod targets;
mod words;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use slate_eval::holm;
use slate_eval::off_policy::{
    Change, Choice, Estimates, Estimator, Intervals, Judgement, Log, Per, Target, WeightReport,
    estimate,
};
use slate_model::DeviceSpec;
use slate_types::{Progress, Seed};

use self::forecasts::Forecasts;
pub(crate) use self::forecasts::OutcomeKind;
use self::judging::{Judged, Judging, Widen};
pub(crate) use self::propensities::Asked;
pub(crate) use self::rewards::{Rewards, matured};
use self::targets::{Columns, Making, Propensities};
pub(crate) use self::words::{estimate_table, segment_table, weight_table};
use super::columns::Cluster;
use super::policy::{Policy, Values};
use super::shown::Shown;
use crate::config::Source;
use crate::console::Refusal;

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

/// One estimator on all policies.
#[derive(Clone)]
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
    /// Of each policy; none where nothing is weighed.
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
    let mut log = Log::new(shown.lists(), &rewards.of_rows, shown.positions());
    log.clusters = clusters.as_deref();
    log.top = settings.top.map(|top| top as u32);
    log.per = match (settings.unit, &units) {
        (Unit::Placement, _) => Per::Placement,
        (_, Some(units)) => Per::Numbered(units),
        (_, None) => Per::List,
    };
    let all = settings.estimators.iter().chain([&settings.main]);
    let weighed = all
        .clone()
        .any(|choice| choice.example().reads_propensities());
    let propensities = if weighed {
        propensities::read(shown, &settings.propensities, settings.top)?
    } else {
        Propensities::Unknown
    };
    let prefixes = all.clone().any(|choice| choice.example().reads_prefixes());
    let reads_model = all.clone().any(|choice| {
        let estimator = choice.example();
        estimator.reads_model() || estimator == Estimator::CascadeDr
    });
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
            (None | Some(OutcomeKind::Cells), true) => OutcomeKind::Cells,
            (Some(_), true) => {
                let told = "lists of one row have an outcome model of cells, and no other";
                return Err(Refusal::new(told).hint("leave --outcome out").into());
            }
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
    if forecasts.as_ref().is_some_and(Forecasts::is_of_lists) {
        let around = |choice: &&Choice| {
            let estimator = choice.example();
            let reads = estimator.reads_model() || estimator == Estimator::CascadeDr;
            reads && estimator != Estimator::Dm
        };
        let mut all = settings.estimators.iter().chain([&settings.main]);
        if let Some(choice) = all.find(around) {
            let told = format!(
                "`{}` weighs placements, and a cascade knows whole lists alone",
                choice.example()
            );
            return Err(Refusal::new(told)
                .hint("take dm, ips or snips, or another --outcome")
                .into());
        }
    }
    let given_prefix = match &settings.prefix {
        Some(name) => Some(shown.table.numeric(name)?),
        None => None,
    };
    let cell_numbers = details::cells(shown, &settings.cells)?;
    let making = Making {
        shown,
        propensities: &propensities,
        given_prefix: given_prefix.as_deref(),
        prefixes,
        top: settings.top.unwrap_or(usize::MAX),
        forecasts: forecasts.as_ref(),
        seed: settings.seed.derive("orders"),
        cells: cell_numbers.as_deref(),
    };
    progress.begin("weigh placements", Some(policies.len() as u64), "policies");
    let mut columns: Vec<Columns> = Vec::with_capacity(policies.len());
    for (at, policy) in policies.iter().enumerate() {
        let made = if let Source::Chances(name) = &policy.source {
            making.of_chances(name)
        } else if !single {
            making.of_values(&values[at])
        } else if policy.source == Source::Logged {
            Ok(making.of_logger())
        } else {
            making.of_table(&table_policy::of(policy, shown)?)
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

    progress.begin("estimate", None, "estimators");
    let one = |choice: &Choice| -> Result<Row> {
        let estimator = choice.of(&log, &targets)?;
        let estimates = estimate(&log, &targets, estimator, &intervals)?;
        Ok(Row {
            estimator,
            p_holm: p_of(&estimates),
            estimates,
        })
    };
    let made: Vec<Result<Row>> = settings.estimators.par_iter().map(one).collect();
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for (choice, row) in settings.estimators.iter().zip(made) {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => left_out.push((choice.example().to_string(), error.to_string())),
        }
    }
    let named = settings.main.of(&log, &targets)?;
    let mut main = match rows.iter().find(|row| row.estimator == named) {
        Some(row) => row.clone(),
        None => one(&Choice::Fixed(named))?,
    };
    progress.end();
    let widen = match &settings.propensities {
        Asked::Examination { of_place, draws } => Some(Widen {
            making: &making,
            log: &log,
            values: &values,
            draws,
            of_place,
        }),
        _ => None,
    };
    if let Some(widen) = &widen {
        let mut every: Vec<&mut Row> = rows.iter_mut().collect();
        every.push(&mut main);
        widen.apply(&mut every)?;
    }
    let Judged {
        weights,
        judgements,
        clipped,
    } = Judging {
        log: &log,
        columns: &columns,
        main: &main,
        intervals: &intervals,
        weighed,
        centred: !matches!(propensities, Propensities::Examination(_)),
    }
    .judge()?;
    // Where lists were in random order already, more of them are more of these; and of chances alone
    // nobody knows what else would be shown.
    let orders_all = !policies
        .iter()
        .any(|policy| matches!(policy.source, Source::Chances(_)));
    let random_lists = if !single && orders_all && !matches!(propensities, Propensities::Uniform) {
        (1..policies.len())
            .map(|at| {
                let pair = [&values[0], &values[at]];
                let difference = main.estimates.changes[at - 1].difference;
                let level = intervals.bootstrap.level;
                details::random_lists(shown, pair, &log, difference, level)
            })
            .collect::<Result<_>>()?
    } else {
        vec![None; changes]
    };
    let slots = if weighed {
        details::by_slot(&log, &targets)?
    } else {
        Vec::new()
    };
    let segments = match &settings.by {
        Some(column) => {
            let of = details::Segments {
                log: &log,
                columns: &columns,
                estimator: main.estimator,
                intervals: &intervals,
                names: policies.iter().map(|policy| policy.name.as_str()).collect(),
                widen: widen.as_ref(),
            };
            of.by(shown, column)?
        }
        None => Vec::new(),
    };
    // Any order is as good as another under `random`, so there is none to differ from.
    let unordered = |source: &Source| matches!(source, Source::Random | Source::Chances(_));
    let ordered = |at: usize| !single && !unordered(&policies[at].source);
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

/// Holm's p values of the changes.
fn p_of(estimates: &Estimates) -> Vec<f64> {
    let p: Vec<f64> = estimates.changes.iter().map(|change| change.p).collect();
    holm(&p)
}
