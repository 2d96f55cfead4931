//! Losses against NumPy: `tests/data/losses.py` wrote `losses.json`, `list_losses.py` wrote
//! `list_losses.json`, both from the formulas; and against the values that TensorFlow Ranking's
//! documentation gives.

use std::collections::BTreeMap;

use serde_json::Value;
use slate_model::loss::{List, ListLoss, Sum};

/// One loss over padded lists, the way a batch adds them up: loss over mass, and the gradient of
/// that by list, slot and column.
fn mean(loss: &ListLoss, case: &Value, scores: &str, binary: bool) -> (f64, Vec<Vec<f64>>) {
    let rows = |key: &str| -> Vec<Vec<f64>> {
        let lists = case[key].as_array().unwrap();
        lists.iter().map(numbers).collect()
    };
    let (scores, mut labels) = (rows(scores), rows("labels"));
    let weights = match &case["weights"] {
        Value::Null => labels.iter().map(|row| vec![1.0; row.len()]).collect(),
        _ => rows("weights"),
    };
    if binary {
        let all = labels.iter_mut().flatten();
        all.for_each(|label| *label = f64::from(*label > 0.0));
    }
    let mut total = Sum::default();
    let mut gradients = Vec::new();
    for ((scores, labels), weights) in scores.iter().zip(&labels).zip(&weights) {
        let mut gradient = vec![f64::NAN; scores.len()];
        let part = loss.evaluate(
            List {
                scores,
                labels,
                weights,
                ranked_by: scores,
            },
            &mut gradient,
        );
        total.loss += part.loss;
        total.mass += part.mass;
        gradients.push(gradient);
    }
    if total.mass > 0.0 {
        let all = gradients.iter_mut().flatten();
        all.for_each(|slope| *slope /= total.mass);
        (total.loss / total.mass, gradients)
    } else {
        (0.0, gradients)
    }
}

/// The numbers of a list, slot after slot; null is padding.
fn numbers(list: &Value) -> Vec<f64> {
    match list {
        Value::Array(parts) => parts.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        _ => vec![],
    }
}

fn near(found: f64, expected: f64) -> bool {
    // The files hold ten digits.
    (found - expected).abs() < 1e-9 * (1.0 + expected.abs())
}

#[test]
fn softmax_and_bce_equal_numpy() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../data/losses.json")).unwrap();
    assert_eq!(cases.len(), 6);
    for case in &cases {
        for (key, loss) in [("softmax", ListLoss::Softmax), ("bce", ListLoss::Bce)] {
            let (value, _) = mean(&loss, case, "scores", false);
            let expected = case[key].as_f64().unwrap();
            assert!(
                (value - expected).abs() < 1e-12,
                "{key} of {}: {value}",
                case["name"]
            );
        }
    }
}

/// Each loss by the name of its values, the scores it reads, and whether labels are 0 or 1.
fn losses() -> Vec<(&'static str, ListLoss, &'static str, bool)> {
    let pair_weights = BTreeMap::from([(1, 6.0), (2, 15.0), (3, 38.0), (4, 8.0)]);
    let equal = ListLoss::RankNet {
        pair_weights: BTreeMap::new(),
    };
    vec![
        ("ranknet", equal, "scores", false),
        (
            "ranknet_grades",
            ListLoss::RankNet { pair_weights },
            "scores",
            false,
        ),
        ("listmle", ListLoss::ListMle, "scores", false),
        (
            "approx_ndcg",
            ListLoss::ApproxNdcg { temperature: 0.1 },
            "scores",
            false,
        ),
        (
            "lambda",
            ListLoss::LambdaLoss {
                mu: 10.0,
                sigma: 1.0,
            },
            "scores",
            false,
        ),
        (
            "neural_ndcg",
            ListLoss::NeuralNdcg {
                temperature: 1.0,
                rounds: 50,
            },
            "scores",
            false,
        ),
        (
            "ordinal",
            ListLoss::Ordinal { levels: 4 },
            "ordinal_scores",
            false,
        ),
        (
            "regression_compatible",
            ListLoss::RegressionCompatible { alpha: 0.5 },
            "scores",
            true,
        ),
        ("jrc", ListLoss::Jrc { alpha: 0.5 }, "pair", true),
        (
            "calibrated_softmax",
            ListLoss::CalibratedSoftmax { virtual_label: 0.1 },
            "scores",
            false,
        ),
    ]
}

fn list_losses() -> Value {
    serde_json::from_str(include_str!("../data/list_losses.json")).unwrap()
}

#[test]
fn every_list_loss_and_its_gradient_equal_numpy() {
    let file = list_losses();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        for (key, loss, scores, binary) in losses() {
            let (value, gradient) = mean(&loss, case, scores, binary);
            let name = &case["name"];
            let expected = case[key].as_f64().unwrap();
            assert!(
                near(value, expected),
                "{key} of {name}: {value}, not {expected}"
            );
            let expected = numbers(&case[format!("{key}_gradient")]);
            let found: Vec<f64> = gradient.concat();
            assert_eq!(found.len(), expected.len(), "{key} of {name}");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    near(*found, *expected),
                    "{key} of {name}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn documented_examples_of_tensorflow_ranking_hold() {
    let file = list_losses();
    let examples = file["documented"].as_array().unwrap();
    assert_eq!(examples.len(), 10);
    for example in examples {
        let number = |key: &str| example[key].as_f64().unwrap();
        let loss = match example["loss"].as_str().unwrap() {
            "softmax" => ListLoss::Softmax,
            "bce" => ListLoss::Bce,
            name => losses().into_iter().find(|loss| loss.0 == name).unwrap().1,
        };
        let (value, _) = mean(&loss, example, "scores", false);
        let expected = number("published") * number("factor") + number("shift");
        assert!(
            (value - expected).abs() < 5e-7,
            "{}: {value}",
            example["name"]
        );
    }
}
