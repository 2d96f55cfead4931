//! Random logs against the brute-force twin.

use std::collections::BTreeMap;

use proptest::prelude::*;
use slate_logs::{
    AttributionOptions, EngineOptions, HistoryKey, JoinOn, PairOptions, SequenceOptions,
};

use crate::log::{DAY, Event, Item, Log, Page, Row, SECOND, START, Slot, examples, examples_with};
use crate::twin::{Ends, sequences, twin};

const TYPES: [&str; 9] = [
    "purchase",
    "click",
    "click",
    "cancel",
    "view",
    "watch",
    "cart",
    "bin_click",
    "purchase",
];

/// Windows as short as they can be, so that random times fall on their edges.
pub(crate) fn short_windows() -> AttributionOptions {
    AttributionOptions {
        click_minutes: 1,
        watch_days: 1,
        cart_days: 2,
        purchase_days: 1,
        offer_days: 1,
        bid_days: 1,
        bin_click_days: 1,
        history_days: vec![1, 2],
        history_keys: vec![
            HistoryKey::Item,
            HistoryKey::Seller,
            HistoryKey::Category,
            HistoryKey::User,
            HistoryKey::UserCategory,
        ],
        pairs: Some(PairOptions {
            session_gap_minutes: 1,
            session_events: 4,
            days: 1,
        }),
        sequence: Some(SequenceOptions {
            length: 3,
            ..SequenceOptions::default()
        }),
        ..AttributionOptions::default()
    }
}

/// Half days, half minutes and single microseconds: sums of them meet every edge of every window.
fn time() -> impl Strategy<Value = i64> {
    (0..5_i64, 0..4_i64, -1..=1_i64)
        .prop_map(|(halves, steps, micros)| START + halves * DAY / 2 + steps * 30 * SECOND + micros)
}

/// 1 to `last`, or none.
fn maybe(last: i64) -> impl Strategy<Value = Option<i64>> {
    (0..=last).prop_map(|id| (id > 0).then_some(id))
}

fn pages() -> impl Strategy<Value = (Vec<Page>, Vec<Slot>)> {
    let page = (
        time(),
        maybe(3),
        maybe(2),
        maybe(3),
        prop::collection::vec(1..4_i64, 1..4),
    );
    prop::collection::vec(page, 1..40).prop_map(|pages| {
        let (mut all, mut slots) = (Vec::new(), Vec::new());
        for (i, (ts, user_id, session_id, seed_item_id, items)) in pages.into_iter().enumerate() {
            let page_id = i as i64 + 1;
            all.push(Page {
                page_id,
                ts,
                user_id,
                session_id,
                seed_item_id,
            });
            for (slot, item_id) in items.into_iter().enumerate() {
                let impression_id = slots.len() as i64 + 1;
                slots.push(Slot {
                    impression_id,
                    page_id,
                    slot: slot as i64,
                    item_id,
                });
            }
        }
        (all, slots)
    })
}

fn event() -> impl Strategy<Value = Event> {
    let ids = (1..100_i64, maybe(3), maybe(2), maybe(60), maybe(4));
    (0..TYPES.len(), time(), 1..4_i64, ids, 0..4_i64).prop_map(
        |(kind, ts, item_id, (event_id, user_id, session_id, impression, order), delay)| Event {
            event_id,
            ts,
            event_type: TYPES[kind],
            item_id,
            ingest_ts: (delay > 0).then_some(ts + (delay - 1) * DAY),
            user_id,
            session_id,
            // Most events name no placement; some name one that does not exist.
            impression_id: impression.filter(|id| id % 3 == 0),
            order_id: order.filter(|_| ["purchase", "cancel"].contains(&TYPES[kind])),
        },
    )
}

/// Pages with their slots, and events.
pub(crate) type Market = ((Vec<Page>, Vec<Slot>), Vec<Event>);

/// Many small markets with users, items, sessions and orders of their own, in one log: planning the
/// queries costs far more than running them.
fn log() -> impl Strategy<Value = Log> {
    markets(16..40).prop_map(|markets| merged(&own_ids(markets)))
}

