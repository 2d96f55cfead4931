//! What scores depend on, and what they do not.

use proptest::prelude::*;
use slate_model::{DeviceSpec, Ranker};
use slate_types::{Batch, Seed};

use crate::market::{batch, config, shape};

const KINDS: [&str; 4] = [
    "[network]\nkind = \"mlp\"\nhidden = 16\nlayers = 2",
    "[network]\nkind = \"transformer\"\nhidden = 16\nlayers = 2\nheads = 4",
    "[network]\nkind = \"transformer\"\nhidden = 12\nlayers = 1\nheads = 3\nnorm = \"post\"",
    "[network]\nkind = \"transformer\"\nhidden = 8\nactivation = \"gelu\"",
];

/// Goes over the slots in their order, so permuting them changes more than the order of scores.
const GRU: &str = "[network]\nkind = \"gru\"\nhidden = 8\nlayers = 2\nbidirectional = true";

fn ranker(kind: &str) -> Ranker {
    Ranker::untrained(&config(kind), &shape(), Seed(3), DeviceSpec::Auto).unwrap()
}

/// The batch with the slots of every list permuted: new slot `i` is old slot `order[i]`.
fn permuted(batch: &Batch, order: &[usize]) -> Batch {
    let mut moved = batch.clone();
    for list in 0..batch.lists {
        for (slot, &old) in order.iter().enumerate() {
            let (to, from) = (list * batch.slots + slot, list * batch.slots + old);
            moved.mask[to] = batch.mask[from];
            moved.categorical[to] = batch.categorical[from];
            moved.dense[3 * to..3 * to + 3].copy_from_slice(&batch.dense[3 * from..3 * from + 3]);
        }
    }
    moved
}

fn close(a: f32, b: f32) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-5
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn permuting_slots_permutes_scores(
        kind in prop::sample::select(&KINDS[..]),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
        lengths in prop::collection::vec(1_usize..=6, 1..12),
    ) {
        let lengths: Vec<usize> = lengths.into_iter().chain([6]).collect();
        let batch = batch(1, &lengths);
        let ranker = ranker(kind);
        let before = ranker.score(&batch).unwrap();
        let after = ranker.score(&permuted(&batch, &order)).unwrap();
        for list in 0..batch.lists {
            for (slot, &old) in order.iter().enumerate() {
                let (to, from) = (list * 6 + slot, list * 6 + old);
                prop_assert!(close(after.purchase[to], before.purchase[from]));
                prop_assert!(close(after.click[to], before.click[from]));
            }
        }
    }

    #[test]
    fn padding_changes_no_score(
        kind in prop::sample::select([&KINDS[..], &[GRU]].concat()),
        lengths in prop::collection::vec(1_usize..=5, 1..8),
        longer in 6_usize..15,
    ) {
        // A long list makes the others' padding longer; what padding holds must not matter.
        let ranker = ranker(kind);
        let alone = batch(2, &lengths);
        let before = ranker.score(&alone).unwrap();
        let mut padded = batch(2, &[&lengths[..], &[longer]].concat());
        for list in 0..lengths.len() {
            for slot in 0..longer {
                let place = list * longer + slot;
                let row = 3 * place..3 * place + 3;
                if slot < alone.slots && alone.mask[list * alone.slots + slot] {
                    let from = list * alone.slots + slot;
                    padded.dense[row].copy_from_slice(&alone.dense[3 * from..3 * from + 3]);
                    padded.categorical[place] = alone.categorical[from];
                } else {
                    padded.dense[row].fill(1e6);
                    padded.categorical[place] = 4;
                }
            }
        }
        let after = ranker.score(&padded).unwrap();
        for (list, &length) in lengths.iter().enumerate() {
            for slot in 0..longer {
                let score = after.purchase[list * longer + slot];
                if slot < length {
                    prop_assert!(close(score, before.purchase[list * alone.slots + slot]));
                } else {
                    prop_assert!(score.is_nan());
                }
            }
        }
    }
}

#[test]
fn the_transformer_sees_the_list_and_the_mlp_does_not() {
    let one = batch(5, &[1]);
    let mut two = batch(5, &[2]);
    two.dense[3..].copy_from_slice(&[3.0, -3.0, 3.0]);
    let change = |kind: &str| {
        let ranker = ranker(kind);
        let alone = ranker.score(&one).unwrap().purchase[0];
        let beside = ranker.score(&two).unwrap().purchase[0];
        (alone - beside).abs()
    };
    assert!(change(KINDS[0]) < 1e-6);
    assert!(change(KINDS[1]) > 1e-4);
}

#[test]
fn a_batch_without_lists_gives_no_scores() {
    assert!(
        ranker(KINDS[1])
            .score(&batch(1, &[]))
            .unwrap()
            .purchase
            .is_empty()
    );
    let padding = ranker(KINDS[1]).score(&batch(1, &[0, 2])).unwrap().click;
    assert_eq!(
        padding
            .iter()
            .map(|score| score.is_nan())
            .collect::<Vec<_>>(),
        [true, true, false, false]
    );
}

#[test]
fn a_batch_of_another_width_is_refused() {
    let wide = Batch {
        dense_width: 4,
        ..batch(1, &[2])
    };
    let error = ranker(KINDS[0]).score(&wide).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`dense_width` of a batch is 4, expected 3"
    );
}
