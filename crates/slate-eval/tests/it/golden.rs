//! Every convention equals its own program. From `tests/data/gold_ranking.py`: `pytrec_eval`, ranx,
//! LightGBM, scikit-learn and gdeval themselves, allRank's and TF-Ranking's formulas in NumPy.

use serde_json::Value;
use slate_eval::{Bootstrap, Convention, EvalError, Sample, evaluate};
use slate_types::ListOffsets;

struct List {
    scores: Vec<f64>,
    grades: Vec<u8>,
    labels: Vec<u8>,
    /// By falling id, as text.
    tie_order: Vec<u32>,
    has_ties: bool,
    value: Value,
}

fn lists() -> Vec<List> {
    let golden: Value =
        serde_json::from_str(include_str!("../data/ranking.json")).expect("golden values");
    let lists = golden["lists"].as_array().expect("lists");
    assert_eq!(lists.len(), 28);
    lists
        .iter()
        .map(|list| {
            let get = |key: &str| list[key].clone();
            let grades: Vec<u8> = serde_json::from_value(get("rel")).expect("grades");
            let ids: Vec<i64> = serde_json::from_value(get("docid")).expect("ids");
            let mut order: Vec<usize> = (0..ids.len()).collect();
            order.sort_by_key(|&row| std::cmp::Reverse(ids[row].to_string()));
            let mut tie_order = vec![0; ids.len()];
            for (place, row) in (0..).zip(order) {
                tie_order[row] = place;
            }
            List {
                scores: serde_json::from_value(get("score")).expect("scores"),
                labels: grades.iter().map(|&grade| u8::from(grade > 0)).collect(),
                grades,
                tie_order,
                has_ties: list["has_ties"].as_bool().expect("a flag"),
                value: list.clone(),
            }
        })
        .collect()
}

impl List {
    /// One metric of this list, through the same door as everything else.
    fn metric(&self, name: &str, convention: Convention) -> Result<f64, EvalError> {
        let offsets = ListOffsets::from_lengths([self.scores.len() as u64]).unwrap();
        let mut sample = Sample::new(&offsets, &self.scores);
        sample.grades = Some(&self.grades);
        sample.labels = Some(&self.labels);
        sample.tie_order = Some(&self.tie_order);
        let none = Bootstrap {
            draws: 0,
            ..Bootstrap::default()
        };
        let names = [name.parse().unwrap()];
        evaluate(&sample, &names, &convention, &none).map(|metrics| metrics[0].value)
    }
}

/// Holds a metric to a program's, at each cutoff that the program knows. Returns how many values
/// were compared.
fn hold(
    program: &str,
    theirs: &str,
    ours: &str,
    convention: Convention,
    tolerance: f64,
    skip: &dyn Fn(&List) -> bool,
) -> usize {
    let mut held = 0;
    for list in lists().iter().filter(|list| !skip(list)) {
        for k in ["1", "3", "10", "all"] {
            let Some(expected) = list.value[program][theirs][k].as_f64() else {
                continue;
            };
            let name = match k {
                "all" => ours.to_owned(),
                k => format!("{ours}@{k}"),
            };
            let place = format!("{} {program} {theirs} {k}", list.value["name"]);
            let value = list.metric(&name, convention).expect(&place);
            assert!(
                (value - expected).abs() <= tolerance,
                "{place}: {value}, expected {expected}"
            );
            held += 1;
        }
    }
    held
}

const NONE: &dyn Fn(&List) -> bool = &|_| false;

#[test]
fn trec_eval() {
    let convention = Convention::trec_eval();
    let held: usize = [
        ("ndcg_cut", "ndcg"),
        ("ndcg", "ndcg"),
        ("map_cut", "map"),
        ("map", "map"),
        ("P", "precision"),
        ("recall", "recall"),
        ("success", "hit"),
        ("recip_rank", "mrr"),
    ]
    .into_iter()
    .map(|(theirs, ours)| hold("pytrec_eval", theirs, ours, convention, 1e-9, NONE))
    .sum();
    assert_eq!(held, 28 * (5 * 3 + 3));
}

#[test]
fn ranx() {
    let convention = Convention::ranx();
    let mut held = 0;
    for (theirs, ours) in [("ndcg", "ndcg"), ("map", "map"), ("mrr", "mrr")] {
        held += hold("ranx", theirs, ours, convention, 1e-9, NONE);
    }
    let burges = Convention {
        gain: slate_eval::Gain::Exponential,
        ..convention
    };
    held += hold("ranx", "ndcg_burges", "ndcg", burges, 1e-9, NONE);
    assert_eq!(held, 23 * 4 * 4);
    for list in lists() {
        for (theirs, ours) in [
            ("precision", "precision"),
            ("recall", "recall"),
            ("hit_rate", "hit"),
        ] {
            for k in ["1", "3", "10"] {
                if let Some(expected) = list.value["ranx"][theirs][k].as_f64() {
                    let value = list.metric(&format!("{ours}@{k}"), convention).unwrap();
                    assert!((value - expected).abs() < 1e-9, "{theirs} {k}");
                }
            }
        }
    }
}

