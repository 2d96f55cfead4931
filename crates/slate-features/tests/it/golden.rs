//! Every kind of feature against an independent program: `tests/data/golden.py`, with NumPy.

use serde_json::Value;
use slate_features::{CategoricalFeature, Dataset, DenseFeature, SplitSpec};
use slate_types::Split;

use crate::fixture::{EVERYTHING, Place, Row};

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/golden.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn close(ours: f64, theirs: f64) {
    assert!(
        (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
        "{ours} against {theirs}"
    );
}

fn place(golden: &Value) -> Place {
    let rows: Vec<Row> = golden["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| Row {
            list: row["list_id"].as_i64().unwrap(),
            ts: row["ts"].as_i64().unwrap(),
            slot: row["slot"].as_i64().unwrap() as i32,
            item: row["item_id"].as_i64().unwrap(),
            price: row["price"].as_i64(),
            category: row["item_category"].as_str().map(str::to_owned),
            quality: row["quality"].as_f64(),
            impressions: row["item_impressions_7d"].as_i64().unwrap(),
            clicks: row["item_clicks_7d"].as_i64().unwrap(),
            grade: row["grade"].as_u64().unwrap() as u8,
            matured: row["matured"].as_bool().unwrap(),
        })
        .collect();
    let place = Place::with(&rows);
    let split = SplitSpec {
        valid_from: Some("2026-01-02".into()),
        calibrate_from: Some("2026-01-02T06:00:00Z".into()),
        test_from: Some("2026-01-02T12:00:00Z".into()),
        ..SplitSpec::default()
    };
    place.build_split(EVERYTHING, &split).unwrap();
    place
}

#[test]
fn fitted_numbers_are_numpys() {
    let golden = golden();
    let place = place(&golden);
    let dataset = Dataset::open(&place.out()).unwrap();
    let map = dataset.map();
    let DenseFeature::Numeric {
        scale: Some(price), ..
    } = &map.dense[0]
    else {
        panic!()
    };
    close(price.mean, golden["price"][0].as_f64().unwrap());
    close(price.sd, golden["price"][1].as_f64().unwrap());
    let DenseFeature::Numeric {
        fill, scale: None, ..
    } = &map.dense[2]
    else {
        panic!()
    };
    close(*fill, golden["quality_fill"].as_f64().unwrap());
    let DenseFeature::Rate {
        prior,
        scale: Some(ctr),
        ..
    } = &map.dense[4]
    else {
        panic!()
    };
    close(*prior, golden["prior"].as_f64().unwrap());
    close(ctr.mean, golden["ctr"][0].as_f64().unwrap());
    close(ctr.sd, golden["ctr"][1].as_f64().unwrap());
    let CategoricalFeature::Bins { edges, .. } = &map.categorical[0] else {
        panic!()
    };
    assert_eq!(*edges, numbers(&golden["edges"]));
    for (feature, key) in [(1, "categories"), (2, "items")] {
        let CategoricalFeature::Vocabulary { values, .. } = &map.categorical[feature] else {
            panic!()
        };
        assert_eq!(serde_json::to_value(values).unwrap(), golden[key]);
    }
}

#[test]
fn features_of_every_row_are_numpys() {
    let golden = golden();
    let place = place(&golden);
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    assert_eq!(
        dataset.manifest().dense,
        [
            "price",
            "price_missing",
            "quality",
            "quality_missing",
            "ctr",
            "price_z",
            "price_log_ratio",
            "price_rank",
            "position"
        ]
    );
    let mut row = 0;
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        for i in 0..data.rows() {
            assert_eq!(golden["parts"][row], split.name());
            assert_eq!(golden["impressions"][row], data.impression[i]);
            let dense = &data.dense[9 * i..9 * (i + 1)];
            for (ours, theirs) in dense.iter().zip(numbers(&golden["dense"][row])) {
                let difference = (f64::from(*ours) - theirs).abs();
                assert!(
                    difference < 1e-6 * theirs.abs().max(1.0),
                    "row {row}: {ours} {theirs}"
                );
            }
            let categorical = serde_json::to_value(&data.categorical[4 * i..4 * (i + 1)]).unwrap();
            assert_eq!(golden["categorical"][row], categorical, "row {row}");
            row += 1;
        }
    }
    assert_eq!(row, golden["dense"].as_array().unwrap().len());
    assert_eq!(dataset.manifest().left_out.immature_lists, 5);
}
