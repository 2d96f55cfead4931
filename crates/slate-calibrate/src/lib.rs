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
//! | [`sigmoid`] | `1 / (1 + exp(-(a s + b)))` | log-odds are linear in the score |
//! | [`exponential`] | `min(1, exp(a s + b))` | the log of the rate is linear in the score |
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
//!     assert!(probabilities.as_slice()[3] > probabilities.as_slice()[0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bins;
mod calibrator;
mod error;
mod examples;
pub mod exponential;
mod file;
pub mod isotonic;
mod newton;
mod order;
pub mod sigmoid;

pub use calibrator::{ApplyError, Calibrator, Method, fit};
pub use error::FitError;
pub use exponential::Exponential;
pub use file::{CALIBRATOR_FORMAT, CalibratorFile, FittedOn, ReadError};
pub use isotonic::Isotonic;
pub use order::order;
pub use sigmoid::Sigmoid;
