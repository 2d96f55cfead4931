//! Traces against the examples: labels, ends and reasons of single pages.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use slate_logs::{
    AttributionOptions, EngineOptions, ExampleFiles, ExamplesSummary, LogError, LogSource,
    PageTrace,
};
use slate_types::{Hint, Silent};

use crate::log::{DAY, Log, MINUTE, SECOND, START, examples};
use crate::random::{markets, merged, own_ids, short_windows};

/// Traces a page of a log.
fn trace(
    log: &Log,
    options: &AttributionOptions,
    page: i64,
    passes: u32,
) -> Result<(PageTrace, ExamplesSummary), LogError> {
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let source = LogSource::open(dir.path())?;
    let engine = EngineOptions {
        threads: 2,
        passes: Some(passes),
        ..EngineOptions::default()
    };
    let files = ["examples.parquet", "rejects.parquet", "sequences.parquet"];
    let [examples, rejects, sequences] = files.map(|file| dir.path().join(file));
    let files = ExampleFiles {
        examples: &examples,
        rejects: &rejects,
        sequences: &sequences,
    };
    slate_logs::trace(
        &source,
        &options.check()?,
        &engine,
        page,
        files,
        true,
        &Silent,
    )
}

/// One page of user 1 with items 1, 2, 3, and everything that can happen to an event.
fn story() -> (Log, AttributionOptions) {
    let mut log = Log::default();
    log.page(START, 1, &[1, 2, 3]);
    log.page(START + 10 * MINUTE, 1, &[2]);
    log.pages[0].session_id = Some(7);
    let shown = START;
    log.event("click", shown + 30 * SECOND, 1, 1);
    log.event("purchase", shown + DAY, 1, 1).order_id = Some(5);
    log.event("cancel", shown + 2 * DAY, 1, 1).order_id = Some(5);
    log.event("click", shown + 11 * MINUTE, 1, 2);
    log.event("click", shown + 45 * MINUTE, 1, 3);
    log.event("click", shown - 3 * SECOND, 1, 3);
    log.event("purchase", shown + DAY, 1, 3).order_id = Some(6);
    log.event("click", shown + MINUTE, 2, 3).session_id = Some(7);
    log.event("click", shown + MINUTE, 9, 2).impression_id = Some(3);
    log.event("click", shown - MINUTE, 9, 1).impression_id = Some(1);
    log.event("cancel", shown + 2 * DAY, 1, 3).order_id = Some(8);
    log.event("watch", shown + 40 * DAY, 1, 1);
    log.event("watch", shown + 59 * DAY, 1, 1).ingest_ts = Some(shown + 99 * DAY);
    let again = log.events[0].clone();
    log.events.push(again);
    log.event("click", shown + MINUTE, 1, 99);
    let options = AttributionOptions {
        label_as_of: Some("2026-03-15".to_owned()),
        ..AttributionOptions::default()
    };
    (log, options)
}

