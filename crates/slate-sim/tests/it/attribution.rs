//! Events give back the labels: a plain attribution by user, item and time, compared with the
//! outcomes in the truth, and the times and counts of events.

use std::collections::{BTreeMap, BTreeSet};

use slate_sim::MarketConfig;

use crate::log::{Log, log, small};

const MINUTE: i64 = 60 * 1_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

struct Shown {
    id: i64,
    ts: i64,
}

struct Event {
    id: i64,
    ts: i64,
    kind: String,
    pair: (i64, i64),
    impression: i64,
    order: i64,
}

/// Impressions of each user and item, in time order.
fn impressions(log: &Log) -> BTreeMap<(i64, i64), Vec<Shown>> {
    let pages: BTreeMap<i64, (i64, i64)> = log
        .whole("page_impression", "page_id")
        .into_iter()
        .zip(
            log.whole("page_impression", "user_id")
                .into_iter()
                .zip(log.whole("page_impression", "ts")),
        )
        .collect();
    let mut shown: BTreeMap<_, Vec<Shown>> = BTreeMap::new();
    let ids = log.whole("slot_impression", "impression_id");
    let items = log.whole("slot_impression", "item_id");
    for (row, page) in log.whole("slot_impression", "page_id").iter().enumerate() {
        let (user, ts) = pages[page];
        shown
            .entry((user, items[row]))
            .or_default()
            .push(Shown { id: ids[row], ts });
    }
    for impressions in shown.values_mut() {
        impressions.sort_by_key(|impression| impression.ts);
    }
    shown
}

/// Events in file order.
fn events(log: &Log) -> Vec<Event> {
    let [id, ts, item, user, impression, order] = [
        "event_id",
        "ts",
        "item_id",
        "user_id",
        "impression_id",
        "order_id",
    ]
    .map(|column| log.whole("event", column));
    let kinds = log.texts("event", "type");
    kinds
        .into_iter()
        .enumerate()
        .map(|(row, kind)| Event {
            id: id[row],
            ts: ts[row],
            kind,
            pair: (user[row], item[row]),
            impression: impression[row],
            order: order[row],
        })
        .collect()
}

/// What attribution made of a log.
#[derive(Default)]
struct Labels {
    clicked: BTreeSet<i64>,
    bought: BTreeMap<i64, i64>,
    cancelled: BTreeSet<i64>,
    late: u64,
    orphans: u64,
    duplicates: u64,
}

/// Last touch by user and item; an impression id on the event wins.
fn attribute(log: &Log) -> Labels {
    let shown = impressions(log);
    let mut labels = Labels::default();
    let mut seen = BTreeSet::new();
    let mut unique = Vec::new();
    for event in events(log) {
        if seen.insert(event.id) {
            unique.push(event);
        } else {
            labels.duplicates += 1;
        }
    }
    // Clicks first, because a purchase goes to a clicked impression.
    for kind in ["click", "purchase"] {
        let window = if kind == "click" {
            30 * MINUTE
        } else {
            30 * DAY
        };
        for event in unique.iter().filter(|event| event.kind == kind) {
            let Some(candidates) = shown.get(&event.pair) else {
                labels.orphans += 1;
                continue;
            };
            let open = candidates.iter().rev().find(|impression| {
                let named = event.impression == 0 || event.impression == impression.id;
                let clicked = kind == "click" || labels.clicked.contains(&impression.id);
                named && clicked && (impression.ts..=impression.ts + window).contains(&event.ts)
            });
            match open {
                None => labels.late += 1,
                Some(impression) if kind == "click" => {
                    labels.clicked.insert(impression.id);
                }
                Some(impression) => {
                    labels.bought.insert(impression.id, event.order);
                }
            }
        }
    }
    labels.cancelled = unique
        .iter()
        .filter(|event| event.kind == "cancel")
        .map(|event| event.order)
        .collect();
    labels
}

fn noisy() -> MarketConfig {
    MarketConfig {
        months: 5,
        purchase_rate: 0.05,
        duplicate_rate: 0.1,
        late_rate: 0.2,
        orphan_rate: 0.2,
        cancel_rate: 0.2,
        impression_id_rate: 0.3,
        // Many pages for each user: the hard case for attribution.
        users: 300,
        items: 3_000,
        purchase_delay_tail: 0.3,
        ..small()
    }
}

#[test]
fn attribution_finds_exactly_the_outcomes_of_the_truth() {
    let log = log(noisy(), 11);
    let labels = attribute(&log);
    let ids = log.whole("truth", "impression_id");
    let clicks = log.flags("truth", "click");
    let purchases = log.flags("truth", "purchase");
    for (row, id) in ids.iter().enumerate() {
        assert_eq!(labels.clicked.contains(id), clicks[row], "click of {id}");
        let kept = labels
            .bought
            .get(id)
            .is_some_and(|order| !labels.cancelled.contains(order));
        assert_eq!(kept, purchases[row], "purchase of {id}");
    }
    let summary = &log.summary;
    assert_eq!(labels.clicked.len() as u64, summary.clicks);
    assert_eq!(labels.bought.len() as u64, summary.purchases);
    assert_eq!(labels.cancelled.len() as u64, summary.cancels);
    assert_eq!(labels.late, summary.late);
    assert_eq!(labels.orphans, summary.orphans);
    assert_eq!(labels.duplicates, summary.duplicates);
    assert_eq!(log.table("event").num_rows() as u64, summary.events);
}

#[test]
fn noise_comes_at_the_rates_asked_for() {
    let config = MarketConfig {
        pages: 1_500,
        ..noisy()
    };
    let summary = log(config.clone(), 12).summary;
    let true_events = (summary.events - summary.duplicates - summary.late - summary.orphans) as f64;
    let near = |count: u64, trials: f64, rate: f64| {
        let error = (trials * rate * (1.0 - rate)).sqrt();
        let expected = trials * rate;
        assert!(
            (count as f64 - expected).abs() < 4.0 * error,
            "{count} against {expected}"
        );
    };
    near(summary.duplicates, true_events, config.duplicate_rate);
    near(summary.late, summary.clicks as f64, config.late_rate);
    near(summary.orphans, summary.clicks as f64, config.orphan_rate);
    near(
        summary.cancels,
        summary.purchases as f64,
        config.cancel_rate,
    );
}

#[test]
fn delays_stay_within_their_bounds_and_reach_far() {
    let log = log(
        MarketConfig {
            pages: 1_500,
            ..noisy()
        },
        13,
    );
    let shown = impressions(&log);
    let mut latest = (0, 0);
    for event in events(&log).iter().filter(|event| event.impression != 0) {
        let impressions = &shown[&event.pair];
        let page = impressions
            .iter()
            .find(|shown| shown.id == event.impression)
            .unwrap();
        let delay = event.ts - page.ts;
        assert!(
            delay >= 1_000_000,
            "{} {delay} µs after its page",
            event.kind
        );
        match event.kind.as_str() {
            "click" => {
                assert!(delay <= 20 * MINUTE);
                latest.0 = latest.0.max(delay);
            }
            "purchase" => {
                assert!(delay <= 30 * DAY);
                latest.1 = latest.1.max(delay);
            }
            other => assert!(delay < 30 * MINUTE, "{other} after {delay}"),
        }
    }
    assert!(latest.0 > MINUTE && latest.1 > 20 * DAY, "{latest:?}");
}
