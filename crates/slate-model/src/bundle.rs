//! A ranker on disk: `model.safetensors` and `model.json`.
//!
//! `model.json` holds the format version, the network's shape, its inputs, what its outputs mean and
//! the head that ranks;
//! `model.safetensors` the weights, `f32`, under the names of [`weights`](crate::weights). Neither
//! holds a time or a path: equal rankers give equal bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slate_types::{FeatureShape, FormatVersion, Seed};

use crate::network_config::NetworkConfig;
use crate::outputs::Outputs;
use crate::ranker::{Description, Ranker};
use crate::replicas::Replicas;
use crate::weights::{Weight, replace};
use crate::{DeviceSpec, Head, ModelError};

/// Newest version of `model.json` and `model.safetensors` this crate reads, and the one it writes.
pub const MODEL_FORMAT: FormatVersion = FormatVersion(2);

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
    /// Since format 2; before it, a click score and a purchase score.
    #[serde(default)]
    outputs: Outputs,
    score_head: Head,
}

/// The part of `model.json` that every version has.
#[derive(Deserialize)]
struct Version {
    format: FormatVersion,
    #[serde(default)]
    kind: String,
}

const KIND: &str = "model";

impl Ranker {
    /// Writes `model.safetensors` and `model.json` into a folder that exists, and syncs them.
    ///
    /// # Errors
    /// [`ModelError::Io`] with the file.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        write_arrays(&dir.join(WEIGHTS_FILE), &self.weights(), MODEL_FORMAT)?;
        let Description {
            network,
            shape,
            outputs,
            score_head,
        } = self.description().clone();
        let file = ModelFile {
            format: MODEL_FORMAT,
            kind: KIND.to_owned(),
            network,
            shape,
            outputs,
            score_head,
        };
        write_json(&dir.join(MODEL_FILE), &file)
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
        let file: ModelFile = parse(&path, &read(&path)?, KIND, MODEL_FORMAT)?;
        file.network.check()?;
        if !file.outputs.is_sound() {
            let given = "no order of heads that a network can have";
            return Err(ModelError::Shape {
                expected: "`outputs` of click, purchase and perhaps grade".to_owned(),
                given: given.to_owned(),
            });
        }
        let description = Description {
            network: file.network,
            shape: file.shape,
            outputs: file.outputs,
            score_head: file.score_head,
        };
        // The seed's weights are all replaced.
        let ranker = Self::build(description, Seed(0), Replicas::open(device, None)?)?;
        let path = dir.join(WEIGHTS_FILE);
        let weights = read_arrays(&path)?;
        check_arrays(&path, &ranker.weights(), &weights)?;
        let network = replace(ranker.network().clone(), weights);
        Ok(ranker.with_network(network))
    }
}

/// Reads a JSON file that says its kind and format.
pub(crate) fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &[u8],
    kind: &'static str,
    newest: FormatVersion,
) -> Result<T, ModelError> {
    let broken = |source| ModelError::Description {
        path: path.to_owned(),
        source,
    };
    let version: Version = serde_json::from_slice(text).map_err(broken)?;
    let format = version.format.check(kind, newest);
    format.map_err(|source| ModelError::Format {
        path: path.to_owned(),
        source,
    })?;
    if version.kind != kind {
        let text = format!("`kind` is `{}`, expected `{kind}`", version.kind);
        return Err(broken(serde::de::Error::custom(text)));
    }
    serde_json::from_slice(text).map_err(broken)
}

/// Writes a JSON file, indented, and syncs it.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ModelError> {
    let text = serde_json::to_string_pretty(value);
    let mut text = text.map_err(|source| ModelError::Description {
        path: path.to_owned(),
        source,
    })?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// Writes arrays by name as safetensors, and syncs the file.
pub(crate) fn write_arrays(
    path: &Path,
    arrays: &BTreeMap<String, Weight>,
    format: FormatVersion,
) -> Result<(), ModelError> {
    let bytes: BTreeMap<&String, Vec<u8>> = arrays
        .iter()
        .map(|(name, array)| {
            let values = array.values.iter();
            (name, values.flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let broken = |source| ModelError::Weights {
        path: path.to_owned(),
        source,
    };
    let mut views = Vec::with_capacity(arrays.len());
    for (name, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, arrays[*name].shape.clone(), bytes);
        views.push((name.as_str(), view.map_err(broken)?));
    }
    // One entry: the order of a map of one cannot vary.
    let note = HashMap::from([("slate.format".to_owned(), format.0.to_string())]);
    let bytes = safetensors::serialize(views, Some(note)).map_err(broken)?;
    write(path, &bytes)
}

/// Reads every array of a safetensors file.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::Weights`], and [`ModelError::Tensor`] for one that is not of
/// `f32` or not finite.
pub(crate) fn read_arrays(path: &Path) -> Result<BTreeMap<String, Weight>, ModelError> {
    read_arrays_where(path, |_| true)
}

/// As [`read_arrays`], of those names alone.
pub(crate) fn read_arrays_where(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Weight>, ModelError> {
    let bytes = read(path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|source| ModelError::Weights {
        path: path.to_owned(),
        source,
    })?;
    let mut arrays = BTreeMap::new();
    let tensors = tensors.tensors().into_iter();
    for (name, tensor) in tensors.filter(|(name, _)| wanted(name)) {
        if tensor.dtype() != Dtype::F32 {
            let given = format!("of type {:?}", tensor.dtype());
            return Err(wrong(path, &name, given, "F32".to_owned()));
        }
        let values: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            let given = format!("{} at place {place}", values[place]);
            return Err(wrong(path, &name, given, "finite numbers".to_owned()));
        }
        let shape = tensor.shape().to_vec();
        arrays.insert(name, Weight { shape, values });
    }
    Ok(arrays)
}

/// Holds arrays to the names and shapes of a network's own.
///
/// # Errors
/// [`ModelError::Tensor`] for the first that is missing, unknown or of another shape.
pub(crate) fn check_arrays(
    path: &Path,
    wanted: &BTreeMap<String, Weight>,
    given: &BTreeMap<String, Weight>,
) -> Result<(), ModelError> {
    if let Some(name) = given.keys().find(|name| !wanted.contains_key(*name)) {
        let expected = "no such tensor".to_owned();
        return Err(wrong(path, name, "present".to_owned(), expected));
    }
    for (name, weight) in wanted {
        let expected = format!("F32 of shape {:?}", weight.shape);
        let found = given.get(name);
        let found =
            found.ok_or_else(|| wrong(path, name, "missing".to_owned(), expected.clone()))?;
        if found.shape != weight.shape {
            let given = format!("F32 of shape {:?}", found.shape);
            return Err(wrong(path, name, given, expected));
        }
    }
    Ok(())
}

pub(crate) fn wrong(path: &Path, tensor: &str, given: String, expected: String) -> ModelError {
    ModelError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        expected,
        given,
    }
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
