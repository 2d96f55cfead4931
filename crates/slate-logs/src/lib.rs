//! Raw logs to checked, attributed examples, in SQL; importers of public log formats.
//!
//! A log is a folder with the tables of [`slate_types::log`]. [`LogSource::open`] checks their
//! columns, [`examples`] checks their rows, credits each event to at most one placement, counts what
//! was known of items and users before each page, and writes one row for each placement.
//! [`validate`] only looks, and lists every problem; [`daily`] counts the rows of each day;
//! [`dry_run`] says what a job would take; [`trace`] follows one page through the job and says why
//! each event went where it went.
//!
//! What is decided here, once, for everything downstream:
//!
//! - An `impression_id` on an event beats the join by user (or session) and item; of several
//!   placements the latest by `(ts, page_id, slot, impression_id)` gets the event. A purchase goes
//!   to a clicked placement first. Cancelled purchases do not count.
//! - Every event ends as attributed, late, orphan or duplicate, and [`JoinReport`] adds up.
//! - A row whose label window had not closed by the date of the labels is not `matured`: its
//!   missing outcome means nothing yet.
//! - History counts what happened strictly before the page, to the microsecond.
//!
//! ```
//! use slate_logs::{Grades, AttributionOptions};
//!
//! let options = AttributionOptions {
//!     label_as_of: Some("2026-07-01".to_owned()),
//!     grades: Grades { watch: 1, ..Grades::default() },
//!     ..AttributionOptions::default()
//! };
//! let attribution = options.check()?;
//! assert_eq!(attribution.longest_window(), 30 * 86_400_000_000);
//! # Ok::<(), slate_logs::LogError>(())
//! ```

mod attribution;
mod beside;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod cluster_options;
mod codes;
mod daily;
mod date;
mod dry_run;
mod engine;
mod error;
mod examples;
mod faults;
mod history;
mod history_options;
pub mod import;
mod join_report;
mod layout;
mod lists;
mod options;
mod order;
mod pairs;
mod passes;
mod plan;
mod rejects;
mod row_files;
mod row_hash;
mod rows;
mod sequences;
mod source;
mod stored;
mod stream;
mod summary;
mod tables;
mod trace;
mod validate;
mod writer;

#[cfg(feature = "cluster")]
pub use cluster::{run_executor, run_scheduler};
pub use cluster_options::{ClusterOptions, ClusterReport, DiscardedShard};
pub use daily::{Day, daily};
pub use dry_run::{DryRun, PlannedStage, dry_run};
pub use error::LogError;
pub use examples::{EXAMPLES_FORMAT, examples, labels};
pub use history_options::{HistoryKey, PairOptions, SequenceOptions};
pub use join_report::{JoinLine, JoinReport};
pub use layout::ExampleColumns;
pub use options::{Attribution, AttributionOptions, EngineOptions, Grades, JoinOn};
pub use passes::Memory;
pub use rejects::RejectCount;
pub use source::{LogSource, LogTables, RemoteLog};
pub use summary::{ExampleFiles, ExamplesSummary};
pub use trace::{
    CreditTrace, EventTrace, PageTrace, PlacementTrace, RawRow, RawValue, RejectedRow, span, trace,
};
pub use validate::{Problem, ValidationReport, validate};
