//! Examples that cannot become a dataset: each ends with a message a person can act on.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use slate_features::SplitSpec;
use slate_types::Hint;

use crate::fixture::{EVERYTHING, Place, Row, columns, day};

/// Message and hint for these columns and this spec, without the folder's name.
fn refused(columns: Vec<(String, ArrayRef)>, spec: &str, split: &SplitSpec) -> (String, String) {
    let place = Place::with_columns(columns);
    let error = place.build_split(spec, split).unwrap_err();
    assert!(
        place.out().join("manifest.json").metadata().is_err(),
        "a broken dataset looks whole"
    );
    let folder = format!("{}/", place.examples().parent().unwrap().display());
    (
        error.to_string().replace(&folder, ""),
        error.hint().unwrap_or_default(),
    )
}

fn refused_rows(rows: &[Row], spec: &str) -> (String, String) {
    refused(columns(rows), spec, &SplitSpec::default())
}

fn with(name: &str, array: ArrayRef) -> Vec<(String, ArrayRef)> {
    let mut columns = columns(&day(40, 3));
    columns
        .iter_mut()
        .find(|(column, _)| column == name)
        .unwrap()
        .1 = array;
    columns
}

#[test]
fn a_column_that_is_not_there() {
    let (message, hint) = refused_rows(&day(40, 3), "numeric = [{ column = 'qualty' }]");
    assert!(
        message.starts_with(
            "`examples.parquet` has no column `qualty`, which `features.numeric[0]` needs \
             (columns: list_id, page_id,"
        ),
        "{message}"
    );
    assert_eq!(hint, "did you mean `quality`?");

    let mut without = columns(&day(40, 3));
    without.retain(|(name, _)| name != "matured");
    let (message, _) = refused(without, EVERYTHING, &SplitSpec::default());
    assert!(
        message.contains("no column `matured`, which every dataset needs"),
        "{message}"
    );
}

#[test]
fn a_column_of_the_wrong_type() {
    let (message, hint) = refused_rows(&day(40, 3), "numeric = [{ column = 'item_category' }]");
    assert_eq!(
        message,
        "column `item_category` of `examples.parquet` has type text, expected numbers"
    );
    assert_eq!(
        hint,
        "list `item_category` under `features.categorical`, or leave it out"
    );
}

#[test]
fn numbers_that_are_none() {
    let rows = day(40, 3).len();
    for (bad, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let numbers = (0..rows).map(|row| if row == 5 { bad } else { 1.0 });
        let columns = with("quality", Arc::new(Float64Array::from_iter_values(numbers)));
        let (message, _) = refused(
            columns,
            "numeric = [{ column = 'quality' }]",
            &SplitSpec::default(),
        );
        assert_eq!(
            message,
            format!(
                "column `quality`, row 5 of `examples.parquet` is {text}, expected a finite number"
            )
        );
    }
}

#[test]
fn numbers_without_a_logarithm() {
    let mut rows = day(40, 3);
    rows[4].price = Some(-7);
    let spec = "numeric = [{ column = 'price', transforms = ['log1p'] }]";
    let (message, _) = refused_rows(&rows, spec);
    assert!(
        message.starts_with("column `price`, row 4 of `examples.parquet` is -7"),
        "{message}"
    );
    assert!(
        message.contains("or a `clip` that makes it one"),
        "{message}"
    );
}

#[test]
fn labels_that_are_none() {
    let rows = day(40, 3).len();
    let twos = Arc::new(Int64Array::from_iter_values(
        (0..rows as i64).map(|row| row % 3),
    ));
    let (message, _) = refused(with("click", twos), EVERYTHING, &SplitSpec::default());
    assert_eq!(
        message,
        "column `click`, row 2 of `examples.parquet` is 2, expected 0 or 1"
    );
    let (message, _) = refused_rows(&day(40, 3), "position = true\nweights = [1, 2]");
    assert!(
        message.contains("a grade with a weight (`features.weights` has 2)"),
        "{message}"
    );
    let texts = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "yes")));
    let (message, _) = refused(with("purchase", texts), EVERYTHING, &SplitSpec::default());
    assert!(
        message.contains("has type text, expected whole numbers"),
        "{message}"
    );
}

