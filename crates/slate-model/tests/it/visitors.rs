//! A market of visitors whose truth is known: what is most to a visitor's taste is bought, and what they chose
//! before says what that is.

use std::ops::Range;

use slate_model::{DeviceSpec, Ranker};
use slate_types::{Batch, FeatureShape, InputPlaces, PairInputs, Seed, VisitorPlaces};

use super::market::{Fixed, hits};
use super::pairs::{ITEMS, PICTURE, SLOTS, TITLE, taste, towers_of, vectors};

const CONTENT: usize = TITLE + PICTURE;
/// A row has the vectors of the seed, of the candidate and of what the visitor chose.
const ROW: usize = 3 * CONTENT;
/// Items that a visitor chose before, each the best of four.
const CHOSEN: usize = 8;

fn dot(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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
        let likes: [f64; 4] = std::array::from_fn(|at| {
            2.0 * Seed(seed)
                .derive("visitor")
                .index((4 * list + at) as u64)
                .unit()
                - 1.0
        });
        let best_of = |purpose: &str, first: usize, count: usize| {
            let items = (first..first + count).map(|at| draw(purpose, at));
            items.max_by(|a, b| dot(&likes, &taste(*a)).total_cmp(&dot(&likes, &taste(*b))))
        };
        let mut past = vec![0.0; CONTENT];
        for nth in 0..CHOSEN {
            let item = best_of("past", (list * CHOSEN + nth) * 4, 4).unwrap();
            let numbers = past.iter_mut().zip(vectors(item));
            numbers.for_each(|(sum, number)| *sum += number / CHOSEN as f32);
        }
        let seed_item = draw("seed", list);
        let best = best_of("slot", list * SLOTS, SLOTS);
        for slot in 0..SLOTS {
            let item = draw("slot", list * SLOTS + slot);
            batch.dense.extend(vectors(seed_item));
            batch.dense.extend(vectors(item));
            batch.dense.extend(&past);
            batch.item.push(item as i64);
            batch.purchase[list * SLOTS + slot] = f32::from(Some(item) == best);
        }
    }
    batch
}

fn shape() -> FeatureShape {
    let title = |start: usize| start..start + TITLE;
    let picture = |start: usize| start + TITLE..start + CONTENT;
    let side = |start: usize| InputPlaces {
        vectors: vec![title(start), picture(start)],
        ..InputPlaces::default()
    };
    let visitor = |of: &dyn Fn(usize) -> Range<usize>| VisitorPlaces {
        visitor: of(2 * CONTENT),
        candidate: of(CONTENT),
    };
    FeatureShape {
        dense: ROW,
        pair: Some(PairInputs {
            seed: side(0),
            candidate: side(CONTENT),
            context: InputPlaces::default(),
            visitor: vec![visitor(&title), visitor(&picture)],
        }),
        ..FeatureShape::default()
    }
}

fn trained(extra: &str) -> Ranker {
    let settings = format!("epochs = 15\n{extra}");
    let mut batches = Fixed((0..40).map(|seed| batch(seed, 64)).collect());
    let towers = r#"visitor = ["history_title", "history_picture"]"#;
    let held_out = batch(99_999, 300);
    towers_of(&mut batches, &shape(), &held_out, &settings, towers)
}

/// Without these numbers of what visitors chose.
fn without(mut batch: Batch, range: Range<usize>) -> Batch {
    for row in batch.dense.chunks_exact_mut(ROW) {
        row[2 * CONTENT..][range.clone()].fill(0.0);
    }
    batch
}

#[test]
fn what_a_visitor_chose_says_what_they_will_choose() {
    let ranker = trained("");
    let held_out = batch(77_777, 600);
    let chance = 1.0 / SLOTS as f64;
    let both = hits(&ranker, &held_out);
    let pictures = hits(&ranker, &without(held_out.clone(), 0..TITLE));
    let titles = hits(&ranker, &without(held_out.clone(), TITLE..CONTENT));
    let nothing = hits(&ranker, &without(held_out.clone(), 0..CONTENT));
    // 600 lists have a standard error of .02.
    assert!(both > 2.5 * chance, "{both}");
    assert!(nothing < chance + 0.06, "{nothing}");
    for one in [pictures, titles] {
        assert!(one > nothing + 0.06 && one < both - 0.06, "{one} of {both}");
    }
    let folder = tempfile::tempdir().unwrap();
    ranker.save(folder.path()).unwrap();
    let loaded = Ranker::load(folder.path(), DeviceSpec::Cpu).unwrap();
    let scores = |ranker: &Ranker| ranker.score(&held_out).unwrap();
    assert_eq!(scores(&loaded), scores(&ranker));
    let mut torn = held_out.clone();
    torn.dense[ROW + 2 * CONTENT] += 1.0;
    let told = ranker.score(&torn).unwrap_err().to_string();
    assert!(told.contains("it describes the page's visitor"), "{told}");
}

#[test]
fn an_item_has_its_place_among_tastes_whoever_asks() {
    let ranker = trained("in_batch = { weight = 0.5, temperature = 0.2 }");
    let page = batch(5, 3);
    let vectors = ranker.vectors(&page).unwrap().unwrap();
    let width = vectors.taste_width;
    assert_eq!(width, 2 * vectors.width);
    let is_there = |vector: &[f32]| vector.iter().any(|number| *number != 0.0);
    assert!(vectors.taste.chunks_exact(width).any(is_there));
    let mut other = page.clone();
    for row in other.dense.chunks_exact_mut(ROW) {
        row[2 * CONTENT..]
            .iter_mut()
            .for_each(|number| *number += 0.5);
    }
    assert_eq!(
        ranker.vectors(&other).unwrap().unwrap().taste,
        vectors.taste
    );
    assert_ne!(ranker.score(&other).unwrap(), ranker.score(&page).unwrap());
}
