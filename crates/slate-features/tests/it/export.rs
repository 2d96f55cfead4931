//! Datasets in other formats, opened by the programs they are for.

use std::{collections::BTreeMap, path::Path, process::Command};

use slate_features::{
    Dataset, FeatureError, Format, MapSource, Origin, SplitData, SplitSpec,
    letor::{LetorOptions, import_letor},
};
use slate_types::{Hint, Silent, Split};

use crate::fixture::{EVERYTHING, Place, bytes, day};

const ALL: [Format; 4] = Format::ALL;
/// Every kind of input that a row can have.
const SPEC: &str = r#"
    numeric = [{ column = "price", transforms = ["log1p", "standardise"] }, { column = "quality" }]
    categorical = [{ column = "item_category", min_count = 8 }]
    multi_valued = [{ column = "tags", min_count = 2 }]
    max_list_length = 4
"#;

fn built(formats: &[Format]) -> Place {
    let place = Place::with(&day(60, 7));
    place
        .build_as(SPEC, &SplitSpec::default(), MapSource::Fit, formats)
        .unwrap();
    place
}

fn train(place: &Place) -> SplitData {
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    dataset.split(Split::Train).unwrap()
}

/// What a Python program prints, or none where there is no Python, which is said.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn python(program: &str, folder: &Path) -> Option<serde_json::Value> {
    let Some(python) = std::env::var_os("SLATE_PYTHON") else {
        println!("skipped: SLATE_PYTHON is not set, so the real programs cannot be asked");
        return None;
    };
    let output = Command::new(python)
        .args(["-c", program])
        .arg(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| !value.is_nan()).sum()
}

#[test]
fn formats_do_not_change_each_other() {
    let together = bytes(&built(&ALL).out());
    let names = |files: &BTreeMap<std::path::PathBuf, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        let short = |path: &Path| {
            let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
            parts[parts.len().saturating_sub(2)..].join("/")
        };
        files
            .iter()
            .map(|(path, bytes)| (short(path).replace("dataset/", ""), bytes.clone()))
            .collect()
    };
    let together = names(&together);
    for format in ALL {
        let alone = names(&bytes(&built(&[format]).out()));
        assert!(alone.len() > 2, "{format:?}");
        for (name, bytes) in alone.iter().filter(|(name, _)| *name != "manifest.json") {
            assert!(together.get(name) == Some(bytes), "{format:?}: {name}");
        }
    }
}

#[test]
fn numpy_opens_every_array() {
    let place = built(&ALL);
    let data = train(&place);
    let program = r#"
import json, sys, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
out = {}
packed = np.load(folder / "train.npz")
for path in sorted((folder / "train").glob("*.npy")):
    plain = np.load(path)
    assert np.array_equal(plain, packed[path.stem], equal_nan=plain.dtype.kind == "f"), path
    out[path.stem] = [list(plain.shape), str(plain.dtype), float(np.nansum(plain.astype("f8")))]
assert len(packed.files) == len(out), packed.files
print(json.dumps(out))
"#;
    let Some(arrays) = python(program, &place.out()) else {
        return;
    };
    let dense = &arrays["dense"];
    assert_eq!(
        dense[0],
        serde_json::json!([data.rows(), data.dense.len() / data.rows()])
    );
    assert_eq!(dense[1], "float32");
    let expected = sum(data.dense.iter().map(|value| f64::from(*value)));
    assert!((dense[2].as_f64().unwrap() - expected).abs() < 1e-9);
    assert_eq!(
        arrays["item"][2],
        sum(data.item.iter().map(|item| *item as f64))
    );
    assert_eq!(
        arrays["list_offsets"][0],
        serde_json::json!([data.lists.len() + 1])
    );
    assert_eq!(
        arrays["multi_tags"][2],
        sum(data.extras.multi_valued[0]
            .values
            .iter()
            .map(|id| f64::from(*id)))
    );
}

