//! What is done to a batch before its step.

use slate_types::{Batch, Seed};

use crate::{PositionKind, TrainConfig, masked_ids};

/// Multiplies weights by the factors of their grades, and of slots with an outcome by those of
/// their positions.
pub(super) fn weigh(batch: &mut Batch, config: &TrainConfig) {
    let (grades, position) = (config.grade_weights(), &config.options().position);
    if grades.is_empty() && position.kind != PositionKind::Inverse {
        return;
    }
    for place in 0..batch.weight.len() {
        let grade = batch.grade[place];
        let mut factor = grades.get(&(grade as u8)).copied().unwrap_or(1.0);
        if grade > 0.0 || batch.click[place] > 0.0 || batch.purchase[place] > 0.0 {
            factor *= position.factor(batch.slot[place]);
        }
        batch.weight[place] *= factor as f32;
    }
}

/// Reads ids as unknown at random, as the config says. `place` is that of the batch in its step.
pub(super) fn mask(batch: &mut Batch, config: &TrainConfig, seed: Seed, step: u64, place: usize) {
    let seed = seed.derive("masked ids").index(step).index(place as u64);
    masked_ids::mask(batch, config.options().mask_ids, seed);
}
