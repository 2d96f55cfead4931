//! What `[train.update]` and `train.mask_ids` do to a training: parts, penalties, states, days.

use std::collections::BTreeMap;

use slate_model::{
    Ahead, Batches, Beginning, BoxError, Checkpoint, CheckpointPlan, DeviceSpec, Every, ModelError,
    NewRows, Ranker, TrainEvent, Trained, Training, train,
};
use slate_types::{Batch, FeatureShape, Seed};

use super::market::{self, config, market, validation};
use super::update::{arrays, floats};

const NETWORK: &str = r#"
    learning_rate = 1e-2
    schedule = "constant"
    gradient_clip = 0.0
    patience = 0
"#;
const MLP: &str = r#"
    [network]
    kind = "mlp"
    hidden = 8
    layers = 1
    dropout = 0.1
"#;

fn options(train: &str, update: &str) -> String {
    format!("{NETWORK}{train}\n{MLP}\n[update]\n{update}\n")
}

/// The same with dense inputs standardised by the batch.
fn by_batch(text: &str) -> String {
    text.replace("[network]", "[network]\ninput_norm = \"batch\"")
}

const OLD: [&str; 2] = ["epochs = 2", "optimizer = \"kept\""];

fn old() -> Ranker {
    trained(&options(OLD[0], OLD[1]), None, 1).ranker
}

/// Trains on the market, from nothing or from a beginning.
fn trained(text: &str, update: Option<Beginning<'_>>, threads: u32) -> Trained {
    run(text, update, threads, None, &mut market()).unwrap()
}

fn run(
    text: &str,
    update: Option<Beginning<'_>>,
    threads: u32,
    checkpoints: Option<(&CheckpointPlan, Option<Checkpoint>)>,
    data: &mut dyn Batches,
) -> Result<Trained, ModelError> {
    let (config, shape) = (config(text), market::shape());
    let (plan, resume) = checkpoints.unzip();
    // Later is better: the last epoch is kept. Before a checkpoint that of the beginning was judged too.
    let judged = |checkpoint: &Checkpoint| checkpoint.epochs_done() + 1;
    let resume = resume.flatten();
    let mut epochs = f64::from(resume.as_ref().map_or(0, judged));
    let training = Training {
        config: &config,
        shape: &shape,
        seed: Seed(1),
        device: DeviceSpec::Cpu,
        replicas: Some(threads),
        checkpoints: plan,
        update,
        resume,
        stop: None,
    };
    training.run(
        data,
        &mut |ranker| {
            epochs += 1.0;
            let mut found = validation(ranker);
            found.metric = epochs;
            Ok(found)
        },
        &mut |_| (),
    )
}

/// The names of the arrays that differ.
fn moved(one: &Ranker, two: &Ranker) -> Vec<String> {
    let (one, two) = (arrays(one), arrays(two));
    let moved = one.into_iter().filter(|(name, array)| two[name] != *array);
    moved.map(|(name, _)| name).collect()
}

#[test]
fn frozen_parts_keep_every_bit_and_others_move() {
    // Running moments are the body's.
    let old = trained(&by_batch(&options(OLD[0], OLD[1])), None, 1).ranker;
    let train = "epochs = 5\nema = 0.9\nweight_decay = 0.1";
    for (rates, frozen) in [
        ("{ tables = 0.0 }", "embeddings"),
        ("{ heads = 0.0 }", "heads"),
        ("{ body = 0.0 }", "body input batch_norm"),
    ] {
        let text = by_batch(&options(train, &format!("epochs = 1\nrates = {rates}")));
        let new = trained(&text, Some((&old).into()), 1);
        assert_eq!(new.epochs, 1, "of the update, not of the training");
        let names = moved(&old, &new.ranker);
        let is_frozen = |name: &str| frozen.split(' ').any(|part| name.starts_with(part));
        assert!(!names.is_empty());
        for name in arrays(&old).keys() {
            assert_eq!(!is_frozen(name), names.contains(name), "{rates}: {name}");
        }
    }
}

#[test]
fn a_rate_is_a_factor_of_the_learning_rate() {
    let old = old();
    let new = |train: &str, update: &str| {
        let new = trained(&options(train, update), Some((&old).into()), 1);
        arrays(&new.ranker)
    };
    let whole = new("epochs = 1\noptimizer = \"sgd\"", "learning_rate = 0.5");
    let by_parts = new(
        "epochs = 1\noptimizer = \"sgd\"",
        "rates = { tables = 0.5, body = 0.5, heads = 0.5 }",
    );
    assert_eq!(whole, by_parts);
    assert_ne!(whole, new("epochs = 1\noptimizer = \"sgd\"", ""));
    // In a training from nothing the section says nothing.
    let fresh = |update: &str| arrays(&trained(&options("epochs = 1", update), None, 1).ranker);
    assert_eq!(
        fresh("learning_rate = 0.5\ndistil = 3.0\nepochs = 4\nrates = { body = 0.0 }"),
        fresh("")
    );
}

