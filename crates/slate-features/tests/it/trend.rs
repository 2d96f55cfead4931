//! The second column of a taste, from outside: what everyone goes for of late.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use slate_features::{Dataset, Inputs, MapSource, SplitSpec, trace};
use slate_types::{Seed, Silent, Split};

use crate::{
    fixture::{Place, Row, bytes, day, parse},
    taste::{again, tastes, with_users},
};

const SPEC: &str = r#"
    numeric = [{ column = "trend", transforms = [] }]
    [[taste]]
    name = "taste"
    column = "affinity"
    width = 2
    min_count = 2
    trend = { name = "trend", half_life_days = 0.1 }
"#;
const MINUTE: i64 = 60_000_000;
/// From this list on, the other side of the circle of items is in fashion.
const TURN: i64 = 500;

/// How much an item is in fashion, −1 to 1: affinities lie on the same circle.
fn fashion(row: &Row) -> f64 {
    let angle = (row.item as f64).cos();
    if row.list < TURN { angle } else { -angle }
}

/// The columns of a taste, and when each row is clicked.
fn with_clicks(rows: &[Row]) -> Vec<(String, ArrayRef)> {
    let lags = rows.iter().enumerate().map(|(at, row)| {
        let draw = Seed(2).derive("click").index(at as u64).unit();
        (draw < 0.3 + 0.25 * fashion(row)).then_some(MINUTE / 2)
    });
    let mut columns = with_users(rows);
    columns.push(("click_lag".into(), Arc::new(lags.collect::<Int64Array>())));
    columns
}

fn place(lists: i64) -> Place {
    Place::with_columns(with_clicks(&day(lists, 11)))
}

fn trends(place: &Place) -> Vec<f32> {
    let all = tastes(&Dataset::open(&place.out()).unwrap());
    all.into_iter().map(|(_, trend)| trend).collect()
}

/// The correlation of a column with the fashion, over lists from some on.
fn agreement(rows: &[Row], found: &[f32], from: i64, to: i64) -> f64 {
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    for (row, &found) in rows.iter().zip(found) {
        if (from..to).contains(&row.list) {
            let (x, y) = (f64::from(found), fashion(row));
            both += x * y;
            one += x * x;
            other += y * y;
        }
    }
    both / f64::sqrt(one * other)
}

#[test]
fn it_follows_the_fashion() {
    let rows = day(900, 11);
    let place = place(900);
    place.build(SPEC).unwrap();
    let clicks = trends(&place);
    assert!(agreement(&rows, &clicks, 300, TURN) > 0.9);
    assert!(
        agreement(&rows, &clicks, TURN, TURN + 20) < -0.9,
        "nobody knows yet"
    );
    assert!(agreement(&rows, &clicks, 800, 900) > 0.9);
}

#[test]
fn no_row_reads_a_later_click() {
    let rows = day(200, 11);
    let honest = place(200);
    honest.build(SPEC).unwrap();
    let map = Dataset::open(&honest.out()).unwrap().map().clone();
    let before = trends(&honest);
    // From this page on all clicks are others.
    let mut changed = with_clicks(&rows);
    let lags = changed
        .iter_mut()
        .find(|own| own.0 == "click_lag")
        .map(|own| &mut own.1);
    let others = rows.iter().map(|row| (row.slot == 1).then_some(MINUTE / 2));
    let lags = lags.unwrap();
    let honest_lags = lags.as_any().downcast_ref::<Int64Array>().unwrap();
    let each = honest_lags.iter().zip(others).zip(&rows);
    *lags = Arc::new(
        each.map(|((own, other), row)| if row.list < 150 { own } else { other })
            .collect::<Int64Array>(),
    );
    let other = Place::with_columns(changed);
    let given = || MapSource::Given(map.clone());
    other
        .build_with(SPEC, &SplitSpec::default(), given())
        .unwrap();
    let after = trends(&other);
    for ((one, two), row) in before.iter().zip(&after).zip(&rows) {
        assert!(row.list > 150 || one == two, "list {}", row.list);
    }
    let moved = before
        .iter()
        .zip(&after)
        .zip(&rows)
        .filter(|((one, two), _)| one != two);
    let first = moved.map(|(_, row)| row.list).min();
    assert!(first.unwrap() < 155, "later ones know: {first:?}");
}

