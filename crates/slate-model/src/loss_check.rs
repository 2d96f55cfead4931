//! Every loss held to finite differences: what `slate losses --check` prints.
//!
//! Each loss is evaluated the way training does, over a padded batch, and each score of the batch,
//! padding included, is moved a little to both sides. The error of a case is the largest difference
//! between slope and gradient, over the largest gradient.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use slate_types::{Batch, Seed};

use crate::loss_options::{LossKind, LossOptions};
use crate::objective::Objective;
use crate::outputs::Outputs;
use crate::{Head, Label, ModelError, shards};

/// Largest relative error that passes.
pub const LARGEST_ERROR: f64 = 1e-4;

/// What one loss came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossCheck {
    /// Name of the loss.
    pub loss: &'static str,
    /// Worst relative error of each case, in the order of [`CASES`].
    pub errors: Vec<f64>,
    /// The worst of them.
    pub worst: f64,
    /// Whether all losses and gradients were finite, padding and lists without information had
    /// gradient 0, and the worst error is at most [`LARGEST_ERROR`].
    pub passed: bool,
}

/// The kinds of lists each loss is checked on.
pub const CASES: [&str; 8] = [
    "full",
    "masked",
    "all zero",
    "all tied",
    "one slot",
    "all padding",
    "weighted",
    "huge",
];

/// Checks every loss on random lists.
///
/// # Errors
/// None that a user can cause; a broken default option would be one.
pub fn check_losses(seed: Seed) -> Result<Vec<LossCheck>, ModelError> {
    LossKind::ALL
        .into_iter()
        .map(|kind| check(kind, seed))
        .collect()
}

fn check(kind: LossKind, seed: Seed) -> Result<LossCheck, ModelError> {
    let (head, label) = match kind {
        LossKind::Bce | LossKind::RegressionCompatible | LossKind::Jrc => {
            (Head::Purchase, Label::Purchase)
        }
        _ => (Head::Grade, Label::Grade),
    };
    let loss = LossOptions {
        label: Some(label),
        ..LossOptions::new(head, kind)
    };
    let losses = [loss.check(0)?];
    let outputs = Outputs::of(&losses, false)?;
    let objective = Objective {
        losses: &losses,
        outputs: &outputs,
    };
    let mut errors = Vec::with_capacity(CASES.len());
    let mut sound = true;
    for case in CASES {
        let mut stream = ChaCha8Rng::seed_from_u64(seed.derive(case).0);
        let (batch, scores) = lists(case, outputs.columns(), &mut stream);
        let (error, finite) = error(&objective, &batch, &scores, case == "huge");
        errors.push(error);
        sound &= finite;
    }
    let worst = errors.iter().copied().fold(0.0, f64::max);
    Ok(LossCheck {
        loss: kind.name(),
        passed: sound && worst <= LARGEST_ERROR,
        errors,
        worst,
    })
}

/// A batch of lists and scores of its places, `[B, L, columns]`.
fn lists(case: &str, columns: usize, stream: &mut ChaCha8Rng) -> (Batch, Vec<f64>) {
    let lengths: &[usize] = match case {
        "masked" | "weighted" => &[7, 3, 1, 5, 2],
        "one slot" => &[1, 1, 1],
        "all padding" => &[0, 0],
        _ => &[6, 6, 6],
    };
    let slots = lengths.iter().copied().max().unwrap_or(0).max(2);
    let mask: Vec<bool> = lengths
        .iter()
        .flat_map(|&length| (0..slots).map(move |slot| slot < length))
        .collect();
    let mut unit = || f64::from(stream.next_u32() >> 8) / 16_777_216.0;
    let grade: Vec<f32> = mask
        .iter()
        .map(|&real| {
            let grade = (unit() * 5.0).floor() as f32;
            if real && case != "all zero" {
                grade
            } else {
                0.0
            }
        })
        .collect();
    let weight = mask
        .iter()
        .map(|&real| {
            let weight = if case == "weighted" {
                0.2 + 2.0 * unit()
            } else {
                1.0
            };
            if real { weight as f32 } else { 0.0 }
        })
        .collect();
    let spread = match case {
        "huge" => 1e4,
        "all tied" => 0.0,
        _ => 4.0,
    };
    let scores = (0..mask.len() * columns)
        .map(|_| (unit() - 0.5) * spread)
        .collect();
    let bought: Vec<f32> = grade.iter().map(|&grade| f32::from(grade > 2.0)).collect();
    let batch = Batch {
        lists: lengths.len(),
        slots,
        mask,
        click: bought.clone(),
        purchase: bought,
        grade,
        weight,
        slot: vec![0; lengths.len() * slots],
        ..Batch::default()
    };
    (batch, scores)
}

/// The worst relative error over all places, and whether every number is finite and every place of
/// padding has gradient 0. Scores too large for differences are only looked at for being finite.
fn error(objective: &Objective<'_>, batch: &Batch, scores: &[f64], huge: bool) -> (f64, bool) {
    let shards = shards::cut(batch, shards::PIECES);
    let masses = objective.masses(batch, &shards);
    let columns = objective.outputs.columns();
    let (mut worst, mut sound) = (0.0_f64, true);
    for shard in &shards {
        // Padding has numbers too, which must not matter.
        let own = |(place, at): (&Option<usize>, usize)| match place {
            Some(place) => scores[place * columns..(place + 1) * columns].to_vec(),
            None => vec![at as f64; columns],
        };
        let base: Vec<f64> = shard.places.iter().zip(1..).flat_map(own).collect();
        let (loss, gradient) = objective.share(batch, shard, &masses, &base);
        sound &= loss.is_finite() && gradient.iter().all(|slope| slope.is_finite());
        for (row, place) in gradient.chunks_exact(columns).zip(&shard.places) {
            sound &= place.is_some() || row.iter().all(|&slope| slope == 0.0);
        }
        if huge {
            continue;
        }
        let largest = gradient
            .iter()
            .fold(0.0_f64, |most, slope| most.max(slope.abs()));
        let step = 1e-5;
        for (place, &slope) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = base.clone();
                moved[place] += by;
                objective.share_at(batch, shard, &masses, [&moved, &base]).0
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            // A gradient of 0 throughout is compared as it is.
            let scale = if largest > 1e-9 { largest } else { 1.0 };
            worst = worst.max((difference - slope).abs() / scale);
        }
    }
    (worst, sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_passes_on_several_seeds() {
        for seed in 0..20 {
            for check in check_losses(Seed(seed)).unwrap() {
                assert!(check.passed, "seed {seed}: {check:?}");
            }
        }
    }
}
