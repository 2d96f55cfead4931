//! Random logs against the brute-force twin.

use proptest::prelude::*;
use slate_logs::AttributionOptions;

use crate::log::{DAY, Event, Log, Page, SECOND, START, Slot, examples};
use crate::twin::twin;

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
fn short_windows() -> AttributionOptions {
    AttributionOptions {
        click_minutes: 1,
        watch_days: 1,
        cart_days: 2,
        purchase_days: 1,
        offer_days: 1,
        bid_days: 1,
        bin_click_days: 1,
        history_days: vec![1, 2],
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
        prop::collection::vec(1..4_i64, 1..4),
    );
    prop::collection::vec(page, 1..40).prop_map(|pages| {
        let (mut all, mut slots) = (Vec::new(), Vec::new());
        for (i, (ts, user_id, session_id, items)) in pages.into_iter().enumerate() {
            let page_id = i as i64 + 1;
            all.push(Page {
                page_id,
                ts,
                user_id,
                session_id,
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
type Market = ((Vec<Page>, Vec<Slot>), Vec<Event>);

/// Many small markets with users, items, sessions and orders of their own, in one log: planning the
/// queries costs far more than running them.
fn log() -> impl Strategy<Value = Log> {
    prop::collection::vec((pages(), prop::collection::vec(event(), 0..60)), 16..40).prop_map(merged)
}

fn merged(markets: Vec<Market>) -> Log {
    let mut log = Log::default();
    for (market, ((pages, slots), events)) in markets.into_iter().enumerate() {
        let own = move |id: i64| id + 10 * market as i64;
        let maybe = move |id: Option<i64>| id.map(own);
        let (first_page, first_slot) = (log.pages.len() as i64, log.slots.len() as i64);
        log.pages.extend(pages.into_iter().map(|page| Page {
            page_id: first_page + page.page_id,
            user_id: maybe(page.user_id),
            session_id: maybe(page.session_id),
            ..page
        }));
        log.slots.extend(slots.into_iter().map(|slot| Slot {
            impression_id: first_slot + slot.impression_id,
            page_id: first_page + slot.page_id,
            item_id: own(slot.item_id),
            ..slot
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
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_queries_agree_with_the_twin(
        log in log(),
        view_through in any::<bool>(),
        as_of_half_days in prop::option::of(1..8_i64),
    ) {
        let mut options = AttributionOptions { view_through, ..short_windows() };
        let as_of = as_of_half_days.map(|halves| START + halves * DAY / 2);
        let shown = log.pages.iter().any(|page| as_of.is_none_or(|as_of| page.ts <= as_of));
        prop_assume!(shown);
        options.label_as_of = as_of_half_days.map(|halves| {
            format!("2026-01-{:02}T{:02}:00:00Z", 1 + halves / 2, halves % 2 * 12)
        });

        let (summary, rows) = examples(&log, &options);
        let (expected, ends) = twin(&log, &options, as_of);
        prop_assert_eq!(rows, expected);
        let mut counted = 0;
        for line in &summary.join.lines {
            let end = ends[line.event_type.as_str()];
            prop_assert_eq!(
                [line.attributed, line.late, line.orphan, line.duplicate, line.reversed],
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
