//! Threads that share out a batch change nothing of what is learned.

use slate_model::{Batches, DeviceSpec, Ranker, TrainEvent, TrainOptions, Training, Validation};
use slate_types::{Batch, FeatureShape, Seed};

const LISTS: usize = 96;
const SLOTS: usize = 12;

fn batch(epoch: u32) -> Batch {
    let places = LISTS * SLOTS;
    let unit =
        |what: &str, at: usize| Seed(epoch.into()).derive(what).index(at as u64).unit() as f32;
    Batch {
        lists: LISTS,
        slots: SLOTS,
        dense_width: 3,
        dense: (0..3 * places).map(|at| unit("dense", at) - 0.5).collect(),
        mask: (0..places)
            .map(|at| at % SLOTS < 4 + at / SLOTS % 9)
            .collect(),
        click: (0..places)
            .map(|at| f32::from(unit("click", at) < 0.3))
            .collect(),
        purchase: (0..places)
            .map(|at| f32::from(unit("click", at) < 0.1))
            .collect(),
        grade: vec![0.0; places],
        weight: vec![1.0; places],
        slot: (0..places as u32).map(|at| at % SLOTS as u32).collect(),
        ..Batch::default()
    }
}

struct Epochs;

impl Batches for Epochs {
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(std::iter::once(batch(epoch)).skip(skip))
    }

    fn lists_per_epoch(&self) -> usize {
        LISTS
    }
}

fn trained(replicas: Option<u32>) -> (Vec<u64>, Vec<u32>) {
    let options: TrainOptions = toml::from_str(
        "epochs = 4\npatience = 0\n[network]\nkind = \"transformer\"\nhidden = 8\ndropout = 0.2",
    )
    .expect("options");
    let config = options.check().expect("a sound config");
    let shape = FeatureShape {
        dense: 3,
        ..FeatureShape::default()
    };
    let training = Training {
        config: &config,
        shape: &shape,
        seed: Seed(4),
        device: DeviceSpec::Cpu,
        replicas,
        checkpoints: None,
        update: None,
        resume: None,
        stop: None,
    };
    let mut losses = Vec::new();
    let trained = training.run(
        &mut Epochs,
        &mut |_: &Ranker| {
            Ok(Validation {
                metric: 0.5,
                name: "half".to_owned(),
            })
        },
        &mut |event| {
            if let TrainEvent::Step { loss, .. } = event {
                losses.push(loss.to_bits());
            }
        },
    );
    let ranker = trained.expect("it trains").ranker;
    let scores = ranker.score(&batch(9)).expect("it scores").purchase;
    (losses, scores.iter().map(|score| score.to_bits()).collect())
}

#[test]
fn any_number_of_replicas_learns_the_same_bits() {
    let expected = trained(None);
    assert_eq!(expected.0.len(), 4);
    for count in [1, 2, 5] {
        assert!(trained(Some(count)) == expected, "{count} replicas");
    }
}
