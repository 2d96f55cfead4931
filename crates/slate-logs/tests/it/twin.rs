//! Attribution and history once more, by trying every event with every placement: slow, short and
//! written from the definitions, to hold the queries against.

use std::collections::BTreeMap;

use slate_logs::{AttributionOptions, HistoryKey, JoinOn};
use slate_types::log::EVENT_TYPES;

use crate::log::{DAY, Event, Log, MINUTE, Page, Row, Sequences, Slot};
use crate::twin_pairs::{Session, bought_after_view, bought_together, person};

/// Attributed, late, orphan, duplicate, reversed, halo, early.
pub(crate) type Ends = BTreeMap<&'static str, [u64; 7]>;

struct Placement<'a> {
    slot: &'a Slot,
    page: &'a Page,
    join_on: JoinOn,
}

impl Placement<'_> {
    fn order(&self) -> (i64, i64, i64, i64) {
        (
            self.page.ts,
            self.page.page_id,
            self.slot.slot,
            self.slot.impression_id,
        )
    }
}

struct Credit {
    placement: usize,
    named: bool,
    halo: bool,
    counts: bool,
}

/// The rows in the order of the output, and where the events went, with labels as of `as_of`.
pub(crate) fn twin(
    log: &Log,
    options: &AttributionOptions,
    label_as_of: Option<i64>,
    as_of: i64,
) -> (Vec<Row>, Ends) {
    let mut placements: Vec<Placement> = log
        .slots
        .iter()
        .map(|slot| Placement {
            slot,
            join_on: options.join_on,
            page: log
                .pages
                .iter()
                .find(|page| page.page_id == slot.page_id)
                .unwrap(),
        })
        .filter(|placement| placement.page.ts <= as_of)
        .collect();
    placements.sort_by_key(Placement::order);

    let (events, mut ends) = known(log, label_as_of);
    // Clicks first: purchases look at them.
    let mut credits: Vec<Option<Credit>> = events.iter().map(|_| None).collect();
    for (i, event) in events.iter().enumerate() {
        if !["purchase", "cancel"].contains(&event.event_type) {
            credits[i] = touch(event, &placements, window(event.event_type, options));
        }
    }
    let mut clicked: Vec<Option<i64>> = vec![None; placements.len()];
    for (event, credit) in events.iter().zip(&credits) {
        if let Some(credit) = credit
            && event.event_type == "click"
            && credit.counts
        {
            let first = &mut clicked[credit.placement];
            *first = Some(first.map_or(event.ts, |ts| ts.min(event.ts)));
        }
    }
    for (i, event) in events.iter().enumerate() {
        if event.event_type == "purchase" {
            credits[i] = purchase(event, &placements, &clicked, options);
            if options.halo && credits[i].as_ref().is_none_or(|c| !c.counts && !c.named) {
                let found = halo(log, event, &placements, &clicked, options);
                credits[i] = found.or(credits[i].take());
            }
        }
    }

    let cancels = |purchase: &Event| -> Option<i64> {
        events
            .iter()
            .filter(|c| c.event_type == "cancel" && c.order_id.is_some())
            .filter(|c| c.order_id == purchase.order_id && c.item_id == purchase.item_id)
            .map(|c| c.ts.max(purchase.ts))
            .min()
    };
    // 0 attributed, 1 late, 2 orphan.
    let end_of = |i: usize| match &credits[i] {
        Some(credit) if credit.counts => 0,
        Some(_) => 1,
        None => 2,
    };
    for (i, event) in events.iter().enumerate() {
        let mut end = end_of(i);
        if event.event_type == "cancel" {
            end = (0..events.len())
                .filter(|&p| events[p].event_type == "purchase" && event.order_id.is_some())
                .filter(|&p| events[p].order_id == event.order_id)
                .filter(|&p| events[p].item_id == event.item_id)
                .map(end_of)
                .min()
                .unwrap_or(2);
        }
        let line = ends.get_mut(event.event_type).unwrap();
        line[end] += 1;
        if event.event_type == "purchase" && end == 0 && cancels(event).is_some() {
            line[4] += 1;
        }
        if event.event_type != "cancel" && end == 0 && credits[i].as_ref().is_some_and(|c| c.halo) {
            line[5] += 1;
        }
        let early = if let Some(credit) = &credits[i] {
            !credit.counts && placements[credit.placement].page.ts > event.ts
        } else {
            let same = |p: &&Placement| p.slot.item_id == event.item_id && same_person(event, p);
            let mut shown = placements.iter().filter(same).map(|p| p.page.ts).peekable();
            shown.peek().is_some() && shown.all(|ts| ts > event.ts)
        };
        if event.event_type != "cancel" && end > 0 && early {
            line[6] += 1;
        }
    }

    let longest = [
        "view",
        "click",
        "watch",
        "cart",
        "offer",
        "bid",
        "bin_click",
        "purchase",
    ]
    .iter()
    .filter(|kind| grade(kind, options) > 0 || ["click", "purchase"].contains(kind))
    .map(|kind| window(kind, options))
    .max()
    .unwrap();
    let rows = placements
        .iter()
        .enumerate()
        .map(|(at, placement)| {
            let mut row = Row {
                impression_id: placement.slot.impression_id,
                history: history(log, placement, &placements, &events, &cancels, options),
                grade: 0,
                click: 0,
                purchase: 0,
                matured: placement.page.ts + longest <= as_of,
                attribution: None,
                click_lag: None,
                purchase_lag: None,
            };
            // Best grade of an outcome that named the placement, and of one that was joined.
            let (mut named, mut joined, mut halo) = (None::<u8>, None::<u8>, None::<u8>);
            for (event, credit) in events.iter().zip(&credits) {
                let Some(credit) = credit else { continue };
                let (kind, grade) = (event.event_type, grade(event.event_type, options));
                let lag = event.ts - placement.page.ts;
                if credit.placement != at || !credit.counts {
                    continue;
                }
                if kind == "purchase" {
                    if cancels(event).is_some() {
                        continue;
                    }
                    row.purchase = 1;
                    row.purchase_lag = Some(row.purchase_lag.map_or(lag, |l| l.min(lag)));
                } else if kind == "click" {
                    row.click = 1;
                    row.click_lag = Some(row.click_lag.map_or(lag, |l| l.min(lag)));
                } else if grade == 0 {
                    continue;
                }
                row.grade = row.grade.max(grade);
                let best = if credit.named {
                    &mut named
                } else if credit.halo {
                    &mut halo
                } else {
                    &mut joined
                };
                *best = (*best).max(Some(grade));
            }
            row.attribution = match (named, joined, halo) {
                (None, None, None) => None,
                (named, joined, halo) if named >= joined.max(halo) => {
                    Some("impression_id".to_owned())
                }
                (_, joined, halo) if halo > joined => Some("halo".to_owned()),
                _ if row.click == 1 => Some("click_through".to_owned()),
                _ => Some("view_through".to_owned()),
            };
            row
        })
        .collect();
    (rows, ends)
}

