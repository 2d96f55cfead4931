//! A small market for tests: two dense inputs and a category decide what is bought.

use slate_model::{Batches, Ranker, TrainConfig, TrainOptions, Validation};
use slate_types::{Batch, FeatureShape, Seed};

pub(crate) fn shape() -> FeatureShape {
    FeatureShape {
        dense: 3,
        categorical: vec![5],
        ..FeatureShape::default()
    }
}

/// Lists of the given lengths, padded to the longest. Each list has one purchase, of the slot with
/// the largest utility; a slot is clicked where its utility is positive.
pub(crate) fn batch(seed: u64, lengths: &[usize]) -> Batch {
    let slots = lengths.iter().copied().max().unwrap_or(0);
    let places = lengths.len() * slots;
    let mut batch = Batch {
        lists: lengths.len(),
        slots,
        dense_width: 3,
        categorical_width: 1,
        dense: vec![0.0; places * 3],
        categorical: vec![0; places],
        mask: vec![false; places],
        click: vec![0.0; places],
        purchase: vec![0.0; places],
        grade: vec![0.0; places],
        weight: vec![0.0; places],
        slot: vec![0; places],
        ..Batch::default()
    };
    for (list, &length) in lengths.iter().enumerate() {
        let mut best = (f64::NEG_INFINITY, 0);
        for slot in 0..length {
            let place = list * slots + slot;
            let draw =
                |purpose: &str| 2.0 * Seed(seed).derive(purpose).index(place as u64).unit() - 1.0;
            let (a, b, c) = (draw("a"), draw("b"), draw("c"));
            let category = (2.5 * (draw("category") + 1.0)) as u32;
            batch.mask[place] = true;
            batch.dense[3 * place..3 * place + 3].copy_from_slice(&[a as f32, b as f32, c as f32]);
            batch.categorical[place] = category;
            batch.weight[place] = 1.0;
            batch.slot[place] = slot as u32;
            let utility = a - b * b + [0.0, 0.5, -0.5, 1.0, -1.0][category as usize];
            batch.click[place] = f32::from(u8::from(utility > 0.0));
            batch.grade[place] = batch.click[place];
            if utility > best.0 {
                best = (utility, place);
            }
        }
        if length > 0 {
            batch.purchase[best.1] = 1.0;
            batch.grade[best.1] = 4.0;
        }
    }
    batch
}

/// The same batches every epoch.
pub(crate) struct Fixed(pub(crate) Vec<Batch>);

impl Batches for Fixed {
    fn epoch(&mut self, _epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(self.0.iter().skip(skip).cloned())
    }

    fn lists_per_epoch(&self) -> usize {
        self.0.iter().map(|batch| batch.lists).sum()
    }
}

/// Six batches of lists of 1 to 8 slots.
pub(crate) fn market() -> Fixed {
    let lengths: Vec<usize> = (0..48).map(|list| 1 + list * 5 % 8).collect();
    Fixed((0..6).map(|seed| batch(seed, &lengths)).collect())
}

pub(crate) fn config(text: &str) -> TrainConfig {
    toml::from_str::<TrainOptions>(text)
        .unwrap()
        .check()
        .unwrap()
}

/// Share of lists whose purchase has the largest score.
pub(crate) fn hits(ranker: &Ranker, batch: &Batch) -> f64 {
    let scores = ranker.score(batch).unwrap();
    let scores = scores.of(ranker.score_head());
    let hit = |list: &usize| {
        let row = list * batch.slots..(list + 1) * batch.slots;
        let best = row
            .filter(|&place| batch.mask[place])
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        best.is_some_and(|place| batch.purchase[place] > 0.0)
    };
    (0..batch.lists).filter(hit).count() as f64 / batch.lists as f64
}

/// Validation on held-out lists.
pub(crate) fn validation(ranker: &Ranker) -> Validation {
    validation_of(ranker, &batch(99, &[8; 64]))
}

/// Validation on these lists.
pub(crate) fn validation_of(ranker: &Ranker, lists: &Batch) -> Validation {
    Validation {
        metric: hits(ranker, lists),
        name: "hits".to_owned(),
    }
}