pub(crate) fn markets(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Market>> {
    prop::collection::vec((pages(), prop::collection::vec(event(), 0..60)), size)
}

pub(crate) fn merged(markets: &[Log]) -> Log {
    let mut log = Log::default();
    for market in markets {
        log.pages.extend(market.pages.iter().cloned());
        log.slots.extend(market.slots.iter().cloned());
        log.events.extend(market.events.iter().cloned());
        log.items.extend(market.items.iter().cloned());
    }
    log
}

/// Gives each market ids that no other has.
pub(crate) fn own_ids(markets: Vec<Market>) -> Vec<Log> {
    let (mut logs, mut pages_before, mut slots_before) = (Vec::new(), 0, 0);
    for (market, ((pages, slots), events)) in markets.into_iter().enumerate() {
        let own = move |id: i64| id + 10 * market as i64;
        let maybe = move |id: Option<i64>| id.map(own);
        let mut log = Log::default();
        let (first_page, first_slot) = (pages_before, slots_before);
        pages_before += pages.len() as i64;
        slots_before += slots.len() as i64;
        log.pages.extend(pages.into_iter().map(|page| Page {
            page_id: first_page + page.page_id,
            user_id: maybe(page.user_id),
            session_id: maybe(page.session_id),
            seed_item_id: maybe(page.seed_item_id),
            ..page
        }));
        log.slots.extend(slots.into_iter().map(|slot| Slot {
            impression_id: first_slot + slot.impression_id,
            page_id: first_page + slot.page_id,
            item_id: own(slot.item_id),
            ..slot
        }));
        // Items 1 and 2 share a seller; 3 has none; 2 and 3 share a category; 1 has none.
        log.items.extend((1..4).map(|item| Item {
            item_id: own(item),
            seller_id: (item < 3).then(|| own(1)),
            category: (item > 1).then(|| format!("Toys > {market}")),
        }));
        log.events.extend(events.into_iter().map(|event| Event {
            event_id: event.event_id + 100 * market as i64,
            item_id: own(event.item_id),
            user_id: maybe(event.user_id),
            session_id: maybe(event.session_id),
            impression_id: event.impression_id.map(|id| first_slot + id),
            order_id: maybe(event.order_id),
            ..event
        }));
        logs.push(log);
    }
    logs
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    })]

    #[test]
    fn examples_agree_with_the_twin(
        markets in markets(150..250),
        view_through in any::<bool>(),
        halo in any::<bool>(),
        join_on in prop::sample::select(vec![JoinOn::User, JoinOn::User, JoinOn::Session]),
        passes in prop::sample::select(vec![1, 1, 3, 17]),
        as_of_half_days in prop::option::of(1..8_i64),
    ) {
        let markets = own_ids(markets);
        let log = merged(&markets);
        let mut options = AttributionOptions { view_through, halo, join_on, ..short_windows() };
        let as_of = as_of_half_days.map(|halves| START + halves * DAY / 2);
        let shown = log.pages.iter().any(|page| as_of.is_none_or(|as_of| page.ts <= as_of));
        prop_assume!(shown);
        options.label_as_of = as_of_half_days.map(|halves| {
            format!("2026-01-{:02}T{:02}:00:00Z", 1 + halves / 2, halves % 2 * 12)
        });

        let engine = EngineOptions { threads: 2, passes: Some(passes), ..EngineOptions::default() };
        let (summary, rows, past) = examples_with(&log, &options, &engine);
        // Each market by itself: the twin tries everything with everything.
        let last = as_of.unwrap_or_else(|| log.last_ts());
        let (mut expected, mut lists) = (BTreeMap::new(), BTreeMap::new());
        let mut ends = Ends::new();
        for market in &markets {
            let (rows, market_ends) = twin(market, &options, as_of, last);
            expected.extend(rows.into_iter().map(|row| (row.impression_id, row)));
            lists.extend(sequences(market, &options, as_of));
            for (event_type, counts) in market_ends {
                let sum = ends.entry(event_type).or_default();
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
        }
        prop_assert_eq!(rows.len(), expected.len());
        for row in &rows {
            prop_assert_eq!(row, &expected[&row.impression_id]);
        }
        prop_assert_eq!(past.len(), lists.len());
        for (list, steps) in &past {
            prop_assert_eq!(steps, &lists[list]);
        }
        // One total order: of the page's time first.
        let place = |row: &Row| {
            let slot = &log.slots[row.impression_id as usize - 1];
            let page = &log.pages[slot.page_id as usize - 1];
            (page.ts, page.page_id, slot.slot, slot.impression_id)
        };
        prop_assert!(rows.is_sorted_by_key(place));
        let mut counted = 0;
        for line in &summary.join.lines {
            let end = ends[line.event_type.as_str()];
            prop_assert_eq!(
                [
                    line.attributed,
                    line.late,
                    line.orphan,
                    line.duplicate,
                    line.reversed,
                    line.halo,
                    line.early,
                ],
                end,
                "{}",
                &line.event_type
            );
            counted += line.input;
        }
        prop_assert_eq!(summary.join.lines.len(), ends.len());
        prop_assert_eq!(counted, log.events.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    })]

    /// What comes after a page never changes that page's history.
    #[test]
    fn the_future_does_not_leak_into_history(
        log in log(),
        other in log(),
        cut in 1..8_i64,
    ) {
        let cut = START + cut * DAY / 4;
        // The ids of the other events are their own: a repeat of an earlier event is that event.
        let later = other.events.into_iter().filter(|event| event.ts >= cut).map(|event| Event {
            event_id: event.event_id + 10_000,
            ..event
        });
        let mut changed = log.clone();
        changed.events.retain(|event| event.ts < cut);
        changed.events.extend(later);
        let options = short_windows();
        let before = |log: &Log| -> Vec<(i64, Vec<i64>)> {
            let (_, rows) = examples(log, &options);
            rows.into_iter()
                .filter(|row| {
                    let slot = &log.slots[row.impression_id as usize - 1];
                    log.pages[slot.page_id as usize - 1].ts <= cut
                })
                .map(|row| (row.impression_id, row.history))
                .collect()
        };
        prop_assert_eq!(before(&log), before(&changed));
    }

    /// Labels as of a day are those of the log as it was on that day.
    #[test]
    fn labels_as_of_a_day_are_those_of_the_log_cut_there(log in log(), halves in 1..6_i64) {
        let as_of = START + halves * DAY / 2;
        let options = AttributionOptions {
            label_as_of: Some(format!("2026-01-{:02}T{:02}:00:00Z", 1 + halves / 2, halves % 2 * 12)),
            ..short_windows()
        };
        let mut cut = log.clone();
        cut.pages.retain(|page| page.ts <= as_of);
        cut.slots.retain(|slot| cut.pages.iter().any(|page| page.page_id == slot.page_id));
        cut.events.retain(|e| e.ts <= as_of && e.ingest_ts.is_none_or(|ts| ts <= as_of));
        prop_assume!(!cut.slots.is_empty());
        let (whole, rows) = examples(&log, &options);
        let (part, expected) = examples(&cut, &options);
        prop_assert_eq!(rows, expected);
        prop_assert_eq!(whole.hash, part.hash);
    }
}
