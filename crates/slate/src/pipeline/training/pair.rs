//! Which inputs of a dataset are of which item, for a network that compares two.

use std::ops::Range;

use anyhow::Result;
use slate_features::{FeatureMap, SplitData, Vectors};
use slate_model::{TowersOptions, TrainOptions};
use slate_types::{FeatureShape, PairInputs, VisitorPlaces};

use crate::console::Refusal;

/// The shape of a dataset's inputs as a network of these options reads them.
///
/// # Errors
/// Names that no input has, an input of two sides, and sides of a shared tower that are not read alike.
pub(super) fn shape(map: &FeatureMap, options: &TrainOptions) -> Result<FeatureShape> {
    let mut shape = map.shape();
    if let Some(towers) = &options.network.towers {
        shape.pair = Some(inputs(map, towers)?);
    }
    Ok(shape)
}

/// Share of the training placements whose page has no seed item with a vector, where towers read some. All
/// are refused: what could be learned then is what is bought anyway.
pub(super) fn without_seed(
    map: &FeatureMap,
    options: &TrainOptions,
    data: &SplitData,
) -> Result<f64> {
    let Some(towers) = &options.network.towers else {
        return Ok(0.0);
    };
    let tables = map.embedding.iter().zip(&data.extras.vectors);
    let of_seeds: Vec<&Vectors> = tables
        .filter(|(own, _)| towers.seed.contains(&own.name))
        .map(|(_, vectors)| vectors)
        .collect();
    let rows = data.lists.rows();
    if of_seeds.is_empty() || rows == 0 {
        return Ok(0.0);
    }
    let has_none = |row: &usize| of_seeds.iter().all(|own| own.index[*row] == 0);
    let none = (0..rows).filter(has_none).count();
    if none < rows {
        return Ok(none as f64 / rows as f64);
    }
    Err(
        Refusal::new("no page of the training part has a seed item with a vector")
            .hint(
                "check `seed_item_id` of the pages, and that the vectors are those of these items",
            )
            .into(),
    )
}

fn inputs(map: &FeatureMap, towers: &TowersOptions) -> Result<PairInputs> {
    let key = |side: &str| format!("train.network.towers.{side}");
    if let Some(name) = towers
        .seed
        .iter()
        .find(|name| towers.candidate.contains(name))
    {
        return Err(Refusal::new(format!(
            "`{}` and `{}` both have `{name}`, expected each input on one side",
            key("seed"),
            key("candidate")
        ))
        .hint("a second entry under [features] can read the same column, or that of the other item")
        .into());
    }
    let context = towers.context.clone().unwrap_or_else(|| {
        let sides = [&towers.seed, &towers.candidate, &towers.visitor];
        let of_neither = |name: &&str| !sides.iter().any(|side| side.iter().any(|own| own == name));
        let names = map.input_names().into_iter().filter(of_neither);
        names.map(str::to_owned).collect()
    });
    let seed = map.places(&towers.seed, &key("seed"))?;
    let candidate = map.places(&towers.candidate, &key("candidate"))?;
    let context = map.places(&context, &key("context"))?;
    let pairs = towers.seed.iter().zip(&towers.candidate);
    let mut unlike = pairs.filter(|(seed, candidate)| !map.reads_alike(seed, candidate));
    if let Some((seed, candidate)) = unlike.next().filter(|_| towers.shared) {
        return Err(Refusal::new(format!(
            "the shared tower would read `{seed}` as it does `{candidate}`, but they are made differently"
        ))
        .hint(format!(
            "numbers and ids: alike = [{{ column = \"{seed}\", to = \"{candidate}\" }}] under [features]; \
             vectors: of one encoder; or `shared = false`"
        ))
        .into());
    }
    Ok(PairInputs {
        seed,
        candidate,
        context,
        visitor: visitor(map, towers)?,
    })
}

/// The vectors of the visitor, each beside that of the candidate it is compared with.
fn visitor(map: &FeatureMap, towers: &TowersOptions) -> Result<Vec<VisitorPlaces>> {
    let key = "train.network.towers.visitor";
    let mut items = towers.seed.iter().chain(&towers.candidate);
    if let Some(name) = items.find(|name| map.history_vector_of(name).is_some()) {
        let told = format!("`{name}` is of the page's visitor and of no item");
        let hint = format!("name it in `{key}`");
        return Err(Refusal::new(told).hint(hint).into());
    }
    let place = |name: &String| -> Result<Range<usize>> {
        let places = map.places(std::slice::from_ref(name), key)?;
        Ok(places.vectors[0].clone())
    };
    let each = towers.visitor.iter().enumerate().map(|(at, name)| {
        let Some(of) = map.history_vector_of(name).map(str::to_owned) else {
            let told = format!("`{key}` is `{name}`, expected mean vectors of histories");
            let hint = "`vectors = [\"title\"]` under [features.history] makes `history_title` of the embedding `title`";
            return Err(Refusal::new(told).hint(hint).into());
        };
        if towers.visitor[..at].contains(name) {
            return Err(Refusal::new(format!("`{key}` has `{name}` twice")).into());
        }
        if !towers.candidate.contains(&of) {
            let told = format!("`{name}` is compared with `{of}`, which `train.network.towers.candidate` does not have");
            let hint = format!("name `{of}` there, or leave `{name}` out of `{key}`");
            return Err(Refusal::new(told).hint(hint).into());
        }
        Ok(VisitorPlaces {
            visitor: place(name)?,
            candidate: place(&of)?,
        })
    });
    each.collect()
}
