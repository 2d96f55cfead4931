//! What must hold for any examples.

use proptest::prelude::*;
use slate_features::{
    Dataset, FeatureMap, Format, Inputs, MapSource, Origin, Outputs, SplitSpec, build,
};
use slate_types::{Silent, Split};

use crate::fixture::{EVERYTHING, Place, Row, bytes, day, parse};

proptest! {
    // Each case writes and reads files.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn rows_after_the_window_never_change_the_map(
        seed in 0_u64..1000,
        other in 1000_u64..2000,
        until in 10_i64..30,
    ) {
        let rows = day(40, seed);
        let changed: Vec<Row> = rows
            .iter()
            .filter(|row| row.list < until)
            .cloned()
            .chain(day(40, other).into_iter().filter(|row| row.list >= until))
            .collect();
        let end = 1_767_225_600_000_000 + until * 60_000_000;
        let spec = parse(EVERYTHING);
        let map = FeatureMap::fit(&Place::with(&rows).examples(), None, &spec, end).unwrap();
        let again = FeatureMap::fit(&Place::with(&changed).examples(), None, &spec, end).unwrap();
        prop_assert_ne!(&rows, &changed);
        prop_assert_eq!(map.hash(), again.hash());
        prop_assert_eq!(map.fitted_on.lists, until as u64);
    }

    #[test]
    fn a_window_of_lists_is_a_dataset_of_those_lists(
        seed in 0_u64..1000,
        from in 0_i64..15,
        lists in 25_i64..45,
    ) {
        let rows = day(60, seed);
        let minute = |list: i64| format!("2026-01-01T{:02}:{:02}:00Z", list / 60, list % 60);
        let split = SplitSpec {
            from: Some(minute(from)),
            until: Some(minute(from + lists)),
            ..SplitSpec::default()
        };
        let window = Place::with(&rows);
        window.build_split(EVERYTHING, &split).unwrap();
        let own = from..from + lists;
        let within: Vec<Row> = rows.into_iter().filter(|row| own.contains(&row.list)).collect();
        let alone = Place::with(&within);
        alone.build(EVERYTHING).unwrap();
        let [window, alone] = [&window, &alone].map(|place| Dataset::open(&place.out()).unwrap());
        prop_assert_eq!(&window.map().dense, &alone.map().dense);
        let mut seen = 0;
        for split in Split::ALL {
            let [one, two] = [&window, &alone].map(|dataset| dataset.split(split).unwrap());
            prop_assert_eq!(&one.list_ts, &two.list_ts);
            prop_assert_eq!(&one.dense, &two.dense);
            prop_assert_eq!(&one.categorical, &two.categorical);
            prop_assert_eq!(&one.grade, &two.grade);
            seen += one.lists.len();
        }
        prop_assert_eq!(seen as i64, lists);
    }

    #[test]
    fn unseen_values_are_id_0(seed in 0_u64..1000) {
        let mut rows = day(40, seed);
        for row in rows.iter_mut().filter(|row| row.list >= 30) {
            row.item += 1_000_000;
            row.category = Some("never seen".into());
        }
        let place = Place::with(&rows);
        place.build(EVERYTHING).unwrap();
        let dataset = Dataset::open(&place.out()).unwrap();
        let test = dataset.split(Split::Test).unwrap();
        for ids in test.categorical.chunks(4) {
            prop_assert_eq!(&ids[1..3], [0, 0]);
            prop_assert!((1..=5).contains(&ids[3]), "a hash knows every value");
        }
    }

    #[test]
    fn parts_follow_in_time_and_lose_nothing(
        seed in 0_u64..1000,
        immature in proptest::collection::btree_set(0_i64..60, 0..10),
        per_moment in 1_i64..4,
    ) {
        let mut rows = day(60, seed);
        for row in &mut rows {
            row.ts = 1_767_225_600_000_000 + row.list / per_moment;
            row.matured = !(row.slot == 0 && immature.contains(&row.list));
        }
        let place = Place::with(&rows);
        let summary = place.build(EVERYTHING).unwrap();
        prop_assert_eq!(summary.left_out.immature_lists, immature.len() as u64);
        let kept: Vec<&Row> = rows.iter().filter(|row| !immature.contains(&row.list)).collect();
        prop_assert_eq!(summary.rows, kept.len() as u64);
        prop_assert_eq!(summary.left_out.immature_rows, (rows.len() - kept.len()) as u64);

        let dataset = Dataset::open(&place.out()).unwrap();
        let mut row = 0;
        let mut last = i64::MIN;
        for split in Split::ALL {
            let data = dataset.split(split).unwrap();
            prop_assert!(data.list_ts[0] > last, "a moment is in two parts");
            for (list, range) in data.lists.iter().enumerate() {
                for i in range {
                    prop_assert_eq!(data.list_id[list], kept[row].list);
                    prop_assert_eq!(data.list_ts[list], kept[row].ts);
                    prop_assert_eq!(data.item[i], kept[row].item);
                    prop_assert_eq!(data.slot[i], kept[row].slot as u32);
                    prop_assert_eq!(data.grade[i], kept[row].grade);
                    prop_assert_eq!(data.price[i].is_nan(), kept[row].price.is_none());
                    row += 1;
                }
            }
            let counts = dataset.manifest().splits[&split];
            prop_assert_eq!(counts.lists, data.lists.len() as u64);
            prop_assert_eq!(counts.clicks, data.click.iter().map(|&x| u64::from(x)).sum::<u64>());
            prop_assert_eq!(counts.last_ts, data.list_ts.last().copied());
            last = counts.last_ts.unwrap();
        }
        prop_assert_eq!(row, kept.len());
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_thread_count() {
    let place = Place::with(&day(60, 7));
    let build_with = |threads: usize| {
        let out = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (spec, split) = (parse(EVERYTHING), SplitSpec::default());
            let origin = Origin::default();
            build(
                Inputs {
                    examples: &place.examples(),
                    sequences: None,
                },
                &spec,
                &split,
                MapSource::Fit,
                Outputs {
                    folder: out.path(),
                    formats: &std::collections::BTreeSet::from([Format::Npy]),
                },
                origin,
                &Silent,
            )
            .unwrap()
        });
        bytes(out.path()).into_values().collect::<Vec<_>>()
    };
    let one = build_with(1);
    assert_eq!(
        one.len(),
        4 * 16 + 2,
        "16 arrays for each part, the map and the manifest"
    );
    assert_eq!(one, build_with(4));
}

#[test]
fn lists_longer_than_a_batch_of_rows_stay_whole() {
    let mut rows = Vec::new();
    for (list, length) in [3_i32, 9000, 2, 20_000, 1, 4].into_iter().enumerate() {
        for slot in 0..length {
            let row = day(1, 1).remove(0);
            rows.push(Row {
                list: list as i64,
                ts: row.ts + list as i64,
                slot,
                grade: 1,
                ..row
            });
        }
    }
    let place = Place::with(&rows);
    let split = SplitSpec {
        valid: Some(0.2),
        calibrate: Some(0.2),
        test: Some(0.2),
        ..SplitSpec::default()
    };
    place
        .build_split("relative = [{ column = 'price' }]", &split)
        .unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let lengths: Vec<usize> = Split::ALL
        .into_iter()
        .flat_map(|split| {
            dataset
                .split(split)
                .unwrap()
                .lists
                .iter()
                .map(|r| r.len())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(lengths, [3, 9000, 2, 20_000, 1, 4]);
}