#[test]
fn a_penalty_holds_the_scores_near_those_of_the_beginning() {
    let old = old();
    let lists = market::batch(5, &[6; 32]);
    let distance = |distil: &str| {
        let text = options("epochs = 3", distil);
        let new = trained(&text, Some((&old).into()), 1).ranker;
        let (one, two) = (old.score(&lists).unwrap(), new.score(&lists).unwrap());
        let pairs = one.purchase.iter().zip(&two.purchase);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    let (free, held, tight) = (
        distance(""),
        distance("distil = 1.0"),
        distance("distil = 30.0"),
    );
    assert!(
        held < 0.7 * free && tight < 0.5 * held,
        "{free} {held} {tight}"
    );
}

#[test]
fn threads_and_kills_change_no_bit_of_an_update() {
    let text = options(
        "epochs = 2\nmask_ids = 0.3\naccumulate = 2",
        "distil = 0.5\nrates = { body = 0.5, tables = 2.0 }\noptimizer = \"kept\"",
    );
    let before = options(OLD[0], OLD[1]);
    no_bit_changes(&trained(&before, None, 1).ranker, &text);
    no_bit_changes(
        &trained(&by_batch(&before), None, 1).ranker,
        &by_batch(&text),
    );
}

fn no_bit_changes(old: &Ranker, text: &str) {
    let one = trained(text, Some(old.into()), 1);
    let three = trained(text, Some(old.into()), 3);
    assert_eq!(arrays(&one.ranker), arrays(&three.ranker));
    assert_eq!(one.optimizer, three.optimizer);

    let folder = tempfile::tempdir().unwrap();
    let plan = CheckpointPlan {
        folder: folder.path().to_owned(),
        identity: BTreeMap::new(),
        keep: 100,
        every: Every::Steps(1),
    };
    let update = || Some(Beginning::from(old));
    run(text, update(), 1, Some((&plan, None)), &mut market()).unwrap();
    let checkpoints = Checkpoint::list(folder.path()).unwrap();
    assert_eq!(checkpoints.len(), 6);
    for path in &checkpoints {
        let checkpoint = Checkpoint::read(path, &plan.identity).unwrap();
        let resumed = Some((&plan, Some(checkpoint)));
        let again = run(text, update(), 1, resumed, &mut market()).unwrap();
        assert_eq!(
            arrays(&again.ranker),
            arrays(&one.ranker),
            "{}",
            path.display()
        );
        assert_eq!(again.optimizer, one.optimizer);
    }
}

#[test]
fn masked_ids_train_the_unknown_row_and_none_is_masked_without() {
    // No list of the first batches shows the unknown id.
    let shifted = || {
        let mut data = market();
        for batch in &mut data.0 {
            batch
                .categorical
                .iter_mut()
                .for_each(|id| *id = (*id).max(1));
        }
        data
    };
    let row = |train: &str| {
        let text = options(&format!("epochs = 1\nweight_decay = 0.0\n{train}"), "");
        let new = run(&text, None, 1, None, &mut shifted()).unwrap();
        floats(&arrays(&new.ranker)["embeddings.0.weight"].1)[..2].to_vec()
    };
    let config = config(&options("", ""));
    let start = Ranker::untrained(&config, &market::shape(), Seed(1), DeviceSpec::Cpu).unwrap();
    let start = floats(&arrays(&start)["embeddings.0.weight"].1)[..2].to_vec();
    assert_eq!(row(""), start);
    assert_ne!(row("mask_ids = 0.2"), start);
}

#[test]
fn an_optimizer_kept_goes_on_where_it_stood() {
    let text = options("epochs = 2", "optimizer = \"kept\"");
    let first = trained(&text, None, 1);
    let state = first.optimizer.as_ref().unwrap();
    let kept = Beginning {
        optimizer: Some(state),
        ..(&first.ranker).into()
    };
    let second = trained(&text, Some(kept), 1);
    // Two and two epochs are four, but for the dropout of the later ones.
    let still = |train: &str| options(train, "optimizer = \"kept\"").replace("0.1", "0.0");
    let whole = trained(&still("epochs = 4"), None, 1);
    let half = trained(&still("epochs = 2"), None, 1);
    let kept = Beginning {
        optimizer: half.optimizer.as_ref(),
        ..(&half.ranker).into()
    };
    let halves = trained(&still("epochs = 2"), Some(kept), 1);
    assert_eq!(arrays(&halves.ranker), arrays(&whole.ranker));
    assert_eq!(halves.optimizer, whole.optimizer);
    let fresh = trained(&text, Some((&first.ranker).into()), 1);
    assert_ne!(arrays(&fresh.ranker), arrays(&second.ranker));
    assert!(
        trained(&options("epochs = 1", ""), None, 1)
            .optimizer
            .is_none()
    );
    let lion = options("epochs = 1\noptimizer = \"lion\"", "");
    let refused = run(&lion, Some(kept), 1, None, &mut market());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("`lion`, expected the `adamw`")
    );
}

