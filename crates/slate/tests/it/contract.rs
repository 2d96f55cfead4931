//! The command-line contract: streams, exit codes, help.

use super::program::{config, dataset, slate};

#[test]
fn every_command_has_help_and_most_have_examples() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        "demo",
        "simulate",
        "import",
        "validate",
        "features",
        "train",
        "score",
        "calibrate",
        "evaluate",
        "rerank",
        "backtest",
        "report",
    ] {
        let help = slate(folder.path(), &format!("{verb} --help")).done();
        assert!(help.stdout.contains("Examples:"), "{verb}: {}", help.stdout);
        for flag in [
            "--config",
            "--set",
            "--seed",
            "--threads",
            "--json",
            "--quiet",
            "--force",
        ] {
            assert!(help.stdout.contains(flag), "{verb} has no {flag}");
        }
    }
    slate(folder.path(), "--version").done();
    slate(folder.path(), "doctor --help").done();
}

#[test]
fn wrong_use_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    slate(folder.path(), "tarin --data x").refused(&["train"]);
    slate(folder.path(), "train").refused(&["--data"]);
    slate(folder.path(), "doctor --threads 0").refused(&["--threads is 0"]);
    slate(folder.path(), "simulate --out x --policy best").refused(&["best", "popularity"]);
    slate(folder.path(), "import netflix x --out y").refused(&["netflix", "outbrain"]);
    slate(folder.path(), "train --data x --out y --device cuda:0")
        .refused(&["no section `[train]`"]);
    let absent = format!(
        "train -c {} --data x --out y --device cuda:77",
        config("demo.toml").display()
    );
    slate(folder.path(), &absent).refused(&["device `cuda:77` is not available", "`cpu`"]);
}

#[test]
fn json_is_one_object_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = slate(folder.path(), "doctor --json").done().json();
    assert!(doctor["threads"].as_u64().unwrap() >= 1);
    assert!(
        doctor["devices"]
            .as_array()
            .unwrap()
            .iter()
            .any(|device| device["name"] == "cpu")
    );

    let line = format!(
        "score --baseline logged --data {} --out s.csv --json",
        dataset().display()
    );
    let scored = slate(folder.path(), &line).done();
    assert_eq!(scored.json()["scorer"], "baseline:logged");
    assert!(
        scored.stderr.is_empty(),
        "no terminal, no talk: {}",
        scored.stderr
    );
    let csv = std::fs::read_to_string(folder.path().join("s.csv")).unwrap();
    assert!(
        csv.starts_with("list_id,item_id,impression,slot,ts,score,grade,click,purchase,weight,")
    );

    let line =
        "evaluate --scores s.csv -m ndcg@10,auc --label click --set evaluate.draws=50 --json";
    let json = slate(folder.path(), line).done().json();
    let metric = &json["metrics"][0];
    assert_eq!(metric["name"], "ndcg@10");
    assert_eq!(metric["unit"], "list");
    assert_eq!(
        metric["convention"],
        "gain=exp;ties=mean;empty=skip;label=click"
    );
    let value = |key: &str| metric[key].as_f64().unwrap();
    assert!(value("low") <= value("value") && value("value") <= value("high"));
    assert_eq!(json["against"], serde_json::json!([]));
}

#[test]
fn outputs_are_never_overwritten_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "score --baseline logged --data {} --out s.csv",
        dataset().display()
    );
    slate(folder.path(), &line).done();
    let before = std::fs::read(folder.path().join("s.csv")).unwrap();
    slate(folder.path(), &line).refused(&["`s.csv` already exists", "hint:", "--force"]);
    assert_eq!(std::fs::read(folder.path().join("s.csv")).unwrap(), before);
    slate(folder.path(), &format!("{line} --force")).done();
}
