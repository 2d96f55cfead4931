//! Whole rankers, from batches to bytes, and losses against an independent program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod batch_norm;
mod formats;
mod golden_losses;
mod linear;
mod loss_laws;
mod market;
mod pairs;
mod replicas;
mod saving;
mod scoring;
mod state_dict;
mod training;
mod update;
mod update_options;
mod visitors;
