//! The demo and the chain it stands for: right, repeatable, traceable, the same step by step.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::program::{SMALL, config, dataset, listing, slate};

fn demo(folder: &Path, more: &str) -> Value {
    slate(folder, &format!("demo --out demo --json {SMALL} {more}"))
        .done()
        .json()
}

#[test]
fn the_demo_repeats_to_the_byte() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = demo(one.path(), "--threads 1");
    let second = demo(two.path(), "--threads 2");
    assert_eq!(first, second);
    let files = listing(&one.path().join("demo"));
    assert_eq!(files, listing(&two.path().join("demo")));
    for name in &files {
        let (a, b) = (
            one.path().join("demo").join(name),
            two.path().join("demo").join(name),
        );
        if a.is_dir() {
            continue;
        }
        let (mut a, mut b) = (fs::read(a).unwrap(), fs::read(b).unwrap());
        if name == "report.html" {
            // A test may run across midnight.
            let undated = |bytes: Vec<u8>| {
                let text = String::from_utf8(bytes).unwrap();
                let lines = text.lines().filter(|line| !line.contains("Made on "));
                lines.collect::<Vec<_>>().join("\n").into_bytes()
            };
            (a, b) = (undated(a), undated(b));
        }
        assert!(a == b, "`{name}` differs");
    }
    let other = tempfile::tempdir().unwrap();
    assert_ne!(demo(other.path(), "--seed 2")["orders"], first["orders"]);
}

#[test]
fn the_demo_has_the_documented_shape_and_ends_in_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let json = demo(folder.path(), "");
    for order in [
        "logged",
        "random",
        "popular",
        "linear",
        "trees",
        "transformer",
        "oracle",
    ] {
        assert_eq!(json["orders"][order][0]["name"], "ndcg@10", "{order}");
    }
    for method in ["raw", "isotonic", "sigmoid", "exponential"] {
        assert_eq!(
            json["calibration"][method][0]["name"], "logloss",
            "{method}"
        );
    }
    let html = fs::read_to_string(folder.path().join(json["report"].as_str().unwrap())).unwrap();
    for part in [
        "Orders by purchase",
        "Calibration",
        "w log ad_rate",
        "class=\"band s0\"",
        "Training",
        "Data",
        "Log",
        "<svg",
    ] {
        assert!(html.contains(part), "no {part} in the report");
    }
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "the page needs no network"
    );
    assert!(!html.contains("NaN") && !html.contains(">null<"));

    // Each source it names stands beside it, and the metrics on it are those of the files.
    let mut sources = 0;
    for line in html
        .lines()
        .filter(|line| line.contains("class=\"source\""))
    {
        for part in line.split("<code>").skip(1) {
            let file = part.split("</code>").next().unwrap();
            assert!(
                folder.path().join("demo").join(file).is_file(),
                "no source `{file}`"
            );
            sources += 1;
        }
    }
    assert!(sources >= 8, "{sources} sources");
    let model =
        fs::read_to_string(folder.path().join("demo/evaluations/6-transformer.json")).unwrap();
    let model: Value = serde_json::from_str(&model).unwrap();
    assert_eq!(model["metrics"], json["orders"]["transformer"]);

    // The page can be made again from the files.
    slate(folder.path(), "report demo --out again.html").done();
    let again = fs::read_to_string(folder.path().join("again.html")).unwrap();
    let body = |html: &str| html[html.find("<section>").unwrap()..].to_owned();
    assert_eq!(body(&again), body(&html));
}

