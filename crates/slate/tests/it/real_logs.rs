//! The documented walk-through on real logs; needs the folder named by `SLATE_SHARED`.

use std::path::PathBuf;

use super::program::{config, slate};

/// The folder of a data set, or none, which is said.
fn data(name: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("SLATE_SHARED") else {
        println!("skipped `{name}`: SLATE_SHARED is not set");
        return None;
    };
    Some(PathBuf::from(shared).join("data").join(name))
}

#[test]
fn outbrain_goes_from_displays_to_a_report() {
    let Some(source) = data("outbrain_sample") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let toml = config("outbrain.toml");
    let run = |line: &str| slate(folder.path(), line).done();
    run(&format!("import outbrain {} --out logs", source.display()));
    let features = format!(
        "features -c {} --logs logs --out data --json",
        toml.display()
    );
    let json = run(&features).json();
    assert_eq!(json["rows"], 9999);
    assert_eq!(json["lists"], 1959);
    assert_eq!(json["join"]["click"]["attributed"], 1959);
    run(&format!(
        "train -c {} --data data --out run",
        toml.display()
    ));
    run("score --run run --data data --split calibrate --out calibrate.parquet");
    run("score --run run --data data --split test --out test.parquet");
    run("score --baseline random --data data --split test --out random.parquet");
    run(
        "calibrate --scores calibrate.parquet --test test.parquet --out calibrators --set evaluate.draws=100",
    );
    let line = "evaluate --scores test.parquet -m hit@1,mrr --against random.parquet \
                --set evaluate.draws=400 --out model.json --name model --json";
    let json = run(line).json();
    assert_eq!(json["metrics"][0]["n"], 588);
    let gain = &json["against"][0];
    assert!(
        gain["low"].as_f64().unwrap() > 0.0,
        "the model beats a random order: {gain}"
    );
    run("report data run calibrators model.json --out report.html");
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("Calibration") && html.contains("hit@1"));
}

#[test]
fn letor_goes_from_queries_to_metrics() {
    let Some(source) = data("lightgbm_rank") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let toml = config("lightgbm_rank.toml");
    let run = |line: &str| slate(folder.path(), line).done();
    run(&format!("import letor {} --out data", source.display()));
    run(&format!(
        "train -c {} --data data --out run",
        toml.display()
    ));
    run("score --run run --data data --out test.parquet");
    run("score --baseline random --data data --out random.parquet");
    let line = "evaluate --scores test.parquet --label grade -m ndcg@10 --against random.parquet \
                --set evaluate.draws=400 --json";
    let json = run(line).json();
    assert_eq!(json["metrics"][0]["n"], 50);
    assert!(json["against"][0]["low"].as_f64().unwrap() > 0.0, "{json}");
}
