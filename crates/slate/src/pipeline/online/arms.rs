//! The log of an experiment by arms, and what each arm is worth.

use std::collections::BTreeMap;

use anyhow::Result;
use slate_eval::experiment::{Cuped, MixtureTest};
use slate_eval::off_policy::{
    Estimate, IntervalMethod, Intervals, Log, Per, Target, estimate, estimate_independent,
};
use slate_types::ListOffsets;

use super::{Asked, Found, Metric, PerUnit, less};
use crate::console::Refusal;
use crate::pipeline::columns::{Cluster, renumbered, values_of_lists};
use crate::pipeline::shown::Shown;

/// Values of a column that are looked at by themselves.
const MOST_SEGMENTS: usize = 100;

/// The log by arms.
pub(super) struct Arms<'a> {
    pub(super) shown: &'a Shown,
    pub(super) level: f64,
    daily: Option<f64>,
    /// Control first.
    pub(super) names: Vec<String>,
    /// Arm of each list; none for those left out.
    of_list: Vec<Option<usize>>,
    cluster_of_list: Vec<u32>,
    pub(super) page_of_list: Option<Vec<u32>>,
}

impl<'a> Arms<'a> {
    /// Also returns how many units were in several arms, and how many lists in none.
    pub(super) fn of(shown: &'a Shown, asked: &Asked<'_>) -> Result<(Self, usize, usize)> {
        let values = values_of_lists(&shown.table, asked.arm)?;
        let lists = shown.lists();
        let cluster_of_list = match asked.cluster.of_lists(&shown.table)? {
            Some(clusters) => clusters,
            None => (0..lists.len() as u32).collect(),
        };
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for value in &values {
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
        let mut of_list: Vec<Option<usize>> = values
            .iter()
            .map(|value| names.iter().position(|name| name == value))
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
    pub(super) fn sizes(&self) -> Vec<(usize, usize)> {
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

    pub(super) fn pair(&self, arm: usize) -> String {
        format!("{} - {}", self.names[arm], self.names[0])
    }

    /// Each arm but the control against it, in some lists.
    pub(super) fn changes(
        &self,
        name: &str,
        metric: &Metric,
        lists: &[usize],
    ) -> Result<Vec<Found>> {
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
    pub(super) fn with_before(&self, metric: &Metric, column: &str) -> Result<Vec<Found>> {
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
    pub(super) fn by(&self, column: &str) -> Result<Vec<(String, Vec<usize>)>> {
        let values = values_of_lists(&self.shown.table, column)?;
        let mut lists: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (list, value) in values.into_iter().enumerate() {
            lists.entry(value).or_default().push(list);
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
