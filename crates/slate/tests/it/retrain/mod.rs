//! The monthly retrain with real processes: what a month comes to, who hears of it, what is refused.

mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use crate::bucket::Bucket;
use crate::program::{Ran, config, slate, slate_with};

/// Small, and gates so wide that the models pass.
const SMALL: &str = "--set train.epochs=2 --set train.network.hidden=8 --set train.network.layers=1 \
    --set train.network.heads=2 --set train.network.feed_forward=8 --set evaluate.draws=60 \
    --set retrain.checks.lists=20 --set retrain.checks.psi=9 --set retrain.checks.labels=9 \
    --set retrain.checks.volume=9 --set retrain.checks.day=0.02 --set retrain.checks.missing=1 \
    --set retrain.gate.segment_lists=20 --set retrain.gate.segment_worse_by=1 \
    --set retrain.gate.backtest=false --set retrain.gate.latency=0 \
    --set retrain.gate.rules=[{metric=\"ndcg@10\",worse_by=1.0},{metric=\"logloss\",worse_by=1.0}] \
    --set retrain.lease_seconds=2";

fn with(command: &str) -> String {
    let path = config("monthly_retrain.toml");
    format!("{command} -c {} {SMALL} --threads 2", path.display())
}

fn retrain(folder: &Path, month: &str, more: &str) -> Ran {
    // The last of two settings counts.
    let line = with(&format!("retrain --month {month}"));
    slate(folder, &format!("{line} {more}"))
}

/// Three months of logs, a partition each, made once.
fn logs() -> &'static Path {
    static LOGS: OnceLock<TempDir> = OnceLock::new();
    let folder = LOGS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let line = format!(
            "simulate -c {} --out logs --set simulate.pages=1500 --set simulate.months=3 \
             --set simulate.users=900 --set simulate.items=1000 --set simulate.purchase_rate=0.06 \
             --set simulate.shock.month=3 --set simulate.shock.lost_events=0",
            config("monthly_retrain.toml").display()
        );
        slate(folder.path(), &line).done();
        folder
    });
    Box::leak(folder.path().join("logs").into_boxed_path())
}

/// A folder with the logs.
fn house() -> TempDir {
    let house = tempfile::tempdir().unwrap();
    copy(logs(), &house.path().join("logs"));
    house
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Every file below, but for leases and what tells of the hour.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() {
                let target = fs::read_link(&path).unwrap().display().to_string();
                into.insert(path.strip_prefix(root).unwrap().into(), target.into());
            } else if path.is_dir() {
                if name != "leases" && !name.starts_with('.') {
                    walk(root, &path, into);
                }
            } else if name != "timing.json" && name != "log_files.json" {
                assert!(!name.starts_with('.'), "left behind: {}", path.display());
                into.insert(
                    path.strip_prefix(root).unwrap().into(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    let mut all = BTreeMap::new();
    for part in ["registry", "retrain"] {
        walk(folder, &folder.join(part), &mut all);
    }
    all
}

/// Two months retrained without a disturbance, done once: their files.
fn undisturbed() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let house = house();
        slate(house.path(), &with("backfill --from 2025-01 --to 2025-02")).done();
        files(house.path())
    })
}

fn assert_same(folder: &Path) {
    let (now, then) = (files(folder), undisturbed());
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&now), names(then));
    for (name, bytes) in then {
        assert!(now[name] == *bytes, "{} differs", name.display());
    }
}

