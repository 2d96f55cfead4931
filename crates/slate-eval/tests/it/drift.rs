//! Drift of columns: golden values from `tests/data/gold_drift.py` (`SciPy`), laws, edges, files.

use proptest::prelude::*;
use serde_json::Value;
use slate_eval::EvalError;
use slate_eval::drift::{Drift, Reference, Shares, Test};

fn golden(key: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("../data/drift.json")).unwrap();
    golden[key].as_array().unwrap().clone()
}

fn close(case: &Value, key: &str, ours: f64) {
    let expected = case[key].as_f64().unwrap();
    let off = (ours - expected).abs();
    assert!(
        off < 1e-12 + 1e-9 * expected,
        "{key}: {ours}, expected {expected}"
    );
}

#[test]
fn numbers_equal_scipy() {
    let cases = golden("numeric");
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let column = |key: &str| -> Vec<f64> {
            let values: Vec<Option<f64>> = serde_json::from_value(case[key].clone()).unwrap();
            values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
        };
        let reference = Reference::numeric(column("before")).unwrap();
        let Shares::Numeric { edges, .. } = &reference.shares else {
            panic!("numbers were given");
        };
        let expected: Vec<f64> = serde_json::from_value(case["edges"].clone()).unwrap();
        assert_eq!(*edges, expected);
        let drift = reference.compare_numbers(column("now")).unwrap();
        assert_eq!(drift.test, Test::Ks);
        close(case, "psi", drift.psi);
        close(case, "d", drift.statistic);
        close(case, "p", drift.p);
        // Bins make the test careful: it never claims more than the one over all values.
        assert!(drift.p + 1e-12 >= case["p_unbinned"].as_f64().unwrap());
    }
}

#[test]
fn ids_equal_scipy() {
    let cases = golden("ids");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let column = |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
        let reference = Reference::ids(column("before")).unwrap();
        let Shares::Ids { shares, .. } = &reference.shares else {
            panic!("ids were given");
        };
        assert!(shares.keys().copied().eq(column("kept")));
        let drift = reference.compare_ids(column("now")).unwrap();
        assert_eq!(drift.test, Test::Chi2);
        close(case, "psi", drift.psi);
        close(case, "chi2", drift.statistic);
        close(case, "p", drift.p);
    }
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let any = prop_oneof![
        4 => (-9_i8..9).prop_map(f64::from),
        4 => -1e6..1e6_f64,
        1 => Just(f64::NAN),
        1 => prop::num::f64::ANY,
    ];
    prop::collection::vec(any, 1..80)
}

fn ids() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![0_u32..9, 0_u32..200], 1..80)
}

fn sound(drift: &Drift) -> bool {
    drift.psi >= 0.0
        && drift.psi.is_finite()
        && drift.statistic >= 0.0
        && [drift.p, drift.missing_before, drift.missing_now]
            .iter()
            .all(|share| (0.0..=1.0).contains(share))
}

proptest! {
    #[test]
    fn numbers_have_an_index_from_zero_and_a_probability(a in numbers(), b in numbers()) {
        let reference = Reference::numeric(a.clone()).unwrap();
        let Shares::Numeric { edges, shares, missing } = &reference.shares else {
            panic!("numbers were given");
        };
        prop_assert!(shares.len() <= 10 && edges.is_sorted_by(|a, b| a < b));
        prop_assert!((shares.iter().sum::<f64>() + missing - 1.0).abs() < 1e-12);
        let drift = reference.compare_numbers(b).unwrap();
        prop_assert!(sound(&drift), "{:?}", drift);
        let none = reference.compare_numbers(a.clone()).unwrap();
        prop_assert_eq!((none.psi, none.statistic, none.p), (0.0, 0.0, 1.0));
    }

    #[test]
    fn ids_have_an_index_from_zero_and_a_probability(a in ids(), b in ids()) {
        let reference = Reference::ids(a.clone()).unwrap();
        let drift = reference.compare_ids(b).unwrap();
        prop_assert!(sound(&drift), "{:?}", drift);
        let none = reference.compare_ids(a.iter().rev().copied()).unwrap();
        prop_assert_eq!((none.psi, none.statistic, none.p), (0.0, 0.0, 1.0));
    }

    #[test]
    fn order_means_nothing(a in numbers(), b in numbers(), c in ids(), d in ids()) {
        let of = |a: &[f64], b: &[f64]| {
            Reference::numeric(a.iter().copied()).unwrap().compare_numbers(b.iter().copied())
        };
        let turned = |v: &[f64]| v.iter().rev().copied().collect::<Vec<_>>();
        prop_assert_eq!(of(&a, &b), of(&turned(&a), &turned(&b)));
        let of = |a: &[u32], b: &[u32]| {
            Reference::ids(a.iter().copied()).unwrap().compare_ids(b.iter().copied())
        };
        let turned = |v: &[u32]| v.iter().rev().copied().collect::<Vec<_>>();
        prop_assert_eq!(of(&c, &d), of(&turned(&c), &turned(&d)));
    }

    /// Where both sides have the same bins, before and now can change places.
    #[test]
    fn sides_can_be_swapped(
        a in prop::collection::vec(0_u32..8, 1..60), b in prop::collection::vec(0_u32..8, 1..60)
    ) {
        let all = |v: Vec<u32>| -> Vec<u32> { (0..8).chain(v).collect() };
        let (a, b) = (all(a), all(b));
        let real = |v: &[u32]| v.iter().map(|&id| f64::from(id)).collect::<Vec<_>>();
        let pairs = [
            [
                Reference::ids(a.clone()).unwrap().compare_ids(b.clone()).unwrap(),
                Reference::ids(b.clone()).unwrap().compare_ids(a.clone()).unwrap(),
            ],
            [
                Reference::numeric(real(&a)).unwrap().compare_numbers(real(&b)).unwrap(),
                Reference::numeric(real(&b)).unwrap().compare_numbers(real(&a)).unwrap(),
            ],
        ];
        for [there, back] in pairs {
            prop_assert!((there.psi - back.psi).abs() < 1e-12);
            prop_assert!((there.p - back.p).abs() < 1e-9);
        }
    }

    #[test]
    fn a_reference_comes_back_from_a_file(a in numbers(), b in ids()) {
        for reference in [Reference::numeric(a).unwrap(), Reference::ids(b).unwrap()] {
            let text = serde_json::to_string(&reference).unwrap();
            prop_assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
        }
    }
}

