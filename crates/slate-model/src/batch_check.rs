//! Checks of a batch at the door, so that no tensor operation meets a wrong shape or a NaN.

use std::fmt::Display;

use slate_kernels::all_finite;
use slate_types::{Batch, FeatureShape, PairInputs};

use crate::ModelError;

/// Checks the arrays that scoring reads.
///
/// # Errors
/// [`ModelError::BatchShape`] for lengths and widths, [`ModelError::BatchValue`] for an input that
/// is not finite and an id that is too large, with its place.
pub(crate) fn features(batch: &Batch, shape: &FeatureShape) -> Result<(), ModelError> {
    let places = batch.lists * batch.slots;
    length("dense_width", batch.dense_width, shape.dense)?;
    length(
        "categorical_width",
        batch.categorical_width,
        shape.categorical.len(),
    )?;
    length("mask", batch.mask.len(), places)?;
    length("dense", batch.dense.len(), places * batch.dense_width)?;
    length(
        "categorical",
        batch.categorical.len(),
        places * batch.categorical_width,
    )?;
    several(batch, shape)?;
    history(batch, shape)?;
    if let Some(pair) = &shape.pair {
        of_lists(batch, pair)?;
    }
    // All at once first: that is quick, and nearly always all there is to do.
    let is_finite = all_finite(&batch.dense);
    for (place, _) in batch.mask.iter().enumerate().filter(|(_, real)| **real) {
        let inputs = &batch.dense[place * shape.dense..(place + 1) * shape.dense];
        if !is_finite && let Some(column) = inputs.iter().position(|input| !input.is_finite()) {
            return Err(value(
                batch,
                "dense",
                place,
                column,
                inputs[column],
                "a finite number",
            ));
        }
        let width = shape.categorical.len();
        let ids = &batch.categorical[place * width..(place + 1) * width];
        for (column, (id, ids)) in ids.iter().zip(&shape.categorical).enumerate() {
            if id >= ids {
                let allowed = format!("an id below {ids}");
                return Err(value(batch, "categorical", place, column, id, &allowed));
            }
        }
    }
    Ok(())
}

/// Inputs of the seed item and of the visitor are one for each list: only those of its first slot are read.
fn of_lists(batch: &Batch, pair: &PairInputs) -> Result<(), ModelError> {
    let seed = &pair.seed;
    let expected = "what it is at the first slot of the list: it describes the seed item";
    let of_visitor = "what it is at the first slot of the list: it describes the page's visitor";
    let of_seed = seed.dense_ranges().map(|range| (range, expected));
    let visitor = pair.visitor.iter();
    let visitor = visitor.map(|entry| (entry.visitor.clone(), of_visitor));
    let dense: Vec<_> = of_seed.chain(visitor).collect();
    for list in 0..batch.lists {
        let mut own = (list * batch.slots..(list + 1) * batch.slots).filter(|&at| batch.mask[at]);
        let Some(first) = own.next() else { continue };
        for place in own {
            let numbers = |place: usize| &batch.dense[place * batch.dense_width..];
            for (range, expected) in &dense {
                let (here, there) = (
                    &numbers(place)[range.clone()],
                    &numbers(first)[range.clone()],
                );
                if let Some(at) = (0..here.len()).find(|&at| here[at] != there[at]) {
                    let column = range.start + at;
                    return Err(value(batch, "dense", place, column, here[at], expected));
                }
            }
            for &column in &seed.categorical {
                let id = |place: usize| batch.categorical[place * batch.categorical_width + column];
                if id(place) != id(first) {
                    let array = "categorical";
                    return Err(value(batch, array, place, column, id(place), expected));
                }
            }
            for &column in &seed.multi_valued {
                let several = &batch.multi_valued[column];
                if several.of(place) != several.of(first) {
                    let given = format!("{:?}", several.of(place));
                    return Err(value(batch, "multi_valued", place, column, given, expected));
                }
            }
        }
    }
    Ok(())
}

/// Checks what a loss over the items of a batch reads.
///
/// # Errors
/// [`ModelError::BatchShape`] for lengths, [`ModelError::BatchValue`] for a share that is not above 0.
pub(crate) fn items(batch: &Batch) -> Result<(), ModelError> {
    length("item", batch.item.len(), batch.mask.len())?;
    length("item_share", batch.item_share.len(), batch.mask.len())?;
    let shares = batch.item_share.iter().enumerate();
    let mut bad =
        shares.filter(|(place, share)| batch.mask[*place] && (share.is_nan() || **share <= 0.0));
    match bad.next() {
        None => Ok(()),
        Some((place, share)) => {
            let allowed = "a share above 0";
            Err(value(batch, "item_share", place, 0, share, allowed))
        }
    }
}