/// Events that had arrived, repeats left out, and the ends of all others.
fn known(log: &Log, label_as_of: Option<i64>) -> (Vec<&Event>, Ends) {
    let seen = |event: &Event| match label_as_of {
        None => true,
        Some(as_of) => event.ts <= as_of && event.ingest_ts.is_none_or(|ts| ts <= as_of),
    };
    let mut ends = Ends::new();
    let mut sorted: Vec<&Event> = log.events.iter().collect();
    // Nulls stand last.
    let last = |id: Option<i64>| id.unwrap_or(i64::MAX);
    sorted.sort_by_key(|e| {
        let ids = (
            e.item_id,
            last(e.user_id),
            last(e.session_id),
            last(e.impression_id),
        );
        (
            e.event_id,
            !seen(e),
            e.ts,
            e.event_type,
            ids,
            last(e.order_id),
        )
    });
    let mut events: Vec<&Event> = Vec::new();
    for event in sorted {
        let end = ends.entry(event.event_type).or_default();
        if events
            .last()
            .is_some_and(|kept| kept.event_id == event.event_id)
        {
            end[3] += 1;
        } else {
            events.push(event);
            if !seen(event) {
                end[1] += 1;
            }
        }
    }
    events.retain(|event| seen(event));
    (events, ends)
}

