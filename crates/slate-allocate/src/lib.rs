//! Which item gets which slot when money counts, and how likely that is.
//!
//! A policy orders the rows of a list by a value ([`OrderFormula`]) and may explore around that
//! order ([`Exploration`]). Input: one list at a time, one finite value per row, larger is shown
//! earlier. Output: orders, and the exact probability of each placement, which whoever judges a
//! policy from a log divides by the logger's. Rows of equal value take each of their places equally
//! often.
//!
//! ```
//! use slate_allocate::{Exploration, OrderFormula};
//!
//! let formula = OrderFormula { probability: 1.0, price: 0.5, ad_rate: 0.0, ..OrderFormula::default() };
//! let cheap = formula.value(0.02, Some(400.0), None);
//! let dear = formula.value(0.02, Some(900.0), None);
//! assert!((dear - cheap - 1.5_f64.ln()).abs() < 1e-12);
//!
//! let exploration = Exploration::Epsilon { share: 0.2 };
//! // The better of two rows stands first but on half of the explored lists.
//! let chances = exploration.marginals(&[cheap, dear])?;
//! assert!((chances.at(1, 0) - 0.9).abs() < 1e-12);
//! # Ok::<(), slate_allocate::AllocateError>(())
//! ```

mod error;
mod exploration;
mod formula;
mod placements;

pub use error::AllocateError;
pub use exploration::Exploration;
pub use formula::OrderFormula;
pub use placements::Placements;
