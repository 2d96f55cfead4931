//! Faults that a retrain survives: it is killed, stopped, started twice, on bad data, full disks, with bytes
//! flipped and the clock set back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{assert_same, files, house, retrain, undisturbed, with};
use crate::program::{Ran, shell, slate, start};

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
fn asked_to_end_it_does_and_goes_on_later() {
    let house = house();
    let line = with("backfill --from 2025-01 --to 2025-02");
    let mut asked = 0;
    loop {
        let child = start(house.path(), &line);
        std::thread::sleep(Duration::from_millis(900));
        let told = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        told.unwrap();
        let ran = Ran::new(child.wait_with_output().unwrap());
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, Some(130), "{}", ran.stderr);
        assert!(!ran.stderr.contains("--resume"), "{}", ran.stderr);
        asked += 1;
    }
    assert!(asked > 0);
    assert_same(house.path());
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
    // A month that failed has a page too, which says why.
    let page = folder.join("retrain/page-ranker/months/2025-02/report.html");
    let page = fs::read_to_string(page).unwrap();
    for words in [
        "failed",
        "the model that was in use stays",
        "are the same bytes",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // The days after the month in which its labels settle are missing.
    let after = folder.join("logs/event/month=2025-03");
    fs::rename(&after, &aside).unwrap();
    failed(&["in which its labels settle", "2025-03-01 with 0"]);
    fs::rename(&aside, &after).unwrap();
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
fn a_lost_record_is_made_again_and_a_damaged_page_put_back() {
    let house = house();
    let folder = house.path();
    slate(folder, &with("backfill --from 2025-01 --to 2025-02")).done();
    let months = folder.join("retrain/page-ranker/months");
    fs::remove_dir_all(months.join("2025-02")).unwrap();
    retrain(folder, "2025-02", "").done();
    assert_same(folder);
    for month in ["2025-01", "2025-02"] {
        fs::write(months.join(month).join("report.html"), "").unwrap();
        retrain(folder, month, "").done();
    }
    assert_same(folder);
    // An older one is not made again: a later model is in use. It keeps no one from going on.
    fs::remove_dir_all(months.join("2025-01")).unwrap();
    retrain(folder, "2025-01", "").refused(&["is of a later month"]);
    let ran = slate(folder, &with("backfill --from 2025-01 --to 2025-02")).done();
    assert!(
        ran.stdout.contains("2025-01: passed over"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_clock_that_is_set_back_changes_nothing() {
    let house = house();
    let folder = house.path();
    let Some(shim) = clock_shim(folder) else {
        println!("skipped: no C compiler to set the clock of a process back with");
        return;
    };
    let line = with("backfill --from 2025-01 --to 2025-02");
    // Killed in the middle, and started again on a machine whose clock is two months behind.
    let mut child = start(folder, &line);
    std::thread::sleep(Duration::from_millis(700));
    child.kill().unwrap();
    child.wait().unwrap();
    let behind = |days: u64| {
        let line = line.replace("[{", "'[{").replace("}]", "}]'");
        let preload = shim.display();
        let line = format!("LD_PRELOAD={preload} BEHIND={} $SLATE {line}", days * 86400);
        shell(folder, &line)
    };
    assert_eq!(behind(60).code, Some(0));
    assert_same(folder);
    // By a clock that is before the month's labels were there, nothing is done.
    fs::remove_dir_all(folder.join("retrain")).unwrap();
    behind(30 * 365).refused(&["which has not come", "by this machine's clock"]);
}

/// A library that takes `BEHIND` seconds from the time of day of a process that loads it.
fn clock_shim(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    let text = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        #include <time.h>
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
            int status = real(clock, now);
            const char *behind = getenv("BEHIND");
            if (clock == CLOCK_REALTIME && behind) now->tv_sec -= atol(behind);
            return status;
        }
    "#;
    fs::write(&source, text).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    made.is_ok_and(|status| status.success()).then_some(library)
}
