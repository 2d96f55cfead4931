//! What makes a vector what it is: the encoder, by the bytes of its files and its options.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::EmbedError;

/// An encoder as a store remembers it: other bytes or options are another encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Kind of encoder, as in `bert` or `resnet50`.
    pub encoder: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// SHA-256 over files and options, lower-case hex.
    pub fingerprint: String,
}

/// A hash in the making.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Raised where our own arithmetic changes what vectors come out.
    const VERSION: u32 = 1;

    pub(crate) fn new(kind: &str) -> Self {
        let mut fingerprint = Self(Sha256::new());
        fingerprint.text(&format!("slate-embed {} {kind}", Self::VERSION));
        fingerprint
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    pub(crate) fn file(&mut self, path: &Path) -> Result<(), EmbedError> {
        let mut file = File::open(path).map_err(EmbedError::io("read", path))?;
        let length = file.metadata().map_err(EmbedError::io("read", path))?.len();
        self.0.update(length.to_le_bytes());
        let mut bytes = vec![0; 1 << 20];
        loop {
            match file
                .read(&mut bytes)
                .map_err(EmbedError::io("read", path))?
            {
                0 => return Ok(()),
                count => self.0.update(&bytes[..count]),
            }
        }
    }

    pub(crate) fn finish(self, encoder: &str, dimensions: usize) -> Identity {
        Identity {
            encoder: encoder.to_owned(),
            dimensions,
            fingerprint: hex(&self.0.finalize()),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
