//! Losses that stand for NDCG: smooth ranks, weighted pairs, a smooth sort.
//!
//! A slot's gain is `wᵢ (2^yᵢ − 1)`, the discount of rank `k` is `1 / log₂(1 + k)`, and a list's
//! DCG is divided by its ideal one. The mass of a list is `V = Σ w y / Σ y`, its weight where all
//! are equal; a list without a positive label has loss, mass and gradient 0.

use super::Sum;
use super::logistic::{sigmoid, softplus};

/// What NDCG needs to know of a list.
struct Gains {
    /// `[n]`, each divided by the ideal DCG.
    shares: Vec<f64>,
    mass: f64,
}

impl Gains {
    /// None for a list without a positive label.
    fn of(labels: &[f64], weights: &[f64]) -> Option<Self> {
        let total: f64 = labels.iter().sum();
        let weighted: f64 = labels.iter().zip(weights).map(|(y, w)| w * y).sum();
        let mut shares: Vec<f64> = labels
            .iter()
            .zip(weights)
            .map(|(label, weight)| weight * (label.exp2() - 1.0))
            .collect();
        let mut sorted = shares.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let ideal: f64 = (1..)
            .zip(&sorted)
            .map(|(k, gain)| gain * discount(f64::from(k)))
            .sum();
        if ideal <= 0.0 {
            return None;
        }
        for gain in &mut shares {
            *gain /= ideal;
        }
        Some(Self {
            shares,
            mass: weighted / total,
        })
    }
}

/// The mass of the losses of this module.
pub(super) fn mass(labels: &[f64], weights: &[f64]) -> f64 {
    Gains::of(labels, weights).map_or(0.0, |gains| gains.mass)
}

/// `1 / log₂(1 + rank)`, rank from 1 and real.
fn discount(rank: f64) -> f64 {
    1.0 / (1.0 + rank).log2()
}

/// `ApproxNDCG` (Qin et al. 2010): `V (1 − NDCG)` with ranks made smooth.
///
/// The rank of a slot is `1 + Σ σ((sⱼ − sᵢ) / temperature)` over the other slots.
pub fn approx_ndcg(
    temperature: f64,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let Some(Gains { shares, mass }) = Gains::of(labels, weights) else {
        return Sum::default();
    };
    let mut reached = 0.0;
    for (place, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let behind = |other: usize| sigmoid((scores[other] - scores[place]) / temperature);
        let others = (0..scores.len()).filter(|&other| other != place);
        let rank = 1.0 + others.clone().map(behind).sum::<f64>();
        let discount = discount(rank);
        reached += share * discount;
        // −d discount / d rank
        let fall = discount * discount / ((1.0 + rank) * std::f64::consts::LN_2);
        for other in others {
            let part = behind(other);
            let slope = mass * share * fall * part * (1.0 - part) / temperature;
            gradient[other] += slope;
            gradient[place] -= slope;
        }
    }
    Sum {
        loss: mass * (1.0 - reached),
        mass,
    }
}

/// Ranks from 1 by score; of slots with one score the lower label stands first, then the order of
/// the input.
fn ranks(scores: &[f64], labels: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| {
        let by_score = scores[b].total_cmp(&scores[a]);
        by_score.then(labels[a].total_cmp(&labels[b]))
    });
    let mut ranks = vec![0; scores.len()];
    for (rank, place) in (1..).zip(order) {
        ranks[place] = rank;
    }
    ranks
}

/// `LambdaLoss` with the weights `NDCG-Loss2++` (Wang et al. 2018).
///
/// A pair with `yᵢ > yⱼ`, ranks `a` and `b` apart by `d`, and discounts `D` costs
/// `|Gᵢ − Gⱼ| (mu |D(d) − D(d+1)| + |D(a) − D(b)|) log₂(1 + exp(−sigma (sᵢ − sⱼ)))`; the loss is `V`
/// times their sum. Ranks are those of the scores `ranked_by`, in training the same scores; the
/// gradient is that of the loss with the ranks held fixed, as the method has it.
pub fn lambda_loss(
    [mu, sigma]: [f64; 2],
    ranked_by: &[f64],
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let Some(Gains { shares, mass }) = Gains::of(labels, weights) else {
        return Sum::default();
    };
    let ranks = ranks(ranked_by, labels);
    let discounts: Vec<f64> = (1..=scores.len() + 1)
        .map(|rank| discount(rank as f64))
        .collect();
    let at = |rank: usize| discounts[rank - 1];
    let mut loss = 0.0;
    for above in 0..scores.len() {
        for below in (0..scores.len()).filter(|&below| labels[below] < labels[above]) {
            let apart = ranks[above].abs_diff(ranks[below]);
            let weight = (shares[above] - shares[below]).abs()
                * (mu * (at(apart) - at(apart + 1)) + (at(ranks[above]) - at(ranks[below])).abs());
            let lead = sigma * (scores[above] - scores[below]);
            let factor = mass * weight / std::f64::consts::LN_2;
            loss += factor * softplus(-lead);
            let slope = factor * sigma * sigmoid(-lead);
            gradient[above] -= slope;
            gradient[below] += slope;
        }
    }
    Sum { loss, mass }
}

/// Smallest sum that a row or column of the smooth permutation is divided by.
const LEAST_SUM: f64 = 1e-10;

