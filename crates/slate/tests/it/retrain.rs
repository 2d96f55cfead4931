//! The monthly retrain with real processes: killed, stopped, started twice, on bad data and full disks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::program::{Ran, config, shell, slate, start};

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
fn killed_at_fifty_moments_it_ends_with_the_same_bytes() {
    let house = house();
    let line = with("backfill --from 2025-01 --to 2025-02");
    let mut kills = 0;
    // Later and later, so that it comes to an end; never the same moment twice.
    for wait in (0_u64..).map(|turn| 40 + turn * 15 + turn * 7919 % 61) {
        let mut child = start(house.path(), &line);
        let until = Instant::now() + Duration::from_millis(wait);
        let mut ended = None;
        while ended.is_none() && (kills >= 50 || Instant::now() < until) {
            ended = child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(0));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 20, "it was killed {kills} times only");
    assert_same(house.path());
}

#[test]
fn of_two_started_together_one_does_the_work() {
    let house = house();
    let line = with("backfill --from 2025-01 --to 2025-02");
    let pair = [start(house.path(), &line), start(house.path(), &line)];
    let codes = pair.map(|child| {
        let ran = Ran::new(child.wait_with_output().unwrap());
        if ran.code != Some(0) {
            assert!(
                ran.stderr.contains("is at work on this model"),
                "{}",
                ran.stderr
            );
        }
        ran.code
    });
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert_same(house.path());
}

#[test]
fn a_stopped_process_that_wakes_up_writes_nothing_late() {
    let house = house();
    let line = with("backfill --from 2025-01 --to 2025-02");
    let late = start(house.path(), &line);
    let signal = |name: &str| {
        let told = Command::new("kill")
            .args([name, &late.id().to_string()])
            .status();
        assert!(told.unwrap().success());
    };
    // In the middle of the work.
    std::thread::sleep(Duration::from_millis(700));
    signal("-STOP");
    slate(house.path(), &line).done();
    assert_same(house.path());
    signal("-CONT");
    let late = Ran::new(late.wait_with_output().unwrap());
    assert_eq!(late.code, Some(2), "{}", late.stderr);
    assert!(
        late.stderr.contains("lease was taken over"),
        "{}",
        late.stderr
    );
    assert_same(house.path());
    slate(house.path(), &with("registry verify")).done();
}

#[test]
fn on_a_full_disk_it_says_so_and_goes_on_when_there_is_room() {
    let house = house();
    let line = with("backfill --from 2025-01 --to 2025-02");
    let mut failed = 0;
    // Files of at most so many blocks of 512 bytes, as on a disk that is full from there on.
    for blocks in [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 4096] {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec $SLATE {line}");
        let ran = shell(
            house.path(),
            &limited.replace("[{", "'[{").replace("}]", "}]'"),
        );
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(
            ran.stderr.starts_with("error: ") || ran.stderr.contains("\nerror: "),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        failed += 1;
    }
    assert!(failed >= 3, "{failed}");
    slate(house.path(), &line).done();
    assert_same(house.path());
}

#[test]
fn bad_logs_fail_the_month_with_words_and_good_ones_mend_it() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-01", "").done();
    let part = folder.join("logs/event/month=2025-02");
    let aside = folder.join("aside");
    let mut parts: Vec<PathBuf> = fs::read_dir(&part)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    parts.sort();
    let file = parts.remove(0);
    let whole = fs::read(&file).unwrap();
    let failed = |words: &[&str]| {
        let ran = retrain(folder, "2025-02", "--json");
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        let told = ran.json();
        assert_eq!(told["verdict"], "failed", "{told}");
        for word in words {
            assert!(
                told["reasons"].to_string().contains(word),
                "no `{word}` in {told}"
            );
        }
    };
    // Missing.
    fs::rename(&part, &aside).unwrap();
    failed(&["have no events"]);
    // Of the same bad logs it says the same at once.
    let again = retrain(folder, "2025-02", "--json");
    assert_eq!(
        (again.code, &again.json()["verdict"]),
        (Some(2), &"nothing_to_do".into())
    );
    fs::rename(&aside, &part).unwrap();
    // Cut off.
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    failed(&["month=2025-02"]);
    // Empty.
    fs::write(&file, "").unwrap();
    failed(&["is an empty file"]);
    // There twice.
    fs::write(&file, &whole).unwrap();
    let twin = part.join("part-again.parquet");
    fs::write(&twin, &whole).unwrap();
    failed(&["are the same bytes", "part-again"]);
    fs::remove_file(twin).unwrap();
    // Late, but there: as if nothing had been.
    retrain(folder, "2025-02", "").done();
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<PathBuf> {
        let own = files.keys().filter(|name| name.starts_with("registry"));
        own.cloned().collect()
    };
    let (now, then) = (files(folder), undisturbed());
    assert_eq!(names(&now), names(then));
    for name in names(then) {
        assert!(now[&name] == then[&name], "{} differs", name.display());
    }
}

#[test]
fn one_flipped_byte_is_found_wherever_it_is() {
    let house = house();
    let folder = house.path();
    let flip = |name: &Path| {
        let path = folder.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // Of what stages left: the stage is made again, and all is as it would have been.
    retrain(folder, "2025-01", "").done();
    retrain(folder, "2025-02", "--until judge").done();
    let mut spoiled = std::collections::BTreeSet::new();
    for (name, bytes) in &files(folder) {
        let of_stage = name.starts_with("retrain/page-ranker/store") && !bytes.is_empty();
        // One file of each stage, another one of the next.
        let stage = name.iter().nth(3).unwrap_or_default().to_owned();
        if of_stage && spoiled.insert(stage) {
            flip(name);
        }
    }
    assert!(spoiled.len() > 15, "{}", spoiled.len());
    let mended = retrain(folder, "2025-02", "").done();
    let times = mended.stderr.matches("is damaged").count();
    assert!(times >= 9, "{times}: {}", mended.stderr);
    // Of a version: verify says which, and so does the next month that reads it.
    let all = files(folder);
    let version = all.keys().find(|name| {
        name.ends_with("model.safetensors")
            && name.display().to_string().contains("versions/2025-02")
    });
    flip(version.unwrap());
    let found = slate(folder, &with("registry verify"));
    assert_eq!(found.code, Some(1));
    assert!(
        found.stdout.contains("model.safetensors"),
        "{}",
        found.stdout
    );
    retrain(folder, "2025-03", "").refused(&["model.safetensors", "registry rollback"]);
}

#[test]
fn a_gate_that_cannot_decide_keeps_the_model() {
    let house = house();
    let folder = house.path();
    retrain(folder, "2025-01", "").done();
    let rule = "--set retrain.gate.rules=[{metric=\"ndcg@10\",worse_by=0.0001}]";
    let ran = retrain(folder, "2025-02", &format!("{rule} --json"));
    let told = ran.json();
    assert_eq!(
        (ran.code, &told["verdict"]),
        (Some(1), &"kept".into()),
        "{told}"
    );
    assert!(
        told["reasons"][0].as_str().unwrap().starts_with("ndcg@10"),
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

#[test]
fn the_world_is_told_of_the_verdict() {
    let house = house();
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
    retrain(house.path(), "2025-01", &more).done();
    let heard = hears.join().unwrap();
    assert!(heard.starts_with("POST /hook "), "{heard}");
    let body: Value = serde_json::from_str(heard.split("\r\n\r\n").nth(1).unwrap()).unwrap();
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
    // A server that is gone is a warning, no failure.
    let ran = retrain(house.path(), "2025-02", &more).done();
    assert!(
        ran.stderr.contains("cannot post the verdict"),
        "{}",
        ran.stderr
    );
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
