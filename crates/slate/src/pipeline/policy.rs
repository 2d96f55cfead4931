//! Policies: a value for every placement, and how it becomes an order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use slate_allocate::{Exploration, OrderFormula};
use slate_calibrate::CalibratorFile;
use slate_model::DeviceSpec;
use slate_types::Progress;

use super::calibration;
use super::scoring;
use super::shown::Shown;
use crate::artefacts::scores::ScoreTable;
use crate::config::{PolicyFile, Source};
use crate::console::Refusal;

/// Views that every item is taken to have had, with the rewards that are average so far.
const POPULARITY_PRIOR: f64 = 20.0;

/// A policy as its file describes it.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) file: PolicyFile,
    pub(crate) source: Source,
}

/// What a policy says of placements.
pub(crate) struct Values {
    /// One finite value per row: larger is shown earlier.
    pub(crate) of_rows: Vec<f64>,
    pub(crate) explore: Exploration,
    /// Whether the values follow from what is known before anything is shown. Those of the logged
    /// order do not.
    pub(crate) foreseen: bool,
}

impl Policy {
    /// Reads a policy's file.
    ///
    /// # Errors
    /// As [`PolicyFile::read`].
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let (file, source) = PolicyFile::read(path)?;
        Ok(Self {
            name: file.name.clone().unwrap_or_default(),
            path: path.to_owned(),
            file,
            source,
        })
    }

    /// The value of every placement. `rewards` are what `popularity` counts.
    ///
    /// # Errors
    /// A source that is missing or of other placements, scores that are no probabilities where the
    /// formula needs them.
    pub(crate) fn values(
        &self,
        shown: &Shown,
        rewards: Option<&[f64]>,
        device: DeviceSpec,
        progress: &dyn Progress,
    ) -> Result<Values> {
        let mut values = self
            .scores(shown, rewards, device, progress)
            .with_context(|| format!("cannot apply the policy `{}`", self.path.display()))?;
        if let Some(order) = &self.file.order {
            values = self
                .ordered(order, shown, values)
                .with_context(|| format!("cannot apply the policy `{}`", self.path.display()))?;
        }
        Ok(Values {
            of_rows: values,
            explore: self.file.explore,
            foreseen: self.source != Source::Logged,
        })
    }

    fn scores(
        &self,
        shown: &Shown,
        rewards: Option<&[f64]>,
        device: DeviceSpec,
        progress: &dyn Progress,
    ) -> Result<Vec<f64>> {
        let table = &shown.table;
        match &self.source {
            Source::Logged => Ok(shown
                .places
                .iter()
                .map(|&place| -f64::from(place))
                .collect()),
            Source::Random => Ok(vec![0.0; table.rows()]),
            Source::Column(name) => {
                if name == "score" && table.score.iter().all(|&score| score == 0.0) {
                    return Err(Refusal::new("the placements have no `score`")
                        .hint("score them with `slate score`, or name a column: column:NAME")
                        .into());
                }
                table.numeric(name)
            }
            Source::Popularity => popularity(shown, rewards),
            Source::Scores(path) => {
                let scored = ScoreTable::read(path)?;
                let wrong = || {
                    Refusal::new(format!("`{}` has other placements", path.display()))
                        .hint("score the same split of the same dataset")
                };
                // The file may have the rows that --where left out.
                let whole = scored.list_id == table.list_id;
                let pick = |values: Vec<i64>| {
                    if whole { values } else { shown.of_kept(values) }
                };
                if !whole && !shown.may_pick(scored.rows()) {
                    return Err(wrong().into());
                }
                let ids = |table: &ScoreTable| table.get_integers("item_id").map(<[i64]>::to_vec);
                if pick(scored.list_id.clone()) != table.list_id
                    || ids(&scored).map(pick) != ids(table)
                {
                    return Err(wrong().into());
                }
                Ok(if whole {
                    scored.score
                } else {
                    shown.of_kept(scored.score)
                })
            }
            Source::Run(run) => {
                let Some((dataset, split)) = &shown.dataset else {
                    return Err(Refusal::new(
                        "a run scores datasets, and these are placements only",
                    )
                    .hint("pass --data DATASET, without --where, or score them first: scores:FILE")
                    .into());
                };
                let runs = [run.clone()];
                let scored = scoring::by_runs(&runs, dataset, *split, device, progress)?;
                Ok(shown.of_kept(scored.score))
            }
            // Nothing is ordered: what is weighed is read off the column.
            Source::Chances(name) => {
                table.numeric(name)?;
                Ok(vec![0.0; table.rows()])
            }
            Source::Table(_) => Err(Refusal::new(
                "a table of probabilities by item and slot orders no lists of several rows",
            )
            .hint("it is for logs whose lists have one row each")
            .into()),
        }
    }

    fn ordered(&self, order: &OrderFormula, shown: &Shown, scores: Vec<f64>) -> Result<Vec<f64>> {
        let table = &shown.table;
        let probabilities = match &self.file.calibrator {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the calibrator `{}`", path.display()))?;
                let calibrator = CalibratorFile::from_json(&text)
                    .with_context(|| format!("cannot use the calibrator `{}`", path.display()))?;
                let mut scored = table.clone();
                scored.score = scores;
                calibration::apply(&calibrator, &scored)?
            }
            None => scores,
        };
        if let Some(row) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let told = format!(
                "[order] weighs probabilities, and the score at row {row} is {}",
                probabilities[row]
            );
            return Err(Refusal::new(told)
                .hint("name a calibrator, which makes scores probabilities")
                .into());
        }
        let money = |name: &str, exponent: f64| -> Result<Option<&[f64]>> {
            match table.get(name) {
                None if exponent != 0.0 => Err(Refusal::new(format!(
                    "[order] weighs `{name}`, which the placements do not have"
                ))
                .into()),
                column => Ok(column),
            }
        };
        let prices = money("price", order.price)?;
        let rates = money("ad_rate", order.ad_rate)?;
        let known = |column: Option<&[f64]>, row: usize| {
            column
                .map(|column| column[row])
                .filter(|value| !value.is_nan())
        };
        let value =
            |(row, p): (usize, &f64)| order.value(*p, known(prices, row), known(rates, row));
        Ok(probabilities.iter().enumerate().map(value).collect())
    }
}

