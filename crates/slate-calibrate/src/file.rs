//! The file of a calibrator: JSON that a person can read and any program can apply.
//!
//! Keys: `format` (1), `kind` (`calibrator`), `method`, `formula` (how to apply it, for readers),
//! then `knots` (rising `[score, probability]` pairs, linear between, constant outside) or `slope`
//! and `intercept`, and `fitted_on`. Unknown keys, unknown formats, falling knots and numbers that
//! are not finite are refused.
//!
//! ```
//! use slate_calibrate::{Calibrator, CalibratorFile, Sigmoid};
//!
//! let file = CalibratorFile {
//!     calibrator: Calibrator::Sigmoid(Sigmoid { slope: 2.0, intercept: -3.5 }),
//!     fitted_on: None,
//! };
//! let json = file.to_json();
//! assert!(json.contains("\"slope\": 2.0"));
//! assert_eq!(CalibratorFile::from_json(&json)?, file);
//! # Ok::<(), slate_calibrate::ReadError>(())
//! ```

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use slate_types::{FormatVersion, FormatVersionError, Hint};

use crate::{Calibrator, Exponential, Isotonic, Sigmoid};

/// Version of the file that this build writes.
pub const CALIBRATOR_FORMAT: FormatVersion = FormatVersion(1);

/// The value of `kind`.
const KIND: &str = "calibrator";

/// A calibrator and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibratorFile {
    /// The map.
    pub calibrator: Calibrator,
    /// The rows it was fitted on; none for `raw` and `identity`.
    pub fitted_on: Option<FittedOn>,
}

/// The rows a calibrator was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedOn {
    /// Rows with weight above 0.
    pub rows: u64,
    /// Of these, rows with a label above 0.
    pub positives: u64,
    /// Sum of the weights.
    pub weight: f64,
    /// Name of the split, as in `calibrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Name of the label, as in `purchase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl FittedOn {
    /// Counts rows; split and label are left open.
    pub fn count(labels: &[f64], weights: Option<&[f64]>) -> Self {
        let mut fitted = Self {
            rows: 0,
            positives: 0,
            weight: 0.0,
            split: None,
            label: None,
        };
        for (row, label) in labels.iter().enumerate() {
            let weight = weights
                .and_then(|weights| weights.get(row))
                .copied()
                .unwrap_or(1.0);
            if weight > 0.0 {
                fitted.rows += 1;
                fitted.positives += u64::from(*label > 0.0);
                fitted.weight += weight;
            }
        }
        fitted
    }
}

/// A text that is no calibrator of this build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not JSON, an unknown or missing key, or a value of another type.
    #[error("calibrator is not readable")]
    Json(#[from] serde_json::Error),
    /// A newer format.
    #[error(transparent)]
    Format(#[from] FormatVersionError),
    /// Another kind of file.
    #[error("file is of kind `{0}`, expected `calibrator`")]
    Kind(String),
    /// A method this build does not know.
    #[error(
        "unknown method `{0}`, expected one of `isotonic`, `sigmoid`, `exponential`, `raw`, \
         `identity`"
    )]
    Method(String),
    /// A key that the method needs is missing, or one it does not have is there.
    #[error("method `{method}` {problem} `{key}`")]
    Key {
        /// The method.
        method: String,
        /// `needs` or `does not have`.
        problem: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A knot is out of range or falls.
    #[error(
        "knot {0} is unsound, expected scores that rise and probabilities from 0 to 1 that never \
         fall"
    )]
    Knot(usize),
    /// A slope is negative, or a number is not finite.
    #[error("`{key}` is {value}, expected {expected}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
}

impl Hint for ReadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Format(_) => Some("read it with the Slate that wrote it, or a newer one".into()),
            Self::Kind(_) => Some("give a file written by `slate calibrate`".into()),
            _ => None,
        }
    }
}

