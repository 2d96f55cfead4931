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

/// Labels a log in 1, 3 and 17 passes, which must agree, and gives what `--json` says.
fn labelled(folder: &std::path::Path, options: &str) -> serde_json::Value {
    let mut told: Vec<serde_json::Value> = Vec::new();
    for passes in [1, 3, 17] {
        let line =
            format!("label --logs logs --out labels-{passes} --passes {passes} --json {options}");
        let json = slate(folder, &line).done().json();
        for line in json["join"].as_object().unwrap().values() {
            let of = |name: &str| line[name].as_u64().unwrap();
            assert_eq!(
                of("input"),
                of("attributed") + of("late") + of("orphan") + of("duplicate"),
                "{json}"
            );
        }
        told.push(json);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    told.swap_remove(0)
}

#[test]
fn diginetica_purchases_of_view_sessions_are_121_attributed_and_135_orphans() {
    let Some(source) = data("diginetica") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let mut text = String::new();
        let file = std::fs::File::open(source.join(name)).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        text
    };
    // The purchase lines of the sessions that have views; the published file has those of others too.
    let session = |line: &str| line.split(';').next().unwrap().trim().to_owned();
    let views = read("sample_train-item-views.csv.gz");
    let sessions: std::collections::HashSet<String> = views.lines().map(session).collect();
    let purchases = read("train-purchases.csv.gz");
    let mut lines = purchases.lines();
    let mut kept = vec![lines.next().unwrap()];
    kept.extend(lines.filter(|line| sessions.contains(&session(line))));
    assert_eq!(kept.len(), 1 + 256);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("sample-item-views.csv"), views).unwrap();
    std::fs::write(source.join("sample-purchases.csv"), kept.join("\n") + "\n").unwrap();

    slate(folder.path(), "import diginetica source --out logs").done();
    let options = "--set attribution.view_through=true --set attribution.join_on=session \
                   --set attribution.purchase_days=365";
    let purchase = &labelled(folder.path(), options)["join"]["purchase"];
    for (name, expected) in [
        ("input", 256),
        ("attributed", 121),
        ("late", 0),
        ("orphan", 135),
        ("duplicate", 0),
    ] {
        assert_eq!(purchase[name], expected, "{name}: {purchase}");
    }
}

#[test]
fn rees46_carts_and_purchases_find_their_views() {
    let Some(source) = data("rees46_sample") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let line = format!("import rees46 {} --out logs", source.display());
    slate(folder.path(), &line).done();
    let json = labelled(folder.path(), "--set attribution.view_through=true");
    assert_eq!(json["rows"], 488);
    let purchase = &json["join"]["purchase"];
    // Four were bought before their item was viewed; a nested loop over the file says the same.
    for (name, expected) in [
        ("input", 235),
        ("attributed", 231),
        ("orphan", 4),
        ("early", 4),
    ] {
        assert_eq!(purchase[name], expected, "{name}: {purchase}");
    }
    assert_eq!(json["join"]["cart"]["attributed"], 128);
}
