//! What must hold of any ranker of trees.

use proptest::prelude::*;
use slate_trees::{
    Column, Examples, Objective, StopReason, Trained, Training, TreeRanker, TreesError,
    TreesOptions,
};
use slate_types::{Batch, FeatureShape, Seed};

const LISTS: usize = 120;
const SLOTS: usize = 5;

fn shape() -> FeatureShape {
    FeatureShape {
        dense: 2,
        categorical: vec![4, 1000],
        ..FeatureShape::default()
    }
}

/// Lists of `SLOTS` slots, the last one padding in every second list. The grade is high where the
/// first input is, and where the id is 3; the second input is noise.
fn batch(seed: u64) -> Batch {
    let places = LISTS * SLOTS;
    let unit = |place: usize, what: &str| Seed(seed).derive(what).index(place as u64).unit();
    let mut batch = Batch {
        lists: LISTS,
        slots: SLOTS,
        dense_width: 2,
        categorical_width: 2,
        mask: (0..places)
            .map(|place| place % SLOTS + 1 < SLOTS || (place / SLOTS).is_multiple_of(2))
            .collect(),
        weight: vec![1.0; places],
        ..Batch::default()
    };
    for place in 0..places {
        let (signal, noise) = (unit(place, "signal") as f32, unit(place, "noise") as f32);
        let id = (unit(place, "id") * 4.0) as u32;
        let worth = signal + if id == 3 { 0.5 } else { 0.0 };
        batch.dense.extend([signal, noise]);
        batch.categorical.extend([id, place as u32 % 1000]);
        let bought = if worth > 0.9 { 1.0 } else { 0.0 };
        batch.grade.push((worth * 2.0).floor());
        batch.purchase.push(bought);
        batch.click.push(bought);
    }
    batch
}

/// Share of pairs of a list in the order of their grades.
fn pairs_in_order(batch: &Batch, scores: &[f32]) -> f64 {
    let (mut right, mut all) = (0, 0);
    for list in 0..batch.lists {
        let slots = list * batch.slots..(list + 1) * batch.slots;
        for a in slots.clone().filter(|&a| batch.mask[a]) {
            for b in slots.clone().filter(|&b| batch.mask[b]) {
                if batch.grade[a] > batch.grade[b] {
                    all += 1;
                    right += usize::from(scores[a] > scores[b]);
                }
            }
        }
    }
    f64::from(right as u32) / f64::from(all.max(1))
}

/// The same metric of scores without padding.
fn metric(batch: Batch) -> slate_trees::Metric {
    Box::new(move |scores| {
        let mut padded = vec![0.0; batch.mask.len()];
        let real = (0..padded.len()).filter(|&place| batch.mask[place]);
        real.zip(scores)
            .for_each(|(place, &score)| padded[place] = score);
        pairs_in_order(&batch, &padded)
    })
}

fn options(text: &str) -> TreesOptions {
    toml::from_str(&format!("label = \"grade\"\ntrees = 60\n{text}")).expect("options")
}

fn grow(options: TreesOptions, train: &Batch, valid: &Batch) -> Result<Trained, TreesError> {
    let config = options.check()?;
    let examples = |batch: &Batch| {
        let mut examples = Examples::new(&config, &shape())?;
        examples.push(batch)?;
        Ok::<_, TreesError>(examples)
    };
    let training = Training {
        config: &config,
        shape: &shape(),
        seed: Seed(5),
        stop: None,
    };
    let (train, judge) = (examples(train)?, metric(valid.clone()));
    training.run(train, examples(valid)?, judge, &mut |_| ())
}

fn bytes(ranker: &TreeRanker) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    ranker.save(dir.path()).expect("a ranker can be saved");
    ["model.ubj", "model.json"]
        .map(|name| std::fs::read(dir.path().join(name)).expect("a file of a ranker"))
        .to_vec()
}

#[test]
fn every_objective_finds_what_the_labels_depend_on() {
    for (objective, label) in [
        ("lambdamart", "grade"),
        ("pairwise", "grade"),
        ("logistic", "purchase"),
    ] {
        let text = format!("label = \"{label}\"\nobjective = \"{objective}\"\ntrees = 60");
        let options: TreesOptions = toml::from_str(&text).unwrap();
        let trained = grow(options, &batch(1), &batch(2)).unwrap();
        let fresh = batch(3);
        let found = pairs_in_order(&fresh, &trained.ranker.score(&fresh).unwrap());
        // Half of the pairs by chance.
        let least = if objective == "logistic" { 0.85 } else { 0.93 };
        assert!(found > least, "{objective}: {found}");
        let importance = trained.ranker.importance();
        assert_eq!(importance[0].column, Column::Dense(0), "{objective}");
        // The input of a thousand ids is not read.
        assert_eq!(trained.ranker.columns().len(), 3);
    }
}

