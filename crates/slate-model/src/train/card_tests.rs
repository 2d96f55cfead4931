//! Training on a graphics device held to the processor.
//!
//! Any device will do, a driver in software as well: it is what an automatic test has.

use slate_types::{FeatureShape, HistoryShape, Seed};

use super::step::tests::{batch, pairs};
use super::*;
use crate::gradients::Gradients;
use crate::replicas::Replicas;
use crate::{NetworkKind, TrainOptions};

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
    let config = options(kind).check().expect("a sound config");
    let ranker = Ranker::untrained(&config, &shape(kind), Seed(3), device).expect("it is built");
    let trainer = Trainer::new(&config, Seed(3), ranker, None).expect("it begins");
    trainer
        .backward(&batch(), None, Seed(5))
        .expect("it computes")
        .1
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
