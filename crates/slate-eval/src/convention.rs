//! The choices a ranking metric leaves open, named, so that two numbers can be compared.
//!
//! The rule for lists without a relevant row alone moves the mean NDCG by the share of such lists,
//! and a constant scorer's NDCG depends on nothing but the rule for ties. So every metric carries
//! its convention as text.
//!
//! ```
//! use slate_eval::Convention;
//!
//! assert_eq!(Convention::default().to_string(), "gain=exp;ties=mean;empty=skip");
//! let lightgbm: Convention = "lightgbm".parse()?;
//! assert_eq!(lightgbm, "gain=exp;ties=stable;empty=one".parse()?);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use crate::EvalError;

/// Names [`Convention::from_str`] knows, for messages.
pub(crate) const KNOWN: &str = "`slate`, `lightgbm`, `sklearn`";

/// What a grade is worth in NDCG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// `2^grade - 1` (Burges et al. 2005).
    Exponential,
    /// The grade itself (Järvelin and Kekäläinen 2002).
    Linear,
}

/// What happens to rows of one list with equal scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ties {
    /// The expected value over all orders of the tied rows ("Computing information retrieval
    /// performance measures efficiently in the presence of tied scores", 2008). Does not depend on
    /// the order of the rows.
    Mean,
    /// Tied rows stay in row order. Does depend on it: rows that come sorted by label flatter a
    /// constant scorer.
    Stable,
}

/// What a list without a relevant row counts in NDCG, hit rate and MRR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// It is left out, and the count of lists says so.
    Skip,
    /// 0.
    Zero,
    /// 1, as if any order of it were perfect.
    One,
}

/// By what the purchases of `ptr@k` are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Placements among the first k: a list of 2 rows has 2 of them whatever k is.
    Placement,
    /// Lists.
    List,
}

/// The open choices of the ranking metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convention {
    /// Worth of a grade; NDCG only.
    pub gain: Gain,
    /// Equal scores; NDCG, PTR, hit rate and MRR.
    pub ties: Ties,
    /// Lists without a relevant row; NDCG, hit rate and MRR.
    pub empty: Empty,
    /// Denominator of PTR.
    pub ptr: Per,
}

impl Default for Convention {
    /// The convention `slate`: nothing depends on row order, and empty lists do not flatter.
    fn default() -> Self {
        Self {
            gain: Gain::Exponential,
            ties: Ties::Mean,
            empty: Empty::Skip,
            ptr: Per::Placement,
        }
    }
}

impl Convention {
    /// What LightGBM 4.7 prints as `ndcg@k`.
    pub const fn lightgbm() -> Self {
        Self {
            gain: Gain::Exponential,
            ties: Ties::Stable,
            empty: Empty::One,
            ptr: Per::Placement,
        }
    }

    /// What `sklearn.metrics.ndcg_score` of scikit-learn 1.9 returns by default. (It refuses lists
    /// of one row; here they count.)
    pub const fn sklearn() -> Self {
        Self {
            gain: Gain::Linear,
            ties: Ties::Mean,
            empty: Empty::Zero,
            ptr: Per::Placement,
        }
    }
}

impl Gain {
    /// What `grade` is worth.
    pub fn of(self, grade: u8) -> f64 {
        match self {
            Self::Exponential => f64::from(grade).exp2() - 1.0,
            Self::Linear => f64::from(grade),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Exponential => "exp",
            Self::Linear => "linear",
        }
    }
}

impl Ties {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Stable => "stable",
        }
    }
}

impl Empty {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Zero => "zero",
            Self::One => "one",
        }
    }

    /// The value of a list without a relevant row.
    pub(crate) fn value(self) -> Option<f64> {
        match self {
            Self::Skip => None,
            Self::Zero => Some(0.0),
            Self::One => Some(1.0),
        }
    }
}

impl Per {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::List => "list",
        }
    }
}

impl fmt::Display for Convention {
    /// The settings NDCG depends on; `ptr=list` is added where it is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gain={};ties={};empty={}",
            self.gain.name(),
            self.ties.name(),
            self.empty.name()
        )?;
        if self.ptr == Per::List {
            f.write_str(";ptr=list")
        } else {
            Ok(())
        }
    }
}

impl FromStr for Convention {
    type Err = EvalError;

    /// Reads a name, or settings that change the default, separated by `;`.
    fn from_str(text: &str) -> Result<Self, EvalError> {
        match text {
            "slate" => return Ok(Self::default()),
            "lightgbm" => return Ok(Self::lightgbm()),
            "sklearn" => return Ok(Self::sklearn()),
            _ => {}
        }
        let mut convention = Self::default();
        for setting in text.split(';') {
            match setting.trim() {
                "gain=exp" => convention.gain = Gain::Exponential,
                "gain=linear" => convention.gain = Gain::Linear,
                "ties=mean" => convention.ties = Ties::Mean,
                "ties=stable" => convention.ties = Ties::Stable,
                "empty=skip" => convention.empty = Empty::Skip,
                "empty=zero" => convention.empty = Empty::Zero,
                "empty=one" => convention.empty = Empty::One,
                "ptr=placement" => convention.ptr = Per::Placement,
                "ptr=list" => convention.ptr = Per::List,
                _ => {
                    return Err(EvalError::UnknownConvention {
                        given: text.to_owned(),
                    });
                }
            }
        }
        Ok(convention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let odd = Convention {
            gain: Gain::Linear,
            ties: Ties::Stable,
            empty: Empty::Zero,
            ptr: Per::List,
        };
        for convention in [
            Convention::default(),
            Convention::lightgbm(),
            Convention::sklearn(),
            odd,
        ] {
            assert_eq!(convention.to_string().parse(), Ok(convention));
        }
    }

    #[test]
    fn an_unknown_convention_is_named() {
        let error = "trec".parse::<Convention>().unwrap_err().to_string();
        assert!(
            error.contains("`trec`") && error.contains("`lightgbm`"),
            "{error}"
        );
        assert!("gain=cubic".parse::<Convention>().is_err());
        assert!("".parse::<Convention>().is_err());
    }
}
