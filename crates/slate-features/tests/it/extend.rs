//! Feature maps brought up to date, and maps of an older layout.

use proptest::prelude::*;
use slate_features::{
    CategoricalFeature, Dataset, DenseFeature, FeatureError, FeatureMap, MapSource, SplitSpec,
};
use slate_types::Split;

use crate::fixture::{EVERYTHING, Place, Row, day};

fn fitted(rows: &[Row]) -> FeatureMap {
    let place = Place::with(rows);
    place.build(EVERYTHING).unwrap();
    Dataset::open(&place.out()).unwrap().map().clone()
}

/// The map after an update with these rows, and its notes.
fn extended(map: &FeatureMap, rows: &[Row], refit: bool) -> (FeatureMap, Vec<String>) {
    let place = Place::with(rows);
    let map = map.clone();
    let source = MapSource::Extended { map, refit };
    let summary = place
        .build_with(EVERYTHING, &SplitSpec::default(), source)
        .unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    (dataset.map().clone(), summary.notes)
}

fn vocabularies(map: &FeatureMap) -> Vec<(&str, &[String])> {
    let categorical = map.categorical.iter();
    categorical
        .filter_map(|feature| match feature {
            CategoricalFeature::Vocabulary { name, values, .. } => {
                Some((name.as_str(), values.as_slice()))
            }
            _ => None,
        })
        .collect()
}

/// The rows of another month: some items are new, prices are others.
fn later(lists: i64, seed: u64, shift: i64) -> Vec<Row> {
    let mut rows = day(lists, seed);
    for row in &mut rows {
        row.item += shift;
        row.ts += 31 * 86_400_000_000;
        row.price = row.price.map(|price| price * 2);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn old_ids_and_old_numbers_never_move(seed in 0..1000_u64, shift in 0..20_i64, refit: bool) {
        let old = fitted(&day(60, seed));
        let rows = later(60, seed + 1, shift);
        let fresh = fitted(&rows);
        let (new, _) = extended(&old, &rows, refit);
        for ((name, before), (_, after)) in vocabularies(&old).into_iter().zip(vocabularies(&new)) {
            prop_assert_eq!(before, &after[..before.len()], "{}", name);
            let own: std::collections::HashSet<_> = after.iter().collect();
            prop_assert_eq!(own.len(), after.len(), "an id twice in {}", name);
            // What is new was in the new window often enough.
            let (_, seen) = vocabularies(&fresh).into_iter().find(|(of, _)| *of == name).unwrap();
            for value in &after[before.len()..] {
                prop_assert!(seen.contains(value));
            }
        }
        let numbers = if refit { &fresh } else { &old };
        for feature in &new.dense {
            if let Some(same) = numbers.dense.iter().find(|other| other.name() == feature.name()) {
                prop_assert_eq!(feature, same);
            }
        }
        let update = new.extensions.last().unwrap();
        prop_assert_eq!(&update.parent_sha256, &old.hash());
        prop_assert_eq!(update.fitted_on, fresh.fitted_on);
        prop_assert_eq!(update.refitted, refit);
        prop_assert_eq!(new.fitted_on, old.fitted_on);
    }

    #[test]
    fn an_update_with_the_same_rows_adds_its_name_alone(seed in 0..1000_u64) {
        let rows = day(60, seed);
        let old = fitted(&rows);
        let (mut new, _) = extended(&old, &rows, false);
        prop_assert!(new.extensions[0].new_ids.is_empty());
        new.extensions.clear();
        prop_assert_eq!(new.hash(), old.hash());
    }
}

#[test]
fn new_items_get_ids_until_there_is_no_room() {
    let old = fitted(&day(60, 7));
    let (new, notes) = extended(&old, &later(60, 8, 12), false);
    let items = |map: &FeatureMap| {
        let vocabularies = vocabularies(map);
        let found = vocabularies.iter().find(|(name, _)| *name == "item_id");
        found.unwrap().1.to_vec()
    };
    // Twelve items a month, ten ids.
    assert_eq!(items(&old).len(), 10);
    assert_eq!(items(&new), items(&old));
    assert!(
        notes
            .iter()
            .any(|note| note.contains("new values of `item_id` have no id: `max_ids` is 10")),
        "{notes:?}"
    );
    assert!(!new.extensions[0].new_ids.contains_key("item_id"));
}

#[test]
fn another_spec_is_no_update() {
    let rows = day(60, 7);
    let map = fitted(&rows);
    for (from, to, name) in [
        ("smoothing = 15", "smoothing = 16", "`ctr`"),
        ("clip = [100, 5000]", "clip = [100, 500]", "`price`"),
        ("buckets = 5", "buckets = 6", "`category_hash`"),
        ("position = true", "position = false", "`position`"),
        (
            "relative = [{ column = \"price\", to = [\"z\", \"log_ratio\", \"rank\"] }]",
            "relative = [{ column = \"price\", to = [\"z\", \"log_ratio\"] }]",
            "`price_rank`",
        ),
    ] {
        assert!(EVERYTHING.contains(from), "{from}");
        let spec = EVERYTHING.replace(from, to);
        let source = MapSource::Extended {
            map: map.clone(),
            refit: true,
        };
        let place = Place::with(&rows);
        let error = place
            .build_with(&spec, &SplitSpec::default(), source)
            .unwrap_err();
        assert!(matches!(error, FeatureError::Option { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(name), "{to}: {message}");
    }
}

#[test]
fn a_map_of_the_first_layout_still_does_what_it_did() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/feature_map-1.json");
    let old = FeatureMap::read(&path).unwrap();
    assert_eq!(old.format.0, 1);
    assert_eq!((old.dense.len(), old.categorical.len()), (9, 4));
    assert!(matches!(
        &old.dense[0],
        DenseFeature::Numeric { name, time_since: false, .. } if name == "price"
    ));
    let rows = day(60, 7);
    let place = Place::with(&rows);
    place
        .build_with("", &SplitSpec::default(), MapSource::Given(old.clone()))
        .unwrap();
    let new = Place::with(&rows);
    new.build(EVERYTHING).unwrap();
    let dense = |place: &Place| {
        let dataset = Dataset::open(&place.out()).unwrap();
        let data = dataset.split(Split::Train).unwrap();
        (data.dense, data.categorical)
    };
    // It was fitted on these very rows.
    assert_eq!(dense(&place), dense(&new));
    let (updated, _) = extended(&old, &later(60, 8, 3), false);
    assert_eq!(updated.format.0, 2);
}
