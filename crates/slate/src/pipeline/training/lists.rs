//! The lists that each epoch trains on: all that are new, or those of a day, and a share of earlier ones.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::DateTime;
use slate_features::{BatchOptions, Dataset, SplitData, batches_of};
use slate_model::{Ahead, Batches, BoxError, Ranker, TrainConfig};
use slate_types::{Batch, FeatureShape, Seed, Silent, Split};

use super::reservoir::Seen;
use super::validation::{Judged, mean_ndcg};
use super::{outcome, scoring};
use crate::console::Refusal;

const DAY: i64 = 24 * 3_600_000_000;

/// The lists of a UTC day.
struct Day {
    name: String,
    lists: Vec<u32>,
}

/// New lists, shuffled anew in each epoch, with earlier ones drawn anew among them.
pub(super) struct Lists<'a> {
    data: &'a SplitData,
    shape: &'a FeatureShape,
    per_batch: usize,
    seed: Seed,
    /// Lists of `data` that are new; the others are behind them.
    fresh: usize,
    /// Earlier lists for each new one.
    replay: f64,
    days: Option<Vec<Day>>,
    judged: Judged,
}

impl<'a> Lists<'a> {
    /// # Errors
    /// Epochs that are days, of lists without a time.
    pub(super) fn new(
        seen: &'a Seen,
        config: &TrainConfig,
        shape: &'a FeatureShape,
        dataset: &Dataset,
        seed: Seed,
    ) -> Result<Self> {
        let update = config.update();
        let by_day = update.is_some_and(|update| update.by_day);
        Ok(Self {
            data: &seen.data,
            shape,
            per_batch: config.batch_lists(),
            seed: seed.derive("batches"),
            fresh: seen.fresh,
            replay: update.map_or(0.0, |update| update.replay),
            days: by_day.then(|| days(seen, dataset)).transpose()?,
            judged: outcome(config),
        })
    }

    fn day(&self, epoch: u32) -> Option<&Day> {
        self.days.as_ref()?.get(epoch as usize - 1)
    }

    /// Number of new and of earlier lists in an epoch.
    fn counts(&self, epoch: u32) -> (usize, usize) {
        let new = self.day(epoch).map_or(self.fresh, |day| day.lists.len());
        let earlier = self.data.lists.len() - self.fresh;
        (
            new,
            ((self.replay * new as f64).round() as usize).min(earlier),
        )
    }

    fn of_epoch(&self, epoch: u32) -> Vec<u32> {
        let new = self.day(epoch).map(|day| day.lists.clone());
        let mut lists = new.unwrap_or_else(|| (0..self.fresh as u32).collect());
        let (_, count) = self.counts(epoch);
        if count > 0 {
            let seed = self.seed.derive("replay").index(epoch.into());
            let mut earlier: Vec<u32> = (self.fresh as u32..self.data.lists.len() as u32).collect();
            earlier.sort_unstable_by_key(|&list| (seed.index(list.into()).0, list));
            lists.extend(&earlier[..count]);
        }
        lists
    }
}

/// The new lists by their days, in the order of time.
fn days(seen: &Seen, dataset: &Dataset) -> Result<Vec<Day>> {
    let counts = dataset.manifest().splits.get(&Split::Train);
    if counts.is_none_or(|counts| counts.first_ts.is_none()) {
        return Err(Refusal::new(
            "`train.update.by_day` is set, but the lists of the dataset have no time",
        )
        .hint("leave it out: epochs are passes over all lists then")
        .into());
    }
    let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (list, ts) in seen.data.list_ts[..seen.fresh].iter().enumerate() {
        days.entry(ts.div_euclid(DAY))
            .or_default()
            .push(list as u32);
    }
    let named = days.into_iter().map(|(day, lists)| {
        let time = DateTime::from_timestamp_micros(day * DAY).context("a day out of range")?;
        let name = time.format("%Y-%m-%d").to_string();
        Ok(Day { name, lists })
    });
    named.collect()
}

impl Batches for Lists<'_> {
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let options = BatchOptions {
            lists_per_batch: self.per_batch,
            shuffle: Some((self.seed, epoch)),
            bucket_by_length: true,
            skip,
        };
        let lists = self.of_epoch(epoch);
        Box::new(batches_of(self.data, self.shape, lists, options).map(|(_, batch)| batch))
    }

    fn lists_per_epoch(&self) -> usize {
        self.lists_in(1)
    }

    fn epochs(&self) -> Option<u32> {
        self.days.as_ref().map(|days| days.len() as u32)
    }

    fn lists_in(&self, epoch: u32) -> usize {
        let (new, earlier) = self.counts(epoch);
        new + earlier
    }

    fn ahead(&mut self, epoch: u32, ranker: &Ranker) -> Result<Option<Ahead>, BoxError> {
        let Some(day) = self.day(epoch) else {
            return Ok(None);
        };
        let lists = self.data.select(&day.lists);
        let scored = scoring::score_split(ranker, &lists, self.shape, &Silent)?;
        let outcomes = self.judged.of(&lists);
        Ok(Some(Ahead {
            day: day.name.clone(),
            lists: day.lists.len(),
            metric: self.judged.metric_name(),
            value: mean_ndcg(&lists.lists, &scored.score, outcomes)?,
        }))
    }
}
