//! The crate from outside: examples and LETOR files in, dataset folders out and back in.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod bad_input;
mod dataset;
mod export;
mod extend;
mod fixture;
mod golden;
mod history_vectors;
mod kinds;
mod letor;
mod long_lists;
mod part_folder;
mod properties;
mod taste;
mod trace;
mod trend;
mod vector_scale;
