//! A marketplace whose truth is known: users, sellers, items, pages and what happens on them.
//!
//! In: a [`MarketConfig`] (section `[simulate]` of a config file) and a seed. Out: a log folder in
//! the canonical schema, streamed to Parquet in bounded memory, with one more table, `truth`, that
//! holds the probabilities each outcome was drawn from. So a ranker, a calibrator or an off-policy
//! estimate can be compared with what is true, which no real log allows.
//!
//! What holds in every simulated log:
//! - The same market and seed give the same bytes at any number of threads.
//! - `propensity` is the exact marginal probability that this item got this slot, given the page's
//!   candidates and its traffic class; two policies with one seed order the same candidates.
//! - `p_click` and `p_purchase` are the probabilities that attribution by user, item and time
//!   (clicks within 30 minutes of the page, purchases within 30 days, cancels taken back) finds a
//!   click and a purchase. For this, no user is shown an item again within 30 days; duplicates,
//!   late and orphan events never match an open window.
//! - An outcome depends on its own placement and slot only, not on its neighbours.
//!
//! A [`Shock`] breaks one month on purpose: where events get lost, attribution finds less than the truth.
//!
//! Refused: values out of range, rates that cannot be met, a catalogue too small for its users.
//!
//! ```
//! use slate_sim::{MarketConfig, simulate};
//! use slate_types::{Seed, Silent};
//!
//! let market = MarketConfig { pages: 60, users: 40, pictures: false, ..MarketConfig::default() };
//! let out = tempfile::tempdir()?;
//! let summary = simulate(&market.check()?, Seed(7), out.path(), &Silent)?;
//! assert_eq!(summary.pages, 60);
//! assert!(out.path().join("truth.parquet").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod behaviour;
mod calendar;
mod catalogue;
mod chunk;
mod config;
mod curve;
mod error;
mod events;
mod pages;
mod people;
mod picture;
mod plan;
mod random;
mod ranking;
mod season;
mod shock;
mod simulate;
mod table_file;
mod table_files;
mod tables;
mod tuning;
mod words;

pub use config::{Files, Market, MarketConfig, Policy};
pub use curve::Curve;
pub use error::SimError;
pub use shock::Shock;
pub use simulate::{Summary, simulate};
