//! What the vectors of a catalogue say, for people: some items with those nearest to them.
//!
//! `neighbours.json` has items spread over the catalogue, and those of a sample whose nearest are least near:
//! where a similarity ranker fails first; and the pages of a score file on which it did. Titles and pictures stand beside them, as the table of items has
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use slate_embed::{Measure, Side, nearest};

use super::failures::Failure;
use crate::artefacts::items::{ItemColumns, PictureSource, read_items};
use crate::artefacts::{manifest, write_file};
use crate::config::EmbedSection;

/// Name of the file.
pub(crate) const FILE: &str = "neighbours.json";
/// Items that are looked at, of these shown as they come and as the loneliest, and neighbours of each.
const SAMPLE: usize = 64;
const SHOWN: usize = 4;
const NEAREST: usize = 6;
/// Larger pictures are left out: the page of a report carries them all.
const LARGEST: usize = 64 << 10;

/// Vectors of items, row by row.
pub(super) struct Vectors<'a> {
    pub(super) ids: &'a [i64],
    pub(super) width: usize,
    /// `[ids, width]`
    pub(super) seed: &'a [f32],
    /// `[ids, width]`
    pub(super) candidate: &'a [f32],
}

/// An item and its neighbours, by row, with their cosines.
#[derive(Clone)]
struct Near {
    row: usize,
    found: Vec<(usize, f32)>,
}

/// What is shown of an item.
struct Face {
    title: String,
    picture: Option<String>,
}

/// Writes `neighbours.json` into `out`.
///
/// # Errors
/// Items that cannot be read.
pub(super) fn write(
    vectors: &Vectors<'_>,
    failures: &[Failure],
    items: &Path,
    section: &EmbedSection,
    out: &Path,
) -> Result<()> {
    let (shown, lonely) = choose(vectors);
    let rows = shown.iter().chain(&lonely);
    let mut wanted: BTreeSet<i64> = rows
        .flat_map(|near| near.found.iter().map(|found| found.0).chain([near.row]))
        .map(|row| vectors.ids[row])
        .collect();
    for failure in failures {
        wanted.extend(failure.seed);
        wanted.insert(failure.bought);
        wanted.extend(failure.first.iter().map(|(id, _)| *id));
    }
    let faces = faces(items, section, &wanted)?;
    let of_id = |id: i64| {
        let face = faces.get(&id);
        json!({
            "item_id": id,
            "title": face.map_or("", |face| face.title.as_str()),
            "picture": face.and_then(|face| face.picture.as_deref()),
        })
    };
    let item = |row: usize| of_id(vectors.ids[row]);
    let failed = |failure: &Failure| {
        let first = failure.first.iter().map(|&(id, score)| {
            let mut item = of_id(id);
            item["score"] = json!(score);
            item
        });
        json!({
            "list": failure.list, "seed": failure.seed.map(of_id), "bought": of_id(failure.bought),
            "rank": failure.rank, "length": failure.length, "first": first.collect::<Vec<Value>>(),
        })
    };
    let told = |near: &Near| {
        let mut told = item(near.row);
        let nearest = near.found.iter().map(|&(row, cosine)| {
            let mut found = item(row);
            found["cosine"] = json!(f64::from(cosine));
            found
        });
        told["nearest"] = nearest.collect();
        told
    };
    let text = serde_json::to_string_pretty(&json!({
        "format": manifest::FORMAT,
        "kind": "neighbours",
        "items": vectors.ids.len(),
        "looked_at": SAMPLE.min(vectors.ids.len()),
        "shown": shown.iter().map(told).collect::<Vec<Value>>(),
        "lonely": lonely.iter().map(told).collect::<Vec<Value>>(),
        "failures": failures.iter().map(failed).collect::<Vec<Value>>(),
    }))?;
    write_file(&out.join(FILE), (text + "\n").as_bytes(), false)
}

/// Some items of the catalogue, and those of a sample whose last neighbour is farthest.
fn choose(vectors: &Vectors<'_>) -> (Vec<Near>, Vec<Near>) {
    let count = vectors.ids.len();
    let sample = SAMPLE.min(count);
    let near: Vec<Near> = (0..sample)
        .map(|at| of_row(vectors, at * count / sample))
        .collect();
    let last = |near: &Near| near.found.last().map_or(f32::INFINITY, |found| found.1);
    let mut lonely: Vec<&Near> = near.iter().collect();
    lonely.sort_by(|a, b| last(a).total_cmp(&last(b)).then(a.row.cmp(&b.row)));
    let lonely = lonely.into_iter().take(SHOWN).cloned().collect();
    let step = sample.div_ceil(SHOWN).max(1);
    let shown = near.into_iter().step_by(step);
    (shown.collect(), lonely)
}

