//! Training on a graphics device held to the processor.
//!
//! Any device will do, a driver in software as well: it is what an automatic test has.

use slate_types::{FeatureShape, HistoryShape, Seed};

use super::step::tests::{batch, pairs};
use super::*;
use crate::gradients::Gradients;
use crate::replicas::Replicas;
use crate::{NetworkKind, Precision, TrainOptions};

/// SGD, because `AdamW` makes whole steps of gradients that are zero but for rounding.
fn options(kind: NetworkKind) -> TrainOptions {
    let kind = kind.name();
    let activation = if kind == "gru" {
        ""
    } else {
        "activation = \"gelu\""
    };
    let text = format!(
        r#"
        learning_rate = 0.1
        optimizer = "sgd"
        epochs = 3
        patience = 0
        [network]
        kind = "{kind}"
        hidden = 8
        layers = 2
        dropout = 0.1
        input_norm = true
        {activation}
        history = {{ encoder = "gru", hidden = 4 }}
        "#
    );
    let towers = r#"
        [network.towers]
        seed = ["a vector, a number, an id"]
        candidate = ["the same of the other"]
        width = 4
        [in_batch]
        weight = 0.5
        "#;
    let towers = if kind == "similar" { towers } else { "" };
    toml::from_str(&(text + towers)).expect("a config of this crate")
}

fn batch_of(kind: NetworkKind) -> Batch {
    match kind {
        NetworkKind::Similar => pairs().0,
        _ => batch(),
    }
}

fn shape(kind: NetworkKind) -> FeatureShape {
    let batch = batch_of(kind);
    FeatureShape {
        dense: batch.dense_width,
        categorical: vec![3; batch.categorical_width],
        multi_valued: vec![4],
        history: Some(HistoryShape { items: 5, kinds: 2 }),
        pair: (kind == NetworkKind::Similar).then(|| pairs().1),
    }
}

struct Twice(NetworkKind);

impl Batches for Twice {
    fn epoch(&mut self, _: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new([batch_of(self.0), batch_of(self.0)].into_iter().skip(skip))
    }

    fn lists_per_epoch(&self) -> usize {
        8
    }
}

fn trained(kind: NetworkKind, device: DeviceSpec) -> (Vec<f64>, Ranker) {
    let mut losses = Vec::new();
    let mut rate = 0.0;
    let trained = train(
        &options(kind).check().expect("a sound config"),
        &shape(kind),
        Seed(3),
        device,
        &mut Twice(kind),
        &mut |_| {
            rate += 0.1;
            Ok(Validation {
                metric: rate,
                name: "epoch".to_owned(),
            })
        },
        &mut |event| {
            if let TrainEvent::Step { loss, .. } = event {
                losses.push(*loss);
            }
        },
    );
    (losses, trained.expect("it trains").ranker)
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-5 * (1.0 + expected.abs())
}

/// The device that the tests were told to use, or the first graphics device.
fn card() -> DeviceSpec {
    let name = std::env::var("SLATE_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".to_owned());
    name.parse().expect("SLATE_TEST_DEVICE names a device")
}

#[test]
fn losses_and_scores_are_those_of_the_processor() {
    for kind in [
        NetworkKind::Mlp,
        NetworkKind::Transformer,
        NetworkKind::Gru,
        NetworkKind::Similar,
    ] {
        let (losses, ranker) = trained(kind, card());
        let (expected, by_cpu) = trained(kind, DeviceSpec::Cpu);
        assert_eq!([losses.len(), expected.len()], [6, 6]);
        for (step, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            assert!(
                near(*found, *expected),
                "{kind:?}, step {step}: {found} {expected}"
            );
        }
        let batch = batch_of(kind);
        let scores = ranker.score(&batch).expect("it scores").purchase;
        let expected = by_cpu.score(&batch).expect("it scores").purchase;
        assert_eq!(scores.len(), expected.len());
        for ((found, expected), real) in scores.iter().zip(&expected).zip(&batch.mask) {
            let near = near((*found).into(), (*expected).into());
            assert!(near || !*real, "{kind:?}: {found} {expected}");
        }
    }
}

fn gradients(kind: NetworkKind, device: DeviceSpec) -> Gradients {
    pass(kind, device, Precision::Full, &batch_of(kind)).1
}

