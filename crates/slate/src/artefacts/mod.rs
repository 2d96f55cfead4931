//! Files the program itself reads and writes: staged outputs, score files, run manifests.

mod interrupted;
mod lock;
pub(crate) mod manifest;
pub(crate) mod scores;
mod staged;
pub(crate) mod tensorboard;

pub(crate) use interrupted::{INTERRUPTED, clean_up_when_interrupted, end_when_asked};
pub(crate) use lock::OutputLock;
pub(crate) use staged::{Staged, write_file};
