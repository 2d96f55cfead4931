//! Means of paired differences, with Student's interval and p value.
//!
//! ```
//! let test = slate_eval::paired_t(&[0.1, 0.3, 0.2, 0.4], 0.95)?;
//! assert!((test.mean - 0.25).abs() < 1e-15);
//! assert!(test.low > 0.04 && test.high < 0.46 && test.p < 0.05);
//! # Ok::<(), slate_eval::EvalError>(())
//! ```

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{EvalError, check};

/// A mean and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedT {
    /// The mean difference.
    pub mean: f64,
    /// Lower end of its interval; NaN for fewer than two differences.
    pub low: f64,
    /// Upper end; as `low`.
    pub high: f64,
    /// Two-sided p value of a mean of 0; NaN for fewer than two differences.
    pub p: f64,
    /// The mean over the standard deviation of the differences (Cohen's d of pairs); NaN where all
    /// are equal.
    pub effect: f64,
}

/// Computes the mean of paired differences with Student's t interval at `level`.
///
/// Differences that are all equal have an interval without width, and p 0 unless they are 0, then
/// 1.
///
/// # Errors
/// [`EvalError::NoRows`] for no differences, [`EvalError::NotFinite`], [`EvalError::Level`].
pub fn paired_t(differences: &[f64], level: f64) -> Result<PairedT, EvalError> {
    check::finite("differences", differences)?;
    check::level(level)?;
    let n = differences.len() as f64;
    if differences.is_empty() {
        return Err(EvalError::NoRows);
    }
    let mean = differences.iter().sum::<f64>() / n;
    if differences.len() < 2 {
        let nan = f64::NAN;
        return Ok(PairedT {
            mean,
            low: nan,
            high: nan,
            p: nan,
            effect: nan,
        });
    }
    let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
    let deviation = (squares / (n - 1.0)).sqrt();
    let error = deviation / n.sqrt();
    let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("at least one degree of freedom");
    let half = error * student.inverse_cdf(f64::midpoint(1.0, level));
    let p = match (error > 0.0, mean == 0.0) {
        (true, _) => 2.0 * student.sf((mean / error).abs()),
        (false, true) => 1.0,
        (false, false) => 0.0,
    };
    Ok(PairedT {
        mean,
        low: mean - half,
        high: mean + half,
        p,
        effect: mean / deviation,
    })
}

/// Holm's step-down adjustment of p values (1979): those of several comparisons, each of which may
/// then be held to the level as if it were the only one. NaN stays NaN and counts as no comparison.
///
/// ```
/// assert_eq!(slate_eval::holm(&[0.02, 0.5, 0.01]), [0.04, 0.5, 0.03]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = p.to_vec();
    let mut largest = 0.0_f64;
    for (place, &i) in order.iter().enumerate() {
        largest = largest.max((order.len() - place) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_test.py` (`SciPy`): n = 8, 12, 16.
    #[test]
    fn equals_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/tests.json")).unwrap();
        for case in golden["paired"].as_array().unwrap() {
            let floats =
                |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).unwrap() };
            let (a, b) = (floats("a"), floats("b"));
            let d: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            let test = paired_t(&d, 0.95).unwrap();
            let interval = floats("t_ci95");
            for (ours, expected) in [
                (test.mean, case["mean_diff"].as_f64().unwrap()),
                (test.p, case["t_p"].as_f64().unwrap()),
                (test.low, interval[0]),
                (test.high, interval[1]),
                (
                    test.effect * (d.len() as f64).sqrt(),
                    case["t"].as_f64().unwrap(),
                ),
            ] {
                assert!((ours - expected).abs() < 1e-9, "{ours} {expected}");
            }
        }
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(paired_t(&[0.0; 5], 0.95).unwrap().p, 1.0);
        let sure = paired_t(&[0.5; 5], 0.95).unwrap();
        assert_eq!((sure.low, sure.high, sure.p), (0.5, 0.5, 0.0));
        assert!(paired_t(&[0.5], 0.95).unwrap().low.is_nan());
        assert!(paired_t(&[], 0.95).is_err() && paired_t(&[1.0], 95.0).is_err());
        assert!(holm(&[f64::NAN, 0.2])[0].is_nan());
        assert_eq!(holm(&[f64::NAN, 0.2])[1], 0.2);
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
    }
}
