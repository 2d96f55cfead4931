//! Logs with something wrong: the message, or the rows set aside.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::Int64Type;
use slate_logs::{AttributionOptions, HistoryKey, JoinLine, LogError, LogSource};
use slate_types::Hint;

use crate::log::{DAY, Log, MINUTE, START, floats, ints, options, read, run, texts, write};

type Columns = Vec<(&'static str, ArrayRef)>;

/// Twenty pages of two slots, and a click.
fn log() -> Log {
    let mut log = Log::default();
    for page in 0..20 {
        log.page(START + page * DAY, 1, &[10, 11]);
    }
    log.event("click", START + 1, 1, 10);
    log
}

fn with(mut columns: Columns, name: &'static str, values: ArrayRef) -> Columns {
    columns.retain(|column| column.0 != name);
    columns.push((name, values));
    columns
}

fn written(edit: impl FnOnce(&Path, &Log)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = log();
    log.write(dir.path());
    edit(dir.path(), &log);
    dir
}

/// The message without the folder, and the hint.
fn message(dir: &Path, error: &LogError) -> (String, Option<String>) {
    let folder = format!("{}/", dir.display());
    (error.to_string().replace(&folder, ""), error.hint())
}

fn refused(edit: impl FnOnce(&Path, &Log)) -> (String, Option<String>) {
    let dir = written(edit);
    let error = run(dir.path(), &AttributionOptions::default()).unwrap_err();
    assert!(
        !dir.path().join("examples.parquet").exists(),
        "nothing half-written stays"
    );
    assert!(!dir.path().join("examples.parquet.work").exists());
    message(dir.path(), &error)
}

#[test]
fn a_missing_table() {
    let (message, hint) =
        refused(|dir, _| fs::remove_file(dir.join("slot_impression.parquet")).unwrap());
    assert!(
        message.ends_with(
            "has no `slot_impression.parquet`, expected a file or a folder of parts of that name"
        ),
        "{message}"
    );
    assert!(hint.unwrap().contains("slate import"));
}

#[test]
fn a_folder_that_is_not_there() {
    let error = LogSource::open(Path::new("/no/such/log")).unwrap_err();
    assert_eq!(error.to_string(), "cannot open `/no/such/log`");
    assert!(error.source().is_some());
}

#[test]
fn a_missing_column_and_its_nearest() {
    let (message, hint) = refused(|dir, log| {
        let mut columns = log.slot_table();
        columns[4].0 = "itemId";
        write(&dir.join("slot_impression.parquet"), columns);
    });
    assert_eq!(
        message,
        "`slot_impression.parquet` has no column `item_id` (the item shown)"
    );
    assert_eq!(
        hint.as_deref(),
        Some("did you mean `itemId`? rename it to `item_id`")
    );
}

#[test]
fn columns_of_a_wrong_type() {
    let cases: [(&'static str, ArrayRef, &str); 3] = [
        (
            "ts",
            texts(&[Some("2026-01-01"); 20]),
            "has type Utf8, expected UTC times (Timestamp, or Int64 microseconds since 1970)",
        ),
        (
            "user_id",
            Arc::new(UInt64Array::from(vec![1; 20])),
            "has type UInt64, expected whole numbers (Int64)",
        ),
        ("site", ints(0..20), "has type Int64, expected text (Utf8)"),
    ];
    for (name, values, expected) in cases {
        let (message, _) = refused(|dir, log| {
            write(
                &dir.join("page_impression.parquet"),
                with(log.page_table(), name, values),
            );
        });
        assert_eq!(
            message.replace(" of `page_impression.parquet`", ""),
            format!("column `{name}` {expected}")
        );
    }
}

#[test]
fn an_empty_table() {
    let (message, _) = refused(|dir, log| {
        let columns = log
            .slot_table()
            .into_iter()
            .map(|(name, values)| (name, values.slice(0, 0)))
            .collect();
        write(&dir.join("slot_impression.parquet"), columns);
    });
    assert_eq!(message, "`slot_impression.parquet` has no rows");
}

#[test]
fn a_file_cut_off_and_a_file_with_a_hole() {
    let (message, hint) = refused(|dir, _| {
        let path = dir.join("event.parquet");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    });
    assert_eq!(message, "`event.parquet` is not a whole Parquet file");
    assert!(hint.unwrap().contains("copy it again"));

    // The footer is whole and the values are not: noticed when they are read.
    let (message, _) = refused(|dir, _| {
        let path = dir.join("slot_impression.parquet");
        let mut bytes = fs::read(&path).unwrap();
        bytes[4..200].fill(0xff);
        fs::write(&path, &bytes).unwrap();
    });
    assert_eq!(
        message,
        "`slot_impression.parquet` is not a whole Parquet file"
    );
}

#[test]
fn parts_that_differ_and_a_folder_without_parts() {
    let parts = |dir: &Path| {
        fs::remove_file(dir.join("page_impression.parquet")).unwrap();
        let folder = dir.join("page_impression.parquet");
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (message, _) = refused(|dir, log| {
        let folder = parts(dir);
        write(&folder.join("a.parquet"), log.page_table());
        write(&folder.join("b.parquet"), log.page_table()[..3].to_vec());
    });
    assert_eq!(
        message,
        "column `session_id` of `page_impression.parquet/b.parquet` is absent, expected Int64 as \
         in `page_impression.parquet/a.parquet`"
    );
    let (message, _) = refused(|dir, _| {
        parts(dir);
    });
    assert_eq!(
        message,
        "`page_impression.parquet` is a folder without files of a table"
    );
}

#[test]
fn a_manifest_of_something_else_and_of_the_future() {
    let with_manifest = |text: &'static str| {
        refused(move |dir, _| fs::write(dir.join("manifest.json"), text).unwrap()).0
    };
    assert_eq!(
        with_manifest(r#"{"format":1,"kind":"dataset"}"#),
        "`manifest.json` is not the manifest of a log: `kind` is `dataset`, expected `log`"
    );
    assert!(with_manifest("{").starts_with("`manifest.json` is not the manifest of a log: EOF"));
    let dir = written(|dir, _| {
        fs::write(dir.join("manifest.json"), r#"{"format":9,"kind":"log"}"#).unwrap();
    });
    let error = LogSource::open(dir.path()).unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "log manifest has format 9, expected a format from 1 to 1"
    );
}

#[test]
fn times_in_another_unit() {
    for (divisor, unit) in [(1_000_000, "seconds"), (1000, "milliseconds")] {
        let (message, hint) = refused(|dir, log| {
            let ts = ints(log.pages.iter().map(|page| page.ts / divisor));
            write(
                &dir.join("page_impression.parquet"),
                with(log.page_table(), "ts", ts),
            );
        });
        assert_eq!(
            message,
            format!(
                "every `ts` of `page_impression.parquet` is outside the years 2000 to 2100, for \
                 instance {} (looks like {unit}), expected microseconds since 1970",
                START / divisor
            )
        );
        assert_eq!(
            hint.unwrap(),
            format!("turn `ts` from {unit} into microseconds")
        );
    }
}

#[test]
fn too_many_bad_rows_name_the_commonest_reason() {
    let (message, hint) = refused(|dir, log| {
        let prices = (0..40).map(|i| if i < 3 { -5 } else { i });
        write(
            &dir.join("slot_impression.parquet"),
            with(log.slot_table(), "price", ints(prices)),
        );
    });
    assert_eq!(
        message,
        "3 of 40 rows of `slot_impression.parquet` are unusable, more than the allowed share 0.05; \
         the commonest reason, on 3 rows: `price` is negative"
    );
    assert!(hint.unwrap().contains("max_reject_share"));
}

#[test]
fn no_usable_row() {
    let dir = written(|dir, log| {
        let slots = ints(log.slots.iter().map(|_| -1));
        write(
            &dir.join("slot_impression.parquet"),
            with(log.slot_table(), "slot", slots),
        );
    });
    let options = AttributionOptions {
        max_reject_share: 1.0,
        ..Default::default()
    };
    let error = run(dir.path(), &options).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("every placement was set aside as unusable"),
        "{error}"
    );
    let early = AttributionOptions {
        label_as_of: Some("2025-01-01".into()),
        ..Default::default()
    };
    let dir = written(|_, _| ());
    let error = run(dir.path(), &early).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("every page is after 2025-01-01T00:00:00Z"),
        "{error}"
    );
}

#[test]
fn a_list_on_two_pages() {
    let (message, _) = refused(|dir, log| {
        let lists = ints(log.slots.iter().map(|slot| slot.page_id / 2));
        write(
            &dir.join("slot_impression.parquet"),
            with(log.slot_table(), "list_id", lists),
        );
    });
    assert_eq!(
        message,
        "list 1 is on several pages, among them 2 and 3, expected each list on one page"
    );
}

/// `table key column value reason` of every row set aside.
fn rejects(dir: &Path) -> Vec<String> {
    let batch = read(&dir.join("rejects.parquet"));
    let text = |column: usize, row: usize| {
        let values = batch.column(column).as_string::<i32>();
        if values.is_null(row) {
            "null".to_owned()
        } else {
            values.value(row).to_owned()
        }
    };
    let keys = batch.column(1).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| {
            let key = if keys.is_null(row) {
                "null".to_owned()
            } else {
                keys.value(row).to_string()
            };
            format!(
                "{} {key} {} {} {}",
                text(0, row),
                text(2, row),
                text(3, row),
                text(4, row)
            )
        })
        .collect()
}

