//! Experiments with arms: whether assignment is sound, and how arms differ.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use slate_eval::experiment::{AssignmentCheck, Cuped, MixtureTest, Trend, assignment_check, trend};
use slate_eval::holm;
use slate_eval::off_policy::{
    Change, Estimate, IntervalMethod, Intervals, Log, Per, Target, estimate, estimate_independent,
};
use slate_types::ListOffsets;

use super::backtest::{Rewards, matured};
use super::columns::{Cluster, renumbered};
use super::shown::Shown;
use crate::console::Refusal;

/// p value of the sizes of arms below which nothing else is to be believed.
const UNEQUAL: f64 = 0.001;
/// Share of the units that may have been in several arms.
const MOST_MIXED: f64 = 0.01;
/// Values of a column that are looked at by themselves.
const MOST_SEGMENTS: usize = 100;

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

/// The log by arms.
struct Arms<'a> {
    shown: &'a Shown,
    level: f64,
    daily: Option<f64>,
    /// Control first.
    names: Vec<String>,
    /// Arm of each list; none for those left out.
    of_list: Vec<Option<usize>>,
    cluster_of_list: Vec<u32>,
    page_of_list: Option<Vec<u32>>,
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
    let sure = of_main.iter().find(|one| {
        (one.change.low > 0.0 || one.change.high < 0.0) && one.p_holm < 1.0 - arms.level
    });
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
    let widest = of_main.first().map_or(String::new(), |one| {
        format!(
            "; the interval of {} goes from {} to {}",
            one.arms,
            share(one.change.low, one),
            share(one.change.high, one)
        )
    });
    let told = format!("No difference in {main} is shown{widest}.{note}");
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

impl<'a> Arms<'a> {
    /// Also returns how many units were in several arms, and how many lists in none.
    fn of(shown: &'a Shown, asked: &Asked<'_>) -> Result<(Self, usize, usize)> {
        let values = shown.table.text(asked.arm)?;
        let lists = shown.lists();
        let cluster_of_list = match asked.cluster.of_lists(&shown.table)? {
            Some(clusters) => clusters,
            None => (0..lists.len() as u32).collect(),
        };
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for rows in lists.iter() {
            let value = values[rows.start].as_str();
            if let Some(row) = rows.clone().find(|&row| values[row] != value) {
                let told = format!(
                    "`{}` is `{value}` at row {} and `{}` at row {row} of one list",
                    asked.arm, rows.start, values[row]
                );
                return Err(Refusal::new(told).into());
            }
            *sizes.entry(value).or_default() += 1;
        }
        let without = sizes.remove("").unwrap_or(0);
        let mut names: Vec<String> = sizes.keys().map(|&name| name.to_owned()).collect();
        if names.len() < 2 {
            let told = format!(
                "`{}` names {} arm, expected at least two",
                asked.arm,
                names.len()
            );
            return Err(Refusal::new(told).into());
        }
        if let Some(control) = asked.control {
            let at = names
                .iter()
                .position(|name| name == control)
                .ok_or_else(|| {
                    Refusal::new(format!("no list is of arm `{control}`"))
                        .hint(format!("arms are: {}", names.join(", ")))
                })?;
            let control = names.remove(at);
            names.insert(0, control);
        }
        let mut of_list: Vec<Option<usize>> = lists
            .iter()
            .map(|rows| names.iter().position(|name| *name == values[rows.start]))
            .collect();
        // A unit in several arms has seen all of them.
        let clusters = cluster_of_list
            .iter()
            .max()
            .map_or(0, |most| *most as usize + 1);
        let mut first: Vec<Option<usize>> = vec![None; clusters];
        let mut mixed = vec![false; clusters];
        for (arm, &cluster) in of_list.iter().zip(&cluster_of_list) {
            let seen = &mut first[cluster as usize];
            if let (Some(arm), Some(seen)) = (arm, *seen) {
                mixed[cluster as usize] |= *arm != seen;
            }
            *seen = seen.or(*arm);
        }
        for (arm, &cluster) in of_list.iter_mut().zip(&cluster_of_list) {
            if mixed[cluster as usize] {
                *arm = None;
            }
        }
        let page_of_list = if shown.table.has("page_id") {
            Cluster::Page.of_lists(&shown.table)?
        } else {
            None
        };
        let arms = Self {
            shown,
            level: asked.level,
            daily: asked.daily,
            names,
            of_list,
            cluster_of_list,
            page_of_list,
        };
        let count = mixed.iter().filter(|mixed| **mixed).count();
        Ok((arms, count, without))
    }

    /// Units and lists of each arm.
    fn sizes(&self) -> Vec<(usize, usize)> {
        (0..self.names.len())
            .map(|arm| {
                let lists = (0..self.of_list.len()).filter(|&list| self.of_list[list] == Some(arm));
                let mut clusters: Vec<u32> = lists.map(|list| self.cluster_of_list[list]).collect();
                let lists = clusters.len();
                clusters.sort_unstable();
                clusters.dedup();
                (clusters.len(), lists)
            })
            .collect()
    }

    fn pair(&self, arm: usize) -> String {
        format!("{} - {}", self.names[arm], self.names[0])
    }

    /// Each arm but the control against it, in some lists.
    fn changes(&self, name: &str, metric: &Metric, lists: &[usize]) -> Result<Vec<Found>> {
        let Some(control) = self.value(metric, lists, 0)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for arm in 1..self.names.len() {
            if let Some(other) = self.value(metric, lists, arm)? {
                found.push(self.found(name, arm, &control, &other)?);
            }
        }
        Ok(found)
    }

