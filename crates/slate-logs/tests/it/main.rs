//! Integration tests of slate-logs, one binary.

mod attribution;
mod bad_input;
mod determinism;
mod import;
mod log;
mod random;
mod twin;
mod validate;
