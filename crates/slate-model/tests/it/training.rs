//! What training does, end to end.

use std::fs;

use slate_model::{
    BoxError, DeviceSpec, Head, ModelError, Ranker, StopReason, TrainEvent, Trained, Validation,
    train,
};
use slate_types::{Batch, FeatureShape, Hint, HistoryShape, ListHistory, Seed, SlotIds};
use tempfile::TempDir;

use crate::market::{Fixed, batch, config, hits, market, shape, validation};

fn run(
    text: &str,
    seed: u64,
    data: &mut Fixed,
    validate: &mut dyn FnMut(&Ranker) -> Validation,
) -> (Result<Trained, ModelError>, Vec<TrainEvent>) {
    let mut events = Vec::new();
    let mut validate = |ranker: &Ranker| Ok::<_, BoxError>(validate(ranker));
    let trained = train(
        &config(text),
        &shape(),
        Seed(seed),
        DeviceSpec::Auto,
        data,
        &mut validate,
        &mut |event| events.push(event.clone()),
    );
    (trained, events)
}

fn step_losses(events: &[TrainEvent]) -> Vec<f64> {
    let loss = |event: &TrainEvent| match event {
        TrainEvent::Step { loss, .. } => Some(*loss),
        _ => None,
    };
    events.iter().filter_map(loss).collect()
}

/// `model.safetensors` after training on batches that are large enough to be cut for workers.
fn bytes(text: &str, seed: u64) -> Vec<u8> {
    let lengths: Vec<usize> = (0..160).map(|list| 1 + list * 5 % 8).collect();
    let mut data = Fixed((0..3).map(|seed| batch(seed, &lengths)).collect());
    let trained = run(text, seed, &mut data, &mut validation).0.unwrap();
    let dir = TempDir::new().unwrap();
    trained.ranker.save(dir.path()).unwrap();
    fs::read(dir.path().join("model.safetensors")).unwrap()
}

const SMALL: &str = "
    epochs = 2
    losses = [{ head = \"purchase\", loss = \"softmax\" }, { head = \"click\", loss = \"bce\" }]
    [network]
    hidden = 16
    layers = 1
    dropout = 0.2
";

/// `[network]` with batch normalisation.
const BATCH_NORM: &str = "[network]\ninput_norm = \"batch\"";

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let first = bytes(SMALL, 1);
    assert!(first == bytes(SMALL, 1), "the same seed gave other weights");
    assert!(
        first != bytes(SMALL, 2),
        "another seed gave the same weights"
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let on = |text: &str, threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| bytes(text, 1))
    };
    for text in [SMALL.to_owned(), SMALL.replace("[network]", BATCH_NORM)] {
        assert!(
            on(&text, 1) == on(&text, 3),
            "3 threads gave other weights than 1"
        );
    }
}