/// Inputs of several ids.
fn several(batch: &Batch, shape: &FeatureShape) -> Result<(), ModelError> {
    length(
        "multi_valued",
        batch.multi_valued.len(),
        shape.multi_valued.len(),
    )?;
    for (column, (given, &ids)) in batch
        .multi_valued
        .iter()
        .zip(&shape.multi_valued)
        .enumerate()
    {
        length(
            "multi_valued offsets",
            given.offsets.len(),
            batch.mask.len() + 1,
        )?;
        offsets("multi_valued values", &given.offsets, given.values.len())?;
        if let Some(at) = given.values.iter().position(|&id| id >= ids) {
            let place = given
                .offsets
                .partition_point(|&offset| offset as usize <= at)
                - 1;
            let allowed = format!("an id below {ids}");
            let id = given.values[at];
            return Err(value(batch, "multi_valued", place, column, id, &allowed));
        }
    }
    Ok(())
}

/// Histories: a network that reads them asks for them.
fn history(batch: &Batch, shape: &FeatureShape) -> Result<(), ModelError> {
    let Some(sizes) = &shape.history else {
        return Ok(());
    };
    let Some(given) = &batch.history else {
        return length("history", 0, 1);
    };
    length("history offsets", given.offsets.len(), batch.lists + 1)?;
    offsets("history items", &given.offsets, given.item.len())?;
    length("history kinds", given.kind.len(), given.item.len())?;
    length("history ages", given.age.len(), given.item.len())?;
    let list_of = |at: usize| {
        given
            .offsets
            .partition_point(|&offset| offset as usize <= at)
            - 1
    };
    let refuse = |at: usize, column: usize, found: String, allowed: String| {
        Err(ModelError::BatchValue {
            array: "history",
            list: batch.list_number(list_of(at)),
            slot: at - given.offsets[list_of(at)] as usize,
            column,
            given: found,
            expected: allowed,
        })
    };
    if let Some(at) = given.item.iter().position(|&id| id >= sizes.items) {
        let allowed = format!("an id below {}", sizes.items);
        return refuse(at, 0, given.item[at].to_string(), allowed);
    }
    if let Some(at) = given.kind.iter().position(|&kind| kind >= sizes.kinds) {
        let allowed = format!("a kind below {}", sizes.kinds);
        return refuse(at, 1, given.kind[at].to_string(), allowed);
    }
    match given.age.iter().position(|age| !age.is_finite()) {
        Some(at) => refuse(
            at,
            2,
            given.age[at].to_string(),
            "a finite number".to_owned(),
        ),
        None => Ok(()),
    }
}

/// Offsets grow from 0 to the number of values.
fn offsets(array: &'static str, offsets: &[u32], values: usize) -> Result<(), ModelError> {
    let end = offsets.last().map_or(0, |&end| end as usize);
    let sound = offsets.first() == Some(&0) && offsets.is_sorted();
    length(array, values, if sound { end } else { usize::MAX })
}

/// Checks the arrays that training reads besides the features.
///
/// # Errors
/// [`ModelError::BatchShape`] for lengths, [`ModelError::BatchValue`] for a label or weight that
/// is negative or not finite, and for a click or purchase above 1.
pub(crate) fn labels(batch: &Batch) -> Result<(), ModelError> {
    let arrays = [
        ("click", &batch.click, 1.0),
        ("purchase", &batch.purchase, 1.0),
        // 2^grade has to stay small against 2^53.
        ("grade", &batch.grade, 31.0),
        ("weight", &batch.weight, f32::MAX),
    ];
    length("slot", batch.slot.len(), batch.mask.len())?;
    for (name, values, most) in arrays {
        length(name, values.len(), batch.mask.len())?;
        let bad = |place: &usize| batch.mask[*place] && !(0.0..=most).contains(&values[*place]);
        if let Some(place) = (0..values.len()).find(bad) {
            let allowed = if most == f32::MAX {
                "a finite number of 0 or more".to_owned()
            } else {
                format!("a number from 0 to {most}")
            };
            return Err(value(batch, name, place, 0, values[place], &allowed));
        }
    }
    Ok(())
}