#[test]
fn a_month_is_promoted_and_then_there_is_nothing_to_do() {
    let house = house();
    let folder = house.path();
    let planned = retrain(folder, "2025-01", "--dry-run --json").done().json();
    assert_eq!(planned["stages"][0]["state"], "missing");
    let made = ["registry", "retrain"].map(|name| folder.join(name).exists());
    assert_eq!(made, [false; 2], "a dry run writes nothing");
    let first = retrain(folder, "2025-01", "--json").done().json();
    assert_eq!(first["verdict"], "promoted", "{first}");
    let version = first["run"].as_str().unwrap();
    let again = retrain(folder, "2025-01", "--json").done().json();
    assert_eq!(
        (&again["verdict"], &again["before"]),
        (&"nothing_to_do".into(), &"promoted".into())
    );
    let planned = retrain(folder, "2025-01", "--dry-run").done();
    assert!(!planned.stdout.contains("missing"), "{}", planned.stdout);

    let second = retrain(folder, "2025-02", "--log-format json").done();
    let finished = second
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let finished = finished.filter(|event| event["event"] == "finished");
    assert!(finished.count() > 12, "{}", second.stderr);
    let list = slate(folder, &with("registry list --json")).done().json();
    let versions = list["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[1]["about"]["trained"], "update");
    assert_eq!(versions[1]["about"]["parent"], version);
    // An update learns from what the model before it was only judged on, and is judged on newer lists.
    let time = |at: usize, key: &str| versions[at]["about"][key].as_i64().unwrap();
    assert!(time(1, "trained_until") > time(0, "seen_until"));
    let status = slate(folder, &with("retrain status")).done();
    assert_eq!(
        status.stdout.matches("promoted").count(),
        2,
        "{}",
        status.stdout
    );

    let page =
        fs::read_to_string(folder.join("retrain/page-ranker/months/2025-02/report.html")).unwrap();
    for words in [
        "promoted",
        "Month by month",
        "Lineage",
        version,
        "Labels as of",
    ] {
        assert!(page.contains(words), "{words}");
    }
    slate(folder, &with("registry verify")).done();
    let made = folder.join("retrain/page-ranker");
    for name in [
        "months/2025-01/record.json",
        "months/2025-02/report.html",
        "store/*/metrics.jsonl",
    ] {
        let file = match name.split_once('*') {
            None => made.join(name),
            Some((above, below)) => {
                let below = below.trim_start_matches('/');
                let stages = fs::read_dir(made.join(above)).unwrap();
                let mut files = stages.map(|stage| stage.unwrap().path().join(below));
                files.find(|file| file.is_file()).unwrap()
            }
        };
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(&file, flipped).unwrap();
        let found = slate(folder, &with("registry verify"));
        assert_eq!(found.code, Some(1), "{name}");
        let file_name = file.file_name().unwrap().to_str().unwrap();
        assert!(found.stdout.contains(file_name), "{}", found.stdout);
        fs::write(&file, whole).unwrap();
    }
    // Back, and what differs.
    slate(folder, &with("registry rollback")).done();
    let shown = slate(folder, &with("registry show --json")).done().json();
    assert_eq!(shown["id"], version);
    let current = fs::canonicalize(folder.join("registry/page-ranker/current")).unwrap();
    assert!(current.ends_with(version));
    let diff = slate(folder, &with("registry diff 2025-01 2025-02 --json"))
        .done()
        .json();
    assert_eq!(diff["differences"]["trained"][1], "update");
    // What was done stays done: who went back had a reason.
    let after = retrain(folder, "2025-02", "--json").done().json();
    assert_eq!(after["verdict"], "nothing_to_do");
    let gone = slate(folder, &with("registry gc --keep 1 --json"))
        .done()
        .json();
    assert_eq!(gone["versions"], Value::Array(Vec::new()), "{gone}");
    assert!(gone["stages"].as_u64().unwrap() > 0);
}

#[test]
fn a_gate_that_cannot_decide_keeps_the_model() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-01", "").done();
    // Few purchases, weighted by what was rarely shown, tell little.
    let rule = "--set retrain.update=false \
                --set retrain.gate.rules=[{metric=\"ptr@1:snips\",worse_by=0.0001}]";
    let ran = retrain(folder, "2025-02", &format!("{rule} --json"));
    let told = ran.json();
    assert_eq!(
        (ran.code, &told["verdict"]),
        (Some(1), &"kept".into()),
        "{told}"
    );
    assert!(
        told["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("ptr@1:snips cannot be told"),
        "{told}"
    );
    let list = slate(folder, &with("registry list --json")).done().json();
    assert_eq!(list["promotions"].as_array().unwrap().len(), 1);
    // A person may know better.
    let refused = told["run"].as_str().unwrap();
    slate(folder, &with(&format!("registry promote {refused}"))).done();
    let list = slate(folder, &with("registry list --json")).done().json();
    assert_eq!(list["current"], refused);
}

/// A server that hears one post: the settings that lead to it, and what it heard.
fn server() -> (String, JoinHandle<String>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let hears = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut heard = String::new();
        let mut bytes = [0; 4096];
        while !heard.contains("reasons") || !heard.trim_end().ends_with('}') {
            let read = stream.read(&mut bytes).unwrap();
            heard.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        heard
    });
    let more = format!(
        "--set retrain.webhook=http://127.0.0.1:{port}/hook --set retrain.textfile=slate.prom"
    );
    (more, hears)
}

