//! Names of metrics, and a metric with its interval as it stands in `--json`.
//!
//! ```
//! use slate_eval::MetricName;
//!
//! assert_eq!("ndcg@10".parse(), Ok(MetricName::Ndcg { k: Some(10) }));
//! let error = "ndgc@10".parse::<MetricName>().unwrap_err();
//! assert!(error.to_string().starts_with("unknown metric `ndgc@10`, expected one of `ndcg`"));
//! assert_eq!(slate_types::Hint::hint(&error), Some("did you mean `ndcg@10`?".to_owned()));
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reliability::ECE_BINS;
use crate::{Convention, EvalError, LOG_LOSS_CLIP, Per};

/// The known names, for messages.
pub(crate) const KNOWN: &str = "`ndcg`, `ndcg@k`, `ptr@k`, `hit@k`, `mrr`, `mrr@k`, `auc`, \
                                `logloss`, `brier`, `pcoc`, `ece`";

const STEMS: [&str; 9] = [
    "ndcg", "ptr", "hit", "mrr", "auc", "logloss", "brier", "pcoc", "ece",
];

/// A metric that [`crate::evaluate`] and [`crate::compare`] can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricName {
    /// `ndcg` over whole lists, or `ndcg@k`.
    Ndcg {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `ptr@k`.
    Ptr {
        /// Cutoff.
        k: usize,
    },
    /// `hit@k`.
    Hit {
        /// Cutoff.
        k: usize,
    },
    /// `mrr`, or `mrr@k`, where a first positive after rank k counts 0.
    Mrr {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `auc`.
    Auc,
    /// `logloss`.
    LogLoss,
    /// `brier`.
    Brier,
    /// `pcoc`.
    Pcoc,
    /// `ece`.
    Ece,
}

impl MetricName {
    /// Whether larger is better; `None` for `pcoc`, which is best near 1.
    pub fn larger_is_better(self) -> Option<bool> {
        match self {
            Self::Ndcg { .. }
            | Self::Ptr { .. }
            | Self::Hit { .. }
            | Self::Mrr { .. }
            | Self::Auc => Some(true),
            Self::LogLoss | Self::Brier | Self::Ece => Some(false),
            Self::Pcoc => None,
        }
    }

    /// Whether it reads probabilities; the others read scores.
    pub fn reads_probabilities(self) -> bool {
        matches!(self, Self::LogLoss | Self::Brier | Self::Pcoc | Self::Ece)
    }

    /// What `n` counts: `list` or `row`.
    pub fn unit(self, convention: &Convention) -> &'static str {
        match self {
            Self::Ndcg { .. } | Self::Hit { .. } | Self::Mrr { .. } => "list",
            Self::Ptr { .. } if convention.ptr == Per::List => "list",
            _ => "row",
        }
    }

    /// The choices this metric depends on, as text.
    pub fn convention(self, convention: &Convention) -> String {
        let (ties, empty) = (convention.ties.name(), convention.empty.name());
        match self {
            Self::Ndcg { .. } => Convention {
                ptr: Per::Placement,
                ..*convention
            }
            .to_string(),
            Self::Ptr { .. } => format!("per={};ties={ties}", convention.ptr.name()),
            Self::Hit { .. } | Self::Mrr { .. } => format!("ties={ties};empty={empty}"),
            Self::Auc => "over=rows;ties=half".to_owned(),
            Self::LogLoss => format!("log=e;clip={LOG_LOSS_CLIP:e}"),
            Self::Brier => "mean-square".to_owned(),
            Self::Pcoc => "predicted/observed".to_owned(),
            Self::Ece => format!("bins={ECE_BINS};mass=equal;ties=whole;interval=basic"),
        }
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ndcg { k: None } => f.write_str("ndcg"),
            Self::Ndcg { k: Some(k) } => write!(f, "ndcg@{k}"),
            Self::Ptr { k } => write!(f, "ptr@{k}"),
            Self::Hit { k } => write!(f, "hit@{k}"),
            Self::Mrr { k: None } => f.write_str("mrr"),
            Self::Mrr { k: Some(k) } => write!(f, "mrr@{k}"),
            Self::Auc => f.write_str("auc"),
            Self::LogLoss => f.write_str("logloss"),
            Self::Brier => f.write_str("brier"),
            Self::Pcoc => f.write_str("pcoc"),
            Self::Ece => f.write_str("ece"),
        }
    }
}