#[test]
fn duckdb_and_pyarrow_read_the_rows() {
    let place = built(&[Format::Npy, Format::Parquet]);
    let data = train(&place);
    let program = r#"
import json, sys, duckdb, pyarrow.parquet as pq
file = sys.argv[1] + "/train.parquet"
query = """
select count(*), count(distinct list_id), sum(grade)::double, sum(click)::double, sum(item_id)::double,
       sum(price), count(*) - count(price), sum(x_price::double), sum(x_item_category)::double,
       sum(list_sum(x_tags))::double, count(*) - count(propensity), min(epoch_us(list_ts))
from read_parquet(?)
"""
row = duckdb.execute(query, [file]).fetchone()
table = pq.read_table(file)
assert table.num_rows == row[0]
print(json.dumps({"row": row, "columns": table.column_names}))
"#;
    let Some(answer) = python(program, &place.out()) else {
        return;
    };
    let row = answer["row"].as_array().unwrap();
    let number = |at: usize| row[at].as_f64().unwrap();
    let close = |at: usize, expected: f64| {
        let found = number(at);
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "{at}: {found}, {expected}"
        );
    };
    let d = data.dense.len() / data.rows();
    close(0, data.rows() as f64);
    close(1, data.lists.len() as f64);
    close(2, sum(data.grade.iter().map(|grade| f64::from(*grade))));
    close(3, sum(data.click.iter().map(|click| f64::from(*click))));
    close(4, sum(data.item.iter().map(|item| *item as f64)));
    close(5, sum(data.price.iter().copied()));
    close(
        6,
        data.price.iter().filter(|price| price.is_nan()).count() as f64,
    );
    close(
        7,
        sum(data.dense.iter().step_by(d).map(|value| f64::from(*value))),
    );
    close(8, sum(data.categorical.iter().map(|id| f64::from(*id))));
    close(
        9,
        sum(data.extras.multi_valued[0]
            .values
            .iter()
            .map(|id| f64::from(*id))),
    );
    close(10, data.rows() as f64);
    close(11, data.list_ts[0] as f64);
    let columns = answer["columns"].as_array().unwrap();
    assert_eq!(columns[0], "list_id");
    assert!(columns.iter().any(|name| name == "x_quality"));
}

#[test]
fn letor_text_comes_back_as_it_went() {
    let place = Place::with(&day(60, 7));
    let formats = [Format::Npy, Format::Letor];
    place
        .build_as(EVERYTHING, &SplitSpec::default(), MapSource::Fit, &formats)
        .unwrap();
    let data = train(&place);
    let back = tempfile::tempdir().unwrap();
    let (source, out) = (back.path().join("train.txt"), back.path().join("dataset"));
    std::fs::copy(place.out().join("train.txt"), &source).unwrap();
    std::fs::create_dir(&out).unwrap();
    // Everything into one part, numbers as they are.
    let options = LetorOptions {
        valid: 0.1,
        calibrate: 0.1,
        test: 0.1,
        standardise: false,
        ..LetorOptions::default()
    };
    import_letor(&source, &out, &options, Origin::default(), &Silent).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let (d, c) = (
        data.dense.len() / data.rows(),
        data.categorical.len() / data.rows(),
    );
    let mut seen = 0;
    for split in Split::ALL {
        let read = dataset.split(split).unwrap();
        for (list, &id) in read.list_id.iter().enumerate() {
            let (given, own) = (read.lists.range(list), data.lists.range(id as usize));
            assert_eq!(given.len(), own.len());
            for (read_row, row) in given.zip(own) {
                seen += 1;
                assert_eq!(read.grade[read_row], data.grade[row]);
                let width = read.dense.len() / read.rows();
                let numbers = &read.dense[read_row * width..(read_row + 1) * width];
                let mut expected = data.dense[row * d..(row + 1) * d].to_vec();
                let ids = &data.categorical[row * c..(row + 1) * c];
                expected.extend(ids.iter().map(|id| *id as f32));
                // A column that is 0 throughout has no number in such a file.
                let used: Vec<f32> = dataset
                    .map()
                    .dense
                    .iter()
                    .map(|feature| feature.name()[1..].parse::<usize>().unwrap())
                    .map(|number| expected[number - 1])
                    .collect();
                assert_eq!(numbers, used);
            }
        }
    }
    assert_eq!(seen, data.rows());

    let text = |name: &str| std::fs::read_to_string(place.out().join(name)).unwrap();
    let sizes: Vec<usize> = text("train.txt.query")
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(data.lists.iter().map(|rows| rows.len()).eq(sizes));
    let ids = text("train.ids.csv");
    let mut lines = ids.lines();
    assert_eq!(lines.next(), Some("list_id,impression_id,item_id,slot"));
    let first = format!(
        "{},{},{},{}",
        data.list_id[0], data.impression[0], data.item[0], data.slot[0]
    );
    assert_eq!(lines.next(), Some(first.as_str()));
    assert_eq!(lines.count() + 1, data.rows());
    let names = text("features.tsv");
    assert_eq!(names.lines().count(), 1 + d + c);
    assert_eq!(names.lines().nth(1), Some("1\tprice\tnumber"));
}

#[test]
fn a_dataset_without_arrays_says_what_to_do() {
    let place = built(&[Format::Parquet]);
    let dataset = Dataset::open(&place.out()).unwrap();
    let error = dataset.split(Split::Train).unwrap_err();
    assert!(matches!(error, FeatureError::NoArrays { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--format npy"));
    let exports = &dataset.manifest().exports;
    assert_eq!(exports.len(), 4);
    assert!(exports.contains_key("train.parquet"));
}
