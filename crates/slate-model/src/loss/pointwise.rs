//! Losses that look at one slot at a time.

use super::Sum;
use super::logistic::{sigmoid, softplus};

/// Binary cross-entropy of one list's slots; writes `∂loss/∂score` into `gradient`.
///
/// Scores are log-odds, labels are 0 or 1 (any share between is allowed). The loss is
/// `Σ wᵢ (log(1 + exp(sᵢ)) − yᵢ sᵢ)`, the mass `Σ w`, the gradient `wᵢ (σ(sᵢ) − yᵢ)`.
pub fn bce(scores: &[f64], labels: &[f64], weights: &[f64], gradient: &mut [f64]) -> Sum {
    let mut sum = Sum::default();
    for (place, slope) in gradient.iter_mut().enumerate() {
        let (score, label, weight) = (scores[place], labels[place], weights[place]);
        sum.mass += weight;
        // −y log σ(s) − (1 − y) log σ(−s), each term exact for scores of any size.
        sum.loss += weight * (label * softplus(-score) + (1.0 - label) * softplus(score));
        *slope = weight * (sigmoid(score) - label);
    }
    sum
}

/// Ordinal regression: a binary question for each level, "is the grade at least this?".
///
/// `scores` and `gradient` are `[n, levels]`, log-odds; labels are grades. The loss is
/// `Σ wᵢ Σₖ bce(sᵢₖ, [yᵢ ≥ k])` over levels `k = 1 … levels`, the mass `Σ w`. The ranking score
/// is the expected grade `Σₖ σ(sᵢₖ)`. As in Pobrotyn et al. 2020 (allRank).
pub fn ordinal(
    levels: usize,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    let mut sum = Sum::default();
    let rows = scores.chunks_exact(levels);
    for (place, (row, slopes)) in rows.zip(gradient.chunks_exact_mut(levels)).enumerate() {
        let weight = weights[place];
        sum.mass += weight;
        for (level, (score, slope)) in row.iter().zip(slopes).enumerate() {
            let reached = labels[place] > level as f64;
            sum.loss += weight * softplus(if reached { -score } else { *score });
            *slope = weight * (sigmoid(*score) - f64::from(reached));
        }
    }
    sum
}
