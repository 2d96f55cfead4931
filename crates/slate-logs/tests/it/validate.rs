//! All problems of a log at once.

use std::fs;
use std::path::Path;

use slate_logs::validate;

use crate::log::{DAY, Log, START, ints, texts, write};

fn log() -> Log {
    let mut log = Log::default();
    for page in 0..4 {
        log.page(START + page * DAY, 1, &[10, 11]);
    }
    log.event("click", START + 1, 1, 10);
    log
}

/// `file column row message` of each problem, without the folder.
fn problems(dir: &Path) -> Vec<String> {
    let report = validate(dir).unwrap();
    report
        .problems
        .iter()
        .map(|problem| {
            let file = problem.file.strip_prefix(dir).unwrap().display();
            let column = problem.column.as_deref().unwrap_or("-");
            let row = problem.row.map_or("-".to_owned(), |row| row.to_string());
            format!("{file} {column} {row}: {}", problem.message)
                .replace(&format!("{}/", dir.display()), "")
        })
        .collect()
}

#[test]
fn a_sound_log_has_none() {
    let dir = tempfile::tempdir().unwrap();
    log().write(dir.path());
    let report = validate(dir.path()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(report.tables[1], ("slot_impression".to_owned(), 8));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        3,
        "nothing is written into the log"
    );
}

#[test]
fn every_problem_of_the_schema_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    log().write(dir.path());
    let mut slots = log().slot_table();
    slots.retain(|column| column.0 != "slot");
    slots.push(("price", texts(&[Some("5 EUR"); 8])));
    write(&dir.path().join("slot_impression.parquet"), slots);
    fs::write(dir.path().join("event.parquet"), "not a table").unwrap();
    let problems = problems(dir.path());
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(
        problems[0],
        "slot_impression.parquet slot -: `slot_impression.parquet` has no column `slot` (place in \
         the list, counted from 0)"
    );
    assert_eq!(
        problems[1],
        "slot_impression.parquet price -: column `price` of `slot_impression.parquet` has type \
         Utf8, expected whole minor units (Int64)"
    );
    assert!(problems[2].starts_with("event.parquet - -: `event.parquet` is not a whole Parquet"));
}

#[test]
fn every_problem_of_the_values_is_listed_with_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let log = log();
    log.write(dir.path());
    // Two parts: the second has bad prices in its rows 1 and 2, and the first repeats an id.
    let folder = dir.path().join("slot_impression.parquet");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    for (part, prices) in [("a", [1, 1, 1, 1]), ("b", [1, -2, -3, 1])] {
        let at = if part == "a" { 0 } else { 4 };
        let mut columns: Vec<_> = log
            .slot_table()
            .into_iter()
            .map(|(name, values)| (name, values.slice(at, 4)))
            .collect();
        if part == "a" {
            columns[0].1 = ints([1, 1, 3, 4].into_iter());
        }
        columns.push(("price", ints(prices.into_iter())));
        write(&folder.join(format!("{part}.parquet")), columns);
    }
    let mut events = log.event_table();
    events[1].1 = ints([START / 1000].into_iter());
    write(&dir.path().join("event.parquet"), events);
    assert_eq!(
        problems(dir.path()),
        [
            "slot_impression.parquet/b.parquet price 1: `price` is negative, on 2 rows, the first \
             being row 1"
                .to_owned(),
            "slot_impression.parquet impression_id -: `impression_id` repeats the id of another \
             row, on 1 rows"
                .to_owned(),
            format!(
                "event.parquet ts -: every `ts` of `event.parquet` is outside the years 2000 to \
                 2100, for instance {} (looks like milliseconds), expected microseconds since 1970",
                START / 1000
            ),
        ]
    );
}
