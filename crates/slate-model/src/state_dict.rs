//! Weights under the names that PyTorch's own modules give them.
//!
//! `scripts/slate_torch.py` has the networks made of these modules, and the table of names. PyTorch
//! keeps linear weights as `[outputs, inputs]` and stacks those of query, key and value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::ModelError;
use crate::bundle::{read_arrays_where, wrong};
use crate::ranker::Ranker;
use crate::weights::{Weight, replace};

/// Where one of our arrays is found.
#[derive(Debug, PartialEq)]
struct Source {
    name: String,
    /// Which of so many parts stacked along the first axis.
    part: usize,
    parts: usize,
    turned: bool,
}

impl Ranker {
    /// The same network with the weights of a PyTorch state dict, a safetensors file of `f32`.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Weights`] for a file that cannot be read, and
    /// [`ModelError::Tensor`] where an array is missing, unknown, of another shape or type, or not
    /// finite, and for a network that reads histories or compares two items, which has no counterpart.
    pub fn with_state_dict(&self, path: &Path) -> Result<Self, ModelError> {
        // What PyTorch counts the batches of a normalisation by; nothing depends on it.
        let theirs = read_arrays_where(path, |name| !name.ends_with("num_batches_tracked"))?;
        let mut used = BTreeSet::new();
        let mut weights = BTreeMap::new();
        for (name, own) in self.weights() {
            let Some(source) = source(&name) else {
                let given = "without a counterpart in PyTorch".to_owned();
                let expected = if name.starts_with("pair.") {
                    "a network of another `kind` than `similar`"
                } else {
                    "`history = { encoder = \"none\" }` in [train.network]"
                };
                return Err(wrong(path, &name, given, expected.to_owned()));
            };
            let shape = stacked(&own.shape, &source);
            let Some(found) = theirs.get(&source.name) else {
                let expected = format!("of shape {shape:?}");
                return Err(wrong(path, &source.name, "missing".to_owned(), expected));
            };
            if found.shape != shape {
                let given = format!("of shape {:?}", found.shape);
                return Err(wrong(path, &source.name, given, format!("{shape:?}")));
            }
            weights.insert(name, part(found, own.shape, &source));
            used.insert(source.name);
        }
        if let Some(unknown) = theirs.keys().find(|name| !used.contains(*name)) {
            let expected = format!("no more than the {} of this network", used.len());
            return Err(wrong(path, unknown, "unknown".to_owned(), expected));
        }
        Ok(self.with_network(replace(self.network().clone(), weights)))
    }
}

/// The shape of PyTorch's array that has an array of ours.
fn stacked(own: &[usize], source: &Source) -> Vec<usize> {
    let mut shape = own.to_vec();
    if source.turned {
        shape.reverse();
    }
    shape[0] *= source.parts;
    shape
}

fn part(found: &Weight, shape: Vec<usize>, source: &Source) -> Weight {
    let length: usize = shape.iter().product();
    let values = &found.values[source.part * length..(source.part + 1) * length];
    let values = match shape[..] {
        [inputs, outputs] if source.turned => (0..inputs * outputs)
            .map(|place| values[place % outputs * inputs + place / outputs])
            .collect(),
        _ => values.to_vec(),
    };
    Weight { shape, values }
}

/// Where the array of this name is found; none for the arrays of a history encoder and of towers.
fn source(name: &str) -> Option<Source> {
    let of = |name: String, turned: bool| Source {
        name,
        part: 0,
        parts: 1,
        turned,
    };
    let norm = |end: &str| match end {
        "gamma" => Some("weight"),
        "beta" => Some("bias"),
        _ => None,
    };
    let path: Vec<&str> = name.split('.').collect();
    Some(match path[..] {
        ["embeddings" | "several", _, "weight"] | ["position", "weight"] => {
            of(name.to_owned(), false)
        }
        ["input_norm", end] => of(format!("input_norm.{}", norm(end)?), false),
        ["batch_norm", "mean"] => of("batch_norm.running_mean".to_owned(), false),
        ["batch_norm", "variance"] => of("batch_norm.running_var".to_owned(), false),
        ["batch_norm", end] => of(format!("batch_norm.{}", norm(end)?), false),
        ["input" | "heads", end] => of(name.to_owned(), end == "weight"),
        ["body", "mlp", "layers", layer, end] => of(format!("body.{layer}.{end}"), end == "weight"),
        ["body", "transformer", "norm", end] => of(format!("body.norm.{}", norm(end)?), false),
        ["body", "transformer", "layers", layer, ref rest @ ..] => {
            let place = format!("body.layers.{layer}");
            match *rest {
                ["attention", "output", end] => {
                    of(format!("{place}.self_attn.out_proj.{end}"), end == "weight")
                }
                ["attention", which, end] => Source {
                    part: ["query", "key", "value"]
                        .iter()
                        .position(|name| *name == which)?,
                    parts: 3,
                    ..of(format!("{place}.self_attn.in_proj_{end}"), end == "weight")
                },
                ["inner", end] => of(format!("{place}.linear1.{end}"), end == "weight"),
                ["outer", end] => of(format!("{place}.linear2.{end}"), end == "weight"),
                ["attention_norm", end] => of(format!("{place}.norm1.{}", norm(end)?), false),
                ["feed_forward_norm", end] => of(format!("{place}.norm2.{}", norm(end)?), false),
                _ => return None,
            }
        }
        ["body", "gru", "layers", layer, direction, given, end] => {
            let from = match given {
                "input" => "ih",
                "hidden" => "hh",
                _ => return None,
            };
            let way = match direction {
                "forward" => "",
                "backward" => "_reverse",
                _ => return None,
            };
            of(format!("body.{end}_{from}_l{layer}{way}"), end == "weight")
        }
        _ => return None,
    })
}
