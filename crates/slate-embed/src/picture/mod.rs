//! Pictures to vectors: decoded, brought to size as torchvision does, and through a residual network.

mod decode;
#[cfg(feature = "libjpeg")]
mod libjpeg;
mod preprocess;
mod resample;
mod resnet;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rayon::prelude::*;

pub use decode::{Picture, Refused};
pub use preprocess::{Channels, Filter, Preprocess};
pub use resample::resize;

use crate::identity::{Fingerprint, Identity};
use crate::{EmbedDevice, EmbedError};
use resnet::ResNet;

/// Most pictures that go through the network together on one thread: enough that weights are not fetched
/// for each, few enough for memory.
const PICTURES: usize = 8;
/// The same on a card; as many as `slate embed` decodes at once.
const PICTURES_ON_CARD: usize = 32;

/// Which encoder of pictures, and how it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureOptions {
    /// A folder with the weights of a residual network, and what they say about their pictures.
    pub folder: PathBuf,
    /// Whether vectors are scaled to length 1. Left out: yes.
    pub normalize: Option<bool>,
}

/// A pretrained encoder of pictures.
pub struct PictureEncoder {
    network: ResNet,
    preprocess: Preprocess,
    device: Device,
    normalize: bool,
    identity: Identity,
}

impl std::fmt::Debug for PictureEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PictureEncoder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl PictureEncoder {
    /// Reads an encoder.
    ///
    /// # Errors
    /// [`EmbedError::Missing`] for a folder without weights, [`EmbedError::Config`] for a description
    /// that is not understood, [`EmbedError::Layout`] for weights of another network.
    pub fn open(options: &PictureOptions, device: EmbedDevice) -> Result<Self, EmbedError> {
        let folder = &options.folder;
        let weights = weights_file(folder)?;
        let preprocess = Preprocess::of_folder(folder)?;
        let device = device.open()?;
        let network = ResNet::load(&weights, &preprocess, &device)?;
        let normalize = options.normalize.unwrap_or(true);
        let mut fingerprint = Fingerprint::new("picture");
        fingerprint.file(&weights)?;
        fingerprint.text(&format!("{preprocess:?} {normalize}"));
        if cfg!(feature = "libjpeg") {
            fingerprint.text("libjpeg");
        }
        let identity = fingerprint.finish(&network.name(), network.dimensions());
        Ok(Self {
            network,
            preprocess,
            device,
            normalize,
            identity,
        })
    }

    /// What makes its vectors: another identity means other vectors.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is done to a picture before the network sees it.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The vectors of pictures, `[pictures, dimensions]`. A picture's vector depends on the picture
    /// alone but for rounding; `done` hears of pictures as they are finished, from any thread.
    ///
    /// # Errors
    /// [`EmbedError::Compute`] for a device that fails.
    pub fn encode(
        &self,
        pictures: &[Picture],
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<f32>, EmbedError> {
        let at_once = if self.device.is_cpu() {
            // Of a few pictures every thread has its share.
            let share = pictures.len().div_ceil(rayon::current_num_threads());
            share.clamp(1, PICTURES)
        } else {
            PICTURES_ON_CARD
        };
        let numbers = pictures.par_iter();
        let numbers: Vec<Vec<f32>> = numbers
            .map(|picture| self.preprocess.apply(picture))
            .collect();
        let vectors: Vec<Vec<f32>> = numbers
            .par_chunks(at_once)
            .map(|numbers| {
                let vectors = self.features(&numbers.concat());
                done(numbers.len());
                vectors
            })
            .collect::<Result<_, _>>()?;
        Ok(vectors.concat())
    }

    /// The vectors of pictures that are brought to size, `[pictures, side, side, 3]`.
    ///
    /// # Errors
    /// [`EmbedError::Compute`].
    pub fn features(&self, numbers: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let side = self.preprocess.crop as usize;
        let count = numbers.len() / (side * side * 3);
        let x = Tensor::from_slice(numbers, (count, side, side, 3), &self.device)?;
        let vectors = self.network.forward(&x)?;
        let mut vectors: Vec<f32> = vectors.flatten_all()?.to_vec1()?;
        if self.normalize {
            crate::scale_to_one(&mut vectors, self.identity.dimensions);
        }
        Ok(vectors)
    }
}

/// `model.safetensors`, or the only file of weights there is.
fn weights_file(folder: &Path) -> Result<PathBuf, EmbedError> {
    let named = folder.join("model.safetensors");
    if named.is_file() {
        return Ok(named);
    }
    let entries = fs::read_dir(folder).map_err(EmbedError::io("read", folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(EmbedError::io("read", folder))?.path();
        let ends = ["safetensors", "pth", "pt", "bin"];
        if path
            .extension()
            .is_some_and(|end| ends.iter().any(|known| end == *known))
        {
            found.push(path);
        }
    }
    match &found[..] {
        [only] => Ok(only.clone()),
        _ => Err(EmbedError::Missing {
            folder: folder.to_path_buf(),
            expected: "model.safetensors` or one file `*.safetensors` or `*.pth".to_owned(),
        }),
    }
}
