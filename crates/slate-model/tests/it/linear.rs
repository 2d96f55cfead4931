//! The network without hidden layers.

use slate_model::{DeviceSpec, Validation, train};
use slate_types::{FeatureShape, Seed};

use crate::market::{Fixed, batch, config};

#[test]
fn a_linear_network_under_cross_entropy_is_logistic_regression() {
    let text = r#"
        epochs = 600
        patience = 0
        learning_rate = 0.05
        weight_decay = 0.0
        batch_lists = 64
        schedule = "cosine"
        losses = [{ head = "purchase", loss = "bce" }]
        score_head = "purchase"
        [network]
        kind = "linear"
    "#;
    let mut batch = batch(9, &[6; 40]);
    batch.categorical.clear();
    batch.categorical_width = 0;
    let shape = FeatureShape {
        dense: 3,
        ..FeatureShape::default()
    };
    let mut data = Fixed(vec![batch.clone()]);
    let mut epoch = 0.0;
    let trained = train(
        &config(text),
        &shape,
        Seed(2),
        DeviceSpec::Cpu,
        &mut data,
        &mut |_| {
            epoch += 1.0;
            Ok(Validation {
                metric: epoch,
                name: "epoch".to_owned(),
            })
        },
        &mut |_| (),
    )
    .unwrap();
    let scores = trained.ranker.score(&batch).unwrap().purchase;
    // The loss is convex, so its only minimum is where the residuals are orthogonal to each input
    // and to the constant.
    let mut slopes = [0.0; 4];
    for (place, score) in scores.iter().enumerate() {
        let residual = 1.0 / (1.0 + f64::from(-score).exp()) - f64::from(batch.purchase[place]);
        for (column, slope) in slopes.iter_mut().enumerate() {
            let input = batch.dense.get(3 * place + column).filter(|_| column < 3);
            *slope += residual * input.map_or(1.0, |input| f64::from(*input));
        }
    }
    for slope in slopes {
        assert!((slope / scores.len() as f64).abs() < 1e-5, "{slopes:?}");
    }
    assert_eq!(
        trained.ranker.parameters(),
        8,
        "three weights and a constant for each head"
    );
}
