//! Where tensors live: the device a name on the command line or in a config stands for.
//!
//! Every build computes on the processor. With the cargo feature `gpu` it also does on any card
//! that Vulkan, Metal or Direct3D 12 reaches, through WGSL; with `cuda` on those of NVIDIA. A device
//! that is not there is refused with the list of those that are, never replaced silently.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A device by name: `auto`, `cpu`, `gpu:N` or `cuda:N`.
///
/// `vulkan:N` and, on a machine of Apple, `metal:N` are other names of `gpu:N`. Without a number
/// the first one is meant. A name says nothing about the machine: the device is looked for when a
/// network is built, loaded or trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The first card of this build and machine, or else the processor. A driver that computes on
    /// the processor is no card.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A card by its number among those that the graphics driver shows.
    Gpu(u32),
    /// A card by CUDA's number.
    Cuda(u32),
}

/// A device that this build finds on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundDevice {
    /// What to call it.
    pub name: DeviceSpec,
    /// How it calls itself.
    pub label: String,
    /// Whether [`DeviceSpec::Auto`] may take it.
    pub is_card: bool,
    #[serde(skip)]
    pub(crate) device: Device,
}

impl DeviceSpec {
    /// The devices of this build on this machine, best first; the processor is the last.
    pub fn found() -> Vec<FoundDevice> {
        let mut found = cards::cuda();
        let (cards, software): (Vec<_>, Vec<_>) =
            cards::gpu().into_iter().partition(|device| device.is_card);
        found.extend(cards);
        found.extend(software);
        found.push(FoundDevice::processor());
        found
    }

    /// The device of this name.
    ///
    /// # Errors
    /// [`ModelError::Device`] where there is none, with those that there are.
    pub fn find(self) -> Result<FoundDevice, ModelError> {
        if self == Self::Cpu {
            // Without asking any driver.
            return Ok(FoundDevice::processor());
        }
        let wanted = Self::found().into_iter().find(|device| match self {
            Self::Auto => device.is_card || device.name == Self::Cpu,
            other => device.name == other,
        });
        wanted.ok_or_else(|| self.refused())
    }

    /// The error that there is no such device, with those that there are.
    pub(crate) fn refused(self) -> ModelError {
        let found = Self::found();
        let names: Vec<String> = found.iter().map(|device| device.name.to_string()).collect();
        refused(&self.to_string(), &names)
    }

    /// The card so many places behind this one.
    pub(crate) fn after(self, places: u32) -> Self {
        match self {
            Self::Gpu(number) => Self::Gpu(number.saturating_add(places)),
            Self::Cuda(number) => Self::Cuda(number.saturating_add(places)),
            other => other,
        }
    }
}

impl FoundDevice {
    fn processor() -> Self {
        Self {
            name: DeviceSpec::Cpu,
            label: "the processor".to_owned(),
            is_card: false,
            device: Device::flex(),
        }
    }
}

/// Whether a device is the processor, where the fused operations are.
pub(crate) fn is_processor(device: &Device) -> bool {
    *device == Device::flex()
}

fn refused(given: &str, names: &[String]) -> ModelError {
    let names = names.iter().map(|name| format!("`{name}`"));
    ModelError::Device {
        given: given.to_owned(),
        known: std::iter::once("`auto`".to_owned())
            .chain(names)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The cards of this build.
mod cards {
    #[cfg(any(feature = "gpu", feature = "cuda"))]
    use burn::tensor::{Device, DeviceType};

    #[cfg(any(feature = "gpu", feature = "cuda"))]
    use super::DeviceSpec;
    use super::FoundDevice;

    #[cfg(feature = "gpu")]
    pub(super) fn gpu() -> Vec<FoundDevice> {
        let devices = Device::enumerate(DeviceType::Wgpu).into_vec();
        (0..).map(DeviceSpec::Gpu).zip(devices).map(named).collect()
    }

    #[cfg(feature = "cuda")]
    pub(super) fn cuda() -> Vec<FoundDevice> {
        let devices = Device::enumerate(DeviceType::Cuda).into_vec();
        (0..)
            .map(DeviceSpec::Cuda)
            .zip(devices)
            .map(named)
            .collect()
    }

    #[cfg(any(feature = "gpu", feature = "cuda"))]
    fn named((name, device): (DeviceSpec, Device)) -> FoundDevice {
        let identity = device.identity();
        let label = identity.as_ref().map(|identity| identity.name.clone());
        FoundDevice {
            name,
            label: label.unwrap_or_else(|| "a card without a name".to_owned()),
            is_card: identity.is_some_and(|identity| identity.physical.is_some()),
            device,
        }
    }

    #[cfg(not(feature = "gpu"))]
    pub(super) fn gpu() -> Vec<FoundDevice> {
        Vec::new()
    }

    #[cfg(not(feature = "cuda"))]
    pub(super) fn cuda() -> Vec<FoundDevice> {
        Vec::new()
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(number) => write!(f, "gpu:{number}"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The graphics interface of this system, as another name of its cards.
const GRAPHICS: &str = if cfg!(target_vendor = "apple") {
    "metal"
} else {
    "vulkan"
};

impl FromStr for DeviceSpec {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let (kind, number) = match name.split_once(':') {
            None => (name, Some(0)),
            Some((kind, number)) => (kind, number.parse().ok()),
        };
        match (kind, number) {
            ("auto", Some(0)) if kind == name => Ok(Self::Auto),
            ("cpu", Some(0)) if kind == name => Ok(Self::Cpu),
            ("cuda", Some(number)) => Ok(Self::Cuda(number)),
            ("gpu", Some(number)) => Ok(Self::Gpu(number)),
            (kind, Some(number)) if kind == GRAPHICS => Ok(Self::Gpu(number)),
            _ => Err(refused(
                name,
                &["cpu", "gpu:N", "cuda:N"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([format!("{GRAPHICS}:N")])
                    .collect::<Vec<_>>(),
            )),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = ModelError;

    fn try_from(name: String) -> Result<Self, ModelError> {
        name.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(device: DeviceSpec) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_others_are_refused() {
        for (name, spec) in [
            ("auto", DeviceSpec::Auto),
            ("cpu", DeviceSpec::Cpu),
            ("gpu", DeviceSpec::Gpu(0)),
            ("gpu:3", DeviceSpec::Gpu(3)),
            ("cuda:1", DeviceSpec::Cuda(1)),
            (&format!("{GRAPHICS}:2"), DeviceSpec::Gpu(2)),
        ] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap(), spec);
            assert_eq!(spec.to_string().parse::<DeviceSpec>().unwrap(), spec);
        }
        for name in ["cpu:0", "auto:0", "cuda:", "cuda:x", "gpu:-1", "tpu", ""] {
            let error = name.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{name}` is not available")),
                "{error}"
            );
            assert!(
                error.contains("`auto`, `cpu`, `gpu:N`, `cuda:N`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_with_those_that_are() {
        let error = DeviceSpec::Cuda(77).find().unwrap_err().to_string();
        assert!(
            error.starts_with("device `cuda:77` is not available"),
            "{error}"
        );
        assert!(
            error.contains("`auto`") && error.contains("`cpu`"),
            "{error}"
        );
        assert_eq!(DeviceSpec::Cpu.find().unwrap().name, DeviceSpec::Cpu);
        let auto = DeviceSpec::Auto.find().unwrap();
        assert!(auto.is_card || auto.name == DeviceSpec::Cpu);
    }
}
