//! A uniform sample of all lists that a run and its ancestors were trained on.
//!
//! A list is kept where the hash of its id is among the `k` smallest (bottom-k sampling; Cohen and Kaplan 2007). Which
//! lists those are depends on no order, the sample of two sets is that of their samples, and a list that is
//! seen again counts once. Pieces of a split list have one id and stay together. A sample with room for more
//! than its ancestor had takes only lists with hashes that the ancestor would have kept, so that it stays uniform.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{Dataset, SplitData};
use slate_model::TrainOptions;
use slate_types::{Seed, Split};

use super::parent::Parent;
use crate::console::Refusal;

/// Folder of the sample in a run.
const FOLDER: &str = "replay";

/// Lists of the training part, and behind them those that the run before had kept and that are not among them.
pub(super) struct Seen {
    pub(super) data: SplitData,
    /// Lists of the training part.
    pub(super) fresh: usize,
    /// The largest hash of which the run before had kept every list, where it had left some out.
    below: Option<u64>,
}

impl Seen {
    /// # Errors
    /// A replay from a run that kept nothing, or over a feature map whose statistics are others by now.
    pub(super) fn new(
        train: SplitData,
        options: &TrainOptions,
        parent: Option<&Parent>,
        dataset: &Dataset,
    ) -> Result<Self> {
        let fresh = train.lists.len();
        let alone = |data| Self {
            data,
            fresh,
            below: None,
        };
        let (Some(parent), Some(update)) = (parent, &options.update) else {
            return Ok(alone(train));
        };
        let wanted = update.replay > 0.0;
        if !wanted && update.reservoir == 0 {
            return Ok(alone(train));
        }
        let (run, hint) = (parent.run.display(), "or set `train.update.replay = 0.0`");
        if wanted && parent.replay.is_null() {
            return Err(
                Refusal::new(format!("the run `{run}` kept no lists to replay"))
                    .hint(format!(
                        "train it with `train.update.reservoir` above 0, {hint}"
                    ))
                    .into(),
            );
        }
        if wanted && is_refitted(dataset, &parent.feature_map) {
            return Err(Refusal::new(format!(
                "the lists that the run `{run}` kept cannot be replayed: the statistics of the feature map \
                 were fitted anew since"
            ))
            .hint(format!("make the dataset without --refit-statistics, {hint}"))
            .into());
        }
        if parent.replay.is_null() || is_refitted(dataset, &parent.feature_map) {
            // The sample begins here.
            return Ok(alone(train));
        }
        let folder = parent.run.join(FOLDER);
        let kept = Dataset::open(&folder)
            .and_then(|kept| kept.split(Split::Train))
            .with_context(|| format!("cannot read the lists in `{}`", folder.display()))?;
        let new: BTreeSet<i64> = train.list_id.iter().copied().collect();
        let earlier: Vec<u32> = (0..kept.lists.len() as u32)
            .filter(|&list| !new.contains(&kept.list_id[list as usize]))
            .collect();
        Ok(Self {
            data: train.followed_by(&kept.select(&earlier)),
            fresh,
            below: parent.replay["below"].as_u64(),
        })
    }

    /// Writes the sample into the run `out`, where the options ask for one; what the manifest says of it, and the
    /// files.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(super) fn keep(
        &self,
        options: &TrainOptions,
        dataset: &Dataset,
        out: &Path,
    ) -> Result<(Option<Value>, Vec<String>)> {
        let most = options.update.as_ref().map_or(0, |update| update.reservoir);
        if most == 0 {
            return Ok((None, Vec::new()));
        }
        let (lists, below) = sample(&self.data.list_id, self.below, most);
        let kept = self.data.select(&lists);
        let folder = out.join(FOLDER);
        let told = || {
            format!(
                "cannot write the lists to replay into `{}`",
                folder.display()
            )
        };
        std::fs::create_dir(&folder).with_context(told)?;
        let files = dataset.write_lists(&folder, &kept).with_context(told)?;
        let files = files
            .iter()
            .map(|name| format!("{FOLDER}/{name}"))
            .collect();
        let note = json!({ "lists": kept.lists.len(), "rows": kept.rows(), "below": below });
        Ok((Some(note), files))
    }
}

