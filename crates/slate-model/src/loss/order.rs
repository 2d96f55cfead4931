//! Losses over the order that labels ask for: pairs, and whole permutations.

use std::collections::BTreeMap;

use super::Sum;
use super::logistic::{log_sum_exp, sigmoid, softplus};

/// `RankNet` (Burges et al. 2005): logistic loss of every pair of unequal labels.
///
/// A pair with `yᵢ > yⱼ` has weight `wᵢ · c(yᵢ)`, where `c` is `pair_weights` by grade and 1 for
/// grades it does not name; the loss is `Σ weight · log(1 + exp(−(sᵢ − sⱼ)))`, the mass the sum of
/// the weights. A list whose labels are all equal has loss, mass and gradient 0.
pub fn ranknet(
    pair_weights: &BTreeMap<u8, f64>,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let mut sum = Sum::default();
    for (above, below, weight) in pairs(pair_weights, labels, weights) {
        let lead = scores[above] - scores[below];
        let slope = weight * sigmoid(-lead);
        sum.mass += weight;
        sum.loss += weight * softplus(-lead);
        gradient[above] -= slope;
        gradient[below] += slope;
    }
    sum
}

/// Pairs of unequal labels, the higher one first, and their weights.
fn pairs(
    pair_weights: &BTreeMap<u8, f64>,
    labels: &[f64],
    weights: &[f64],
) -> impl Iterator<Item = (usize, usize, f64)> {
    labels.iter().enumerate().flat_map(move |(above, &label)| {
        let factor = pair_weights.get(&(label as u8)).copied().unwrap_or(1.0);
        let weight = weights[above] * factor;
        let below = (0..labels.len()).filter(move |&below| labels[below] < label);
        below.map(move |below| (above, below, weight))
    })
}

/// The mass of [`ranknet`].
pub(super) fn ranknet_mass(
    pair_weights: &BTreeMap<u8, f64>,
    labels: &[f64],
    weights: &[f64],
) -> f64 {
    pairs(pair_weights, labels, weights)
        .map(|(_, _, weight)| weight)
        .sum()
}

/// `ListMLE` (Xia et al. 2008): the likelihood of the labels' order under Plackett and Luce.
///
/// A slot's term is `log Σ exp(sⱼ) − sᵢ` over the slots with `yⱼ ≤ yᵢ`; the loss is `Σ wᵢ termᵢ`,
/// the mass the mean weight of the slots that have a term. Slots of the lowest label have none:
/// any order among them is right. Tied slots above it share their denominator (Breslow's rule), so
/// that the order of the input never matters. Without ties this is `ListMLE` as published.
pub fn listmle(scores: &[f64], labels: &[f64], weights: &[f64], gradient: &mut [f64]) -> Sum {
    gradient.fill(0.0);
    let mut grades: Vec<f64> = labels.to_vec();
    grades.sort_by(f64::total_cmp);
    grades.dedup();
    let mut loss = 0.0;
    for &grade in grades.iter().skip(1) {
        let below = |place: &usize| labels[*place] <= grade;
        let rest = (0..labels.len()).filter(below);
        let log_sum = log_sum_exp(rest.clone().map(|place| scores[place]));
        let mut mass = 0.0;
        for place in rest.clone().filter(|&place| labels[place] == grade) {
            mass += weights[place];
            loss += weights[place] * (log_sum - scores[place]);
            gradient[place] -= weights[place];
        }
        for place in rest {
            gradient[place] += mass * (scores[place] - log_sum).exp();
        }
    }
    Sum {
        loss,
        mass: listmle_mass(labels, weights),
    }
}

/// The mass of [`listmle`].
pub(super) fn listmle_mass(labels: &[f64], weights: &[f64]) -> f64 {
    let lowest = labels.iter().copied().fold(f64::INFINITY, f64::min);
    let with_term = || labels.iter().zip(weights).filter(|(y, _)| **y > lowest);
    let weight: f64 = with_term().map(|(_, weight)| weight).sum();
    weight / with_term().count().max(1) as f64
}