fn of_row(vectors: &Vectors<'_>, row: usize) -> Near {
    let side = Side {
        table: vectors.candidate,
        query: &vectors.seed[row * vectors.width..(row + 1) * vectors.width],
        measure: Measure::Unit,
    };
    let found = nearest(&[side], NEAREST + 1).into_iter();
    let others = found.filter(|found| found.row != row).take(NEAREST);
    Near {
        row,
        found: others.map(|found| (found.row, found.score)).collect(),
    }
}

/// Titles and pictures of these items, for as much as the table has of them.
fn faces(
    items: &Path,
    section: &EmbedSection,
    wanted: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, Face>> {
    let beside = if items.is_dir() {
        items
    } else {
        items.parent().unwrap_or(Path::new("."))
    };
    let titles = section.title.clone();
    let titles = titles.map_or_else(Vec::new, |own| own.columns);
    let image = section.image.clone().map(|own| own.column);
    // A table need not have them: then less is shown.
    let mut read = Err(anyhow::anyhow!("nothing was tried"));
    for (title, image) in [
        (titles.clone(), image.clone()),
        (titles, None),
        (Vec::new(), image),
        (Vec::new(), None),
    ] {
        let id = "item_id".to_owned();
        let mut faces = BTreeMap::new();
        read = read_items(items, &ItemColumns { id, title, image }, &mut |rows, _| {
            for item in rows {
                if wanted.contains(&item.id) {
                    let picture = item.image.and_then(|source| shown_as(source, beside));
                    let title = item.title;
                    faces.entry(item.id).or_insert(Face { title, picture });
                }
            }
            Ok(())
        })
        .map(|()| faces);
        if read.is_ok() {
            break;
        }
    }
    read.context("cannot read what the items look like")
}

/// A picture as a page carries it; none where it is not there, too large or of no kind that browsers show.
fn shown_as(source: PictureSource, beside: &Path) -> Option<String> {
    let bytes = match source {
        PictureSource::Bytes(bytes) => bytes,
        PictureSource::Path(path) => {
            let path = beside.join(path);
            let found = fs::metadata(&path).ok()?;
            let is_small = found.is_file() && found.len() <= LARGEST as u64;
            is_small.then(|| fs::read(path).ok()).flatten()?
        }
    };
    let kind = match &bytes[..] {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "webp",
        _ => return None,
    };
    let text = || format!("data:image/{kind};base64,{}", STANDARD.encode(&bytes));
    (bytes.len() <= LARGEST).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loneliest_are_those_whose_neighbours_are_far() {
        // Items on a quarter of a circle, the last ones far apart.
        let angles: Vec<f32> = (0..40)
            .map(|at| {
                if at < 30 {
                    at as f32 * 0.001
                } else {
                    0.5 + (at as f32 - 30.0) * 0.1
                }
            })
            .collect();
        let table: Vec<f32> = angles
            .iter()
            .flat_map(|angle| [angle.cos(), angle.sin()])
            .collect();
        let ids: Vec<i64> = (0..40).map(|at| 100 + at).collect();
        let vectors = Vectors {
            ids: &ids,
            width: 2,
            seed: &table,
            candidate: &table,
        };
        let (shown, lonely) = choose(&vectors);
        assert_eq!(
            shown.iter().map(|near| near.row).collect::<Vec<_>>(),
            [0, 10, 20, 30]
        );
        assert_eq!(shown[0].found.len(), NEAREST);
        assert_eq!(shown[0].found[0].0, 1);
        assert!(lonely.iter().all(|near| near.row >= 30), "the far ones");
        assert!(lonely[0].found[5].1 <= lonely[3].found[5].1);
    }

    #[test]
    fn only_pictures_that_a_page_can_show_are_taken() {
        let png = vec![0x89, b'P', b'N', b'G', 1];
        let shown = |bytes: Vec<u8>| shown_as(PictureSource::Bytes(bytes), Path::new("."));
        assert_eq!(
            shown(png.clone()).unwrap(),
            "data:image/png;base64,iVBORwE="
        );
        assert_eq!(shown(b"BM bitmap".to_vec()), None);
        let mut large = png;
        large.resize(LARGEST + 1, 0);
        assert_eq!(shown(large), None);
    }
}
