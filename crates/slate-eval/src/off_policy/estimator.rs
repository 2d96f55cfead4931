//! Estimators by name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::EvalError;

/// How rewards of a log become the value of a policy. Parameters stand after `@`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Estimator {
    /// Lists shown as the policy orders them.
    Replay,
    /// The outcome model alone.
    Dm,
    /// Inverse propensity; weights above `clip` count as that.
    Ips {
        /// Infinite for none.
        clip: f64,
    },
    /// Self-normalised inverse propensity.
    Snips,
    /// Doubly robust; weights above `clip` count as that.
    Dr {
        /// Infinite for none.
        clip: f64,
    },
    /// Self-normalised doubly robust.
    Sndr,
    /// Doubly robust up to a weight of `most`, the outcome model above.
    SwitchDr {
        /// Largest weight that is used.
        most: f64,
    },
    /// Doubly robust with optimistic shrinkage.
    DrOs {
        /// λ, from 0 up; infinite for none.
        shrink: f64,
    },
    /// Inverse propensity with weights kept below 1 ÷ `bend`.
    SgIps {
        /// From 0 to 1.
        bend: f64,
    },
    /// Doubly robust with such weights.
    SgDr {
        /// From 0 to 1.
        bend: f64,
    },
    /// Inverse propensity of cells of items.
    Mips,
    /// Inverse propensity of whole lists.
    ListIps,
    /// The same, self-normalised.
    ListSnips,
    /// Inverse propensity of the slots down to each ("reward interaction").
    Rips,
    /// The same, self-normalised.
    SnRips,
    /// Doubly robust around a cascade.
    CascadeDr,
}

/// All names, for messages.
pub(crate) const KNOWN: &str = "replay, dm, ips, snips, dr, sndr, switch_dr@λ, dr_os@λ, sg_ips@l, \
    sg_dr@l, mips, list_ips, list_snips, rips, snrips, cascade_dr";

const NAMES: [&str; 16] = [
    "replay",
    "dm",
    "ips",
    "snips",
    "dr",
    "sndr",
    "switch_dr",
    "dr_os",
    "sg_ips",
    "sg_dr",
    "mips",
    "list_ips",
    "list_snips",
    "rips",
    "snrips",
    "cascade_dr",
];

impl Estimator {
    fn parts(self) -> (&'static str, Option<f64>) {
        let clip = |clip: f64| clip.is_finite().then_some(clip);
        match self {
            Self::Replay => ("replay", None),
            Self::Dm => ("dm", None),
            Self::Ips { clip: at } => ("ips", clip(at)),
            Self::Snips => ("snips", None),
            Self::Dr { clip: at } => ("dr", clip(at)),
            Self::Sndr => ("sndr", None),
            Self::SwitchDr { most } => ("switch_dr", Some(most)),
            Self::DrOs { shrink } => ("dr_os", Some(shrink)),
            Self::SgIps { bend } => ("sg_ips", Some(bend)),
            Self::SgDr { bend } => ("sg_dr", Some(bend)),
            Self::Mips => ("mips", None),
            Self::ListIps => ("list_ips", None),
            Self::ListSnips => ("list_snips", None),
            Self::Rips => ("rips", None),
            Self::SnRips => ("snrips", None),
            Self::CascadeDr => ("cascade_dr", None),
        }
    }

    /// Whether it reads the outcome model ([`crate::off_policy::Target::forecast`] and `expected`).
    pub fn reads_model(self) -> bool {
        matches!(
            self,
            Self::Dm
                | Self::Dr { .. }
                | Self::Sndr
                | Self::SwitchDr { .. }
                | Self::DrOs { .. }
                | Self::SgDr { .. }
        )
    }

    /// Whether it divides by mean weights.
    pub fn is_self_normalised(self) -> bool {
        matches!(
            self,
            Self::Replay | Self::Snips | Self::Sndr | Self::ListSnips | Self::SnRips
        )
    }

    /// Whether it divides by propensities at all.
    pub fn reads_propensities(self) -> bool {
        !matches!(self, Self::Replay | Self::Dm)
    }

    /// Whether it rests on what was shown, and not on a model alone.
    pub fn reads_weights(self) -> bool {
        self != Self::Dm
    }

    /// Whether it reads probabilities of several slots together.
    pub fn reads_prefixes(self) -> bool {
        matches!(
            self,
            Self::ListIps | Self::ListSnips | Self::Rips | Self::SnRips | Self::CascadeDr
        )
    }

    /// The estimator of this family that takes no bias for less variance; none where this one takes none.
    pub fn unbiased(self) -> Option<Self> {
        let clip = f64::INFINITY;
        match self {
            Self::Ips { clip: at } if at.is_finite() => Some(Self::Ips { clip }),
            Self::Dr { clip: at } if at.is_finite() => Some(Self::Dr { clip }),
            Self::SwitchDr { .. } | Self::DrOs { .. } | Self::SgDr { .. } => {
                Some(Self::Dr { clip })
            }
            Self::SgIps { .. } | Self::Mips => Some(Self::Ips { clip }),
            _ => None,
        }
    }

