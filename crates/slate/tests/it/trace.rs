//! `slate trace` and `--dry-run` on the simulator's log.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, UInt8Type};
use arrow::record_batch::RecordBatch;
use serde_json::Value;
use slate_features::Dataset;
use slate_types::Split;

use super::program::{SMALL, config, dataset, listing, logs, parquet_rows, shell, slate};

fn trace(page: i64, more: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "trace {page} -c {} {SMALL} --logs {} --json {more}",
        config("demo.toml").display(),
        logs().display()
    );
    slate(folder.path(), &line).done().json()
}

fn split(name: &str) -> Split {
    let found = Split::ALL.into_iter().find(|split| split.name() == name);
    found.expect("one of the four parts")
}

/// Pages of a part of the dataset: its first, and the first with a purchase.
fn pages(dataset: &Dataset) -> BTreeSet<i64> {
    let mut pages = BTreeSet::new();
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        pages.insert(data.list_id[0]);
        let bought = data.purchase.iter().position(|&purchase| purchase == 1);
        if let Some(row) = bought {
            let list = data.lists.iter().position(|rows| rows.contains(&row));
            pages.insert(data.list_id[list.unwrap()]);
        }
    }
    pages
}

#[test]
fn a_trace_ends_in_the_row_of_the_dataset() {
    let dataset_folder = dataset();
    let dataset = Dataset::open(dataset_folder).unwrap();
    let map = dataset_folder.join("feature_map.json");
    let given = format!("--feature-map {}", map.display());
    let pages = pages(&dataset);
    assert!(pages.len() >= 6, "{pages:?}");
    let mut bought = 0;
    for (nth, &page) in pages.iter().enumerate() {
        // Fitted anew and given, in one pass and in several: the numbers are the same.
        let json = trace(page, ["", given.as_str(), "--passes 5"][nth % 3]);
        let features = &json["features"];
        assert_eq!(features["feature_map_sha256"], dataset.map().hash());
        let list = &features["lists"][0];
        let data = dataset
            .split(split(list["split"].as_str().unwrap()))
            .unwrap();
        let (d, c) = (dataset.map().dense.len(), dataset.map().categorical.len());
        let rows = features["rows"].as_array().unwrap();
        assert_eq!(rows.len(), json["placements"].as_array().unwrap().len());
        for (row, placement) in rows.iter().zip(json["placements"].as_array().unwrap()) {
            let at = row["row"].as_u64().unwrap() as usize;
            let dense = row["tensor"]["dense"].as_array().unwrap().iter();
            let dense: Vec<u32> = dense
                .map(|x| (x.as_f64().unwrap() as f32).to_bits())
                .collect();
            let expected = data.dense[at * d..(at + 1) * d].iter();
            assert_eq!(
                dense,
                expected.map(|x| x.to_bits()).collect::<Vec<_>>(),
                "page {page}"
            );
            let ids = row["tensor"]["categorical"].as_array().unwrap().iter();
            let ids: Vec<u64> = ids.map(|id| id.as_u64().unwrap()).collect();
            let expected = data.categorical[at * c..(at + 1) * c].iter();
            assert_eq!(ids, expected.map(|&id| u64::from(id)).collect::<Vec<_>>());
            // The labels of the log's side are those of the dataset's.
            assert_eq!(placement["impression_id"], data.impression[at]);
            assert_eq!(placement["grade"], data.grade[at]);
            assert_eq!(placement["click"], data.click[at] == 1);
            assert_eq!(placement["purchase"], data.purchase[at] == 1);
            bought += u32::from(data.purchase[at]);
        }
        let events = json["events"].as_array().unwrap();
        let ends = json["ends"].as_object().unwrap().values();
        let ends: u64 = ends.map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(ends, events.len() as u64);
    }
    assert!(bought >= 3, "only {bought} purchases were looked at");
}