/// `NeuralNDCG` (Pobrotyn and Białobrzeski 2021): `V (1 − NDCG)` of gains sorted smoothly.
///
/// The sort is `NeuralSort` (Grover et al. 2019) at `temperature`: row `i` of the permutation is
/// the softmax over `j` of `((n + 1 − 2i) sⱼ − Σₖ |sⱼ − sₖ|) / temperature`. `rounds` of dividing
/// columns and rows by their sums (Sinkhorn) then make it nearly doubly stochastic.
pub fn neural_ndcg(
    temperature: f64,
    rounds: usize,
    scores: &[f64],
    labels: &[f64],
    weights: &[f64],
    gradient: &mut [f64],
) -> Sum {
    gradient.fill(0.0);
    let Some(Gains { shares, mass }) = Gains::of(labels, weights) else {
        return Sum::default();
    };
    let n = scores.len();
    let soft = neural_sort(temperature, scores);
    let mut matrix = soft.clone();
    let mut sums: Vec<[Vec<f64>; 2]> = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let columns = divide_columns(&mut matrix, n);
        let rows = divide_rows(&mut matrix, n);
        sums.push([columns, rows]);
    }
    let mut reached = 0.0;
    // ∂loss/∂matrix
    let mut slopes = vec![0.0; n * n];
    for (rank, (row, slopes)) in (1..).zip(matrix.chunks_exact(n).zip(slopes.chunks_exact_mut(n))) {
        let discount = discount(f64::from(rank));
        for (slot, share) in shares.iter().enumerate() {
            reached += row[slot] * share * discount;
            slopes[slot] = -mass * share * discount;
        }
    }
    for [columns, rows] in sums.iter().rev() {
        undo_rows(&mut matrix, &mut slopes, rows);
        undo_columns(&mut matrix, &mut slopes, columns);
    }
    // −∂loss/∂spread
    let mut spread = vec![0.0; n];
    for (row, (soft, slopes)) in soft.chunks_exact(n).zip(slopes.chunks_exact(n)).enumerate() {
        let mean: f64 = soft.iter().zip(slopes).map(|(p, slope)| p * slope).sum();
        let factor = n as f64 - 1.0 - 2.0 * row as f64;
        for slot in 0..n {
            let slope = soft[slot] * (slopes[slot] - mean) / temperature;
            gradient[slot] += slope * factor;
            spread[slot] += slope;
        }
    }
    for slot in 0..n {
        for other in 0..n {
            // The side of a tie is neither: the differences to both sides cancel.
            let side = scores[slot] - scores[other];
            if side != 0.0 {
                gradient[slot] -= spread[slot] * side.signum();
                gradient[other] += spread[slot] * side.signum();
            }
        }
    }
    Sum {
        loss: mass * (1.0 - reached),
        mass,
    }
}

/// `[n, n]`: the smooth permutation that sorts scores downwards, rows sum to 1.
fn neural_sort(temperature: f64, scores: &[f64]) -> Vec<f64> {
    let n = scores.len();
    let spread: Vec<f64> = scores
        .iter()
        .map(|score| scores.iter().map(|other| (score - other).abs()).sum())
        .collect();
    let mut matrix = Vec::with_capacity(n * n);
    for row in 0..n {
        let factor = n as f64 - 1.0 - 2.0 * row as f64;
        let logit = |slot: usize| (factor * scores[slot] - spread[slot]) / temperature;
        let most = (0..n).map(logit).fold(f64::NEG_INFINITY, f64::max);
        let start = matrix.len();
        matrix.extend((0..n).map(|slot| (logit(slot) - most).exp()));
        let sum: f64 = matrix[start..].iter().sum();
        matrix[start..].iter_mut().for_each(|value| *value /= sum);
    }
    matrix
}

/// Divides every column by its sum; the sums.
fn divide_columns(matrix: &mut [f64], n: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for row in matrix.chunks_exact(n) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
    for row in matrix.chunks_exact_mut(n) {
        let values = row.iter_mut().zip(&sums);
        values.for_each(|(value, sum)| *value /= sum.max(LEAST_SUM));
    }
    sums
}

/// Divides every row by its sum; the sums.
fn divide_rows(matrix: &mut [f64], n: usize) -> Vec<f64> {
    let rows = matrix.chunks_exact_mut(n);
    rows.map(|row| {
        let sum: f64 = row.iter().sum();
        for value in row {
            *value /= sum.max(LEAST_SUM);
        }
        sum
    })
    .collect()
}

/// Takes [`divide_rows`] back: the matrix before it, and the slopes with respect to that.
fn undo_rows(matrix: &mut [f64], slopes: &mut [f64], sums: &[f64]) {
    let n = sums.len();
    for ((row, slopes), &sum) in matrix
        .chunks_exact_mut(n)
        .zip(slopes.chunks_exact_mut(n))
        .zip(sums)
    {
        // Where the floor stood in for the sum, the divisor was a constant.
        let moves = if sum > LEAST_SUM {
            row.iter()
                .zip(slopes.iter())
                .map(|(value, slope)| value * slope)
                .sum()
        } else {
            0.0
        };
        let divisor = sum.max(LEAST_SUM);
        for (value, slope) in row.iter_mut().zip(slopes) {
            *slope = (*slope - moves) / divisor;
            *value *= divisor;
        }
    }
}

/// Takes [`divide_columns`] back.
fn undo_columns(matrix: &mut [f64], slopes: &mut [f64], sums: &[f64]) {
    let n = sums.len();
    let mut moves = vec![0.0; n];
    for (row, slopes) in matrix.chunks_exact(n).zip(slopes.chunks_exact(n)) {
        for (slot, moves) in moves.iter_mut().enumerate() {
            *moves += row[slot] * slopes[slot];
        }
    }
    for (row, slopes) in matrix.chunks_exact_mut(n).zip(slopes.chunks_exact_mut(n)) {
        for slot in 0..n {
            let divisor = sums[slot].max(LEAST_SUM);
            let moves = if sums[slot] > LEAST_SUM {
                moves[slot]
            } else {
                0.0
            };
            slopes[slot] = (slopes[slot] - moves) / divisor;
            row[slot] *= divisor;
        }
    }
}
