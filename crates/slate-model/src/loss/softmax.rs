//! Softmax cross-entropy over a list, and its form whose scores are probabilities.

use super::Sum;
use super::calibrated::mean_weight;
use super::logistic::log_sum_exp;

/// The listwise softmax loss of one list; writes `∂loss/∂score` into `gradient`.
///
/// With labels `y` and weights `w`, a slot's share is `vᵢ = wᵢ yᵢ / Σ y` and the list's mass is
/// `V = Σ v`; the loss is `−Σ vᵢ log softmax(s)ᵢ` and the gradient `V softmax(s)ᵢ − vᵢ`. So with
/// equal weights a list counts once, by its weight; weights that differ inside a list, for
/// instance inverse propensities, count for their own slots. A list whose labels are all zero has
/// loss, mass and gradient 0; tied scores need no care, the loss is smooth.
pub fn softmax(scores: &[f64], labels: &[f64], weights: &[f64], gradient: &mut [f64]) -> Sum {
    let total: f64 = labels.iter().sum();
    if total <= 0.0 {
        gradient.fill(0.0);
        return Sum::default();
    }
    let log_sum = log_sum_exp(scores.iter().copied());
    let mut sum = Sum {
        loss: 0.0,
        mass: softmax_mass(labels, weights),
    };
    for (place, score) in scores.iter().enumerate() {
        let share = weights[place] * labels[place] / total;
        sum.loss += share * (log_sum - score);
    }
    for (place, slope) in gradient.iter_mut().enumerate() {
        let share = weights[place] * labels[place] / total;
        *slope = sum.mass * (scores[place] - log_sum).exp() - share;
    }
    sum
}

/// The mass of [`softmax`].
pub(super) fn softmax_mass(labels: &[f64], weights: &[f64]) -> f64 {
    let total: f64 = labels.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let shares = labels.iter().zip(weights);
    shares.map(|(label, weight)| weight * label / total).sum()
}

/// Softmax against one more slot of score 0 and label `virtual_label` (Yan et al. 2022).
///
/// With `Z = 1 + Σ exp(s)` and `W` the list's mean weight the loss is
/// `Σ wᵢ yᵢ (log Z − sᵢ) + W · virtual_label · log Z`, the mass `W`. The slot that is not there
/// fixes the scale: where the loss is least, `virtual_label · exp(s)` is the expected label. Lists
/// without a positive label count too.
pub fn calibrated_softmax(
    virtual_label: f64,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    let mass = mean_weight(weights);
    let log_sum = log_sum_exp(scores.iter().copied().chain([0.0]));
    let mut loss = mass * virtual_label * log_sum;
    let mut total = mass * virtual_label;
    for (place, score) in scores.iter().enumerate() {
        let share = weights[place] * labels[place];
        loss += share * (log_sum - score);
        total += share;
    }
    for (place, slope) in gradient.iter_mut().enumerate() {
        let share = weights[place] * labels[place];
        *slope = total * (scores[place] - log_sum).exp() - share;
    }
    Sum { loss, mass }
}
