//! Vectors whose numbers are standardised.

use std::collections::BTreeSet;

use slate_features::{Dataset, FeatureMap, MapSource, SplitSpec, VectorScale};
use slate_types::Split;

use crate::fixture::{Place, Row, day};
use crate::kinds::vectors;

/// Vectors of three numbers for items 0 to 13: none of item 4, the last number of all is the same.
fn numbers() -> (Vec<i64>, Vec<f32>) {
    let ids: Vec<i64> = (0..14).collect();
    let of = |&id: &i64| match id {
        4 => [0.0; 3],
        id => [(id * id) as f32, 0.01 * id as f32 - 3.0, 0.1],
    };
    let numbers = ids.iter().flat_map(of).collect();
    (ids, numbers)
}

/// The vectors of `numbers` for two inputs of a row: its item, and one that stands in another column.
fn spec(place: &Place) -> String {
    let (ids, numbers) = numbers();
    let spec = vectors(place, &ids, &numbers);
    let entry = &spec[spec.find('{').unwrap() + 1..];
    let entry = &entry[entry.find('{').unwrap()..entry.rfind(']').unwrap()];
    let item = entry.replace(" }", ", standardise = true }");
    let other = item
        .replace("'title'", "'other'")
        .replace(" }", ", column = 'slot' }");
    format!("numeric = [{{ column = 'price' }}]\nembedding = [{item}, {other}]")
}

fn map(place: &Place) -> FeatureMap {
    Dataset::open(&place.out()).unwrap().map().clone()
}

/// By the formula, from what the lists of the training part show.
fn expected(rows: &[Row], until: i64) -> VectorScale {
    let (_, numbers) = numbers();
    let training = rows.iter().filter(|row| row.ts < until);
    let shown = training.flat_map(|row| [row.item, row.slot.into()]);
    let shown: BTreeSet<i64> = shown
        .filter(|id| (0..14).contains(id) && *id != 4)
        .collect();
    let of = |id: i64, at: usize| f64::from(numbers[id as usize * 3 + at]);
    let count = shown.len() as f64;
    let mean = [0, 1, 2].map(|at| shown.iter().map(|&id| of(id, at)).sum::<f64>() / count);
    let sd = [0, 1, 2].map(|at| {
        let squares = shown.iter().map(|&id| (of(id, at) - mean[at]).powi(2));
        (squares.sum::<f64>() / count).sqrt()
    });
    VectorScale {
        mean: mean.to_vec(),
        sd: vec![sd[0], sd[1], 0.0],
    }
}

#[test]
fn the_scale_is_that_of_the_items_the_training_window_shows() {
    let rows = day(120, 5);
    let place = Place::with(&rows);
    place.build(&spec(&place)).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let valid = dataset.split(Split::Valid).unwrap();
    let map = map(&place);
    let found = map.embedding[0].scale.clone().unwrap();
    let expected = expected(&rows, valid.list_ts[0]);
    for (found, expected) in [(&found.mean, &expected.mean), (&found.sd, &expected.sd)] {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= 1e-12 * expected.abs(),
                "{found} {expected}"
            );
        }
    }
    // Both inputs read one file, so an item is the same numbers in both.
    assert_eq!(map.embedding[1].scale.as_ref(), Some(&found));
    assert!(map.reads_alike("title", "other"));

    let (_, numbers) = self::numbers();
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        let own = &data.extras.vectors[0];
        for (row, &item) in data.item.iter().enumerate() {
            for at in 0..3 {
                let given = match item {
                    0..14 => f64::from(numbers[item as usize * 3 + at]),
                    _ => 0.0,
                };
                let known = (0..14).contains(&item) && item != 4 && found.sd[at] > 0.0;
                let scaled = (given - found.mean[at]) / (found.sd[at] * 3.0_f64.sqrt());
                let expected = if known { scaled as f32 } else { 0.0 };
                assert_eq!(own.of(row)[at], expected, "item {item}, number {at}");
            }
        }
    }
}

#[test]
fn an_update_keeps_the_scale_unless_it_is_refitted() {
    let rows = day(120, 5);
    let place = Place::with(&rows);
    place.build(&spec(&place)).unwrap();
    let old = map(&place);
    // Another month shows fewer items.
    let mut later = day(120, 6);
    for row in &mut later {
        row.item %= 4;
    }
    let made = |source: MapSource| {
        let place = Place::with(&later);
        let spec = spec(&place);
        place
            .build_with(&spec, &SplitSpec::default(), source)
            .unwrap();
        map(&place).embedding[0].scale.clone()
    };
    let fresh = made(MapSource::Fit);
    assert_ne!(fresh, old.embedding[0].scale);
    let extended = |refit| MapSource::Extended {
        map: old.clone(),
        refit,
    };
    assert_eq!(made(MapSource::Given(old.clone())), old.embedding[0].scale);
    assert_eq!(made(extended(false)), old.embedding[0].scale);
    assert_eq!(made(extended(true)), fresh);
    // A map without a scale is of another spec.
    let mut plain = old.clone();
    plain.embedding[0].scale = None;
    let place = Place::with(&later);
    let source = MapSource::Extended {
        map: plain,
        refit: false,
    };
    let error = place
        .build_with(&spec(&place), &SplitSpec::default(), source)
        .unwrap_err();
    assert!(error.to_string().contains("embedding"), "{error}");
}
