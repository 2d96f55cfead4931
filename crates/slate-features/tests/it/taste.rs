//! Columns made of what users were shown before, from outside.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use slate_features::{
    Dataset, FeatureMap, Inputs, MapSource, SplitSpec, TasteFeature, TasteItem, trace,
};
use slate_types::{Silent, Split};

use crate::fixture::{Place, Row, bytes, columns, day, parse};

const SPEC: &str = r#"
    numeric = [{ column = "taste", transforms = [] }]
    relative = [{ column = "taste", to = ["z"] }]
    categorical = [{ column = "item_category", min_count = 8 }]
    [[taste]]
    name = "taste"
    column = "affinity"
    width = 2
    min_count = 2
    half_life_days = 0.25
"#;

/// A user likes the items of its own kind: of six users each visits now and then.
pub(crate) fn user(row: &Row) -> i64 {
    row.list % 6
}

fn affinity(row: &Row) -> f64 {
    let angle = user(row) as f64 - row.item as f64;
    2.0 * angle.cos() + 0.2 * row.quality.unwrap()
}

pub(crate) fn with_users(rows: &[Row]) -> Vec<(String, ArrayRef)> {
    let mut columns = columns(rows);
    let users = rows.iter().map(|row| (row.list % 7 > 0).then(|| user(row)));
    let values = rows
        .iter()
        .map(|row| (row.slot != 3).then(|| affinity(row)));
    columns.push(("user_id".into(), Arc::new(users.collect::<Int64Array>())));
    columns.push((
        "affinity".into(),
        Arc::new(values.collect::<Float64Array>()),
    ));
    columns
}

fn place(lists: i64) -> Place {
    Place::with_columns(with_users(&day(lists, 11)))
}

/// Of each impression the first number of its row.
pub(crate) fn tastes(dataset: &Dataset) -> Vec<(i64, f32)> {
    let mut all = Vec::new();
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        let width = data.dense.len() / data.rows();
        let first = data.dense.chunks_exact(width).map(|row| row[0]);
        all.extend(data.impression.iter().copied().zip(first));
    }
    all
}

pub(crate) fn again(place: &Place) {
    std::fs::remove_dir_all(place.out()).unwrap();
    std::fs::create_dir(place.out()).unwrap();
}

#[test]
fn the_past_says_what_a_user_will_think() {
    let rows = day(400, 11);
    let place = place(400);
    place.build(SPEC).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    let taste = &dataset.map().taste[0];
    assert_eq!((taste.items.len(), taste.width), (12, 2));
    let (mut wrong, mut of_means, mut unknown) = (0.0, 0.0, 0);
    let late = tastes(&dataset).into_iter().skip(300);
    for (impression, found) in late {
        let row = &rows[impression as usize];
        let item = taste.items.iter().find(|item| item.id == row.item);
        let standard = f64::from(item.unwrap().mean);
        let mean = (taste.scale.mean + taste.scale.sd * standard) as f32;
        if row.list % 7 == 0 {
            assert_eq!(found, mean, "who is unknown is as all are");
            unknown += 1;
        } else {
            wrong += (f64::from(found) - affinity(row)).powi(2);
            of_means += (f64::from(mean) - affinity(row)).powi(2);
        }
    }
    assert!(unknown > 50);
    // What is left is the quality, which no taste says.
    assert!(wrong < 0.02 * of_means, "{wrong} of {of_means}");
}

#[test]
fn no_row_reads_a_later_page() {
    let rows = day(200, 11);
    let honest = place(200);
    honest.build(SPEC).unwrap();
    let map = Dataset::open(&honest.out()).unwrap().map().clone();
    let before = tastes(&Dataset::open(&honest.out()).unwrap());
    // From this page on all values are others.
    let turn = rows.iter().position(|row| row.list == 150).unwrap();
    let mut changed = with_users(&rows);
    let values = rows.iter().enumerate().map(|(at, row)| {
        let value = affinity(row);
        Some(if at < turn { value } else { -3.0 * value }).filter(|_| row.slot != 3)
    });
    changed.last_mut().unwrap().1 = Arc::new(values.collect::<Float64Array>());
    let other = Place::with_columns(changed);
    let given = || MapSource::Given(map.clone());
    other
        .build_with(SPEC, &SplitSpec::default(), given())
        .unwrap();
    let after = tastes(&Dataset::open(&other.out()).unwrap());
    for ((one, two), row) in before.iter().zip(&after).zip(&rows) {
        if row.list < 150 {
            assert_eq!(one, two, "list {}", row.list);
        }
    }
    assert!(before != after);
}