#[test]
fn windows_threads_and_maps_change_nothing() {
    let place = place(300);
    place.build(SPEC).unwrap();
    let map = Dataset::open(&place.out()).unwrap().map().clone();
    let all = trends(&place);
    let files = bytes(&place.out());
    again(&place);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
    pool.build().unwrap().install(|| place.build(SPEC)).unwrap();
    assert!(bytes(&place.out()) == files);
    again(&place);
    let split: SplitSpec = toml::from_str("from = '2026-01-01T02:00:00Z'").unwrap();
    let given = MapSource::Given(map.clone());
    place.build_with(SPEC, &split, given).unwrap();
    let inside = trends(&place);
    assert!(inside.len() < all.len() && all.ends_with(&inside));
    again(&place);
    let other = SPEC.replace("0.1 }", "0.2 }");
    let extended = MapSource::Extended { map, refit: true };
    let error = place.build_with(&other, &split, extended).unwrap_err();
    assert!(error.to_string().contains("taste"), "{error}");
}

#[test]
fn a_trace_shows_it() {
    let place = place(150);
    place.build(SPEC).unwrap();
    let inputs = Inputs {
        examples: &place.examples(),
        sequences: None,
    };
    let (spec, split) = (parse(SPEC), SplitSpec::default());
    let page = trace(inputs, &spec, &split, None, 560, &Silent).unwrap();
    let all = tastes(&Dataset::open(&place.out()).unwrap());
    assert!(!page.rows.is_empty());
    for row in &page.rows {
        let (_, found) = all.iter().find(|own| own.0 == row.impression_id).unwrap();
        let feature = &row.features[0];
        assert_eq!(feature.inputs["trend"].as_f64().unwrap() as f32, *found);
        let expected = "clicks of everyone until then, half of it within 0.1 days, by the numbers of `taste`; as it is";
        assert_eq!(feature.mapping, expected);
    }
}

#[test]
fn a_value_that_is_far_off_spoils_no_other_row() {
    let rows = day(300, 11);
    let honest = Place::with_columns(with_clicks(&rows));
    honest.build(SPEC).unwrap();
    let mut map = Dataset::open(&honest.out()).unwrap().map().clone();
    // As if item 5 were newer than the map.
    map.taste[0].items.retain(|item| item.id != 5);
    let given = || MapSource::Given(map.clone());
    again(&honest);
    honest
        .build_with(SPEC, &SplitSpec::default(), given())
        .unwrap();
    let clean = trends(&honest);
    let mut columns = with_clicks(&rows);
    let place = columns.iter().position(|own| own.0 == "affinity").unwrap();
    let far = rows
        .iter()
        .position(|row| row.item == 5 && row.list % 7 > 0);
    let values = columns[place].1.as_any().downcast_ref::<Float64Array>();
    let values = values.unwrap().iter().enumerate();
    let values = values.map(|(at, value)| if Some(at) == far { Some(1e30) } else { value });
    columns[place].1 = Arc::new(values.collect::<Float64Array>());
    let spoiled = Place::with_columns(columns);
    spoiled
        .build_with(SPEC, &SplitSpec::default(), given())
        .unwrap();
    let found = trends(&spoiled);
    let mut others = rows.iter().zip(clean.iter().zip(&found));
    assert!(others.all(|(row, (clean, found))| row.item == 5 || clean == found));
    assert!(clean != found, "its own vector is another");
}

#[test]
fn it_does_not_need_a_reader_of_the_taste() {
    let place = place(100);
    place.build(SPEC).unwrap();
    let both = SPEC.replace(
        "transforms = [] }]",
        "transforms = [] }, { column = 'taste', transforms = [] }]",
    );
    let alone = trends(&place);
    again(&place);
    place.build(&both).unwrap();
    assert!(trends(&place) == alone);
    let dataset = Dataset::open(&place.out()).unwrap();
    let dense = dataset.split(Split::Train).unwrap().dense;
    assert!(dense.chunks_exact(2).any(|row| row[0] != row[1]));
}

#[test]
fn what_cannot_be_made_is_refused() {
    let place = place(60);
    for (from, to, expected) in [
        (
            "name = \"trend\"",
            "name = \"\"",
            "`features.taste[0].trend.name` is empty",
        ),
        (
            "name = \"trend\"",
            "name = \"taste\"",
            "`features.taste[0].trend.name` is `taste` twice",
        ),
        (
            "name = \"trend\"",
            "name = \"trends\"",
            "`features.taste[0].trend` is `trends`, which nothing reads",
        ),
        (
            "0.1 }",
            "-1 }",
            "`features.taste[0].trend.half_life_days` is -1, expected a number above 0",
        ),
        (
            "\"trend\"",
            "\"price\"",
            "`features.taste[0].trend.name` is `price`, the name of a column of the log",
        ),
        (
            "column = \"affinity\"",
            "column = \"trend\"",
            "not one that is made from others",
        ),
    ] {
        let error = place
            .build(&SPEC.replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut columns = with_clicks(&day(60, 11));
    columns.retain(|(name, _)| name != "click_lag");
    let error = Place::with_columns(columns).build(SPEC).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("click_lag") && error.contains("`features.taste[0].trend`"),
        "{error}"
    );
}