#[test]
fn log_odds_of_logistic_trees_add_up_to_the_purchases() {
    let options: TreesOptions =
        toml::from_str("label = \"purchase\"\nobjective = \"logistic\"\ntrees = 200\npatience = 0")
            .unwrap();
    let data = batch(1);
    // A metric that always rises, so that all trees are kept.
    let config = options.check().unwrap();
    let mut examples = Examples::new(&config, &shape()).unwrap();
    examples.push(&data).unwrap();
    let training = Training {
        config: &config,
        shape: &shape(),
        seed: Seed(5),
        stop: None,
    };
    let count = std::sync::atomic::AtomicU32::new(0);
    let rising =
        move |_: &[f32]| f64::from(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let trained = training
        .run(examples.clone(), examples, Box::new(rising), &mut |_| ())
        .unwrap();
    assert_eq!(trained.best_trees, 200);
    let scores = trained.ranker.score(&data).unwrap();
    let real = || (0..scores.len()).filter(|&place| data.mask[place]);
    let promised: f64 = real()
        .map(|p| 1.0 / (1.0 + f64::from(-scores[p]).exp()))
        .sum();
    let bought: f64 = real().map(|place| f64::from(data.purchase[place])).sum();
    // At the minimum of cross-entropy the two are equal; 200 steps of a tenth are near it.
    assert!(
        (promised / bought - 1.0).abs() < 0.01,
        "{promised} of {bought}"
    );
}

#[test]
fn a_file_gives_the_same_scores_and_threads_the_same_bytes() {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let three = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let text = "share = 0.7\nfeature_share = 0.7";
    let train = || grow(options(text), &batch(1), &batch(2)).unwrap().ranker;
    let (a, b) = (one.install(train), three.install(train));
    assert_eq!(bytes(&a), bytes(&b));
    let dir = tempfile::tempdir().unwrap();
    a.save(dir.path()).unwrap();
    let read = TreeRanker::load(dir.path()).unwrap();
    let (own, again) = (a.score(&batch(3)).unwrap(), read.score(&batch(3)).unwrap());
    // NaN stands on padding.
    let bits = |scores: &[f32]| scores.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&own), bits(&again));
    assert_eq!(bytes(&a), bytes(&read));
}

#[test]
fn growing_stops_where_the_metric_does_and_keeps_the_best() {
    let mut rounds = Vec::new();
    let config = options("patience = 4\nlearning_rate = 1.0")
        .check()
        .unwrap();
    let examples = |seed| {
        let mut examples = Examples::new(&config, &shape()).unwrap();
        examples.push(&batch(seed)).unwrap();
        examples
    };
    let training = Training {
        config: &config,
        shape: &shape(),
        seed: Seed(5),
        stop: None,
    };
    let trained = training
        .run(examples(1), examples(2), metric(batch(2)), &mut |round| {
            rounds.push(*round);
        })
        .unwrap();
    assert_eq!(trained.stopped, StopReason::Patience);
    assert_eq!(trained.trees as usize, rounds.len());
    assert_eq!(trained.trees, trained.best_trees + 4);
    assert_eq!(trained.ranker.trees() as u32, trained.best_trees);
    let best = rounds.iter().map(|round| round.metric).fold(0.0, f64::max);
    assert_eq!(best, trained.best_metric);
    // The metric of the trees that were kept is the one that was told.
    let again = pairs_in_order(&batch(2), &trained.ranker.score(&batch(2)).unwrap());
    assert_eq!(again, best);
}

#[test]
fn leaves_keep_their_fewest_rows() {
    // One split in the middle is all that 60 % of the rows in each leaf forbid.
    let rows = batch(1).mask.iter().filter(|&&real| real).count();
    let most = rows as u32 * 6 / 10;
    let few = grow(options(&format!("min_rows = {most}")), &batch(1), &batch(2)).unwrap();
    assert_eq!(few.ranker.leaves(), few.ranker.trees(), "no split at all");
    let many = grow(options("min_rows = 20"), &batch(1), &batch(2)).unwrap();
    assert!(many.ranker.leaves() > 2 * many.ranker.trees());
}

