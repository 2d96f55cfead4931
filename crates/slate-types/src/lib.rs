//! The nouns every Slate crate shares: ids of a log, lists, grades, scores, seeds, versions.
//!
//! Nothing here reads or writes anything and nothing here computes a metric. A type lives here
//! when two crates that must not know each other have to agree on it: `slate-features` makes a
//! [`Batch`], `slate-model` consumes it; `slate-sim` writes the tables of [`log`], `slate-logs`
//! checks them; `slate-sim` draws pages by a [`PlackettLuce`] law, `slate-allocate` says how likely
//! a policy's are.
//!
//! ```
//! use slate_types::{ListOffsets, Seed};
//!
//! let lists = ListOffsets::from_lengths([3, 1, 2])?;
//! assert_eq!(lists.range(2), 4..6);
//! assert_ne!(Seed(7).derive("shuffle"), Seed(7).derive("dropout"));
//! # Ok::<(), slate_types::OffsetsError>(())
//! ```

mod batch;
mod format_version;
mod grade;
mod hint;
mod lists;
pub mod log;
mod plackett_luce;
mod progress;
mod scores;
mod seed;
mod split;

pub use batch::{
    Batch, FeatureShape, HistoryShape, InputPlaces, ListHistory, PairInputs, SlotIds, VisitorPlaces,
};
pub use format_version::{FormatVersion, FormatVersionError};
pub use grade::Grade;
pub use hint::Hint;
pub use lists::{ListOffsets, OffsetsError};
pub use plackett_luce::PlackettLuce;
pub use progress::{Progress, Silent};
pub use scores::{NotAProbability, Probabilities, Scores};
pub use seed::Seed;
pub use split::Split;
