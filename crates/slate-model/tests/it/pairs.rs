//! A market of pairs whose truth is known: the candidate most like the seed is bought.

use slate_model::{Batches, DeviceSpec, Ranker, train};
use slate_types::{Batch, FeatureShape, InputPlaces, PairInputs, Seed};

use super::market::{config, hits, validation_of};

pub(crate) const SLOTS: usize = 6;
pub(crate) const TITLE: usize = 5;
pub(crate) const PICTURE: usize = 4;
const ROW: usize = 2 * (TITLE + PICTURE);
/// Items of the market; every third has no title, every seventh no picture.
pub(crate) const ITEMS: u64 = 400;

/// What an item is: a point in four dimensions.
pub(crate) fn taste(item: u64) -> [f64; 4] {
    std::array::from_fn(|at| 2.0 * Seed(5).derive("taste").index(item * 4 + at as u64).unit() - 1.0)
}

/// What a title or a picture says of two of the four dimensions, through a mixing of its own.
fn content(item: u64, kind: &str, width: usize, [one, other]: [usize; 2]) -> Vec<f32> {
    let taste = taste(item);
    let mix = |at: usize, side: usize| {
        2.0 * Seed(9).derive(kind).index((at * 2 + side) as u64).unit() - 1.0
    };
    (0..width)
        .map(|at| (mix(at, 0) * taste[one] + mix(at, 1) * taste[other]) as f32)
        .collect()
}

pub(crate) fn vectors(item: u64) -> Vec<f32> {
    let mut vectors = content(item, "title", TITLE, [0, 1]);
    if item.is_multiple_of(3) {
        vectors.fill(0.0);
    }
    let mut picture = content(item, "picture", PICTURE, [2, 3]);
    if item.is_multiple_of(7) {
        picture.fill(0.0);
    }
    vectors.extend(picture);
    vectors
}

/// The taste with what neither title nor picture says set to zero.
pub(crate) fn told(item: u64) -> [f64; 4] {
    let mut taste = taste(item);
    if item.is_multiple_of(3) {
        taste[..2].fill(0.0);
    }
    if item.is_multiple_of(7) {
        taste[2..].fill(0.0);
    }
    taste
}

fn cosine(a: [f64; 4], b: [f64; 4]) -> f64 {
    let dot = |a: &[f64; 4], b: &[f64; 4]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt().max(1e-9)
}

fn batch(seed: u64, lists: usize) -> Batch {
    let places = lists * SLOTS;
    let draw = |purpose: &str, at: usize| {
        (Seed(seed).derive(purpose).index(at as u64).unit() * ITEMS as f64) as u64
    };
    let mut batch = Batch {
        lists,
        slots: SLOTS,
        dense_width: ROW,
        mask: vec![true; places],
        click: vec![0.0; places],
        purchase: vec![0.0; places],
        grade: vec![0.0; places],
        weight: vec![1.0; places],
        slot: (0..places as u32)
            .map(|place| place % SLOTS as u32)
            .collect(),
        item_share: vec![1.0 / ITEMS as f32; places],
        ..Batch::default()
    };
    for list in 0..lists {
        let of_page = draw("seed", list);
        let items: Vec<u64> = (0..SLOTS)
            .map(|slot| draw("slot", list * SLOTS + slot))
            .collect();
        let like = |slot: &usize| cosine(taste(of_page), taste(items[*slot]));
        let best = (0..SLOTS).max_by(|a, b| like(a).total_cmp(&like(b)));
        batch.purchase[list * SLOTS + best.unwrap()] = 1.0;
        batch.list_numbers.push(of_page as u32);
        for &item in &items {
            batch.dense.extend(vectors(of_page));
            batch.dense.extend(vectors(item));
            batch.item.push(item as i64);
        }
    }
    batch
}

fn shape() -> FeatureShape {
    let side = |start: usize| InputPlaces {
        vectors: vec![start..start + TITLE, start + TITLE..start + TITLE + PICTURE],
        ..InputPlaces::default()
    };
    FeatureShape {
        dense: ROW,
        pair: Some(PairInputs {
            seed: side(0),
            candidate: side(TITLE + PICTURE),
            context: InputPlaces::default(),
            visitor: vec![],
        }),
        ..FeatureShape::default()
    }
}

struct Market;

impl Batches for Market {
    fn epoch(&mut self, epoch: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new((skip..20).map(move |at| batch(1000 * u64::from(epoch) + at as u64, 64)))
    }

    fn lists_per_epoch(&self) -> usize {
        20 * 64
    }
}

fn trained(extra: &str) -> Ranker {
    let settings = format!("epochs = 30\n{extra}");
    towers_of(&mut Market, &shape(), &batch(99_999, 400), &settings, "")
}

/// Towers over titles and pictures, trained with these settings and these of the towers.
pub(crate) fn towers_of(
    batches: &mut dyn Batches,
    shape: &FeatureShape,
    held_out: &Batch,
    settings: &str,
    towers: &str,
) -> Ranker {
    let config = config(&format!(
        r#"
        learning_rate = 5e-3
        {settings}
        [network]
        kind = "similar"
        hidden = 16
        layers = 1
        dropout = 0.0
        [network.towers]
        seed = ["title", "picture"]
        candidate = ["title", "picture"]
        width = 8
        {towers}
        "#
    ));
    let trained = train(
        &config,
        shape,
        Seed(2),
        DeviceSpec::Cpu,
        batches,
        &mut |ranker| Ok(validation_of(ranker, held_out)),
        &mut |_| (),
    );
    trained.unwrap().ranker
}

