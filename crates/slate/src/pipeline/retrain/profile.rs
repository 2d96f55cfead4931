//! What the data of a model looked like, kept with it: what the next month's is compared with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slate_eval::drift::{Drift, Reference};
use slate_features::{Dataset, DenseFeature};
use slate_types::{FormatVersion, Split};

use super::data::{ChampionFeatures, Features};
use super::job::{Job, read};
use super::log_check::{Found, LogCheck, Problem};
use crate::artefacts::manifest;
use crate::pipeline::calendar::{DAY, Month};
use crate::pipeline::stages::{Given, Need, Stage, Takes};

/// A dataset in a few numbers for each input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    format: FormatVersion,
    kind: String,
    month: String,
    pub(super) pages_a_day: f64,
    pub(super) events_a_page: f64,
    /// Days of logs before the first of these lists, as far as features look back: with fewer, history
    /// features are smaller than they will be.
    history_days: i64,
    /// Clicks and purchases of a placement.
    clicks: f64,
    purchases: f64,
    dense: BTreeMap<String, Reference>,
    categorical: BTreeMap<String, Reference>,
}

/// A feature beside what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moved {
    feature: String,
    #[serde(flatten)]
    drift: Drift,
    /// The p value after Holm's adjustment for all features.
    p_holm: f64,
}

impl Profile {
    /// Of the month's data as its own model reads them.
    pub(super) const FILE: &str = "profile.json";
    /// Of the same data as the model in use reads them.
    pub(super) const SEEN: &str = "seen.json";

    /// # Errors
    /// A file that is missing or no profile.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let value = manifest::read_json(file)?;
        serde_json::from_value(value).with_context(|| format!("`{}` is no profile", file.display()))
    }

    fn write(&self, file: &Path) -> Result<()> {
        manifest::write_json(file, &serde_json::to_value(self)?)
    }

    fn of(columns: &Columns, found: &Found, history_days: i64) -> Result<Self> {
        let numbers = columns.dense.iter();
        let dense = numbers.map(|(name, values)| {
            let reference = Reference::numeric(values.iter().copied());
            Ok((name.clone(), reference?))
        });
        let ids = columns.categorical.iter();
        let categorical =
            ids.map(|(name, ids)| Ok((name.clone(), Reference::ids(ids.iter().copied())?)));
        Ok(Self {
            format: manifest::FORMAT,
            kind: "profile".to_owned(),
            month: found.month.clone(),
            pages_a_day: found.pages_a_day(),
            events_a_page: found.events_a_page(),
            history_days,
            clicks: columns.clicks,
            purchases: columns.purchases,
            dense: dense.collect::<Result<_>>()?,
            categorical: categorical.collect::<Result<_>>()?,
        })
    }

    /// Every feature beside what it was, the one that moved most first.
    fn moved(&self, now: &Columns) -> Result<Vec<Moved>> {
        let mut moved = Vec::new();
        for (feature, values) in &now.dense {
            if let Some(before) = self.dense.get(feature) {
                moved.push((feature, before.compare_numbers(values.iter().copied())?));
            }
        }
        for (feature, ids) in &now.categorical {
            if let Some(before) = self.categorical.get(feature) {
                moved.push((feature, before.compare_ids(ids.iter().copied())?));
            }
        }
        let p: Vec<f64> = moved.iter().map(|(_, drift)| drift.p).collect();
        let holm = slate_eval::holm(&p);
        let pairs = moved.into_iter().zip(holm);
        let mut moved: Vec<Moved> = pairs
            .map(|((feature, drift), p_holm)| Moved {
                feature: feature.clone(),
                drift,
                p_holm,
            })
            .collect();
        moved.sort_by(|a, b| {
            b.drift
                .psi
                .total_cmp(&a.drift.psi)
                .then_with(|| a.feature.cmp(&b.feature))
        });
        Ok(moved)
    }
}

/// Rows of a dataset from a time on, by column; of all where none is as late.
struct Columns {
    /// NaN where the value is the one that stands for a missing one.
    dense: BTreeMap<String, Vec<f64>>,
    categorical: BTreeMap<String, Vec<u32>>,
    clicks: f64,
    purchases: f64,
}

