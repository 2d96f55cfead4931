//! The same log in any order, in any number of files, at any number of threads: the same bytes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use slate_logs::{
    AttributionOptions, EngineOptions, HistoryKey, LogSource, PairOptions, SequenceOptions,
};

use crate::log::{DAY, Log, MINUTE, START, floats, ints, read, run_with, texts, write};

type Columns = Vec<(&'static str, ArrayRef)>;

/// Pages, slots and items with extra columns, and events.
fn tables() -> [(&'static str, Columns); 4] {
    let mut log = Log::default();
    for page in 0..60_i64 {
        let user = page % 7;
        let items: Vec<i64> = (0..4).map(|slot| (page * 5 + slot * 3) % 11).collect();
        let ts = START + page * DAY / 9;
        log.page(ts, user, &items);
        log.event("click", ts + MINUTE, user, items[1]);
        if page % 3 == 0 {
            log.event("purchase", ts + DAY, user, items[1]).order_id = Some(page);
        }
    }
    // Some pages have no seed item, some one that is in no table.
    for (place, page) in (0_i64..).zip(&mut log.pages) {
        page.seed_item_id = (place % 3 > 0).then_some(place % 12);
    }
    let rows = log.slots.len();
    let similarity: Vec<_> = (0..rows)
        .map(|i| (i % 5 > 0).then_some(i as f64 / 7.0))
        .collect();
    let colours: Vec<_> = (0..rows)
        .map(|i| [Some("red"), None, Some("blue")][i % 3])
        .collect();
    let mut slots = log.slot_table();
    slots.push(("similarity", floats(&similarity)));
    slots.push(("Colour of \"it\"", texts(&colours)));
    slots.push(("price", ints((0..rows as i64).map(|i| 100 + i))));
    let ratings: Vec<_> = (0..11).map(|i| Some(f64::from(i) / 2.0)).collect();
    let items: Columns = vec![
        ("item_id", ints(0..11)),
        ("category", texts(&[Some("Home > Lamps"); 11])),
        ("image", texts(&[Some("pictures/1.png"); 11])),
        ("rating", floats(&ratings)),
        ("price", ints((0..11).map(|i| i * 100))),
    ];
    [
        ("page_impression", log.page_table()),
        ("slot_impression", slots),
        ("event", log.event_table()),
        ("item", items),
    ]
}

/// The rows in another order: `i * step mod rows`.
fn shuffled(columns: &Columns, step: usize) -> Columns {
    let rows = columns[0].1.len();
    let order: UInt32Array = (0..rows).map(|i| (i * step % rows) as u32).collect();
    columns
        .iter()
        .map(|(name, values)| (*name, take(values, &order, None).unwrap()))
        .collect()
}

/// Hash and bytes of examples and sequences, then of examples alone.
fn run(dir: &Path, engine: &EngineOptions) -> (String, Vec<u8>, Vec<u8>, Vec<u8>) {
    let options = AttributionOptions {
        history_keys: vec![
            HistoryKey::Item,
            HistoryKey::User,
            HistoryKey::Category,
            HistoryKey::UserCategory,
        ],
        pairs: Some(PairOptions::default()),
        sequence: Some(SequenceOptions::default()),
        ..AttributionOptions::default()
    };
    let summary = run_with(dir, &options, engine).unwrap();
    assert_eq!((summary.rows, summary.lists), (240, 60));
    assert!(
        !dir.join("examples.parquet.work").exists(),
        "the work folder is removed"
    );
    let taken = |file| {
        let bytes = fs::read(dir.join(file)).unwrap();
        fs::remove_file(dir.join(file)).unwrap();
        bytes
    };
    let (examples, sequences) = (taken("examples.parquet"), taken("sequences.parquet"));
    // Without sequences nobody needs the placements twice.
    let options = AttributionOptions {
        sequence: None,
        ..options
    };
    assert_eq!(run_with(dir, &options, engine).unwrap().hash, summary.hash);
    (summary.hash, examples, sequences, taken("examples.parquet"))
}

#[test]
fn order_parts_threads_memory_and_encodings_change_nothing() {
    let engine = |threads| EngineOptions {
        threads,
        ..EngineOptions::default()
    };
    let plain = tempfile::tempdir().unwrap();
    for (name, columns) in &tables() {
        write(
            &plain.path().join(format!("{name}.parquet")),
            columns.clone(),
        );
    }
    let expected = run(plain.path(), &engine(1));

    // A folder whose name would be a pattern, with parts in folders.
    let parent = tempfile::tempdir().unwrap();
    let parts = parent.path().join("a [b] %20*");
    fs::create_dir(&parts).unwrap();
    for (name, columns) in &tables() {
        let columns = shuffled(columns, 7);
        let folder = parts.join(format!("{name}.parquet"));
        fs::create_dir(&folder).unwrap();
        let rows = columns[0].1.len();
        for (part, first) in [0, rows / 3, rows / 2].into_iter().enumerate() {
            let last = [rows / 3, rows / 2, rows][part];
            let slice = |(name, values): &(&'static str, ArrayRef)| {
                (*name, values.slice(first, last - first))
            };
            write(
                &folder.join(format!("part-{part}.parquet")),
                columns.iter().map(slice).collect(),
            );
        }
    }
    let memory = EngineOptions {
        threads: 3,
        memory: Some(192 << 20),
        ..EngineOptions::default()
    };
    assert_eq!(run(&parts, &memory), expected);
    for passes in [1, 3, 17] {
        let divided = EngineOptions {
            passes: Some(passes),
            ..engine(2)
        };
        assert_eq!(run(&parts, &divided), expected, "in {passes} passes");
    }

    let other = tempfile::tempdir().unwrap();
    for (name, columns) in &tables() {
        write(
            &other.path().join(format!("{name}.parquet")),
            recoded(name, columns),
        );
    }
    assert_eq!(run(other.path(), &engine(2)), expected);
}

/// The same values in other types.
fn recoded(table: &str, columns: &Columns) -> Columns {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let recode = |(column, values): &(&'static str, ArrayRef)| {
        let target = match (table, *column) {
            // Numbers become nanoseconds by way of microseconds.
            ("event", "ts") => [&micros, &nanoseconds],
            (_, "ts") => [&micros, &utc],
            (_, "slot") => [&DataType::Int16; 2],
            (_, "category") => [&dictionary; 2],
            (_, "type") => [&DataType::LargeUtf8; 2],
            _ => [values.data_type(); 2],
        };
        (
            *column,
            cast(&cast(values, target[0]).unwrap(), target[1]).unwrap(),
        )
    };
    columns.iter().map(recode).collect()
}

#[test]
fn the_columns_are_those_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    for (name, columns) in &tables() {
        let mut columns = columns.clone();
        if *name == "slot_impression" {
            // A label under a name of ours is no feature.
            columns.push(("click", Arc::new(columns[0].1.clone())));
        }
        write(&dir.path().join(format!("{name}.parquet")), columns);
    }
    let source = LogSource::open(dir.path()).unwrap();
    assert_eq!(source.rows()[1], ("slot_impression", 240));
    let out = dir.path().join("examples.parquet");
    let summary = run_with(
        dir.path(),
        &AttributionOptions::default(),
        &EngineOptions::default(),
    )
    .unwrap();
    assert_eq!(summary.ignored_columns, ["slot_impression.click"]);
    assert!(!dir.path().join("rejects.parquet").exists());
    let batch = read(&out);
    let names: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let expected = "list_id page_id impression_id ts slot item_id seller_id user_id session_id kind \
        price shipping ad_rate raw_score propensity site device page_type traffic_class \
        seed_item_id item_category item_condition item_price item_start item_end seed_category \
        seed_condition seed_price seed_start seed_end C similarity item_rating seed_rating \
        item_impressions_7d item_clicks_7d item_purchases_7d item_impressions_30d item_clicks_30d \
        item_purchases_30d user_impressions_7d user_clicks_7d user_purchases_7d \
        user_impressions_30d user_clicks_30d user_purchases_30d grade click purchase matured \
        attribution click_lag purchase_lag";
    let expected: Vec<String> = expected
        .split_whitespace()
        .map(|name| name.replace('C', "Colour of \"it\""))
        .collect();
    assert_eq!(names, expected);
    // Values came along with their rows: item 3 has rating 1.5 and price 300.
    let long = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
    };
    let ratings = batch
        .column_by_name("item_rating")
        .unwrap()
        .as_primitive::<Float64Type>();
    let seed_ratings = batch
        .column_by_name("seed_rating")
        .unwrap()
        .as_primitive::<Float64Type>();
    let seeds = long("seed_item_id");
    let known = |seed: &Option<i64>| seed.is_some_and(|seed| seed < 11);
    assert!(seeds.iter().any(|seed| known(&seed)) && !seeds.iter().all(|seed| known(&seed)));
    for row in 0..batch.num_rows() {
        let item = long("item_id").value(row);
        assert_eq!(ratings.value(row), item as f64 / 2.0);
        assert_eq!(long("item_price").value(row), item * 100);
        let seed = seeds.iter().nth(row).unwrap().filter(|seed| *seed < 11);
        assert_eq!(
            seed_ratings.is_valid(row).then(|| seed_ratings.value(row)),
            seed.map(|seed| seed as f64 / 2.0)
        );
        assert_eq!(
            long("seed_price")
                .is_valid(row)
                .then(|| long("seed_price").value(row)),
            seed.map(|seed| seed * 100)
        );
        assert_eq!(
            long("price").value(row),
            99 + long("impression_id").value(row)
        );
    }
    let file = fs::File::open(&out).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let pairs = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let value = |key: &str| {
        pairs
            .iter()
            .find(|pair| pair.key == key)
            .unwrap()
            .value
            .clone()
    };
    assert_eq!(value("slate.format").as_deref(), Some("1"));
    assert_eq!(
        value("slate.label_as_of"),
        Some(summary.label_as_of.to_string())
    );
}