/// The body of the post.
fn heard(hears: JoinHandle<String>) -> Value {
    let heard = hears.join().unwrap();
    assert!(heard.starts_with("POST /hook "), "{heard}");
    serde_json::from_str(heard.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn the_world_is_told_of_the_verdict() {
    let house = house();
    let (more, hears) = server();
    retrain(house.path(), "2025-01", &more).done();
    let body = heard(hears);
    assert_eq!(
        (&body["verdict"], &body["month"]),
        (&"promoted".into(), &"2025-01".into())
    );
    let metrics = fs::read_to_string(house.path().join("slate.prom")).unwrap();
    let promoted = "slate_retrain_verdict{model=\"page-ranker\",verdict=\"promoted\"} 1";
    assert!(
        metrics.contains(promoted) && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    // They have heard: the same month does not tell them again.
    let ran = retrain(house.path(), "2025-01", &more).done();
    assert!(!ran.stderr.contains("cannot post"), "{}", ran.stderr);
    // A server that is gone is a warning, no failure.
    let ran = retrain(house.path(), "2025-02", &more).done();
    assert!(
        ran.stderr.contains("cannot post the verdict"),
        "{}",
        ran.stderr
    );
    // It hears of the month when it is there again.
    let (more, hears) = server();
    retrain(house.path(), "2025-02", &more).done();
    assert_eq!(heard(hears)["verdict"], "promoted");
    // And of a month that began and did not end.
    let (more, hears) = server();
    let version = house
        .path()
        .join("registry/page-ranker/current/calibrator.json");
    let whole = fs::read(&version).unwrap();
    fs::write(&version, "{}").unwrap();
    retrain(house.path(), "2025-03", &more).refused(&["calibrator.json"]);
    let told = heard(hears);
    assert_eq!(told["verdict"], "error");
    assert!(
        told["text"].as_str().unwrap().contains("calibrator.json"),
        "{told}"
    );
    let metrics = || fs::read_to_string(house.path().join("slate.prom")).unwrap();
    assert!(metrics().contains("verdict=\"error\"} 1"), "{}", metrics());
    // Wrong use is no fault of the month.
    fs::write(&version, whole).unwrap();
    fs::write(house.path().join("slate.prom"), "").unwrap();
    let quiet = "--set retrain.textfile=slate.prom";
    retrain(house.path(), "2025-01", &format!("--from train {quiet}")).refused(&["later month"]);
    retrain(house.path(), "2025-01", &format!("--from tarin {quiet}")).refused(&[]);
    assert_eq!(metrics(), "");
}

#[test]
fn logs_in_a_bucket_come_to_the_same_models() {
    let house = house();
    let (folder, source) = (house.path(), house.path().join("logs"));
    let Some(mut bucket) = Bucket::with(&source) else {
        return;
    };
    let environment = bucket.environment("key");
    let line = with("backfill --from 2025-01 --to 2025-02 --set retrain.logs=s3://shop/logs");
    slate_with(folder, &line, &environment).done();
    let registry = |files: &BTreeMap<PathBuf, Vec<u8>>| {
        let own = files
            .iter()
            .filter(|(name, _)| name.starts_with("registry"));
        own.map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    assert!(registry(&files(folder)) == registry(undisturbed()));
    let again = slate_with(folder, &format!("{line} --json"), &environment).done();
    assert_eq!(again.json()["months"][1]["verdict"], "nothing_to_do");
    // One that was brought and is not what it was is brought again, and so is one that is another there.
    let one = |below: &str| {
        let mut files = fs::read_dir(source.join(below)).unwrap();
        files.next().unwrap().unwrap().path()
    };
    let (here, there) = (one("event/month=2025-02"), one("event/month=2025-03"));
    let brought = folder.join("retrain/page-ranker/logs");
    let brought = brought.join(here.strip_prefix(&source).unwrap());
    assert!(brought.is_file());
    fs::write(&brought, "spoiled").unwrap();
    let whole = fs::read(&there).unwrap();
    fs::write(&there, "cut").unwrap();
    bucket.put(&there);
    let march = with("retrain --month 2025-03 --until logs --set retrain.logs=s3://shop/logs");
    let failed = slate_with(folder, &march, &environment);
    assert!(
        failed.stdout.contains("s3://shop/logs/event/month=2025-03"),
        "{}",
        failed.stdout
    );
    fs::write(&there, whole).unwrap();
    bucket.put(&there);
    let told = slate_with(folder, &march, &environment).stdout;
    assert!(!told.contains("month=2025-03"), "{told}");
    assert_eq!(fs::read(&brought).unwrap(), fs::read(&here).unwrap());
    let pictures = format!("{march} --set embed.image.encoder=hashed");
    slate_with(folder, &pictures, &environment).refused(&["embed.image", "object store"]);
    // Who waits for a store that may come back need not wait here.
    let march = format!("{march} --set retrain.retries=0");
    slate_with(folder, &march, &[]).refused(&["s3://shop/logs"]);
    let web = march.replace("s3://", "http://");
    slate_with(folder, &web, &environment).refused(&["cannot list files"]);
}

#[test]
fn what_was_rolled_back_stays_so_when_its_month_is_started_again() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-01", "").done();
    let first = slate(folder, &with("registry show --json")).done().json();
    // As if killed between the promotion and the end of the month.
    retrain(folder, "2025-02", "--until promote").done();
    slate(folder, &with("registry rollback")).done();
    retrain(folder, "2025-02", "").done();
    let now = slate(folder, &with("registry show --json")).done().json();
    assert_eq!(now["id"], first["id"]);
    slate(folder, &with("registry rollback")).refused(&["nothing to go back to"]);
}

#[test]
fn other_features_are_learned_from_nothing() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-01", "").done();
    // The model in use goes on reading the logs as it did.
    let more = "--set features.categorical=[{column=\"device\"}]";
    retrain(folder, "2025-02", more).done();
    let list = slate(folder, &with("registry list --json")).done().json();
    assert_eq!(list["versions"][1]["about"]["trained"], "full");
    assert_eq!(list["promotions"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_retrained_is_refused() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-13", "").refused(&["`2025-13` is no month"]);
    retrain(folder, "2999-01", "").refused(&["which has not come"]);
    retrain(folder, "2025-01", "--from tarin").refused(&["there is no stage `tarin`", "train"]);
    retrain(folder, "2025-01", "--set retrain.logs=nowhere").refused(&["`nowhere`"]);
    retrain(folder, "2025-01", "--set split.valid_from=2025-01-02").refused(&["split.valid_from"]);
    retrain(
        folder,
        "2025-01",
        "--set retrain.gate.rules=[{metric=\"pcoc\",worse_by=1.0}]",
    )
    .refused(&["retrain.gate.rules[0].worse_by", "at_least"]);
    retrain(
        folder,
        "2025-01",
        "--set retrain.gate.segments=[\"colour\"]",
    )
    .refused(&["`colour`", "device"]);
    slate(folder, &with("registry list --registry other")).refused(&["no model `page-ranker`"]);
}
