//! Trees that XGBoost grew and asked, held to its own scores, and ours as XGBoost writes them.
//! `data/xgboost/make.py` made the files.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use slate_trees::TreeRanker;
use slate_types::Batch;

#[derive(Deserialize)]
struct Rows {
    lists: usize,
    slots: usize,
    dense: Vec<f32>,
    ids: Vec<u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xgboost")
}

fn json<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("a golden file")).expect("JSON")
}

fn batch() -> Batch {
    let rows: Rows = json(&folder().join("rows.json"));
    Batch {
        lists: rows.lists,
        slots: rows.slots,
        dense_width: 3,
        categorical_width: 1,
        dense: rows.dense,
        mask: vec![true; rows.ids.len()],
        categorical: rows.ids,
        ..Batch::default()
    }
}

#[test]
fn trees_of_xgboost_score_as_they_do_there() {
    for name in ["lambdamart", "logistic"] {
        let ranker = TreeRanker::load(&folder().join(name)).unwrap();
        let wanted: Vec<f32> = json(&folder().join(name).join("scores.json"));
        let scores = ranker.score(&batch()).unwrap();
        assert_eq!(scores.len(), wanted.len());
        assert!(wanted.iter().any(|score| score.abs() > 0.5), "{name}");
        for (place, (own, theirs)) in scores.iter().zip(&wanted).enumerate() {
            assert!(
                (own - theirs).abs() < 1e-6,
                "{name} {place}: {own}, {theirs}"
            );
        }
        assert_eq!(ranker.trees(), 12);
        let gains: f64 = ranker.importance().iter().map(|one| one.gain).sum();
        assert!((gains - 1.0).abs() < 1e-12);
    }
}

#[test]
fn they_can_be_saved_and_read_again() {
    let ranker = TreeRanker::load(&folder().join("lambdamart")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    ranker.save(dir.path()).unwrap();
    let again = TreeRanker::load(dir.path()).unwrap();
    assert_eq!(
        again.score(&batch()).unwrap(),
        ranker.score(&batch()).unwrap()
    );
}