/// Whether the statistics of a dataset's map were fitted anew since the map of this hash.
fn is_refitted(dataset: &Dataset, ancestor: &str) -> bool {
    let steps = &dataset.map().extensions;
    let first = steps.iter().position(|step| step.parent_sha256 == ancestor);
    first.is_some_and(|first| steps[first..].iter().any(|step| step.refitted))
}

/// The place of a list in the order by which lists are kept.
fn hash(list_id: i64) -> u64 {
    // A fixed seed: samples of all runs are of one order.
    Seed(0).derive("reservoir").index(list_id as u64).0
}

/// The lists with the `most` smallest hashes of ids, growing, and the largest hash of which every list is there
/// where some are left out.
fn sample(list_id: &[i64], bound: Option<u64>, most: u64) -> (Vec<u32>, Option<u64>) {
    let mut order: Vec<(u64, i64, u32)> = list_id
        .iter()
        .enumerate()
        .map(|(list, &id)| (hash(id), id, list as u32))
        .filter(|(hash, ..)| bound.is_none_or(|bound| *hash <= bound))
        .collect();
    order.sort_unstable();
    let mut ids: Vec<u64> = order.iter().map(|(hash, ..)| *hash).collect();
    ids.dedup();
    let below = if ids.len() as u64 > most {
        Some(ids[most as usize - 1])
    } else {
        bound
    };
    let kept = order
        .into_iter()
        .filter(|(hash, ..)| below.is_none_or(|below| *hash <= below));
    (kept.map(|(_, _, list)| list).collect(), below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that are kept, and the bound.
    fn kept(ids: &[i64], bound: Option<u64>, most: u64) -> (Vec<i64>, Option<u64>) {
        let (lists, below) = sample(ids, bound, most);
        (
            lists.iter().map(|&list| ids[list as usize]).collect(),
            below,
        )
    }

    #[test]
    fn samples_of_parts_make_the_sample_of_the_whole_in_any_order() {
        let all: Vec<i64> = (0..200).map(|id| id * 37 - 900).collect();
        let whole = kept(&all, None, 20);
        assert_eq!(whole.0.len(), 20);
        let mut backwards = all.clone();
        backwards.reverse();
        assert_eq!(kept(&backwards, None, 20), whole);
        let (first, bound) = kept(&all[..120], None, 20);
        // Lists 100 to 120 are seen twice.
        let seen: BTreeSet<i64> = first.iter().chain(&all[100..]).copied().collect();
        let seen: Vec<i64> = seen.into_iter().collect();
        assert_eq!(kept(&seen, bound, 20), whole);
        assert_eq!(kept(&whole.0, whole.1, 20), whole, "seen again");
        assert_eq!(kept(&all, None, 500).1, None);
        assert_eq!(kept(&all, None, 500).0.len(), 200);
    }

    #[test]
    fn a_larger_sample_takes_no_more_of_later_lists_than_of_earlier_ones() {
        let all: Vec<i64> = (0..2000).collect();
        let (first, bound) = kept(&all[..1000], None, 100);
        let seen: Vec<i64> = first.iter().chain(&all[1000..]).copied().collect();
        let (second, below) = kept(&seen, bound, 1000);
        assert_eq!(below, bound);
        let late = second.iter().filter(|id| **id >= 1000).count();
        // A share of 100 in 1000: the standard deviation is 9.5.
        assert!((65..135).contains(&late), "{late}");
    }

    #[test]
    fn pieces_of_a_list_stay_together_and_count_as_one() {
        let ids = [1, 1, 1, 2, 2, 3, 4, 4];
        let (lists, _) = kept(&ids, None, 2);
        let distinct: BTreeSet<i64> = lists.iter().copied().collect();
        assert_eq!(distinct.len(), 2);
        for id in distinct {
            let count = |of: &[i64]| of.iter().filter(|other| **other == id).count();
            assert_eq!(count(&lists), count(&ids));
        }
    }

    #[test]
    fn every_list_is_as_likely_as_any_other() {
        let ids: Vec<i64> = (0..10_000).collect();
        let (lists, _) = kept(&ids, None, 1000);
        let early = lists.iter().filter(|id| **id < 5000).count();
        // 1000 draws with probability 1/2: the standard deviation is 15.
        assert!((440..560).contains(&early), "{early}");
    }
}
