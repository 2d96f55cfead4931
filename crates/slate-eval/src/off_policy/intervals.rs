//! How far an estimate could be off by chance.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::bootstrap::{Bootstrap, quantile};
use crate::{EvalError, check};

/// How the ends of an interval are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalMethod {
    /// Bias-corrected and accelerated bootstrap over clusters (Efron 1987). Follows skew.
    Bca,
    /// The middle of a bootstrap over clusters.
    Percentile,
    /// Value ± Student's t × the standard error over clusters, ratios to first order.
    Delta,
    /// Empirical Bernstein ([`bernstein`]): holds at any size, and is wide. For `ips@λ` per list with
    /// independent lists and rewards from 0 to [`Intervals::largest_reward`]: then sums have a bound. It
    /// is of the clipped mean.
    Bernstein,
}

impl IntervalMethod {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bca => "bca",
            Self::Percentile => "percentile",
            Self::Delta => "delta",
            Self::Bernstein => "bernstein",
        }
    }
}

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intervals {
    /// The method.
    pub method: IntervalMethod,
    /// Resamples, their seed, and the level, which all methods read.
    pub bootstrap: Bootstrap,
    /// The largest reward a placement can have, for Bernstein's; none takes the largest seen.
    pub largest_reward: Option<f64>,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            method: IntervalMethod::Bca,
            bootstrap: Bootstrap::default(),
            largest_reward: None,
        }
    }
}

/// A value with what resamples and clusters say of it.
pub(crate) struct Spread<'a> {
    pub(crate) value: f64,
    /// What each cluster moves the value by.
    pub(crate) influence: &'a [f64],
    /// The value in each resample; NaN where there is none.
    pub(crate) draws: Vec<f64>,
}

/// Ends of an interval, and the standard error they stand beside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ends {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) error: f64,
}

impl Intervals {
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        self.bootstrap.check()
    }

    /// Resamples that are needed.
    pub(crate) fn draws(&self) -> usize {
        match self.method {
            IntervalMethod::Bca | IntervalMethod::Percentile => self.bootstrap.draws,
            IntervalMethod::Delta | IntervalMethod::Bernstein => 0,
        }
    }

    /// Degrees of freedom of intervals and p values: of resamples by what makes up their spread, or else the
    /// clusters less one.
    pub(crate) fn freedom(&self, influence: &[f64]) -> f64 {
        match self.method {
            IntervalMethod::Bca | IntervalMethod::Percentile => effective_freedom(influence),
            IntervalMethod::Delta | IntervalMethod::Bernstein => influence.len() as f64 - 1.0,
        }
    }

    /// NaN where there are fewer than two clusters, or too few resamples have a value.
    pub(crate) fn ends(&self, spread: Spread<'_>) -> Ends {
        let error = standard_error(spread.influence);
        let none = Ends {
            low: f64::NAN,
            high: f64::NAN,
            error,
        };
        if self.draws() == 0 {
            let half = error * t_quantile(spread.influence.len(), self.bootstrap.level);
            return Ends {
                low: spread.value - half,
                high: spread.value + half,
                error,
            };
        }
        let mut draws = spread.draws;
        draws.retain(|value| value.is_finite());
        if draws.is_empty() || draws.len() * 2 < self.bootstrap.draws || !error.is_finite() {
            return none;
        }
        draws.sort_unstable_by(f64::total_cmp);
        let level = self.bootstrap.level;
        let freedom = self.freedom(spread.influence);
        let reach = reach(freedom, spread.influence.len(), level);
        // Fewer resamples than one lie beyond ends so far out: those of the level are moved out instead.
        let far = normal().sf(reach);
        let plain = (1.0 - level) / 2.0;
        let known = far * draws.len() as f64 >= 1.0;
        let tail = if known { far } else { plain };
        let ends = if self.method == IntervalMethod::Bca {
            bca_sorted(&draws, spread.value, acceleration(spread.influence), tail)
        } else {
            Some((quantile(&draws, tail), quantile(&draws, 1.0 - tail)))
        };
        let out = if known {
            1.0
        } else {
            reach / normal().inverse_cdf(1.0 - plain)
        };
        let moved = |end: f64| spread.value + out * (end - spread.value);
        let ends = ends.map(|(low, high)| (moved(low), moved(high)));
        ends.map_or(none, |(low, high)| Ends { low, high, error })
    }
}

