//! A trained ranker made ready for inputs with more ids than it was trained on.
//!
//! Old rows of every embedding table stay as they are, to the byte; a new id begins as the mean of those
//! that are known, the unknown id left out, so that it says what an average item would until it has been
//! trained. All other weights are the old ones.

use std::fmt::Display;

use slate_types::{FeatureShape, Seed};

use crate::network_config::NetworkConfig;
use crate::ranker::{Description, Ranker};
use crate::tables::TableSizes;
use crate::weights::{Weight, replace};
use crate::{ModelError, TrainConfig};

impl Ranker {
    /// A ranker of this configuration that begins with the weights of this one; its inputs have the same
    /// ids, and perhaps more behind them.
    ///
    /// # Errors
    /// [`ModelError::Update`] where the configuration's network is another one, or the shape has other
    /// inputs, or fewer ids.
    pub fn updated(&self, config: &TrainConfig, shape: &FeatureShape) -> Result<Self, ModelError> {
        let mut description = Description::of(config, shape);
        same(self.description(), &description)?;
        let (old, own) = (self.shape(), shape);
        unlike("dense inputs", &old.dense, &own.dense)?;
        if old.pair != own.pair {
            return Err(ModelError::Update {
                expected:
                    "the inputs of seed, candidate and context of the ranker that it goes on from"
                        .to_owned(),
                given: "others under `train.network.towers`".to_owned(),
            });
        }
        grown(
            "ids of categorical inputs",
            &old.categorical,
            &own.categorical,
        )?;
        grown(
            "ids of inputs of several",
            &old.multi_valued,
            &own.multi_valued,
        )?;
        let items = |shape: &FeatureShape| -> Vec<u32> {
            shape.history.iter().map(|own| own.items).collect()
        };
        grown("ids of histories", &items(old), &items(own))?;
        if old != own || self.network_config().widths.is_some() {
            let tables = TableSizes::of(self.network_config(), old)?;
            description.network.widths = Some(tables.widths());
        }
        let new = Self::build(description, Seed(0), self.replicas().clone())?;
        let wanted = new.weights();
        let mut weights = self.weights();
        for (name, weight) in &mut weights {
            grow(weight, &wanted[name]);
        }
        let network = replace(new.network().clone(), weights);
        Ok(new.with_network(network))
    }
}

/// Refuses a network that is another one in anything its weights depend on.
fn same(old: &Description, new: &Description) -> Result<(), ModelError> {
    let [a, b] = [&old.network, &new.network];
    unlike("train.network.kind", a.kind.name(), b.kind.name())?;
    unlike("train.network.hidden", &a.hidden, &b.hidden)?;
    unlike("train.network.layers", &a.layers, &b.layers)?;
    unlike("train.network.heads", &a.heads, &b.heads)?;
    unlike(
        "train.network.feed_forward",
        &a.feed_forward,
        &b.feed_forward,
    )?;
    let told = |network: &NetworkConfig| {
        // What no weight depends on, and what an update keeps.
        let mut network = network.clone();
        network.dropout = 0.0;
        network.widths = None;
        if let Some(towers) = &mut network.towers {
            towers.modality_dropout = 0.0;
        }
        serde_json::to_value(&network).expect("a network has text keys")
    };
    let (a, b) = (told(a), told(b));
    for (key, value) in a.as_object().into_iter().flatten() {
        unlike(&format!("train.network.{key}"), value, &b[key])?;
    }
    let more = b.as_object().into_iter().flatten();
    for (key, value) in more.filter(|(key, _)| a.get(key.as_str()).is_none()) {
        unlike(&format!("train.network.{key}"), &"left out".into(), value)?;
    }
    if old.outputs == new.outputs {
        Ok(())
    } else {
        Err(ModelError::Update {
            expected: "the heads and kinds of losses of the ranker that it goes on from".to_owned(),
            given: "others in `train.losses` or `train.entire_space`".to_owned(),
        })
    }
}

fn unlike<T: PartialEq + Display + ?Sized>(what: &str, old: &T, new: &T) -> Result<(), ModelError> {
    if old == new {
        return Ok(());
    }
    Err(ModelError::Update {
        expected: format!("{old} as in the ranker that it goes on from"),
        given: format!("`{what}` {new}"),
    })
}

fn grown(what: &str, old: &[u32], new: &[u32]) -> Result<(), ModelError> {
    let is_grown = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old <= new);
    if is_grown {
        Ok(())
    } else {
        Err(ModelError::Update {
            expected: format!("{old:?} or more, as the ranker that it goes on from has"),
            given: format!("{new:?} {what}"),
        })
    }
}

/// Adds rows to a table that has fewer than wanted: the mean of those that are known.
fn grow(weight: &mut Weight, wanted: &Weight) {
    let ([rows, width], [more, _]) = (&weight.shape[..], &wanted.shape[..]) else {
        return;
    };
    let (rows, width, more) = (*rows, *width, *more);
    if more <= rows {
        return;
    }
    let known = weight.values[width..].chunks_exact(width);
    let count = known.len().max(1) as f64;
    let mut sums = vec![0.0_f64; width];
    for row in known {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for _ in rows..more {
        weight
            .values
            .extend(sums.iter().map(|sum| (sum / count) as f32));
    }
    weight.shape[0] = more;
}
