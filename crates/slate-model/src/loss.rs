//! Losses over the scores of one list, with their exact gradients, in `f64`.
//!
//! Input: scores (any real), labels (not negative) and weights (not negative) of the real slots of
//! one list, in any order; padding never gets here. Output: a sum and what to divide it by. A
//! batch's loss is the sum of [`Sum::loss`] over its lists divided by the sum of [`Sum::mass`],
//! and 0 where that mass is 0, so lists, batches and machines can be added up in any grouping.
//!
//! - [`softmax`]: ListNet's top-one loss (Cao et al. 2007), `−Σ yᵢ log softmax(s)ᵢ / Σ y`, mean
//!   over the lists with a positive label.
//! - [`bce`]: binary cross-entropy per slot on log-odds, mean over slots.
//!
//! Both work in log space, so no score is too large. They see no tensor: training reads the
//! network's scores, gets `∂loss/∂score` from here, and lets the network carry that back.
//!
//! ```
//! use slate_model::loss;
//!
//! let mut gradient = [0.0; 3];
//! let tied = loss::softmax(&[0.5; 3], &[0.0, 1.0, 0.0], &[1.0; 3], &mut gradient);
//! assert!((tied.loss - 3.0_f64.ln()).abs() < 1e-12);
//! assert!((gradient[1] - (1.0 / 3.0 - 1.0)).abs() < 1e-12);
//!
//! // A list without a positive label says nothing about order.
//! let empty = loss::softmax(&[0.1, 0.2], &[0.0, 0.0], &[1.0; 2], &mut gradient[..2]);
//! assert_eq!((empty.loss, empty.mass), (0.0, 0.0));
//! ```

/// A loss summed over some lists, and the mass that makes it a mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// Sum of the losses, not negative.
    pub loss: f64,
    /// What the sum is divided by: lists for [`softmax`], slots for [`bce`], each by its weight.
    pub mass: f64,
}

/// The listwise softmax loss of one list; writes `∂loss/∂score` into `gradient`.
///
/// With labels `y` and weights `w`, a slot's share is `vᵢ = wᵢ yᵢ / Σ y` and the list's mass is
/// `V = Σ v`; the loss is `−Σ vᵢ log softmax(s)ᵢ` and the gradient `V softmax(s)ᵢ − vᵢ`. So with
/// equal weights a list counts once, by its weight; weights that differ inside a list, for
/// instance inverse propensities, count for their own slots. A list whose labels are all zero has
/// loss, mass and gradient 0; tied scores need no care, the loss is smooth.
pub fn softmax(scores: &[f64], labels: &[f64], weights: &[f64], gradient: &mut [f64]) -> Sum {
    gradient.fill(0.0);
    let total: f64 = labels.iter().sum();
    if total <= 0.0 {
        return Sum::default();
    }
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max
        + scores
            .iter()
            .map(|score| (score - max).exp())
            .sum::<f64>()
            .ln();
    let mut sum = Sum::default();
    for ((&score, &label), &weight) in scores.iter().zip(labels).zip(weights) {
        let share = weight * label / total;
        sum.mass += share;
        sum.loss += share * (log_sum - score);
    }
    for (place, slope) in gradient.iter_mut().enumerate() {
        let share = weights[place] * labels[place] / total;
        *slope = sum.mass * (scores[place] - log_sum).exp() - share;
    }
    sum
}

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

/// `log(1 + exp(x))`, that is `−log σ(−x)`, without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Loss = fn(&[f64], &[f64], &[f64], &mut [f64]) -> Sum;

    /// Largest difference between the gradient and a central finite difference, per unit of
    /// weight.
    fn gradient_error(loss: Loss, scores: &[f64], labels: &[f64], weights: &[f64]) -> f64 {
        let mut gradient = vec![0.0; scores.len()];
        loss(scores, labels, weights, &mut gradient);
        let mut scratch = gradient.clone();
        let step = 1e-5;
        (0..scores.len())
            .map(|place| {
                let mut moved = scores.to_vec();
                moved[place] = scores[place] + step;
                let above = loss(&moved, labels, weights, &mut scratch).loss;
                moved[place] = scores[place] - step;
                let below = loss(&moved, labels, weights, &mut scratch).loss;
                ((above - below) / (2.0 * step) - gradient[place]).abs()
            })
            .fold(0.0, f64::max)
    }

    fn list() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
        (1_usize..8).prop_flat_map(|n| {
            (
                prop::collection::vec(-8.0..8.0, n),
                prop::collection::vec(prop::sample::select(vec![0.0, 0.0, 1.0, 3.0]), n),
                prop::collection::vec(0.1..3.0, n),
            )
        })
    }

    proptest! {
        #[test]
        fn gradients_equal_finite_differences((scores, labels, weights) in list()) {
            prop_assert!(gradient_error(softmax, &scores, &labels, &weights) < 1e-7);
            let clicks: Vec<f64> = labels.iter().map(|&y| f64::from(y > 0.0)).collect();
            prop_assert!(gradient_error(bce, &scores, &clicks, &weights) < 1e-7);
        }

        #[test]
        fn softmax_ignores_a_common_shift((scores, labels, weights) in list(), shift in -50.0..50.0) {
            let mut gradient = vec![0.0; scores.len()];
            let before = softmax(&scores, &labels, &weights, &mut gradient);
            let balance: f64 = gradient.iter().sum();
            prop_assert!(balance.abs() < 1e-12);
            let moved: Vec<f64> = scores.iter().map(|score| score + shift).collect();
            let after = softmax(&moved, &labels, &weights, &mut gradient);
            prop_assert!((before.loss - after.loss).abs() < 1e-10);
        }
    }

    #[test]
    fn edge_lists_have_the_gradient_of_a_finite_difference() {
        let cases: [(&[f64], &[f64]); 4] = [
            (&[0.3, -1.0, 2.0], &[0.0, 0.0, 0.0]),
            (&[0.7], &[1.0]),
            (&[1.5; 4], &[0.0, 1.0, 0.0, 1.0]),
            (&[1.5; 4], &[1.0; 4]),
        ];
        for (scores, labels) in cases {
            let weights = vec![1.0; scores.len()];
            for loss in [softmax as Loss, bce as Loss] {
                assert!(gradient_error(loss, scores, labels, &weights) < 1e-8);
            }
        }
    }

    #[test]
    fn huge_scores_stay_finite() {
        let mut gradient = [0.0; 2];
        let list = softmax(&[1e6, -1e6], &[0.0, 1.0], &[1.0; 2], &mut gradient);
        assert_eq!(list.loss, 2e6);
        assert_eq!(gradient, [1.0, -1.0]);
        let slots = bce(&[1e6, -1e6], &[0.0, 1.0], &[1.0; 2], &mut gradient);
        assert_eq!(slots.loss, 2e6);
        assert_eq!(gradient, [1.0, -1.0]);
    }

    #[test]
    fn equal_weights_scale_loss_and_mass_together() {
        let mut gradient = [0.0; 3];
        let one = softmax(
            &[0.1, 0.9, -0.3],
            &[1.0, 0.0, 1.0],
            &[1.0; 3],
            &mut gradient,
        );
        let two = softmax(
            &[0.1, 0.9, -0.3],
            &[1.0, 0.0, 1.0],
            &[2.0; 3],
            &mut gradient,
        );
        assert_eq!(one.mass, 1.0);
        assert!((two.loss / two.mass - one.loss / one.mass).abs() < 1e-15);
        assert_eq!(two.mass, 2.0);
    }
}
