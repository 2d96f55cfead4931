//! Monotone maps from a ranker's score to the probability of an event.
//!
//! Input: one score (finite, larger = more relevant), one label (0 or 1) and, optionally, one
//! weight (0 or more) per row, from rows that neither trained nor test the ranker. Output: a
//! [`Calibrator`], which never decreases in the score, and its file ([`CalibratorFile`]), which can
//! be read by eye and used without Slate.
//!
//! | method | map | right when |
//! |---|---|---|
//! | [`isotonic`] | the best non-decreasing one | there are many positives, say 1,000 |
//! | its `_binned` form | the same over 100 quantile bins | as above, and steps should be few |
//! | its `centred` form | the same through the middles of its steps | it must not tie scores |
//! | [`sigmoid`] | `1 / (1 + exp(-(a s + b)))` | log-odds are linear in the score |
//! | [`exponential`] | `min(1, exp(a s + b))` | the log of the rate is linear in the score |
//! | its `_binned` form | the same through log rates of bins | never; it is what others may do |
//! | [`power`] | `min(1, f q^k)`, q the claimed probability | the log of the rate is linear in log q |
//! | [`beta`] | log-odds linear in `ln q` and `ln(1 - q)` | scores are squeezed at one end |
//! | [`temperature`] | log-odds divided by a number | only how sure it is is wrong |
//! | [`histogram`] | the rate of each of 20 bins | steps must be few and wide |
//! | [`spline`] | log-odds a smooth curve | the curve is bent, and rows are few for isotonic |
//! | [`venn_abers`] | between two isotonic fits | it must say how little is known |
//!
//! With the feature `linfa` a [`Method`] is fitted and a [`Calibrator`] predicts in a linfa pipeline.
//!
//! For rare events (below 1%) the last two hardly differ. A score that falls where labels rise
//! gives a flat line, not a falling one: calibration never turns a ranking round.
//!
//! Isotonic maps tie rows that the score told apart. Rank by calibrated probability with
//! [`order`], which breaks such ties by score.
//!
//! ```
//! use slate_calibrate::{Method, fit};
//! use slate_types::Scores;
//!
//! let scores = [0.1, 0.4, 0.2, 0.9, 0.8, 0.7];
//! let labels = [0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
//! for method in Method::ALL {
//!     let calibrator = fit(method, &scores, &labels, None)?;
//!     let probabilities = calibrator.apply_all(&Scores(scores.to_vec()))?;
//!     assert!(probabilities.as_slice()[3] >= probabilities.as_slice()[0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod beta;
pub mod bins;
mod calibrator;
mod constrained;
mod error;
mod examples;
pub mod exponential;
mod file;
pub mod histogram;
pub mod isotonic;
#[cfg(feature = "linfa")]
mod linfa;
mod method;
mod newton;
mod order;
pub mod power;
mod segments;
pub mod sigmoid;
mod sorted;
pub mod spline;
pub mod temperature;
pub mod venn_abers;

pub use beta::Beta;
pub use calibrator::{ApplyError, Calibrator, PROBABILITY_CLIP};
pub use error::FitError;
pub use exponential::Exponential;
pub use file::{CALIBRATOR_FORMAT, CalibratorFile, FittedOn, ReadError};
pub use histogram::Steps;
pub use isotonic::Isotonic;
#[cfg(feature = "linfa")]
pub use linfa::LinfaError;
pub use method::{BINS, Method, Reads, fit, fit_reading};
pub use order::order;
pub use power::Power;
pub use segments::{Adjustment, Segment, SegmentOptions, Segments};
pub use sigmoid::Sigmoid;
pub use temperature::Temperature;
pub use venn_abers::VennAbers;
