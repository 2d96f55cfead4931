//! `[train.update]`: what a run keeps for the next one, and how the next goes on with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::program::{SMALL, config, slate};

/// Keeps a sample and the optimiser's state.
const KEEP: &str = "--set train.update.reservoir=60 --set train.update.optimizer=\"kept\"";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The numbers of an array of 64-bit integers of one axis.
fn integers(path: &Path) -> Vec<i64> {
    let bytes = fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let numbers = bytes[header..].chunks_exact(8);
    numbers
        .map(|eight| i64::from_le_bytes(eight.try_into().unwrap()))
        .collect()
}

fn events(run: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events
        .filter(|event: &Value| event["event"] == name)
        .collect()
}

/// A log, the dataset `first` of most of it, the dataset `next` of its beginning over the same map grown, and a
/// run `run` on `first` that keeps what there is to keep.
fn setting(folder: &Path) -> String {
    let line = format!("-c {} {SMALL}", config("demo.toml").display());
    slate(
        folder,
        &format!("simulate {line} --set simulate.pages=900 --set simulate.users=500 --out logs"),
    )
    .done();
    let features = |options: &str, out: &str| {
        slate(
            folder,
            &format!("features {line} --logs logs {options} --out {out}"),
        )
        .done();
    };
    features("", "first");
    slate(
        folder,
        &format!("train {line} {KEEP} --data first --out run"),
    )
    .done();
    let grown = "--feature-map run/feature_map.json --extend --set split.valid=0.4";
    features(grown, "next");
    features(&format!("{grown} --refit-statistics"), "refitted");
    line
}

#[test]
fn a_run_keeps_what_the_next_goes_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = setting(folder);
    let weights = |run: &str| fs::read(folder.join(run).join("model.safetensors")).unwrap();
    let ids = |path: &str| integers(&folder.join(path).join("train/list_id.npy"));
    let update = |options: &str| {
        slate(
            folder,
            &format!("train {line} --data next --update-from run {options} --json"),
        )
    };

    let run = json(&folder.join("run/manifest.json"));
    assert_eq!(run["replay"]["lists"], 60);
    for file in [
        "optimizer.safetensors",
        "replay/train/list_id.npy",
        "replay/manifest.json",
    ] {
        assert!(run["files"][file]["sha256"].is_string(), "{file}");
    }
    let all: BTreeSet<i64> = ids("first").into_iter().collect();
    let kept: BTreeSet<i64> = ids("run/replay").into_iter().collect();
    assert!(kept.len() == 60 && kept.is_subset(&all));
    let next: BTreeSet<i64> = ids("next").into_iter().collect();
    assert!(next.is_subset(&all) && next.len() < all.len());

    // The sample of the next is that of both; all of the next was in the first.
    let told = update(&format!(
        "{KEEP} --set train.update.replay=0.5 --out second"
    ));
    let told = told.done().json();
    assert_eq!(told["run"]["replay"]["below"], run["replay"]["below"]);
    let again: BTreeSet<i64> = ids("second/replay").into_iter().collect();
    assert_eq!(again, kept);

    // Half as many lists again, or all that are left.
    let line_of = |options: &str, out: &str| {
        update(&format!(
            "--set train.update.epochs=1 {options} --out {out}"
        ))
        .done();
        assert_eq!(events(&folder.join(out), "epoch").len(), 1);
        weights(out)
    };
    let plain = line_of("", "plain");
    let replayed = line_of("--set train.update.replay=0.5", "replayed");
    assert!(plain != replayed);
    assert!(replayed == line_of("--set train.update.replay=0.5 --threads 1", "alone"));
    assert!(plain != line_of("--set train.update.distil=5.0", "held"));
    assert!(plain != line_of("--set train.update.optimizer=\"kept\"", "kept"));

    // What cannot be.
    slate(
        folder,
        &format!(
            "train {line} --data refitted --update-from run --set train.update.replay=0.5 --out x"
        ),
    )
    .refused(&[
        "statistics of the feature map were fitted anew since",
        "--refit-statistics",
    ]);
    let from_plain = |options: &str| {
        slate(
            folder,
            &format!("train {line} --data next --update-from plain {options} --out x"),
        )
    };
    from_plain("--set train.update.replay=0.5").refused(&[
        "kept no lists to replay",
        "`train.update.reservoir` above 0",
    ]);
    from_plain("--set train.update.optimizer=\"kept\"").refused(&[
        "kept no state of its optimiser",
        "or set `train.update.optimizer",
    ]);
    from_plain("--set train.update.most=1").refused(&[
        "is 1 updates from a training from nothing, and `train.update.most` is 1",
        "leave --update-from out",
    ]);
    update("--set train.optimizer=\"lion\" --set train.update.optimizer=\"kept\" --out x")
        .refused(&["kept the state of `adamw`, but `train.optimizer` is `lion`"]);
    update("--set train.update.new_ids=\"content\" --out x")
        .refused(&["the dataset has no vectors of items", "embedding"]);
    // One flipped byte of a kept list is found.
    let file = folder.join("run/replay/train/dense.npy");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
    update("--out x").refused(&["is not the file that the run's manifest tells of"]);
}

#[test]
fn days_are_judged_before_they_are_learned_also_where_training_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = setting(folder);
    let by_day = format!(
        "train {line} --data next --update-from run --set train.update.by_day=true \
         --set train.update.replay=0.2 --set train.batch_lists=4"
    );
    slate(folder, &format!("{by_day} --out whole")).done();
    let manifest = json(&folder.join("whole/manifest.json"));
    let days = manifest["progressive"].as_array().unwrap();
    let ts = integers(&folder.join("next/train/list_ts.npy"));
    let expected: BTreeSet<i64> = ts.iter().map(|ts| ts.div_euclid(86_400_000_000)).collect();
    assert_eq!(days.len(), expected.len());
    let lists: u64 = days.iter().map(|day| day["lists"].as_u64().unwrap()).sum();
    assert_eq!(lists, ts.len() as u64);
    assert!(days.is_sorted_by_key(|day| day["day"].as_str()));
    assert!(days.iter().any(|day| day["value"].as_f64().is_some()));
    assert_eq!(days[0]["metric"], "purchase_ndcg@10");
    assert_eq!(events(&folder.join("whole"), "ahead").len(), days.len());
    assert_eq!(events(&folder.join("whole"), "epoch").len(), days.len());

    // Asked to stop on the way, and gone on with.
    let again = format!("{by_day} --checkpoint-steps 1 --keep 1000 --resume --out again");
    let child = super::program::start(folder, &again);
    let checkpoints = folder.join(".again.training/checkpoints");
    let began = std::time::Instant::now();
    while !checkpoints.join("step-00000005").exists() && !folder.join("again").exists() {
        assert!(began.elapsed().as_secs() < 60, "no fifth step in a minute");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(super::program::interrupt(child).code, Some(130));
    slate(folder, &again).done();
    for file in ["model.safetensors", "metrics.jsonl"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("whole") == read("again"), "{file}");
    }
    let again = json(&folder.join("again/manifest.json"));
    assert_eq!(again["progressive"], manifest["progressive"]);

    slate(
        folder,
        &format!("{by_day} --set train.update.epochs=2 --out x"),
    )
    .refused(&["`train.update.epochs` is 2, expected it left out beside `by_day`"]);
}