#[test]
fn a_window_knows_what_was_before_it_and_maps_are_refitted() {
    let place = place(300);
    let whole = place.build(SPEC).unwrap();
    let map = Dataset::open(&place.out()).unwrap().map().clone();
    let all = tastes(&Dataset::open(&place.out()).unwrap());
    assert_eq!(
        all.len() as u64,
        whole.splits.values().map(|own| own.rows).sum::<u64>()
    );
    again(&place);
    let split: SplitSpec = toml::from_str("from = '2026-01-01T02:00:00Z'").unwrap();
    let given = MapSource::Given(map.clone());
    place.build_with(SPEC, &split, given).unwrap();
    let inside = tastes(&Dataset::open(&place.out()).unwrap());
    assert!(inside.len() < all.len() && all.ends_with(&inside));
    again(&place);
    let extended = MapSource::Extended {
        map: map.clone(),
        refit: false,
    };
    place.build_with(SPEC, &split, extended).unwrap();
    let new = Dataset::open(&place.out()).unwrap().map().clone();
    assert_ne!(new.taste, map.taste, "items are those of the new window");
    assert_eq!(new.dense, map.dense);
    again(&place);
    let other = SPEC.replace("0.25", "0.5");
    let extended = MapSource::Extended { map, refit: true };
    let error = place.build_with(&other, &split, extended).unwrap_err();
    assert!(error.to_string().contains("taste"), "{error}");
}

#[test]
fn threads_and_pieces_of_lists_change_nothing() {
    let build = |threads: usize| {
        let place = place(120);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| place.build(SPEC)).unwrap();
        let files = bytes(&place.out()).into_values();
        files.collect::<Vec<_>>()
    };
    assert!(build(1) == build(3));
    // Lists are counted by pieces, which moves the parts: so both read the same map.
    let (one, two) = (place(120), place(120));
    one.build(SPEC).unwrap();
    let map = Dataset::open(&one.out()).unwrap().map().clone();
    let limited = format!("max_list_length = 2\nover_long = 'split'\n{SPEC}");
    two.build_with(&limited, &SplitSpec::default(), MapSource::Given(map))
        .unwrap();
    let [one, two] = [one, two].map(|place| tastes(&Dataset::open(&place.out()).unwrap()));
    assert!(one == two);
}

#[test]
fn batches_of_the_file_change_nothing() {
    // More rows than are decoded at once, five pages at a time.
    let mut rows = day(3300, 11);
    for row in &mut rows {
        row.ts -= row.ts % 300_000_000;
    }
    assert!(rows.len() > 9000);
    let all = Place::with_columns(with_users(&rows));
    all.build(SPEC).unwrap();
    let map = Dataset::open(&all.out()).unwrap().map().clone();
    let without: Vec<Row> = rows.iter().filter(|row| user(row) != 0).cloned().collect();
    let some = Place::with_columns(with_users(&without));
    let given = MapSource::Given(map);
    some.build_with(SPEC, &SplitSpec::default(), given).unwrap();
    let [all, some] = [all, some].map(|place| tastes(&Dataset::open(&place.out()).unwrap()));
    // Nobody's past is another's.
    let kept = rows.iter().zip(all).filter(|(row, _)| user(row) != 0);
    let kept: Vec<f32> = kept.map(|(_, (_, taste))| taste).collect();
    let some: Vec<f32> = some.into_iter().map(|(_, taste)| taste).collect();
    assert!(kept == some);
}

