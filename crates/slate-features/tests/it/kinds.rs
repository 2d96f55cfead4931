//! Times, circles, crosses, several values, vectors and histories, each made once more the plain way.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, Int64Builder, ListBuilder, UInt8Builder};
use slate_features::{
    BatchOptions, Dataset, DenseFeature, FeatureError, IdRule, SplitData, batches,
};
use slate_types::{Hint, Split};

use crate::fixture::{Place, Row, day, write};

/// The rows of each part, by the rule of the default split.
fn parts(place: &Place, rows: &[Row]) -> Vec<(SplitData, Vec<Row>)> {
    let dataset = Dataset::open(&place.out()).unwrap();
    let mut parts = Vec::new();
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        let own = rows.iter().filter(|row| data.list_id.contains(&row.list));
        let own: Vec<Row> = own.cloned().collect();
        assert_eq!(own.len(), data.rows());
        parts.push((data, own));
    }
    parts
}

fn dense_names(place: &Place) -> Vec<String> {
    Dataset::open(&place.out())
        .unwrap()
        .manifest()
        .dense
        .clone()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

#[test]
fn hours_since_and_places_on_circles() {
    let rows = day(200, 3);
    let place = Place::with(&rows);
    place
        .build(
            r#"
            numeric = [{ column = "item_start", time_since = true, transforms = ["log1p"], missing_indicator = true }]
            cyclic = [
                { column = "ts", period = "hour" }, { column = "ts", period = "day" },
                { column = "ts", period = "week" }, { column = "item_start", period = "year" },
            ]
            "#,
        )
        .unwrap();
    assert_eq!(
        dense_names(&place),
        [
            "since_item_start",
            "since_item_start_missing",
            "ts_hour_sin",
            "ts_hour_cos",
            "ts_day_sin",
            "ts_day_cos",
            "ts_week_sin",
            "ts_week_cos",
            "item_start_year_sin",
            "item_start_year_cos",
        ]
    );
    let dataset = Dataset::open(&place.out()).unwrap();
    let dense = dataset.map().dense.iter();
    let unknown: Vec<f32> = dense.map(DenseFeature::unknown).collect();
    // 2026-01-01T00:00:00Z, a Thursday, when the fixture's day begins.
    let new_year = 1_767_225_600_000_000_i64;
    let mut later = 0;
    for (data, rows) in parts(&place, &rows) {
        for (numbers, row) in data.dense.chunks(10).zip(&rows) {
            let numbers: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
            let start = row.start().filter(|start| *start <= row.ts);
            later += usize::from(row.start().is_some() && start.is_none());
            if let Some(start) = start {
                let hours = (row.ts - start) as f64 / 3_600e6;
                assert!(close(numbers[0], hours.ln_1p()), "{row:?}");
            }
            assert_eq!(numbers[1], f64::from(u8::from(start.is_none())));
            let minutes = ((row.ts - new_year) / 60_000_000) as f64;
            for (at, turns) in [
                (2, minutes / 60.0),
                (4, minutes / 1440.0),
                (6, (3.0 * 1440.0 + minutes) / (7.0 * 1440.0)),
            ] {
                let angle = turns * std::f64::consts::TAU;
                assert!((numbers[at] - angle.sin()).abs() < 1e-6);
                assert!((numbers[at + 1] - angle.cos()).abs() < 1e-6);
            }
            let circle = match row.start() {
                None => [0.0, 0.0],
                Some(start) => {
                    let micros = (start - new_year).rem_euclid(365 * 86_400_000_000);
                    let angle = micros as f64 / 365.0 / 86_400e6 * std::f64::consts::TAU;
                    [angle.sin(), angle.cos()]
                }
            };
            assert!((numbers[8] - circle[0]).abs() < 1e-6 && (numbers[9] - circle[1]).abs() < 1e-6);
            if row.start().is_none() {
                for at in [0, 1, 8, 9] {
                    assert_eq!(numbers[at], f64::from(unknown[at]));
                }
            }
        }
    }
    assert!(later > 0, "some listings begin after the page");
}

/// Ids by falling count and growing value, counted over the training part.
fn vocabulary(
    train: &[Row],
    values: impl Fn(&Row) -> Vec<String>,
    min_count: usize,
) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in train {
        for value in values(row) {
            *counts.entry(value).or_default() += 1;
        }
    }
    let mut known: Vec<(String, usize)> = counts
        .into_iter()
        .filter(|(_, n)| *n >= min_count)
        .collect();
    known.sort_by_key(|(value, n)| (std::cmp::Reverse(*n), value.clone()));
    known.into_iter().map(|(value, _)| value).collect()
}

fn ids(vocabulary: &[String]) -> HashMap<&str, u32> {
    vocabulary.iter().map(String::as_str).zip(1..).collect()
}

