//! The second column of a taste, from outside: what everyone goes for of late.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
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

/// The rows, and when each is clicked and bought, beside the columns of a taste.
fn with_events(rows: &[Row]) -> Vec<(String, ArrayRef)> {
    let lags = |of: &'static str, after: i64| -> ArrayRef {
        let each = rows.iter().enumerate().map(move |(at, row)| {
            let draw = Seed(2).derive(of).index(at as u64).unit();
            (draw < 0.3 + 0.25 * fashion(row)).then_some(after)
        });
        Arc::new(each.collect::<Int64Array>())
    };
    let mut columns = with_users(rows);
    columns.push(("click_lag".into(), lags("click", MINUTE / 2)));
    columns.push(("purchase_lag".into(), lags("purchase", 90 * MINUTE)));
    columns
}

fn place(lists: i64) -> Place {
    Place::with_columns(with_events(&day(lists, 11)))
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
    again(&place);
    let purchases = SPEC.replace("half_life", "event = \"purchase\", half_life");
    place.build(&purchases).unwrap();
    let purchases = trends(&place);
    assert!(agreement(&rows, &purchases, 300, TURN) > 0.9);
    assert!(
        agreement(&rows, &purchases, TURN, TURN + 85) < -0.9,
        "no purchase of the new fashion has come"
    );
}

#[test]
fn no_row_reads_a_later_event() {
    let rows = day(200, 11);
    let honest = place(200);
    honest.build(SPEC).unwrap();
    let map = Dataset::open(&honest.out()).unwrap().map().clone();
    let before = trends(&honest);
    // From this page on all clicks are others.
    let mut changed = with_events(&rows);
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
            "`features.taste` is `price`, the name of a column of the log",
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
    let mut columns = with_events(&day(60, 11));
    columns.retain(|(name, _)| name != "click_lag");
    let error = Place::with_columns(columns).build(SPEC).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("click_lag") && error.contains("`features.taste[0].trend`"),
        "{error}"
    );
}
