//! A trained ranker made ready for inputs with more ids than it was trained on.
//!
//! Old rows of every embedding table stay as they are, to the byte; a new id begins as the mean of those
//! that are known, the unknown id left out, so that it says what an average item would until it has been
//! trained, or as the mean of a few of them that it is told to be [like](NewRows). All other weights are the old ones.

use std::collections::BTreeMap;
use std::fmt::Display;

use slate_types::{FeatureShape, Seed};

use crate::network_config::NetworkConfig;
use crate::ranker::{Description, Ranker};
use crate::tables::TableSizes;
use crate::weights::{Weight, replace};
use crate::{ModelError, OptimizerState, TrainConfig};

/// What an update begins with.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// The ranker to go on from.
    pub ranker: &'a Ranker,
    /// What new ids are like; means of all that are known where it is none.
    pub new_rows: Option<&'a NewRows>,
    /// The optimiser's state to go on from; a fresh one where it is none.
    pub optimizer: Option<&'a OptimizerState>,
}

impl<'a> From<&'a Ranker> for Beginning<'a> {
    fn from(ranker: &'a Ranker) -> Self {
        Self {
            ranker,
            new_rows: None,
            optimizer: None,
        }
    }
}

/// Known ids that new ids are like: the row of a new id begins as the mean of theirs. A new id without
/// any begins as the mean of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRows {
    /// For each categorical input, known ids by new id; inputs past the end have none.
    pub categorical: Vec<BTreeMap<u32, Vec<u32>>>,
    /// Of the items of histories.
    pub history: BTreeMap<u32, Vec<u32>>,
}

impl NewRows {
    /// What new rows of the table of this name are like.
    fn of(&self, name: &str, shape: &FeatureShape) -> BTreeMap<u32, Vec<u32>> {
        if name == "history.item.weight" {
            return self.history.clone();
        }
        let Some((tower, at)) = name
            .strip_suffix(".weight")
            .and_then(|name| name.rsplit_once("embeddings."))
        else {
            return BTreeMap::new();
        };
        let Ok(at) = at.parse::<usize>() else {
            return BTreeMap::new();
        };
        let own = |column: Option<&usize>| {
            let own = column.and_then(|&column| self.categorical.get(column));
            own.cloned().unwrap_or_default()
        };
        match (&shape.pair, tower) {
            (Some(pair), "pair.seed.") => {
                // A shared tower has the ids of both sides in one table; they are made alike.
                let mut rows = own(pair.candidate.categorical.get(at));
                rows.extend(own(pair.seed.categorical.get(at)));
                rows
            }
            (Some(pair), "pair.candidate.") => own(pair.candidate.categorical.get(at)),
            (Some(pair), _) => own(pair.context.categorical.get(at)),
            (None, _) => own(Some(&at)),
        }
    }
}

impl Ranker {
    /// A ranker of this configuration that begins with the weights of this one; its inputs have the same
    /// ids, and perhaps more behind them.
    ///
    /// # Errors
    /// [`ModelError::Update`] where the configuration's network is another one, or the shape has other
    /// inputs, or fewer ids.
    pub fn updated(&self, config: &TrainConfig, shape: &FeatureShape) -> Result<Self, ModelError> {
        self.updated_like(config, shape, &NewRows::default())
    }

    /// As [`updated`](Self::updated), with new ids that begin as they are told.
    ///
    /// # Errors
    /// As [`updated`](Self::updated).
    pub fn updated_like(
        &self,
        config: &TrainConfig,
        shape: &FeatureShape,
        new_rows: &NewRows,
    ) -> Result<Self, ModelError> {
        let mut description = Description::of(config, shape);
        same(self.description(), &description)?;
        let (old, own) = (self.shape(), shape);
        unlike("dense inputs", &old.dense, &own.dense)?;
        if old.pair != own.pair {
            return Err(ModelError::Update {
                expected:
                    "the inputs of seed, candidate, context and visitor of the ranker that it goes on from"
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
            grow(weight, &wanted[name], &new_rows.of(name, shape));
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
    unlike(
        "train.network.input_norm",
        a.input_norm.name(),
        b.input_norm.name(),
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

/// Adds rows to a table that has fewer than wanted: the mean of those that are known, or of those that the new
/// id is like.
fn grow(weight: &mut Weight, wanted: &Weight, like: &BTreeMap<u32, Vec<u32>>) {
    let ([rows, width], [more, _]) = (&weight.shape[..], &wanted.shape[..]) else {
        return;
    };
    let (rows, width, more) = (*rows, *width, *more);
    if more <= rows {
        return;
    }
    let known = weight.values.clone();
    let mean = |ids: &mut dyn Iterator<Item = usize>| -> Vec<f32> {
        let (mut sums, mut count) = (vec![0.0_f64; width], 0_u32);
        for id in ids {
            count += 1;
            let row = &known[id * width..(id + 1) * width];
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let count = f64::from(count.max(1));
        sums.iter().map(|sum| (sum / count) as f32).collect()
    };
    let of_all = mean(&mut (1..rows));
    for id in rows..more {
        let like = like.get(&(id as u32)).into_iter().flatten();
        let mut like = like
            .map(|id| *id as usize)
            .filter(|id| *id < rows)
            .peekable();
        let row = match like.peek() {
            None => of_all.clone(),
            Some(_) => mean(&mut like),
        };
        weight.values.extend(row);
    }
    weight.shape[0] = more;
}

#[cfg(test)]
mod tests {
    use slate_types::{InputPlaces, PairInputs};

    use super::*;
    use crate::{DeviceSpec, TrainOptions};

    #[test]
    fn each_table_of_a_pair_finds_what_its_own_column_is_told() {
        let options: TrainOptions = toml::from_str(
            "[network]\nkind = \"similar\"\nhidden = 4\n\
             [network.towers]\nseed = [\"a\"]\ncandidate = [\"b\"]\nwidth = 3\nshared = false",
        )
        .unwrap();
        let config = options.check().unwrap();
        let side = |id: usize| InputPlaces {
            categorical: vec![id],
            ..InputPlaces::default()
        };
        // Column c has 5 + c ids.
        let shape = FeatureShape {
            categorical: vec![5, 6, 7],
            pair: Some(PairInputs {
                seed: side(2),
                candidate: side(0),
                context: side(1),
                visitor: vec![],
            }),
            ..FeatureShape::default()
        };
        let told = |column: u32| BTreeMap::from([(9, vec![column])]);
        let rows = NewRows {
            categorical: (0..3).map(told).collect(),
            ..NewRows::default()
        };
        let ranker = Ranker::untrained(&config, &shape, Seed(1), DeviceSpec::Cpu).unwrap();
        let mut tables = 0;
        for (name, weight) in ranker.weights() {
            let like = rows.of(&name, &shape);
            if name.contains("embeddings") {
                tables += 1;
                assert_eq!(like, told(weight.shape[0] as u32 - 5), "{name}");
            } else {
                assert!(like.is_empty(), "{name}");
            }
        }
        assert_eq!(tables, 3);
    }
}
