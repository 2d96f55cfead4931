//! The program as its users run it: real processes, real files, exit codes and messages.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot lay out its files stops there"
)]
#![expect(
    clippy::print_stdout,
    reason = "a test says what it skips where there is no data"
)]

mod backtest;
mod bad_input;
mod bucket;
mod calibration;
mod chain;
#[cfg(feature = "cluster")]
mod cluster;
mod config;
mod contract;
mod embed;
mod evaluation;
mod features;
mod label;
mod online;
mod program;
mod real_logs;
mod resume;
mod retrain;
mod similar;
mod sources;
mod sweep;
mod tensorboard;
mod torch;
mod trace;
mod trees;
mod update;
mod update_options;
mod verdicts;
