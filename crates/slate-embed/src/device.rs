//! Where encoders compute.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::EmbedError;

/// A device by name: `auto`, `cpu`, `cuda:N` or `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmbedDevice {
    /// The first card this build knows and this machine has, or else the processor.
    #[default]
    Auto,
    /// The processor, all threads of the program.
    Cpu,
    /// A card of NVIDIA, with the cargo feature `cuda`.
    Cuda(usize),
    /// The card of Apple, with the cargo feature `metal`.
    Metal,
}

impl EmbedDevice {
    pub(crate) fn open(self) -> Result<Device, EmbedError> {
        let missing = |source| EmbedError::Device {
            given: self.to_string(),
            source,
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => Device::new_cuda(number).map_err(missing),
            Self::Metal => Device::new_metal(0).map_err(missing),
            Self::Auto => {
                let card = Device::cuda_if_available(0).map_err(missing)?;
                if card.is_cpu() {
                    Device::metal_if_available(0).map_err(missing)
                } else {
                    Ok(card)
                }
            }
        }
    }
}

impl fmt::Display for EmbedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for EmbedDevice {
    type Err = EmbedError;

    fn from_str(name: &str) -> Result<Self, EmbedError> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("metal", _) => Ok(Self::Metal),
            (_, Some(Ok(number))) => Ok(Self::Cuda(number)),
            _ => Err(EmbedError::Option {
                key: "device",
                given: format!("`{name}`"),
                expected: "auto, cpu, cuda:N or metal".to_owned(),
            }),
        }
    }
}
