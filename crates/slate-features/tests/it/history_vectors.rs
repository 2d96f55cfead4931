//! Mean vectors of what the person of a list did last.

use slate_features::{BatchOptions, Dataset, FeatureMap, MapSource, SplitData, SplitSpec, batches};
use slate_types::{FeatureShape, Split};

use crate::fixture::{Place, day, write_sequences};
use crate::kinds::vectors;

/// Items with a row: of the six that histories hold, item 3 has none, and item 5 has zeros, which are no vector.
const KNOWN: [i64; 7] = [0, 1, 2, 4, 5, 7, 11];
/// Events that are kept, and the prior of their mean.
const MOST: i64 = 2;
const PRIOR: f32 = 2.0;
const HISTORY: &str =
    "history = { max_events = 2, min_count = 1, vectors = ['title'], prior_events = 2 }";

fn place() -> Place {
    let rows = day(120, 5);
    let place = Place::with(&rows);
    write_sequences(&place, &rows);
    place
}

fn spec(place: &Place) -> String {
    let number = |at: usize| {
        if at / 2 == 4 {
            0.0
        } else {
            (at as f32 * 1.7).sin()
        }
    };
    let numbers: Vec<f32> = (0..14).map(number).collect();
    let spec = vectors(place, &KNOWN, &numbers);
    let spec = spec.replace(".npy' }", ".npy', standardise = true }");
    format!("{spec}\n{HISTORY}")
}

/// What each list's mean should be, from the table of vectors and the way sequences are made.
fn expected(data: &SplitData) -> Vec<[f32; 2]> {
    let table = &data.extras.vectors[0].table;
    let mean = |list: &i64| {
        let (mut sum, mut count) = ([0.0; 2], PRIOR);
        for back in 0..(list % 4).min(MOST) {
            let item = (list + back) % 6;
            if item == 5 {
                continue;
            }
            let Some(row) = KNOWN.iter().position(|known| *known == item) else {
                continue;
            };
            let vector = &table[2 * (row + 1)..2 * (row + 2)];
            sum[0] += vector[0];
            sum[1] += vector[1];
            count += 1.0;
        }
        sum.map(|sum| sum / count)
    };
    data.list_id.iter().map(mean).collect()
}

/// The numbers of a mean at every slot of every list.
fn found(data: &SplitData, shape: &FeatureShape) -> Vec<[f32; 2]> {
    let options = BatchOptions {
        lists_per_batch: 7,
        shuffle: None,
        bucket_by_length: false,
        skip: 0,
    };
    let mut means = Vec::new();
    for (lists, batch) in batches(data, shape, options) {
        for list in 0..lists.len() {
            let slots = list * batch.slots..(list + 1) * batch.slots;
            let of = |place: usize| {
                let row = &batch.dense[place * batch.dense_width..(place + 1) * batch.dense_width];
                [row[row.len() - 2], row[row.len() - 1]]
            };
            let real: Vec<[f32; 2]> = slots.filter(|&at| batch.mask[at]).map(of).collect();
            assert!(
                real.iter().all(|mean| *mean == real[0]),
                "one list, one mean"
            );
            means.push(real[0]);
        }
    }
    means
}

fn assert_close(found: &[[f32; 2]], expected: &[[f32; 2]]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn the_mean_of_a_history_follows_all_other_numbers() {
    let place = place();
    let summary = place.build(&spec(&place)).unwrap();
    assert_eq!(
        summary.dense, 6,
        "price, its absence, a title, and a mean of titles"
    );
    let dataset = Dataset::open(&place.out()).unwrap();
    dataset.verify().unwrap();
    let names = &dataset.manifest().dense;
    assert_eq!(names[4..], ["history_title_0", "history_title_1"]);
    let map = dataset.map();
    assert_eq!(map.history_vector_of("history_title"), Some("title"));
    assert_eq!(map.history_vector_of("title"), None);
    assert!(map.columns_of("history_title").is_empty());
    let names = ["history_title".to_owned()];
    let places = map.places(&names, "key").unwrap();
    assert_eq!(places.vectors.first(), Some(&(4..6)));
    let mut zeros = 0;
    for split in Split::ALL {
        let data = dataset.split(split).unwrap();
        let means = found(&data, &dataset.shape());
        assert_close(&means, &expected(&data));
        zeros += means.iter().filter(|mean| **mean == [0.0; 2]).count();
    }
    // Of four lists one has no history, and some have item 3 alone.
    assert!(zeros > 30 && zeros < 60, "{zeros}");
}

#[test]
fn kept_lists_keep_their_means_though_their_table_is_smaller() {
    let place = place();
    place.build(&spec(&place)).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let all = dataset.split(Split::Train).unwrap();
    let some = all.select(&[5, 2, 17]);
    let out = place.file("kept");
    std::fs::create_dir(&out).unwrap();
    dataset.write_lists(&out, &some).unwrap();
    let kept = Dataset::open(&out).unwrap();
    kept.verify().unwrap();
    let data = kept.split(Split::Train).unwrap();
    let means = found(&some, &dataset.shape());
    assert_eq!(found(&data, &kept.shape()), means);
    assert!(data.extras.vectors[0].table.len() < some.extras.vectors[0].table.len());
    // Behind lists of the whole table, too.
    let joined = all.followed_by(&data);
    let expected = [found(&all, &dataset.shape()), means].concat();
    assert_eq!(found(&joined, &dataset.shape()), expected);
}

#[test]
fn means_of_nothing_and_other_means_than_before_are_refused() {
    let place = place();
    let sound = spec(&place);
    for (from, to, expected) in [
        (
            "['title']",
            "['titel']",
            "`features.history.vectors[0]` is `titel`, expected an entry of `features.embedding` by item: title",
        ),
        (
            "standardise = true",
            "column = 'seller_id'",
            "`features.history.vectors[0]` is `title`, expected an entry of `features.embedding` by item: there is none yet",
        ),
        (
            "prior_events = 2",
            "prior_events = 1001",
            "`features.history.prior_events` is 1001, expected a number from 0 to 1000",
        ),
        ("['title']", "['title', 'title']", "history_title"),
    ] {
        let error = place
            .build(&sound.replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    place.build(&sound).unwrap();
    let map: FeatureMap = Dataset::open(&place.out()).unwrap().map().clone();
    std::fs::remove_dir_all(place.out()).unwrap();
    std::fs::create_dir(place.out()).unwrap();
    let source = MapSource::Extended { map, refit: false };
    let other = sound.replace("prior_events = 2", "prior_events = 3");
    let error = place
        .build_with(&other, &SplitSpec::default(), source)
        .unwrap_err();
    assert!(error.to_string().contains("history"), "{error}");
}
