//! Traces against the dataset: every page's rows, to the bit.

use std::sync::Arc;

use arrow::array::Int64Array;
use slate_features::{Dataset, FeatureMap, Inputs, PageFeatures, SplitSpec, trace};
use slate_types::Silent;

use crate::fixture::{EVERYTHING, Place, Row, columns, day, parse, write_sequences};
use crate::kinds::vectors;

/// Two lists on each page, at one time; the labels of the last pages are still open.
fn rows() -> Vec<Row> {
    let mut rows = day(160, 9);
    for row in &mut rows {
        row.ts -= (row.list % 2) * 60_000_000;
        row.matured = row.list < 150;
    }
    rows
}

fn page_of(list: i64) -> i64 {
    list / 2 + 500
}

#[test]
fn every_row_of_a_trace_is_the_row_of_the_dataset() {
    let rows = rows();
    let mut columns = columns(&rows);
    let pages = rows.iter().map(|row| page_of(row.list));
    columns[1].1 = Arc::new(Int64Array::from_iter_values(pages));
    let place = Place::with_columns(columns);
    write_sequences(&place, &rows);
    let known = vectors(&place, &[7, 2, 11], &[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
    let embedding = known.lines().nth(1).unwrap();
    let spec = format!(
        "{EVERYTHING}\n{embedding}\n\
         cyclic = [{{ column = 'ts', period = 'day' }}]\n\
         cross = [{{ columns = ['item_category', 'item_id'], min_count = 2 }}]\n\
         multi_valued = [{{ column = 'tags', max_values = 2, min_count = 5 }}]\n\
         history = {{ max_events = 2, min_count = 5, vectors = ['title'] }}\n\
         weights = [1, 2, 2, 2, 5]"
    );
    place.build(&spec).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let (c, d) = (dataset.map().categorical.len(), dataset.map().dense.len());
    let traced = |page: i64, map: Option<FeatureMap>| -> PageFeatures {
        let (examples, sequences) = (place.examples(), place.sequences());
        let inputs = Inputs {
            examples: &examples,
            sequences: sequences.as_deref(),
        };
        let split = SplitSpec::default();
        trace(inputs, &parse(&spec), &split, map, page, &Silent).unwrap()
    };
    let (mut checked, mut open) = (0, 0);
    for page in 500..580 {
        let given = (page % 2 == 0).then(|| dataset.map().clone());
        let found = traced(page, given);
        assert_eq!(found.feature_map_sha256, dataset.map().hash());
        assert_eq!(found.lists.len(), 2, "page {page}");
        let own = rows.iter().filter(|row| page_of(row.list) == page);
        let own: Vec<(i64, i64)> = own.map(|row| (row.list, row.item)).collect();
        let told: Vec<(i64, i64)> = found.rows.iter().map(|r| (r.list_id, r.item_id)).collect();
        assert_eq!(told, own);
        for row in &found.rows {
            let list = found.lists.iter().find(|list| list.list_id == row.list_id);
            let list = list.unwrap();
            assert_eq!(row.features.len(), d + c + 3);
            for (feature, number) in row.features[..d].iter().zip(&row.tensor.dense) {
                assert_eq!(feature.after, serde_json::json!(number), "{feature:?}");
            }
            let Some(split) = list.split else {
                assert!(page_of(150) <= page && row.row.is_none());
                open += 1;
                continue;
            };
            let data = dataset.split(split).unwrap();
            let at = row.row.unwrap() as usize;
            let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&row.tensor.dense),
                bits(&data.dense[at * d..(at + 1) * d])
            );
            assert_eq!(
                row.tensor.categorical,
                data.categorical[at * c..(at + 1) * c]
            );
            assert_eq!(row.impression_id, data.impression[at]);
            assert_eq!(row.weight, data.weight[at]);
            assert_eq!(
                row.tensor.multi_valued["tags"],
                data.extras.multi_valued[0].of(at)
            );
            assert_eq!(
                row.tensor.vectors["title"],
                data.extras.vectors[0].index[at]
            );
            let nth = list.list.unwrap() as usize;
            assert_eq!(data.list_id[nth], row.list_id);
            let history = data.extras.history.as_ref().unwrap();
            let range = history.offsets[nth] as usize..history.offsets[nth + 1] as usize;
            let ids: Vec<u32> = list.history.iter().map(|step| step.id).collect();
            let ages: Vec<f32> = list.history.iter().map(|step| step.age).collect();
            assert_eq!(ids, history.item[range.clone()]);
            assert_eq!(ages, history.age[range.clone()]);
            let mean = row.features.last().unwrap();
            assert_eq!(
                (mean.name.as_str(), mean.kind),
                ("history_title", "history vector")
            );
            assert_eq!(
                mean.after,
                serde_json::json!(history.vectors[0].rows[range])
            );
            assert_eq!(list.history.len() as i64, (row.list_id % 4).min(2));
            checked += 1;
        }
    }
    assert!(checked > 300 && open > 20, "{checked} and {open}");
    assert!(traced(99, None).rows.is_empty());
}

#[test]
fn a_feature_is_told_from_raw_to_tensor() {
    let rows = day(120, 3);
    let place = Place::with(&rows);
    place.build(EVERYTHING).unwrap();
    let examples = place.examples();
    let inputs = Inputs {
        examples: &examples,
        sequences: None,
    };
    let unpriced = |row: &&Row| row.price.is_none() && row.category.is_some();
    let unpriced = rows.iter().find(unpriced).unwrap();
    let found = trace(
        inputs,
        &parse(EVERYTHING),
        &SplitSpec::default(),
        None,
        unpriced.list + 500,
        &Silent,
    )
    .unwrap();
    let row = &found.rows[unpriced.slot as usize];
    let feature = |name: &str| row.features.iter().find(|f| f.name == name).unwrap();
    let price = feature("price");
    assert!(price.before.is_null() && price.inputs["price"].is_null());
    assert!(price.mapping.starts_with("missing: "), "{}", price.mapping);
    let rate = feature("ctr");
    assert_eq!(rate.inputs["item_clicks_7d"], unpriced.clicks);
    let before = rate.before.as_f64().unwrap();
    assert!((0.0..1.0).contains(&before));
    assert!(rate.mapping.starts_with("(n + 15 × "), "{}", rate.mapping);
    assert_eq!(feature("category_hash").mapping, "hashed to 5 ids");
    assert_eq!(feature("item_id").before, unpriced.item);
    assert_eq!(
        feature("item_id").place,
        format!("categorical[{}]", row.tensor.categorical.len() - 2)
    );
}
