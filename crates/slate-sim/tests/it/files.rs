//! Bytes, schema, manifest, pictures, refusals of the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use slate_sim::{MarketConfig, SimError, simulate};
use slate_types::log::{ColumnKind, EVENT, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION};
use slate_types::{Hint, Seed, Silent};

use crate::log::{log, small};

/// Every file of a simulated log, by name.
fn bytes(config: MarketConfig, seed: u64, threads: usize) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let market = config.check().unwrap();
    pool.install(|| simulate(&market, Seed(seed), folder.path(), &Silent))
        .unwrap();
    let read = |entry: fs::DirEntry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    };
    fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| read(entry.unwrap()))
        .collect()
}

#[test]
fn the_seed_alone_decides_the_bytes() {
    let config = || MarketConfig {
        pages: 1_800,
        users: 1_800,
        items: 400,
        picture_size: 8,
        candidates: 12,
        months: 2,
        ..MarketConfig::default()
    };
    let one = bytes(config(), 1, 1);
    let names: Vec<&str> = one.keys().map(String::as_str).collect();
    let expected = [
        "event.parquet",
        "item.parquet",
        "manifest.json",
        "page_impression.parquet",
        "slot_impression.parquet",
        "truth.parquet",
    ];
    assert_eq!(names, expected);
    let four = bytes(config(), 1, 4);
    for (name, bytes) in &one {
        assert!(
            four[name] == *bytes,
            "{name} differs between 1 and 4 threads"
        );
    }
    let other = bytes(config(), 2, 4);
    for (name, bytes) in &one {
        assert!(other[name] != *bytes, "{name} is the same for another seed");
    }
}

#[test]
fn tables_keep_the_schema() {
    let log = log(
        MarketConfig {
            pages: 200,
            ..small()
        },
        1,
    );
    for table in [PAGE_IMPRESSION, SLOT_IMPRESSION, EVENT, ITEM] {
        let schema = log.table(table.name).schema();
        for column in table.columns {
            let Ok(field) = schema.field_with_name(column.name) else {
                assert!(!column.required, "{} lacks {}", table.name, column.name);
                continue;
            };
            assert_eq!(field.is_nullable(), !column.required, "{}", column.name);
            let kind_fits = match column.kind {
                ColumnKind::Id | ColumnKind::Money | ColumnKind::Count => {
                    field.data_type() == &DataType::Int64
                }
                ColumnKind::Timestamp => matches!(field.data_type(), DataType::Timestamp(..)),
                ColumnKind::Text | ColumnKind::Choice(_) => field.data_type() == &DataType::Utf8,
                ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => {
                    field.data_type() == &DataType::Float64
                }
                ColumnKind::Bytes => field.data_type() == &DataType::Binary,
            };
            assert!(
                kind_fits,
                "{}.{} is {}",
                table.name,
                column.name,
                field.data_type()
            );
            if let ColumnKind::Choice(choices) = column.kind {
                let texts = log.texts(table.name, column.name);
                assert!(texts.iter().all(|text| choices.contains(&text.as_str())));
            }
        }
        if let Some(key) = table.key {
            let mut ids = log.whole(table.name, key);
            ids.sort_unstable();
            let rows = ids.len();
            ids.dedup();
            assert_eq!(ids.len(), rows, "{key} repeats");
        }
    }
}

#[test]
fn the_manifest_says_what_is_there() {
    let files = bytes(
        MarketConfig {
            pages: 100,
            ..small()
        },
        9,
        1,
    );
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["kind"], "log");
    assert_eq!(manifest["source"], "simulate");
    assert_eq!(manifest["seed"], 9);
    assert_eq!(manifest["config"]["pages"], 100);
    assert_eq!(
        manifest["counts"]["pages"],
        manifest["tables"]["page_impression"]
    );
    assert_eq!(
        manifest["tables"]["truth"],
        manifest["tables"]["slot_impression"]
    );
    assert_eq!(manifest["tables"]["event"], manifest["counts"]["events"]);
}

#[test]
fn every_item_has_a_picture_that_decodes() {
    let config = MarketConfig {
        pages: 20,
        items: 300,
        pictures: true,
        ..small()
    };
    let log = log(config, 1);
    let images = log.column("item", "image").as_binary::<i32>();
    assert_eq!(images.null_count(), 0);
    for bytes in images.iter().flatten() {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (32, 32));
    }
    assert!(
        log.texts("item", "title")
            .iter()
            .all(|title| title.split(' ').count() == 6)
    );
}

#[test]
fn a_file_in_the_way_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("event.parquet");
    fs::write(&blocked, "mine").unwrap();
    let market = MarketConfig {
        pages: 20,
        ..small()
    }
    .check()
    .unwrap();
    let error = simulate(&market, Seed(1), folder.path(), &Silent).unwrap_err();
    assert!(
        matches!(&error, SimError::Io { path, .. } if *path == blocked),
        "{error}"
    );
    assert!(error.hint().is_some());
    assert_eq!(fs::read_to_string(&blocked).unwrap(), "mine");
    let nowhere = Path::new("no such folder");
    assert!(matches!(
        simulate(&market, Seed(1), nowhere, &Silent),
        Err(SimError::Io { .. })
    ));
}
