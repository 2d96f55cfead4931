//! Integration tests of slate-logs, one binary.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot lay out its log stops there"
)]
#![expect(
    clippy::struct_field_names,
    reason = "columns keep the names of the schema"
)]

mod attribution;
mod bad_input;
mod daily;
mod determinism;
mod import;
mod log;
mod meanwhile;
mod progress;
mod random;
mod stored;
mod trace;
mod twin;
mod twin_pairs;
mod validate;
