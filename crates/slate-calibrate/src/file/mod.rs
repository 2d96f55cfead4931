//! The file of a calibrator: JSON that a person can read and any program can apply.
//!
//! Keys: `format` (2), `kind` (`calibrator`), `method`, `formula` (how to apply it, for readers),
//! what the method needs, and `fitted_on`:
//!
//! | method | keys |
//! |---|---|
//! | `isotonic`, `isotonic_binned`, `centred`, `spline` | `knots`: rising `[score, probability]` pairs, linear between, constant outside |
//! | `histogram` | `steps`: `[lowest score, probability]` |
//! | `sigmoid`, `exponential`, `exponential_binned` | `slope`, `intercept` |
//! | `temperature` | `slope`: one over the temperature |
//! | `power` | `factor`, `exponent` |
//! | `beta` | `a`, `b`, `c` |
//! | `venn_abers` | `below`: `[low, high]`, `steps`: `[score, low at it, high at it, low above, high above]` |
//! | `raw`, `identity` | none |
//!
//! `reads` is `probability` where scores are probabilities whose log-odds the formula reads. `by`
//! and `segments` are there where segments have maps of their own: each has a `key` (values of the
//! first columns of `by`) and either a `ratio` to its parent or a `share` and a `map` of its own.
//! Unknown keys, newer formats, falling knots and numbers that are not finite are refused. Format 1
//! had neither segments nor `reads`, and is read.
//!
//! ```
//! use slate_calibrate::{Calibrator, CalibratorFile, Sigmoid};
//!
//! let sigmoid = Calibrator::Sigmoid(Sigmoid { slope: 2.0, intercept: -3.5 });
//! let file = CalibratorFile::new(sigmoid);
//! let json = file.to_json();
//! assert!(json.contains("\"slope\": 2.0"));
//! assert_eq!(CalibratorFile::from_json(&json)?, file);
//! # Ok::<(), slate_calibrate::ReadError>(())
//! ```

mod map;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slate_types::{FormatVersion, FormatVersionError, Hint};

use self::map::Keys;
use crate::{Adjustment, Calibrator, Segment, Segments};

/// Version of the file that this build writes.
pub const CALIBRATOR_FORMAT: FormatVersion = FormatVersion(2);

/// The value of `kind`.
const KIND: &str = "calibrator";

/// A calibrator and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibratorFile {
    /// The map of all rows.
    pub calibrator: Calibrator,
    /// Maps of segments below it.
    pub segments: Option<Segments>,
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
    /// Not JSON.
    #[error("calibrator is not readable")]
    Json(#[from] serde_json::Error),
    /// A newer format.
    #[error(transparent)]
    Format(#[from] FormatVersionError),
    /// Another kind of file.
    #[error("file is of kind `{0}`, expected `calibrator`")]
    Kind(String),
    /// A method this build does not know.
    #[error("unknown method `{0}`, expected one of {known}", known = map::known())]
    Method(String),
    /// A key that is needed is missing.
    #[error("{whose} needs `{key}`")]
    Missing {
        /// `method …`, or what part of the file it is.
        whose: String,
        /// The key.
        key: &'static str,
    },
    /// A key nobody knows.
    #[error("{whose} does not have `{key}`")]
    Unknown {
        /// `method …`, or what part of the file it is.
        whose: String,
        /// The key.
        key: String,
    },
    /// A knot is out of range or falls.
    #[error(
        "knot {0} is unsound, expected scores that rise and probabilities from 0 to 1 that never \
         fall"
    )]
    Knot(usize),
    /// A value of another type or out of range.
    #[error("`{key}` is {value}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A segment whose key does not fit `by`, or whose parent is missing.
    #[error("segment {0:?} has no parent in the file, or more values than `by` has columns")]
    Segment(Vec<String>),
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

/// What can be said of a file before all of it is read: newer formats may have other keys.
#[derive(Deserialize)]
struct Head {
    format: FormatVersion,
    kind: String,
}