/// Without some of the vectors of all items.
fn without(mut batch: Batch, range: std::ops::Range<usize>) -> Batch {
    for side in batch.dense.chunks_exact_mut(TITLE + PICTURE) {
        side[range.clone()].fill(0.0);
    }
    batch
}

/// Share of lists whose bought item has the largest cosine of what titles and pictures tell: what a
/// ranker can hope for.
fn best_hits(batch: &Batch) -> f64 {
    let hit = |list: &usize| {
        let like = |place: &usize| {
            let item = batch.item[*place] as u64;
            cosine(told(batch.list_numbers[*list].into()), told(item))
        };
        let row = list * SLOTS..(list + 1) * SLOTS;
        let best = row.max_by(|a, b| like(a).total_cmp(&like(b))).unwrap();
        batch.purchase[best] > 0.0
    };
    (0..batch.lists).filter(hit).count() as f64 / batch.lists as f64
}

/// Share of lists whose bought item is among the forty of all items with the largest product.
fn recall(ranker: &Ranker, batch: &Batch) -> f64 {
    let mut all = self::batch(0, ITEMS as usize);
    for (list, row) in all.dense.chunks_exact_mut(ROW * SLOTS).enumerate() {
        for slot in row.chunks_exact_mut(ROW) {
            slot[..TITLE + PICTURE].copy_from_slice(&vectors(0));
            slot[TITLE + PICTURE..].copy_from_slice(&vectors(list as u64));
        }
    }
    // The vector of a list's first slot is that of the item with the list's number.
    let table = ranker.vectors(&all).unwrap().unwrap();
    let of_item = |item: usize| &table.candidate[item * SLOTS * table.width..][..table.width];
    let queries = ranker.vectors(batch).unwrap().unwrap();
    let found = (0..batch.lists).filter(|&list| {
        let seed = &queries.seed[list * queries.width..(list + 1) * queries.width];
        let score =
            |item: usize| -> f32 { of_item(item).iter().zip(seed).map(|(a, b)| a * b).sum() };
        let row = list * SLOTS..(list + 1) * SLOTS;
        let bought = row
            .clone()
            .find(|&place| batch.purchase[place] > 0.0)
            .unwrap();
        let bought = score(batch.item[bought] as usize);
        (0..ITEMS as usize)
            .filter(|&item| score(item) > bought)
            .count()
            < 40
    });
    found.count() as f64 / batch.lists as f64
}

/// The same by the cosines of what titles and pictures tell.
fn best_recall(batch: &Batch) -> f64 {
    let found = (0..batch.lists).filter(|&list| {
        let seed = told(batch.list_numbers[list].into());
        let mut row = list * SLOTS..(list + 1) * SLOTS;
        let bought = row.find(|&place| batch.purchase[place] > 0.0).unwrap();
        let bought = cosine(seed, told(batch.item[bought] as u64));
        let nearer = (0..ITEMS).filter(|&item| cosine(seed, told(item)) > bought);
        nearer.count() < 40
    });
    found.count() as f64 / batch.lists as f64
}

#[test]
fn towers_find_what_is_like_the_seed_and_cope_with_what_is_missing() {
    let ranker = trained("");
    let held_out = batch(77_777, 600);
    let chance = 1.0 / SLOTS as f64;
    let both = hits(&ranker, &held_out);
    let pictures = hits(&ranker, &without(held_out.clone(), 0..TITLE));
    let titles = hits(&ranker, &without(held_out.clone(), TITLE..TITLE + PICTURE));
    let best = best_hits(&held_out);
    // 600 lists have a standard error of .02.
    assert!(both > 0.85 * best && both < best + 0.04, "{both} of {best}");
    for one in [pictures, titles] {
        assert!(one > chance + 0.06 && one < both - 0.04, "{one} of {both}");
    }

    let vectors = ranker.vectors(&held_out).unwrap().unwrap();
    assert_eq!(vectors.width, 8);
    for vector in vectors
        .seed
        .chunks_exact(8)
        .chain(vectors.candidate.chunks_exact(8))
    {
        let square: f32 = vector.iter().map(|value| value * value).sum();
        assert!((square - 1.0).abs() < 1e-5, "{square}");
    }

    let folder = tempfile::tempdir().unwrap();
    ranker.save(folder.path()).unwrap();
    let loaded = Ranker::load(folder.path(), DeviceSpec::Cpu).unwrap();
    assert_eq!(loaded.vectors(&held_out).unwrap().unwrap(), vectors);
    assert_eq!(
        loaded.score(&held_out).unwrap(),
        ranker.score(&held_out).unwrap()
    );
}

#[test]
fn towers_retrieve_nearly_as_well_as_the_truth_allows() {
    let held_out = batch(55_555, 400);
    let alone = recall(&trained(""), &held_out);
    let beside = recall(
        &trained("in_batch = { weight = 1.0, temperature = 0.1 }"),
        &held_out,
    );
    let best = best_recall(&held_out);
    // The 40 nearest of 400 items by chance: a tenth.
    assert!(
        beside > alone && beside > 0.85 * best,
        "{beside} and {alone} without, {best} at best"
    );
}

#[test]
fn the_same_seed_gives_the_same_towers() {
    let weights = |ranker: &Ranker| {
        let folder = tempfile::tempdir().unwrap();
        ranker.save(folder.path()).unwrap();
        std::fs::read(folder.path().join("model.safetensors")).unwrap()
    };
    let extra = "in_batch = { weight = 1.0 }";
    assert!(weights(&trained(extra)) == weights(&trained(extra)));
}
