//! Experiments with arms: whether assignment is sound, and how arms differ.

mod arms;

use anyhow::Result;
use serde::Serialize;
use slate_eval::experiment::{AssignmentCheck, Trend, assignment_check, trend};
use slate_eval::holm;
use slate_eval::off_policy::Change;

use self::arms::Arms;
use super::backtest::{Rewards, matured};
use super::columns::Cluster;
use super::shown::Shown;
use crate::console::Refusal;

/// p value of the sizes of arms below which nothing else is to be believed.
const UNEQUAL: f64 = 0.001;
/// Share of the units that may have been in several arms.
const MOST_MIXED: f64 = 0.01;

/// What is asked of an experiment.
pub(crate) struct Asked<'a> {
    /// Column that names the arm.
    pub(crate) arm: &'a str,
    pub(crate) control: Option<&'a str>,
    /// Shares of the arms.
    pub(crate) planned: Vec<(String, String)>,
    /// What was assigned.
    pub(crate) cluster: Cluster,
    pub(crate) by: Option<&'a str>,
    /// Column known of each unit before.
    pub(crate) before: Option<&'a str>,
    /// The change hoped for as a share of the control, where the experiment is read daily.
    pub(crate) daily: Option<f64>,
    pub(crate) level: f64,
}

/// One arm.
#[derive(Serialize)]
pub(crate) struct Arm {
    pub(crate) name: String,
    /// Units assigned to it.
    pub(crate) clusters: usize,
    /// Units it should have.
    pub(crate) planned: f64,
    pub(crate) lists: usize,
}

/// One difference.
#[derive(Serialize)]
pub(crate) struct Found {
    /// The metric, segment or day.
    pub(crate) name: String,
    pub(crate) arms: String,
    /// Value of the control.
    pub(crate) control: f64,
    /// Value of the other arm.
    pub(crate) other: f64,
    #[serde(flatten)]
    pub(crate) change: Change,
    /// Over all of its table.
    pub(crate) p_holm: f64,
}

/// What came out.
#[derive(Serialize)]
pub(crate) struct Readout {
    /// `different`, `cannot_tell` or `unequal_assignment`.
    pub(crate) verdict: &'static str,
    pub(crate) sentence: String,
    pub(crate) assignment: AssignmentCheck,
    pub(crate) arms: Vec<Arm>,
    /// Units that were in several arms, and lists of none; both are left out.
    pub(crate) mixed: usize,
    pub(crate) lists_without_arm: usize,
    pub(crate) metrics: Vec<Found>,
    pub(crate) segments: Vec<Found>,
    pub(crate) days: Vec<Found>,
    pub(crate) trend: Option<Trend>,
}

/// A metric: rewards, and what they are divided by.
struct Metric {
    name: String,
    rewards: Vec<f64>,
    per: PerUnit,
}

#[derive(Clone, Copy)]
enum PerUnit {
    Placement,
    Page,
    List,
    Cluster,
}