#[test]
fn bad_rows_are_set_aside_with_their_reasons_and_the_rest_is_used() {
    let dir = written(|dir, log| {
        let n = log.slots.len();
        let at = |bad: &[(usize, f64)]| -> Vec<Option<f64>> {
            (0..n)
                .map(|i| {
                    Some(
                        bad.iter()
                            .find(|(row, _)| *row == i)
                            .map_or(0.5, |bad| bad.1),
                    )
                })
                .collect()
        };
        let mut ids: Vec<i64> = (1..=n as i64).collect();
        ids[19] = 19;
        let mut pages: Vec<i64> = log.slots.iter().map(|slot| slot.page_id).collect();
        pages[11] = 999;
        let items = (0..n as i64).map(|i| (i != 13).then_some(10 + i % 2));
        let kind = |i| Some(if i == 15 { "banner" } else { "organic" });
        let kinds: Vec<_> = (0..n).map(kind).collect();
        let mut columns = log.slot_table();
        columns = with(columns, "impression_id", ints(ids.into_iter()));
        columns = with(columns, "page_id", ints(pages.into_iter()));
        columns = with(columns, "item_id", options(items));
        columns = with(columns, "kind", texts(&kinds));
        columns = with(
            columns,
            "propensity",
            floats(&at(&[(1, 1.5), (2, -0.0), (3, f64::NAN)])),
        );
        columns = with(
            columns,
            "ad_rate",
            floats(&at(&[(5, f64::INFINITY), (6, 3.0)])),
        );
        columns = with(
            columns,
            "it's",
            floats(&at(&[(7, f64::NEG_INFINITY), (8, -f64::NAN)])),
        );
        columns = with(
            columns,
            "slot",
            ints((0..n as i64).map(|i| if i == 17 { 1_000_001 } else { i % 2 })),
        );
        write(&dir.join("slot_impression.parquet"), columns);
        let times = log
            .pages
            .iter()
            .map(|page| if page.page_id == 20 { 5 } else { page.ts });
        write(
            &dir.join("page_impression.parquet"),
            with(log.page_table(), "ts", ints(times)),
        );
        let event = log.event_table();
        write(
            &dir.join("event.parquet"),
            with(event, "type", texts(&[Some("like")])),
        );
    });
    let options = AttributionOptions {
        max_reject_share: 1.0,
        ..Default::default()
    };
    let summary = run(dir.path(), &options).unwrap();
    let finite = "is not a finite number";
    assert_eq!(
        rejects(dir.path()),
        [
            "event 1 type like is none of view, click, watch, cart, offer, bid, bin_click, \
             purchase, cancel"
                .to_owned(),
            "page_impression 20 ts 5 is outside the years 2000 to 2100".to_owned(),
            "slot_impression 2 propensity 1.5 is not a number from 0 to 1".to_owned(),
            "slot_impression 4 propensity NaN is not a number from 0 to 1".to_owned(),
            "slot_impression 6 ad_rate inf is not a finite number from 0 up".to_owned(),
            format!("slot_impression 8 it's -inf {finite}"),
            format!("slot_impression 9 it's NaN {finite}"),
            "slot_impression 12 page_id 999 is not among the usable rows of page_impression"
                .to_owned(),
            "slot_impression 14 item_id null is null".to_owned(),
            "slot_impression 16 kind banner is none of organic, promoted, auction, module"
                .to_owned(),
            "slot_impression 18 slot 1000001 is above 1000000".to_owned(),
            "slot_impression 19 impression_id 19 repeats the id of another row".to_owned(),
            "slot_impression 39 page_id 20 is not among the usable rows of page_impression"
                .to_owned(),
            "slot_impression 40 page_id 20 is not among the usable rows of page_impression"
                .to_owned(),
        ]
    );
    let set_aside: u64 = summary
        .rejects
        .iter()
        .filter(|reject| reject.table == "slot_impression")
        .map(|reject| reject.rows)
        .sum();
    assert_eq!((set_aside, summary.rows), (12, 28));
    // A list that lost a row is still a list.
    assert_eq!(summary.lists, 19);
    let by_hand: Vec<_> = summary.rejects.iter().map(|reject| reject.rows).collect();
    assert_eq!(by_hand.iter().sum::<u64>(), 14);
}