    fn found(
        &self,
        name: &str,
        arm: usize,
        control: &(Estimate, usize),
        other: &(Estimate, usize),
    ) -> Result<Found> {
        let mut change =
            estimate_independent((&control.0, control.1), (&other.0, other.1), self.level)?;
        if let Some(hoped) = self.daily {
            let variance = change.error * change.error;
            let hoped = hoped * control.0.value.abs();
            let mut test = MixtureTest::new((hoped * hoped).max(f64::MIN_POSITIVE), self.level)?;
            change.p = test.read(change.difference, variance);
            let half = test.half_width(variance);
            change.low = change.difference - half;
            change.high = change.difference + half;
        }
        Ok(Found {
            name: name.to_owned(),
            arms: self.pair(arm),
            control: control.0.value,
            other: other.0.value,
            change,
            p_holm: f64::NAN,
        })
    }

    /// The value of a metric in the lists of an arm, and how many units it is over; none without lists.
    fn value(
        &self,
        metric: &Metric,
        lists: &[usize],
        arm: usize,
    ) -> Result<Option<(Estimate, usize)>> {
        let own: Vec<usize> = lists
            .iter()
            .copied()
            .filter(|&list| self.of_list[list] == Some(arm))
            .collect();
        if own.is_empty() {
            return Ok(None);
        }
        let of_all = self.shown.lists();
        let offsets = ListOffsets::from_lengths(own.iter().map(|&l| of_all.range(l).len() as u64))?;
        let rewards: Vec<f64> = own
            .iter()
            .flat_map(|&list| metric.rewards[of_all.range(list)].iter().copied())
            .collect();
        let renumber = |numbers: &[u32]| renumbered(own.iter().map(|&list| numbers[list]));
        let clusters = renumber(&self.cluster_of_list);
        let pages = self.page_of_list.as_deref().map(renumber);
        let (slots, ones) = (vec![0; rewards.len()], vec![1.0; rewards.len()]);
        let mut log = Log::new(&offsets, &rewards, &slots);
        log.clusters = Some(&clusters);
        log.per = match (metric.per, &pages) {
            (PerUnit::Placement, _) => Per::Placement,
            (PerUnit::Page, Some(pages)) => Per::Numbered(pages),
            (PerUnit::Cluster, _) => Per::Numbered(&clusters),
            _ => Per::List,
        };
        let mut intervals = Intervals {
            method: IntervalMethod::Delta,
            ..Intervals::default()
        };
        intervals.bootstrap.level = self.level;
        let estimates = estimate(&log, &[Target::new(&ones)], "ips".parse()?, &intervals)?;
        Ok(Some((estimates.policies[0], estimates.clusters)))
    }

    /// A metric per unit with what was known of the unit before taken out.
    fn with_before(&self, metric: &Metric, column: &str) -> Result<Vec<Found>> {
        let known = self.shown.table.numeric(column)?;
        let lists = self.shown.lists();
        let clusters = self
            .cluster_of_list
            .iter()
            .max()
            .map_or(0, |most| *most as usize + 1);
        let mut earned = vec![0.0; clusters];
        let mut before = vec![f64::NAN; clusters];
        let mut row_of = vec![None; clusters];
        for (list, rows) in lists.iter().enumerate() {
            let cluster = self.cluster_of_list[list] as usize;
            if self.of_list[list].is_none() {
                continue;
            }
            let value = known[rows.start];
            if rows.clone().any(|row| known[row] != value)
                || row_of[cluster].is_some_and(|row: usize| known[row] != value)
            {
                let told = format!("`{column}` differs within a unit, at row {}", rows.start);
                return Err(Refusal::new(told)
                    .hint("it must be what was known of the unit before the experiment")
                    .into());
            }
            before[cluster] = value;
            row_of[cluster].get_or_insert(rows.start);
            earned[cluster] += metric.rewards[rows].iter().sum::<f64>();
        }
        let assigned: Vec<usize> = (0..clusters).filter(|&c| row_of[c].is_some()).collect();
        let pick = |values: &[f64]| assigned.iter().map(|&c| values[c]).collect::<Vec<f64>>();
        let cuped = Cuped::fit(&pick(&earned), &pick(&before))?;
        // The adjusted sum of a unit stands at its first row.
        let mut rewards = vec![0.0; known.len()];
        for &cluster in &assigned {
            if let Some(row) = row_of[cluster] {
                rewards[row] = cuped.adjust(earned[cluster], before[cluster]);
            }
        }
        let adjusted = Metric {
            name: less(&metric.name, column),
            rewards,
            per: PerUnit::Cluster,
        };
        let every: Vec<usize> = (0..lists.len()).collect();
        self.changes(&adjusted.name, &adjusted, &every)
    }

    /// Lists by the value of a column, which those of a list share.
    fn by(&self, column: &str) -> Result<Vec<(String, Vec<usize>)>> {
        let values = self.shown.table.text(column)?;
        let mut lists: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (list, rows) in self.shown.lists().iter().enumerate() {
            if let Some(row) = rows.clone().find(|&row| values[row] != values[rows.start]) {
                let told = format!(
                    "`{column}` is `{}` at row {} and `{}` at row {row} of one list",
                    values[rows.start], rows.start, values[row]
                );
                return Err(Refusal::new(told)
                    .hint("segments are of whole lists")
                    .into());
            }
            lists
                .entry(values[rows.start].clone())
                .or_default()
                .push(list);
        }
        if lists.len() > MOST_SEGMENTS && column != "day" {
            let told = format!(
                "`{column}` has {} values, expected at most {MOST_SEGMENTS}",
                lists.len()
            );
            return Err(Refusal::new(told).into());
        }
        Ok(lists.into_iter().collect())
    }
}

/// The name of a metric with what was known before taken out.
fn less(metric: &str, column: &str) -> String {
    let what = metric.split(" per ").next().unwrap_or(metric);
    format!("{what} per unit, less {column}")
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