/// Standard error of a value that clusters move by `influence`, which sums to 0: the sandwich of
/// regressions over clusters, `C ÷ (C − 1) · Σψ²` under the root. NaN for fewer than two clusters.
pub(crate) fn standard_error(influence: &[f64]) -> f64 {
    let count = influence.len() as f64;
    if influence.len() < 2 {
        return f64::NAN;
    }
    let squares: f64 = influence.iter().map(|psi| psi * psi).sum();
    (count / (count - 1.0) * squares).sqrt()
}

/// Student's quantile of a two-sided interval over `clusters` clusters.
pub(crate) fn t_quantile(clusters: usize, level: f64) -> f64 {
    if clusters < 2 {
        return f64::NAN;
    }
    student(clusters as f64 - 1.0).inverse_cdf(f64::midpoint(1.0, level))
}

/// Degrees of freedom that a spread over clusters is known with: the clusters less one where influences are
/// normal, and fewer where a few clusters are most of the variance, as the variance of the variance says
/// (Satterthwaite 1946).
fn effective_freedom(influence: &[f64]) -> f64 {
    let count = influence.len() as f64;
    let squares: f64 = influence.iter().map(|psi| psi * psi).sum();
    let fourths: f64 = influence.iter().map(|psi| psi.powi(4)).sum();
    let excess = fourths - squares * squares / count;
    let most = (count - 1.0).max(1.0);
    if excess > 0.0 {
        (2.0 * squares * squares / excess).clamp(1.0, most)
    } else {
        most
    }
}

/// How many deviations the ends of an interval are away: Student's quantile, and √(C ÷ (C − 1)) because
/// resamples are too narrow by that (Hesterberg 2015).
fn reach(freedom: f64, clusters: usize, level: f64) -> f64 {
    let count = clusters as f64;
    let t = student(freedom).inverse_cdf(f64::midpoint(1.0, level));
    (count / (count - 1.0)).sqrt() * t
}

/// Two-sided p value of `value` ÷ `error` with `freedom` degrees of freedom; 1 for a value of 0.
pub(crate) fn t_p(value: f64, error: f64, freedom: f64) -> f64 {
    if value == 0.0 {
        return 1.0;
    }
    if error == 0.0 {
        return 0.0;
    }
    if !error.is_finite() || freedom < 1.0 {
        return f64::NAN;
    }
    2.0 * student(freedom).sf((value / error).abs())
}

pub(crate) fn student(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom")
}

pub(crate) fn normal() -> Normal {
    Normal::new(0.0, 1.0).expect("a law of mean 0 and deviation 1")
}

/// `Σψ³ ÷ (6·(Σψ²)^1.5)`, the acceleration of the jackknife to first order.
fn acceleration(influence: &[f64]) -> f64 {
    let squares: f64 = influence.iter().map(|psi| psi * psi).sum();
    let cubes: f64 = influence.iter().map(|psi| psi * psi * psi).sum();
    if squares > 0.0 {
        cubes / (6.0 * squares.powf(1.5))
    } else {
        0.0
    }
}

/// Ends of the bias-corrected and accelerated interval of `value` from `replicates` of it (in any
/// order, all finite) and its `acceleration` (Efron 1987). Replicates equal to the value count half.
/// None where there is no replicate, or all lie on one side so that there is no correction.
///
/// # Errors
/// [`EvalError::Level`], [`EvalError::NotFinite`].
pub fn bca_ends(
    replicates: &[f64],
    value: f64,
    acceleration: f64,
    level: f64,
) -> Result<Option<(f64, f64)>, EvalError> {
    check::finite("replicates", replicates)?;
    check::level(level)?;
    let mut sorted = replicates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(bca_sorted(
        &sorted,
        value,
        acceleration,
        (1.0 - level) / 2.0,
    ))
}

