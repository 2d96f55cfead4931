//! Lists of a dataset that are kept in a folder of their own.

use slate_features::Dataset;
use slate_types::Split;

use crate::fixture::{Place, bytes, day};
use crate::kinds::vectors;

#[test]
fn kept_lists_come_back_as_they_were_in_files_that_say_their_hashes() {
    let place = Place::with(&day(120, 8));
    let spec = vectors(&place, &[7, 2, 11, 3], &[0.5; 8]);
    let spec = format!(
        "{spec}\ncategorical = [{{ column = 'item_id', min_count = 2 }}]\n\
         multi_valued = [{{ column = 'tags', separator = '|', min_count = 1 }}]"
    );
    place.build(&spec).unwrap();
    let dataset = Dataset::open(&place.out()).unwrap();
    let all = dataset.split(Split::Train).unwrap();
    let some = all.select(&[5, 0, 17]);
    let out = place.file("kept");
    std::fs::create_dir(&out).unwrap();
    let names = dataset.write_lists(&out, &some).unwrap();
    let written: Vec<String> = bytes(&out)
        .into_keys()
        .map(|path| path.strip_prefix(&out).unwrap().display().to_string())
        .collect();
    assert_eq!(names, written);

    let kept = Dataset::open(&out).unwrap();
    kept.verify().unwrap();
    assert_eq!(kept.map(), dataset.map());
    let counts = kept.manifest().splits[&Split::Train];
    assert_eq!(counts.lists, 3);
    assert_eq!(counts.first_ts, Some(all.list_ts[0]));
    let mut found = kept.split(Split::Train).unwrap();
    let vectors = |of: &slate_features::SplitData| -> Vec<Vec<f32>> {
        let own = &of.extras.vectors[0];
        (0..of.rows()).map(|row| own.of(row).to_vec()).collect()
    };
    assert_eq!(vectors(&found), vectors(&some));
    // The table has other rows; of the numbers that are unknown none is equal to itself.
    found.extras.vectors.clone_from(&some.extras.vectors);
    let known = |of: &slate_features::SplitData| {
        let mut of = of.clone();
        for values in [
            &mut of.propensity,
            &mut of.price,
            &mut of.ad_rate,
            &mut of.raw_score,
        ] {
            for value in values.iter_mut().filter(|value| value.is_nan()) {
                *value = -1.0;
            }
        }
        of
    };
    assert_eq!(known(&found), known(&some));
    // Nothing is written over.
    assert!(dataset.write_lists(&out, &some).is_err());
}
