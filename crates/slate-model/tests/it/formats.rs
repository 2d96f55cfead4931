//! Files of every format version stay readable. `tests/data/formats/model-1` was written by
//! `Ranker::save` of version 0.1.0, from the config, shape and seed of `the_ranker` below.

use std::path::Path;

use slate_model::{DeviceSpec, Ranker};
use slate_types::{FeatureShape, Seed};

use crate::market::{batch, config};

fn the_ranker() -> Ranker {
    let config = config("[network]\nhidden = 4\nlayers = 1\nheads = 2\nembedding_width = 2");
    let shape = FeatureShape {
        dense: 3,
        categorical: vec![5],
        ..FeatureShape::default()
    };
    Ranker::untrained(&config, &shape, Seed(11), DeviceSpec::Auto).unwrap()
}

#[test]
fn version_1_is_read_and_scores_as_when_it_was_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats/model-1");
    let ranker = Ranker::load(&dir, DeviceSpec::Auto).unwrap();
    let mut lists = batch(1, &[3]);
    lists.dense = vec![0.5, -1.0, 0.25, 1.0, 0.0, -0.5, -0.75, 0.5, 2.0];
    lists.categorical = vec![0, 4, 2];
    let scores = ranker.score(&lists).unwrap();
    for (score, written) in scores.purchase.iter().chain(&scores.click).zip(SCORES) {
        assert!(
            (score - written).abs() < 2e-6,
            "{:?} {:?}",
            scores.purchase,
            scores.click
        );
    }
    assert_eq!(ranker.parameters(), the_ranker().parameters());
}

/// Purchase scores of the three slots, then their click scores, from `scores.py` in the folder.
const SCORES: [f32; 6] = [
    -0.042_319_5,
    0.165_578,
    -0.651_746,
    -0.661_649,
    -0.156_585,
    -0.786_951,
];