fn length(array: &'static str, given: usize, expected: usize) -> Result<(), ModelError> {
    if given == expected {
        Ok(())
    } else {
        Err(ModelError::BatchShape {
            array,
            given,
            expected,
        })
    }
}

fn value(
    batch: &Batch,
    array: &'static str,
    place: usize,
    column: usize,
    given: impl Display,
    expected: &str,
) -> ModelError {
    ModelError::BatchValue {
        array,
        list: batch.list_number(place / batch.slots),
        slot: place % batch.slots,
        column,
        given: given.to_string(),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use slate_types::InputPlaces;

    use super::*;

    fn shape() -> FeatureShape {
        FeatureShape {
            dense: 2,
            categorical: vec![3],
            ..FeatureShape::default()
        }
    }

    fn batch() -> Batch {
        Batch {
            lists: 2,
            slots: 2,
            dense_width: 2,
            categorical_width: 1,
            dense: vec![0.5; 8],
            categorical: vec![2; 4],
            mask: vec![true, true, true, false],
            click: vec![0.0; 4],
            purchase: vec![1.0; 4],
            grade: vec![4.0; 4],
            weight: vec![1.0; 4],
            slot: vec![0; 4],
            ..Batch::default()
        }
    }

    fn message(change: impl FnOnce(&mut Batch)) -> String {
        let mut batch = batch();
        change(&mut batch);
        features(&batch, &shape())
            .and_then(|()| labels(&batch))
            .map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn good_batches_pass_and_padding_is_not_looked_at() {
        assert_eq!(message(|_| ()), "accepted");
        assert_eq!(message(|batch| batch.dense[7] = f32::NAN), "accepted");
    }

    #[test]
    fn wrong_values_are_refused_with_their_place() {
        assert_eq!(
            message(|batch| batch.dense[5] = f32::NAN),
            "`dense` of list 1, slot 0, column 1 of a batch is NaN, expected a finite number"
        );
        assert_eq!(
            message(|batch| batch.categorical[1] = 3),
            "`categorical` of list 0, slot 1, column 0 of a batch is 3, expected an id below 3"
        );
        assert_eq!(
            message(|batch| batch.weight[0] = -1.0),
            "`weight` of list 0, slot 0, column 0 of a batch is -1, expected a finite number of 0 \
             or more"
        );
        assert_eq!(
            message(|batch| batch.click[2] = 2.0),
            "`click` of list 1, slot 0, column 0 of a batch is 2, expected a number from 0 to 1"
        );
    }

    #[test]
    fn a_list_has_one_seed() {
        let shape = FeatureShape {
            pair: Some(PairInputs {
                seed: InputPlaces {
                    vectors: std::iter::once(0..2).collect(),
                    categorical: vec![0],
                    ..InputPlaces::default()
                },
                ..PairInputs::default()
            }),
            ..shape()
        };
        let told = |change: &dyn Fn(&mut Batch)| {
            let mut batch = batch();
            change(&mut batch);
            features(&batch, &shape).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        assert_eq!(told(&|_| ()), "fine");
        // The fourth place is padding.
        assert_eq!(told(&|batch| batch.dense[6] = 9.0), "fine");
        assert_eq!(
            told(&|batch| batch.dense[3] = 9.0),
            "`dense` of list 0, slot 1, column 1 of a batch is 9, expected what it is at the first slot of \
             the list: it describes the seed item"
        );
        assert!(
            told(&|batch| batch.categorical[1] = 0).starts_with("`categorical` of list 0, slot 1")
        );
    }

    #[test]
    fn a_loss_over_items_asks_for_them() {
        let told =
            |batch: &Batch| items(batch).map_or_else(|error| error.to_string(), |()| String::new());
        let mut batch = batch();
        assert_eq!(told(&batch), "`item` of a batch is 0, expected 4");
        batch.item = vec![1; 4];
        batch.item_share = vec![0.5, 0.5, 0.0, 0.0];
        assert_eq!(
            told(&batch),
            "`item_share` of list 1, slot 0, column 0 of a batch is 0, expected a share above 0"
        );
        batch.item_share[2] = 0.5;
        assert_eq!(told(&batch), "");
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(
            message(|batch| batch.dense_width = 3),
            "`dense_width` of a batch is 3, expected 2"
        );
        assert_eq!(
            message(|batch| batch.purchase.truncate(3)),
            "`purchase` of a batch is 3, expected 4"
        );
    }
}