impl CalibratorFile {
    /// A map of all rows that nothing is known of.
    pub fn new(calibrator: Calibrator) -> Self {
        Self {
            calibrator,
            segments: None,
            fitted_on: None,
        }
    }

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
        let mut keys = Keys::new("calibrator", serde_json::from_str(text)?);
        for known in ["format", "kind"] {
            keys.take(known);
        }
        let fitted_on = match keys.take("fitted_on") {
            None | Some(Value::Null) => None,
            Some(value) => Some(serde_json::from_value(value)?),
        };
        let by: Option<Vec<String>> = keys.take("by").map(serde_json::from_value).transpose()?;
        let nodes: Option<Vec<Map<String, Value>>> = keys
            .take("segments")
            .map(serde_json::from_value)
            .transpose()?;
        let calibrator = map::read(keys)?;
        let segments = match (by, nodes) {
            (None, None) => None,
            (Some(by), Some(nodes)) => {
                let nodes = nodes.into_iter().map(segment).collect::<Result<_, _>>()?;
                Some(Segments::from_nodes(by, nodes).map_err(ReadError::Segment)?)
            }
            (by, _) => {
                let key = if by.is_some() { "segments" } else { "by" };
                let whose = "calibrator".to_owned();
                return Err(ReadError::Missing { whose, key });
            }
        };
        Ok(Self {
            calibrator,
            segments,
            fitted_on,
        })
    }

    /// Writes JSON, one knot or segment per line, with a line end at its end. Numbers come back
    /// exactly.
    pub fn to_json(&self) -> String {
        let mut lines = vec![
            format!("\"format\": {}", CALIBRATOR_FORMAT.0),
            format!("\"kind\": \"{KIND}\""),
        ];
        lines.extend(map::lines(&self.calibrator, "\n    "));
        if let Some(segments) = &self.segments {
            lines.push(format!("\"by\": {}", json(&segments.by())));
            let nodes: Vec<String> = segments
                .nodes()
                .map(|(key, node)| {
                    let change = match &node.adjustment {
                        Adjustment::Ratio(ratio) => format!("\"ratio\": {ratio:?}"),
                        Adjustment::Own { share, map } => format!(
                            "\"share\": {share:?}, \"map\": {{{}}}",
                            map::lines(map, "").join(", ")
                        ),
                    };
                    format!(
                        "{{\"key\": {}, \"rows\": {}, \"positives\": {}, {change}}}",
                        json(&key),
                        node.rows,
                        node.positives
                    )
                })
                .collect();
            lines.push(format!(
                "\"segments\": [\n    {}\n  ]",
                nodes.join(",\n    ")
            ));
        }
        if let Some(fitted_on) = &self.fitted_on {
            lines.push(format!("\"fitted_on\": {}", json(fitted_on)));
        }
        format!("{{\n  {}\n}}\n", lines.join(",\n  "))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a struct of numbers and texts is always JSON")
}

fn segment(node: Map<String, Value>) -> Result<(Vec<String>, Segment), ReadError> {
    let mut keys = Keys::new("segment", node);
    let key = serde_json::from_value(keys.need("key")?)?;
    let rows = serde_json::from_value(keys.need("rows")?)?;
    let positives = serde_json::from_value(keys.need("positives")?)?;
    let adjustment = match keys.take("map") {
        None => Adjustment::Ratio(keys.number("ratio", 0.0, f64::MAX)?),
        Some(own) => Adjustment::Own {
            share: keys.number("share", 0.0, 1.0)?,
            map: Box::new(map::read(Keys::new("map", serde_json::from_value(own)?))?),
        },
    };
    keys.end()?;
    let segment = Segment {
        rows,
        positives,
        adjustment,
    };
    Ok((key, segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isotonic;

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
            fitted_on: Some(fitted_on),
            ..CalibratorFile::new(Calibrator::Isotonic(map))
        };
        let json = file.to_json();
        assert_eq!(
            json,
            r#"{
  "format": 2,
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
            error(r#"{"format": 3, "kind": "calibrator", "method": "wavelet", "new": 1}"#),
            "calibrator has format 3, expected a format from 1 to 2"
        );
        assert_eq!(
            error(r#"{"format": 1, "kind": "dataset"}"#),
            "file is of kind `dataset`, expected `calibrator`"
        );
        let method = error(&format!(r#"{{{head}, "method": "wavelet"}}"#));
        assert!(method.starts_with("unknown method `wavelet`"), "{method}");
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
        for (text, expected) in [
            (
                r#""method": "raw", "metod": 1"#,
                "method `raw` does not have `metod`",
            ),
            (
                r#""method": "isotonic", "knots": [[0, null]]"#,
                "`knots` is [[0,null]], expected rows of 2 numbers",
            ),
            (
                r#""method": "raw", "by": ["slot"]"#,
                "calibrator needs `segments`",
            ),
            (
                r#""method": "raw", "by": ["slot"], "segments": [{"key": ["1", "2"], "rows": 1, "positives": 0, "ratio": 1}]"#,
                "segment [\"1\", \"2\"] has no parent in the file, or more values than `by` has columns",
            ),
            (
                r#""method": "raw", "reads": "tea""#,
                "`reads` is \"tea\", expected `probability`",
            ),
        ] {
            assert_eq!(error(&format!("{{{head}, {text}}}")), expected);
        }
        let falling = error(&format!(
            r#"{{{head}, "method": "isotonic", "knots": [[0, 0.5], [1, 0.4]]}}"#
        ));
        assert!(falling.starts_with("knot 1 is unsound"), "{falling}");
        for unreadable in [
            "",
            "{}",
            &format!(r#"{{{head}, "method": "isotonic", "knots": [[0, NaN]]}}"#),
        ] {
            assert_eq!(
                error(unreadable),
                "calibrator is not readable",
                "{unreadable}"
            );
        }
    }
}