/// The file as it stands, before its parts are known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    /// Checked in [`Head`] already.
    #[serde(rename = "format")]
    _format: FormatVersion,
    /// Checked in [`Head`] already.
    #[serde(rename = "kind")]
    _kind: String,
    method: String,
    /// For people; what counts is the method.
    #[serde(default, rename = "formula")]
    _formula: Option<String>,
    knots: Option<Vec<[f64; 2]>>,
    slope: Option<f64>,
    intercept: Option<f64>,
    fitted_on: Option<FittedOn>,
}

/// What can be said of a file before all of it is read: newer formats may have other keys.
#[derive(Deserialize)]
struct Head {
    format: FormatVersion,
    kind: String,
}

impl CalibratorFile {
    /// Reads what [`CalibratorFile::to_json`] wrote.
    ///
    /// # Errors
    /// [`ReadError`] says what is wrong and where.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        let head: Head = serde_json::from_str(text)?;
        if head.kind != KIND {
            return Err(ReadError::Kind(head.kind));
        }
        head.format.check(KIND, CALIBRATOR_FORMAT)?;
        let layout: Layout = serde_json::from_str(text)?;
        Ok(Self {
            calibrator: layout.calibrator()?,
            fitted_on: layout.fitted_on,
        })
    }

    /// Writes JSON, one knot per line, with a line end at its end. Numbers come back exactly.
    pub fn to_json(&self) -> String {
        let mut lines = vec![
            format!("\"format\": {}", CALIBRATOR_FORMAT.0),
            format!("\"kind\": \"{KIND}\""),
            format!("\"method\": \"{}\"", self.calibrator.name()),
            format!("\"formula\": \"{}\"", formula(&self.calibrator)),
        ];
        match &self.calibrator {
            Calibrator::Isotonic(map) => {
                let mut knots = String::from("\"knots\": [\n");
                let count = map.knots().len();
                for (i, [score, probability]) in map.knots().enumerate() {
                    let comma = if i + 1 < count { "," } else { "" };
                    let _ = writeln!(knots, "    [{score:?}, {probability:?}]{comma}");
                }
                knots.push_str("  ]");
                lines.push(knots);
            }
            Calibrator::Sigmoid(Sigmoid { slope, intercept })
            | Calibrator::Exponential(Exponential { slope, intercept }) => {
                lines.push(format!("\"slope\": {slope:?}"));
                lines.push(format!("\"intercept\": {intercept:?}"));
            }
            Calibrator::Raw | Calibrator::Identity => {}
        }
        if let Some(fitted_on) = &self.fitted_on {
            let json = serde_json::to_string(fitted_on)
                .expect("a struct of numbers and texts is always JSON");
            lines.push(format!("\"fitted_on\": {json}"));
        }
        format!("{{\n  {}\n}}\n", lines.join(",\n  "))
    }
}

/// How to apply a calibrator, for readers of the file.
fn formula(calibrator: &Calibrator) -> &'static str {
    match calibrator {
        Calibrator::Isotonic(_) => {
            "linear between the knots [score, probability], constant outside"
        }
        Calibrator::Sigmoid(_) => "probability = 1 / (1 + exp(-(slope * score + intercept)))",
        Calibrator::Exponential(_) => "probability = min(1, exp(slope * score + intercept))",
        Calibrator::Raw => "probability = 1 / (1 + exp(-score))",
        Calibrator::Identity => "probability = score",
    }
}

