//! Running moments of dense inputs: what a training leaves for scoring.

use slate_model::{DeviceSpec, train};
use slate_types::{Batch, Seed};

use crate::market::{Fixed, batch, config, shape, validation};
use crate::update::{arrays, floats};

/// Large enough to be cut in pieces, and with padding.
fn large(seed: u64) -> Batch {
    let lengths: Vec<usize> = (0..160).map(|list| 1 + list * 5 % 8).collect();
    batch(seed, &lengths)
}

/// Mean and unbiased variance of an input over the real slots.
fn moments(of: &Batch, input: usize) -> [f64; 2] {
    let real = (0..of.mask.len()).filter(|&place| of.mask[place]);
    let values: Vec<f64> = real
        .map(|place| f64::from(of.dense[place * of.dense_width + input]))
        .collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    [mean, squares.sum::<f64>() / (count - 1.0)]
}

#[test]
fn running_moments_follow_the_real_slots_of_each_batch() {
    // One batch; two of two steps; two of one step, whose gradients are averaged, but not their moments.
    for (accumulate, batches) in [
        (1, vec![large(3)]),
        (1, vec![large(3), large(4)]),
        (2, vec![large(3), large(4)]),
    ] {
        let text = format!(
            "epochs = 1
            batch_lists = 160
            accumulate = {accumulate}
            [network]
            input_norm = \"batch\"
            hidden = 16
            layers = 1"
        );
        let trained = train(
            &config(&text),
            &shape(),
            Seed(1),
            DeviceSpec::Cpu,
            &mut Fixed(batches.clone()),
            &mut |ranker| Ok(validation(ranker)),
            &mut |_| (),
        );
        let arrays = arrays(&trained.unwrap().ranker);
        let found = ["mean", "variance"].map(|own| floats(&arrays[&format!("batch_norm.{own}")].1));
        for input in 0..shape().dense {
            let mut expected = [0.0, 1.0];
            for batch in &batches {
                for (running, own) in expected.iter_mut().zip(moments(batch, input)) {
                    *running = 0.9 * *running + 0.1 * own;
                }
            }
            for (found, expected) in found.iter().zip(expected) {
                let found = f64::from(found[input]);
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{accumulate}: {found} {expected}"
                );
            }
        }
    }
}
