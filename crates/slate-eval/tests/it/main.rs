//! Behaviour of the whole crate: laws that hold for any data, intervals, comparisons.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backtest;
mod columns;
mod compare;
mod drift;
mod evaluate;
mod golden;
mod laws;
mod market;
mod off_policy;
mod open_bandit;