#[test]
fn repeated_pages_and_items_keep_their_first_row_and_a_log_needs_no_events() {
    let dir = written(|dir, log| {
        fs::remove_file(dir.join("event.parquet")).unwrap();
        let mut pages = log.clone();
        let mut later = pages.pages[0].clone();
        later.ts += 5;
        later.user_id = Some(2);
        pages.pages.insert(0, later);
        write(&dir.join("page_impression.parquet"), pages.page_table());
        let prices = [Some(7.0), Some(5.0), Some(9.0)];
        write(
            &dir.join("item.parquet"),
            vec![
                ("item_id", ints([10, 10, 11].into_iter())),
                ("weight", floats(&prices)),
            ],
        );
    });
    let options = AttributionOptions {
        max_reject_share: 0.5,
        ..Default::default()
    };
    let summary = run(dir.path(), &options).unwrap();
    assert_eq!(
        rejects(dir.path()),
        [
            "item 10 item_id 10 repeats the id of another row",
            "page_impression 1 page_id 1 repeats the id of another row",
        ]
    );
    assert_eq!(
        (summary.rows, summary.clicks, summary.join.total().input),
        (40, 0, 0)
    );
    let batch = read(&dir.path().join("examples.parquet"));
    let users = batch
        .column_by_name("user_id")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!((users.value(0), users.value(1)), (1, 1));
    let weights = batch.column_by_name("item_weight").unwrap();
    let weights = weights.as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!((weights.value(0), weights.value(1)), (5.0, 9.0));
}