/// The placement an event names, if it is of this log and of the same item.
fn named(event: &Event, placements: &[Placement], window: i64) -> Option<Credit> {
    let placement = placements.iter().position(|placement| {
        Some(placement.slot.impression_id) == event.impression_id
            && placement.slot.item_id == event.item_id
    })?;
    let shown = placements[placement].page.ts;
    let counts = shown <= event.ts && event.ts - shown <= window;
    Some(Credit {
        placement,
        named: true,
        halo: false,
        counts,
    })
}

fn same_person(event: &Event, placement: &Placement) -> bool {
    let page = placement.page;
    match (event.user_id, page.user_id) {
        (Some(a), Some(b)) if placement.join_on == JoinOn::User => a == b,
        _ => event.session_id.is_some() && event.session_id == page.session_id,
    }
}

/// Placements the event may belong to, earliest first.
fn candidates<'a>(
    event: &'a Event,
    placements: &'a [Placement<'a>],
) -> impl DoubleEndedIterator<Item = usize> + 'a {
    (0..placements.len()).filter(|&at| {
        let placement = &placements[at];
        placement.slot.item_id == event.item_id
            && placement.page.ts <= event.ts
            && same_person(event, placement)
    })
}

fn latest(places: impl Iterator<Item = usize>, placements: &[Placement]) -> Option<usize> {
    places.max_by_key(|&at| placements[at].order())
}

fn touch(event: &Event, placements: &[Placement], window: i64) -> Option<Credit> {
    named(event, placements, window).or_else(|| {
        let placement = latest(candidates(event, placements), placements)?;
        let counts = event.ts - placements[placement].page.ts <= window;
        Some(Credit {
            placement,
            named: false,
            halo: false,
            counts,
        })
    })
}

fn purchase(
    event: &Event,
    placements: &[Placement],
    clicked: &[Option<i64>],
    options: &AttributionOptions,
) -> Option<Credit> {
    let window = window("purchase", options);
    if let Some(credit) = named(event, placements, window) {
        return Some(credit);
    }
    let credit = |placement, counts| Credit {
        placement,
        named: false,
        halo: false,
        counts,
    };
    let in_window = |at: &usize| event.ts - placements[*at].page.ts <= window;
    let was_clicked = |at: &usize| clicked[*at].is_some_and(|ts| ts <= event.ts);
    let all = || candidates(event, placements);
    if let Some(at) = latest(all().filter(was_clicked).filter(in_window), placements) {
        return Some(credit(at, true));
    }
    if options.view_through {
        if let Some(at) = latest(all().filter(in_window), placements) {
            return Some(credit(at, true));
        }
        return latest(all(), placements).map(|at| credit(at, false));
    }
    latest(all().filter(was_clicked), placements).map(|at| credit(at, false))
}

/// The seller of an item.
fn seller(log: &Log, item: i64) -> Option<i64> {
    log.item(item).and_then(|item| item.seller_id)
}

fn halo(
    log: &Log,
    event: &Event,
    placements: &[Placement],
    clicked: &[Option<i64>],
    options: &AttributionOptions,
) -> Option<Credit> {
    let shop = seller(log, event.item_id)?;
    let window = window("purchase", options);
    let others = || {
        (0..placements.len()).filter(|&at| {
            let placement = &placements[at];
            let item = placement.slot.item_id;
            item != event.item_id
                && seller(log, item) == Some(shop)
                && (0..=window).contains(&(event.ts - placement.page.ts))
                && same_person(event, placement)
        })
    };
    let was_clicked = |at: &usize| clicked[*at].is_some_and(|ts| ts <= event.ts);
    let found = latest(others().filter(was_clicked), placements);
    let seen = || latest(others(), placements).filter(|_| options.view_through);
    found.or_else(seen).map(|placement| Credit {
        placement,
        named: false,
        halo: true,
        counts: true,
    })
}

