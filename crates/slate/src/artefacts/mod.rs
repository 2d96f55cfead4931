//! Files the program itself reads and writes: staged outputs, score files, run manifests.

mod interrupted;
pub(crate) mod manifest;
pub(crate) mod scores;
mod staged;

pub(crate) use interrupted::clean_up_when_interrupted;
pub(crate) use staged::{Staged, write_file};
