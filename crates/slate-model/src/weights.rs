//! A network's weights by name, out and in.
//!
//! Names are the path of the parameter in the network in lower case with dots, as in
//! `body.transformer.layers.0.attention.query.weight`. Linear weights are `[inputs, outputs]`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, Transaction};

use crate::ModelError;
use crate::network::Network;

/// One parameter on the host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weight {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// All parameters by name.
pub(crate) fn read(network: &Network) -> BTreeMap<String, Weight> {
    visited(network).into_iter().collect()
}

/// Puts values in place of all parameters. The caller has checked that names and shapes are those
/// of [`read`].
pub(crate) fn replace(network: Network, weights: BTreeMap<String, Weight>) -> Network {
    network.map(&mut Replacer {
        path: Vec::new(),
        weights,
    })
}

/// Names and shapes of all parameters, in the order the network visits them.
pub(crate) fn names(network: &Network) -> Vec<(String, Vec<usize>)> {
    let named = visited(network).into_iter();
    named.map(|(name, weight)| (name, weight.shape)).collect()
}

fn visited(network: &Network) -> Vec<(String, Weight)> {
    let mut reader = Reader::default();
    network.visit(&mut reader);
    let values = reader.tensors.fetch().expect("weights can be read");
    let named = reader.names.into_iter().zip(values);
    named
        .map(|((name, shape), values)| (name, Weight { shape, values }))
        .collect()
}

/// Lets `change` at all parameters, in the order the network visits them.
pub(crate) fn update(network: &mut Network, change: impl FnOnce(&mut [Weight])) {
    let mut taken = Taken::default();
    // Values that nobody else holds then are not copied on their way out.
    *network = network.clone().map(&mut taken);
    let values = taken.tensors.fetch().expect("weights can be read");
    let weights = taken.shapes.into_iter().zip(values);
    let mut weights: Vec<Weight> = weights
        .map(|(shape, values)| Weight { shape, values })
        .collect();
    change(&mut weights);
    *network = network.clone().map(&mut InOrder(weights.into_iter()));
}

/// Takes the values of all parameters, in the order the network visits them, and leaves a number in place of each.
#[derive(Default)]
struct Taken {
    shapes: Vec<Vec<usize>>,
    tensors: Tensors,
}

impl ModuleMapper for Taken {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let device = tensor.device();
            self.shapes.push(tensor.dims().to_vec());
            self.tensors.push(tensor);
            Tensor::empty([1; D], &device)
        })
    }
}

/// Puts values in place of all parameters, in the order the network visits them.
struct InOrder(std::vec::IntoIter<Weight>);

impl ModuleMapper for InOrder {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let new = self.0.next().expect("a network keeps its parameters");
        param
            .map(|there| Tensor::from_data(TensorData::new(new.values, new.shape), &there.device()))
    }
}

#[derive(Default)]
struct Reader {
    path: Vec<String>,
    names: Vec<(String, Vec<usize>)>,
    tensors: Tensors,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_lowercase());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.names.push((self.path.join("."), shape));
        self.tensors.push(tensor);
    }
}

struct Replacer {
    path: Vec<String>,
    weights: BTreeMap<String, Weight>,
}

impl ModuleMapper for Replacer {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_lowercase());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.remove(&self.path.join(".")) else {
            return param;
        };
        param.map(|old| {
            Tensor::from_data(TensorData::new(weight.values, weight.shape), &old.device())
        })
    }
}

/// Values of a tensor in row-major order, where a device may have failed at them: what it could not
/// compute shows when it is read.
///
/// # Errors
/// [`ModelError::Compute`].
pub(crate) fn fetch<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor.try_into_vec_as().map_err(|error| failed(&error))
}

/// Tensors that are read together: a card is waited for once, not once for each of them.
#[derive(Default)]
pub(crate) struct Tensors(Transaction);

impl Tensors {
    pub(crate) fn push<const D: usize>(&mut self, tensor: Tensor<D>) {
        self.0 = std::mem::take(&mut self.0).register(tensor);
    }

    /// Their values in row-major order, as they were pushed.
    ///
    /// # Errors
    /// [`ModelError::Compute`].
    pub(crate) fn fetch(self) -> Result<Vec<Vec<f32>>, ModelError> {
        let read = self.0.try_execute().map_err(|error| failed(&error))?;
        let values = read.into_iter().map(TensorData::try_into_vec);
        values
            .map(|values| values.map_err(|error| failed(&error)))
            .collect()
    }
}

fn failed(error: &impl std::fmt::Debug) -> ModelError {
    let text = format!("{error:?}");
    // Burn has no kind of error for it: a chain of what was skipped ends in these words.
    let mut lines = text.lines().map(str::trim);
    let first = lines.clone().next().unwrap_or_default();
    let full = lines.find(|line| line.contains("can't allocate"));
    ModelError::Compute {
        told: full.unwrap_or(first).to_owned(),
        out_of_memory: full.is_some(),
    }
}

/// Values of a tensor in row-major order.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .try_into_vec_as()
        .expect("all our tensors hold f32 and can be read")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use slate_types::{FeatureShape, Seed};

    use super::*;
    use crate::NetworkOptions;

    #[test]
    fn names_are_stable_and_replacing_gives_the_same_back() {
        let options = NetworkOptions {
            hidden: 4,
            layers: 1,
            ..Default::default()
        };
        let shape = FeatureShape {
            dense: 2,
            categorical: vec![3],
            ..FeatureShape::default()
        };
        let config = options.check().unwrap();
        let build = |seed| Network::new(&config, &shape, 2, Seed(seed), &Device::flex()).unwrap();
        let first = read(&build(1));
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        let layer = "body.transformer.layers.0";
        let mut expected = vec![
            "embeddings.0.weight".to_owned(),
            "heads.bias".to_owned(),
            "heads.weight".to_owned(),
            "input.bias".to_owned(),
            "input.weight".to_owned(),
            "body.transformer.norm.beta".to_owned(),
            "body.transformer.norm.gamma".to_owned(),
        ];
        for part in [
            "attention.key",
            "attention.output",
            "attention.query",
            "attention.value",
        ] {
            expected.push(format!("{layer}.{part}.bias"));
            expected.push(format!("{layer}.{part}.weight"));
        }
        for part in ["inner", "outer"] {
            expected.push(format!("{layer}.{part}.bias"));
            expected.push(format!("{layer}.{part}.weight"));
        }
        for part in ["attention_norm", "feed_forward_norm"] {
            expected.push(format!("{layer}.{part}.beta"));
            expected.push(format!("{layer}.{part}.gamma"));
        }
        expected.sort();
        assert_eq!(names, expected);
        assert_ne!(read(&build(2)), first);
        assert_eq!(read(&replace(build(2), first.clone())), first);
    }
}
