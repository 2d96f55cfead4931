//! Rows of each day.

use std::fs;
use std::path::Path;

use slate_logs::{Day, EngineOptions, LogError, LogSource, daily};

use crate::log::{DAY, Log, START, ints, write};

/// 2026-01-01, in days.
const FIRST: i64 = START / DAY;

fn days(dir: &Path, from: i64, to: i64) -> Result<Vec<Day>, LogError> {
    daily(&LogSource::open(dir)?, from, to, &EngineOptions::default())
}

/// `pages slots type=events…` of each day.
fn lines(dir: &Path, from: i64, to: i64) -> Vec<String> {
    let days = days(dir, from, to).unwrap();
    assert!(days.iter().map(|day| day.day).eq(from..to));
    let line = |day: &Day| {
        let events: Vec<_> = day
            .events
            .iter()
            .map(|(kind, n)| format!(" {kind}={n}"))
            .collect();
        format!("{} {}{}", day.pages, day.slots, events.concat())
    };
    days.iter().map(line).collect()
}

/// Two pages on the first day, one at the last moment of the third.
fn log() -> Log {
    let mut log = Log::default();
    log.page(START, 1, &[10, 11]);
    log.page(START + DAY - 1, 2, &[10]);
    log.page(START + 3 * DAY - 1, 1, &[10, 11, 12]);
    log.event("click", START + 5, 1, 10);
    log.event("click", START + DAY, 1, 11);
    log.event("purchase", START + DAY + 7, 1, 11);
    log.event("purchase", START + DAY + 9, 1, 11);
    log
}

#[test]
fn every_day_has_a_line_and_rows_count_on_theirs() {
    let dir = tempfile::tempdir().unwrap();
    log().write(dir.path());
    let all = ["0 0", "2 3 click=1", "0 0 click=1 purchase=2", "1 3", "0 0"];
    assert_eq!(lines(dir.path(), FIRST - 1, FIRST + 4), all);
    assert_eq!(lines(dir.path(), FIRST + 1, FIRST + 2), all[2..3]);
    assert!(lines(dir.path(), FIRST, FIRST).is_empty());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        3,
        "nothing is written into the log"
    );
}

#[test]
fn a_log_may_have_no_events() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log();
    log.events.clear();
    log.write(dir.path());
    assert_eq!(lines(dir.path(), FIRST, FIRST + 1), ["2 3"]);
}

#[test]
fn partitions_by_month_count_as_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let log = log();
    log.write(dir.path());
    let plain = days(dir.path(), FIRST, FIRST + 3).unwrap();
    for (table, columns, cut) in [
        ("page_impression", log.page_table(), 2),
        ("slot_impression", log.slot_table(), 3),
        ("event", log.event_table(), 1),
    ] {
        fs::remove_file(dir.path().join(format!("{table}.parquet"))).unwrap();
        for (month, (at, rows)) in [
            ("2026-01", (0, cut)),
            ("2026-02", (cut, columns[0].1.len() - cut)),
        ] {
            let folder = dir.path().join(table).join(format!("month={month}"));
            fs::create_dir_all(&folder).unwrap();
            let part = columns
                .iter()
                .map(|(name, values)| (*name, values.slice(at, rows)));
            write(&folder.join("part-0.parquet"), part.collect());
        }
    }
    assert_eq!(days(dir.path(), FIRST, FIRST + 3).unwrap(), plain);
}

#[test]
fn a_log_that_does_not_fit_in_memory_is_counted_in_passes() {
    let dir = tempfile::tempdir().unwrap();
    let pages = 100_000;
    let spread = |page: i64| START + page % 90 * DAY;
    write(
        &dir.path().join("page_impression.parquet"),
        vec![
            // Multiples of 64, as a simulated log has them for placements.
            ("page_id", ints((0..pages).map(|page| page * 64))),
            ("ts", ints((0..pages).map(spread))),
        ],
    );
    let slots = || 0..2 * pages;
    write(
        &dir.path().join("slot_impression.parquet"),
        vec![
            ("impression_id", ints(slots())),
            ("page_id", ints(slots().map(|row| row * 7 % pages * 64))),
            ("list_id", ints(slots().map(|row| row * 7 % pages * 64))),
            ("slot", ints(slots().map(|row| row / pages))),
            ("item_id", ints(slots().map(|_| 1))),
        ],
    );
    let source = LogSource::open(dir.path()).unwrap();
    let options = EngineOptions {
        threads: 2,
        // Four passes.
        memory: Some(1),
        ..EngineOptions::default()
    };
    let days = daily(&source, FIRST, FIRST + 90, &options).unwrap();
    for (day, at) in days.iter().zip(0..) {
        let shown = (0..pages).filter(|page| page % 90 == at).count() as u64;
        assert_eq!((day.pages, day.slots), (shown, 2 * shown));
    }
}

#[test]
fn a_damaged_file_is_named() {
    let damaged = |edit: &dyn Fn(&mut Vec<u8>), table: &str| {
        let dir = tempfile::tempdir().unwrap();
        log().write(dir.path());
        let path = dir.path().join(table);
        let mut bytes = fs::read(&path).unwrap();
        edit(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = days(dir.path(), FIRST, FIRST + 3).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { file, .. } if *file == path));
        error
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "")
    };
    // Cut off, and with a hole where the values are.
    assert_eq!(
        damaged(&|bytes| bytes.truncate(bytes.len() - 20), "event.parquet"),
        "`event.parquet` is not a whole Parquet file"
    );
    for table in ["slot_impression.parquet", "page_impression.parquet"] {
        assert_eq!(
            damaged(&|bytes| bytes[4..200].fill(0xff), table),
            format!("`{table}` is not a whole Parquet file")
        );
    }
}

#[test]
fn days_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    log().write(dir.path());
    let message = |from, to| days(dir.path(), from, to).unwrap_err().to_string();
    assert_eq!(
        message(START, START + DAY),
        format!("`from` is {START}, expected days since 1970-01-01 within the years 2000 to 2100")
    );
    assert_eq!(
        message(FIRST, FIRST - 1),
        format!("`to` is {}, expected no day before `from`", FIRST - 1)
    );
}