/// Loss and gradients of a batch.
fn pass(
    kind: NetworkKind,
    device: DeviceSpec,
    precision: Precision,
    batch: &Batch,
) -> (f64, Gradients) {
    let mut options = options(kind);
    options.precision = precision;
    let config = options.check().expect("a sound config");
    let ranker = Ranker::untrained(&config, &shape(kind), Seed(3), device).expect("it is built");
    let trainer = Trainer::new(&config, Seed(3), ranker, None).expect("it begins");
    trainer.backward(batch, None, Seed(5)).expect("it computes")
}

#[test]
fn mixed_precision_is_near_and_no_step_is_lost_by_it() {
    for kind in [
        NetworkKind::Transformer,
        NetworkKind::Gru,
        NetworkKind::Similar,
    ] {
        let batch = batch_of(kind);
        let run = |precision, batch: &Batch| pass(kind, card(), precision, batch);
        let (loss, exact) = run(Precision::Full, &batch);
        let (found_loss, found) = run(Precision::Mixed, &batch);
        // 16 bits have three digits.
        assert!(
            (found_loss - loss).abs() < 2e-3 * loss.abs(),
            "{kind:?}: {found_loss} {loss}"
        );
        let numbers = |of: &Gradients| -> Vec<f64> {
            let all = of.0.iter().flatten().flatten();
            all.map(|&number| number.into()).collect()
        };
        let (found, exact) = (numbers(&found), numbers(&exact));
        assert_eq!(found.len(), exact.len());
        let apart = found
            .iter()
            .zip(&exact)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>();
        let size = exact.iter().map(|b| b * b).sum::<f64>();
        let apart = (apart / size).sqrt();
        assert!(apart > 1e-6 && apart < 1e-2, "{kind:?}: {apart}");
        // As small as slopes get in a large batch: without a scale they would vanish.
        let mut light = batch.clone();
        light.weight.iter_mut().for_each(|weight| *weight *= 1e-9);
        let (_, small) = run(Precision::Mixed, &light);
        assert!(numbers(&small).iter().any(|number| *number != 0.0));
    }
    // Beyond what 16 bits hold: computed again in full precision.
    let mut wide = batch();
    wide.dense.iter_mut().for_each(|number| *number *= 1e9);
    let mut runs = [Precision::Full, Precision::Mixed].map(|precision| {
        let mut options = options(NetworkKind::Mlp);
        options.network.input_norm = None;
        options.precision = precision;
        let config = options.check().expect("a sound config");
        let shape = shape(NetworkKind::Mlp);
        let ranker = Ranker::untrained(&config, &shape, Seed(3), card()).expect("it is built");
        let trainer = Trainer::new(&config, Seed(3), ranker, None).expect("it begins");
        trainer.backward(&wide, None, Seed(5)).expect("it computes")
    });
    let [full, mixed] = &mut runs;
    assert!(full.0.is_finite() && full == mixed);
}

#[test]
fn a_training_in_mixed_precision_learns_as_in_full() {
    let run = |precision| {
        let mut options = options(NetworkKind::Transformer);
        options.precision = precision;
        let mut losses = Vec::new();
        train(
            &options.check().expect("a sound config"),
            &shape(NetworkKind::Transformer),
            Seed(3),
            card(),
            &mut Twice(NetworkKind::Transformer),
            &mut |_| {
                Ok(Validation {
                    metric: 1.0,
                    name: "none".to_owned(),
                })
            },
            &mut |event| {
                if let TrainEvent::Step { loss, .. } = event {
                    losses.push(*loss);
                }
            },
        )
        .expect("it trains");
        losses
    };
    let (full, mixed) = (run(Precision::Full), run(Precision::Mixed));
    assert_eq!([full.len(), mixed.len()], [6, 6]);
    assert!(full != mixed, "products are in 16 bits");
    for (full, mixed) in full.iter().zip(&mixed) {
        assert!((full - mixed).abs() < 5e-3 * full.abs(), "{full} {mixed}");
    }
}