#[test]
fn nothing_to_learn_from() {
    let rows: Vec<Row> = day(40, 3)
        .into_iter()
        .map(|row| Row { grade: 0, ..row })
        .collect();
    let (message, hint) = refused_rows(&rows, EVERYTHING);
    assert_eq!(
        message,
        "no clicks and no purchases in the training window (22 lists)"
    );
    assert!(hint.contains("join report"), "{hint}");
}

#[test]
fn too_few_lists() {
    let (message, _) = refused_rows(&day(1, 3), EVERYTHING);
    assert_eq!(
        message,
        "`examples.parquet` has 1 usable lists (0 left out), expected at least 4"
    );
    let (message, _) = refused_rows(&[], EVERYTHING);
    assert_eq!(
        message,
        "`examples.parquet` has 0 usable lists (0 left out), expected at least 4"
    );
    let open: Vec<Row> = day(40, 3)
        .into_iter()
        .map(|row| Row {
            matured: false,
            ..row
        })
        .collect();
    let (message, hint) = refused_rows(&open, EVERYTHING);
    assert!(
        message.contains("has 0 usable lists (40 left out)"),
        "{message}"
    );
    assert!(hint.contains("attribution windows"), "{hint}");
}

#[test]
fn a_part_without_a_list() {
    let same: Vec<Row> = day(40, 3)
        .into_iter()
        .map(|row| Row { ts: 9, ..row })
        .collect();
    let (message, hint) = refused_rows(&same, EVERYTHING);
    assert!(
        message.contains("40 usable lists at 1 different times"),
        "{message}"
    );
    assert!(hint.contains("use a log that covers more time"), "{hint}");
    let split = SplitSpec {
        valid_from: Some("2026-01-01T00:10:00Z".into()),
        calibrate_from: Some("2026-01-01T00:20:00Z".into()),
        test_from: Some("2026-02-01".into()),
        ..SplitSpec::default()
    };
    let (message, hint) = refused(columns(&day(40, 3)), EVERYTHING, &split);
    assert!(
        message.starts_with("the test split has no list"),
        "{message}"
    );
    assert!(hint.contains("`split.test_from`"), "{hint}");
}

#[test]
fn rows_out_of_order() {
    let mut rows = day(40, 3);
    rows.iter_mut()
        .filter(|row| row.list == 20)
        .for_each(|row| row.ts -= 3_600_000_000);
    let (message, _) = refused_rows(&rows, EVERYTHING);
    assert!(message.contains("is out of order: list 20 at"), "{message}");
    let mut rows = day(40, 3);
    let list = rows.iter().rposition(|row| row.slot == 3).unwrap();
    rows[list].ts += 1;
    let (message, _) = refused_rows(&rows[..=list], EVERYTHING);
    assert!(
        message.contains("is on two pages or at two times"),
        "{message}"
    );
}

/// Batches of 8192 rows are cut where a list ends: the list that goes on in the next batch, the one after it,
/// and those further on are found at their rows.
#[test]
fn rows_out_of_order_beyond_the_first_batch() {
    let mut logs = (0..).map(|seed| day(4000, seed));
    let goes_on = |rows: &Vec<Row>| rows[8191].list == rows[8192].list;
    let sound = logs.find(goes_on).unwrap();
    let torn = sound[8192].list;
    for list in [torn - 1, torn, torn + 1, torn + 2, torn + 400] {
        let mut rows = sound.clone();
        let of_list = rows.iter_mut().filter(|row| row.list == list);
        of_list.for_each(|row| row.ts -= 3_600_000_000);
        let at = sound.iter().position(|row| row.list == list).unwrap();
        let (message, _) = refused_rows(&rows, EVERYTHING);
        assert!(
            message.contains(&format!("row {at} ")) && message.contains(&format!("list {list} at")),
            "{message}"
        );
    }
}

#[test]
fn a_file_cut_short() {
    let place = Place::with(&day(40, 3));
    let whole = std::fs::read(place.examples()).unwrap();
    std::fs::write(place.examples(), &whole[..whole.len() / 2]).unwrap();
    let error = place.build(EVERYTHING).unwrap_err();
    assert!(
        error.to_string().ends_with("examples.parquet` as Parquet"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("cut short"));
}