#[test]
fn lightgbm() {
    let convention = Convention::lightgbm();
    let held = hold("lightgbm", "ndcg", "ndcg", convention, 1e-9, NONE)
        + hold("lightgbm", "map", "map", convention, 1e-9, NONE);
    assert_eq!(held, 28 * 4 * 2);
}

#[test]
fn scikit_learn() {
    let linear = Convention::sklearn();
    let exponential = Convention {
        gain: slate_eval::Gain::Exponential,
        ..linear
    };
    let held = hold("sklearn", "ndcg_score", "ndcg", linear, 1e-9, NONE)
        + hold("sklearn", "ndcg_score_exp", "ndcg", exponential, 1e-9, NONE);
    assert!(held >= 200, "{held}");
    // Its order of ties is not specified.
    let stable = |convention| Convention {
        ties: slate_eval::Ties::Stable,
        ..convention
    };
    let tied = |list: &List| list.has_ties;
    hold(
        "sklearn",
        "ndcg_score_ignore_ties",
        "ndcg",
        stable(linear),
        1e-9,
        &tied,
    );
    hold(
        "sklearn",
        "ndcg_score_exp_ignore_ties",
        "ndcg",
        stable(exponential),
        1e-9,
        &tied,
    );
    let held = hold("sklearn", "roc_auc_score", "list_auc", linear, 1e-9, NONE);
    assert!(held > 15, "{held}");
}

#[test]
fn gdeval_allrank_and_tf_ranking() {
    let gdeval = Convention {
        gain: slate_eval::Gain::Exponential,
        ..Convention::trec_eval()
    };
    assert_eq!(hold("gdeval_twin", "ERR", "err", gdeval, 1e-9, NONE), 112);
    assert_eq!(
        hold("gdeval_twin", "nDCG_exp", "ndcg", gdeval, 1e-9, NONE),
        112
    );
    // The program itself prints five decimals.
    assert_eq!(hold("ir_measures", "ERR", "err", gdeval, 5.1e-6, NONE), 112);
    assert_eq!(
        hold("allrank", "ndcg", "ndcg", Convention::allrank(), 1e-9, NONE),
        112
    );
    assert_eq!(
        hold("tfr", "ndcg", "ndcg", Convention::tfr(), 1e-9, NONE),
        112
    );
}

/// What a program reports over all lists is the mean that `evaluate` reports.
#[test]
fn means_over_lists() {
    let golden: Value = serde_json::from_str(include_str!("../data/ranking.json")).unwrap();
    let lists = lists();
    let offsets = ListOffsets::from_lengths(lists.iter().map(|l| l.scores.len() as u64)).unwrap();
    let scores: Vec<f64> = lists.iter().flat_map(|list| list.scores.clone()).collect();
    let grades: Vec<u8> = lists.iter().flat_map(|list| list.grades.clone()).collect();
    let labels: Vec<u8> = lists.iter().flat_map(|list| list.labels.clone()).collect();
    let tie_order: Vec<u32> = lists
        .iter()
        .flat_map(|list| list.tie_order.clone())
        .collect();
    let mut sample = Sample::new(&offsets, &scores);
    sample.grades = Some(&grades);
    sample.labels = Some(&labels);
    sample.tie_order = Some(&tie_order);
    for (program, theirs, ours, convention) in [
        ("lightgbm", "ndcg", "ndcg", Convention::lightgbm()),
        ("lightgbm", "map", "map", Convention::lightgbm()),
        ("pytrec_eval", "ndcg_cut", "ndcg", Convention::trec_eval()),
        ("pytrec_eval", "map_cut", "map", Convention::trec_eval()),
        ("pytrec_eval", "P", "precision", Convention::trec_eval()),
    ] {
        for k in ["1", "3", "10"] {
            let expected = golden["means"][program][theirs][k].as_f64().unwrap();
            let names = [format!("{ours}@{k}").parse().unwrap()];
            let metrics = evaluate(&sample, &names, &convention, &Bootstrap::default()).unwrap();
            let value = metrics[0].value;
            assert!(
                (value - expected).abs() < 1e-9,
                "{program} {theirs} {k} {value} {expected}"
            );
            assert_eq!(metrics[0].n, 28);
        }
    }
}
