//! Rankers whose weights come from PyTorch. `tests/data/torch/make.py` made them and their scores.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use slate_model::{DeviceSpec, Ranker, TrainOptions};
use slate_types::{Batch, FeatureShape, Seed, SlotIds};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch")
}

fn golden() -> Value {
    let text = fs::read_to_string(folder().join("scores.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(values: &Value) -> Vec<f32> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

fn whole(values: &Value) -> Vec<u32> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value.as_u64().unwrap() as u32).collect()
}

fn batch(golden: &Value) -> Batch {
    let lengths = whole(&golden["lengths"]);
    let slots = golden["slots"].as_u64().unwrap() as usize;
    let mask = lengths
        .iter()
        .flat_map(|&length| (0..slots as u32).map(move |slot| slot < length));
    let mask: Vec<bool> = mask.collect();
    let ids: Vec<Vec<u32>> = golden["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(whole)
        .collect();
    let ends = ids.iter().scan(0, |end, ids| {
        *end += ids.len() as u32;
        Some(*end)
    });
    let places = mask.len();
    Batch {
        lists: lengths.len(),
        slots,
        dense_width: 3,
        categorical_width: 1,
        dense: numbers(&golden["dense"]),
        categorical: whole(&golden["categorical"]),
        multi_valued: vec![SlotIds {
            offsets: std::iter::once(0).chain(ends).collect(),
            values: ids.concat(),
        }],
        mask,
        click: vec![0.0; places],
        purchase: vec![0.0; places],
        grade: vec![0.0; places],
        weight: vec![1.0; places],
        slot: vec![0; places],
        ..Batch::default()
    }
}

/// The untrained ranker of a case.
fn ranker(case: &Value) -> Ranker {
    let mut options: TrainOptions =
        toml::from_str("[network]\nhidden = 8\nlayers = 2\ndropout = 0.0\nembedding_width = 3")
            .unwrap();
    let own = &case["network"];
    options.network.kind = serde_json::from_value(own["kind"].clone()).unwrap();
    if own["kind"] == "transformer" {
        options.network.heads = Some(2);
        options.network.feed_forward = Some(12);
    }
    options.network.norm = serde_json::from_value(own["norm"].clone()).ok();
    if let Ok(activation) = serde_json::from_value(own["activation"].clone()) {
        options.network.activation = activation;
    }
    options.network.layers = own["layers"].as_u64().unwrap_or(2) as usize;
    options.network.bidirectional = own["bidirectional"].as_bool();
    if !own["input_norm"].is_null() {
        options.network.input_norm = serde_json::from_value(own["input_norm"].clone()).unwrap();
    }
    let shape = FeatureShape {
        dense: 3,
        categorical: vec![5],
        multi_valued: vec![4],
        ..FeatureShape::default()
    };
    Ranker::untrained(&options.check().unwrap(), &shape, Seed(1), DeviceSpec::Cpu).unwrap()
}

#[test]
fn a_count_of_batches_is_passed_over() {
    let golden = golden();
    let case = &golden["cases"][5];
    let bytes = fs::read(folder().join("mlp-batch.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let count = 7_i64.to_le_bytes();
    let mut views = file.tensors();
    let counter = TensorView::new(Dtype::I64, vec![], &count).unwrap();
    views.push(("batch_norm.num_batches_tracked".to_owned(), counter));
    let with_count = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        with_count.path(),
        safetensors::serialize(views, None).unwrap(),
    )
    .unwrap();
    let batch = batch(&golden);
    let scores = |file: &Path| {
        let ranker = ranker(case).with_state_dict(file).unwrap();
        ranker.score(&batch).unwrap().click
    };
    let bits = |scores: Vec<f32>| -> Vec<u32> { scores.into_iter().map(f32::to_bits).collect() };
    let plain = scores(&folder().join("mlp-batch.safetensors"));
    assert_eq!(bits(scores(with_count.path())), bits(plain));
}

#[test]
fn a_model_of_pytorch_scores_the_same_here() {
    let golden = golden();
    let batch = batch(&golden);
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let file = folder().join(format!("{name}.safetensors"));
        let scores = ranker(case)
            .with_state_dict(&file)
            .unwrap()
            .score(&batch)
            .unwrap();
        for (head, scores) in [("click", scores.click), ("purchase", scores.purchase)] {
            let expected = numbers(&case[head]);
            let real = scores.iter().zip(&batch.mask).filter(|(_, mask)| **mask);
            let found: Vec<f32> = real.map(|(score, _)| *score).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{name} {head}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn a_state_dict_of_another_network_is_refused_by_name() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    let refused = |case: usize, file: &str| {
        let file = folder().join(format!("{file}.safetensors"));
        let error = ranker(&cases[case]).with_state_dict(&file).unwrap_err();
        error.to_string()
    };
    // The transformer without a norm of its inputs finds one; the other way round one is missing.
    let unknown = refused(1, "transformer-pre");
    assert!(unknown.contains("is unknown"), "{unknown}");
    let missing = refused(0, "transformer-post");
    assert!(
        missing.contains("is missing, expected of shape"),
        "{missing}"
    );
    let other = refused(4, "mlp");
    assert!(other.contains("`body.bias_hh_l0_reverse`"), "{other}");
}
