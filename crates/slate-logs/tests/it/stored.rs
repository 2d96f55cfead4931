//! Sound logs are read as they are stored, others are checked and sorted: nobody can tell which.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use slate_logs::{
    AttributionOptions, EngineOptions, ExampleColumns, ExampleFiles, ExamplesSummary, HistoryKey,
    LogSource,
};
use slate_types::Silent;

use crate::log::{DAY, Log, MINUTE, START, floats, ints, read, texts};

/// Placements with columns of every type.
fn log() -> (Log, RecordBatch) {
    let mut log = Log::default();
    for page in 0..50_i64 {
        let ts = START + page * DAY / 5;
        log.page(ts, page % 6, &[1, 2, 3 + page % 4]);
        log.event("click", ts + MINUTE, page % 6, 2);
        if page % 4 == 0 {
            log.event("purchase", ts + 9 * MINUTE, page % 6, 2);
        }
    }
    let rows = log.slots.len();
    let mut columns = log.slot_table();
    columns.push(("price", ints((0..rows as i64).map(|row| 100 + row))));
    let rates: Vec<_> = (0..rows).map(|row| (row % 3 > 0).then_some(0.1)).collect();
    columns.push(("ad_rate", floats(&rates)));
    let kinds: Vec<_> = (0..rows)
        .map(|row| [Some("organic"), Some("promoted"), None][row % 3])
        .collect();
    columns.push(("kind", texts(&kinds)));
    columns.push(("similarity", floats(&vec![Some(0.5); rows])));
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    let slots = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    (log, slots)
}

/// Writes the log with these placements in three files of row groups of 7 rows.
fn write_in_parts(dir: &Path, log: &Log, slots: &RecordBatch) {
    log.write(dir);
    fs::remove_file(dir.join("slot_impression.parquet")).unwrap();
    let folder = dir.join("slot_impression");
    fs::create_dir(&folder).unwrap();
    let small = WriterProperties::builder()
        .set_max_row_group_row_count(Some(7))
        .build();
    let (rows, third) = (slots.num_rows(), slots.num_rows() / 3);
    for (part, (first, last)) in [(0, third), (third, 2 * third), (2 * third, rows)]
        .into_iter()
        .enumerate()
    {
        // Parts may have their columns in another order.
        let mut order: Vec<usize> = (0..slots.num_columns()).collect();
        order.rotate_left(part);
        let part_rows = slots.slice(first, last - first).project(&order).unwrap();
        let file = File::create(folder.join(format!("part-{part}.parquet"))).unwrap();
        let mut writer =
            ArrowWriter::try_new(file, part_rows.schema(), Some(small.clone())).unwrap();
        writer.write(&part_rows).unwrap();
        writer.close().unwrap();
    }
}

fn run(dir: &Path, threads: usize, columns: &ExampleColumns) -> (ExamplesSummary, RecordBatch) {
    run_with(dir, threads, columns, AttributionOptions::default())
}

fn run_with(
    dir: &Path,
    threads: usize,
    columns: &ExampleColumns,
    options: AttributionOptions,
) -> (ExamplesSummary, RecordBatch) {
    let options = AttributionOptions {
        history_keys: vec![HistoryKey::Item, HistoryKey::User],
        max_reject_share: 0.1,
        ..options
    };
    let engine = EngineOptions {
        threads,
        ..EngineOptions::default()
    };
    let out = tempfile::tempdir().unwrap();
    let files = ["examples.parquet", "rejects.parquet", "sequences.parquet"];
    let [examples, rejects, sequences] = files.map(|file| out.path().join(file));
    let files = ExampleFiles {
        examples: &examples,
        rejects: &rejects,
        sequences: &sequences,
    };
    let source = LogSource::open(dir).unwrap();
    let attribution = options.check().unwrap();
    let summary =
        slate_logs::examples(&source, &attribution, &engine, columns, files, &Silent).unwrap();
    (summary, read(&examples))
}

/// The same placements with the values of one row of a column replaced.
fn with(slots: &RecordBatch, column: &str, row: usize, value: &dyn Array) -> RecordBatch {
    let at = slots.schema().index_of(column).unwrap();
    let values = slots.column(at);
    let parts = [
        &*values.slice(0, row),
        value,
        &*values.slice(row + 1, values.len() - row - 1),
    ];
    let mut columns = slots.columns().to_vec();
    columns[at] = arrow::compute::concat(&parts).unwrap();
    RecordBatch::try_new(slots.schema(), columns).unwrap()
}

