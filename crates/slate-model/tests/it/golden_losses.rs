//! Losses against NumPy: `tests/data/losses.py` wrote `tests/data/losses.json`.

use serde::Deserialize;
use slate_model::loss::{self, Sum};

#[derive(Deserialize)]
struct Case {
    name: String,
    scores: Vec<Vec<Option<f64>>>,
    labels: Vec<Vec<Option<f64>>>,
    weights: Vec<Vec<Option<f64>>>,
    softmax: f64,
    bce: f64,
}

type Loss = fn(&[f64], &[f64], &[f64], &mut [f64]) -> Sum;

fn mean(case: &Case, loss: Loss) -> f64 {
    let real = |row: &Vec<Option<f64>>| row.iter().flatten().copied().collect::<Vec<f64>>();
    let mut total = Sum::default();
    for ((scores, labels), weights) in case.scores.iter().zip(&case.labels).zip(&case.weights) {
        let scores = real(scores);
        let mut gradient = vec![f64::NAN; scores.len()];
        let part = loss(&scores, &real(labels), &real(weights), &mut gradient);
        assert!(
            gradient.iter().all(|slope| slope.is_finite()),
            "{}",
            case.name
        );
        total.loss += part.loss;
        total.mass += part.mass;
    }
    if total.mass > 0.0 {
        total.loss / total.mass
    } else {
        0.0
    }
}

#[test]
fn losses_equal_numpy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../data/losses.json")).unwrap();
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let (softmax, bce) = (mean(case, loss::softmax), mean(case, loss::bce));
        assert!(
            (softmax - case.softmax).abs() < 1e-12,
            "{}: {softmax}",
            case.name
        );
        assert!((bce - case.bce).abs() < 1e-12, "{}: {bce}", case.name);
    }
}
