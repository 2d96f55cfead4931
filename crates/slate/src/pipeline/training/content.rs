//! Which known ids a new id is like: those whose items have the nearest vectors.
//!
//! The content of an id is the mean of the vectors of all slots of the training lists that show it, those
//! without a vector left out. A new id is like the known ids with the largest cosines, of equals the smaller
//! ids.

use std::collections::BTreeMap;

use anyhow::Result;
use slate_features::{CategoricalFeature, FeatureMap, IdRule, SplitData};
use slate_model::{NewIdRule, NewRows, Ranker, TrainConfig};

use crate::console::Refusal;

/// Known ids that a new one is like.
const NEAREST: usize = 8;

/// What the new ids of an update are like, where its options ask for it.
///
/// # Errors
/// A dataset without vectors.
pub(super) fn new_rows(
    config: &TrainConfig,
    parent: &Ranker,
    map: &FeatureMap,
    data: &SplitData,
) -> Result<Option<NewRows>> {
    let update = config.update();
    if update.is_none_or(|update| update.new_ids != NewIdRule::Content) {
        return Ok(None);
    }
    if map.embedding.is_empty() {
        return Err(Refusal::new(
            "`train.update.new_ids` is `content`, but the dataset has no vectors of items",
        )
        .hint("add `embedding` under [features], or set `train.update.new_ids = \"mean\"`")
        .into());
    }
    let width = map.categorical.len();
    let mut rows = NewRows::default();
    for (column, feature) in map.categorical.iter().enumerate() {
        let old = parent.shape().categorical.get(column).copied().unwrap_or(0);
        let new = feature.cardinality();
        if new <= old {
            rows.categorical.push(BTreeMap::new());
            continue;
        }
        let ids = data.categorical.iter().skip(column).step_by(width).copied();
        rows.categorical.push(nearest(&contents(ids, data), old));
    }
    // Histories are of items: where an input has the very same ids, it knows their vectors.
    let known = map.history.as_ref().and_then(|history| match &history.ids {
        IdRule::Vocabulary { values } => Some(values),
        IdRule::Hashed { .. } => None,
    });
    let alike = |feature: &CategoricalFeature| match feature {
        CategoricalFeature::Vocabulary { values, .. } => Some(values) == known,
        _ => false,
    };
    if let Some(column) = map.categorical.iter().position(alike) {
        rows.history.clone_from(&rows.categorical[column]);
    }
    Ok(Some(rows))
}

/// The content of each id but 0, scaled to length 1; `ids` are those of all rows.
fn contents(ids: impl Iterator<Item = u32>, data: &SplitData) -> BTreeMap<u32, Vec<f64>> {
    let width: usize = data.extras.vectors.iter().map(|own| own.width).sum();
    let mut sums: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (row, id) in ids.enumerate().filter(|(_, id)| *id > 0) {
        if data.extras.vectors.iter().all(|own| own.index[row] == 0) {
            continue;
        }
        let sum = sums.entry(id).or_insert_with(|| vec![0.0; width]);
        let numbers = data.extras.vectors.iter().flat_map(|own| own.of(row));
        sum.iter_mut()
            .zip(numbers)
            .for_each(|(sum, number)| *sum += f64::from(*number));
    }
    // A mean points where its sum does.
    for sum in sums.values_mut() {
        let length = sum.iter().map(|number| number * number).sum::<f64>().sqrt();
        for number in sum.iter_mut() {
            *number /= length;
        }
    }
    sums.retain(|_, sum| sum.iter().all(|number| number.is_finite()));
    sums
}

/// For each id from `old` on, the known ids that it is like, the likest first.
fn nearest(contents: &BTreeMap<u32, Vec<f64>>, old: u32) -> BTreeMap<u32, Vec<u32>> {
    let like = |own: &Vec<f64>| -> Vec<u32> {
        let cosine = |(&id, other): (&u32, &Vec<f64>)| {
            let product: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
            (product, id)
        };
        let mut known: Vec<(f64, u32)> = contents.range(..old).map(cosine).collect();
        known.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        known.into_iter().take(NEAREST).map(|(_, id)| id).collect()
    };
    let new = contents.range(old..);
    new.map(|(&id, own)| (id, like(own))).collect()
}

#[cfg(test)]
mod tests {
    use slate_features::{EmbeddingFeature, Extras, HistoryFeature, Vectors};
    use slate_model::{DeviceSpec, TrainOptions};
    use slate_types::{FeatureShape, HistoryShape, ListOffsets, Seed};