#[test]
fn row_groups_parts_and_threads_change_nothing() {
    let (log, slots) = log();
    let whole = tempfile::tempdir().unwrap();
    log.write(whole.path());
    let file = File::create(whole.path().join("slot_impression.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, slots.schema(), None).unwrap();
    writer.write(&slots).unwrap();
    writer.close().unwrap();
    let (expected, rows) = run(whole.path(), 1, &ExampleColumns::All);
    assert_eq!(rows.num_rows(), 150);

    let parts = tempfile::tempdir().unwrap();
    write_in_parts(parts.path(), &log, &slots);
    for threads in 1..=4 {
        let (summary, given) = run(parts.path(), threads, &ExampleColumns::All);
        assert_eq!(summary.hash, expected.hash, "on {threads} threads");
        assert_eq!(given, rows);
    }

    // The last two rows the other way round, pages backwards, no order at all: sorted in memory, and by
    // the engine where one more row is unusable.
    let swapped = (0..148).chain([149, 148]).collect();
    let by_session = (0..50).rev().flat_map(|page| 3 * page..3 * page + 3);
    let shuffled = (0..150).map(|row| row * 77 % 150).collect();
    for order in [swapped, by_session.collect(), shuffled] {
        let rows = reordered(&slots, order);
        let parts = tempfile::tempdir().unwrap();
        write_in_parts(parts.path(), &log, &rows);
        let (summary, given) = run(parts.path(), 2, &ExampleColumns::All);
        assert_eq!(
            (summary.hash, given),
            (expected.hash.clone(), whole_rows(&whole))
        );

        let again = rows.slice(0, 1);
        let rows = concat_batches(&rows.schema(), [&rows, &again]).unwrap();
        let parts = tempfile::tempdir().unwrap();
        write_in_parts(parts.path(), &log, &rows);
        let (summary, _) = run(parts.path(), 2, &ExampleColumns::All);
        assert_eq!(summary.rejects[0].rows, 1);
        assert_eq!(summary.hash, expected.hash);
    }
}

/// What the log in one file gives.
fn whole_rows(dir: &tempfile::TempDir) -> RecordBatch {
    run(dir.path(), 1, &ExampleColumns::All).1
}

fn reordered(rows: &RecordBatch, order: Vec<u32>) -> RecordBatch {
    take_record_batch(rows, &UInt32Array::from(order)).unwrap()
}

#[test]
fn repeated_ids_are_found_also_among_rows_that_come_too_late() {
    let (mut log, slots) = log();
    // The last page is after the date of the labels, and one of its rows repeats an early id.
    log.pages[49].ts += 20 * DAY;
    let options = AttributionOptions {
        label_as_of: Some("2026-01-20".to_owned()),
        ..AttributionOptions::default()
    };
    let impressions = slots.column(slots.schema().index_of("impression_id").unwrap());
    let spoilt = with(&slots, "impression_id", 147, &impressions.slice(0, 1));
    let forwards = (0..150).collect();
    let backwards = (0..150).rev().collect();
    let seen: Vec<_> = [forwards, backwards]
        .map(|order| {
            let dir = tempfile::tempdir().unwrap();
            write_in_parts(dir.path(), &log, &reordered(&spoilt, order));
            let (summary, _) = run_with(dir.path(), 2, &ExampleColumns::All, options.clone());
            (summary.hash, summary.rejects, summary.rows)
        })
        .into();
    assert_eq!(seen[0].1[0].reason, "repeats the id of another row");
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn repeated_events_are_known_by_their_first_copy_also_where_a_row_is_unusable() {
    let (mut log, slots) = log();
    // Copies of the first events, a day later.
    let copies: Vec<_> = log.events[..9].to_vec();
    log.events.extend(copies.into_iter().map(|mut event| {
        event.ts += DAY;
        event
    }));
    let again = concat_batches(&slots.schema(), [&slots, &slots.slice(0, 1)]).unwrap();
    let seen = [slots, again].map(|slots| {
        let dir = tempfile::tempdir().unwrap();
        write_in_parts(dir.path(), &log, &slots);
        let (summary, rows) = run(dir.path(), 2, &ExampleColumns::All);
        assert_eq!(summary.join.total().duplicate, 9);
        (summary.hash, rows)
    });
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn other_types_give_the_same_rows() {
    let (log, slots) = log();
    let plain = tempfile::tempdir().unwrap();
    write_in_parts(plain.path(), &log, &slots);
    let (expected, _) = run(plain.path(), 2, &ExampleColumns::All);
    let kinds = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let types = [
        ("slot", DataType::Int16),
        ("item_id", DataType::Int32),
        ("price", DataType::UInt32),
        ("ad_rate", DataType::Decimal128(9, 4)),
        ("kind", kinds),
    ];
    let (mut columns, mut fields) = (slots.columns().to_vec(), slots.schema().fields().to_vec());
    for (name, data_type) in types {
        let at = slots.schema().index_of(name).unwrap();
        columns[at] = cast(&columns[at], &data_type).unwrap();
        fields[at] = Field::new(name, data_type, true).into();
    }
    let schema = Arc::new(Schema::new(fields));
    let cast = RecordBatch::try_new(schema, columns).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_in_parts(dir.path(), &log, &cast);
    assert_eq!(
        run(dir.path(), 2, &ExampleColumns::All).0.hash,
        expected.hash
    );
}

#[test]
fn a_column_of_ones_own_may_be_called_category() {
    let (log, slots) = log();
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let own = texts(&vec![Some("mine"); slots.num_rows()]);
    let columns = log
        .slot_table()
        .into_iter()
        .chain([("category", own.clone())]);
    crate::log::write(
        &dir.path().join("slot_impression.parquet"),
        columns.collect(),
    );
    let (_, rows) = run(dir.path(), 2, &ExampleColumns::All);
    assert_eq!(rows.column_by_name("category"), Some(&own));
}

#[test]
fn one_unusable_value_is_found_wherever_it_is() {
    let (log, slots) = log();
    let sound = tempfile::tempdir().unwrap();
    write_in_parts(sound.path(), &log, &slots);
    let (_, rows) = run(sound.path(), 2, &ExampleColumns::All);
    let spoilt: [(&str, &str, arrow::array::ArrayRef); 8] = [
        (
            "list_id",
            "is null",
            crate::log::options([None].into_iter()),
        ),
        (
            "page_id",
            "is not among the usable rows",
            ints([999].into_iter()),
        ),
        ("slot", "is negative", ints([-1].into_iter())),
        ("slot", "is above", ints([2_000_000].into_iter())),
        // In a column that labels never look at, and statistics vouch for elsewhere.
        ("price", "is negative", ints([-1].into_iter())),
        (
            "ad_rate",
            "is not a finite number",
            floats(&[Some(f64::NAN)]),
        ),
        ("kind", "is none of", texts(&[Some("sold")])),
        (
            "similarity",
            "is not a finite number",
            floats(&[Some(f64::INFINITY)]),
        ),
    ];
    for (column, reason, value) in spoilt {
        for row in [0, 77, 149] {
            let dir = tempfile::tempdir().unwrap();
            write_in_parts(dir.path(), &log, &with(&slots, column, row, &value));
            let (summary, given) = run(dir.path(), 2, &ExampleColumns::All);
            let [reject] = summary.rejects.as_slice() else {
                panic!("{column} in row {row}: {:?}", summary.rejects);
            };
            assert_eq!((reject.column.as_str(), reject.rows), (column, 1));
            assert!(reject.reason.contains(reason), "{reject:?}");
            assert_eq!(given.num_rows(), rows.num_rows() - 1);
        }
    }
    // An impression twice, far apart: the first by all its columns stays.
    let impressions = slots.column(slots.schema().index_of("impression_id").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let first = impressions.slice(0, 1);
    write_in_parts(
        dir.path(),
        &log,
        &with(&slots, "impression_id", 149, &first),
    );
    let (summary, _) = run(dir.path(), 2, &ExampleColumns::All);
    assert_eq!(summary.rejects[0].reason, "repeats the id of another row");
}

#[test]
fn columns_nobody_asked_for_are_left_out() {
    let (log, slots) = log();
    let dir = tempfile::tempdir().unwrap();
    write_in_parts(dir.path(), &log, &slots);
    let (_, all) = run(dir.path(), 2, &ExampleColumns::All);
    let only = |names: &[&str]| {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        run(dir.path(), 2, &ExampleColumns::Only(names)).1
    };
    let asked = [
        "similarity",
        "price",
        "user_clicks_7d",
        "item_impressions_7d",
    ];
    let given = only(&asked);
    let schema = given.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "list_id",
            "page_id",
            "impression_id",
            "ts",
            "slot",
            "item_id",
            "price",
            "similarity",
            "item_impressions_7d",
            "user_clicks_7d",
            "grade",
            "click",
            "purchase",
            "matured",
            "attribution",
            "click_lag",
            "purchase_lag",
        ]
    );
    for name in names {
        assert_eq!(
            given.column_by_name(name),
            all.column_by_name(name),
            "{name}"
        );
    }
    // A name that is none: whoever misses it sees what there is.
    assert_eq!(only(&["price", "prise"]).schema(), all.schema());
}