#[test]
fn crosses_and_several_values_have_ids_of_their_own() {
    let mut rows = day(300, 4);
    // A value with the separator in it is not two values.
    rows[0].category = Some("tops|1".to_owned());
    let place = Place::with(&rows);
    let summary = place
        .build(
            r#"
            cross = [{ columns = ["item_category", "item_id"], min_count = 2 },
                     { columns = ["item_category", "item_id"], name = "hashed", buckets = 50 }]
            multi_valued = [{ column = "tags", min_count = 3, max_values = 2 }]
            "#,
        )
        .unwrap();
    assert_eq!((summary.dense, summary.categorical), (0, 2));
    let text = |row: &Row| {
        let category = row
            .category
            .as_ref()
            .map_or("\\0".to_owned(), |c| c.replace('|', "\\|"));
        format!("{category}|{}", row.item)
    };
    let tags = |row: &Row| -> Vec<String> {
        let Some(category) = &row.category else {
            return Vec::new();
        };
        let mut values: Vec<String> = category.split('|').map(str::to_owned).collect();
        values.extend([
            format!("i{}", row.item % 3),
            category.clone(),
            format!("i{}", row.item),
        ]);
        let mut kept: Vec<String> = Vec::new();
        for value in values.iter().flat_map(|value| value.split('|')) {
            if !kept.iter().any(|known| known == value) {
                kept.push(value.to_owned());
            }
        }
        kept
    };
    let parts = parts(&place, &rows);
    let (_, train) = &parts[0];
    let crossed = vocabulary(train, |row| vec![text(row)], 2);
    let tagged = vocabulary(train, tags, 3);
    let map = Dataset::open(&place.out()).unwrap().map().clone();
    let IdRule::Vocabulary { values } = &map.multi_valued[0].ids else {
        panic!("no vocabulary")
    };
    assert_eq!(*values, tagged);
    let (crossed, tagged) = (ids(&crossed), ids(&tagged));
    let mut seen = 0;
    for (data, rows) in &parts {
        let ragged = &data.extras.multi_valued[0];
        for (at, row) in rows.iter().enumerate() {
            let own = data.categorical[2 * at];
            assert_eq!(
                own,
                crossed.get(text(row).as_str()).copied().unwrap_or(0),
                "{row:?}"
            );
            assert!((1..=50).contains(&data.categorical[2 * at + 1]));
            let range = ragged.offsets[at] as usize..ragged.offsets[at + 1] as usize;
            let expected: Vec<u32> = tags(row)
                .iter()
                .take(2)
                .map(|tag| tagged.get(tag.as_str()).copied().unwrap_or(0))
                .collect();
            assert_eq!(ragged.values[range], expected, "{row:?}");
            seen += expected.len();
        }
    }
    assert!(seen > 100);
}

