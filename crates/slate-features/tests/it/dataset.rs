//! Dataset folders read back: whole, damaged, old, by NumPy, and made again with a given map.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use slate_features::{
    Dataset, FeatureError, FeatureMap, Format, Inputs, MapSource, Origin, Outputs, SplitSpec, build,
};
use slate_types::{FeatureShape, Silent, Split};

use crate::fixture::{EVERYTHING, Place, Row, bytes, columns, day, parse, write_with};

/// The message for a dataset after `damage` was done to it, without the folder's name.
fn refused(damage: impl FnOnce(&Path)) -> String {
    let place = Place::with(&day(40, 3));
    place.build(EVERYTHING).unwrap();
    damage(&place.out());
    let error = Dataset::open(&place.out())
        .and_then(|dataset| dataset.verify())
        .unwrap_err();
    error
        .to_string()
        .replace(&format!("{}/", place.out().display()), "")
}

fn replace(file: PathBuf, from: &str, to: &str) {
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn damage_is_named_with_its_file() {
    let cut = |folder: &Path| {
        let file = folder.join("test/item.npy");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 8]).unwrap();
    };
    let message = refused(cut);
    assert!(
        message.starts_with("`test/item.npy` is not a usable .npy file: it has"),
        "{message}"
    );

    let swap = |folder: &Path| {
        std::fs::copy(
            folder.join("train/grade.npy"),
            folder.join("test/grade.npy"),
        )
        .unwrap();
    };
    let message = refused(swap);
    assert!(
        message.starts_with("`test/grade.npy` has shape ["),
        "{message}"
    );

    let retype = |folder: &Path| {
        std::fs::copy(
            folder.join("valid/slot.npy"),
            folder.join("valid/weight.npy"),
        )
        .unwrap();
    };
    assert_eq!(
        refused(retype),
        "`valid/weight.npy` has type <u4, but its manifest says <f4"
    );

    let flip = |folder: &Path| {
        let file = folder.join("train/price.npy");
        let mut content = std::fs::read(&file).unwrap();
        *content.last_mut().unwrap() ^= 1;
        std::fs::write(file, content).unwrap();
    };
    let message = refused(flip);
    assert!(
        message.starts_with("`train/price.npy` has SHA-256 "),
        "{message}"
    );

    let edit = |folder: &Path| {
        replace(
            folder.join("feature_map.json"),
            "\"log1p\": true",
            "\"log1p\": false",
        );
    };
    let message = refused(edit);
    assert!(
        message.starts_with("`feature_map.json` has SHA-256 "),
        "{message}"
    );

    let remove = |folder: &Path| std::fs::remove_file(folder.join("valid/click.npy")).unwrap();
    assert_eq!(refused(remove), "cannot open `valid/click.npy`");

    let newer = |folder: &Path| {
        replace(
            folder.join("manifest.json"),
            "\"format\": 1",
            "\"format\": 2",
        );
    };
    assert_eq!(refused(newer), "cannot read `manifest.json`");

    let other = |folder: &Path| replace(folder.join("manifest.json"), "\"dataset\"", "\"run\"");
    assert_eq!(
        refused(other),
        "`manifest.json` has kind run, but its manifest says dataset"
    );
}

/// `tests/data/formats/dataset-1` was written by the first version with this layout. It must be
/// readable for ever.
#[test]
fn the_first_layout_is_still_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats/dataset-1");
    let dataset = Dataset::open(&folder).unwrap();
    dataset.verify().unwrap();
    assert_eq!(
        dataset.shape(),
        FeatureShape {
            dense: 9,
            categorical: vec![9, 4, 11, 6],
            ..FeatureShape::default()
        }
    );
    assert_eq!(dataset.map().dense[4].name(), "ctr");
    assert_eq!(dataset.manifest().left_out.immature_lists, 2);
    let lists = Split::ALL.map(|split| dataset.split(split).unwrap().lists.len());
    assert_eq!(lists, [21, 4, 5, 8]);
    // As `numpy.load` has them.
    let test = dataset.split(Split::Test).unwrap();
    assert_eq!(
        test.list_ts[..2],
        [1_767_227_460_000_000, 1_767_227_520_000_000]
    );
    assert_eq!(
        (test.item[1], test.grade[1], test.slot[1], test.weight[1]),
        (7, 0, 1, 1.0)
    );
    assert_eq!(test.price[0], 499.0);
    assert!(test.price[1].is_nan());
    assert_eq!(test.dense[..3], [0.090_502_016, 0.0, 0.055_379_543]);
    assert_eq!(test.categorical[..4], [4, 1, 7, 4]);
}