    /// What becomes of a weight.
    pub(crate) fn transform(self, w: f64) -> f64 {
        match self {
            Self::Ips { clip } | Self::Dr { clip } => w.min(clip),
            Self::SwitchDr { most } => {
                if w <= most {
                    w
                } else {
                    0.0
                }
            }
            Self::DrOs { shrink } if shrink.is_infinite() => w,
            Self::DrOs { shrink } => shrink * w / (w * w + shrink).max(f64::MIN_POSITIVE),
            Self::SgIps { bend } | Self::SgDr { bend } => w / (1.0 - bend + bend * w),
            _ => w,
        }
    }
}

impl fmt::Display for Estimator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, None) => f.write_str(name),
            (name, Some(at)) => write!(f, "{name}@{at}"),
        }
    }
}

impl Serialize for Estimator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Estimator {
    type Err = EvalError;

    fn from_str(given: &str) -> Result<Self, EvalError> {
        let (name, at) = match given.split_once('@') {
            Some((name, at)) => (name, Some(at)),
            None => (given, None),
        };
        let unknown = || {
            let near = |known: &&&str| strsim::damerau_levenshtein(name, known) <= 2;
            EvalError::UnknownEstimator {
                given: given.to_owned(),
                nearest: NAMES.iter().find(near).map(|&near| near.to_owned()),
            }
        };
        let bad = |expected| EvalError::EstimatorParameter {
            given: given.to_owned(),
            expected,
        };
        let from_0 = || match at.map(str::parse::<f64>) {
            None => Ok(None),
            Some(Ok(at)) if at >= 0.0 => Ok(Some(at)),
            Some(_) => Err(bad("a number from 0 up after `@`")),
        };
        let needed = || from_0()?.ok_or_else(|| bad("a number from 0 up after `@`"));
        let share = || match needed()? {
            at if at <= 1.0 => Ok(at),
            _ => Err(bad("a number from 0 to 1 after `@`")),
        };
        let plain = |estimator| match at {
            None => Ok(estimator),
            Some(_) => Err(bad("nothing after it")),
        };
        match name {
            "replay" => plain(Self::Replay),
            "dm" => plain(Self::Dm),
            "ips" => Ok(Self::Ips {
                clip: from_0()?.unwrap_or(f64::INFINITY),
            }),
            "snips" => plain(Self::Snips),
            "dr" => Ok(Self::Dr {
                clip: from_0()?.unwrap_or(f64::INFINITY),
            }),
            "sndr" => plain(Self::Sndr),
            "switch_dr" => Ok(Self::SwitchDr { most: needed()? }),
            "dr_os" => Ok(Self::DrOs { shrink: needed()? }),
            "sg_ips" => Ok(Self::SgIps { bend: share()? }),
            "sg_dr" => Ok(Self::SgDr { bend: share()? }),
            "mips" => plain(Self::Mips),
            "list_ips" => plain(Self::ListIps),
            "list_snips" => plain(Self::ListSnips),
            "rips" => plain(Self::Rips),
            "snrips" => plain(Self::SnRips),
            "cascade_dr" => plain(Self::CascadeDr),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "replay",
            "dm",
            "ips",
            "ips@2",
            "snips",
            "dr",
            "dr@0.5",
            "sndr",
            "switch_dr@1",
            "dr_os@10",
            "sg_ips@0.1",
            "sg_dr@0.1",
            "mips",
            "list_ips",
            "list_snips",
            "rips",
            "snrips",
            "cascade_dr",
        ] {
            assert_eq!(name.parse::<Estimator>().unwrap().to_string(), name);
        }
        assert_eq!(NAMES.len(), KNOWN.split(", ").count());
    }

    #[test]
    fn mistakes_are_named() {
        let told = |name: &str| name.parse::<Estimator>().unwrap_err().to_string();
        assert!(told("switch_dr").contains("a number from 0 up after `@`"));
        assert!(told("sg_dr@2").contains("from 0 to 1"));
        assert!(told("snips@3").contains("nothing after it"));
        assert!(told("ips@-1").contains("from 0 up"));
        assert!(matches!(
            "snip".parse::<Estimator>(),
            Err(EvalError::UnknownEstimator { nearest: Some(near), .. }) if near == "snips" || near == "ips"
        ));
    }

    #[test]
    fn weights_are_transformed_as_the_papers_say() {
        let at = |name: &str, w: f64| name.parse::<Estimator>().unwrap().transform(w);
        assert_eq!(at("ips@2", 3.0), 2.0);
        assert_eq!(at("switch_dr@2", 3.0), 0.0);
        assert_eq!(at("dr_os@4", 2.0), 1.0);
        assert_eq!(at("dr_os@inf", 7.0), 7.0);
        assert_eq!(at("dr_os@0", 0.0), 0.0);
        assert!((at("sg_ips@0.5", 3.0) - 1.5).abs() < 1e-15);
    }
}
