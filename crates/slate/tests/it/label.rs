//! Labels against the simulator, which knows the cause of every event.

use std::fs::File;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt8Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::program::{SMALL, config, logs, slate};

pub(crate) fn read(file: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Result<Vec<_>, _> = builder.build().unwrap().collect();
    arrow::compute::concat_batches(&schema, &batches.unwrap()).unwrap()
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    let ids = batch.column_by_name("impression_id").unwrap();
    ids.as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn labels_are_those_of_the_simulator_in_any_number_of_passes() {
    let folder = tempfile::tempdir().unwrap();
    let truth = read(&logs().join("truth.parquet"));
    let mut caused: Vec<(i64, [bool; 2])> = Vec::new();
    let flag = |name: &str, row: usize| truth.column_by_name(name).unwrap().as_boolean().value(row);
    for (row, id) in ids(&truth).into_iter().enumerate() {
        caused.push((id, ["click", "purchase"].map(|name| flag(name, row))));
    }
    caused.sort_unstable();
    assert!(caused.iter().any(|(_, [_, purchase])| *purchase));

    let mut hashes = Vec::new();
    for passes in [1, 3, 17] {
        let line = format!(
            "label -c {} {SMALL} --json --logs {} --out labels-{passes} --passes {passes}",
            config("demo.toml").display(),
            logs().display()
        );
        let json = slate(folder.path(), &line).done().json();
        hashes.push(json["hash"].clone());
        let labels = read(
            &folder
                .path()
                .join(format!("labels-{passes}/labels.parquet")),
        );
        let label = |name: &str, row: usize| {
            let values = labels.column_by_name(name).unwrap();
            values.as_primitive::<UInt8Type>().value(row) == 1
        };
        let mut found: Vec<(i64, [bool; 2])> = Vec::new();
        for (row, id) in ids(&labels).into_iter().enumerate() {
            found.push((id, ["click", "purchase"].map(|name| label(name, row))));
        }
        found.sort_unstable();
        assert_eq!(found, caused, "{passes} passes");
        let matured = labels.column_by_name("matured").unwrap().as_boolean();
        assert_eq!(matured.true_count(), labels.num_rows());
        for (event_type, line) in json["join"].as_object().unwrap() {
            let count = |name: &str| line[name].as_u64().unwrap();
            let ends = ["attributed", "late", "orphan", "duplicate"].map(count);
            assert_eq!(ends.iter().sum::<u64>(), count("input"), "{event_type}");
        }
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn datasets_do_not_depend_on_passes_or_memory() {
    let folder = tempfile::tempdir().unwrap();
    let features = |out: &str, more: &str| {
        let line = format!(
            "features -c {} {SMALL} --json --logs {} --out {out} {more} \
             --set attribution.history_keys=[\"item\",\"seller\",\"category\",\"user\",\"user_category\"]",
            config("demo.toml").display(),
            logs().display()
        );
        slate(folder.path(), &line).done().json()["join"]["hash"].clone()
    };
    let one = features("one", "");
    assert_eq!(features("three", "--passes 3 --threads 1"), one);
    assert_eq!(features("little", "--memory 256MiB"), one);
    let bytes = |out: &str, file: &str| std::fs::read(folder.path().join(out).join(file)).unwrap();
    for file in ["train/dense.npy", "test/dense.npy"] {
        assert_eq!(bytes("one", file), bytes("three", file), "{file}");
        assert_eq!(bytes("one", file), bytes("little", file), "{file}");
    }
}
