//! What holds for every loss: gradients are derivatives, and the order of slots does not matter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use slate_model::loss::{List, ListLoss, Sum, bce, softmax};

fn losses() -> Vec<ListLoss> {
    vec![
        ListLoss::Softmax,
        ListLoss::Bce,
        ListLoss::RankNet {
            pair_weights: BTreeMap::from([(3, 2.5)]),
        },
        ListLoss::ListMle,
        ListLoss::ApproxNdcg { temperature: 0.5 },
        ListLoss::LambdaLoss {
            mu: 3.0,
            sigma: 0.7,
        },
        ListLoss::NeuralNdcg {
            temperature: 2.0,
            rounds: 20,
        },
        ListLoss::Ordinal { levels: 3 },
        ListLoss::RegressionCompatible { alpha: 0.3 },
        ListLoss::Jrc { alpha: 0.3 },
        ListLoss::CalibratedSoftmax { virtual_label: 0.2 },
    ]
}

fn is_binary(loss: &ListLoss) -> bool {
    matches!(
        loss,
        ListLoss::Bce | ListLoss::RegressionCompatible { .. } | ListLoss::Jrc { .. }
    )
}

#[derive(Debug, Clone)]
struct Case {
    /// Three columns for each slot; a loss reads as many as it has.
    scores: Vec<[f64; 3]>,
    labels: Vec<f64>,
    weights: Vec<f64>,
}

impl Case {
    fn scores(&self, columns: usize) -> Vec<f64> {
        self.scores
            .iter()
            .flat_map(|row| row[..columns].to_vec())
            .collect()
    }

    fn labels(&self, loss: &ListLoss) -> Vec<f64> {
        let binary = is_binary(loss);
        let label = |label: &f64| {
            if binary {
                f64::from(*label > 0.0)
            } else {
                *label
            }
        };
        self.labels.iter().map(label).collect()
    }
}

fn case() -> impl Strategy<Value = Case> {
    (1_usize..8).prop_flat_map(|n| {
        (
            prop::collection::vec(prop::array::uniform3(-4.0..4.0), n),
            prop::collection::vec(prop::sample::select(vec![0.0, 0.0, 1.0, 3.0]), n),
            prop::collection::vec(0.1..3.0, n),
        )
            .prop_map(|(scores, labels, weights)| Case {
                scores,
                labels,
                weights,
            })
    })
}

fn value(loss: &ListLoss, scores: &[f64], ranked_by: &[f64], case: &Case) -> (Sum, Vec<f64>) {
    let labels = case.labels(loss);
    let mut gradient = vec![f64::NAN; scores.len()];
    let list = List {
        scores,
        labels: &labels,
        weights: &case.weights,
        ranked_by,
    };
    let sum = loss.evaluate(list, &mut gradient);
    (sum, gradient)
}

proptest! {
    #[test]
    fn gradients_equal_finite_differences(case in case()) {
        for loss in losses() {
            let base = case.scores(loss.columns());
            let (_, gradient) = value(&loss, &base, &base, &case);
            let step = 1e-5;
            // Some losses have a kink where two scores meet; no difference is taken across one.
            let apart = |a: f64, b: f64| a == b || (a - b).abs() > 4.0 * step;
            prop_assume!(base.iter().all(|&a| base.iter().all(|&b| apart(a, b))));
            for (place, slope) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut moved = base.clone();
                    moved[place] += by;
                    value(&loss, &moved, &base, &case).0.loss
                };
                let difference = (moved(step) - moved(-step)) / (2.0 * step);
                prop_assert!((difference - slope).abs() < 1e-6, "{loss:?}: {difference} {slope}");
            }
        }
    }

    #[test]
    fn the_order_of_slots_permutes_the_gradient(case in case(), turn in 0_usize..8) {
        let n = case.labels.len();
        let turned = Case {
            scores: (0..n).map(|slot| case.scores[(slot + turn) % n]).collect(),
            labels: (0..n).map(|slot| case.labels[(slot + turn) % n]).collect(),
            weights: (0..n).map(|slot| case.weights[(slot + turn) % n]).collect(),
        };
        for loss in losses() {
            let columns = loss.columns();
            let (base, other) = (case.scores(columns), turned.scores(columns));
            let (sum, gradient) = value(&loss, &base, &base, &case);
            let (same, turned_gradient) = value(&loss, &other, &other, &turned);
            prop_assert!((sum.loss - same.loss).abs() < 1e-9, "{loss:?}");
            prop_assert!((sum.mass - same.mass).abs() < 1e-9, "{loss:?}");
            for slot in 0..n {
                for column in 0..columns {
                    let one = turned_gradient[slot * columns + column];
                    let two = gradient[(slot + turn) % n * columns + column];
                    prop_assert!((one - two).abs() < 1e-9, "{loss:?}");
                }
            }
        }
    }

    #[test]
    fn losses_and_masses_are_not_negative_and_equal_weights_cancel(case in case()) {
        let plain = Case { weights: vec![1.0; case.weights.len()], ..case.clone() };
        let doubled = Case { weights: vec![2.0; case.weights.len()], ..case };
        for loss in losses() {
            let scores = plain.scores(loss.columns());
            let (one, _) = value(&loss, &scores, &scores, &plain);
            let (two, _) = value(&loss, &scores, &scores, &doubled);
            prop_assert!(one.loss >= -1e-12 && one.mass >= 0.0, "{loss:?}: {one:?}");
            prop_assert!((two.loss - 2.0 * one.loss).abs() < 1e-9, "{loss:?}");
            prop_assert!((two.mass - 2.0 * one.mass).abs() < 1e-12, "{loss:?}");
        }
    }

    #[test]
    fn the_mass_alone_is_that_of_the_loss(case in case()) {
        for loss in losses() {
            let scores = case.scores(loss.columns());
            let (sum, _) = value(&loss, &scores, &scores, &case);
            prop_assert_eq!(loss.mass(&case.labels(&loss), &case.weights), sum.mass, "{:?}", loss);
        }
    }

    #[test]
    fn listwise_losses_ignore_a_common_shift(case in case(), shift in -50.0..50.0) {
        let shifts = |loss: &ListLoss| !matches!(
            loss,
            ListLoss::Bce
                | ListLoss::Ordinal { .. }
                | ListLoss::RegressionCompatible { .. }
                | ListLoss::CalibratedSoftmax { .. }
                | ListLoss::Jrc { .. }
        );
        for loss in losses().into_iter().filter(shifts) {
            let base = case.scores(1);
            let moved: Vec<f64> = base.iter().map(|score| score + shift).collect();
            let (before, gradient) = value(&loss, &base, &base, &case);
            let (after, _) = value(&loss, &moved, &moved, &case);
            prop_assert!((before.loss - after.loss).abs() < 1e-8, "{loss:?}");
            prop_assert!(gradient.iter().sum::<f64>().abs() < 1e-9, "{loss:?}");
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
    for loss in losses() {
        let case = Case {
            scores: vec![[1e6, -1e6, 1e6], [-1e6, 1e6, 0.0], [1e6, 1e6, -1e6]],
            labels: vec![0.0, 3.0, 1.0],
            weights: vec![1.0; 3],
        };
        let scores = case.scores(loss.columns());
        let (sum, gradient) = value(&loss, &scores, &scores, &case);
        assert!(sum.loss.is_finite(), "{loss:?}");
        assert!(gradient.iter().all(|slope| slope.is_finite()), "{loss:?}");
    }
}