fn history(
    log: &Log,
    placement: &Placement,
    placements: &[Placement],
    events: &[&Event],
    cancelled_at: &dyn Fn(&Event) -> Option<i64>,
    options: &AttributionOptions,
) -> Vec<i64> {
    let now = placement.page.ts;
    let within = |ts: i64, days: u32| ts < now && now - ts <= i64::from(days) * DAY;
    let mut counts = Vec::new();
    let category = |item: i64| log.item(item).and_then(|item| item.category.as_deref());
    for key in &options.history_keys {
        let (item, user) = (placement.slot.item_id, placement.page.user_id);
        let same = |other: i64, other_user: Option<i64>| match key {
            HistoryKey::Item => other == item,
            HistoryKey::Seller => {
                seller(log, item).is_some() && seller(log, other) == seller(log, item)
            }
            HistoryKey::Category => category(item).is_some() && category(other) == category(item),
            HistoryKey::User => user.is_some() && other_user == user,
            HistoryKey::UserCategory => {
                user.is_some()
                    && other_user == user
                    && category(item).is_some()
                    && category(other) == category(item)
            }
        };
        for &days in &options.history_days {
            let shown = placements.iter().filter(|other| {
                same(other.slot.item_id, other.page.user_id) && within(other.page.ts, days)
            });
            let happened = |kind: &'static str| {
                events.iter().filter(move |event| {
                    event.event_type == kind
                        && same(event.item_id, event.user_id)
                        && within(event.ts, days)
                })
            };
            let standing = happened("purchase")
                .filter(|event| cancelled_at(event).is_none_or(|cancelled| cancelled >= now));
            counts.push(shown.count() as i64);
            counts.push(happened("click").count() as i64);
            counts.push(standing.count() as i64);
        }
    }
    if let (Some(pairs), seed) = (options.pairs, placement.page.seed_item_id) {
        let marks = seed.map_or([0, 0], |seed| {
            let session = Session {
                gap: i64::from(pairs.session_gap_minutes) * MINUTE,
                most: pairs.session_events as usize,
            };
            let fits = |ts: i64, undone: Option<i64>| {
                within(ts, pairs.days) && undone.is_none_or(|undone| undone >= now)
            };
            let candidate = placement.slot.item_id;
            [
                bought_after_view(events, session, seed, candidate, cancelled_at, &fits),
                bought_together(events, session, seed, candidate, cancelled_at, &fits),
            ]
        });
        counts.extend(marks);
    }
    counts
}

/// What each list's person did last before it.
pub(crate) fn sequences(
    log: &Log,
    options: &AttributionOptions,
    label_as_of: Option<i64>,
) -> Sequences {
    let (events, _) = known(log, label_as_of);
    let length = options.sequence.as_ref().unwrap().length as usize;
    let mut pages: Vec<&Page> = log
        .pages
        .iter()
        .filter(|page| label_as_of.is_none_or(|as_of| page.ts <= as_of))
        .filter(|page| log.slots.iter().any(|slot| slot.page_id == page.page_id))
        .collect();
    pages.sort_by_key(|page| (page.ts, page.page_id));
    let of = |page: &&Page| {
        let who = person(page.user_id, page.session_id);
        let mut past: Vec<&Event> = events
            .iter()
            .copied()
            .filter(|e| e.event_type != "cancel" && e.ts < page.ts)
            .filter(|e| who.is_some() && person(e.user_id, e.session_id) == who)
            .collect();
        past.sort_by_key(|e| (e.ts, e.event_id));
        let skipped = past.len().saturating_sub(length);
        let kind = |e: &Event| EVENT_TYPES.iter().position(|k| *k == e.event_type).unwrap() as u8;
        let steps = past[skipped..].iter();
        (
            page.page_id,
            steps.map(|e| (e.item_id, kind(e), e.ts)).collect(),
        )
    };
    pages.iter().map(of).collect()
}

fn window(kind: &str, options: &AttributionOptions) -> i64 {
    match kind {
        "view" | "click" => i64::from(options.click_minutes) * MINUTE,
        "watch" => i64::from(options.watch_days) * DAY,
        "cart" => i64::from(options.cart_days) * DAY,
        "offer" => i64::from(options.offer_days) * DAY,
        "bid" => i64::from(options.bid_days) * DAY,
        "bin_click" => i64::from(options.bin_click_days) * DAY,
        _ => i64::from(options.purchase_days) * DAY,
    }
}

fn grade(kind: &str, options: &AttributionOptions) -> u8 {
    let grades = &options.grades;
    match kind {
        "view" => grades.view,
        "click" => grades.click,
        "watch" => grades.watch,
        "cart" => grades.cart,
        "offer" => grades.offer,
        "bid" => grades.bid,
        "bin_click" => grades.bin_click,
        "purchase" => grades.purchase,
        _ => 0,
    }
}
