//! Titles, beside PyTorch's transformers on the same small networks.

use std::path::Path;

use slate_embed::{EmbedDevice, EmbedError, Pooling, TextEncoder, TextOptions};
use slate_types::Hint;

use crate::{apart, copy, data, expected, numbers};

fn options(folder: &Path) -> TextOptions {
    TextOptions {
        folder: folder.to_path_buf(),
        pooling: None,
        normalize: None,
        max_tokens: None,
    }
}

fn open(options: &TextOptions) -> Result<TextEncoder, EmbedError> {
    TextEncoder::open(options, EmbedDevice::Cpu)
}

#[test]
fn ids_and_vectors_are_those_of_transformers() {
    for name in ["tiny_bert", "tiny_distilbert"] {
        let expected = expected(name);
        let cases = expected["texts"].as_array().unwrap();
        let texts: Vec<&str> = cases
            .iter()
            .map(|case| case["text"].as_str().unwrap())
            .collect();
        for (pooling, normalize, key) in [
            (Pooling::Mean, false, "mean"),
            (Pooling::Mean, true, "normalized"),
            (Pooling::Cls, false, "cls"),
        ] {
            let encoder = open(&TextOptions {
                pooling: Some(pooling),
                normalize: Some(normalize),
                ..options(&data(name))
            })
            .unwrap();
            let vectors = encoder.encode(&texts, &|_| ()).unwrap();
            let width = encoder.identity().dimensions;
            for (case, vector) in cases.iter().zip(vectors.chunks_exact(width)) {
                let text = case["text"].as_str().unwrap();
                let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
                assert_eq!(encoder.tokens(text).unwrap(), ids, "{name} {text:?}");
                let worst = apart(vector, &numbers(&case[key]));
                assert!(worst < 5e-6, "{name} {key} {text:?}: {worst}");
            }
        }
    }
}

#[test]
fn a_vector_depends_on_its_text_alone() {
    let encoder = open(&options(&data("tiny_bert"))).unwrap();
    let texts: Vec<String> = (0..300).map(|at| "ab cd ".repeat(at % 17)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let counted = std::sync::atomic::AtomicUsize::new(0);
    let done = |count| {
        counted.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    };
    let together = encoder.encode(&texts, &done).unwrap();
    assert_eq!(counted.into_inner(), 300);
    let width = encoder.identity().dimensions;
    for at in [0, 16, 17, 160, 299] {
        let alone = encoder.encode(&texts[at..=at], &|_| ()).unwrap();
        assert!(apart(&alone, &together[at * width..(at + 1) * width]) < 1e-6);
    }
    assert!(encoder.encode(&[], &|_| ()).unwrap().is_empty());
}

#[test]
fn options_are_part_of_the_identity_and_checked() {
    let encoder = open(&options(&data("tiny_bert"))).unwrap();
    let cut = TextOptions {
        max_tokens: Some(4),
        ..options(&data("tiny_bert"))
    };
    let short = open(&cut).unwrap();
    assert_eq!(short.tokens("a b c d e f").unwrap().len(), 4);
    assert_ne!(short.identity(), encoder.identity());
    let again = open(&options(&data("tiny_bert"))).unwrap();
    assert_eq!(again.identity(), encoder.identity());
    let wrong = TextOptions {
        max_tokens: Some(65),
        ..cut
    };
    let error = open(&wrong).unwrap_err().to_string();
    assert_eq!(
        error,
        "`max_tokens` is 65, expected a number from 3 to 64, the network's positions"
    );
}

#[test]
fn folders_that_do_not_fit_are_refused_with_what_is_wrong() {
    let folder = copy("tiny_bert");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        open(&options(folder.path())).unwrap_err()
    };
    let error = refused("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    let told = error.to_string();
    assert!(
        told.contains("`encoder.layer.2.attention.self.query.weight` is missing"),
        "{told}"
    );
    assert!(told.ends_with("and 6 more"), "{told}");
    assert!(error.hint().unwrap().contains("as transformers saves them"));
    let error = refused("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1").to_string();
    assert!(
        error.contains("`encoder.layer.1.attention.output.LayerNorm.bias` is not of this"),
        "{error}"
    );
    let error = refused("\"intermediate_size\": 64", "\"intermediate_size\": 60").to_string();
    assert!(error.contains("is [64, 32], expected [60, 32]"), "{error}");
    let error = refused("\"model_type\": \"bert\"", "\"model_type\": \"mpnet\"").to_string();
    assert!(
        error.contains("`model_type` is `mpnet`, expected bert, distilbert"),
        "{error}"
    );
    let vocabulary =
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["vocab_size"].clone();
    let own = format!("\"vocab_size\": {vocabulary}");
    let error = refused(&own, "\"vocab_size\": 50").to_string();
    assert!(
        error.contains("but the network has 50 embeddings"),
        "{error}"
    );
    std::fs::write(&config, &text).unwrap();
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let error = open(&options(folder.path())).unwrap_err();
    assert!(matches!(error, EmbedError::Weights { .. }), "{error}");
    std::fs::remove_file(&weights).unwrap();
    let error = open(&options(folder.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has no file `model.safetensors` or"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("datasets/fetch_weights.py"));
}