/// Reads out an experiment.
///
/// # Errors
/// Columns that are missing or cannot be, fewer than two arms, no outcome at all.
pub(crate) fn read(shown: &Shown, asked: &Asked<'_>) -> Result<Readout> {
    if let Some(hoped) = asked.daily
        && !(hoped > 0.0 && hoped.is_finite())
    {
        let told = format!("--daily is {hoped}, expected a share above 0, such as 0.05");
        return Err(Refusal::new(told).into());
    }
    let (arms, mixed, without) = Arms::of(shown, asked)?;
    let sizes = arms.sizes();
    let planned = planned(&arms.names, &asked.planned)?;
    let counts: Vec<u64> = sizes.iter().map(|size| size.0 as u64).collect();
    let assignment = assignment_check(&counts, &planned)?;
    let all: u64 = counts.iter().sum();
    let shares: f64 = planned.iter().sum();
    let described: Vec<Arm> = arms
        .names
        .iter()
        .zip(&sizes)
        .zip(&planned)
        .map(|((name, &(clusters, lists)), share)| Arm {
            name: name.clone(),
            clusters,
            lists,
            planned: all as f64 * share / shares,
        })
        .collect();
    let metrics = metrics(shown, &arms)?;
    let every: Vec<usize> = (0..shown.lists().len()).collect();
    let mut found = Vec::new();
    for metric in &metrics {
        found.extend(arms.changes(&metric.name, metric, &every)?);
    }
    adjust(&mut found);
    // What is known before decides where it is given; it is a family of its own, so that looking at the
    // same outcome twice costs nothing.
    if let Some(column) = asked.before {
        let mut adjusted = Vec::new();
        for metric in &metrics {
            adjusted.extend(arms.with_before(metric, column)?);
        }
        adjust(&mut adjusted);
        found.extend(adjusted);
    }
    // What an experiment is about: purchases where there are any.
    let main = metrics
        .iter()
        .find(|metric| metric.name.starts_with("purchase"))
        .unwrap_or(&metrics[0]);
    let mut segments = Vec::new();
    if let Some(column) = asked.by {
        for (value, lists) in arms.by(column)? {
            segments.extend(arms.changes(&value, main, &lists)?);
        }
        adjust(&mut segments);
    }
    let mut days = Vec::new();
    let mut course = None;
    if shown.table.get_integers("ts").is_some() {
        for (day, lists) in arms.by("day")? {
            days.extend(arms.changes(&day, main, &lists)?);
        }
        adjust(&mut days);
        let first = arms.pair(1);
        let points: Vec<(f64, f64, f64)> = days
            .iter()
            .filter(|day| day.arms == first && day.change.error > 0.0)
            .filter_map(|day| {
                let date = chrono::NaiveDate::parse_from_str(&day.name, "%Y-%m-%d").ok()?;
                let at = f64::from(chrono::Datelike::num_days_from_ce(&date));
                Some((at, day.change.difference, day.change.error))
            })
            .collect();
        course = trend(&points)?;
    }
    let decides = match asked.before {
        Some(column) => less(&main.name, column),
        None => main.name.clone(),
    };
    let (verdict, sentence) = sentence(&found, &decides, &assignment, &arms, mixed);
    Ok(Readout {
        verdict,
        sentence,
        assignment,
        arms: described,
        mixed,
        lists_without_arm: without,
        metrics: found,
        segments,
        days,
        trend: course,
    })
}

fn sentence(
    found: &[Found],
    main: &str,
    assignment: &AssignmentCheck,
    arms: &Arms<'_>,
    mixed: usize,
) -> (&'static str, String) {
    if assignment.p < UNEQUAL {
        let told = format!(
            "The arms do not have their planned shares (p {:.2e}): something decides who is in which arm or is \
             logged, so nothing below can be trusted before it is known what.",
            assignment.p
        );
        return ("unequal_assignment", told);
    }
    let of_main: Vec<&Found> = found.iter().filter(|one| one.name == main).collect();
    let outside = |one: &&&Found| one.change.low > 0.0 || one.change.high < 0.0;
    let mut by_itself = of_main.iter().filter(outside);
    let sure = by_itself.clone().find(|one| one.p_holm < 1.0 - arms.level);
    let units: usize = arms.sizes().iter().map(|size| size.0).sum();
    if mixed as f64 > MOST_MIXED * (units + mixed) as f64 {
        let told = format!(
            "{mixed} of {} units were in several arms: whoever sees both is in neither, so nothing below can \
             be trusted before it is known why.",
            units + mixed
        );
        return ("unequal_assignment", told);
    }
    let note = if mixed > 0 {
        format!(" {mixed} units were in several arms and are left out.")
    } else {
        String::new()
    };
    if let Some(one) = sure {
        let told = format!(
            "{}: {} differ, {} (p {:.4}, {:.4} among all metrics).{note}",
            one.arms,
            one.name,
            share(one.change.difference, one),
            one.change.p,
            one.p_holm
        );
        return ("different", told);
    }
    let chance = by_itself.next();
    let interval = chance.or(of_main.first()).map_or(String::new(), |one| {
        format!(
            "; the interval of {} goes from {} to {}",
            one.arms,
            share(one.change.low, one),
            share(one.change.high, one)
        )
    });
    let among = chance.map_or(String::new(), |one| {
        // Metrics with what was known before taken out are judged among themselves.
        let taken = |found: &Found| found.name.contains(LESS);
        let family = found.iter().filter(|found| taken(found) == taken(one));
        format!(
            ", without 0 by itself (p {:.4}), but of {} comparisons one does so by chance more often than the \
             level allows (p {:.4} among all metrics)",
            one.change.p,
            family.count(),
            one.p_holm
        )
    });
    let told = format!("No difference in {main} is shown{interval}{among}.{note}");
    ("cannot_tell", told)
}

