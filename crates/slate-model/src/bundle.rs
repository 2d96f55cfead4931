//! A ranker on disk: `model.safetensors` and `model.json`.
//!
//! `model.json` holds the format version, the network's shape, its inputs and the head that ranks;
//! `model.safetensors` the weights, `f32`, under the names of [`weights`](crate::weights). Neither
//! holds a time or a path: equal rankers give equal bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use slate_types::{FeatureShape, FormatVersion, Seed};

use crate::network_config::NetworkConfig;
use crate::ranker::{Description, Ranker};
use crate::weights::{Weight, replace};
use crate::{DeviceSpec, Head, ModelError};

/// Newest version of `model.json` and `model.safetensors` this crate reads, and the one it writes.
pub const MODEL_FORMAT: FormatVersion = FormatVersion(1);

/// File name of the description.
pub const MODEL_FILE: &str = "model.json";

/// File name of the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// `model.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    format: FormatVersion,
    kind: String,
    network: NetworkConfig,
    shape: FeatureShape,
    score_head: Head,
}

/// The part of `model.json` that every version has.
#[derive(Deserialize)]
struct Version {
    format: FormatVersion,
}

const KIND: &str = "model";

impl Ranker {
    /// Writes `model.safetensors` and `model.json` into a folder that exists, and syncs them.
    ///
    /// # Errors
    /// [`ModelError::Io`] with the file.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let path = dir.join(WEIGHTS_FILE);
        let weights: BTreeMap<String, (Vec<usize>, Vec<u8>)> = self
            .weights()
            .into_iter()
            .map(|(name, weight)| {
                let bytes = weight
                    .values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                (name, (weight.shape, bytes))
            })
            .collect();
        let broken = |source| ModelError::Weights {
            path: path.clone(),
            source,
        };
        let mut views = Vec::with_capacity(weights.len());
        for (name, (shape, bytes)) in &weights {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(broken)?;
            views.push((name.as_str(), view));
        }
        // One entry: the order of a map of one cannot vary.
        let note = HashMap::from([("slate.format".to_owned(), MODEL_FORMAT.0.to_string())]);
        let bytes = safetensors::serialize(views, Some(note)).map_err(broken)?;
        write(&path, &bytes)?;

        let Description {
            network,
            shape,
            score_head,
        } = self.description().clone();
        let file = ModelFile {
            format: MODEL_FORMAT,
            kind: KIND.to_owned(),
            network,
            shape,
            score_head,
        };
        let path = dir.join(MODEL_FILE);
        let mut text =
            serde_json::to_string_pretty(&file).map_err(|source| ModelError::Description {
                path: path.clone(),
                source,
            })?;
        text.push('\n');
        write(&path, text.as_bytes())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Description`], [`ModelError::Format`],
    /// [`ModelError::Option`] and [`ModelError::Shape`] for `model.json`;
    /// [`ModelError::Weights`] and [`ModelError::Tensor`] for `model.safetensors`, where a tensor
    /// is missing, unknown, of another shape or type, or not finite.
    pub fn load(dir: &Path, device: DeviceSpec) -> Result<Self, ModelError> {
        let path = dir.join(MODEL_FILE);
        let text = read(&path)?;
        let broken = |source| ModelError::Description {
            path: path.clone(),
            source,
        };
        let Version { format } = serde_json::from_slice(&text).map_err(broken)?;
        format
            .check("model", MODEL_FORMAT)
            .map_err(|source| ModelError::Format {
                path: path.clone(),
                source,
            })?;
        let file: ModelFile = serde_json::from_slice(&text).map_err(broken)?;
        if file.kind != KIND {
            let kind =
                serde::de::Error::custom(format!("`kind` is `{}`, expected `{KIND}`", file.kind));
            return Err(broken(kind));
        }
        file.network.check()?;
        let description = Description {
            network: file.network,
            shape: file.shape,
            score_head: file.score_head,
        };
        // The seed's weights are all replaced.
        let ranker = Self::build(description, Seed(0), device)?;

        let path = dir.join(WEIGHTS_FILE);
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|source| ModelError::Weights {
            path: path.clone(),
            source,
        })?;
        let weights = fill(&path, ranker.weights(), &tensors)?;
        let network = replace(ranker.network().clone(), weights);
        Ok(ranker.with_network(network))
    }
}

/// Replaces the values of `wanted` by the file's, after checking them.
fn fill(
    path: &Path,
    mut wanted: BTreeMap<String, Weight>,
    tensors: &SafeTensors<'_>,
) -> Result<BTreeMap<String, Weight>, ModelError> {
    let refuse = |tensor: &str, given: String, expected: String| ModelError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        expected,
        given,
    };
    let mut names = tensors.names();
    names.sort_unstable();
    if let Some(name) = names.iter().find(|name| !wanted.contains_key(**name)) {
        return Err(refuse(
            name,
            "present".to_owned(),
            "no such tensor".to_owned(),
        ));
    }
    for (name, weight) in &mut wanted {
        let expected = format!("F32 of shape {:?}", weight.shape);
        let Ok(tensor) = tensors.tensor(name) else {
            return Err(refuse(name, "missing".to_owned(), expected));
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != weight.shape {
            let given = format!("{:?} of shape {:?}", tensor.dtype(), tensor.shape());
            return Err(refuse(name, given, expected));
        }
        weight.values = tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        if let Some(place) = weight.values.iter().position(|value| !value.is_finite()) {
            let given = format!("{} at place {place}", weight.values[place]);
            return Err(refuse(name, given, "finite numbers".to_owned()));
        }
    }
    Ok(wanted)
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| ModelError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| ModelError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
