//! Lists that are too long, against examples in which they never were.

use slate_features::{Dataset, FeatureError, SplitData};
use slate_types::Split;

use crate::fixture::{EVERYTHING, Place, Row, day};

fn built(rows: &[Row], spec: &str) -> (Place, Vec<String>) {
    let place = Place::with(rows);
    let notes = place.build(spec).unwrap().notes;
    (place, notes)
}

fn parts(place: &Place) -> Vec<SplitData> {
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    let parts = Split::ALL.into_iter();
    parts.map(|split| dataset.split(split).unwrap()).collect()
}

/// The same but for ids: features, labels and where lists end.
fn assert_alike(given: &[SplitData], expected: &[SplitData]) {
    for (given, expected) in given.iter().zip(expected) {
        assert_eq!(given.lists, expected.lists);
        assert_eq!(given.dense, expected.dense);
        assert_eq!(given.categorical, expected.categorical);
        assert_eq!(given.grade, expected.grade);
        assert_eq!(given.item, expected.item);
        assert_eq!(given.slot, expected.slot);
        assert_eq!(given.list_ts, expected.list_ts);
    }
}

#[test]
fn cut_lists_are_those_of_a_log_without_the_rest() {
    let rows = day(80, 5);
    for most in [1, 2, 4] {
        let limit = format!("max_list_length = {most}\n{EVERYTHING}");
        let (place, notes) = built(&rows, &limit);
        let short: Vec<Row> = rows.iter().filter(|row| row.slot < most).cloned().collect();
        let (expected, _) = built(&short, EVERYTHING);
        assert_alike(&parts(&place), &parts(&expected));

        let left_out = Dataset::open(&place.out()).unwrap().manifest().left_out;
        let cut = rows.len() - short.len();
        assert_eq!(left_out.cut_rows, cut as u64);
        assert!(left_out.cut_lists > 0 && left_out.cut_lists <= left_out.cut_rows);
        let note = format!("lists of more than {most} rows were cut, which left {cut} rows out");
        assert!(notes.iter().any(|said| said.contains(&note)), "{notes:?}");
    }
}

#[test]
fn split_lists_are_those_of_a_log_with_short_ones() {
    let rows = day(80, 6);
    for most in [1, 2, 3] {
        let limit = format!("max_list_length = {most}\nover_long = \"split\"\n{EVERYTHING}");
        let (place, notes) = built(&rows, &limit);
        let mut short = rows.clone();
        for row in &mut short {
            row.list = row.list * 10 + i64::from(row.slot / most);
        }
        let (expected, _) = built(&short, EVERYTHING);
        let (given, expected) = (parts(&place), parts(&expected));
        assert_alike(&given, &expected);
        for (given, expected) in given.iter().zip(&expected) {
            let whole: Vec<i64> = expected.list_id.iter().map(|id| id / 10).collect();
            assert_eq!(given.list_id, whole, "pieces keep the id of their list");
        }
        assert!(
            notes.iter().any(|note| note.contains("were split into")),
            "{notes:?}"
        );
    }
}

#[test]
fn a_limit_nothing_reaches_changes_nothing() {
    let rows = day(40, 2);
    let (limited, notes) = built(&rows, &format!("max_list_length = 5\n{EVERYTHING}"));
    let (free, _) = built(&rows, EVERYTHING);
    assert_alike(&parts(&limited), &parts(&free));
    assert!(
        notes.iter().all(|note| !note.contains("rows were")),
        "{notes:?}"
    );
}

#[test]
fn a_bad_row_is_named_by_its_place_in_the_file() {
    let mut rows = day(40, 2);
    let bad = rows.iter().rposition(|row| row.slot == 0).unwrap();
    rows[bad].quality = Some(f64::INFINITY);
    let place = Place::with(&rows);
    let error = place
        .build(&format!("max_list_length = 1\n{EVERYTHING}"))
        .unwrap_err();
    assert!(
        matches!(&error, FeatureError::Value { row, .. } if *row == bad as u64),
        "{error}, expected row {bad}"
    );
}

#[test]
fn limits_are_checked() {
    let place = Place::with(&day(40, 2));
    for (limit, expected) in [
        ("max_list_length = 0", "`features.max_list_length` is 0"),
        (
            "over_long = \"split\"",
            "`features.over_long` is set without",
        ),
    ] {
        let error = place.build(&format!("{limit}\n{EVERYTHING}")).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