fn ids(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let ids = batch.column_by_name(column).unwrap();
    ids.as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn cancelled_purchases_and_open_windows_say_why_they_are_zeros() {
    let events = parquet_rows(&logs().join("event.parquet"));
    let kinds = events.column_by_name("type").unwrap();
    let kinds = arrow::compute::cast(kinds, &arrow::datatypes::DataType::Utf8).unwrap();
    let kinds = kinds.as_string::<i32>();
    let named = ids(&events, "impression_id");
    let orders = ids(&events, "order_id");
    let cancelled = (0..events.num_rows()).filter(|&at| kinds.value(at) == "cancel");
    let cancelled: BTreeSet<Option<i64>> = cancelled.map(|at| orders[at]).collect();
    // A cancelled purchase that names its placement.
    let bought = (0..events.num_rows())
        .find(|&at| {
            kinds.value(at) == "purchase" && named[at].is_some() && cancelled.contains(&orders[at])
        })
        .expect("the simulator cancels purchases");
    let slots = parquet_rows(&logs().join("slot_impression.parquet"));
    let at = ids(&slots, "impression_id");
    let at = at.iter().position(|id| *id == named[bought]).unwrap();
    let page = ids(&slots, "page_id")[at].unwrap();

    let json = trace(page, "");
    let events = json["events"].as_array().unwrap();
    let codes: Vec<&str> = events.iter().map(|e| e["code"].as_str().unwrap()).collect();
    assert!(
        codes.contains(&"cancelled") && codes.contains(&"cancels"),
        "{codes:?}"
    );
    let placements = json["placements"].as_array().unwrap();
    let placement = placements
        .iter()
        .find(|p| p["impression_id"] == named[bought].unwrap());
    assert_eq!(placement.unwrap()["purchase"], false);

    // The same page a moment after it was shown: nothing is final.
    let time = json["page"]["ts"].as_i64().unwrap() / 1_000_000 + 1;
    let as_of = chrono::DateTime::from_timestamp(time, 0)
        .unwrap()
        .to_rfc3339();
    let as_of = as_of.replace("+00:00", "Z");
    let early = trace(
        page,
        &format!(
            "--as-of {as_of} --feature-map {}",
            dataset().join("feature_map.json").display()
        ),
    );
    for placement in early["placements"].as_array().unwrap() {
        assert_eq!(placement["matured"], false);
        assert!(
            placement["why"]
                .as_str()
                .unwrap()
                .contains("not final: windows close")
        );
    }
    assert!(early["features"]["lists"][0]["split"].is_null());
    let arrived = early["events"].as_array().unwrap().iter();
    let late = arrived
        .filter(|event| event["code"] == "not_arrived")
        .count();
    assert!(late > 0, "the purchase came later");
}

#[test]
fn a_trace_is_read_by_people_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let line = |page: i64, more: &str| {
        format!(
            "TMPDIR=. \"$SLATE\" trace {page} -c {} {SMALL} --logs {} {more}",
            config("demo.toml").display(),
            logs().display()
        )
    };
    let told = shell(folder.path(), &line(17, "--slot 0")).done();
    for heading in [
        "page 17\n",
        "\nPlacements, as logged\nslot  impression_id",
        "\nItems, as logged\n",
        "\nEvents that could concern it\n",
        "\nLabels\nslot  item  grade  click  purchase",
        "\nFeatures by the map ",
        "\nslot 0, item ",
        "\ntensor (row ",
    ] {
        assert!(
            told.stdout.contains(heading),
            "no {heading:?} in {}",
            told.stdout
        );
    }
    assert!(
        !told.stdout.contains("\nslot 1, item "),
        "one slot was asked for"
    );
    shell(folder.path(), &line(17, "--slot 99"))
        .refused(&["has no slot 99", "hint: its slots: 0, 1"]);
    shell(folder.path(), &line(77_777, "")).refused(&[
        "page 77777 is not in `",
        "hint: its page ids run from 1 to 500; the nearest: 500",
    ]);
    shell(folder.path(), &line(-3, "")).refused(&["page -3 is not in `", "the nearest: 1"]);
    // Without a section for features labels are traced all the same.
    let alone = format!("TMPDIR=. \"$SLATE\" trace 17 --logs {}", logs().display());
    let told = shell(folder.path(), &alone).done();
    assert!(told.stderr.contains("labels alone"), "{}", told.stderr);
    assert!(!told.stdout.contains("Features"), "{}", told.stdout);
    assert_eq!(listing(folder.path()), Vec::<String>::new());
}

#[test]
fn labels_of_a_trace_are_those_of_slate_label() {
    let folder = tempfile::tempdir().unwrap();
    let log = logs().display();
    slate(
        folder.path(),
        &format!("label --logs {log} --out labels --as-of 2026-04-01"),
    )
    .done();
    let labels = parquet_rows(&folder.path().join("labels/labels.parquet"));
    let pages = ids(&labels, "page_id");
    let mut checked = 0;
    for page in [1, 40, 200] {
        let line = format!("trace {page} --logs {log} --json -q --as-of 2026-04-01");
        let json = slate(folder.path(), &line).done().json();
        let own = (0..pages.len()).filter(|&row| pages[row] == Some(page));
        for (row, placement) in own.zip(json["placements"].as_array().unwrap()) {
            let grades = labels.column_by_name("grade").unwrap();
            assert_eq!(
                placement["grade"],
                grades.as_primitive::<UInt8Type>().value(row)
            );
            let matured = labels.column_by_name("matured").unwrap().as_boolean();
            assert_eq!(placement["matured"], matured.value(row));
            let lag = labels.column_by_name("click_lag").unwrap();
            let lag = lag.as_primitive::<Int64Type>();
            let lag = lag.is_valid(row).then(|| lag.value(row));
            assert_eq!(placement["click_lag"].as_i64(), lag);
            checked += 1;
        }
    }
    assert!(checked > 10);
}

#[test]
fn a_dry_run_plans_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, log) = (config("demo.toml"), logs().display());
    let line = format!(
        "features -c {} {SMALL} --logs {log} --dry-run",
        demo.display()
    );
    let json = slate(folder.path(), &format!("{line} --passes 3 --json"))
        .done()
        .json();
    assert_eq!(json["tables"]["page_impression"], 500);
    let stages: Vec<(&str, u64)> = json["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| {
            (
                stage["name"].as_str().unwrap(),
                stage["passes"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            ("check the log", 1),
            ("read events", 1),
            ("order placements", 1),
            ("attribute events", 3),
            ("count history", 3),
            ("write examples", 1),
            ("scan", 1),
            ("fit", 1),
            ("write", 1),
        ]
    );
    assert!(json["estimated"].as_u64() >= json["memory"]["needed"].as_u64());
    let told = slate(
        folder.path(),
        &format!("{line} --memory 1GiB --out dataset"),
    )
    .done();
    for words in [
        "order placements       1",
        "allowed by --memory",
        "1024 MiB",
        "HashJoinExec",
    ] {
        assert!(
            told.stdout.contains(words),
            "no `{words}` in {}",
            told.stdout
        );
    }
    let told = slate(folder.path(), &format!("label --logs {log} --dry-run")).done();
    assert!(!told.stdout.contains("count history"), "{}", told.stdout);
    // Too little memory is refused alike, dry or not, with what would do.
    for more in ["--dry-run", "--out labels"] {
        slate(
            folder.path(),
            &format!("label --logs {log} --memory 50MiB {more}"),
        )
        .refused(&["50 MiB of memory is too little", "expected at least 16"]);
    }
    slate(folder.path(), &format!("label --logs {log}")).refused(&["--out"]);
    assert_eq!(listing(folder.path()), Vec::<String>::new());
}
