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
//! assert_eq!(lightgbm, "gain=exp;ties=stable;empty=one;recalled=possible".parse()?);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use crate::EvalError;

/// Names [`Convention::from_str`] knows, for messages.
pub(crate) const KNOWN: &str =
    "`slate`, `lightgbm`, `sklearn`, `trec_eval`, `ranx`, `tfr`, `allrank`";

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
    /// Tied rows stand by their ids, compared as text, the greatest first.
    Docid,
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

/// By what the purchases, clicks or revenue of the first k ranks are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Items placed there: a list of 2 rows has 2 of them whatever k is.
    Item,
    /// Lists.
    List,
    /// Pages, which may have several lists.
    Page,
}

/// By what the positives among the first k ranks are divided in `precision@k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// k, also where a list is shorter.
    K,
    /// The rows there are, where fewer than k.
    Length,
}

/// By what the sum of precisions is divided in `map@k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// All positives of the list.
    All,
    /// Those that could stand among the first k: min(k, positives).
    Possible,
}

/// The open choices of the ranking metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convention {
    /// Worth of a grade; NDCG only.
    pub gain: Gain,
    /// Equal scores; all but AUC.
    pub ties: Ties,
    /// Lists without a relevant row; NDCG, MAP, recall, ERR, hit rate and MRR.
    pub empty: Empty,
    /// Denominator of PTR, CTR and revenue.
    pub per: Per,
    /// Denominator of precision in short lists.
    pub short: Short,
    /// Denominator of MAP@k.
    pub recalled: Recalled,
    /// Whether scores are compared as 32-bit floats, as `trec_eval` does.
    pub single: bool,
}

impl Default for Convention {
    /// The convention `slate`: nothing depends on row order, and empty lists do not flatter.
    fn default() -> Self {
        Self {
            gain: Gain::Exponential,
            ties: Ties::Mean,
            empty: Empty::Skip,
            per: Per::Item,
            short: Short::Length,
            recalled: Recalled::All,
            single: false,
        }
    }
}

impl Convention {
    /// What LightGBM 4.7 prints as `ndcg@k` and `map@k`.
    pub fn lightgbm() -> Self {
        Self {
            ties: Ties::Stable,
            empty: Empty::One,
            recalled: Recalled::Possible,
            ..Self::default()
        }
    }

    /// What `sklearn.metrics.ndcg_score` of scikit-learn 1.9 returns by default. (It refuses lists
    /// of one row; here they count.)
    pub fn sklearn() -> Self {
        Self {
            gain: Gain::Linear,
            empty: Empty::Zero,
            ..Self::default()
        }
    }

    /// What `trec_eval` 9 prints as `ndcg_cut`, `map_cut`, `P`, `recall` and `recip_rank`.
    pub fn trec_eval() -> Self {
        Self {
            ties: Ties::Docid,
            short: Short::K,
            single: true,
            ..Self::sklearn()
        }
    }

    /// What ranx 0.3 returns as `ndcg`, `map`, `precision`, `recall` and `mrr`. (Its order of
    /// ties is that of the rows in short lists, and unspecified in longer ones.)
    pub fn ranx() -> Self {
        Self {
            ties: Ties::Stable,
            short: Short::K,
            ..Self::sklearn()
        }
    }

    /// TensorFlow Ranking's metrics. (It shuffles ties; here they count as the mean of that.)
    pub fn tfr() -> Self {
        Self {
            empty: Empty::Zero,
            ..Self::default()
        }
    }

    /// allRank's `ndcg`. (Its sort leaves the order of ties open; here it is that of the rows.)
    pub fn allrank() -> Self {
        Self {
            ties: Ties::Stable,
            ..Self::tfr()
        }
    }

    /// The convention of this name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "slate" => Self::default(),
            "lightgbm" => Self::lightgbm(),
            "sklearn" => Self::sklearn(),
            "trec_eval" => Self::trec_eval(),
            "ranx" => Self::ranx(),
            "tfr" => Self::tfr(),
            "allrank" => Self::allrank(),
            _ => return None,
        })
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
            Self::Docid => "docid",
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

impl Short {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::K => "k",
            Self::Length => "length",
        }
    }
}

impl Recalled {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Possible => "possible",
        }
    }
}

impl Per {
    /// The name in a convention's text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::List => "list",
            Self::Page => "page",
        }
    }
}

impl fmt::Display for Convention {
    /// The settings NDCG depends on; the others where they are not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gain={};ties={};empty={}",
            self.gain.name(),
            self.ties.name(),
            self.empty.name()
        )?;
        if self.per != Per::Item {
            write!(f, ";per={}", self.per.name())?;
        }
        if self.short == Short::K {
            f.write_str(";short=k")?;
        }
        if self.recalled == Recalled::Possible {
            f.write_str(";recalled=possible")?;
        }
        if self.single {
            f.write_str(";scores=f32")?;
        }
        Ok(())
    }
}

impl FromStr for Convention {
    type Err = EvalError;

    /// Reads a name, or settings that change the default, separated by `;`.
    fn from_str(text: &str) -> Result<Self, EvalError> {
        if let Some(named) = Self::named(text) {
            return Ok(named);
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
                "ties=docid" => convention.ties = Ties::Docid,
                "per=item" => convention.per = Per::Item,
                "per=list" => convention.per = Per::List,
                "per=page" => convention.per = Per::Page,
                "short=k" => convention.short = Short::K,
                "short=length" => convention.short = Short::Length,
                "recalled=all" => convention.recalled = Recalled::All,
                "recalled=possible" => convention.recalled = Recalled::Possible,
                "scores=f32" => convention.single = true,
                "scores=f64" => convention.single = false,
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
            per: Per::Page,
            short: Short::K,
            recalled: Recalled::Possible,
            single: true,
        };
        for convention in [
            Convention::default(),
            Convention::lightgbm(),
            Convention::sklearn(),
            Convention::trec_eval(),
            Convention::ranx(),
            Convention::tfr(),
            Convention::allrank(),
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
