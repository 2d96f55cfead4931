//! Logs that change while they are read.

use std::fs;
use std::path::Path;

use slate_logs::{AttributionOptions, LogError, LogSource};
use slate_types::Hint;

use crate::log::{DAY, Log, START, ints, read, write};

/// A log whose placements lie in two parts, `a` and `b`.
fn parted() -> tempfile::TempDir {
    let mut log = Log::default();
    for page in 0..20 {
        log.page(START + page * DAY, 1, &[10, 11]);
    }
    log.event("click", START + 1, 1, 10);
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let (file, folder) = (
        dir.path().join("slot_impression.parquet"),
        dir.path().join("slot_impression"),
    );
    fs::create_dir(&folder).unwrap();
    fs::rename(file, folder.join("a.parquet")).unwrap();
    let mut more = log.slot_table();
    more.retain(|column| column.0 != "impression_id");
    more.push(("impression_id", ints((0..40).map(|at| 1_000_000 + at))));
    write(&folder.join("b.parquet"), more);
    dir
}

/// What a job says if this happens to part `b` after the log was opened.
fn told(meanwhile: &dyn Fn(&Path)) -> LogError {
    let dir = parted();
    let attribution = AttributionOptions::default().check().unwrap();
    let source = LogSource::open(dir.path()).unwrap();
    meanwhile(&dir.path().join("slot_impression/b.parquet"));
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let files = ["examples", "rejects", "sequences"].map(|name| out.join(name));
    let files = slate_logs::ExampleFiles {
        examples: &files[0],
        rejects: &files[1],
        sequences: &files[2],
    };
    let engine = slate_logs::EngineOptions::default();
    let all = slate_logs::ExampleColumns::All;
    let silent = slate_types::Silent;
    let done = slate_logs::examples(&source, &attribution, &engine, &all, files, &silent);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is left");
    done.unwrap_err()
}

#[test]
fn a_part_that_vanishes_is_named() {
    let error = told(&|file| fs::remove_file(file).unwrap());
    assert!(
        matches!(&error, LogError::Changed { file } if file.ends_with("b.parquet")),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("run again"));
}

#[test]
fn a_part_that_is_replaced_by_a_whole_one_is_named() {
    let error = told(&|file| {
        let few = read(file).slice(0, 3);
        let out = fs::File::create(file).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(out, few.schema(), None).unwrap();
        writer.write(&few).unwrap();
        writer.close().unwrap();
    });
    assert!(
        matches!(&error, LogError::Changed { file } if file.ends_with("b.parquet")),
        "{error}"
    );
}