fn npy(path: &Path, dtype: &str, shape: &str, bytes: Vec<u8>) {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((padded.len() as u16).to_le_bytes());
    file.extend(padded.into_bytes());
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

pub(crate) fn vectors(place: &Place, ids: &[i64], numbers: &[f32]) -> String {
    let (path, names) = (place.file("v.npy"), place.file("ids.npy"));
    let shape = format!("({}, {})", ids.len(), numbers.len() / ids.len());
    npy(
        &path,
        "<f4",
        &shape,
        numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
    );
    let shape = format!("({},)", ids.len());
    npy(
        &names,
        "<i8",
        &shape,
        ids.iter().flat_map(|x| x.to_le_bytes()).collect(),
    );
    format!(
        "numeric = [{{ column = 'price' }}]\n\
         embedding = [{{ name = 'title', path = '{}', ids = '{}' }}]",
        path.display(),
        names.display()
    )
}

#[test]
pub(crate) fn vectors_are_read_after_the_dense_numbers() {
    let rows = day(120, 5);
    let place = Place::with(&rows);
    let known = [7_i64, 2, 11, 3];
    let numbers: Vec<f32> = (0..8).map(|x| x as f32 + 0.5).collect();
    let spec = vectors(&place, &known, &numbers);
    let summary = place.build(&spec).unwrap();
    assert_eq!(
        summary.dense, 4,
        "price, its absence, and two numbers of a title"
    );
    let dataset = Dataset::open(&place.out()).unwrap();
    assert_eq!(dense_names(&place)[2..], ["title_0", "title_1"]);
    for (data, rows) in parts(&place, &rows) {
        let options = BatchOptions {
            lists_per_batch: 7,
            shuffle: None,
            bucket_by_length: false,
            skip: 0,
        };
        let mut at = 0;
        for (_, batch) in batches(&data, &dataset.shape(), options) {
            assert_eq!(batch.dense_width, 4);
            for (slot, numbers_of_slot) in batch.dense.chunks(4).enumerate() {
                if !batch.mask[slot] {
                    assert_eq!(numbers_of_slot, [0.0; 4]);
                    continue;
                }
                let place = known.iter().position(|&id| id == rows[at].item);
                let expected = place.map_or([0.0; 2], |k| [numbers[2 * k], numbers[2 * k + 1]]);
                assert_eq!(numbers_of_slot[2..], expected);
                assert_eq!(numbers_of_slot[..2], data.dense[2 * at..2 * at + 2]);
                at += 1;
            }
        }
        assert_eq!(at, rows.len());
    }
}

#[test]
pub(crate) fn vectors_that_cannot_be_are_refused() {
    let place = Place::with(&day(60, 5));
    for (ids, numbers, expected) in [
        (
            &[1_i64, 1][..],
            &[0.0_f32, 1.0][..],
            "the id 1 stands twice",
        ),
        (&[1, 2], &[0.0, f32::NAN], "number 1 is not finite"),
    ] {
        let spec = vectors(&place, ids, numbers);
        let error = place.build(&spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let spec = vectors(&place, &[1, 2], &[0.0, 1.0]);
    let missing = spec.replace("ids.npy", "v.npy");
    let error = place.build(&missing).unwrap_err().to_string();
    assert!(
        error.contains("expected one id for each of 2 vectors"),
        "{error}"
    );
}

#[test]
fn histories_are_those_of_their_lists() {
    let rows = day(150, 6);
    let place = Place::with(&rows);
    let lists: Vec<(i64, i64)> = {
        let mut lists: Vec<_> = rows.iter().map(|row| (row.list, row.ts)).collect();
        lists.dedup();
        lists
    };
    // List l has l % 5 events: items l, l + 1, … modulo 6, one hour apart.
    let steps = |list: i64, ts: i64| -> Vec<(i64, u8, i64)> {
        (0..list % 5)
            .rev()
            .map(|k| ((list + k) % 6, (k % 3) as u8, ts - (k + 1) * 3_600_000_000))
            .collect()
    };
    let (mut items, mut kinds, mut times) = (
        ListBuilder::<Int64Builder>::default(),
        ListBuilder::<UInt8Builder>::default(),
        ListBuilder::<Int64Builder>::default(),
    );
    for &(list, ts) in &lists {
        for (item, kind, ts) in steps(list, ts) {
            items.values().append_value(item);
            kinds.values().append_value(kind);
            times.values().append_value(ts);
        }
        items.append(true);
        kinds.append(true);
        times.append(true);
    }
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
        lists.iter().map(|list| list.0),
    ));
    let columns = |ids: ArrayRef| -> Vec<(String, ArrayRef)> {
        vec![
            ("list_id".to_owned(), ids),
            ("item_id".to_owned(), Arc::new(items.finish_cloned())),
            ("type".to_owned(), Arc::new(kinds.finish_cloned())),
            ("ts".to_owned(), Arc::new(times.finish_cloned())),
        ]
    };
    let spec = "position = true\nhistory = { max_events = 3, min_count = 24 }";
    let error = place.build(spec).unwrap_err();
    assert!(
        error.to_string().contains("`[attribution.sequence]`"),
        "{error}"
    );
    assert!(matches!(error, FeatureError::Option { .. }));
    let _ = error.hint();

    write(&place.file("sequences.parquet"), columns(ids));
    place.build(spec).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let last = |list: i64, ts: i64| {
        let steps = steps(list, ts);
        steps[steps.len().saturating_sub(3)..].to_vec()
    };
    let train = dataset.split(Split::Train).unwrap();
    let mut counts: BTreeMap<i64, u32> = BTreeMap::new();
    for (&list, &ts) in train.list_id.iter().zip(&train.list_ts) {
        for (item, _, _) in last(list, ts) {
            *counts.entry(item).or_default() += 1;
        }
    }
    let mut known: Vec<(i64, u32)> = counts.into_iter().filter(|(_, n)| *n >= 24).collect();
    known.sort_by_key(|(item, n)| (std::cmp::Reverse(*n), *item));
    assert!(!known.is_empty() && known.len() < 6, "{known:?}");
    let id = |item: i64| {
        known
            .iter()
            .position(|k| k.0 == item)
            .map_or(0, |at| at as u32 + 1)
    };
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        let history = data.extras.history.as_ref().unwrap();
        for (at, (&list, &ts)) in data.list_id.iter().zip(&data.list_ts).enumerate() {
            let range = history.offsets[at] as usize..history.offsets[at + 1] as usize;
            let expected = last(list, ts);
            let items: Vec<u32> = expected.iter().map(|step| id(step.0)).collect();
            let kinds: Vec<u8> = expected.iter().map(|step| step.1).collect();
            assert_eq!(history.item[range.clone()], items);
            assert_eq!(history.kind[range.clone()], kinds);
            for (age, step) in history.age[range].iter().zip(&expected) {
                let hours = (ts - step.2) as f64 / 3_600e6;
                assert!(close(f64::from(*age), hours.ln_1p()));
            }
        }
    }

    // Another order of lists is no file of these examples.
    let turned: ArrayRef = Arc::new(Int64Array::from_iter_values(
        lists.iter().rev().map(|list| list.0),
    ));
    std::fs::remove_file(place.file("sequences.parquet")).unwrap();
    std::fs::remove_dir_all(place.out()).unwrap();
    std::fs::create_dir(place.out()).unwrap();
    write(&place.file("sequences.parquet"), columns(turned));
    let error = place.build(spec).unwrap_err().to_string();
    assert!(error.contains("expected list 0"), "{error}");
}
