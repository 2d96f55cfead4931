//! Rankers on disk.

use std::fs;
use std::path::Path;

use slate_model::{DeviceSpec, MODEL_FILE, Ranker, WEIGHTS_FILE};
use slate_types::Seed;
use tempfile::TempDir;

use crate::market::{batch, config, shape};

fn saved(text: &str) -> (TempDir, Ranker) {
    let ranker = Ranker::untrained(&config(text), &shape(), Seed(5), DeviceSpec::Auto).unwrap();
    let dir = TempDir::new().unwrap();
    ranker.save(dir.path()).unwrap();
    (dir, ranker)
}

fn refused(dir: &Path) -> String {
    let error = Ranker::load(dir, DeviceSpec::Auto).unwrap_err();
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error}: {cause}").replace(&format!("{}/", dir.display()), "")
}

#[test]
fn a_loaded_ranker_gives_the_same_scores_and_bytes() {
    for kind in ["mlp", "transformer"] {
        let (dir, ranker) = saved(&format!("[network]\nkind = \"{kind}\"\nhidden = 12"));
        let loaded = Ranker::load(dir.path(), DeviceSpec::Cpu).unwrap();
        let lists = batch(1, &[3, 5, 1]);
        let (before, after) = (ranker.score(&lists).unwrap(), loaded.score(&lists).unwrap());
        let bits = |scores: &[f32]| {
            scores
                .iter()
                .map(|score| score.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&before.click), bits(&after.click));
        assert_eq!(bits(&before.purchase), bits(&after.purchase));
        assert_eq!(loaded.score_head(), ranker.score_head());
        assert_eq!(loaded.parameters(), ranker.parameters());
        let again = TempDir::new().unwrap();
        loaded.save(again.path()).unwrap();
        for file in [MODEL_FILE, WEIGHTS_FILE] {
            let read = |dir: &TempDir| fs::read(dir.path().join(file)).unwrap();
            assert_eq!(read(&dir), read(&again), "{file}");
        }
    }
}

#[test]
fn a_newer_or_foreign_description_is_refused() {
    let (dir, _) = saved("");
    let path = dir.path().join(MODEL_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"format\": 2", "\"format\": 3")).unwrap();
    assert_eq!(
        refused(dir.path()),
        "`model.json` cannot be read by this version of slate: model has format 3, expected a \
         format from 1 to 2"
    );
    fs::write(&path, text.replace("\"hidden\": 64", "\"hidden\": 63")).unwrap();
    assert!(refused(dir.path()).contains("`train.network.heads` is 4, expected a divisor"));
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(refused(dir.path()).starts_with("`model.json` is not a model description: EOF"));
}

#[test]
fn weights_of_another_network_are_refused() {
    let (dir, _) = saved("[network]\nkind = \"mlp\"\nhidden = 8");
    let (other, _) = saved("[network]\nkind = \"mlp\"\nhidden = 6");
    fs::copy(
        other.path().join(WEIGHTS_FILE),
        dir.path().join(WEIGHTS_FILE),
    )
    .unwrap();
    assert!(
        refused(dir.path()).contains("is F32 of shape [6], expected F32 of shape [8]"),
        "{}",
        refused(dir.path())
    );
    let (transformer, _) = saved("[network]\nhidden = 8");
    fs::copy(
        transformer.path().join(WEIGHTS_FILE),
        dir.path().join(WEIGHTS_FILE),
    )
    .unwrap();
    assert!(refused(dir.path()).contains("is present, expected no such tensor"));
}

#[test]
fn broken_files_and_missing_folders_are_refused() {
    let (dir, ranker) = saved("");
    let path = dir.path().join(WEIGHTS_FILE);
    let mut bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    assert!(refused(dir.path()).starts_with("`model.safetensors` is not a readable weights file"));
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert!(
        refused(dir.path()).contains("expected finite numbers"),
        "{}",
        refused(dir.path())
    );
    fs::remove_file(&path).unwrap();
    assert!(refused(dir.path()).starts_with("cannot read `model.safetensors`"));
    let nowhere = ranker
        .save(&dir.path().join("nowhere"))
        .unwrap_err()
        .to_string();
    assert!(nowhere.starts_with("cannot write `"), "{nowhere}");
}
