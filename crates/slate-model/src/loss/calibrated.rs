//! Losses that rank a list and keep its scores probabilities at once.

use super::Sum;
use super::logistic::{log_sum_exp, sigmoid, softplus};

/// Mean weight of a list, the mass of these losses; 0 without slots.
pub(super) fn mean_weight(weights: &[f64]) -> f64 {
    weights.iter().sum::<f64>() / weights.len().max(1) as f64
}

/// A loss and its gradient, both for a list of weight 1, for one of weight `mass`.
fn scaled(mass: f64, loss: f64, gradient: &mut [f64]) -> Sum {
    for slope in gradient {
        *slope *= mass;
    }
    Sum {
        loss: mass * loss,
        mass,
    }
}

/// Regression-compatible ranking (Bai et al. 2023): cross-entropy of slots and of their shares.
///
/// Scores are log-odds, labels 0 or 1. With `W` the list's mean weight the loss is
/// `W ((1 − alpha) pointwise + alpha listwise)`: the weighted mean over slots of [`bce`](super::bce),
/// and `−Σ vᵢ log(σ(sᵢ) / Σ σ(s))` with `v` the positive slots' shares of the weight, 0 where
/// there are none. Both are least where `σ(s)` is the probability. The mass is `W`.
pub fn regression_compatible(
    alpha: f64,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let mass = mean_weight(weights);
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Sum::default();
    }
    let positive: f64 = labels
        .iter()
        .zip(weights)
        .map(|(label, weight)| label * weight)
        .sum();
    let log_probability = |score: &f64| -softplus(-score);
    let log_sum = log_sum_exp(scores.iter().map(log_probability));
    let mut loss = 0.0;
    for (place, score) in scores.iter().enumerate() {
        let (label, weight) = (labels[place], weights[place]);
        let probability = sigmoid(*score);
        let point = label * softplus(-score) + (1.0 - label) * softplus(*score);
        loss += (1.0 - alpha) * weight * point / total;
        gradient[place] += (1.0 - alpha) * weight * (probability - label) / total;
        if positive > 0.0 {
            let share = weight * label / positive;
            let log_share = log_probability(score) - log_sum;
            loss -= alpha * share * log_share;
            // d log σ(s) / ds = 1 − σ(s)
            gradient[place] += alpha * (log_share.exp() - share) * sigmoid(-score);
        }
    }
    scaled(mass, loss, gradient)
}

/// The joint ranking and calibration loss (Sheng et al. 2023) over two scores for each slot.
///
/// `scores` and `gradient` are `[n, 2]`: for "no" and for "yes". With `W` the list's mean weight the
/// loss is `W (alpha · point + (1 − alpha) · list)`, weighted means over slots of
/// `−log softmax(fᵢ)[yᵢ]`, over a slot's two scores, and of `−log softmax(f[yᵢ])ᵢ`, over the list's
/// scores of the slot's own answer. The log-odds of a slot are `f[yes] − f[no]`. The mass is `W`.
pub fn jrc(
    alpha: f64,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let mass = mean_weight(weights);
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Sum::default();
    }
    let answer = |place: usize| usize::from(labels[place] > 0.0);
    let column = |answer: usize| scores.iter().skip(answer).step_by(2).copied();
    let log_sums = [log_sum_exp(column(0)), log_sum_exp(column(1))];
    let mut masses = [0.0; 2];
    for (place, weight) in weights.iter().enumerate() {
        masses[answer(place)] += weight;
    }
    let mut loss = 0.0;
    for (place, weight) in weights.iter().enumerate() {
        let own = answer(place);
        let at = 2 * place;
        let lead = scores[at + own] - scores[at + 1 - own];
        let point = alpha * weight / total;
        let list = (1.0 - alpha) * weight / total;
        loss += point * softplus(-lead) + list * (log_sums[own] - scores[at + own]);
        let slope = point * sigmoid(-lead);
        gradient[at + own] -= slope + list;
        gradient[at + 1 - own] += slope;
        for answer in 0..2 {
            let share = (scores[at + answer] - log_sums[answer]).exp();
            gradient[at + answer] += (1.0 - alpha) * masses[answer] / total * share;
        }
    }
    scaled(mass, loss, gradient)
}
