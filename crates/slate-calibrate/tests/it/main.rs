//! Laws that hold for every calibrator and any rows.

mod golden;
mod laws;

use proptest::prelude::*;
use slate_calibrate::{
    Calibrator, CalibratorFile, Exponential, FitError, FittedOn, Isotonic, Method, Sigmoid, bins,
    exponential, fit, isotonic, order,
};
use slate_types::Scores;

/// Rows of (score, label, weight), some scores tied, some weights 0.
fn rows() -> impl Strategy<Value = Vec<(f64, f64, f64)>> {
    let score = prop_oneof![
        (-5_i8..5).prop_map(f64::from),
        -3.0..3.0_f64,
        (-3.0..3.0_f64).prop_map(|x| 1e5 * x),
    ];
    let weight = prop_oneof![Just(0.0), Just(1.0), 0.01..20.0_f64];
    prop::collection::vec((score, (0_u8..2).prop_map(f64::from), weight), 2..60)
}

fn columns(rows: &[(f64, f64, f64)]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    (
        rows.iter().map(|row| row.0).collect(),
        rows.iter().map(|row| row.1).collect(),
        rows.iter().map(|row| row.2).collect(),
    )
}

/// Every map that can be fitted to the rows; the others must say why in a known way.
fn fitted(scores: &[f64], labels: &[f64], weights: &[f64]) -> Vec<Calibrator> {
    let mut maps = vec![Calibrator::Raw, Calibrator::Identity];
    let mut keep = |map: Result<Calibrator, FitError>| match map {
        Ok(map) => maps.push(map),
        Err(
            FitError::OneClass { .. }
            | FitError::TooFew { .. }
            | FitError::NoWeight { .. }
            | FitError::NoFiniteFit { .. }
            | FitError::TooFewBins { .. }
            | FitError::Separable
            | FitError::Spread { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    };
    for method in Method::ALL {
        keep(fit(method, scores, labels, Some(weights)));
    }
    if let Ok(bins) = bins::quantile(scores, labels, Some(weights), 7) {
        keep(isotonic::fit_binned(&bins).map(Calibrator::Isotonic));
        keep(exponential::fit_binned(&bins).map(Calibrator::Exponential));
    }
    maps
}

proptest! {
    #[test]
    fn every_map_is_a_probability_and_never_falls(
        rows in rows(), queries in prop::collection::vec(-4e5..4e5_f64, 0..20)
    ) {
        let (scores, labels, weights) = columns(&rows);
        let mut queries = [scores.clone(), queries, vec![f64::MIN, -0.0, f64::MAX]].concat();
        queries.sort_by(f64::total_cmp);
        for map in fitted(&scores, &labels, &weights) {
            let values: Vec<f64> = queries.iter().map(|query| map.apply(*query)).collect();
            for value in &values {
                prop_assert!((0.0..=1.0).contains(value), "{:?} gives {}", map, value);
            }
            prop_assert!(values.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", map);
        }
    }

    #[test]
    fn the_order_by_probability_then_score_is_the_order_by_score(rows in rows()) {
        let (scores, labels, weights) = columns(&rows);
        let mut expected: Vec<usize> = (0..scores.len()).collect();
        expected.sort_by(|a, b| scores[*b].partial_cmp(&scores[*a]).unwrap());
        let scores = Scores(scores);
        for map in fitted(&scores.0, &labels, &weights) {
            if map != Calibrator::Identity {
                let probabilities = map.apply_all(&scores).unwrap();
                prop_assert_eq!(&order(&probabilities, &scores), &expected);
            }
        }
    }

    #[test]
    fn isotonic_keeps_the_mean_and_does_not_depend_on_row_order(rows in rows()) {
        let (scores, labels, weights) = columns(&rows);
        let unit = isotonic::Bounds::Unit;
        if let Ok(map) = isotonic::fit_within(&scores, &labels, Some(&weights), unit) {
            let mean = |values: &dyn Fn(usize) -> f64| -> f64 {
                (0..scores.len()).map(|row| weights[row] * values(row)).sum()
            };
            let fitted = mean(&|row| map.apply(scores[row]));
            let observed = mean(&|row| labels[row]);
            prop_assert!((fitted - observed).abs() < 1e-9 * observed, "{} {}", fitted, observed);
            let turned: Vec<_> = rows.iter().rev().copied().collect();
            let (scores, labels, weights) = columns(&turned);
            let again = isotonic::fit_within(&scores, &labels, Some(&weights), unit);
            prop_assert_eq!(Ok(map), again);
        }
    }

    #[test]
    fn isotonic_is_the_best_of_all_non_decreasing_maps(rows in rows()) {
        // The minimax formula: the value at a score is the largest, over starts at or before it,
        // of the smallest mean, over ends at or after it (Barlow et al. 1972).
        let (scores, labels, weights) = columns(&rows);
        let unit = isotonic::Bounds::Unit;
        if let Ok(map) = isotonic::fit_within(&scores, &labels, Some(&weights), unit) {
            let mut distinct: Vec<f64> =
                rows.iter().filter(|row| row.2 > 0.0).map(|row| row.0 + 0.0).collect();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup();
            let mean = |from: f64, to: f64| {
                let inside = rows.iter().filter(|row| row.0 >= from && row.0 <= to);
                let sums = inside.fold((0.0, 0.0), |s, row| (s.0 + row.1 * row.2, s.1 + row.2));
                sums.0 / sums.1
            };
            for (i, score) in distinct.iter().enumerate() {
                let expected = distinct[..=i]
                    .iter()
                    .map(|from| {
                        distinct[i..].iter().map(|to| mean(*from, *to)).fold(f64::MAX, f64::min)
                    })
                    .fold(f64::MIN, f64::max);
                prop_assert!((map.apply(*score) - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn inverting_undoes_applying(rows in rows(), probability in 0.0..1.0_f64) {
        let (scores, labels, weights) = columns(&rows);
        for map in fitted(&scores, &labels, &weights) {
            if let Some(score) = map.invert(probability) {
                let back = map.apply(score);
                prop_assert!((back - probability).abs() < 1e-6, "{:?} {}", map, back);
            }
        }
    }

    #[test]
    fn files_come_back_exactly(rows in rows()) {
        let (scores, labels, weights) = columns(&rows);
        for calibrator in fitted(&scores, &labels, &weights) {
            let fitted_on = Some(FittedOn::count(&labels, Some(&weights)));
            let file = CalibratorFile { fitted_on, ..CalibratorFile::new(calibrator) };
            let back = CalibratorFile::from_json(&file.to_json());
            prop_assert!(back.as_ref().is_ok_and(|back| *back == file), "{:?}", back);
        }
    }
}

/// Each family finds its own curve among 20,000 simulated rows.
#[test]
fn each_method_finds_its_own_truth() {
    let seed = slate_types::Seed(17);
    let scores: Vec<f64> = (0..20_000)
        .map(|i| 4.0 * seed.index(i).unit() - 2.0)
        .collect();
    let outcome = seed.derive("outcome");
    let truths: [(&dyn Fn(f64) -> f64, Method); 3] = [
        (&|s| 1.0 / (1.0 + (-(1.2 * s - 1.0)).exp()), Method::Sigmoid),
        (&|s| (0.9 * s - 2.5).exp(), Method::Exponential),
        (
            &|s| {
                if s < 0.5 {
                    0.05
                } else {
                    0.05 + 0.5 * (s - 0.5)
                }
            },
            Method::Isotonic,
        ),
    ];
    for (truth, best) in truths {
        let labels: Vec<f64> = scores
            .iter()
            .zip(0..)
            .map(|(score, i)| f64::from(outcome.index(i).unit() < truth(*score)))
            .collect();
        let gap = |method| {
            let map = fit(method, &scores, &labels, None).unwrap();
            let squares = scores.iter().map(|s| (map.apply(*s) - truth(*s)).powi(2));
            (squares.sum::<f64>() / scores.len() as f64).sqrt()
        };
        let classic = [Method::Isotonic, Method::Sigmoid, Method::Exponential];
        let gaps = classic.map(|method| (gap(method), method));
        let winner = gaps.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert_eq!(winner.1, best, "{gaps:?}");
        assert!(winner.0 < 0.02, "{gaps:?}");
        // Whatever the truth, the flexible ones come near it.
        for method in [
            Method::IsotonicBinned,
            Method::Centred,
            Method::Spline,
            Method::VennAbers,
            Method::Histogram,
        ] {
            assert!(gap(method) < 0.03, "{method:?} {}", gap(method));
        }
    }
}

/// A file of format 1 stays readable.
#[test]
fn an_old_file_is_read() {
    let file = CalibratorFile::from_json(include_str!("../data/calibrator_1.json")).unwrap();
    let expected = Isotonic::from_knots(&[[-2.25, 0.0005], [0.0, 0.01], [1.5, 0.01], [3.0, 0.2]]);
    assert_eq!(file.calibrator, Calibrator::Isotonic(expected.unwrap()));
    let fitted_on = file.fitted_on.unwrap();
    assert_eq!((fitted_on.rows, fitted_on.positives), (12_000, 150));
    assert_eq!(fitted_on.label.as_deref(), Some("purchase"));
}

#[test]
fn parameters_are_public_and_plain() {
    let sigmoid = Sigmoid {
        slope: 1.0,
        intercept: 0.0,
    };
    let exponential = Exponential {
        slope: 1.0,
        intercept: -1.0,
    };
    assert_eq!(sigmoid.apply(0.0), 0.5);
    assert_eq!(exponential.apply(1.0), 1.0);
}
