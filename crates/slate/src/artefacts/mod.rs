//! Files the program itself reads and writes: staged outputs, score files, run manifests.

pub(crate) mod manifest;
pub(crate) mod scores;
mod staged;

pub(crate) use staged::{Staged, write_file};
