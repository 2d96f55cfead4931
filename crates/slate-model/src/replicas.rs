//! The copies of a network that share out a batch.
//!
//! On the processor these are its threads, which all read one copy of the weights, and a batch is
//! always cut in the same pieces, so that their number changes no result. Several cards of one kind
//! have a copy each and take one piece each; sums are made on the host in the order of the pieces,
//! and differ from those of one card in the last bits.

use std::sync::Arc;

use burn::tensor::Device;
use slate_types::Batch;

use crate::device::is_processor;
use crate::shards::{self, PIECES, Shard};
use crate::workers::Workers;
use crate::{DeviceSpec, ModelError};

/// Where the pieces of a batch are computed; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Replicas {
    devices: Vec<Device>,
    workers: Arc<Workers>,
}

impl Replicas {
    /// On a device: `count` threads of the processor, by default and at most all of the program's; or
    /// `count` cards from the named one on, by default that one alone.
    ///
    /// # Errors
    /// [`ModelError::Device`] for a card that is not there or is a driver in software beside a card,
    /// [`ModelError::Threads`].
    pub(crate) fn open(device: DeviceSpec, count: Option<u32>) -> Result<Self, ModelError> {
        let first = device.find()?;
        let (devices, workers) = match (first.name, count) {
            (DeviceSpec::Cpu, None) => (vec![first.device], rayon::current_num_threads()),
            (DeviceSpec::Cpu, Some(count)) => {
                let threads = rayon::current_num_threads();
                (vec![first.device], threads.min(count as usize))
            }
            (name, count) => {
                let count = count.unwrap_or(1).max(1);
                let cards = (0..count).map(|place| {
                    let found = name.after(place).find()?;
                    if first.is_card && !found.is_card {
                        return Err(found.name.refused());
                    }
                    Ok(found.device)
                });
                (cards.collect::<Result<_, ModelError>>()?, count as usize)
            }
        };
        Ok(Self {
            devices,
            workers: Arc::new(Workers::with_threads(workers)?),
        })
    }

    /// One card twice over: what a test can have of two.
    #[cfg(all(test, feature = "gpu"))]
    pub(crate) fn twice(device: DeviceSpec) -> Result<Self, ModelError> {
        let device = device.find()?.device;
        Ok(Self {
            devices: vec![device.clone(), device],
            workers: Arc::new(Workers::with_threads(2)?),
        })
    }

    /// The device that weights are kept on.
    pub(crate) fn first(&self) -> &Device {
        &self.devices[0]
    }

    /// The device of a piece.
    pub(crate) fn of(&self, piece: usize) -> &Device {
        &self.devices[piece % self.devices.len()]
    }

    /// Cuts a batch into pieces; lists without slots are left out.
    pub(crate) fn cut(&self, batch: &Batch) -> Vec<Shard> {
        let pieces = if is_processor(self.first()) {
            PIECES
        } else {
            self.devices.len()
        };
        shards::cut(batch, pieces)
    }

    /// `work(0)`, `work(1)`, … in that order, each with its device.
    pub(crate) fn map<T: Send>(
        &self,
        pieces: usize,
        work: impl Fn(usize, &Device) -> T + Sync,
    ) -> Vec<T> {
        let pieces: Vec<usize> = (0..pieces).collect();
        self.workers
            .map(pieces, |piece| work(piece, self.of(piece)))
    }

    /// The threads of the pieces.
    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }
}
