//! Nodes in the order XGBoost counts on.
//!
//! XGBoost finds the right child of a node behind the left one, and reads past the end of a tree where
//! it stands before it. The library numbers the children of some splits on ids the other way round
//! (hessboost 0.4.6). Numbering the nodes anew, level by level, changes no score.

use std::collections::VecDeque;

use hessboost::error::{HessboostError, Result};
use hessboost::model::{BoostedModel, ModelFormat};
use serde_json::Value;

/// Arrays with an entry for each node, besides those that name other nodes.
const OF_NODES: [&str; 7] = [
    "base_weights",
    "default_left",
    "loss_changes",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
];

/// The parent of a root.
const NOBODY: i64 = i32::MAX as i64;

/// The same model, every right child one behind its left sibling.
pub(crate) fn ordered(model: BoostedModel) -> Result<BoostedModel> {
    let text = model.encode(ModelFormat::XgboostJson)?;
    let mut file: Value = serde_json::from_slice(&text)?;
    let trees = &mut file["learner"]["gradient_booster"]["model"]["trees"];
    let mut moved = false;
    for tree in trees.as_array_mut().into_iter().flatten() {
        moved |= order(tree).ok_or_else(|| {
            HessboostError::model_format("a tree without the arrays of nodes that XGBoost writes")
        })?;
    }
    if moved {
        BoostedModel::decode(serde_json::to_vec(&file)?, ModelFormat::XgboostJson)
    } else {
        Ok(model)
    }
}

/// Numbers the nodes of a tree anew where that is needed; whether it was, none for a tree that is
/// none.
fn order(tree: &mut Value) -> Option<bool> {
    let (left, right) = (
        integers(tree, "left_children")?,
        integers(tree, "right_children")?,
    );
    let in_order = |(&left, &right): (&i64, &i64)| left < 0 || right == left + 1;
    if left.iter().zip(&right).all(in_order) {
        return Some(false);
    }
    // The old numbers of the nodes in their new order.
    let (mut old, mut queue) = (vec![0], VecDeque::from([0]));
    while let Some(node) = queue.pop_front() {
        if *left.get(node)? >= 0 {
            let children = [
                usize::try_from(left[node]).ok()?,
                usize::try_from(right[node]).ok()?,
            ];
            old.extend(children);
            queue.extend(children);
        }
    }
    let mut new = vec![NOBODY; left.len()];
    for (at, &node) in old.iter().enumerate() {
        *new.get_mut(node)? = at as i64;
    }
    for name in OF_NODES {
        let values = tree[name].as_array()?.clone();
        let moved: Option<Vec<Value>> = old.iter().map(|&at| values.get(at).cloned()).collect();
        tree[name] = Value::Array(moved?);
    }
    let parents = integers(tree, "parents")?;
    for (name, of) in [
        ("left_children", &left),
        ("right_children", &right),
        ("parents", &parents),
    ] {
        let renamed = old.iter().map(|&at| {
            let told = *of.get(at)?;
            let node = usize::try_from(told).ok();
            Some(node.and_then(|node| new.get(node)).copied().unwrap_or(told))
        });
        tree[name] = Value::from(renamed.collect::<Option<Vec<i64>>>()?);
    }
    sort_categories(tree, &new)?;
    Some(true)
}