#[test]
fn new_ids_begin_as_those_that_they_are_like() {
    let old = old();
    let more = FeatureShape {
        categorical: vec![8],
        ..market::shape()
    };
    let like = NewRows {
        categorical: vec![BTreeMap::from([(5, vec![2, 4]), (6, vec![])])],
        ..NewRows::default()
    };
    let config = config(&options("", ""));
    let rows = |ranker: &Ranker| floats(&arrays(ranker)["embeddings.0.weight"].1);
    let new = rows(&old.updated_like(&config, &more, &like).unwrap());
    let mean = rows(&old.updated(&config, &more).unwrap());
    let width = new.len() / 8;
    let row = |of: &[f32], id: usize| of[id * width..(id + 1) * width].to_vec();
    let pairs = row(&mean, 2).into_iter().zip(row(&mean, 4));
    let expected: Vec<f32> = pairs
        .map(|(a, b)| f64::midpoint(a.into(), b.into()) as f32)
        .collect();
    assert_eq!(row(&new, 5), expected);
    assert_ne!(row(&new, 5), row(&mean, 5));
    assert_eq!(new[6 * width..], mean[6 * width..], "ids like none");
    assert_eq!(new[..5 * width], mean[..5 * width], "known ids");
}

/// A day for each batch of the market; the ranker's hits on it before it is learned.
struct Days(market::Fixed);

impl Batches for Days {
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let day = self.0.0[epoch as usize - 1].clone();
        Box::new(std::iter::once(day).skip(skip))
    }

    fn lists_per_epoch(&self) -> usize {
        48
    }

    fn epochs(&self) -> Option<u32> {
        Some(self.0.0.len() as u32)
    }

    fn ahead(&mut self, epoch: u32, ranker: &Ranker) -> Result<Option<Ahead>, BoxError> {
        Ok(Some(Ahead {
            day: format!("day {epoch}"),
            lists: 48,
            metric: "hits".to_owned(),
            value: Some(market::hits(ranker, &self.0.0[epoch as usize - 1])),
        }))
    }
}

#[test]
fn days_are_judged_before_they_are_learned_and_all_are_learned() {
    let text =
        options("epochs = 2\nlearning_rate = 0.05", "").replacen("learning_rate = 1e-2", "", 1);
    let (config, shape) = (
        config(&text.replace("patience = 0", "patience = 1")),
        market::shape(),
    );
    let mut after = Vec::new();
    let mut told = Vec::new();
    let trained = train(
        &config,
        &shape,
        Seed(1),
        DeviceSpec::Cpu,
        &mut Days(market()),
        &mut |ranker| {
            after.push(ranker.clone());
            let mut found = validation(ranker);
            found.metric = 1.0;
            Ok(found)
        },
        &mut |event| match event {
            TrainEvent::Ahead { epoch, found } => told.push((*epoch, found.clone())),
            TrainEvent::Epoch { epoch, .. } => assert_eq!(told.len(), *epoch as usize),
            _ => {}
        },
    );
    let trained = trained.unwrap();
    assert_eq!(
        (trained.epochs, trained.steps, trained.best_epoch),
        (6, 6, 1)
    );
    let start = Ranker::untrained(&config, &shape, Seed(1), DeviceSpec::Cpu).unwrap();
    let before = std::iter::once(&start).chain(&after);
    for ((ranker, (epoch, found)), batch) in before.zip(&told).zip(&market().0) {
        assert_eq!(
            found.value,
            Some(market::hits(ranker, batch)),
            "day {epoch}"
        );
        assert_eq!(found.day, format!("day {epoch}"));
    }
    assert_eq!(told.len(), 6);
}