#[test]
fn nothing_and_nothing_but_gaps() {
    let empty = Reference::numeric([]).unwrap_err();
    assert_eq!(
        empty.to_string(),
        "the reference has no rows, expected at least one"
    );
    assert_eq!(Reference::ids([]), Err(empty));
    let one = Reference::numeric([1.0]).unwrap();
    let empty = one.compare_numbers([]).unwrap_err();
    assert_eq!(
        empty.to_string(),
        "the column now has no rows, expected at least one"
    );

    let gaps = Reference::numeric([f64::NAN; 50]).unwrap();
    let same = gaps.compare_numbers([f64::NAN; 20]).unwrap();
    assert_eq!((same.psi, same.p, same.missing_now), (0.0, 1.0, 1.0));
    let filled = gaps.compare_numbers([1.0; 20]).unwrap();
    assert!(filled.psi > 9.0 && filled.p < 1e-9);
    assert_eq!((filled.missing_before, filled.missing_now), (1.0, 0.0));
    let unknown = Reference::ids([0; 50]).unwrap();
    assert_eq!(unknown.compare_ids([0; 9]).unwrap().p, 1.0);
    assert!(unknown.compare_ids([4; 50]).unwrap().p < 1e-9);
}

#[test]
fn a_single_value_that_becomes_another_is_seen() {
    let before = Reference::numeric([5.0; 100]).unwrap();
    assert_eq!(before.compare_numbers([5.0; 10]).unwrap().psi, 0.0);
    let narrow = f64::from(0.1_f32);
    let tenth = Reference::numeric([0.1; 100]).unwrap();
    assert_eq!(tenth.compare_numbers([narrow; 10]).unwrap().psi, 0.0);
    for other in [0.0, 7.0] {
        let drift = before.compare_numbers([other; 100]).unwrap();
        assert!(drift.psi > 9.0 && drift.p < 1e-9, "{drift:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let numbers = Reference::numeric([1.0, 2.0]).unwrap();
    assert_eq!(
        numbers.compare_ids([1]).unwrap_err().to_string(),
        "the column now holds ids, expected numbers as in the reference"
    );
    let read = |text: &str| serde_json::from_str::<Reference>(text);
    let falling =
        r#"{"rows":2,"shares":{"numeric":{"edges":[2.0,1.0],"shares":[1,0,0],"missing":0}}}"#;
    assert_eq!(
        read(falling).unwrap().compare_numbers([1.0]),
        Err(EvalError::Reference {
            problem: "its `edges` are not finite and strictly increasing"
        })
    );
    for (ids, problem) in [
        (r#"{"0":0.5}"#, "id 0 is among"),
        (r#"{"3":0.7}"#, "its shares are not"),
    ] {
        let text = format!(
            r#"{{"rows":2,"shares":{{"ids":{{"shares":{ids},"other":0.5,"unknown":0}}}}}}"#
        );
        let error = read(&text).unwrap().compare_ids([1]).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
    let unknown = r#"{"rows":2,"shares":{"ids":{"shares":{},"other":1,"unknown":0,"more":1}}}"#;
    assert!(read(unknown).unwrap_err().to_string().contains("more"));
    assert!(read(r#"{"rows":2,"row":1,"shares":{}}"#).is_err());
}
