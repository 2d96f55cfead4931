//! Padded batches of one part of a dataset: what training and scoring read.
//!
//! Each list is in one batch, once. Without a shuffle lists come in their own order, batch after
//! batch. With one, the order depends on the seed and the epoch alone, so an epoch can be
//! repeated, and a run resumed in its middle, on any machine. With `bucket_by_length`, lists of
//! similar length share a batch, which wastes less padding; a shuffle then mixes lists of equal
//! length and the order of batches.
//!
//! ```
//! use slate_features::{BatchOptions, batches};
//! # use slate_features::SplitData;
//! # use slate_types::{FeatureShape, ListOffsets, Seed};
//! # let lists = ListOffsets::from_lengths([2, 1, 3])?;
//! # let data = SplitData {
//! #     lists, dense: vec![0.5; 6], categorical: vec![], grade: vec![0; 6], click: vec![0; 6],
//! #     purchase: vec![0; 6], weight: vec![1.0; 6], slot: vec![0; 6], propensity: vec![1.0; 6],
//! #     price: vec![1.0; 6], ad_rate: vec![0.0; 6], raw_score: vec![0.0; 6], item: vec![0; 6],
//! #     impression: vec![0; 6], list_id: vec![0; 3], list_ts: vec![0; 3],
//! #     extras: Default::default(),
//! # };
//! # let shape = FeatureShape { dense: 1, ..Default::default() };
//! let options = BatchOptions { lists_per_batch: 2, shuffle: None, bucket_by_length: false, skip: 0 };
//! let (lists, batch) = batches(&data, &shape, options).next().expect("three lists");
//! assert_eq!(lists, [0, 1]);
//! assert_eq!(batch.mask, [true, true, true, false]);
//! # Ok::<(), slate_types::OffsetsError>(())
//! ```

use slate_types::{Batch, FeatureShape, ListHistory, Seed, SlotIds};

use crate::data::SplitData;
use crate::ragged::{History, Ragged};

/// How lists are put into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Lists in each batch but the last, which may have fewer; 0 is read as 1.
    pub lists_per_batch: usize,
    /// Seed and epoch of the order, or none for the order on disk.
    pub shuffle: Option<(Seed, u32)>,
    /// Whether lists of similar length share a batch.
    pub bucket_by_length: bool,
    /// Batches to leave out at the beginning.
    pub skip: usize,
}

/// The batches of `data`, each with the indices of its lists in `data`, first list first.
///
/// # Shapes
/// As [`Batch`] says, `L` being the longest list of each batch.
pub fn batches<'a>(
    data: &'a SplitData,
    shape: &FeatureShape,
    options: BatchOptions,
) -> impl Iterator<Item = (Vec<u32>, Batch)> + Send + use<'a> {
    let all = (0..data.lists.len() as u32).collect();
    batches_of(data, shape, all, options)
}

/// The batches of some lists of `data`, each once, as [`batches`] has those of all.
///
/// # Shapes
/// - lists: indices below the number of lists.
pub fn batches_of<'a>(
    data: &'a SplitData,
    shape: &FeatureShape,
    lists: Vec<u32>,
    options: BatchOptions,
) -> impl Iterator<Item = (Vec<u32>, Batch)> + Send + use<'a> {
    let vectors = data.vector_width();
    let (dense, categorical) = SplitData::widths(shape, vectors);
    let plan = plan(data, lists, options).into_iter().skip(options.skip);
    plan.map(move |lists| {
        let batch = pad(data, dense, categorical, &lists);
        (lists, batch)
    })
}

/// Number of batches of an epoch.
pub fn batch_count(lists: usize, options: BatchOptions) -> usize {
    lists.div_ceil(options.lists_per_batch.max(1))
}