impl Columns {
    fn of(folder: &Path, from: i64) -> Result<Self> {
        let dataset = Dataset::open(folder)?;
        let splits = &dataset.manifest().splits;
        let last = splits.values().filter_map(|split| split.last_ts).max();
        let from = if last.is_some_and(|last| last >= from) {
            from
        } else {
            i64::MIN
        };
        let map = dataset.map();
        let mut dense: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut categorical: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let (mut rows, mut clicks, mut purchases) = (0.0, 0.0, 0.0);
        for split in Split::ALL {
            let data = dataset.split(split)?;
            let lists = (0..data.lists.len() as u32).zip(&data.list_ts);
            let lists: Vec<u32> = lists
                .filter_map(|(list, ts)| (*ts >= from).then_some(list))
                .collect();
            let data = data.select(&lists);
            rows += data.rows() as f64;
            clicks += data.click.iter().map(|&y| f64::from(y)).sum::<f64>();
            purchases += data.purchase.iter().map(|&y| f64::from(y)).sum::<f64>();
            let width = map.dense.len();
            for (at, feature) in map.dense.iter().enumerate() {
                let missing = match feature {
                    DenseFeature::Numeric { fill, .. } => *fill as f32,
                    _ => f32::NAN,
                };
                let values = data.dense.iter().skip(at).step_by(width.max(1));
                let values = values.map(|&value| {
                    if value == missing {
                        f64::NAN
                    } else {
                        f64::from(value)
                    }
                });
                let own = dense.entry(feature.name().to_owned()).or_default();
                own.extend(values);
            }
            let width = map.categorical.len();
            for (at, feature) in map.categorical.iter().enumerate() {
                let ids = data.categorical.iter().skip(at).step_by(width.max(1));
                let own = categorical.entry(feature.name().to_owned()).or_default();
                own.extend(ids.copied());
            }
        }
        Ok(Self {
            dense,
            categorical,
            clicks: clicks / f64::max(rows, 1.0),
            purchases: purchases / f64::max(rows, 1.0),
        })
    }
}

/// Looks at the dataset: its own profile, and the model in use's beside it.
pub(super) struct DataCheck(pub(super) Arc<Job>);

impl DataCheck {
    pub(super) const NAME: &str = "data";
    pub(super) const FILE: &str = "data.json";
}

impl Stage for DataCheck {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::stage(LogCheck::NAME), Need::stage(Features::NAME)];
        if self.0.champion.is_some() {
            needs.push(Need::stage(ChampionFeatures::NAME));
        }
        needs
    }

    fn inputs(&self) -> Result<Value> {
        Ok(json!({ "checks": self.0.section.checks, "before": self.0.before_hashes()? }))
    }

    fn takes(&self) -> Takes {
        self.0.takes(false)
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let features = given.output(Features::NAME);
        let found = read(given.output(LogCheck::NAME), LogCheck::FILE)?;
        let found: Found = serde_json::from_value(found)?;
        let own = Columns::of(features, self.0.month.begins())?;
        let history = self.history_days();
        let profile = Profile::of(&own, &found, history)?;
        let mut problems = self.joined(features)?;
        let (mut moved, mut held) = (Vec::new(), true);
        if let Some(before) = &self.0.before {
            let now = Columns::of(given.output(ChampionFeatures::NAME), self.0.month.begins())?;
            problems.extend(self.rates(&own, &Profile::read(&before.sound)?));
            let seen = Profile::read(&before.seen)?;
            moved = seen.moved(&now)?;
            // Counts over days that were not logged yet grow by themselves.
            held = seen.history_days >= history;
            if held {
                let months = self.0.month.since(Month::parse(&seen.month)?).max(1);
                problems.extend(self.drifted(&moved, months));
            }
            Profile::of(&now, &found, history)?.write(&given.out.join(Profile::SEEN))?;
        }
        let value = json!({
            "format": manifest::FORMAT, "kind": "data check",
            "problems": problems, "drift": moved, "drift_enforced": held,
        });
        manifest::write_json(&given.out.join(Self::FILE), &value)?;
        profile.write(&given.out.join(Profile::FILE))
    }
}

impl DataCheck {
    /// Days of logs before the month, as far as features look back.
    fn history_days(&self) -> i64 {
        let attribution = self.0.file.attribution.clone().unwrap_or_default();
        let longest = attribution.history_days.iter().max().copied().unwrap_or(0);
        let begins = self.0.month.begins();
        let first = self
            .0
            .logs
            .first_time()
            .map_or(begins, |first| first.min(begins));
        ((begins - first) / DAY).min(i64::from(longest))
    }