impl Layout {
    fn calibrator(&self) -> Result<Calibrator, ReadError> {
        let method = self.method.as_str();
        let (knots, line) = match method {
            "isotonic" => (true, false),
            "sigmoid" | "exponential" => (false, true),
            "raw" | "identity" => (false, false),
            _ => return Err(ReadError::Method(method.to_owned())),
        };
        for (key, there, wanted) in [
            ("knots", self.knots.is_some(), knots),
            ("slope", self.slope.is_some(), line),
            ("intercept", self.intercept.is_some(), line),
        ] {
            if there != wanted {
                let problem = if wanted { "needs" } else { "does not have" };
                return Err(ReadError::Key {
                    method: method.to_owned(),
                    problem,
                    key,
                });
            }
        }
        if let Some(knots) = &self.knots {
            return Isotonic::from_knots(knots)
                .map(Calibrator::Isotonic)
                .map_err(ReadError::Knot);
        }
        let (slope, intercept) = (self.slope.unwrap_or(0.0), self.intercept.unwrap_or(0.0));
        if !slope.is_finite() || slope < 0.0 {
            let expected = "a finite number from 0 up";
            return Err(ReadError::Number {
                key: "slope",
                value: slope,
                expected,
            });
        }
        if !intercept.is_finite() {
            let expected = "a finite number";
            return Err(ReadError::Number {
                key: "intercept",
                value: intercept,
                expected,
            });
        }
        Ok(match method {
            "sigmoid" => Calibrator::Sigmoid(Sigmoid { slope, intercept }),
            "exponential" => Calibrator::Exponential(Exponential { slope, intercept }),
            "raw" => Calibrator::Raw,
            _ => Calibrator::Identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        CalibratorFile::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn the_file_is_readable_by_eye() {
        let map = Isotonic::from_knots(&[[-1.5, 0.001], [0.1, 0.25]]).unwrap();
        let fitted_on = FittedOn {
            split: Some("calibrate".to_owned()),
            label: Some("purchase".to_owned()),
            ..FittedOn::count(&[0.0, 1.0, 0.0], Some(&[1.0, 2.0, 0.0]))
        };
        let file = CalibratorFile {
            calibrator: Calibrator::Isotonic(map),
            fitted_on: Some(fitted_on),
        };
        let json = file.to_json();
        assert_eq!(
            json,
            r#"{
  "format": 1,
  "kind": "calibrator",
  "method": "isotonic",
  "formula": "linear between the knots [score, probability], constant outside",
  "knots": [
    [-1.5, 0.001],
    [0.1, 0.25]
  ],
  "fitted_on": {"rows":2,"positives":1,"weight":3.0,"split":"calibrate","label":"purchase"}
}
"#
        );
        assert_eq!(CalibratorFile::from_json(&json).unwrap(), file);
    }

    #[test]
    fn unsound_files_are_refused() {
        let head = r#""format": 1, "kind": "calibrator""#;
        assert_eq!(
            error(r#"{"format": 2, "kind": "calibrator", "method": "spline", "new": 1}"#),
            "calibrator has format 2, expected a format from 1 to 1"
        );
        assert_eq!(
            error(r#"{"format": 1, "kind": "dataset"}"#),
            "file is of kind `dataset`, expected `calibrator`"
        );
        let method = error(&format!(r#"{{{head}, "method": "spline"}}"#));
        assert!(method.starts_with("unknown method `spline`"), "{method}");
        assert_eq!(
            error(&format!(r#"{{{head}, "method": "sigmoid", "slope": 1}}"#)),
            "method `sigmoid` needs `intercept`"
        );
        assert_eq!(
            error(&format!(r#"{{{head}, "method": "raw", "slope": 1}}"#)),
            "method `raw` does not have `slope`"
        );
        assert_eq!(
            error(&format!(
                r#"{{{head}, "method": "sigmoid", "slope": -1, "intercept": 0}}"#
            )),
            "`slope` is -1, expected a finite number from 0 up"
        );
        let falling = error(&format!(
            r#"{{{head}, "method": "isotonic", "knots": [[0, 0.5], [1, 0.4]]}}"#
        ));
        assert!(falling.starts_with("knot 1 is unsound"), "{falling}");
        for unreadable in [
            "",
            "{}",
            &format!(r#"{{{head}, "method": "raw", "metod": 1}}"#),
            &format!(r#"{{{head}, "method": "isotonic", "knots": [[0, NaN]]}}"#),
            &format!(r#"{{{head}, "method": "isotonic", "knots": [[0, null]]}}"#),
        ] {
            assert_eq!(
                error(unreadable),
                "calibrator is not readable",
                "{unreadable}"
            );
        }
    }
}