/// Sets of ids, in the order of the nodes they belong to.
fn sort_categories(tree: &mut Value, new: &[i64]) -> Option<()> {
    let (nodes, all) = (
        integers(tree, "categories_nodes")?,
        integers(tree, "categories")?,
    );
    let begins = integers(tree, "categories_segments")?;
    let sizes = integers(tree, "categories_sizes")?;
    let mut sets: Vec<(i64, &[i64])> = Vec::with_capacity(nodes.len());
    for ((&node, &begin), &size) in nodes.iter().zip(&begins).zip(&sizes) {
        let node = *new.get(usize::try_from(node).ok()?)?;
        let begin = usize::try_from(begin).ok()?;
        sets.push((node, all.get(begin..begin + usize::try_from(size).ok()?)?));
    }
    sets.sort_unstable();
    let mut begin = 0;
    let begins: Vec<usize> = sets
        .iter()
        .map(|(_, set)| {
            begin += set.len();
            begin - set.len()
        })
        .collect();
    let nodes: Vec<i64> = sets.iter().map(|(node, _)| *node).collect();
    let sizes: Vec<usize> = sets.iter().map(|(_, set)| set.len()).collect();
    let all: Vec<i64> = sets
        .iter()
        .flat_map(|(_, set)| set.iter().copied())
        .collect();
    tree["categories_nodes"] = Value::from(nodes);
    tree["categories_segments"] = Value::from(begins);
    tree["categories_sizes"] = Value::from(sizes);
    tree["categories"] = Value::from(all);
    Some(())
}

fn integers(tree: &Value, name: &str) -> Option<Vec<i64>> {
    tree[name].as_array()?.iter().map(Value::as_i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of an id and a number; what the labels say depends on both.
    fn model() -> BoostedModel {
        use hessboost::data::FeatureType::{Categorical, Numerical};
        let rows = 600;
        let x: Vec<f32> = (0..rows)
            .flat_map(|row| [(row * 7 % 12) as f32, (row % 25) as f32])
            .collect();
        let y: Vec<f32> = x
            .chunks(2)
            .map(|row| {
                if row[0] * 5.0 % 3.0 > 1.0 {
                    row[1]
                } else {
                    -row[1] * (row[0] % 2.0)
                }
            })
            .collect();
        let data = hessboost::data::DMatrix::from_dense(&x, rows, 2)
            .and_then(|data| data.with_feature_types(&[Categorical, Numerical]))
            .and_then(|data| data.with_labels(&y))
            .unwrap();
        let params = hessboost::prelude::TrainingParams::builder()
            .max_depth(5)
            .build()
            .unwrap();
        hessboost::prelude::train(&params, &data, 20).unwrap()
    }

    fn trees(model: &BoostedModel) -> Vec<Value> {
        let text = model.encode(ModelFormat::XgboostJson).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap();
        file["learner"]["gradient_booster"]["model"]["trees"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn in_order(tree: &Value) -> bool {
        let (left, right) = (
            integers(tree, "left_children"),
            integers(tree, "right_children"),
        );
        let (left, right) = (left.unwrap(), right.unwrap());
        left.iter()
            .zip(&right)
            .all(|(&left, &right)| left < 0 || right == left + 1)
    }

    #[test]
    fn right_children_stand_behind_their_siblings_and_scores_stay() {
        let before = model();
        assert!(
            !trees(&before).iter().all(in_order),
            "the library numbers as XGBoost does now"
        );
        let after = ordered(before.clone()).unwrap();
        for tree in trees(&after) {
            assert!(in_order(&tree));
            let nodes = integers(&tree, "categories_nodes").unwrap();
            assert!(nodes.is_sorted());
            let types = integers(&tree, "split_type").unwrap();
            let marked: Vec<i64> = (0..types.len() as i64)
                .filter(|&at| types[at as usize] == 1)
                .collect();
            assert_eq!(nodes, marked);
            let parents = integers(&tree, "parents").unwrap();
            let left = integers(&tree, "left_children").unwrap();
            for (node, &child) in left.iter().enumerate().filter(|(_, child)| **child >= 0) {
                assert_eq!(parents[child as usize], node as i64);
                assert_eq!(parents[child as usize + 1], node as i64);
            }
        }
        let rows: Vec<f32> = (0..12)
            .flat_map(|id| (0..25).flat_map(move |x| [id as f32, x as f32]))
            .collect();
        let margins = |model: &BoostedModel| {
            let found = model.predict_margin_rows(&rows, ..).unwrap();
            found
                .as_slice()
                .iter()
                .map(|score| score.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(margins(&before), margins(&after));
    }
}