    use super::*;

    /// Lists of one row with these ids, and these rows of a table of three vectors.
    fn data(ids: &[u32], index: &[u32]) -> SplitData {
        let rows = ids.len();
        SplitData {
            lists: ListOffsets::from_lengths(vec![1; rows]).unwrap(),
            dense: vec![],
            categorical: ids.to_vec(),
            grade: vec![0; rows],
            click: vec![0; rows],
            purchase: vec![0; rows],
            weight: vec![1.0; rows],
            slot: vec![0; rows],
            propensity: vec![f64::NAN; rows],
            price: vec![f64::NAN; rows],
            ad_rate: vec![f64::NAN; rows],
            raw_score: vec![f64::NAN; rows],
            item: vec![0; rows],
            impression: vec![0; rows],
            list_id: vec![0; rows],
            list_ts: vec![0; rows],
            extras: Extras {
                vectors: vec![Vectors {
                    table: vec![0.0, 0.0, 3.0, 0.0, 0.0, 0.5, 2.0, 1.0].into(),
                    width: 2,
                    index: index.to_vec(),
                }],
                ..Extras::default()
            },
        }
    }

    fn config(text: &str) -> TrainConfig {
        let options: TrainOptions = toml::from_str(text).unwrap();
        options.check().unwrap().of_update()
    }

    #[test]
    fn content_is_the_mean_of_the_vectors_that_are_there() {
        let found = contents(
            [1, 2, 1, 1, 0, 4].into_iter(),
            &data(&[0; 6], &[1, 2, 3, 0, 1, 0]),
        );
        // Of (3, 0) and (2, 1); the slot without a vector counts nothing, nor does the unknown id.
        let length = 26.0_f64.sqrt();
        assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &2]);
        assert!((found[&1][0] - 5.0 / length).abs() < 1e-12);
        assert!((found[&1][1] - 1.0 / length).abs() < 1e-12);
        assert_eq!(found[&2], [0.0, 1.0]);
    }

    #[test]
    fn new_ids_of_inputs_and_histories_are_told_what_they_are_like() {
        let values: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).into();
        let mut map = FeatureMap {
            categorical: vec![CategoricalFeature::Vocabulary {
                name: "item_id".to_owned(),
                column: "item_id".to_owned(),
                with: vec![],
                values: values.clone(),
            }],
            history: Some(HistoryFeature {
                max_events: 3,
                vectors: vec![],
                ids: IdRule::Vocabulary { values },
            }),
            ..FeatureMap::default()
        };
        let shape = FeatureShape {
            dense: 2,
            categorical: vec![3],
            history: Some(HistoryShape { items: 3, kinds: 2 }),
            ..FeatureShape::default()
        };
        let content = config("[update]\nnew_ids = \"content\"");
        let parent = Ranker::untrained(&content, &shape, Seed(1), DeviceSpec::Cpu).unwrap();
        let data = data(&[1, 2, 3, 4], &[1, 2, 3, 0]);
        let found = |config: &TrainConfig, map: &FeatureMap| new_rows(config, &parent, map, &data);
        let told = found(&content, &map).unwrap_err().to_string();
        assert!(told.contains("has no vectors of items"), "{told}");
        map.embedding.push(EmbeddingFeature {
            name: "title".to_owned(),
            column: "item_id".to_owned(),
            width: 2,
            encoder: None,
            scale: None,
        });
        assert_eq!(found(&config(""), &map).unwrap(), None);
        let rows = found(&content, &map).unwrap().unwrap();
        // Item d has no vector.
        let expected = BTreeMap::from([(3, vec![1, 2])]);
        assert_eq!(rows.categorical, std::slice::from_ref(&expected));
        assert_eq!(rows.history, expected);
    }

    #[test]
    fn new_ids_are_like_the_known_ones_at_the_smallest_angle() {
        let at = |angle: f64| vec![angle.cos(), angle.sin()];
        // Known ids 1 to 20 in steps of a tenth; 21 and 22 are new.
        let mut contents: BTreeMap<u32, Vec<f64>> =
            (1..21).map(|id| (id, at(f64::from(id) * 0.1))).collect();
        contents.insert(21, at(1.01));
        contents.insert(22, at(0.0));
        let found = nearest(&contents, 21);
        assert_eq!(found[&21], [10, 11, 9, 12, 8, 13, 7, 14]);
        assert_eq!(found[&22], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(found.len(), 2);
    }
}