#[test]
fn every_event_has_its_reason() {
    let (log, options) = story();
    let (page, _) = trace(&log, &options, 1, 1).unwrap();
    let told: Vec<String> = page
        .events
        .iter()
        .map(|event| {
            format!(
                "{} {} {} {}: {}",
                event.event_id, event.event_type, event.end, event.code, event.reason
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "10 click late early: names slot 0, shown 1 min after it: clocks may differ",
            "6 click orphan early: slot 2 was shown 3 s after it: clocks may differ",
            "1 click attributed joined: slot 0 is the latest placement of the item, 30 s before",
            "1 click duplicate duplicate: repeats the id 1 of another event",
            "8 click orphan another_user: it is of user 2, slot 2 was shown to user 1",
            "9 click orphan other_item: names slot 2, which shows item 3",
            "4 click attributed elsewhere: went to page 2, slot 0, shown 10 min after slot 1 (last touch)",
            "5 click late outside_window: 45 min after slot 2 was shown, 15 min past the window of 30 min",
            "2 purchase attributed cancelled: slot 0 is the latest clicked placement of the item, 1 d before; cancelled 1 d later",
            "7 purchase orphan not_clicked: slot 2 was shown 1 d before, but not clicked (`view_through` is off)",
            "3 cancel attributed cancels: takes back purchase 2 of order 5 (slot 0)",
            "11 cancel orphan cancels_nothing: no purchase of the item in order 8",
            "12 watch late outside_window: 40 d after slot 0 was shown, 10 d past the window of 30 d",
            "13 watch late not_arrived: reached the log (`ingest_ts`) only after the date of the labels, 2026-03-15T00:00:00Z",
        ]
    );
    assert_eq!(page.other_events, BTreeMap::from([("click".to_owned(), 1)]));
    assert_eq!(page.ends.values().sum::<u64>(), page.events.len() as u64);
    let why: Vec<&str> = page.placements.iter().map(|p| p.why.as_str()).collect();
    assert_eq!(
        why[0],
        "clicked 30 s after; but purchase: slot 0 is the latest clicked placement of the item, \
         1 d before; cancelled 1 d later"
    );
    assert_eq!(
        why[1],
        "click: went to page 2, slot 0, shown 10 min after slot 1 (last touch)"
    );
    assert!(
        why[2].starts_with("click: slot 2 was shown 3 s after it"),
        "{}",
        why[2]
    );
    assert_eq!(page.events[7].outside_by, Some(15 * MINUTE));
    let other = page.events[6].credit.as_ref().unwrap();
    assert_eq!(
        (other.page_id, other.slot, other.lag),
        (Some(2), Some(0), MINUTE)
    );
}

#[test]
fn open_windows_and_halo_are_told() {
    let (mut log, options) = story();
    log.items = [(1, 50), (3, 50)]
        .map(|(item_id, seller)| crate::log::Item {
            item_id,
            seller_id: Some(seller),
            category: None,
        })
        .to_vec();
    let early = AttributionOptions {
        label_as_of: Some("2026-01-20".to_owned()),
        halo: true,
        ..options
    };
    let (page, _) = trace(&log, &early, 1, 3).unwrap();
    assert!(page.placements.iter().all(|placement| !placement.matured));
    assert!(
        page.placements[1]
            .why
            .ends_with("not final: windows close 2026-01-31T00:00:00Z")
    );
    let bought = page
        .events
        .iter()
        .find(|event| event.event_id == 7)
        .unwrap();
    assert_eq!(
        (bought.code, bought.reason.as_str()),
        (
            "halo",
            "bought another item of the seller of slot 0, 1 d after it was shown"
        )
    );
    assert_eq!(page.items.len(), 2, "the log has no row of item 2");
}

#[test]
fn a_page_that_is_not_there_is_told_with_its_neighbours() {
    let (mut log, options) = story();
    log.pages[1].page_id = 12;
    log.slots[3].page_id = 12;
    let error = trace(&log, &options, 5, 1).unwrap_err();
    assert!(
        error.to_string().starts_with("page 5 is not in `"),
        "{error}"
    );
    assert_eq!(
        error.hint().unwrap(),
        "its page ids run from 1 to 12; the nearest: 1 and 12"
    );
    let before = AttributionOptions {
        label_as_of: Some("2026-01-01T00:05:00Z".to_owned()),
        ..options.clone()
    };
    let error = trace(&log, &before, 12, 1).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "is not used: it was shown at 2026-01-01T00:10:00Z, after the date of the labels"
        ),
        "{error}"
    );
    log.slots.retain(|slot| slot.page_id == 1);
    let error = trace(&log, &options, 12, 1).unwrap_err().to_string();
    assert!(error.ends_with("no placement was shown on it"), "{error}");
}