/// The lists of each batch.
fn plan(data: &SplitData, mut lists: Vec<u32>, options: BatchOptions) -> Vec<Vec<u32>> {
    let seed = options
        .shuffle
        .map(|(seed, epoch)| seed.derive("batches").index(epoch.into()));
    if let Some(seed) = seed {
        shuffle(&mut lists, seed.derive("lists"));
    }
    if options.bucket_by_length {
        // Stable, so lists of equal length stay shuffled.
        lists.sort_by_key(|&list| data.lists.range(list as usize).len());
    }
    let mut plan: Vec<Vec<u32>> = lists
        .chunks(options.lists_per_batch.max(1))
        .map(<[u32]>::to_vec)
        .collect();
    if let Some(seed) = seed.filter(|_| options.bucket_by_length) {
        shuffle(&mut plan, seed.derive("order"));
    }
    plan
}

/// Fisher and Yates' shuffle, with one independent number for each swap.
fn shuffle<T>(items: &mut [T], seed: Seed) {
    for last in (1..items.len()).rev() {
        let other = (seed.index(last as u64).unit() * (last + 1) as f64) as usize;
        items.swap(last, other.min(last));
    }
}

/// `own_width` numbers of a row are its own, the vectors of its items and of its list's history follow.
fn pad(data: &SplitData, own_width: usize, categorical_width: usize, lists: &[u32]) -> Batch {
    let range = |list: u32| data.lists.range(list as usize);
    let slots = lists
        .iter()
        .map(|&list| range(list).len())
        .max()
        .unwrap_or(0);
    let places = lists.len() * slots;
    let vector_width = data.vector_width();
    let dense_width = own_width + vector_width;
    // What the list's person did last, the same at each slot.
    let mut past = vec![0.0; data.extras.history_vector_width()];
    let shares = &data.extras.item_share;
    let mut batch = Batch {
        lists: lists.len(),
        slots,
        dense_width,
        categorical_width,
        dense: vec![0.0; places * dense_width],
        categorical: vec![0; places * categorical_width],
        mask: vec![false; places],
        click: vec![0.0; places],
        purchase: vec![0.0; places],
        grade: vec![0.0; places],
        weight: vec![0.0; places],
        slot: vec![0; places],
        list_numbers: lists.to_vec(),
        multi_valued: data
            .extras
            .multi_valued
            .iter()
            .map(|ragged| slot_ids(data, ragged, lists, slots))
            .collect(),
        history: data.extras.history.as_ref().map(|all| history(all, lists)),
        item: vec![0; if shares.is_empty() { 0 } else { places }],
        item_share: vec![0.0; if shares.is_empty() { 0 } else { places }],
    };
    for (place, &list) in lists.iter().enumerate() {
        let from = range(list);
        let to = place * slots..place * slots + from.len();
        let wide =
            |range: &std::ops::Range<usize>, width: usize| range.start * width..range.end * width;
        if vector_width == 0 {
            let own = &data.dense[wide(&from, own_width)];
            batch.dense[wide(&to, own_width)].copy_from_slice(own);
        } else {
            data.extras.history_means(list as usize, &mut past);
            for (to, row) in to.clone().zip(from.clone()) {
                let (own, vectors) =
                    batch.dense[to * dense_width..(to + 1) * dense_width].split_at_mut(own_width);
                own.copy_from_slice(&data.dense[row * own_width..(row + 1) * own_width]);
                let mut at = 0;
                for table in &data.extras.vectors {
                    vectors[at..at + table.width].copy_from_slice(table.of(row));
                    at += table.width;
                }
                vectors[at..].copy_from_slice(&past);
            }
        }
        batch.categorical[wide(&to, categorical_width)]
            .copy_from_slice(&data.categorical[wide(&from, categorical_width)]);
        batch.weight[to.clone()].copy_from_slice(&data.weight[from.clone()]);
        batch.slot[to.clone()].copy_from_slice(&data.slot[from.clone()]);
        if !shares.is_empty() {
            batch.item[to.clone()].copy_from_slice(&data.item[from.clone()]);
            batch.item_share[to.clone()].copy_from_slice(&shares[from.clone()]);
        }
        for (to, from) in to.zip(from) {
            batch.mask[to] = true;
            batch.click[to] = data.click[from].into();
            batch.purchase[to] = data.purchase[from].into();
            batch.grade[to] = data.grade[from].into();
        }
    }
    batch
}

