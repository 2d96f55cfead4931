//! What a fit owes to its rows and not to how they are written down.

use proptest::prelude::*;
use slate_calibrate::isotonic::{Bounds, fit_within};
use slate_calibrate::{FitError, Method, fit};

/// Rows of (score, label, count): whole counts, so that rows can be repeated.
fn rows() -> impl Strategy<Value = Vec<(f64, f64, u8)>> {
    let score = prop_oneof![(-4_i8..4).prop_map(f64::from), -3.0..3.0_f64];
    let label = (0_u8..2).prop_map(f64::from);
    prop::collection::vec((score, label, 1_u8..4), 8..40)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

/// Likelihoods flat enough to stop anywhere near their top are compared by what they give rows, and
/// fits that do not exist by their refusal.
fn same(
    method: Method,
    a: Result<slate_calibrate::Calibrator, FitError>,
    b: Result<slate_calibrate::Calibrator, FitError>,
    scores: &[f64],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.is_ok(), b.is_ok(), "{:?} {:?} {:?}", method, a, b);
    if let (Ok(a), Ok(b)) = (a, b) {
        for score in scores {
            let (x, y) = (a.apply(*score), b.apply(*score));
            prop_assert!(close(x, y), "{:?} at {}: {} {}", method, score, x, y);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn row_order_does_not_matter(rows in rows()) {
        let column = |rows: &[(f64, f64, u8)]| -> (Vec<f64>, Vec<f64>) {
            (rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| row.1).collect())
        };
        let (scores, labels) = column(&rows);
        let turned: Vec<_> = rows.iter().rev().copied().collect();
        let (turned_scores, turned_labels) = column(&turned);
        for method in Method::ALL {
            let turned = fit(method, &turned_scores, &turned_labels, None);
            same(method, fit(method, &scores, &labels, None), turned, &scores)?;
        }
    }

    /// Where bins count rows, and smoothing and penalties the classes' rows, a weight is not a row:
    /// those methods are left out. The others are held to it up to the bounds that count rows.
    #[test]
    fn a_weight_is_a_repetition(rows in rows()) {
        let mut repeated = (Vec::new(), Vec::new());
        for (score, label, count) in &rows {
            for _ in 0..*count {
                repeated.0.push(*score);
                repeated.1.push(*label);
            }
        }
        let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let labels: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
        for method in [
            Method::Sigmoid,
            Method::Exponential,
            Method::Power,
            Method::Beta,
            Method::Temperature,
        ] {
            let weighted = fit(method, &scores, &labels, Some(&weights));
            same(method, weighted, fit(method, &repeated.0, &repeated.1, None), &scores)?;
        }
        let unit = Bounds::Unit;
        let weighted = fit_within(&scores, &labels, Some(&weights), unit);
        let repeated = fit_within(&repeated.0, &repeated.1, None, unit);
        prop_assert_eq!(weighted.is_ok(), repeated.is_ok());
        if let (Ok(weighted), Ok(repeated)) = (weighted, repeated) {
            for score in &scores {
                prop_assert!((weighted.apply(*score) - repeated.apply(*score)).abs() < 1e-12);
            }
        }
    }

    /// What isotonic regression made of labels is its own best fit.
    #[test]
    fn a_second_isotonic_fit_changes_nothing(rows in rows()) {
        let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let labels: Vec<f64> = rows.iter().map(|row| row.1).collect();
        if let Ok(map) = fit_within(&scores, &labels, None, Bounds::Unit) {
            let fitted: Vec<f64> = scores.iter().map(|score| map.apply(*score)).collect();
            if let Ok(again) = fit_within(&scores, &fitted, None, Bounds::Unit) {
                for score in &scores {
                    prop_assert!((again.apply(*score) - map.apply(*score)).abs() < 1e-12);
                }
            }
        }
    }
}
