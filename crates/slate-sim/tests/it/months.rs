//! Tables in partitions by month: the same rows, each in the month of its time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use slate_sim::{Files, MarketConfig};

use crate::log::{log, read, small, whole, write};

/// A log that begins within a month, so that a month of the market is in two of the calendar.
fn parted() -> MarketConfig {
    MarketConfig {
        start: "2026-01-20".to_owned(),
        purchase_delay_tail: 0.3,
        cancel_rate: 0.3,
        late_rate: 0.2,
        files: Files::Month,
        ..small()
    }
}

/// Every file below a folder, by its path there.
pub(crate) fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let below = path.strip_prefix(folder).unwrap();
                files.insert(below.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The partitions of a table, by month.
fn partitions(folder: &Path, table: &str) -> BTreeMap<String, RecordBatch> {
    let entries = fs::read_dir(folder.join(table)).unwrap();
    let partition = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let month = name.strip_prefix("month=").unwrap().to_owned();
        let files: Vec<_> = fs::read_dir(entry.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{name}");
        (month, read(&entry.path().join("part-0.parquet")))
    };
    entries.map(|entry| partition(entry.unwrap())).collect()
}

/// First moments of these months, `2026-01` and later.
const MONTHS: [(&str, i64); 7] = [
    // From `date -u -d 2026-01-01 +%s` and so on.
    ("2026-01", 1_767_225_600),
    ("2026-02", 1_769_904_000),
    ("2026-03", 1_772_323_200),
    ("2026-04", 1_775_001_600),
    ("2026-05", 1_777_593_600),
    ("2026-06", 1_780_272_000),
    ("2026-07", 1_782_864_000),
];

fn month_of(ts: i64) -> &'static str {
    let at = MONTHS.partition_point(|(_, start)| start * 1_000_000 <= ts);
    MONTHS[at - 1].0
}

#[test]
fn rows_are_those_of_the_plain_tables_in_the_month_of_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let summary = write(parted(), 41, folder.path());
    let plain = log(
        MarketConfig {
            files: Files::Table,
            ..parted()
        },
        41,
    );
    assert_eq!(summary, plain.summary);
    assert!(folder.path().join("item.parquet").is_file());
    let pages: BTreeMap<i64, i64> = plain
        .whole("page_impression", "page_id")
        .into_iter()
        .zip(plain.whole("page_impression", "ts"))
        .collect();
    for (table, key, page) in [
        ("page_impression", "page_id", None),
        ("slot_impression", "impression_id", Some("page_id")),
        ("truth", "impression_id", Some("list_id")),
        ("event", "event_id", None),
    ] {
        let parts = partitions(folder.path(), table);
        let schema = plain.table(table).schema();
        for (month, batch) in &parts {
            assert_eq!(batch.schema(), schema, "no column is added");
            let times: Vec<i64> = match page {
                None => whole(batch, "ts"),
                Some(page) => whole(batch, page).iter().map(|id| pages[id]).collect(),
            };
            assert!(times.iter().all(|&ts| month_of(ts) == month), "{table}");
        }
        // Nothing is lost, and rows of one month stand as they do in the plain table.
        let all = concat_batches(&schema, parts.values()).unwrap();
        let sorted = |batch: &RecordBatch| {
            let mut rows: Vec<(i64, usize)> = whole(batch, key).into_iter().zip(0..).collect();
            rows.sort_unstable();
            let order = arrow::array::UInt64Array::from_iter_values(
                rows.into_iter().map(|(_, row)| row as u64),
            );
            arrow::compute::take_record_batch(batch, &order).unwrap()
        };
        assert_eq!(sorted(&all), sorted(plain.table(table)), "{table}");
        let months: Vec<&str> = parts.keys().map(String::as_str).collect();
        let expected = if table == "event" {
            // Cancels come up to 40 days after the last page, which is in April.
            &["2026-01", "2026-02", "2026-03", "2026-04", "2026-05"][..]
        } else {
            &["2026-01", "2026-02", "2026-03", "2026-04"]
        };
        assert_eq!(months, expected, "{table}");
    }
}

#[test]
fn the_seed_alone_decides_the_bytes_of_partitions() {
    let run = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| write(parted(), 42, folder.path()));
        bytes(folder.path())
    };
    let (one, four) = (run(1), run(4));
    assert!(one.contains_key("event/month=2026-03/part-0.parquet"));
    assert!(one == four, "bytes differ between 1 and 4 threads");
}

#[test]
fn months_without_events_leave_a_table_of_events() {
    let folder = tempfile::tempdir().unwrap();
    let config = MarketConfig {
        pages: 3,
        months: 1,
        click_rate: 1e-6,
        purchase_rate: 1e-7,
        ..parted()
    };
    assert_eq!(write(config, 43, folder.path()).events, 0);
    let parts = partitions(folder.path(), "event");
    assert_eq!(parts["2026-01"].num_rows(), 0);
}
