//! A ranker that goes on from another: what stays, what grows, what is refused.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use slate_model::{Batches, DeviceSpec, Ranker, Trained, Training, train};
use slate_types::{Batch, FeatureShape, HistoryShape, Seed};

use super::market::{self, config, validation};

const NETWORK: &str = r#"
    epochs = 3
    learning_rate = 1e-2
    [network]
    kind = "mlp"
    hidden = 8
    layers = 1
    dropout = 0.0
"#;

struct Lists(u64);

impl Batches for Lists {
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let seed = self.0 + u64::from(epoch) * 100;
        Box::new((skip as u64..6).map(move |at| market::batch(seed + at, &[6; 32])))
    }

    fn lists_per_epoch(&self) -> usize {
        6 * 32
    }
}

fn trained(text: &str) -> Ranker {
    let trained = train(
        &config(text),
        &market::shape(),
        Seed(1),
        DeviceSpec::Cpu,
        &mut Lists(1),
        &mut |ranker| Ok(validation(ranker)),
        &mut |_| (),
    );
    trained.unwrap().ranker
}

fn update(old: &Ranker, text: &str, shape: &FeatureShape) -> Result<Trained, String> {
    let config = config(text);
    let training = Training {
        config: &config,
        shape,
        seed: Seed(2),
        device: DeviceSpec::Cpu,
        replicas: None,
        checkpoints: None,
        update: Some(old.into()),
        resume: None,
        stop: None,
    };
    let trained = training.run(
        &mut Lists(7_000),
        &mut |ranker| Ok(validation(ranker)),
        &mut |_| (),
    );
    trained.map_err(|error| error.to_string())
}

/// The arrays of a ranker's file.
pub(crate) fn arrays(ranker: &Ranker) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    ranker.save(folder.path()).unwrap();
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let arrays = SafeTensors::deserialize(&bytes).unwrap();
    let arrays = arrays.tensors();
    arrays
        .into_iter()
        .map(|(name, array)| (name, (array.shape().to_vec(), array.data().to_vec())))
        .collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let four = bytes.chunks_exact(4);
    four.map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

#[test]
fn old_ids_keep_their_rows_and_new_ones_begin_as_the_mean() {
    let shape = FeatureShape {
        dense: 3,
        categorical: vec![5],
        multi_valued: vec![4],
        history: Some(HistoryShape { items: 6, kinds: 2 }),
        ..FeatureShape::default()
    };
    let config = config(NETWORK);
    let old = Ranker::untrained(&config, &shape, Seed(3), DeviceSpec::Cpu).unwrap();
    // By the rule 400 ids would have a wider table than 5.
    let more = FeatureShape {
        categorical: vec![400],
        history: Some(HistoryShape { items: 9, kinds: 2 }),
        ..shape.clone()
    };
    let new = old.updated(&config, &more).unwrap();
    let (before, after) = (arrays(&old), arrays(&new));
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let mut grown = Vec::new();
    for (name, (shape, bytes)) in &before {
        let (new_shape, new_bytes) = &after[name];
        assert!(new_bytes.starts_with(bytes), "{name} keeps its rows");
        if shape == new_shape {
            continue;
        }
        grown.push((name.as_str(), new_shape[0], new_shape[1] == shape[1]));
        let width = shape[1];
        let (known, rows) = (floats(bytes), floats(new_bytes));
        for at in 0..width {
            let own = known[width..]
                .chunks_exact(width)
                .map(|row| f64::from(row[at]));
            let mean = (own.sum::<f64>() / (shape[0] - 1) as f64) as f32;
            let new = rows[known.len()..].chunks_exact(width);
            assert!(new.map(|row| row[at]).all(|value| value == mean), "{name}");
        }
    }
    assert_eq!(
        grown,
        [
            ("embeddings.0.weight", 400, true),
            ("history.item.weight", 9, true)
        ]
    );

    // Read again, its tables are still as wide; grown once more, too.
    let folder = tempfile::tempdir().unwrap();
    new.save(folder.path()).unwrap();
    let loaded = Ranker::load(folder.path(), DeviceSpec::Cpu).unwrap();
    assert_eq!(arrays(&loaded), after);
    let again = FeatureShape {
        categorical: vec![401],
        ..more
    };
    let again = loaded.updated(&config, &again).unwrap();
    assert_eq!(arrays(&again)["embeddings.0.weight"].0[0], 401);
}

#[test]
fn an_update_begins_where_the_old_ranker_is_and_is_never_worse() {
    let old = trained(NETWORK);
    let own = validation(&old).metric;
    let same = old.updated(&config(NETWORK), &market::shape()).unwrap();
    let batch = market::batch(4, &[6; 8]);
    assert_eq!(same.score(&batch).unwrap(), old.score(&batch).unwrap());

    let better = update(&old, NETWORK, &market::shape()).unwrap();
    assert!(better.best_metric >= own, "{} {own}", better.best_metric);
    // Steps so long that nothing survives them.
    let wild = NETWORK.replace("1e-2", "30.0");
    let kept = update(&old, &wild, &market::shape()).unwrap();
    assert_eq!((kept.best_epoch, kept.best_metric), (0, own));
    assert_eq!(kept.metric_before, Some(own));
    assert_eq!(arrays(&kept.ranker), arrays(&old));
}

#[test]
fn another_network_or_other_inputs_are_refused() {
    let old = trained(NETWORK);
    let refused = |text: &str, shape: &FeatureShape| update(&old, text, shape).unwrap_err();
    let wider = refused(
        &NETWORK.replace("hidden = 8", "hidden = 9"),
        &market::shape(),
    );
    assert!(
        wider
            .contains("`train.network.hidden` 9, expected 8 as in the ranker that it goes on from"),
        "{wider}"
    );
    let fewer = FeatureShape {
        categorical: vec![4],
        ..market::shape()
    };
    let fewer = refused(NETWORK, &fewer);
    assert!(
        fewer.contains("[4] ids of categorical inputs, expected [5] or more"),
        "{fewer}"
    );
    let other = FeatureShape {
        dense: 4,
        ..market::shape()
    };
    assert!(refused(NETWORK, &other).contains("`dense inputs` 4, expected 3"));
    // Other dropout is no other network.
    let dropped = NETWORK.replace("dropout = 0.0", "dropout = 0.2");
    assert!(update(&old, &dropped, &market::shape()).is_ok());
    let heads =
        "losses = [{ head = \"click\", loss = \"jrc\" }]\nscore_head = \"click\"\n".to_owned();
    let heads = refused(&(heads + NETWORK), &market::shape());
    assert!(heads.contains("the heads and kinds of losses"), "{heads}");
}