#[test]
fn rows_set_aside_are_told_with_the_page() {
    let (mut log, options) = story();
    // Two placements with one id, and an event of an unknown kind of time.
    let mut twice = log.slots[0].clone();
    twice.slot = 7;
    log.slots.push(twice);
    log.events[0].ts = 5;
    let options = AttributionOptions {
        max_reject_share: 0.5,
        ..options
    };
    let (page, _) = trace(&log, &options, 1, 1).unwrap();
    let told: Vec<String> = page
        .rejects
        .iter()
        .map(|reject| {
            let (table, key) = (&reject.table, reject.key.unwrap());
            format!("{table} {key} `{}` {}", reject.column, reject.reason)
        })
        .collect();
    assert_eq!(
        told,
        [
            "slot_impression 1 `impression_id` repeats the id of another row",
            "event 1 `ts` is outside the years 2000 to 2100",
        ]
    );
    assert_eq!(page.placements.len(), 3, "the first row of the id is kept");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3,
        failure_persistence: None,
        max_shrink_iters: 10,
        ..ProptestConfig::default()
    })]

    /// Traces of all pages together are the whole job: the same labels, every event that counts
    /// counts on one page, and what counts on a page makes its labels.
    #[test]
    fn pages_add_up_to_the_job(
        markets in markets(2..4),
        view_through in any::<bool>(),
        halo in any::<bool>(),
        passes in prop::sample::select(vec![1, 3]),
    ) {
        let mut log = merged(&own_ids(markets));
        log.pages.truncate(14);
        log.slots.retain(|slot| log.pages.iter().any(|page| page.page_id == slot.page_id));
        let options = AttributionOptions {
            view_through,
            halo,
            label_as_of: Some("2026-01-04".to_owned()),
            ..short_windows()
        };
        let as_of = START + 3 * DAY;
        let grades = &options.grades;
        prop_assume!(log.pages.iter().any(|page| page.ts <= as_of));
        let (summary, rows) = examples(&log, &options);
        let mut attributed: BTreeMap<&str, u64> = BTreeMap::new();
        for page in log.pages.iter().filter(|page| page.ts <= as_of) {
            let (traced, again) = trace(&log, &options, page.page_id, passes).unwrap();
            prop_assert_eq!(&again.hash, &summary.hash, "a trace is the job");
            prop_assert_eq!(traced.ends.values().sum::<u64>(), traced.events.len() as u64);

            // What is listed is what could concern the page, tried out one by one.
            let items: BTreeSet<i64> = traced.placements.iter().map(|p| p.item_id).collect();
            let own: BTreeSet<i64> = traced.placements.iter().map(|p| p.impression_id).collect();
            let mut expected: Vec<(i64, i64)> = log.events.iter().filter(|event| {
                let person = (event.user_id.is_some() && event.user_id == page.user_id)
                    || (event.session_id.is_some() && event.session_id == page.session_id);
                event.impression_id.is_some_and(|id| own.contains(&id))
                    || (items.contains(&event.item_id) && person)
            }).map(|event| (event.event_id, event.ts)).collect();
            for event in &traced.events {
                if let Some(at) = expected.iter().position(|e| *e == (event.event_id, event.ts)) {
                    expected.remove(at);
                }
            }
            prop_assert_eq!(expected, vec![], "page {}", page.page_id);

            for placement in &traced.placements {
                let row = rows.iter().find(|row| row.impression_id == placement.impression_id).unwrap();
                let label = (
                    placement.grade, u8::from(placement.click), u8::from(placement.purchase),
                    placement.matured, &placement.attribution, placement.click_lag, placement.purchase_lag,
                );
                let written = (
                    row.grade, row.click, row.purchase,
                    row.matured, &row.attribution, row.click_lag, row.purchase_lag,
                );
                prop_assert_eq!(label, written);
                prop_assert!(!placement.why.is_empty());
                // The reasons make the labels.
                let counts: Vec<_> = traced.events.iter().filter(|event| {
                    event.counts_here && event.concerns == Some(placement.impression_id)
                }).collect();
                let lag = |kind: &str| counts.iter().filter(|event| event.event_type == kind)
                    .map(|event| event.credit.as_ref().unwrap().lag).min();
                prop_assert_eq!(lag("click"), row.click_lag);
                prop_assert_eq!(lag("purchase"), row.purchase_lag);
                let grade = counts.iter().map(|event| match event.event_type {
                    "view" => grades.view,
                    "click" => grades.click,
                    "watch" => grades.watch,
                    "cart" => grades.cart,
                    "bin_click" => grades.bin_click,
                    _ => grades.purchase,
                }).max();
                prop_assert_eq!(grade.unwrap_or(0), row.grade);
            }
            for event in &traced.events {
                prop_assert!(!event.reason.is_empty());
                let here = event.credit.as_ref().is_some_and(|credit| own.contains(&credit.impression_id));
                if event.end == "attributed" && here {
                    *attributed.entry(event.event_type).or_default() += 1;
                }
            }
        }
        for line in &summary.join.lines {
            if line.event_type != "cancel" {
                let counted = attributed.get(line.event_type.as_str()).copied().unwrap_or(0);
                prop_assert_eq!(counted, line.attributed, "{}", &line.event_type);
            }
        }
    }
}