/// So many copies of the batch behind one another.
fn many(times: usize) -> Batch {
    let one = batch();
    let mut all = one.clone();
    let chain = |offsets: &mut Vec<u32>, own: &[u32]| {
        let end = offsets.last().copied().unwrap_or(0);
        offsets.extend(own[1..].iter().map(|offset| offset + end));
    };
    for _ in 1..times {
        let next = one.clone();
        all.lists += next.lists;
        all.dense.extend(next.dense);
        all.categorical.extend(next.categorical);
        all.mask.extend(next.mask);
        all.click.extend(next.click);
        all.purchase.extend(next.purchase);
        all.grade.extend(next.grade);
        all.weight.extend(next.weight);
        all.slot.extend(next.slot);
        chain(
            &mut all.multi_valued[0].offsets,
            &next.multi_valued[0].offsets,
        );
        all.multi_valued[0]
            .values
            .extend(&next.multi_valued[0].values);
        let history = all.history.as_mut().expect("the batch has histories");
        let own = next.history.expect("the batch has histories");
        chain(&mut history.offsets, &own.offsets);
        history.item.extend(own.item);
        history.kind.extend(own.kind);
        history.age.extend(own.age);
    }
    all
}

#[test]
fn two_cards_share_out_what_one_computes() {
    let batch = many(40);
    for kind in [NetworkKind::Mlp, NetworkKind::Transformer, NetworkKind::Gru] {
        let mut config = options(kind);
        // Each piece draws its own.
        config.network.dropout = 0.0;
        let config = config.check().expect("a sound config");
        let one = Ranker::untrained(&config, &shape(kind), Seed(3), card()).expect("it is built");
        let two = Replicas::twice(card()).expect("it opens twice");
        assert_eq!(two.cut(&batch).len(), 2);
        let two = one.clone().with_devices(two);
        let scores = |ranker: &Ranker| ranker.score(&batch).expect("it scores").purchase;
        for (found, expected) in scores(&two).iter().zip(&scores(&one)) {
            let padding = found.is_nan() && expected.is_nan();
            assert!(padding || near((*found).into(), (*expected).into()));
        }
        assert!(scores(&one).iter().any(|score| score.is_finite()));
        let gradients = |ranker: Ranker| {
            let trainer = Trainer::new(&config, Seed(3), ranker, None).expect("it begins");
            trainer
                .backward(&batch, None, Seed(5))
                .expect("it computes")
        };
        let ((found_loss, found), (loss, expected)) = (gradients(two), gradients(one));
        assert!(near(found_loss, loss), "{kind:?}: {found_loss} {loss}");
        let lengths = |gradients: &Gradients| -> Vec<Option<usize>> {
            let of = |own: &Option<Vec<f32>>| own.as_ref().map(Vec::len);
            gradients.0.iter().map(of).collect()
        };
        assert_eq!(lengths(&found), lengths(&expected));
        for (found, expected) in found.0.iter().flatten().zip(expected.0.iter().flatten()) {
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    near((*found).into(), (*expected).into()),
                    "{kind:?}: {found} {expected}"
                );
            }
        }
    }
    let beyond = Ranker::untrained(
        &options(NetworkKind::Mlp).check().unwrap(),
        &shape(NetworkKind::Mlp),
        Seed(3),
        card(),
    )
    .and_then(|ranker| ranker.with_replicas(card(), 1000));
    let refused = beyond.unwrap_err().to_string();
    assert!(refused.contains("is not available"), "{refused}");
}

#[test]
fn gradients_are_those_of_the_processor() {
    for kind in [NetworkKind::Mlp, NetworkKind::Transformer, NetworkKind::Gru] {
        let found = gradients(kind, card());
        let expected = gradients(kind, DeviceSpec::Cpu);
        assert_eq!(found.0.len(), expected.0.len());
        for (found, expected) in found.0.iter().zip(&expected.0) {
            let lengths = [found, expected].map(|values| values.as_ref().map(Vec::len));
            assert_eq!(lengths[0], lengths[1]);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!(
                    near((*found).into(), (*expected).into()),
                    "{kind:?}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn a_card_that_is_full_says_what_to_lower() {
    let mut config = options(NetworkKind::Mlp);
    config.network.hidden = 4096;
    let config = config.check().expect("a sound config");
    let shape = FeatureShape {
        dense: 1,
        ..FeatureShape::default()
    };
    let ranker = Ranker::untrained(&config, &shape, Seed(3), card()).expect("it is built");
    // 128 GiB in each layer.
    let places = 1 << 23;
    let batch = Batch {
        lists: places / 4,
        slots: 4,
        dense_width: 1,
        dense: vec![0.5; places],
        mask: vec![true; places],
        ..Batch::default()
    };
    let error = ranker.score(&batch).unwrap_err();
    assert!(
        error.to_string().contains("could not compute a batch"),
        "{error}"
    );
    let hint = slate_types::Hint::hint(&error).unwrap_or_default();
    assert!(hint.contains("`train.batch_lists`"), "{error}; {hint}");
}
