//! Online experiments: how large, whether sound, read daily or at the end.
//!
//! Units (users, pages) are assigned to arms by chance; what a unit earned depends on its own arm
//! alone. [`units_needed`] and its like plan, [`assignment_check`] finds arms that do not have the
//! shares they were planned with, [`Cuped`] takes out what was known before, [`MixtureTest`] may be
//! read every day, [`trend()`] looks for novelty. Differences between arms are [`crate::off_policy::estimate_independent`]'s.

mod assignment;
mod cuped;
mod interleaving;
mod power;
mod sequential;
mod trend;

pub use assignment::{AssignmentCheck, assignment_check};
pub use cuped::Cuped;
pub use interleaving::{Interleaving, Merged, Preference, prefer};
pub use power::{Arms, power_reached, smallest_difference, units_needed};
pub use sequential::MixtureTest;
pub use trend::{Trend, trend};
