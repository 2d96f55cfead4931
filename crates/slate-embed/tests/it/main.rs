//! Encoders held to the programs their weights come from.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files stops there"
)]

mod pictures;
mod titles;

use std::path::{Path, PathBuf};

/// A file or folder of reference values; `tests/data/make_golden.py` makes them.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn expected(folder: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(data(folder).join("expected.json"));
    serde_json::from_str(&text.expect("a file of ours")).expect("JSON")
}

fn numbers(value: &serde_json::Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).expect("numbers")
}

/// The largest difference.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// A copy of a folder that a test may spoil.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(data(name)).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a name")))
            .expect("a copy");
    }
    folder
}