#[test]
fn one_batch_is_learned_by_heart() {
    let text = |network: &str| {
        format!(
            "
            epochs = 150
            learning_rate = 0.02
            patience = 0
            weight_decay = 0.0
            losses = [
                {{ head = \"purchase\", loss = \"softmax\" }},
                {{ head = \"click\", loss = \"bce\" }},
            ]
            [network]
            hidden = 24
            dropout = 0.0
            {network}
            "
        )
    };
    let lists = batch(4, &[4, 6, 2, 5, 1, 6]);
    let gru = "kind = \"gru\"\nlayers = 1\nbidirectional = true";
    let standardised = "kind = \"mlp\"\ninput_norm = \"batch\"";
    for network in ["kind = \"mlp\"", standardised, "layers = 1", gru] {
        let mut data = Fixed(vec![lists.clone()]);
        let mut metric = |ranker: &Ranker| Validation {
            metric: hits(ranker, &lists),
            name: "hits".to_owned(),
        };
        let (trained, events) = run(&text(network), 1, &mut data, &mut metric);
        // The floor of both losses is 0.
        let losses = step_losses(&events);
        assert!(losses[0] > 1.0, "{network}: first loss {}", losses[0]);
        let last = losses[losses.len() - 1];
        assert!(last < 0.02, "{network}: last loss {last}");
        assert_eq!(trained.unwrap().best_metric, 1.0);
    }
}

#[test]
fn held_out_lists_are_ranked_better_than_by_chance() {
    let text = "
        epochs = 20
        learning_rate = 0.01
        [network]
        hidden = 16
        layers = 1
        dropout = 0.0
    ";
    let trained = run(text, 3, &mut market(), &mut validation).0.unwrap();
    // One of eight slots by chance.
    assert!(trained.best_metric > 0.6, "{}", trained.best_metric);
    assert_eq!(trained.best_metric, validation(&trained.ranker).metric);
}

#[test]
fn grades_train_the_purchase_head() {
    let text = "
        epochs = 12
        learning_rate = 0.01
        losses = [{ head = \"purchase\", loss = \"softmax\", label = \"grade\" }]
        [network]
        kind = \"mlp\"
        hidden = 16
    ";
    let mut data = market();
    for batch in &mut data.0 {
        batch.purchase.fill(0.0);
    }
    let trained = run(text, 3, &mut data, &mut validation).0.unwrap();
    assert_eq!(trained.ranker.score_head(), Head::Purchase);
    assert!(trained.best_metric > 0.4, "{}", trained.best_metric);
}

#[test]
fn early_stopping_gives_the_best_weights_and_not_the_last() {
    let text = "
        epochs = 9
        patience = 2
        [network]
        kind = \"mlp\"
        hidden = 8
    ";
    let lists = batch(9, &[5; 4]);
    let mut metrics = [0.1, 0.5, 0.5, 0.4, 0.9].into_iter();
    let mut seen = Vec::new();
    let mut validate = |ranker: &Ranker| {
        seen.push(ranker.score(&lists).unwrap().purchase);
        Validation {
            metric: metrics.next().unwrap(),
            name: "made up".to_owned(),
        }
    };
    let (trained, events) = run(text, 1, &mut market(), &mut validate);
    let trained = trained.unwrap();
    assert_eq!(
        (trained.best_epoch, trained.best_metric, trained.epochs),
        (2, 0.5, 4)
    );
    assert_eq!((trained.steps, trained.stopped), (24, StopReason::Patience));
    assert_eq!(
        events.last(),
        Some(&TrainEvent::Stopped {
            reason: StopReason::Patience
        })
    );
    let kept = trained.ranker.score(&lists).unwrap().purchase;
    assert_eq!(kept, seen[1]);
    assert_ne!(kept, seen[3]);
}

#[test]
fn a_wild_learning_rate_is_reported_as_divergence() {
    let text = "
        learning_rate = 1e30
        schedule = \"constant\"
        gradient_clip = 0.0
        [network]
        kind = \"mlp\"
        hidden = 8
    ";
    let error = run(text, 1, &mut market(), &mut validation).0.unwrap_err();
    assert!(matches!(error, ModelError::Diverged { .. }), "{error}");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("lower `train.learning_rate`")
    );
}

#[test]
fn data_without_lists_or_positives_are_refused() {
    let refused = |data: &mut Fixed| {
        run(SMALL, 1, data, &mut validation)
            .0
            .unwrap_err()
            .to_string()
    };
    let none = "the training data has no lists with slots, expected at least one in epoch 1";
    assert_eq!(refused(&mut Fixed(vec![])), none);
    let padding = Batch {
        dense_width: 3,
        categorical_width: 1,
        ..batch(1, &[0, 0])
    };
    assert_eq!(refused(&mut Fixed(vec![padding])), none);
    let mut data = market();
    for batch in &mut data.0 {
        batch.click.fill(0.0);
    }
    assert_eq!(
        refused(&mut data),
        "no training list has a positive `click` label, so the bce loss of head `click` has \
         nothing to learn"
    );
    data.0[3].dense[31] = f32::INFINITY;
    assert_eq!(
        refused(&mut data),
        "`dense` of list 1, slot 2, column 1 of a batch is inf, expected a finite number"
    );
}

#[test]
fn one_slot_lists_train_without_harm() {
    // The softmax of one slot is 1: its loss and gradient are zero.
    let text = "gradient_clip = 0.0\nepochs = 1\n[network]\nhidden = 8";
    let mut data = Fixed(vec![batch(1, &[1; 20])]);
    let (trained, events) = run(text, 1, &mut data, &mut validation);
    assert!(trained.is_ok());
    assert_eq!(step_losses(&events), [0.0]);
}

#[test]
fn failed_validation_and_nan_metrics_are_errors() {
    let mut data = market();
    let error = train(
        &config(SMALL),
        &shape(),
        Seed(1),
        DeviceSpec::Auto,
        &mut data,
        &mut |_| Err("no such metric".into()),
        &mut |_| (),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "validation after epoch 1 failed"
    );
    let mut nan = |_: &Ranker| Validation {
        metric: f64::NAN,
        name: "ndcg@10".to_owned(),
    };
    let error = run(SMALL, 1, &mut market(), &mut nan).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "validation metric `ndcg@10` after epoch 1 is NaN, expected a finite number"
    );
}

#[test]
fn steps_report_progress() {
    let (_, events) = run(SMALL, 1, &mut market(), &mut validation);
    let steps: Vec<(u64, Option<u64>, usize)> = events
        .iter()
        .filter_map(|event| match event {
            TrainEvent::Step {
                step,
                steps_total,
                lists,
                ..
            } => Some((*step, *steps_total, *lists)),
            _ => None,
        })
        .collect();
    // 288 lists in batches of 64 are announced as 5 steps; the market cuts them into 6.
    assert_eq!(steps[0], (1, Some(10), 48));
    assert_eq!(steps[11], (12, Some(12), 288));
}

#[test]
fn inputs_that_no_network_can_take_are_refused() {
    let build = |dense, categorical: &[u32]| {
        let shape = FeatureShape {
            dense,
            categorical: categorical.to_vec(),
            ..FeatureShape::default()
        };
        Ranker::untrained(&config(SMALL), &shape, Seed(1), DeviceSpec::Auto)
            .map(|ranker| ranker.parameters())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        build(0, &[]),
        Err(
            "the feature shape has no inputs, expected at least one dense or categorical input"
                .to_owned()
        )
    );
    assert_eq!(
        build(1, &[3, 0]),
        Err(
            "the feature shape has no ids for categorical input 1, expected at least the unknown \
             id 0"
                .to_owned()
        )
    );
    assert!(build(0, &[3]).is_ok());
}

#[test]
fn every_loss_learns_to_rank() {
    for (loss, label) in [
        ("ranknet", "purchase"),
        ("listmle", "purchase"),
        ("approx_ndcg", "purchase"),
        ("lambdaloss", "purchase"),
        ("neural_ndcg", "purchase"),
        ("regression_compatible", "purchase"),
        ("jrc", "purchase"),
        ("calibrated_softmax", "purchase"),
        ("ordinal", "grade"),
    ] {
        let text = format!(
            "epochs = 12
            learning_rate = 0.01
            score_head = \"{label}\"
            losses = [{{ head = \"{label}\", loss = \"{loss}\" }}]
            [network]
            kind = \"mlp\"
            hidden = 16"
        );
        let trained = run(&text, 3, &mut market(), &mut validation).0.unwrap();
        // One of eight slots by chance.
        assert!(trained.best_metric > 0.4, "{loss}: {}", trained.best_metric);
    }
}

#[test]
fn every_optimiser_and_schedule_learns() {
    for setting in [
        "optimizer = \"sgd\"\nmomentum = 0.9\nlearning_rate = 0.1\nschedule = \"one_cycle\"",
        "optimizer = \"adagrad\"\nlearning_rate = 0.05\nschedule = \"plateau\"",
        "optimizer = \"lion\"\nlearning_rate = 0.002\naccumulate = 2",
        "learning_rate = 0.01\nema = 0.9\ngrade_weights = { 4 = 2.0 }",
    ] {
        let text = format!("epochs = 12\n{setting}\n[network]\nkind = \"mlp\"\nhidden = 16");
        let trained = run(&text, 3, &mut market(), &mut validation).0.unwrap();
        assert!(
            trained.best_metric > 0.4,
            "{setting}: {}",
            trained.best_metric
        );
    }
}

#[test]
fn purchases_over_the_entire_space_are_below_clicks() {
    let text = "
        epochs = 8
        learning_rate = 0.01
        entire_space = true
        losses = [
            { head = \"click\", loss = \"bce\" },
            { head = \"purchase\", loss = \"bce\" },
        ]
        [network]
        kind = \"mlp\"
        hidden = 16
    ";
    let trained = run(text, 3, &mut market(), &mut validation).0.unwrap();
    let scores = trained.ranker.score(&batch(7, &[5; 40])).unwrap();
    let pairs = scores.click.iter().zip(&scores.purchase);
    assert!(pairs.clone().all(|(click, purchase)| purchase < click));
    let dir = TempDir::new().unwrap();
    trained.ranker.save(dir.path()).unwrap();
    let loaded = Ranker::load(dir.path(), DeviceSpec::Auto).unwrap();
    assert_eq!(loaded.score(&batch(7, &[5; 40])).unwrap(), scores);
}

/// Clicks that go to the first slots, whatever stands there, and to good items.
fn biased(seed: u64) -> Batch {
    let mut batch = batch(seed, &[6; 64]);
    for place in 0..batch.click.len() {
        let slot = batch.slot[place];
        let seen = Seed(seed).derive("seen").index(place as u64).unit() < 1.0 / f64::from(slot + 1);
        batch.click[place] *= f32::from(u8::from(seen));
    }
    batch
}

#[test]
fn a_position_tower_takes_the_bias_and_is_not_scored() {
    let text = "
        epochs = 15
        learning_rate = 0.02
        score_head = \"click\"
        losses = [{ head = \"click\", loss = \"bce\" }]
        position = { kind = \"tower\", slots = 8 }
        [network]
        kind = \"mlp\"
        hidden = 16
        dropout = 0.0
    ";
    let mut data = Fixed((0..8).map(biased).collect());
    let mut epoch = 0.0;
    // The last weights, whatever they rank.
    let mut last = |_: &Ranker| {
        epoch += 1.0;
        Validation {
            metric: epoch,
            name: "epoch".to_owned(),
        }
    };
    let trained = run(text, 3, &mut data, &mut last).0.unwrap();
    // The same item scores the same wherever it stands: slots are no input of scoring.
    let lists = biased(50);
    let mut elsewhere = lists.clone();
    elsewhere.slot.reverse();
    let scores = trained.ranker.score(&lists).unwrap();
    assert_eq!(scores, trained.ranker.score(&elsewhere).unwrap());
    // What stands first is clicked six times as often as what stands last; the tower knows.
    let dir = TempDir::new().unwrap();
    trained.ranker.save(dir.path()).unwrap();
    let bytes = fs::read(dir.path().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tower = tensors.tensor("position.weight").unwrap();
    let number = |row: usize| {
        let at = row * tower.shape()[1] * 4;
        f32::from_le_bytes(tower.data()[at..at + 4].try_into().unwrap())
    };
    assert!(number(0) - number(5) > 0.8, "{} {}", number(0), number(5));
}

#[test]
fn histories_and_several_ids_reach_the_score() {
    let shape = FeatureShape {
        dense: 1,
        multi_valued: vec![4],
        history: Some(HistoryShape { items: 3, kinds: 2 }),
        ..FeatureShape::default()
    };
    // A list buys the slot that has the id of its person's last item.
    let lists = |seed: u64| {
        let draw = |purpose: &str, at: usize, below: f64| {
            (Seed(seed).derive(purpose).index(at as u64).unit() * below) as u32
        };
        let n = 64;
        let mut history = ListHistory {
            offsets: vec![0],
            ..ListHistory::default()
        };
        let mut several = SlotIds {
            offsets: vec![0],
            values: vec![],
        };
        let mut purchase = vec![0.0; 2 * n];
        for list in 0..n {
            let last = 1 + draw("last", list, 2.0);
            for event in 0..draw("events", list, 3.0) {
                history
                    .item
                    .push(1 + draw("older", 8 * list + event as usize, 2.0));
                history.age.push(5.0);
            }
            history.item.push(last);
            history.age.push(0.1);
            history.kind.resize(history.item.len(), 0);
            history.offsets.push(history.item.len() as u32);
            let first = 1 + draw("first", list, 2.0);
            for (slot, id) in [first, 3 - first].into_iter().enumerate() {
                several.values.extend([id, 3]);
                several.offsets.push(several.values.len() as u32);
                purchase[2 * list + slot] = f32::from(u8::from(id == last));
            }
        }
        Batch {
            lists: n,
            slots: 2,
            dense_width: 1,
            dense: vec![0.0; 2 * n],
            mask: vec![true; 2 * n],
            click: purchase.clone(),
            grade: purchase.clone(),
            purchase,
            weight: vec![1.0; 2 * n],
            slot: vec![0; 2 * n],
            multi_valued: vec![several],
            history: Some(history),
            ..Batch::default()
        }
    };
    for encoder in ["gru", "transformer"] {
        let text = format!(
            "epochs = 40
            patience = 0
            learning_rate = 0.02
            [network]
            kind = \"mlp\"
            hidden = 16
            dropout = 0.0
            history = {{ encoder = \"{encoder}\", hidden = 8 }}"
        );
        let held_out = lists(99);
        let trained = train(
            &config(&text),
            &shape,
            Seed(1),
            DeviceSpec::Auto,
            &mut Fixed((0..6).map(lists).collect()),
            &mut |ranker| {
                Ok(Validation {
                    metric: hits(ranker, &held_out),
                    name: "hits".to_owned(),
                })
            },
            &mut |_| (),
        )
        .unwrap();
        assert!(
            trained.best_metric > 0.95,
            "{encoder}: {}",
            trained.best_metric
        );
    }
}