impl FromStr for MetricName {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        let (stem, cutoff) = match text.split_once('@') {
            Some((stem, cutoff)) => (stem, Some(cutoff)),
            None => (text, None),
        };
        let bad_cutoff = || EvalError::Cutoff {
            given: text.to_owned(),
        };
        let some_k = || match cutoff.map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(k)) if k > 0 => Ok(Some(k)),
            Some(_) => Err(bad_cutoff()),
        };
        let whole = |name| {
            if cutoff.is_none() {
                Ok(name)
            } else {
                Err(unknown(text))
            }
        };
        match stem {
            "ndcg" => Ok(Self::Ndcg { k: some_k()? }),
            "ptr" => Ok(Self::Ptr {
                k: some_k()?.ok_or_else(bad_cutoff)?,
            }),
            "hit" => Ok(Self::Hit {
                k: some_k()?.ok_or_else(bad_cutoff)?,
            }),
            "mrr" => Ok(Self::Mrr { k: some_k()? }),
            "auc" => whole(Self::Auc),
            "logloss" => whole(Self::LogLoss),
            "brier" => whole(Self::Brier),
            "pcoc" => whole(Self::Pcoc),
            "ece" => whole(Self::Ece),
            _ => Err(unknown(text)),
        }
    }
}

/// The error for a name that is no metric, with the nearest one that is.
fn unknown(given: &str) -> EvalError {
    let (stem, rest) = given.split_at(given.find('@').unwrap_or(given.len()));
    let stem = stem.to_lowercase();
    let nearest = STEMS
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&stem, known), known))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, known)| distance <= 2 && distance < known.len())
        .map(|(_, known)| match known {
            "auc" | "logloss" | "brier" | "pcoc" | "ece" => known.to_owned(),
            _ => format!("{known}{rest}"),
        });
    EvalError::UnknownMetric {
        given: given.to_owned(),
        nearest,
    }
}

/// One number with its interval, in the stable shape of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name, as in `ndcg@10`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Lower end of its interval; NaN, which JSON writes as `null`, where there is none (fewer
    /// than two lists, or no bootstrap draws).
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    /// Upper end of its interval; as `low`.
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
    /// Lists or rows that count.
    pub n: u64,
    /// What `n` counts: `list` or `row`.
    pub unit: String,
    /// The choices the number depends on.
    pub convention: String,
}

/// JSON has no NaN; `null` stands for it.
pub(crate) fn null_is_nan<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::Hint;

    #[test]
    fn names_and_back() {
        for text in [
            "ndcg", "ndcg@10", "ptr@3", "hit@1", "mrr", "mrr@5", "auc", "logloss", "brier", "pcoc",
            "ece",
        ] {
            let name: MetricName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn bad_names_and_cutoffs_are_refused() {
        for text in ["ptr", "hit", "ndcg@0", "ndcg@", "ndcg@-1", "mrr@x"] {
            let error = text.parse::<MetricName>().unwrap_err();
            assert!(matches!(error, EvalError::Cutoff { .. }), "{text}: {error}");
        }
        for (text, hint) in [
            ("log-loss", Some("did you mean `logloss`?")),
            ("pctr@3", Some("did you mean `ptr@3`?")),
            ("auc@3", Some("did you mean `auc`?")),
            ("NDCG@5", Some("did you mean `ndcg@5`?")),
            ("precision", None),
            ("", None),
        ] {
            let error = text.parse::<MetricName>().unwrap_err();
            assert!(
                matches!(error, EvalError::UnknownMetric { .. }),
                "{text}: {error}"
            );
            assert_eq!(error.hint().as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn json_has_the_stable_shape() {
        let metric = Metric {
            name: "ndcg@10".to_owned(),
            value: 0.71,
            low: 0.69,
            high: f64::NAN,
            n: 588,
            unit: "list".to_owned(),
            convention: Convention::default().to_string(),
        };
        let json = serde_json::to_string(&metric).unwrap();
        assert_eq!(
            json,
            r#"{"name":"ndcg@10","value":0.71,"low":0.69,"high":null,"n":588,"unit":"list","convention":"gain=exp;ties=mean;empty=skip"}"#
        );
        let back: Metric = serde_json::from_str(&json).unwrap();
        assert!(back.high.is_nan() && back.low == 0.69);
    }
}