#[test]
fn a_given_map_is_used_as_it_is() {
    let place = Place::with(&day(40, 3));
    let summary = place.build(EVERYTHING).unwrap();
    let map = Dataset::open(&place.out()).unwrap().map().clone();
    // Other examples, and a spec whose features are not looked at.
    let other = Place::with(&day(50, 4));
    let weights = parse("weights = [1, 2, 3, 4, 5]");
    let split = SplitSpec::default();
    let with_map = |map: FeatureMap| {
        let origin = Origin::default();
        build(
            Inputs {
                examples: &other.examples(),
                sequences: None,
            },
            &weights,
            &split,
            MapSource::Given(map),
            Outputs {
                folder: &other.out(),
                formats: &BTreeSet::from([Format::Npy]),
            },
            origin,
            &Silent,
        )
    };
    let again = with_map(map).unwrap();
    assert_eq!(again.feature_map_sha256, summary.feature_map_sha256);
    assert_eq!(again.lists, 50);
    let train = Dataset::open(&other.out())
        .unwrap()
        .split(Split::Train)
        .unwrap();
    for (weight, grade) in train.weight.iter().zip(&train.grade) {
        assert_eq!(*weight, f32::from(*grade) + 1.0);
    }
}

#[test]
fn an_empty_column_is_constant_and_said_so() {
    let rows: Vec<Row> = day(40, 3)
        .into_iter()
        .map(|row| Row {
            quality: None,
            ..row
        })
        .collect();
    let place = Place::with(&rows);
    let summary = place.build("numeric = [{ column = 'quality' }]").unwrap();
    assert_eq!(
        summary.notes,
        ["`quality` is empty in the training window: `quality` is the same in every row"]
    );
    let train = Dataset::open(&place.out())
        .unwrap()
        .split(Split::Train)
        .unwrap();
    assert!(
        train.dense.chunks(2).all(|row| row == [0.0, 1.0]),
        "constant, and missing"
    );
}

#[test]
fn the_manifest_says_where_the_examples_come_from() {
    let place = Place::with(&day(40, 3));
    place.build(EVERYTHING).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let origin = &dataset.manifest().origin;
    assert_eq!(origin.command, "test");
    assert_eq!(origin.examples_hash.as_ref().map(String::len), Some(64));
    assert_eq!(bytes(&place.out()).len(), 4 * 16 + 2);
}

#[test]
fn the_footer_of_the_examples_is_read() {
    let place = Place::with(&[]);
    let footer = [("slate.format", "1"), ("slate.label_as_of", "2026-02-01")];
    write_with(&place.examples(), columns(&day(40, 3)), &footer);
    place.build(EVERYTHING).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    assert_eq!(
        dataset.manifest().origin.label_as_of.as_deref(),
        Some("2026-02-01")
    );

    write_with(
        &place.examples(),
        columns(&day(40, 3)),
        &[("slate.format", "2")],
    );
    let error = place.build(EVERYTHING).unwrap_err();
    assert!(matches!(error, FeatureError::Version { .. }), "{error}");
}

/// The first Python that has NumPy, if there is one.
fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import numpy"]).output();
        import.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn numpy_reads_every_array() {
    let Some(python) = python() else {
        println!("skipped: there is no python3 with NumPy on the path");
        return;
    };
    let place = Place::with(&day(40, 3));
    place.build(EVERYTHING).unwrap();
    let program = r"
import json, sys, numpy, pathlib
folder = pathlib.Path(sys.argv[1])
files = json.loads((folder / 'manifest.json').read_text())['files']
for name, about in files.items():
    array = numpy.load(folder / name)
    assert list(array.shape) == about['shape'] and array.dtype.str == about['dtype'], name
print(len(files), repr(float(numpy.load(folder / 'train' / 'dense.npy').astype('f8').sum())))
";
    let output = Command::new(python)
        .args(["-c", program])
        .arg(place.out())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let (count, sum) = text.trim().split_once(' ').unwrap();
    assert_eq!(count, "64");
    let train = Dataset::open(&place.out())
        .unwrap()
        .split(Split::Train)
        .unwrap();
    let ours: f64 = train.dense.iter().map(|&value| f64::from(value)).sum();
    let theirs: f64 = sum.parse().unwrap();
    assert!(
        (ours - theirs).abs() < 1e-9 * ours.abs().max(1.0),
        "{ours} against {theirs}"
    );
}

#[test]
fn numbers_that_would_break_training_are_refused_on_loading() {
    let place = Place::with(&day(40, 3));
    place.build(EVERYTHING).unwrap();
    // Same length, so only a look at the numbers can tell.
    let file = place.out().join("train/categorical.npy");
    let mut content = std::fs::read(&file).unwrap();
    let end = content.len();
    content[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    std::fs::write(&file, content).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let error = dataset.split(Split::Train).unwrap_err();
    assert!(matches!(error, FeatureError::Npy { .. }));
    assert!(
        error
            .to_string()
            .contains("below the cardinality of its column"),
        "{error}"
    );
}
