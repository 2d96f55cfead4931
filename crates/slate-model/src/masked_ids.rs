//! Ids read as unknown at random, so that the unknown id has a trained row.
//!
//! The draw follows from seed, list, column and id: all slots of a list that show one id in a column
//! are masked together, and nothing depends on threads or on where a training was resumed.

use slate_types::{Batch, Seed};

/// Puts the unknown id 0 in the place of each categorical id of a list with probability `share`.
pub(crate) fn mask(batch: &mut Batch, share: f64, seed: Seed) {
    if share == 0.0 {
        return;
    }
    let width = batch.categorical_width;
    for list in 0..batch.lists {
        let seed = seed.index(batch.list_number(list) as u64);
        for place in list * batch.slots..(list + 1) * batch.slots {
            if !batch.mask[place] {
                continue;
            }
            let ids = &mut batch.categorical[place * width..(place + 1) * width];
            for (column, id) in ids.iter_mut().enumerate() {
                if seed.index(column as u64).index((*id).into()).unit() < share {
                    *id = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 lists of 4 slots; in column 0 all slots show one id, in column 1 two of them do.
    fn batch() -> Batch {
        let (lists, slots) = (200, 4);
        Batch {
            lists,
            slots,
            categorical_width: 2,
            categorical: (0..lists * slots)
                .flat_map(|place| [1 + (place / slots) as u32 % 5, 1 + place as u32 % 2])
                .collect(),
            mask: (0..lists * slots).map(|place| place % 16 < 15).collect(),
            list_numbers: (0..lists as u32).map(|list| list + 7).collect(),
            ..Batch::default()
        }
    }

    fn masked(share: f64, seed: u64) -> Vec<u32> {
        let mut batch = batch();
        mask(&mut batch, share, Seed(seed));
        batch.categorical
    }

    #[test]
    fn slots_of_a_list_with_one_id_are_masked_together_and_padding_stays() {
        let (before, after) = (batch(), masked(0.3, 1));
        let mut hidden = 0;
        for list in 0..before.lists {
            for column in 0..2 {
                let mut seen = std::collections::BTreeMap::new();
                for place in list * 4..list * 4 + 4 {
                    let at = 2 * place + column;
                    if !before.mask[place] {
                        assert_eq!(after[at], before.categorical[at]);
                        continue;
                    }
                    let first = *seen.entry(before.categorical[at]).or_insert(after[at]);
                    assert_eq!(after[at], first);
                    assert!(after[at] == 0 || after[at] == before.categorical[at]);
                }
                hidden += seen.values().filter(|id| **id == 0).count();
            }
        }
        // 600 draws with probability 0.3: the standard deviation is 11.
        assert!((135..225).contains(&hidden), "{hidden} of 600");
    }

    #[test]
    fn the_draw_follows_from_the_seed_and_the_list_alone() {
        assert_eq!(masked(0.0, 1), batch().categorical);
        assert_eq!(masked(0.3, 1), masked(0.3, 1));
        assert_ne!(masked(0.3, 1), masked(0.3, 2));
        // The same list in another batch.
        let mut one = Batch {
            lists: 1,
            list_numbers: vec![57],
            categorical: batch().categorical[400..408].to_vec(),
            mask: batch().mask[200..204].to_vec(),
            ..batch()
        };
        mask(&mut one, 0.3, Seed(1));
        assert_eq!(one.categorical, masked(0.3, 1)[400..408]);
    }
}