/// Rewards per view of each row's item in lists of an earlier time, with a prior of the rate so far.
fn popularity(shown: &Shown, rewards: Option<&[f64]>) -> Result<Vec<f64>> {
    let need = |name: &str| {
        shown.table.get_integers(name).ok_or_else(|| {
            let told = format!("the placements have no column `{name}`, which popularity needs");
            anyhow::Error::from(Refusal::new(told))
        })
    };
    let (times, items) = (need("ts")?, need("item_id")?);
    let rewards = rewards.ok_or_else(|| {
        Refusal::new("popularity counts rewards, and the placements have none")
            .hint("name the rewards, or a column of the item's rate: column:NAME")
    })?;
    let lists: Vec<std::ops::Range<usize>> = shown.lists().iter().collect();
    let mut order: Vec<usize> = (0..lists.len()).collect();
    order.sort_by_key(|&list| times[lists[list].start]);
    let mut counts: HashMap<i64, [f64; 2]> = HashMap::new();
    let mut all = [0.0_f64; 2];
    let mut values = vec![0.0; rewards.len()];
    let same_time = |a: &usize, b: &usize| times[lists[*a].start] == times[lists[*b].start];
    for together in order.chunk_by(same_time) {
        let rate = if all[1] > 0.0 { all[0] / all[1] } else { 0.0 };
        let rows = || together.iter().flat_map(|&list| lists[list].clone());
        for row in rows() {
            let [earned, views] = counts.get(&items[row]).copied().unwrap_or_default();
            values[row] = (earned + POPULARITY_PRIOR * rate) / (views + POPULARITY_PRIOR);
        }
        for row in rows() {
            for sums in [counts.entry(items[row]).or_default(), &mut all] {
                sums[0] += rewards[row];
                sums[1] += 1.0;
            }
        }
    }
    Ok(values)
}
