//! The truth is true: outcomes are as frequent as their probabilities, for each curve, overall and
//! along the score; and there is something to learn.

use slate_sim::{Curve, MarketConfig, Policy};

use crate::log::{Log, log, small};

/// Fails where outcomes are further from their probabilities than 4 standard errors.
fn check(name: &str, rows: impl Iterator<Item = (f64, bool)>) {
    let (mut expected, mut variance, mut count) = (0.0, 0.0, 0.0);
    for (p, outcome) in rows {
        expected += p;
        variance += p * (1.0 - p);
        count += f64::from(u8::from(outcome));
    }
    let error = variance.sqrt();
    assert!(
        (count - expected).abs() < 4.0 * error,
        "{name}: {count} against {expected} ± {error}"
    );
}

fn check_curve(curve: Curve) {
    let config = MarketConfig { curve, ..small() };
    let (click_rate, purchase_rate) = (config.click_rate, config.purchase_rate);
    let log = log(config, 21);
    let p_click = log.numbers("truth", "p_click");
    let p_purchase = log.numbers("truth", "p_purchase");
    let clicks = log.flags("truth", "click");
    let purchases = log.flags("truth", "purchase");
    let rows = p_click.len();
    assert!(rows > 15_000);
    check(
        "clicks",
        p_click.iter().copied().zip(clicks.iter().copied()),
    );
    check(
        "purchases",
        p_purchase.iter().copied().zip(purchases.iter().copied()),
    );
    // Also along the probability: halves above and below 5 %.
    for high in [false, true] {
        let half = p_purchase.iter().copied().zip(purchases.iter().copied());
        check(
            "purchases by half",
            half.filter(|(p, _)| (*p > 0.05) == high),
        );
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows as f64;
    assert!(
        (mean(&p_click) / click_rate - 1.0).abs() < 0.1,
        "clicks at {}",
        mean(&p_click)
    );
    let purchase_mean = mean(&p_purchase);
    assert!(
        (purchase_mean / purchase_rate - 1.0).abs() < 0.15,
        "purchases at {purchase_mean}"
    );
    // The logged probability is the curve of the logged log-odds.
    let log_odds = log.numbers("truth", "log_odds");
    for (z, p) in log_odds
        .iter()
        .zip(log.numbers("truth", "p_purchase_given_click"))
    {
        assert_eq!(curve.probability(*z), p);
    }
}

#[test]
fn logistic_truth_is_true() {
    check_curve(Curve::Logistic);
}

#[test]
fn log_linear_truth_is_true() {
    check_curve(Curve::LogLinear);
}

#[test]
fn kinked_truth_is_true() {
    check_curve(Curve::Kinked);
}

#[test]
fn examination_is_the_slots_and_factors_out() {
    let examination: Vec<f64> = (0..12).map(|slot| 1.0 - 0.05 * f64::from(slot)).collect();
    let config = MarketConfig {
        pages: 300,
        examination: Some(examination.clone()),
        ..small()
    };
    let log = log(config, 22);
    let slots = log.whole("truth", "slot");
    let examined = log.numbers("truth", "p_purchase_examined");
    let seen = log.numbers("truth", "examination");
    for (row, p) in log.numbers("truth", "p_purchase").into_iter().enumerate() {
        assert_eq!(seen[row], examination[slots[row] as usize]);
        assert_eq!(p, seen[row] * examined[row]);
    }
}

/// Markets at the edges of what is allowed.
#[test]
fn odd_markets_hold_together() {
    let one = MarketConfig {
        pages: 1,
        users: 1,
        months: 1,
        ..small()
    };
    let plain = MarketConfig {
        pages: 60,
        ..small()
    };
    let markets = [
        one.clone(),
        MarketConfig {
            categories: 1,
            sellers: 1,
            new_items_per_month: 0.0,
            ..one
        },
        MarketConfig {
            slots_min: 60,
            slots_max: 60,
            candidates: 60,
            ..plain.clone()
        },
        MarketConfig {
            slots_min: 1,
            slots_max: 1,
            short_lists: 0.0,
            ..plain.clone()
        },
        MarketConfig {
            temperature: 0.05,
            policy: Policy::Popularity,
            ..plain.clone()
        },
        MarketConfig {
            months: 60,
            drift: 1.0,
            explore_share: 1.0,
            ..plain.clone()
        },
        MarketConfig {
            click_rate: 1e-6,
            purchase_rate: 1e-7,
            ..plain.clone()
        },
        MarketConfig {
            cancel_rate: 0.0,
            duplicate_rate: 1.0,
            late_rate: 1.0,
            orphan_rate: 1.0,
            impression_id_rate: 1.0,
            drift: 0.0,
            ..plain
        },
    ];
    for config in markets {
        let pages = config.pages;
        let log = log(config, 25);
        assert_eq!(log.summary.pages, pages);
        assert_eq!(log.lists().len() as u64, pages);
        assert_eq!(
            log.table("truth").num_rows(),
            log.table("slot_impression").num_rows()
        );
        for column in ["p_click", "p_purchase", "propensity_given_prefix"] {
            let values = log.numbers("truth", column);
            assert!(values.iter().all(|p| (0.0..=1.0).contains(p)), "{column}");
        }
        let propensities = log.numbers("slot_impression", "propensity");
        assert!(propensities.iter().all(|p| *p > 0.0 && *p <= 1.0));
    }
}

#[test]
fn lists_have_the_lengths_asked_for() {
    let log = log(
        MarketConfig {
            short_lists: 0.2,
            ..small()
        },
        23,
    );
    let lists = log.lists();
    let short = lists.iter().filter(|list| list.len() < 4).count() as f64;
    let n = lists.len() as f64;
    assert!(
        (short / n - 0.2).abs() < 4.0 * (0.2 * 0.8 / n).sqrt(),
        "{short} of {n}"
    );
    assert!(lists.iter().all(|list| list.len() <= 12));
    assert!(lists.iter().any(|list| list.len() == 12));
    let slots = log.whole("truth", "slot");
    for list in lists {
        assert!(
            slots[list]
                .iter()
                .enumerate()
                .all(|(index, &slot)| slot == index as i64)
        );
    }
}

/// Mean expected DCG of purchases, of an order by `score` over each list, against the best order.
fn ndcg(log: &Log, score: &[f64]) -> f64 {
    let worth = log.numbers("truth", "p_purchase_examined");
    let (mut total, mut best) = (0.0, 0.0);
    let dcg = |rows: &[usize]| -> f64 {
        let gain = |(slot, &row): (usize, &usize)| worth[row] / (slot as f64 + 2.0).log2();
        rows.iter().enumerate().map(gain).sum()
    };
    for list in log.lists() {
        let mut rows: Vec<usize> = list.collect();
        rows.sort_by(|&a, &b| score[b].total_cmp(&score[a]));
        total += dcg(&rows);
        rows.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]));
        best += dcg(&rows);
    }
    total / best
}

#[test]
fn logged_columns_hold_a_better_order_than_the_logged_one() {
    let log = log(small(), 24);
    let logged: Vec<f64> = log
        .whole("slot_impression", "slot")
        .iter()
        .map(|&slot| -slot as f64)
        .collect();
    let similarity = log.numbers("slot_impression", "similarity");
    let affinity = log.numbers("slot_impression", "affinity");
    let ratings = log.numbers("item", "rating");
    let items = log.whole("slot_impression", "item_id");
    let plain: Vec<f64> = (0..logged.len())
        .map(|row| {
            let rating = ratings[items[row] as usize - 1];
            let rating = if rating.is_nan() { 3.8 } else { rating };
            similarity[row] + affinity[row] + rating
        })
        .collect();
    let (logged, plain) = (ndcg(&log, &logged), ndcg(&log, &plain));
    assert!(
        plain > logged + 0.05,
        "logged {logged:.3}, plain {plain:.3}"
    );
    assert!(
        plain < 0.97,
        "the truth knows more than three columns: {plain:.3}"
    );
}
