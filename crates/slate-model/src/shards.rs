//! A batch cut into pieces of similar lists, for workers.
//!
//! Lists are taken by length, so that a shard needs little padding, often none. How a batch is
//! cut depends on the batch and the number of cards, never on the number of threads: sums over shards
//! are the same on every processor.

use slate_types::Batch;

/// Most pieces of a batch on the processor, and the rows of a piece below which cutting does not pay.
pub(crate) const PIECES: usize = 8;
const MIN_ROWS: usize = 192;

/// Some lists of a batch, padded to the longest of them.
pub(crate) struct Shard {
    /// Lists, `N`.
    pub(crate) lists: usize,
    /// Places per list, `L`.
    pub(crate) slots: usize,
    /// `[N, L]`: index of the slot in the batch's `[B, L]` arrays, or none on padding, which
    /// stands behind the slots of its list.
    pub(crate) places: Vec<Option<usize>>,
}

/// Cuts a batch into at most so many pieces; lists without slots are left out.
pub(crate) fn cut(batch: &Batch, most: usize) -> Vec<Shard> {
    let mut lists: Vec<Vec<usize>> = (0..batch.lists)
        .map(|list| {
            let row = list * batch.slots..(list + 1) * batch.slots;
            row.filter(|&place| batch.mask[place])
                .collect::<Vec<usize>>()
        })
        .filter(|slots| !slots.is_empty())
        .collect();
    lists.sort_by_key(Vec::len);
    let rows: usize = lists.iter().map(Vec::len).sum();
    let target = rows.div_ceil((rows / MIN_ROWS).clamp(1, most));
    let mut shards = Vec::new();
    let mut start = 0;
    let mut size = 0;
    for (place, list) in lists.iter().enumerate() {
        size += list.len();
        if size >= target || place + 1 == lists.len() {
            shards.push(pad(&lists[start..=place]));
            (start, size) = (place + 1, 0);
        }
    }
    shards
}

fn pad(lists: &[Vec<usize>]) -> Shard {
    let slots = lists.iter().map(Vec::len).max().unwrap_or(0);
    let places = lists
        .iter()
        .flat_map(|list| (0..slots).map(|slot| list.get(slot).copied()))
        .collect();
    Shard {
        lists: lists.len(),
        slots,
        places,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize]) -> Batch {
        let slots = lengths.iter().copied().max().unwrap_or(0);
        let mask = lengths
            .iter()
            .flat_map(|&length| (0..slots).map(move |slot| slot < length))
            .collect();
        Batch {
            lists: lengths.len(),
            slots,
            mask,
            ..Default::default()
        }
    }

    #[test]
    fn every_slot_is_in_one_shard_and_lists_stay_whole() {
        let lengths: Vec<usize> = (0..300).map(|list| list * 7 % 12).collect();
        let batch = batch(&lengths);
        let shards = cut(&batch, PIECES);
        assert!(shards.len() > 1);
        assert_eq!(cut(&batch, 1).len(), 1);
        let mut seen: Vec<usize> = Vec::new();
        for shard in &shards {
            for row in shard.places.chunks_exact(shard.slots) {
                let places: Vec<usize> = row.iter().flatten().copied().collect();
                let list = places[0] / batch.slots;
                assert_eq!(places.len(), lengths[list]);
                assert!(row[..places.len()].iter().all(Option::is_some));
                seen.extend(places);
            }
        }
        seen.sort_unstable();
        let expected: Vec<usize> = (0..batch.mask.len())
            .filter(|&place| batch.mask[place])
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn lists_of_one_length_need_no_padding() {
        assert!(
            cut(&batch(&[5; 200]), PIECES)
                .iter()
                .all(|shard| !shard.places.contains(&None))
        );
        assert!(cut(&batch(&[0, 0]), PIECES).is_empty());
    }
}