fn bca_sorted(sorted: &[f64], value: f64, acceleration: f64, tail: f64) -> Option<(f64, f64)> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    if first == last {
        return Some((first, last));
    }
    let below = sorted.partition_point(|&v| v < value);
    let ties = sorted[below..].partition_point(|&v| v <= value);
    let share = (below as f64 + 0.5 * ties as f64) / sorted.len() as f64;
    if share <= 0.0 || share >= 1.0 {
        return None;
    }
    let law = normal();
    let bias = law.inverse_cdf(share);
    let end = |tail: f64| {
        let shifted = bias + law.inverse_cdf(tail);
        let place = law.cdf(bias + shifted / (1.0 - acceleration * shifted));
        quantile(sorted, place.clamp(0.0, 1.0))
    };
    Some((end(tail), end(1.0 - tail)))
}

/// Empirical Bernstein interval of the mean of `values`, independent and from 0 to `bound` (Maurer and
/// Pontil 2009, both sides together): it holds at any size of sample and any law, and is wide for it.
///
/// ```
/// let (low, high) = slate_eval::off_policy::bernstein(&[0.0, 1.0, 0.0, 1.0], 1.0, 0.95)?;
/// assert!(low < 0.0 && high > 1.0); // four values prove nothing
/// # Ok::<(), slate_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::NoRows`] for fewer than two values, [`EvalError::Weight`] for a value outside,
/// [`EvalError::Level`].
pub fn bernstein(values: &[f64], bound: f64, level: f64) -> Result<(f64, f64), EvalError> {
    check::level(level)?;
    if values.len() < 2 {
        return Err(EvalError::NoRows);
    }
    if let Some(row) = values.iter().position(|v| !(0.0..=bound).contains(v)) {
        let value = values[row];
        return Err(EvalError::Weight { row, value });
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let log = (4.0 / (1.0 - level)).ln();
    let half = (2.0 * variance * log / n).sqrt() + 7.0 * bound * log / (3.0 * (n - 1.0));
    Ok((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::Seed;

    fn drawn(count: u64) -> Vec<f64> {
        let unit = |i: u64| Seed(3).index(i).unit().clamp(1e-9, 1.0 - 1e-9);
        (0..count).map(|i| normal().inverse_cdf(unit(i))).collect()
    }

    #[test]
    fn freedom_is_that_of_the_clusters_that_matter() {
        let influence = drawn(4_000);
        let freedom = effective_freedom(&influence);
        assert!((freedom / 3_999.0 - 1.0).abs() < 0.15, "{freedom}");
        // One of many is nearly all of the spread.
        let mut one = drawn(400);
        one[5] = 1_000.0;
        assert!((effective_freedom(&one) - 2.0).abs() < 0.1);
        assert_eq!(effective_freedom(&[1.0, -1.0]), 1.0);
        assert_eq!(effective_freedom(&[0.0; 50]), 49.0);
    }

    /// At the level of the normal law with many clusters, further out with few that matter; also where no
    /// resample lies so far out.
    #[test]
    fn ends_follow_the_freedom() {
        let influence = drawn(2_000);
        let error = standard_error(&influence);
        let draws: Vec<f64> = drawn(5_000).iter().map(|z| z * error).collect();
        for method in [IntervalMethod::Percentile, IntervalMethod::Bca] {
            let intervals = Intervals {
                method,
                ..Intervals::default()
            };
            let ends = |influence: &[f64]| {
                intervals.ends(Spread {
                    value: 0.0,
                    influence,
                    draws: draws.clone(),
                })
            };
            let many = ends(&influence);
            assert!(
                (many.high / error - 1.96).abs() < 0.1,
                "{} {error}",
                many.high
            );
            // Two clusters that are all of the spread: t of four degrees of freedom is 2.78. One: t of two is
            // 4.30, and no resample is so far out.
            let half = error / 2.0_f64.sqrt();
            for (some, far) in [(vec![half, -half], 2.78), (vec![error], 4.30)] {
                let mut few = vec![0.0; 2_000];
                few[..some.len()].copy_from_slice(&some);
                let wide = ends(&few);
                let half = (wide.high - wide.low) / (2.0 * error);
                assert!((half - far).abs() < 0.6, "{wide:?} {error}");
                // Of one cluster that moves the value up, BCa lies further up.
                assert!(wide.high >= 0.9 * -wide.low, "{wide:?}");
            }
        }
    }
}
