//! The definition of pairs, event by event.

use crate::log::Event;

/// A person of an event: a user, else a session.
pub(crate) fn person(user: Option<i64>, session: Option<i64>) -> Option<(bool, i64)> {
    user.map(|user| (true, user))
        .or(session.map(|session| (false, session)))
}

/// What a session is.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    /// Longest gap between two events.
    pub(crate) gap: i64,
    /// Events that are looked at, the first ones.
    pub(crate) most: usize,
}

/// Whether two events of one person are in one session, and among the events of it that are looked at.
fn one_session(events: &[&Event], session: Session, a: &Event, b: &Event) -> bool {
    let last = std::cmp::max_by_key(a, b, |e| (e.ts, e.event_id));
    let before = events.iter().filter(|e| {
        e.event_type != "cancel"
            && (e.ts, e.event_id) < (last.ts, last.event_id)
            && joined(events, session.gap, e, last)
    });
    before.count() < session.most && joined(events, session.gap, a, b)
}

/// Whether no gap between two events of one person is too long.
fn joined(events: &[&Event], gap: i64, a: &Event, b: &Event) -> bool {
    let who = person(a.user_id, a.session_id);
    if who.is_none() || who != person(b.user_id, b.session_id) {
        return false;
    }
    let (from, to) = (a.ts.min(b.ts), a.ts.max(b.ts));
    let mut times: Vec<i64> = events
        .iter()
        .filter(|e| e.event_type != "cancel" && person(e.user_id, e.session_id) == who)
        .map(|e| e.ts)
        .filter(|ts| (from..=to).contains(ts))
        .collect();
    times.sort_unstable();
    times.windows(2).all(|pair| pair[1] - pair[0] <= gap)
}

pub(crate) fn bought_after_view(
    events: &[&Event],
    session: Session,
    seed: i64,
    candidate: i64,
    cancelled_at: &dyn Fn(&Event) -> Option<i64>,
    fits: &dyn Fn(i64, Option<i64>) -> bool,
) -> i64 {
    if seed == candidate {
        return 0;
    }
    let purchases = events
        .iter()
        .filter(|e| e.event_type == "purchase" && e.item_id == candidate);
    purchases
        .filter(|bought| fits(bought.ts, cancelled_at(bought)))
        .filter(|bought| {
            events.iter().any(|look| {
                ["view", "click"].contains(&look.event_type)
                    && look.item_id == seed
                    && look.ts < bought.ts
                    && one_session(events, session, look, bought)
            })
        })
        .count() as i64
}

pub(crate) fn bought_together(
    events: &[&Event],
    session: Session,
    seed: i64,
    candidate: i64,
    cancelled_at: &dyn Fn(&Event) -> Option<i64>,
    fits: &dyn Fn(i64, Option<i64>) -> bool,
) -> i64 {
    if seed == candidate {
        return 0;
    }
    // The first purchase of an item in its session.
    let firsts = |item: i64| -> Vec<&Event> {
        let of_item: Vec<&Event> = events
            .iter()
            .copied()
            .filter(|e| e.event_type == "purchase" && e.item_id == item)
            .collect();
        let first = |e: &&Event| {
            !of_item.iter().any(|other| {
                (other.ts, other.event_id) < (e.ts, e.event_id)
                    && one_session(events, session, other, e)
            })
        };
        of_item.iter().copied().filter(first).collect()
    };
    let mut count = 0;
    for a in firsts(seed) {
        for b in firsts(candidate) {
            let ts = a.ts.max(b.ts);
            let undone = [cancelled_at(a), cancelled_at(b)]
                .into_iter()
                .flatten()
                .min();
            let undone = undone.map(|undone| undone.max(ts));
            if one_session(events, session, a, b) && fits(ts, undone) {
                count += 1;
            }
        }
    }
    count
}
