//! What another policy would have earned, from a log of what one did (off-policy evaluation).
//!
//! A logger put items into slots with known probabilities, its *propensities*; a *target* policy
//! would have put them there with others. Input: a [`Log`] (lists of placements, what each earned,
//! which lists depend on each other) and for each policy a [`Target`] (its *weights*: probability of
//! the placement under the policy ÷ under the logger, and what an outcome model expects). Output:
//! [`Estimates`]: the value of each policy per unit and the differences between them, from the same
//! resamples, with intervals over clusters.
//!
//! | name | what a placement of weight `w`, reward `r`, forecast `q` adds | bias | source |
//! |---|---|---|---|
//! | `replay` | `r` of the lists that were shown as the policy orders them, by length of list | none where all orders were equally likely | Li et al. 2011 |
//! | `dm` | what the outcome model expects of the policy | the model's | |
//! | `ips`, `ips@λ` | `min(w, λ)·r` | none; down where clipped | Horvitz and Thompson 1952 |
//! | `snips` | `w·r` ÷ mean `w`, slot by slot | vanishing | Swaminathan and Joachims 2015 |
//! | `dr`, `dr@λ` | `dm` + `min(w, λ)·(r − q)` | none where either is right | Dudík et al. 2014 |
//! | `sndr` | `dm` + `w·(r − q)` ÷ mean `w`, slot by slot | vanishing | |
//! | `switch_dr@λ` | as `dr` where `w ≤ λ`, else as `dm` | the model's, above λ | Wang et al. 2017 |
//! | `dr_os@λ` | as `dr` with `λw ÷ (w² + λ)` for `w` | shrinks with λ | Su et al. 2020 |
//! | `sg_ips@l`, `sg_dr@l` | with `w ÷ (1 − l + l·w)` for `w` | grows with `l` | Metelli et al. 2021 |
//! | `mips` | with the mean `w` of the placements of its cell | none where items of a cell earn the same | Saito and Joachims 2022 |
//! | `list_ips`, `list_snips` | with the weight of the whole list | none | |
//! | `rips`, `snrips` | with the weight of the slots down to its own | none where users go from the top | `McInerney` et al. 2020 |
//! | `cascade_dr` | `rips` around a model of what is still to come | none where either is right | Kiyohara et al. 2022 |
//!
//! Plain `w` is that of one item in one slot (Li et al. 2018): right where what an item earns in a
//! slot does not depend on its neighbours. A [`Choice`] `name@slope` lets [`slope`]
//! choose λ.
//!
//! ```
//! use slate_eval::off_policy::{Intervals, Log, Target, estimate};
//! use slate_types::ListOffsets;
//!
//! // Two lists of two rows, each shown in either order equally often.
//! let lists = ListOffsets::from_lengths([2, 2])?;
//! let log = Log::new(&lists, &[1.0, 0.0, 0.0, 1.0], &[0, 1, 0, 1]);
//! let target = Target::new(&[2.0, 2.0, 0.0, 0.0]);
//! let estimates = estimate(&log, &[target], "ips".parse()?, &Intervals::default())?;
//! // Of the first list, which is shown as the policy would, twice over; of the second nothing.
//! assert_eq!(estimates.policies[0].value, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod appeal;
mod click_model;
mod estimate;
mod estimator;
mod examination;
mod harvest;
mod intervals;
mod log;
mod loggers;
mod outcome;
mod regression;
mod resample;
mod slope;
mod sums;
mod tail;
mod verdict;
mod weights;

pub use click_model::{CascadeModel, Cell, PositionModel};
pub use estimate::{Change, Estimate, Estimates, estimate, estimate_independent};
pub use estimator::Estimator;
pub(crate) use estimator::KNOWN;
pub use examination::{Curve, Examination, Views, examine};
pub use harvest::{Harvest, harvest_pairs};
pub(crate) use intervals::normal;
pub use intervals::{IntervalMethod, Intervals, bca_ends, bernstein};
pub use log::{Log, Per, Target};
pub use loggers::{LoggerEstimate, balanced_propensities, weighted_loggers};
pub use outcome::{CrossFitted, Folds, OutcomeModel, Outcomes};
pub use slope::{Choice, Family, slope};
pub use sums::used_weights;
pub use tail::pareto_shape;
pub use verdict::{Doubt, Evidence, Judgement, Verdict, judge};
pub use weights::{WeightReport, deciding_rewards, report_weights};

/// A case of `tests/data/backtest.json`.
#[cfg(test)]
fn golden(name: &str) -> serde_json::Value {
    let text = include_str!("../../tests/data/backtest.json");
    serde_json::from_str::<serde_json::Value>(text).unwrap()[name].clone()
}
