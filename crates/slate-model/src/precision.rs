//! Mixed precision: products of linear layers in half precision, on a card that has it.
//!
//! A pass of a training step reads weights of linear layers as 16-bit numbers and multiplies in
//! them; sums with biases, normalisations, attention's products, softmax, losses and the weights the optimiser
//! moves keep 32 bits (Micikevicius et al. 2018). Slopes go back multiplied by the power of two that brings
//! the largest to about 1, so that small ones do not vanish; a piece of a batch whose gradient leaves the
//! range all the same is computed again in full precision. So nothing depends on steps before, and a training
//! goes on from a checkpoint as it would have.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::device::is_processor;
use crate::network::Network;
use crate::options::refuse;

/// How exactly a training step multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit numbers throughout.
    #[default]
    Full,
    /// Products of linear layers in 16-bit numbers; on cards that have them alone.
    Mixed,
}

impl Precision {
    /// Whether it is what nothing says otherwise.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_full(&self) -> bool {
        *self == Self::Full
    }

    /// Refuses a device that does not have it.
    pub(crate) fn check(self, device: &Device) -> Result<(), ModelError> {
        let has_half = !is_processor(device) && device.supports_dtype(FloatDType::F16);
        if self == Self::Full || has_half {
            return Ok(());
        }
        let allowed = "`full` on this device: 16-bit products need a card that has them";
        Err(refuse("precision", allowed, "mixed"))
    }

    /// A network about to be a graph, its weights of linear layers as this precision reads them.
    pub(crate) fn read(self, network: Network) -> Network {
        match self {
            Self::Full => network,
            Self::Mixed => network.map(&mut Narrow(Vec::new())),
        }
    }

    /// What slopes are multiplied by on their way back: a power of two.
    pub(crate) fn scale<'a>(self, slopes: impl Iterator<Item = &'a f64>) -> f64 {
        let largest = slopes.fold(0.0_f64, |most, slope| most.max(slope.abs()));
        if self == Self::Full || !largest.is_normal() {
            return 1.0;
        }
        // Within what f32 can hold and undo.
        (-largest.log2().round()).clamp(-100.0, 100.0).exp2()
    }
}

/// Weights of linear layers as 16-bit numbers; holds whether each module on the way is one.
struct Narrow(Vec<bool>);

impl ModuleMapper for Narrow {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.0.push(container_type.ends_with("Linear"));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D == 2 && self.0.contains(&true) {
            param.map(|own| own.cast(FloatDType::F16))
        } else {
            param
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_brought_to_one_by_a_power_of_two() {
        let scale = |slopes: &[f64]| Precision::Mixed.scale(slopes.iter());
        assert_eq!(scale(&[0.001, -0.004, 0.0]), 256.0);
        assert_eq!(scale(&[-3000.0]), 1.0 / 4096.0);
        assert_eq!(scale(&[0.0]), 1.0);
        assert_eq!(scale(&[]), 1.0);
        assert_eq!(scale(&[f64::NAN]), 1.0);
        assert_eq!(scale(&[f64::INFINITY]), 1.0);
        assert_eq!(Precision::Full.scale([0.001].iter()), 1.0);
    }

    #[test]
    fn the_processor_has_full_precision_alone() {
        assert!(Precision::Full.check(&Device::flex()).is_ok());
        let refused = Precision::Mixed.check(&Device::flex()).unwrap_err();
        let expected = "`train.precision` is mixed, expected `full` on this device";
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}
