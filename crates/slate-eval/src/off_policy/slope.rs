//! Choosing how much bias to take for less variance, without knowing the truth.
//!
//! Estimators of one family differ in a parameter that trades variance for bias. SLOPE (Su, Srinath and
//! Krishnamurthy 2020, with the constants of Tucker and Lee 2021) goes from the widest interval to the
//! narrowest, and stops before the first estimate that the intervals of those before it do not hold: from
//! there on what moves the estimate is bias.

use std::str::FromStr;

use statrs::distribution::ContinuousCDF;

use super::estimate::estimate;
use super::estimator::Estimator;
use super::intervals::{IntervalMethod, Intervals, student};
use super::log::{Log, Target};
use crate::EvalError;

/// One side of the intervals that are compared.
const LEVEL: f64 = 0.9;
/// Largest weights to try, and none.
const LIMITS: [f64; 10] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    500.0,
    5000.0,
    f64::INFINITY,
];

/// An estimator, or a family to choose it from: `name@slope`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// As named.
    Fixed(Estimator),
    /// `ips`, `dr`, `switch_dr` or `dr_os` with the parameter that [`slope`] chooses.
    Slope(Family),
}

/// Families whose parameter can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `ips@λ`.
    Ips,
    /// `dr@λ`.
    Dr,
    /// `switch_dr@λ`.
    SwitchDr,
    /// `dr_os@λ`.
    DrOs,
}

impl Family {
    fn with(self, limit: f64) -> Estimator {
        match self {
            Self::Ips => Estimator::Ips { clip: limit },
            Self::Dr => Estimator::Dr { clip: limit },
            Self::SwitchDr => Estimator::SwitchDr { most: limit },
            Self::DrOs => Estimator::DrOs { shrink: limit },
        }
    }

    /// From the one with the least bias on.
    fn candidates(self) -> Vec<Estimator> {
        LIMITS.iter().rev().map(|&limit| self.with(limit)).collect()
    }
}

impl Choice {
    /// Any member, to ask what it reads.
    pub fn example(self) -> Estimator {
        match self {
            Self::Fixed(estimator) => estimator,
            Self::Slope(family) => family.with(f64::INFINITY),
        }
    }

    /// The estimator: where policies would choose differently, the one with less bias.
    ///
    /// # Errors
    /// As [`estimate`].
    pub fn of(self, log: &Log<'_>, targets: &[Target<'_>]) -> Result<Estimator, EvalError> {
        let Self::Slope(family) = self else {
            return Ok(self.example());
        };
        let candidates = family.candidates();
        let mut least = candidates.len() - 1;
        for target in targets {
            least = least.min(slope(log, target, &candidates)?);
        }
        Ok(candidates[least])
    }
}

impl FromStr for Choice {
    type Err = EvalError;

    fn from_str(given: &str) -> Result<Self, EvalError> {
        let family = match given {
            "ips@slope" => Family::Ips,
            "dr@slope" => Family::Dr,
            "switch_dr@slope" => Family::SwitchDr,
            "dr_os@slope" => Family::DrOs,
            _ => return Ok(Self::Fixed(given.parse()?)),
        };
        Ok(Self::Slope(family))
    }
}

/// The place of the estimator that SLOPE chooses among `candidates`, of which there is at least one.
///
/// # Errors
/// As [`estimate`].
pub fn slope(
    log: &Log<'_>,
    target: &Target<'_>,
    candidates: &[Estimator],
) -> Result<usize, EvalError> {
    let plain = Intervals {
        method: IntervalMethod::Delta,
        ..Intervals::default()
    };
    let mut each = Vec::with_capacity(candidates.len());
    for (place, &candidate) in candidates.iter().enumerate() {
        let estimates = estimate(log, &[*target], candidate, &plain)?;
        let one = estimates.policies[0];
        let freedom = (estimates.clusters as f64 - 1.0).max(1.0);
        let width = one.error * student(freedom).inverse_cdf(LEVEL);
        each.push((place, one.value, width));
    }
    // Widest first; of equal ones the later candidate.
    each.sort_by(|a, b| b.2.total_cmp(&a.2).then(b.0.cmp(&a.0)));
    let factor = 6.0_f64.sqrt() - 1.0;
    let mut chosen = 0;
    for at in 1..each.len() {
        let (_, value, width) = each[at];
        let holds =
            |before: &(usize, f64, f64)| (before.1 - value).abs() <= width + factor * before.2;
        if !each[..at].iter().all(holds) {
            break;
        }
        chosen = at;
    }
    Ok(each[chosen].0)
}