/// A difference as a share of the control, or as it is where the control earned nothing.
fn share(difference: f64, of: &Found) -> String {
    if of.control > 0.0 {
        format!("{:+.2} %", 100.0 * difference / of.control)
    } else {
        format!("{difference:+.4}")
    }
}

/// What stands before the column that was taken out.
const LESS: &str = ", less ";

/// The name of a metric with what was known before taken out.
fn less(metric: &str, column: &str) -> String {
    let what = metric.split(" per ").next().unwrap_or(metric);
    format!("{what} per unit{LESS}{column}")
}

/// Clicks, purchases and revenue, where the log has them.
fn metrics(shown: &Shown, arms: &Arms<'_>) -> Result<Vec<Metric>> {
    let table = &shown.table;
    matured(table)?;
    let page = if arms.page_of_list.is_some() {
        ("page", PerUnit::Page)
    } else {
        ("list", PerUnit::List)
    };
    let mut metrics = Vec::new();
    for (reward, column, unit) in [
        ("click", "click", ("placement", PerUnit::Placement)),
        ("purchase", "purchase", ("placement", PerUnit::Placement)),
        ("revenue", "price", page),
    ] {
        if !table.has(column) || (reward == "revenue" && !table.has("purchase")) {
            continue;
        }
        // A log without a single one has nothing to compare.
        if let Ok(rewards) = Rewards::of(table, Some(reward)) {
            let plural = if reward == "revenue" { "" } else { "s" };
            metrics.push(Metric {
                name: format!("{reward}{plural} per {}", unit.0),
                rewards: rewards.of_rows,
                per: unit.1,
            });
        }
    }
    if metrics.is_empty() {
        return Err(
            Refusal::new("the log has no click, purchase or revenue to compare arms by").into(),
        );
    }
    Ok(metrics)
}

/// Planned shares of the arms; equal ones where none are given.
fn planned(names: &[String], given: &[(String, String)]) -> Result<Vec<f64>> {
    if given.is_empty() {
        return Ok(vec![1.0; names.len()]);
    }
    for (name, _) in given {
        if !names.contains(name) {
            let told = format!("--planned names arm `{name}`, of which there is no list");
            return Err(Refusal::new(told)
                .hint(format!("arms are: {}", names.join(", ")))
                .into());
        }
    }
    let share = |name: &String| {
        let pair = given.iter().find(|(given, _)| given == name);
        let share = pair.and_then(|(_, share)| share.parse::<f64>().ok());
        share.filter(|share| *share > 0.0).ok_or_else(|| {
            let told = format!("--planned has no share above 0 for arm `{name}`");
            anyhow::Error::from(Refusal::new(told))
        })
    };
    names.iter().map(share).collect()
}

/// Holm's p values over a table.
fn adjust(found: &mut [Found]) {
    let p: Vec<f64> = found.iter().map(|one| one.change.p).collect();
    for (one, p) in found.iter_mut().zip(holm(&p)) {
        one.p_holm = p;
    }
}
