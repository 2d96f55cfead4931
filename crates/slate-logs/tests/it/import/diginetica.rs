//! Sessions and purchase lines that need attribution.

use slate_logs::import::Format;
use slate_logs::validate;

use super::{Case, attribute};

const VIEWS: &str = "\
session_id;user_id;item_id;timeframe;eventdate
2;NA;11;500000;2016-05-09
2;NA;10;1000;2016-05-09
2;33;10;900000;2016-05-09
1;NA;12;0;2016-05-08
3;41;10;0;2016-05-10
3;42;13;5000;2016-05-10
3;42;13;x;2016-05-10
";
const PURCHASES: &str = "\
sessionId;userId;timeframe;eventdate;ordernumber;itemId
2;33;172801000;2016-05-11;70;10
2;33;172801000;2016-05-11;70;99
1;NA;60000;2016-05-08;71;12
3;42;60000;2016-05-10;72;10
9;50;1;2016-05-12;73;10
9;50;1;2016-05-32;73;10
";

#[test]
fn diginetica_sessions_become_pages() {
    let case = Case::new(&[
        ("train-item-views.csv", VIEWS),
        ("train-purchases.csv", PURCHASES),
        (
            "product-categories.csv",
            "itemId;categoryId\n10;5\n11;6\n20;6\n",
        ),
    ]);
    let summary = case.import(Format::Diginetica);
    // Session 2 bought two days in, so its beginning is at most midnight minus the rest.
    assert_eq!(
        case.rows("page_impression", "page_id session_id user_id ts"),
        [
            "1 1 - 2016-05-08T00:00:00Z",
            "2 2 33 2016-05-09T00:00:00Z",
            "3 3 - 2016-05-10T00:00:00Z",
        ]
    );
    assert_eq!(
        case.rows(
            "slot_impression",
            "impression_id page_id slot item_id first_view_s"
        ),
        [
            "1 1 0 12 0.0",
            "2 2 0 10 0.0",
            "3 2 1 11 499.0",
            "4 3 0 10 0.0",
            "5 3 1 13 5.0"
        ]
    );
    assert_eq!(
        case.rows(
            "event",
            "event_id ts type item_id session_id user_id order_id impression_id"
        ),
        [
            "1 2016-05-11T00:00:00Z purchase 10 2 33 70 -",
            "2 2016-05-11T00:00:00Z purchase 99 2 33 70 -",
            "3 2016-05-08T00:01:00Z purchase 12 1 - 71 -",
            "4 2016-05-10T00:01:00Z purchase 10 3 42 72 -",
            "5 2016-05-12T00:00:00Z purchase 10 9 50 73 -",
        ]
    );
    assert_eq!(
        case.rows("item", "item_id category"),
        ["10 5", "11 6", "20 6", "12 -", "13 -", "99 -"]
    );
    assert_eq!(
        case.rows("rejects", "file line column value"),
        [
            "train-item-views.csv 8 timeframe x",
            "train-purchases.csv 7 eventdate 2016-05-32"
        ]
    );
    assert_eq!(summary.rejects, 2);
    let notes = summary.notes.join("\n");
    assert!(
        notes.contains("1 of 5 purchase lines are of sessions without views"),
        "{notes}"
    );
    assert!(
        notes.contains("1 sessions name more than one user"),
        "{notes}"
    );
}

#[test]
fn diginetica_days_that_contradict_times_are_told() {
    let case = Case::new(&[
        (
            "train-item-views.csv",
            &VIEWS.replace("1;NA;12;0;2016-05-08", "1;NA;12;0;2016-05-01"),
        ),
        ("train-purchases.csv", PURCHASES),
    ]);
    let notes = case.import(Format::Diginetica).notes.join("\n");
    assert!(
        notes.contains("1 sessions have rows whose days and times do not agree"),
        "{notes}"
    );
    assert!(notes.contains("there is no file of categories"), "{notes}");
}

#[test]
fn diginetica_needs_purchases() {
    let case = Case::new(&[("train-item-views.csv", VIEWS)]);
    let error = case.error(Format::Diginetica);
    assert!(
        error.ends_with("holds no file `*-purchases.csv` or `*-purchases.csv.gz`"),
        "{error}"
    );
}

#[test]
fn diginetica_purchases_find_their_sessions() {
    let case = Case::new(&[
        ("train-item-views.csv", VIEWS),
        ("train-purchases.csv", PURCHASES),
    ]);
    case.import(Format::Diginetica);
    let problems = validate(&case.dir.path().join("log")).unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    let join = attribute(&case.dir.path().join("log"), true).join;
    let purchases = join.line("purchase");
    assert_eq!(
        (purchases.attributed, purchases.late, purchases.orphan),
        (3, 0, 2)
    );
}
