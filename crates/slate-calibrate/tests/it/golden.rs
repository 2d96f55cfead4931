//! Fits of other programs. From `tests/data/gold_maps.py`: `SciPy` and plain loops, checked there
//! against statsmodels, betacal, venn-abers and scikit-learn.

use serde_json::Value;
use slate_calibrate::{beta, histogram, isotonic, power, temperature, venn_abers};

struct Case {
    name: String,
    scores: Vec<f64>,
    labels: Vec<f64>,
    weights: Option<Vec<f64>>,
    queries: Vec<f64>,
    value: Value,
}

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

fn cases() -> Vec<Case> {
    let golden: Value =
        serde_json::from_str(include_str!("../data/maps.json")).expect("golden values");
    let sets = golden["sets"].as_array().expect("sets");
    assert_eq!(sets.len(), 6);
    sets.iter()
        .map(|set| Case {
            name: set["name"].as_str().expect("a name").to_owned(),
            scores: floats(&set["s"]),
            labels: floats(&set["y"]),
            weights: (!set["w"].is_null()).then(|| floats(&set["w"])),
            queries: floats(&set["q"]),
            value: set.clone(),
        })
        .collect()
}

impl Case {
    /// Holds predictions to those under `method` and `key`, cut at `low` and `high`.
    fn hold(&self, method: &str, key: &str, tolerance: f64, map: &dyn Fn(f64) -> f64) {
        let expected = floats(&self.value[method][key]);
        assert_eq!(expected.len(), self.queries.len());
        for (query, expected) in self.queries.iter().zip(expected) {
            let ours = map(*query);
            assert!(
                (ours - expected).abs() <= tolerance,
                "{} {method} at {query}: {ours}, expected {expected}",
                self.name
            );
        }
    }

    fn number(&self, method: &str, key: &str) -> f64 {
        self.value[method][key].as_f64().expect("a number")
    }

    /// Platt's targets, between which Slate keeps its probabilities.
    fn bounds(&self) -> (f64, f64) {
        let weight = |row: usize| self.weights.as_ref().map_or(1.0, |w| w[row]);
        let rows = 0..self.scores.len();
        let all: f64 = rows.clone().map(weight).sum();
        let positive: f64 = rows.map(|row| weight(row) * self.labels[row]).sum();
        let n1 = self.scores.len() as f64 * positive / all;
        let n0 = self.scores.len() as f64 - n1;
        (1.0 / (n0 + 2.0), 1.0 - 1.0 / (n1 + 2.0))
    }
}

#[test]
fn beta_temperature_and_power_equal_scipy() {
    for case in cases() {
        let weights = case.weights.as_deref();
        let map = beta::fit(&case.scores, &case.labels, weights).unwrap();
        for (ours, key) in [(map.a, "a"), (map.b, "b"), (map.c, "c")] {
            let expected = case.number("beta", key);
            let gap = (ours - expected).abs();
            assert!(
                gap < 1e-6 * expected.abs().max(1.0),
                "{} {key} {ours}",
                case.name
            );
        }
        case.hold("beta", "pred", 1e-8, &|q| map.apply(q));
        let map = temperature::fit(&case.scores, &case.labels, weights).unwrap();
        let expected = case.number("temperature", "T");
        assert!(
            (map.temperature() / expected - 1.0).abs() < 1e-6,
            "{}",
            case.name
        );
        case.hold("temperature", "pred", 1e-9, &|q| map.apply(q));
        let map = power::fit(&case.scores, &case.labels, weights).unwrap();
        assert!((map.exponent - case.number("power", "k")).abs() < 1e-7);
        assert!((map.factor / case.number("power", "g") - 1.0).abs() < 1e-7);
        case.hold("power", "pred", 1e-8, &|q| map.apply(q));
    }
}

#[test]
fn centred_and_histogram_equal_plain_loops() {
    for case in cases() {
        let weights = case.weights.as_deref();
        let (low, high) = case.bounds();
        let map = isotonic::fit_centred(&case.scores, &case.labels, weights).unwrap();
        // Between two centres the bounds act before the line is drawn.
        let (centres, rates) = (
            floats(&case.value["centred_isotonic"]["x"]),
            floats(&case.value["centred_isotonic"]["v"]),
        );
        for (centre, rate) in centres.iter().zip(rates) {
            let ours = map.apply(*centre);
            assert!(
                (ours - rate.clamp(low, high)).abs() < 1e-9,
                "{} {ours}",
                case.name
            );
        }
        let map = histogram::fit_bins(&case.scores, &case.labels, weights, 10).unwrap();
        let expected = floats(&case.value["histogram"]["pred"]);
        for (query, expected) in case.queries.iter().zip(expected) {
            let ours = map.apply(*query);
            assert!(
                (ours - expected.clamp(low, high)).abs() < 1e-9,
                "{} {ours}",
                case.name
            );
        }
    }
}

#[test]
fn venn_abers_equals_two_fits_for_each_query() {
    for case in cases() {
        let weights = case.weights.as_deref();
        let map = venn_abers::fit(&case.scores, &case.labels, weights).unwrap();
        case.hold("venn_abers", "p0", 1e-9, &|q| map.interval(q)[0]);
        case.hold("venn_abers", "p1", 1e-9, &|q| map.interval(q)[1]);
        case.hold("venn_abers", "pred", 1e-9, &|q| map.apply(q));
    }
}
