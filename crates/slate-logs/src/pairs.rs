//! What buyers did with two items: looked at one and bought the other, or bought both.
//!
//! A session is a run of one person's events with no gap longer than the config allows; a person is a
//! user, or a session id where no user is known. Of a session only so many events are looked at, the
//! first ones: a robot that never pauses would pair everything with everything. In a session
//! - each purchase counts once for each other item viewed or clicked strictly before it, as
//!   `(viewed, bought)`: *bought after view*;
//! - each two items bought count once in either direction, when the second is bought first:
//!   *bought together*.
//!
//! Counts are those of the page's own item (seed) and the placement's, as of the page. A purchase that
//! was cancelled counts until then.

use crate::attribution::{Deal, Event};
use crate::date::MINUTE;
use crate::history::{IdMap, Key, Mark};
use crate::history_options::PairOptions;

/// Counts kept for each pair, in the order of the columns.
pub(crate) const PAIR_COUNTS: [&str; 2] = ["bought_after_view", "bought_together"];

/// Cuts a stream of events into sessions.
pub(crate) struct Sessions {
    gap: i64,
    /// Events of a session that are looked at.
    most: u32,
    /// Events of this session so far.
    events: u32,
    person: Option<(bool, i64)>,
    last: i64,
    /// First purchase and first look of each item of the session.
    looked: Vec<(i64, i64)>,
    bought: Vec<(i64, Option<i64>)>,
    undone: IdMap<i64, i64>,
}

/// Who did it: a user, else a session.
pub(crate) fn person(event: &Event) -> Option<(bool, i64)> {
    match (event.user, event.session) {
        (Some(user), _) => Some((true, user)),
        (None, session) => session.map(|session| (false, session)),
    }
}

impl Sessions {
    /// What a session is, and which purchases were cancelled.
    pub(crate) fn new(options: PairOptions, deals: &[Deal]) -> Self {
        let undone = deals
            .iter()
            .filter_map(|deal| Some((deal.event.id, deal.undone?)))
            .collect();
        Self {
            gap: i64::from(options.session_gap_minutes) * MINUTE,
            most: options.session_events,
            events: 0,
            person: None,
            last: i64::MIN,
            looked: Vec::new(),
            bought: Vec::new(),
            undone,
        }
    }

    /// Takes the next event in the order of person, time and id, and gives the marks it makes.
    pub(crate) fn add(&mut self, event: &Event, mut mark: impl FnMut(Mark)) {
        let Some(person) = person(event) else { return };
        if self.person != Some(person) || event.ts - self.last > self.gap {
            self.person = Some(person);
            self.looked.clear();
            self.bought.clear();
            self.events = 0;
        }
        self.last = event.ts;
        self.events = self.events.saturating_add(1);
        if self.events > self.most {
            return;
        }
        if event.is("view") || event.is("click") {
            if !self.looked.iter().any(|(item, _)| *item == event.item) {
                self.looked.push((event.item, event.ts));
            }
            return;
        }
        if !event.is("purchase") {
            return;
        }
        let undone = self.undone.get(&event.id).copied();
        for &(item, ts) in &self.looked {
            if item != event.item && ts < event.ts {
                mark(Mark {
                    ts: event.ts,
                    key: Key::two(item, event.item),
                    count: 0,
                    undone,
                });
            }
        }
        if self.bought.iter().any(|(item, _)| *item == event.item) {
            return;
        }
        for &(item, other_undone) in &self.bought {
            // Both must stand; a purchase undone before this one never counts.
            let undone = [undone, other_undone].into_iter().flatten().min();
            for key in [Key::two(item, event.item), Key::two(event.item, item)] {
                mark(Mark {
                    ts: event.ts,
                    key,
                    count: 1,
                    undone: undone.map(|undone| undone.max(event.ts)),
                });
            }
        }
        self.bought.push((event.item, undone));
    }
}
