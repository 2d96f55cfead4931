//! Logging policies: propensities are true, and the pages do not depend on the policy.

use slate_sim::{MarketConfig, Policy};

use crate::log::{Log, log, small};

fn logged(policy: Policy, explore_share: f64, pages: u64) -> Log {
    log(
        MarketConfig {
            pages,
            policy,
            explore_share,
            temperature: 1.0,
            ..small()
        },
        31,
    )
}

#[test]
fn random_pages_log_one_over_the_candidates() {
    let log = logged(Policy::Ranker, 0.3, 1_000);
    let classes = log.texts("page_impression", "traffic_class");
    let random = classes.iter().filter(|class| *class == "random").count() as f64;
    let n = classes.len() as f64;
    assert!((random / n - 0.3).abs() < 4.0 * (0.21 / n).sqrt());
    let propensities = log.numbers("slot_impression", "propensity");
    let scores = log.numbers("slot_impression", "raw_score");
    let pools = log.whole("truth", "pool_size");
    for (row, policy) in log.texts("slot_impression", "policy_id").iter().enumerate() {
        assert!(propensities[row] > 0.0 && propensities[row] <= 1.0);
        if policy == "random" {
            assert_eq!(propensities[row], 1.0 / pools[row] as f64);
            assert!(scores[row].is_nan());
        } else {
            assert!(scores[row].is_finite());
        }
    }
}

#[test]
fn policies_with_one_seed_order_the_same_pages() {
    let ranker = logged(Policy::Ranker, 0.1, 500);
    let popularity = logged(Policy::Popularity, 0.1, 500);
    for column in ["page_id", "ts", "user_id", "seed_item_id"] {
        let of = |log: &Log| log.whole("page_impression", column);
        assert_eq!(of(&ranker), of(&popularity), "{column}");
    }
    assert_eq!(ranker.summary.slots, popularity.summary.slots);
    let order = |log: &Log| log.whole("slot_impression", "item_id");
    assert_ne!(order(&ranker), order(&popularity));
}

#[test]
fn first_slot_propensities_are_those_of_the_prefix() {
    let log = logged(Policy::Popularity, 0.0, 500);
    let prefix = log.numbers("truth", "propensity_given_prefix");
    let marginal = log.numbers("slot_impression", "propensity");
    for list in log.lists() {
        assert!((prefix[list.start] - marginal[list.start]).abs() < 1e-12);
    }
}

/// Sum over each list of weight × value, then mean over lists and its standard error.
fn estimate(log: &Log, value: &[f64], weight: impl Fn(usize) -> f64) -> (f64, f64) {
    let totals: Vec<f64> = log
        .lists()
        .into_iter()
        .map(|list| list.map(|row| weight(row) * value[row]).sum())
        .collect();
    let n = totals.len() as f64;
    let mean = totals.iter().sum::<f64>() / n;
    let variance = totals
        .iter()
        .map(|total| (total - mean).powi(2))
        .sum::<f64>()
        / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn inverse_propensities_recover_the_random_policy() {
    let random = logged(Policy::Random, 0.0, 1_800);
    for policy in [Policy::Ranker, Policy::Popularity] {
        let log = logged(policy, 0.0, 1_800);
        let propensities = log.numbers("slot_impression", "propensity");
        let pools = log.whole("truth", "pool_size");
        let weight = |row: usize| 1.0 / pools[row] as f64 / propensities[row];

        // Weights add up to the number of slots.
        let ones = vec![1.0; propensities.len()];
        let (slots, error) = estimate(&log, &ones, weight);
        let expected = log.summary.slots as f64 / log.summary.pages as f64;
        assert!(
            (slots - expected).abs() < 4.0 * error,
            "{policy:?}: {slots} slots ± {error}"
        );

        // Clicks per page of the random policy, from the logs of another.
        let clicks: Vec<f64> = log
            .flags("truth", "click")
            .into_iter()
            .map(|click| f64::from(u8::from(click)))
            .collect();
        let (mean, error) = estimate(&log, &clicks, weight);
        let (truth, truth_error) = estimate(&random, &click_truth(&log, &random), |_| 1.0);
        let error = error.hypot(truth_error);
        assert!(
            (mean - truth).abs() < 4.0 * error,
            "{policy:?}: {mean} ± {error}, truth {truth}"
        );
        let (logged, _) = estimate(&log, &clicks, |_| 1.0);
        assert!(
            logged > truth + 2.0 * truth_error,
            "the policy itself does better: {logged}"
        );
    }
}

/// True click probabilities of the random log, at the click intercept of `log`: the intercepts of
/// both are tuned to the same click rate, so they differ by a shift of the log-odds.
fn click_truth(log: &Log, random: &Log) -> Vec<f64> {
    let logits = |log: &Log| -> Vec<f64> {
        let seen = log.numbers("truth", "examination");
        let p = log.numbers("truth", "p_click");
        p.iter()
            .zip(seen)
            .map(|(p, seen)| (p / seen / (1.0 - p / seen)).ln())
            .collect()
    };
    let keys = |log: &Log| -> Vec<(i64, i64)> {
        log.whole("truth", "list_id")
            .into_iter()
            .zip(log.whole("truth", "item_id"))
            .collect()
    };
    // Any placement shown by both gives the shift.
    let ours: std::collections::BTreeMap<_, _> = keys(log).into_iter().zip(logits(log)).collect();
    let theirs = logits(random);
    let shift = keys(random)
        .iter()
        .zip(&theirs)
        .find_map(|(key, logit)| ours.get(key).map(|our| our - logit))
        .unwrap();
    let seen = random.numbers("truth", "examination");
    theirs
        .iter()
        .zip(seen)
        .map(|(logit, seen)| seen / (1.0 + (-(logit + shift)).exp()))
        .collect()
}
