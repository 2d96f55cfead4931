//! Tails of the laws that tests of whole distributions follow.

use std::f64::consts::PI;

use statrs::function::gamma::gamma_ur;

/// The chance that a chi-squared variable with so many degrees of freedom is at least `statistic`: the
/// regularised upper incomplete gamma function. Without degrees of freedom nothing can differ, so 1.
pub(crate) fn chi_squared(statistic: f64, freedom: usize) -> f64 {
    if freedom == 0 || statistic <= 0.0 {
        return 1.0;
    }
    if statistic == f64::INFINITY {
        return 0.0;
    }
    gamma_ur(freedom as f64 / 2.0, statistic / 2.0).clamp(0.0, 1.0)
}

/// The chance that the supremum of a Brownian bridge is at least `x`: Kolmogorov's limit of √n·D.
pub(crate) fn kolmogorov(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    // Two series for one function (a theta identity): each converges fast where the other does not.
    let tail = if x < 1.0 {
        let step = |k: f64| (-(2.0 * k - 1.0).powi(2) * PI * PI / (8.0 * x * x)).exp();
        let below: f64 = (1..=8).map(|k| step(f64::from(k))).sum();
        1.0 - (2.0 * PI).sqrt() / x * below
    } else {
        let step = |k: i32| (-2.0 * f64::from(k * k) * x * x).exp();
        2.0 * (1..=8)
            .map(|k| if k % 2 == 1 { step(k) } else { -step(k) })
            .sum::<f64>()
    };
    tail.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_drift.py` (`SciPy`): `scipy.stats.chi2.sf`, `scipy.special.kolmogorov`.
    #[test]
    fn equal_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/drift.json")).unwrap();
        let rows = |key: &str| -> Vec<Vec<f64>> {
            serde_json::from_value(golden["tails"][key].clone()).unwrap()
        };
        let close = |ours: f64, expected: f64, place: &[f64]| {
            let off = (ours - expected).abs();
            assert!(
                off <= 1e-14 + 1e-9 * expected,
                "{place:?}: {ours}, expected {expected}"
            );
        };
        let (chi, bridge) = (rows("chi2"), rows("kolmogorov"));
        assert!(chi.len() > 40 && bridge.len() > 20);
        for row in chi {
            close(chi_squared(row[0], row[1] as usize), row[2], &row);
        }
        for row in bridge {
            close(kolmogorov(row[0]), row[1], &row);
        }
    }

    #[test]
    fn ends_are_certain_and_impossible() {
        assert_eq!((chi_squared(0.0, 3), chi_squared(5.0, 0)), (1.0, 1.0));
        assert_eq!(chi_squared(f64::INFINITY, 3), 0.0);
        assert_eq!((kolmogorov(0.0), kolmogorov(1e-9)), (1.0, 1.0));
        assert_eq!(kolmogorov(40.0), 0.0);
    }
}
