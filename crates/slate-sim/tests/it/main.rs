//! Whole simulated logs, read back from their files.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its log has failed"
)]

mod attribution;
mod files;
mod log;
mod months;
mod policies;
mod shock;
mod truth;
