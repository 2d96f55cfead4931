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
use crate::{Convention, EvalError, LOG_LOSS_CLIP, Via};

/// The known names, for messages.
pub(crate) const KNOWN: &str = "`ndcg`, `ndcg@k`, `dcg@k`, `err@k`, `map@k`, `mrr@k`, \
                                `precision@k`, `recall@k`, `hit@k`, `ptr@k`, `ctr@k`, \
                                `revenue@k` (each also `:ips` or `:snips`), `auc`, `list_auc`, \
                                `logloss`, `ne`, `brier`, `mcb`, `dsc`, `unc`, `pcoc`, `slope`, \
                                `intercept`, `in_the_large`, `ece`, `ace`, `ece2`";

/// A metric that [`crate::evaluate`] and [`crate::compare`] can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricName {
    /// `ndcg` over whole lists, or `ndcg@k`.
    Ndcg {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `dcg`, or `dcg@k`.
    Dcg {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `err`, or `err@k`.
    Err {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `map`, or `map@k`.
    Map {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `mrr`, or `mrr@k`, where a first positive after rank k counts 0.
    Mrr {
        /// Cutoff, or none for the whole list.
        k: Option<usize>,
    },
    /// `precision@k`.
    Precision {
        /// Cutoff.
        k: usize,
    },
    /// `recall@k`.
    Recall {
        /// Cutoff.
        k: usize,
    },
    /// `hit@k`.
    Hit {
        /// Cutoff.
        k: usize,
    },
    /// `ptr@k`, `ptr@k:ips`, `ptr@k:snips`.
    Ptr {
        /// Cutoff.
        k: usize,
        /// How it is counted.
        via: Via,
    },
    /// `ctr@k`, as `ptr@k` of clicks.
    Ctr {
        /// Cutoff.
        k: usize,
        /// How it is counted.
        via: Via,
    },
    /// `revenue@k`, as `ptr@k` of what positives are worth.
    Revenue {
        /// Cutoff.
        k: usize,
        /// How it is counted.
        via: Via,
    },
    /// `auc`.
    Auc,
    /// `list_auc`.
    ListAuc,
    /// `logloss`.
    LogLoss,
    /// `ne`: log loss over that of the base rate.
    Ne,
    /// `brier`.
    Brier,
    /// `mcb`: miscalibration of the Brier score.
    Miscalibration,
    /// `dsc`: discrimination of the Brier score.
    Discrimination,
    /// `unc`: uncertainty of the Brier score.
    Uncertainty,
    /// `pcoc`.
    Pcoc,
    /// `slope`.
    Slope,
    /// `intercept`.
    Intercept,
    /// `in_the_large`.
    InTheLarge,
    /// `ece`.
    Ece,
    /// `ace`.
    Ace,
    /// `ece2`: squared and debiased.
    Ece2,
}

/// What a metric's name may have after its stem.
enum Suffix {
    None,
    MaybeCutoff(fn(Option<usize>) -> MetricName),
    Cutoff(fn(usize) -> MetricName),
    CutoffAndVia(fn(usize, Via) -> MetricName),
}

/// All metrics by the first part of their names.
const STEMS: [(&str, Suffix, Option<MetricName>); 26] = {
    use MetricName as M;
    use Suffix::{Cutoff, CutoffAndVia, MaybeCutoff, None as Plain};
    [
        ("ndcg", MaybeCutoff(|k| M::Ndcg { k }), None),
        ("dcg", MaybeCutoff(|k| M::Dcg { k }), None),
        ("err", MaybeCutoff(|k| M::Err { k }), None),
        ("map", MaybeCutoff(|k| M::Map { k }), None),
        ("mrr", MaybeCutoff(|k| M::Mrr { k }), None),
        ("precision", Cutoff(|k| M::Precision { k }), None),
        ("recall", Cutoff(|k| M::Recall { k }), None),
        ("hit", Cutoff(|k| M::Hit { k }), None),
        ("ptr", CutoffAndVia(|k, via| M::Ptr { k, via }), None),
        ("ctr", CutoffAndVia(|k, via| M::Ctr { k, via }), None),
        (
            "revenue",
            CutoffAndVia(|k, via| M::Revenue { k, via }),
            None,
        ),
        ("auc", Plain, Some(M::Auc)),
        ("list_auc", Plain, Some(M::ListAuc)),
        ("logloss", Plain, Some(M::LogLoss)),
        ("ne", Plain, Some(M::Ne)),
        ("brier", Plain, Some(M::Brier)),
        ("mcb", Plain, Some(M::Miscalibration)),
        ("dsc", Plain, Some(M::Discrimination)),
        ("unc", Plain, Some(M::Uncertainty)),
        ("pcoc", Plain, Some(M::Pcoc)),
        ("slope", Plain, Some(M::Slope)),
        ("intercept", Plain, Some(M::Intercept)),
        ("in_the_large", Plain, Some(M::InTheLarge)),
        ("ece", Plain, Some(M::Ece)),
        ("ace", Plain, Some(M::Ace)),
        ("ece2", Plain, Some(M::Ece2)),
    ]
};

impl MetricName {
    /// The first part of the name.
    fn stem(self) -> &'static str {
        match self {
            Self::Ndcg { .. } => "ndcg",
            Self::Dcg { .. } => "dcg",
            Self::Err { .. } => "err",
            Self::Map { .. } => "map",
            Self::Mrr { .. } => "mrr",
            Self::Precision { .. } => "precision",
            Self::Recall { .. } => "recall",
            Self::Hit { .. } => "hit",
            Self::Ptr { .. } => "ptr",
            Self::Ctr { .. } => "ctr",
            Self::Revenue { .. } => "revenue",
            Self::Auc => "auc",
            Self::ListAuc => "list_auc",
            Self::LogLoss => "logloss",
            Self::Ne => "ne",
            Self::Brier => "brier",
            Self::Miscalibration => "mcb",
            Self::Discrimination => "dsc",
            Self::Uncertainty => "unc",
            Self::Pcoc => "pcoc",
            Self::Slope => "slope",
            Self::Intercept => "intercept",
            Self::InTheLarge => "in_the_large",
            Self::Ece => "ece",
            Self::Ace => "ace",
            Self::Ece2 => "ece2",
        }
    }

    /// Whether larger is better; `None` for those that are best near 1 or 0 (`pcoc`, `slope`,
    /// `intercept`, `in_the_large`) and for `unc`, which no model can change.
    pub fn larger_is_better(self) -> Option<bool> {
        match self {
            Self::Ndcg { .. }
            | Self::Dcg { .. }
            | Self::Err { .. }
            | Self::Map { .. }
            | Self::Mrr { .. }
            | Self::Precision { .. }
            | Self::Recall { .. }
            | Self::Hit { .. }
            | Self::Ptr { .. }
            | Self::Ctr { .. }
            | Self::Revenue { .. }
            | Self::Auc
            | Self::ListAuc
            | Self::Discrimination => Some(true),
            Self::LogLoss
            | Self::Ne
            | Self::Brier
            | Self::Miscalibration
            | Self::Ece
            | Self::Ace
            | Self::Ece2 => Some(false),
            Self::Pcoc | Self::Slope | Self::Intercept | Self::InTheLarge | Self::Uncertainty => {
                None
            }
        }
    }

    /// What it is best near, where neither larger nor smaller is better.
    pub fn best_near(self) -> Option<f64> {
        match self {
            Self::Pcoc | Self::Slope => Some(1.0),
            Self::Intercept | Self::InTheLarge => Some(0.0),
            _ => None,
        }
    }

    /// Whether it reads probabilities; the others read scores.
    pub fn reads_probabilities(self) -> bool {
        matches!(
            self,
            Self::LogLoss
                | Self::Ne
                | Self::Brier
                | Self::Miscalibration
                | Self::Discrimination
                | Self::Uncertainty
                | Self::Pcoc
                | Self::Slope
                | Self::Intercept
                | Self::InTheLarge
                | Self::Ece
                | Self::Ace
                | Self::Ece2
        )
    }

    /// The cutoff, where it is counted by inverse propensity.
    pub fn weighted_at(self) -> Option<usize> {
        match self {
            Self::Ptr { k, via } | Self::Ctr { k, via } | Self::Revenue { k, via } => {
                (via != Via::Replay).then_some(k)
            }
            _ => None,
        }
    }

    /// Whether rows with a weight above 0 are what counts, weighted where there are weights.
    pub fn is_over_rows(self) -> bool {
        self.reads_probabilities() || self == Self::Auc
    }

    /// What `n` counts: `list`, `item`, `page` or `row`.
    pub fn unit(self, convention: &Convention) -> &'static str {
        match self {
            Self::Ptr { .. } | Self::Ctr { .. } | Self::Revenue { .. } => convention.per.name(),
            name if name.is_over_rows() => "row",
            _ => "list",
        }
    }

    /// The choices this metric depends on, as text.
    pub fn convention(self, convention: &Convention) -> String {
        let (ties, empty) = (convention.ties.name(), convention.empty.name());
        let single = if convention.single { ";scores=f32" } else { "" };
        let plain = Convention {
            per: crate::Per::Item,
            short: crate::Short::Length,
            recalled: crate::Recalled::All,
            ..*convention
        };
        match self {
            Self::Ndcg { .. } => plain.to_string(),
            Self::Dcg { .. } => plain.to_string().replace(&format!(";empty={empty}"), ""),
            Self::Err { .. } => format!("stop=exp;ties={ties};empty={empty}{single}"),
            Self::Map { .. } => format!(
                "recalled={};ties={ties};empty={empty}{single}",
                convention.recalled.name()
            ),
            Self::Precision { .. } => {
                format!("short={};ties={ties}{single}", convention.short.name())
            }
            Self::Hit { .. } | Self::Mrr { .. } | Self::Recall { .. } => {
                format!("ties={ties};empty={empty}{single}")
            }
            Self::Ptr { via, .. } | Self::Ctr { via, .. } | Self::Revenue { via, .. } => {
                format!(
                    "via={};per={};ties={ties}{single}",
                    via.name(),
                    convention.per.name()
                )
            }
            Self::Auc => "over=rows;ties=half".to_owned(),
            Self::ListAuc => "over=lists of both classes;ties=half".to_owned(),
            Self::LogLoss => format!("log=e;clip={LOG_LOSS_CLIP:e}"),
            Self::Ne => format!("logloss/entropy of the base rate;clip={LOG_LOSS_CLIP:e}"),
            Self::Brier => "mean-square".to_owned(),
            Self::Miscalibration | Self::Discrimination | Self::Uncertainty => {
                "corp;score=brier".to_owned()
            }
            Self::Pcoc => "predicted/observed".to_owned(),
            Self::Slope | Self::Intercept => {
                format!("logit(label)~intercept+slope*logit(predicted);clip={LOG_LOSS_CLIP:e}")
            }
            Self::InTheLarge => {
                format!("logit(label)~intercept+logit(predicted);clip={LOG_LOSS_CLIP:e}")
            }
            Self::Ece => format!("bins={ECE_BINS};mass=equal;ties=whole;interval=basic"),
            Self::Ace => format!("bins={ECE_BINS};mass=equal;ties=whole;mean=bins;interval=basic"),
            Self::Ece2 => {
                format!("squared;debiased;bins={ECE_BINS};mass=equal;ties=whole;interval=basic")
            }
        }
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stem())?;
        match self {
            Self::Ndcg { k }
            | Self::Dcg { k }
            | Self::Err { k }
            | Self::Map { k }
            | Self::Mrr { k } => match k {
                Some(k) => write!(f, "@{k}"),
                None => Ok(()),
            },
            Self::Precision { k } | Self::Recall { k } | Self::Hit { k } => write!(f, "@{k}"),
            Self::Ptr { k, via } | Self::Ctr { k, via } | Self::Revenue { k, via } => {
                write!(f, "@{k}")?;
                match via {
                    Via::Replay => Ok(()),
                    via => write!(f, ":{}", via.name()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for MetricName {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        let (rest, via) = match text.split_once(':') {
            Some((rest, via)) => (rest, Some(via)),
            None => (text, None),
        };
        let (stem, cutoff) = match rest.split_once('@') {
            Some((stem, cutoff)) => (stem, Some(cutoff)),
            None => (rest, None),
        };
        let Some((_, suffix, plain)) = STEMS.iter().find(|(known, ..)| *known == stem) else {
            return Err(unknown(text));
        };
        let bad_cutoff = || EvalError::Cutoff {
            given: text.to_owned(),
        };
        let k = match cutoff.map(str::parse::<usize>) {
            None => None,
            Some(Ok(k)) if k > 0 => Some(k),
            Some(_) => return Err(bad_cutoff()),
        };
        let via = match (via, suffix) {
            (None, _) | (Some("replay"), Suffix::CutoffAndVia(_)) => Via::Replay,
            (Some("ips"), Suffix::CutoffAndVia(_)) => Via::Ips,
            (Some("snips"), Suffix::CutoffAndVia(_)) => Via::Snips,
            _ => return Err(unknown(text)),
        };
        match (suffix, k) {
            (Suffix::None, None) => plain.ok_or_else(|| unknown(text)),
            (Suffix::None, Some(_)) => Err(unknown(text)),
            (Suffix::MaybeCutoff(make), k) => Ok(make(k)),
            (Suffix::Cutoff(make), Some(k)) => Ok(make(k)),
            (Suffix::CutoffAndVia(make), Some(k)) => Ok(make(k, via)),
            (Suffix::Cutoff(_) | Suffix::CutoffAndVia(_), None) => Err(bad_cutoff()),
        }
    }
}

/// The error for a name that is no metric, with the nearest one that is.
fn unknown(given: &str) -> EvalError {
    let (stem, rest) = given.split_at(given.find(['@', ':']).unwrap_or(given.len()));
    let stem = stem.to_lowercase();
    let nearest = STEMS
        .iter()
        .map(|(known, suffix, _)| (strsim::damerau_levenshtein(&stem, known), known, suffix))
        .min_by_key(|&(distance, ..)| distance)
        .filter(|&(distance, known, _)| distance <= 2 && distance < known.len())
        .map(|(_, known, suffix)| match suffix {
            Suffix::None => (*known).to_owned(),
            Suffix::CutoffAndVia(_) => format!("{known}{rest}"),
            Suffix::MaybeCutoff(_) | Suffix::Cutoff(_) => {
                format!("{known}{}", rest.split(':').next().unwrap_or_default())
            }
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
            "ndcg",
            "ndcg@10",
            "dcg@3",
            "err",
            "err@10",
            "map",
            "map@5",
            "mrr",
            "mrr@5",
            "precision@5",
            "recall@5",
            "hit@1",
            "ptr@3",
            "ptr@3:ips",
            "ctr@2:snips",
            "revenue@10",
            "auc",
            "list_auc",
            "logloss",
            "ne",
            "brier",
            "mcb",
            "dsc",
            "unc",
            "pcoc",
            "slope",
            "intercept",
            "in_the_large",
            "ece",
            "ace",
            "ece2",
        ] {
            let name: MetricName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
        for (stem, ..) in &STEMS {
            let known =
                KNOWN.contains(&format!("`{stem}`")) || KNOWN.contains(&format!("`{stem}@k`"));
            assert!(known, "{stem} is not among the known names");
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
            ("accuracy", None),
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