#[test]
fn a_trace_shows_it() {
    let place = place(150);
    place.build(SPEC).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let inputs = Inputs {
        examples: &place.examples(),
        sequences: None,
    };
    let page = trace(
        inputs,
        &parse(SPEC),
        &SplitSpec::default(),
        None,
        560,
        &Silent,
    )
    .unwrap();
    let all = tastes(&dataset);
    assert!(!page.rows.is_empty());
    for row in &page.rows {
        let (_, found) = all.iter().find(|own| own.0 == row.impression_id).unwrap();
        assert_eq!(row.tensor.dense[0], *found);
        let of = &row.features[0].mapping;
        let expected = "`affinity` that `user_id` was shown until then, half of it within 0.25 days, by 2 numbers of 12 items; ";
        assert!(of.starts_with(expected), "{of}");
        let read = row.features[0].inputs["taste"].as_f64().unwrap();
        assert_eq!(read as f32, *found);
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let place = place(60);
    for (from, to, expected) in [
        (
            "name = \"taste\"",
            "name = \"price\"",
            "`features.taste[0]` is `price`, which nothing reads",
        ),
        (
            "column = \"affinity\"",
            "column = \"click\"",
            "`features.taste[0].column` is `click`, expected a column that is known before the outcome",
        ),
        (
            "column = \"affinity\"",
            "column = \"taste\"",
            "not one that is made from others",
        ),
        (
            "width = 2",
            "width = 2\nuser = \"grade\"",
            "`features.taste[0].user` is `grade`, expected a column that is known before the outcome",
        ),
        (
            "width = 2",
            "width = 2\nitem = \"slot\"",
            "`features.taste[0].item` is `slot`, expected a column that is known before ranking",
        ),
        (
            "width = 2",
            "width = 33",
            "`features.taste[0].width` is 33, expected a whole number from 1 to 32",
        ),
        (
            "0.25",
            "0",
            "`features.taste[0].half_life_days` is 0, expected a number above 0",
        ),
        (
            "min_count = 2",
            "min_count = 0",
            "`features.taste[0].min_count` is 0",
        ),
        ("column = \"affinity\"", "column = \"affinty\"", "`affinty`"),
        (
            "column = \"affinity\"",
            "column = \"tags\"",
            "column `tags`",
        ),
        (
            "width = 2",
            "width = 2\nuser = \"item_category\"",
            "expected whole numbers",
        ),
    ] {
        let error = place
            .build(&SPEC.replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A name that the examples have already.
    let named = SPEC.replace("\"taste\"", "\"price\"");
    let error = place.build(&named).unwrap_err().to_string();
    let expected = "`features.taste[0].name` is `price`, the name of a column of the log, expected a name of its own";
    assert!(error.contains(expected), "{error}");
    let twice = SPEC.replace(
        "[[taste]]",
        "[[taste]]\nname = \"taste\"\ncolumn = \"quality\"\n[[taste]]",
    );
    let error = place.build(&twice).unwrap_err().to_string();
    assert!(
        error.contains("`features.taste[1].name` is `taste` twice"),
        "{error}"
    );
}

#[test]
fn users_by_text_are_refused_and_rare_items_told() {
    let rows = day(60, 11);
    let mut texts = with_users(&rows);
    let users = rows.iter().map(|row| Some(format!("u{}", row.list)));
    texts.iter_mut().find(|own| own.0 == "user_id").unwrap().1 =
        Arc::new(users.collect::<StringArray>());
    let error = Place::with_columns(texts)
        .build(SPEC)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("column `user_id`") && error.contains("expected whole numbers"),
        "{error}"
    );
    let place = place(60);
    let summary = place
        .build(&SPEC.replace("min_count = 2", "min_count = 999"))
        .unwrap();
    let note = "`taste` says nothing of users: no item has 999 rows";
    assert!(
        summary.notes.iter().any(|own| own.starts_with(note)),
        "{:?}",
        summary.notes
    );
}

#[test]
fn a_damaged_map_is_refused() {
    let place = place(60);
    place.build(SPEC).unwrap();
    let path = place.out().join("feature_map.json");
    let sound = std::fs::read_to_string(&path).unwrap();
    let map = FeatureMap::read(&path).unwrap();
    let TasteFeature { items, .. } = &map.taste[0];
    let first = String::from(items[0].clone());
    assert_eq!(TasteItem::try_from(first.clone()).unwrap(), items[0]);
    for (to, expected) in [
        ("7", "expected `id mean vector…`"),
        ("7 0.5 inf 1", "expected `id mean vector…`"),
        ("7 0.5 1", "`taste` with a vector of 1 numbers"),
        ("9999 0.5 1 2", "`taste` with item 9999 before item"),
    ] {
        std::fs::write(&path, sound.replace(&first, to)).unwrap();
        let error = with_causes(&FeatureMap::read(&path).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

/// An error with all its causes.
fn with_causes(error: &slate_features::FeatureError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(own) = cause {
        text.push_str(&format!(": {own}"));
        cause = own.source();
    }
    text
}
