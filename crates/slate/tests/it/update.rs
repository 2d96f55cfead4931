//! A run that goes on from last month's, over a feature map that has grown.

use std::fs;

use super::program::{SMALL, config, slate};

#[test]
fn this_month_goes_on_from_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = format!("-c {} {SMALL}", config("demo.toml").display());
    slate(
        folder,
        &format!("simulate {line} --set simulate.pages=1500 --set simulate.users=900 --out logs"),
    )
    .done();
    // May as it was in May, with labels of a week: then all that there is.
    let may = "--as-of 2026-05-15 --set attribution.purchase_days=7";
    let features = |options: &str, out: &str| {
        slate(
            folder,
            &format!("features {line} --logs logs {options} --out {out}"),
        )
        .done()
    };
    features(may, "may");
    slate(folder, &format!("train {line} --data may --out may-run")).done();
    features("--feature-map may-run/feature_map.json --extend", "june");
    let update = |options: &str| {
        slate(
            folder,
            &format!("train {line} --data june --update-from may-run {options} --json"),
        )
    };
    let told = update("--out june-run").done().json();
    let parent = &told["run"]["parent_run"];
    assert_eq!(parent["updates"], 1);
    assert!(
        told["run"]["before"]["value"].as_f64().unwrap()
            <= told["run"]["best"]["value"].as_f64().unwrap()
    );
    assert_eq!(
        parent["weights_sha256"],
        serde_json::from_slice::<serde_json::Value>(
            &fs::read(folder.join("may-run/manifest.json")).unwrap()
        )
        .unwrap()["files"]["model.safetensors"]["sha256"]
    );
    slate(
        folder,
        "score --run june-run --data june --split test --out s.parquet",
    )
    .done();
    // The same bytes again, and nothing to do for a finished one.
    update("--out again").done();
    let weights = |run: &str| fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(weights("june-run") == weights("again"));
    let before = fs::metadata(folder.join("again/manifest.json"))
        .unwrap()
        .modified()
        .unwrap();
    update("--out again --resume").done();
    let after = fs::metadata(folder.join("again/manifest.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    // The next one is the second.
    let line_of_three =
        format!("train {line} --data june --update-from june-run --out third --json");
    assert_eq!(
        slate(folder, &line_of_three).done().json()["run"]["parent_run"]["updates"],
        2
    );

    update("--out may-run --force").refused(&["--update-from and --out are the same run"]);
    update("--out x --set train.network.hidden=16")
        .refused(&["`train.network.hidden` 16, expected 8 as in the ranker that it goes on from"]);
    slate(
        folder,
        &format!("train {line} --data june --ranker trees --update-from may-run --out x"),
    )
    .refused(&["--update-from is set, but trees have no checkpoints"]);
    features("", "fresh");
    slate(
        folder,
        &format!("train {line} --data fresh --update-from may-run --out x"),
    )
    .refused(&[
        "neither that of the run `may-run` nor an extension of it",
        "--feature-map may-run/feature_map.json --extend",
    ]);
    // One flipped byte is found.
    let mut bytes = weights("may-run");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(folder.join("may-run/model.safetensors"), bytes).unwrap();
    update("--out x").refused(&["is not the file that the run's manifest tells of"]);
    assert!(!folder.join("x").exists());
}