#[test]
fn heavy_lists_pull_harder() {
    // Half of the lists say the opposite of the other half; weights decide.
    let turned = |heavy_first: bool| {
        let mut batch = batch(1);
        for list in 0..LISTS {
            let slots = list * SLOTS..(list + 1) * SLOTS;
            let first = list % 4 < 2;
            for place in slots {
                if !first {
                    batch.grade[place] = 2.0 - batch.grade[place].min(2.0);
                }
                batch.weight[place] = if first == heavy_first { 10.0 } else { 1.0 };
            }
        }
        batch
    };
    for objective in [Objective::LambdaMart, Objective::Pairwise] {
        let of = |heavy_first| {
            let options = TreesOptions {
                objective,
                ..options("patience = 0")
            };
            let ranker = grow(options, &turned(heavy_first), &batch(2))
                .unwrap()
                .ranker;
            pairs_in_order(&batch(3), &ranker.score(&batch(3)).unwrap())
        };
        assert!(
            of(true) > 0.8 && of(false) < 0.6,
            "{objective:?} {} {}",
            of(true),
            of(false)
        );
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    let refused = |change: &dyn Fn(&mut Batch)| {
        let mut broken = batch(1);
        change(&mut broken);
        grow(options(""), &broken, &batch(2))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&|batch| batch.dense[12] = f32::NAN),
        "`dense` of list 1, slot 1, column 0 of a batch is NaN, expected a finite number"
    );
    assert_eq!(
        refused(&|batch| batch.categorical[2] = 4),
        "`categorical` of list 0, slot 1, column 0 of a batch is 4, expected an id below 4"
    );
    assert_eq!(
        refused(&|batch| batch.grade[1] = -1.0),
        "`grade` of list 0, slot 1, column 0 of a batch is -1, expected a number from 0 to 31"
    );
    assert_eq!(
        refused(&|batch| batch.dense_width = 3),
        "`dense_width` of a batch is 3, expected 2"
    );
    assert_eq!(
        refused(&|batch| batch.grade.fill(0.0)),
        "no training list has a positive `grade` label, so trees have nothing to learn"
    );
    assert_eq!(
        refused(&|batch| batch.mask.fill(false)),
        "the training data has no lists with slots, expected at least one"
    );
    let config = options("most_ids = 1").check().unwrap();
    let bare = FeatureShape {
        categorical: vec![5],
        ..FeatureShape::default()
    };
    assert!(matches!(
        Examples::new(&config, &bare),
        Err(TreesError::NoInputs)
    ));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let ranker = grow(options(""), &batch(1), &batch(2)).unwrap().ranker;
    let dir = tempfile::tempdir().unwrap();
    ranker.save(dir.path()).unwrap();
    let path = dir.path().join("model.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let message = |text: String| {
        std::fs::write(&path, text).unwrap();
        TreeRanker::load(dir.path()).unwrap_err().to_string()
    };
    let trees = ranker.trees();
    let told = message(text.replace(&format!("\"trees\": {trees}"), "\"trees\": 1000"));
    assert!(
        told.ends_with(&format!("has {trees} trees, expected 1000")),
        "{told}"
    );
    let told = message(text.replace("\"format\": 1", "\"format\": 9"));
    assert!(told.contains("cannot be read by this version"), "{told}");
    std::fs::write(&path, &text).unwrap();
    let trees = dir.path().join("model.ubj");
    let whole = std::fs::read(&trees).unwrap();
    std::fs::write(&trees, &whole[..whole.len() / 2]).unwrap();
    let told = TreeRanker::load(dir.path()).unwrap_err().to_string();
    assert!(told.contains("holds no readable trees"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// A slot's score depends on its inputs alone: not on its list, its place or its neighbours.
    #[test]
    fn slots_are_scored_by_themselves(seed in 0_u64..1000, rotate in 1_usize..SLOTS) {
        thread_local! {
            static RANKER: TreeRanker = grow(options(""), &batch(1), &batch(2)).unwrap().ranker;
        }
        let given = batch(seed);
        let mut turned = given.clone();
        for list in 0..LISTS {
            let slots = list * SLOTS..(list + 1) * SLOTS;
            turned.mask[slots.clone()].rotate_left(rotate);
            turned.dense[slots.start * 2..slots.end * 2].rotate_left(rotate * 2);
            turned.categorical[slots.start * 2..slots.end * 2].rotate_left(rotate * 2);
        }
        RANKER.with(|ranker| {
            let mut wanted = ranker.score(&given).unwrap();
            for list in wanted.chunks_mut(SLOTS) {
                list.rotate_left(rotate);
            }
            let scores = ranker.score(&turned).unwrap();
            let bits = |s: &[f32]| s.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&scores), bits(&wanted));
            Ok(())
        })?;
    }
}
