//! Differences of two scorings of the same rows.

use slate_eval::{Bootstrap, Convention, Difference, MetricName, compare, evaluate};
use slate_types::Seed;

use crate::market::Market;

fn bootstrap() -> Bootstrap {
    Bootstrap {
        draws: 300,
        seed: Seed(5),
        level: 0.95,
    }
}

/// Differences of a scoring of `skill` against one of skill 0 on the same rows.
fn against_chance(skill: f64, metrics: &[&str]) -> Vec<Difference> {
    let good = Market::new(250, skill, Seed(11));
    let chance = Market::new(250, 0.0, Seed(11));
    let names: Vec<MetricName> = metrics.iter().map(|name| name.parse().unwrap()).collect();
    let convention = Convention::default();
    let differences = compare(
        &good.sample(),
        &chance.sample(),
        &names,
        &convention,
        &bootstrap(),
    )
    .unwrap();
    let first = evaluate(&good.sample(), &names, &convention, &bootstrap()).unwrap();
    let second = evaluate(&chance.sample(), &names, &convention, &bootstrap()).unwrap();
    for (i, difference) in differences.iter().enumerate() {
        let expected = first[i].value - second[i].value;
        assert!(
            (difference.difference - expected).abs() < 1e-12,
            "{difference:?}"
        );
        assert_eq!(
            (difference.n, &difference.unit),
            (first[i].n, &first[i].unit)
        );
    }
    differences
}

#[test]
fn a_better_score_is_seen() {
    for difference in against_chance(1.0, &["ndcg@3", "ptr@2", "mrr", "auc"]) {
        assert!(
            difference.low > 0.0 && difference.high > difference.low,
            "{difference:?}"
        );
        assert!(difference.p < 0.05, "{difference:?}");
    }
}

#[test]
fn a_score_equals_itself() {
    for difference in against_chance(0.0, &["ndcg@3", "ptr@2", "auc", "logloss", "ece"]) {
        assert_eq!(
            (difference.difference, difference.low, difference.high),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(difference.p, 1.0, "{difference:?}");
    }
}

#[test]
fn swapping_the_samples_swaps_the_signs() {
    let (a, b) = (Market::new(60, 0.8, Seed(3)), Market::new(60, 0.1, Seed(3)));
    let names = [MetricName::Ndcg { k: Some(5) }, MetricName::Auc];
    let run = |a: &Market, b: &Market| {
        compare(
            &a.sample(),
            &b.sample(),
            &names,
            &Convention::default(),
            &bootstrap(),
        )
        .unwrap()
    };
    for (ab, ba) in run(&a, &b).iter().zip(run(&b, &a)) {
        assert_eq!((ab.difference, ab.p), (-ba.difference, ba.p));
        assert!((ab.low + ba.high).abs() < 1e-12 && (ab.high + ba.low).abs() < 1e-12);
    }
}

#[test]
fn worse_probabilities_are_seen_and_the_test_is_named() {
    let market = Market::new(250, 0.5, Seed(21));
    let off: Vec<f64> = market.probabilities.iter().map(|p| p.sqrt()).collect();
    let mut wrong = market.sample();
    wrong.probabilities = Some(&off);
    let names = [
        MetricName::LogLoss,
        MetricName::Brier,
        MetricName::Pcoc,
        MetricName::Ece,
    ];
    let differences = compare(
        &wrong,
        &market.sample(),
        &names,
        &Convention::default(),
        &bootstrap(),
    )
    .unwrap();
    for difference in &differences {
        assert!(
            difference.low > 0.0 && difference.p < 0.02,
            "{difference:?}"
        );
    }
    assert!(differences[0].convention.ends_with(";test=sign-flip"));
    assert!(differences[3].convention.ends_with(";test=bootstrap"));
}

/// Under no difference p values are even: about 5% fall below 0.05. With 200 runs the standard
/// error is 1.5%.
#[test]
fn p_values_keep_their_level() {
    let runs = 200;
    let mut below = 0;
    for run in 0..runs {
        // Two scorings that know equally little: independent noise on the same rows.
        let rows = Market::new(40, 0.0, Seed(5000 + run));
        let other: Vec<f64> = (0..rows.scores.len() as u64)
            .map(|row| Seed(9000 + run).index(row).unit())
            .collect();
        let mut second = rows.sample();
        second.scores = &other;
        let names = [MetricName::Mrr { k: None }];
        let bootstrap = Bootstrap {
            draws: 0,
            seed: Seed(run),
            level: 0.95,
        };
        let differences = compare(
            &rows.sample(),
            &second,
            &names,
            &Convention::default(),
            &bootstrap,
        )
        .unwrap();
        below += u32::from(differences[0].p < 0.05);
        // Student's interval and the sign-flip test tell the same, but for p near the level.
        let (p, low, high) = (differences[0].p, differences[0].low, differences[0].high);
        assert!((p < 0.05) != (low..=high).contains(&0.0) || (0.03..0.07).contains(&p));
    }
    let share = f64::from(below) / runs as f64;
    assert!(
        (0.01..=0.10).contains(&share),
        "p < 0.05 in {share} of the runs"
    );
}