/// The ids of every place of a batch.
fn slot_ids(data: &SplitData, ragged: &Ragged, lists: &[u32], slots: usize) -> SlotIds {
    let mut ids = SlotIds {
        offsets: vec![0],
        values: Vec::new(),
    };
    for &list in lists {
        let rows = data.lists.range(list as usize);
        for slot in 0..slots {
            if let Some(row) = rows.clone().nth(slot) {
                ids.values.extend_from_slice(ragged.of(row));
            }
            ids.offsets.push(ids.values.len() as u32);
        }
    }
    ids
}

/// The histories of a batch's lists.
fn history(all: &History, lists: &[u32]) -> ListHistory {
    let mut own = ListHistory {
        offsets: vec![0],
        ..ListHistory::default()
    };
    for &list in lists {
        let list = list as usize;
        let events = all.offsets[list] as usize..all.offsets[list + 1] as usize;
        own.item.extend_from_slice(&all.item[events.clone()]);
        own.kind
            .extend(all.kind[events.clone()].iter().map(|&kind| u32::from(kind)));
        own.age.extend_from_slice(&all.age[events]);
        own.offsets.push(own.item.len() as u32);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slate_types::ListOffsets;

    use crate::Extras;

    /// Lists of these lengths; every number of a row is the row's own.
    fn data(lengths: &[u64]) -> (SplitData, FeatureShape) {
        let lists = ListOffsets::from_lengths(lengths.iter().copied()).unwrap();
        let rows = lists.rows();
        let data = SplitData {
            dense: (0..2 * rows).map(|i| i as f32 + 1.0).collect(),
            categorical: (0..rows).map(|i| i as u32 + 1).collect(),
            grade: (0..rows).map(|i| (i % 5) as u8).collect(),
            click: vec![1; rows],
            purchase: (0..rows).map(|i| (i % 2) as u8).collect(),
            weight: vec![2.0; rows],
            slot: (0..rows).map(|i| i as u32).collect(),
            propensity: vec![f64::NAN; rows],
            price: vec![f64::NAN; rows],
            ad_rate: vec![f64::NAN; rows],
            raw_score: vec![f64::NAN; rows],
            item: (0..rows).map(|i| i as i64 % 3).collect(),
            impression: vec![0; rows],
            list_id: vec![0; lists.len()],
            list_ts: vec![0; lists.len()],
            extras: Extras::default(),
            lists,
        };
        (
            data,
            FeatureShape {
                dense: 2,
                categorical: vec![rows as u32 + 1],
                ..FeatureShape::default()
            },
        )
    }

    proptest! {
        #[test]
        fn each_list_comes_once_and_padding_is_empty(
            lengths in proptest::collection::vec(1_u64..7, 1..40),
            lists_per_batch in 0_usize..9,
            shuffle in proptest::option::of((any::<u64>().prop_map(Seed), 0_u32..5)),
            bucket_by_length: bool,
        ) {
            let (mut data, shape) = data(&lengths);
            data.count_items();
            let count = data.rows();
            let shown = |item: usize| (count + 2 - item) / 3;
            let options = BatchOptions { lists_per_batch, shuffle, bucket_by_length, skip: 0 };
            let mut seen = vec![0; lengths.len()];
            let mut passed = 0;
            for (lists, batch) in batches(&data, &shape, options) {
                passed += 1;
                prop_assert_eq!(batch.lists, lists.len());
                let longest = lists.iter().map(|&l| data.lists.range(l as usize).len()).max();
                prop_assert_eq!(Some(batch.slots), longest);
                for (b, &list) in lists.iter().enumerate() {
                    seen[list as usize] += 1;
                    let rows = data.lists.range(list as usize);
                    for l in 0..batch.slots {
                        let at = b * batch.slots + l;
                        let row = rows.start + l;
                        let real = row < rows.end;
                        prop_assert_eq!(batch.mask[at], real);
                        let or_zero = |x: f32| if real { x } else { 0.0 };
                        prop_assert_eq!(batch.dense[2 * at + 1], or_zero(2.0 * row as f32 + 2.0));
                        prop_assert_eq!(batch.categorical[at], if real { row as u32 + 1 } else { 0 });
                        prop_assert_eq!(batch.click[at], or_zero(1.0));
                        prop_assert_eq!(batch.purchase[at], or_zero((row % 2) as f32));
                        prop_assert_eq!(batch.grade[at], or_zero((row % 5) as f32));
                        prop_assert_eq!(batch.weight[at], or_zero(2.0));
                        prop_assert_eq!(batch.slot[at], if real { row as u32 } else { 0 });
                        prop_assert_eq!(batch.item[at], if real { row as i64 % 3 } else { 0 });
                        let share = shown(row % 3) as f32 / count as f32;
                        prop_assert_eq!(batch.item_share[at], or_zero(share));
                    }
                }
            }
            prop_assert_eq!(passed, batch_count(lengths.len(), options));
            prop_assert!(seen.iter().all(|&times| times == 1));
            let later = BatchOptions { skip: 1, ..options };
            let rest: Vec<_> = batches(&data, &shape, options).skip(1).collect();
            prop_assert_eq!(batches(&data, &shape, later).collect::<Vec<_>>(), rest);
        }
    }

    #[test]
    fn some_lists_alone_come_in_order_with_their_numbers_in_the_data() {
        let (data, shape) = data(&[1, 2, 3, 1, 2]);
        let options = BatchOptions {
            lists_per_batch: 2,
            shuffle: None,
            bucket_by_length: false,
            skip: 0,
        };
        let given = vec![4, 1, 3];
        let found: Vec<_> = batches_of(&data, &shape, given.clone(), options).collect();
        let numbers: Vec<u32> = found.iter().flat_map(|(lists, _)| lists.clone()).collect();
        assert_eq!(numbers, given);
        for (lists, batch) in &found {
            assert_eq!(&batch.list_numbers, lists);
        }
        // List 4 is rows 7 and 8.
        assert_eq!(found[0].1.categorical, [8, 9, 2, 3]);
    }

    fn order(seed: u64, epoch: u32, bucket_by_length: bool) -> Vec<Vec<u32>> {
        let lengths: Vec<u64> = (0..64).map(|i| 1 + i % 8).collect();
        let (data, _) = data(&lengths);
        let shuffle = Some((Seed(seed), epoch));
        plan(
            &data,
            (0..64).collect(),
            BatchOptions {
                lists_per_batch: 8,
                shuffle,
                bucket_by_length,
                skip: 0,
            },
        )
    }

    #[test]
    fn the_order_follows_from_seed_and_epoch() {
        assert_eq!(order(1, 2, true), order(1, 2, true));
        assert_ne!(order(1, 2, true), order(1, 3, true));
        assert_ne!(order(1, 2, false), order(2, 2, false));
    }

    #[test]
    fn buckets_hold_one_length_and_come_mixed() {
        let lengths: Vec<u32> = order(1, 0, true)
            .iter()
            .map(|batch| {
                assert!(batch.iter().all(|list| list % 8 == batch[0] % 8));
                batch[0] % 8
            })
            .collect();
        assert_ne!(lengths, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_is_reached_about_equally_often() {
        let mut first = [0_u32; 4];
        for seed in 0..4000 {
            let mut items = [0_usize, 1, 2, 3];
            shuffle(&mut items, Seed(seed));
            first[items[0]] += 1;
        }
        // 1000 expected, standard deviation 27.
        assert!(first.iter().all(|&n| (890..1110).contains(&n)), "{first:?}");
    }
}
