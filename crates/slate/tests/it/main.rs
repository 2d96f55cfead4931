//! The program as its users run it: real processes, real files, exit codes and messages.

mod bad_input;
mod chain;
mod config;
mod contract;
mod program;
mod real_logs;
