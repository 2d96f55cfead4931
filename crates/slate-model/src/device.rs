//! Where tensors live: the device a name in a config stands for.
//!
//! This build computes on the processor. A graphics device is asked for by name (`cuda:0`,
//! `vulkan:0`) and refused with the list of what there is, never replaced silently.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A device by name: `auto` (the best this build has) or `cpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The best device this build has; today the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

impl DeviceSpec {
    /// Names this build accepts.
    pub const KNOWN: [&'static str; 2] = ["auto", "cpu"];

    /// The name of the device that [`Auto`](Self::Auto) and the others come down to.
    pub fn resolved(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "cpu",
        }
    }

    pub(crate) fn open(self) -> Device {
        match self {
            Self::Auto | Self::Cpu => Device::flex(),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
        })
    }
}

impl FromStr for DeviceSpec {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            other => Err(ModelError::Device {
                given: other.to_owned(),
                known: Self::KNOWN.map(|name| format!("`{name}`")).join(", "),
            }),
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
    fn known_names_are_read_and_others_are_refused_by_name() {
        for name in DeviceSpec::KNOWN {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
        assert_eq!(
            "cuda:0".parse::<DeviceSpec>().unwrap_err().to_string(),
            "device `cuda:0` is not available, expected one of `auto`, `cpu`"
        );
    }
}