#[test]
fn an_output_that_exists_is_kept() {
    let dir = written(|dir, _| fs::write(dir.join("examples.parquet"), "mine").unwrap());
    let options = AttributionOptions {
        history_days: vec![],
        ..Default::default()
    };
    let error = run(dir.path(), &options).unwrap_err();
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
    assert_eq!(
        fs::read(dir.path().join("examples.parquet")).unwrap(),
        b"mine"
    );
}

#[test]
fn history_of_a_key_that_no_table_tells() {
    let mut log = Log::default();
    log.page(START, 1, &[1, 2]);
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    for (key, expected) in [
        (
            HistoryKey::UserCategory,
            "`history_keys` has `user_category`, but no table of",
        ),
        (HistoryKey::Seller, "has sellers (column `seller_id` of"),
    ] {
        let options = AttributionOptions {
            history_keys: vec![key],
            ..AttributionOptions::default()
        };
        let error = run(dir.path(), &options).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().contains("out of `history_keys`"));
    }
}

#[test]
fn clocks_that_differ_are_counted() {
    let mut log = Log::default();
    let shown = log.page(START, 1, &[1]);
    // A minute before its placement was shown: named, joined, and of someone who saw nothing.
    log.event("click", START - MINUTE, 1, 1).impression_id = Some(shown);
    log.event("watch", START - MINUTE, 1, 1);
    log.event("cart", START - MINUTE, 2, 1);
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let join = run(dir.path(), &AttributionOptions::default())
        .unwrap()
        .join;
    let ends = |line: JoinLine| (line.attributed, line.late, line.orphan, line.early);
    assert_eq!(ends(join.line("click")), (0, 1, 0, 1));
    assert_eq!(ends(join.line("watch")), (0, 0, 1, 1));
    assert_eq!(ends(join.line("cart")), (0, 0, 1, 0));
}