    /// Where events and rows went, and whether enough is left to judge by.
    fn joined(&self, features: &Path) -> Result<Vec<Problem>> {
        let checks = &self.0.section.checks;
        let join = read(features, "join.json")?;
        let lines = join["join"].as_object().cloned().unwrap_or_default();
        let sum = |key: &str| -> f64 {
            let values = lines.values().map(|line| line[key].as_f64().unwrap_or(0.0));
            values.sum()
        };
        let events = sum("input").max(1.0);
        let rejects = join["rejects"].as_object().cloned().unwrap_or_default();
        let rejects: f64 = rejects.values().filter_map(Value::as_f64).sum();
        let rows = join["rows"].as_f64().unwrap_or(0.0) + rejects;
        let mut problems = Vec::new();
        for (what, share, most, key) in [
            (
                "events belong to no placement",
                sum("orphan") / events,
                checks.orphans,
                "orphans",
            ),
            (
                "events are there already",
                sum("duplicate") / events,
                checks.duplicates,
                "duplicates",
            ),
            (
                "rows cannot be used",
                rejects / rows.max(1.0),
                checks.rejects,
                "rejects",
            ),
        ] {
            if share > most {
                problems.push(Problem::new(
                    format!(
                        "{:.1} % of {what}, expected at most {:.1} %",
                        100.0 * share,
                        100.0 * most
                    ),
                    &format!(
                        "`slate validate {}` names rows; the limit is `retrain.checks.{key}`",
                        self.0.section.logs
                    ),
                ));
            }
        }
        let dataset = Dataset::open(features)?;
        let lists = dataset.manifest().splits[&Split::Test].lists;
        if lists < checks.lists {
            let told = format!(
                "the held-out window has {lists} lists with final labels, expected {} or more",
                checks.lists
            );
            let hint =
                "have the windows of all events closed? `retrain.lag_days` reads labels later";
            problems.push(Problem {
                unsound: false,
                ..Problem::new(told, hint)
            });
        }
        let newest = dataset.manifest().splits[&Split::Test].last_ts.unwrap_or(0);
        if newest < self.0.month.begins() {
            let told = format!(
                "the newest list with final labels is of {}, before the month began",
                super::job::date(newest)
            );
            let hint = "the longest window of [attribution] decides when labels are final: shorten it, or \
                        raise `retrain.lag_days`";
            problems.push(Problem {
                unsound: false,
                ..Problem::new(told, hint)
            });
        }
        Ok(problems)
    }

    fn rates(&self, now: &Columns, before: &Profile) -> Vec<Problem> {
        let most = self.0.section.checks.labels;
        let mut problems = Vec::new();
        for (what, now, then) in [
            ("clicks", now.clicks, before.clicks),
            ("purchases", now.purchases, before.purchases),
        ] {
            let factor = now / then;
            if then > 0.0 && !(1.0 / most..=most).contains(&factor) {
                problems.push(Problem::new(
                    format!(
                        "{now:.5} {what} a placement, {factor:.2} times that of the last sound month \
                         ({then:.5}), expected a factor within {most}"
                    ),
                    "are events lost? if the market is like that, raise `retrain.checks.labels`",
                ));
            }
        }
        problems
    }

    /// Features that moved by more than they may in so many months.
    fn drifted(&self, moved: &[Moved], months: u32) -> Vec<Problem> {
        let checks = &self.0.section.checks;
        let times = f64::from(months);
        let since = match months {
            1 => "the month before".to_owned(),
            _ => format!("{months} months before"),
        };
        let mut problems = Vec::new();
        for Moved { feature, drift, .. } in moved {
            let most = times * checks.psi;
            if drift.psi > most {
                problems.push(Problem::new(
                    format!(
                        "feature `{feature}` has a population stability index of {:.3} beside {since}, expected at \
                         most {most}",
                        drift.psi
                    ),
                    "does its column still mean the same? the limit for a month is `retrain.checks.psi`",
                ));
            }
            let most = times * checks.missing;
            if drift.missing_now - drift.missing_before > most {
                problems.push(Problem::new(
                    format!(
                        "feature `{feature}` is missing or unknown in {:.1} % of rows, {since} in {:.1} %, expected \
                         at most {:.1} % more",
                        100.0 * drift.missing_now,
                        100.0 * drift.missing_before,
                        100.0 * most
                    ),
                    "is its column still logged? the limit for a month is `retrain.checks.missing`",
                ));
            }
        }
        problems
    }
}