#[test]
fn commands_and_demo_make_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    demo(folder.path(), "");
    let toml = config("demo.toml");
    let (toml, run) = (toml.display(), |line: &str| {
        slate(folder.path(), line).done()
    });
    run(&format!("simulate -c {toml} {SMALL} --out logs"));
    run(&format!(
        "features -c {toml} {SMALL} --logs logs --out dataset"
    ));
    run(&format!("train -c {toml} {SMALL} --data dataset --out run"));
    run(&format!(
        "train -c {toml} {SMALL} --data dataset --out trees --ranker trees"
    ));
    run(&format!(
        "train -c {toml} {SMALL} --data dataset --out linear --set train.network={{kind=\"linear\"}}"
    ));
    run("score --run run --data dataset --split calibrate --out calibrate.parquet");
    run("score --run run --data dataset --split test --out test.parquet");
    run(&format!(
        "calibrate -c {toml} {SMALL} --scores calibrate.parquet --test test.parquet --out calibrators \
         --label purchase"
    ));
    for (by_demo, by_command) in [
        (
            "logs/slot_impression.parquet",
            "logs/slot_impression.parquet",
        ),
        ("dataset/feature_map.json", "dataset/feature_map.json"),
        ("dataset/test/dense.npy", "dataset/test/dense.npy"),
        ("run/model.safetensors", "run/model.safetensors"),
        ("run-trees/model.ubj", "trees/model.ubj"),
        ("run-linear/model.safetensors", "linear/model.safetensors"),
        ("scores/transformer.test.parquet", "test.parquet"),
        ("calibrators/isotonic.json", "calibrators/isotonic.json"),
    ] {
        let a = fs::read(folder.path().join("demo").join(by_demo)).unwrap();
        let b = fs::read(folder.path().join(by_command)).unwrap();
        assert!(a == b, "`{by_demo}` differs from `{by_command}`");
    }

    run("validate logs dataset run calibrators calibrators/isotonic.json test.parquet");
    run("calibrate --apply calibrators/isotonic.json --scores test.parquet --out with.parquet");
    let metrics = "-m ndcg@10,auc --label purchase --set evaluate.draws=50 --json";
    let plain = run(&format!("evaluate --scores test.parquet {metrics}")).json();
    let calibrated = run(&format!("evaluate --scores with.parquet {metrics}")).json();
    assert_eq!(
        plain["metrics"], calibrated["metrics"],
        "calibration never changes the order"
    );
    let line = "evaluate --scores with.parquet -m logloss,pcoc --set evaluate.draws=50 --json";
    assert_eq!(run(line).json()["metrics"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_refuses_features_it_was_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let toml = config("demo.toml");
    let train = format!(
        "train -c {} {SMALL} --data {} --out run",
        toml.display(),
        dataset().display()
    );
    slate(folder.path(), &train).done();
    let logs = super::program::logs().display();
    let other = format!(
        "features -c {} {SMALL} --logs {logs} --out other --set split.test=0.4",
        toml.display()
    );
    slate(folder.path(), &other).done();
    slate(
        folder.path(),
        "score --run run --data other --out s.parquet",
    )
    .refused(&["was trained with feature map", "hint:", "--feature-map"]);
    // With the run's own map it can.
    slate(
        folder.path(),
        &format!("{other} --feature-map run/feature_map.json --force"),
    )
    .done();
    slate(
        folder.path(),
        "score --run run --data other --out s.parquet",
    )
    .done();
}

#[test]
fn what_a_killed_command_left_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(".logs.partial");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("slot_impression.parquet"), "half").unwrap();
    slate(
        folder.path(),
        "simulate --pages 50 --out logs --set simulate.pictures=false",
    )
    .done();
    assert!(!left.exists());
    slate(folder.path(), "validate logs").done();
}

/// The claims of the demo, on a quarter of its pages.
#[test]
fn the_ranker_beats_the_log_and_calibration_beats_the_raw_score() {
    let folder = tempfile::tempdir().unwrap();
    let line = "demo --out demo --json --set simulate.pages=4000 --set simulate.pictures=false \
                --set train.epochs=4 --set evaluate.draws=400";
    let json = slate(folder.path(), line).done().json();
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path().join("demo").join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let model = read("evaluations/6-transformer.json");
    for (at, other) in ["logged", "random", "popular"].into_iter().enumerate() {
        let against = &model["against"][at];
        assert_eq!(against["name"], other);
        let ndcg = &against["differences"][0];
        assert_eq!(ndcg["name"], "ndcg@10");
        assert!(
            ndcg["low"].as_f64().unwrap() > 0.0,
            "against {other}: {ndcg}"
        );
    }
    let comparison = read("calibrators/comparison.json");
    let raw = &comparison["methods"]["raw"]["against"][0];
    assert_eq!(comparison["reference"], "isotonic");
    assert!(raw["low"].as_f64().unwrap() > 0.0, "raw loses: {raw}");
    let verdict = comparison["verdict"].as_str().unwrap();
    assert!(verdict.contains("`raw` (+"), "{verdict}");
    // One ranker's order is what it was, whatever the map.
    let change = comparison["order"]["largest_change"].as_f64().unwrap();
    assert!(change.abs() < 1e-12, "{change}");
    // Mixed with prices and rates it is not.
    for method in ["raw", "isotonic", "sigmoid", "exponential"] {
        let blended = &comparison["methods"][method]["blended"];
        assert_eq!(blended["metrics"][0]["name"], "revenue@3", "{method}");
        assert!(blended["metrics"][0]["value"].as_f64().unwrap() > 0.0);
    }
    let earned = |order: &str| json["truth"]["orders"][order]["ptr@3"].as_f64().unwrap();
    assert!(earned("oracle") > earned("transformer") && earned("transformer") > earned("logged"));
}
