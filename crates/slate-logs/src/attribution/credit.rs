//! The rules: to which placement an event goes.
//!
//! 1. The placement it names, if that is of the same item; at any time.
//! 2. Else the latest placement of the same item that the same user saw at or before the event, or
//!    the same session where one of the two has no user. A purchase looks for a clicked one first,
//!    then, with view-through, for one merely seen.
//! 3. Else, with halo, for a purchase: the same among the other items of its seller.
//!
//! Latest is the largest `(ts, page_id, slot, impression_id)`. An event outside the window of its
//! type is late.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::event::Event;
use super::placement::Placement;
use crate::options::{JoinOn, Rule};

/// Windows and grades of the types of events, and what purchases may go to.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// By index into the types of events; none for a cancel.
    of_kind: Vec<Option<Rule>>,
    view_through: bool,
    join_on: JoinOn,
}

impl Rules {
    pub(crate) fn new(rules: &[Rule], view_through: bool, join_on: JoinOn) -> Self {
        let rule = |name: &&str| rules.iter().find(|rule| rule.event_type == *name).copied();
        Self {
            of_kind: slate_types::log::EVENT_TYPES.iter().map(rule).collect(),
            view_through,
            join_on,
        }
    }

    /// Window of a type, none for a cancel.
    pub(crate) fn window(&self, kind: u8) -> Option<i64> {
        self.of_kind[usize::from(kind)].map(|rule| rule.window)
    }

    /// Grade of a type, 0 for a cancel.
    pub(crate) fn grade(&self, kind: u8) -> u8 {
        self.of_kind[usize::from(kind)].map_or(0, |rule| rule.grade)
    }
}

/// How an event came to its placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    /// It names it.
    Named,
    /// Same item, same user or session.
    Joined,
    /// Same seller, same user or session.
    Halo,
}

/// The placement an event goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credit {
    /// Of the placement.
    pub(crate) row: u64,
    /// Of the placement.
    pub(crate) impression: i64,
    /// When it was shown.
    pub(crate) shown: i64,
    pub(crate) route: Route,
    /// Whether it is within the window; else the event is late.
    pub(crate) counts: bool,
}

/// What an event shares with the placements it may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tie {
    User,
    Session,
    /// A session, among placements without a user.
    LoneSession,
}

/// Placements by what ties them to events, the earliest first.
struct Index<'a> {
    placements: &'a [Placement],
    join_on: JoinOn,
    tied: HashMap<(Tie, i64, i64), Vec<u32>, FixedState>,
}

impl<'a> Index<'a> {
    /// Of those placements for which `group` gives an id: the item, or the seller. `placements` must
    /// stand in their order.
    fn new(
        placements: &'a [Placement],
        join_on: JoinOn,
        group: impl Fn(&Placement) -> Option<i64>,
    ) -> Self {
        let mut tied: HashMap<(Tie, i64, i64), Vec<u32>, FixedState> = HashMap::default();
        for (at, placement) in placements.iter().enumerate() {
            let Some(group) = group(placement) else {
                continue;
            };
            let mut tie = |tie, id| tied.entry((tie, group, id)).or_default().push(at as u32);
            if let Some(user) = placement.user {
                tie(Tie::User, user);
            }
            if let Some(session) = placement.session {
                tie(Tie::Session, session);
                if placement.user.is_none() {
                    tie(Tie::LoneSession, session);
                }
            }
        }
        Self {
            placements,
            join_on,
            tied,
        }
    }

    /// Placements of the group and the person of an event, in up to two lists.
    fn lists(&self, event: &Event, group: i64) -> [&[u32]; 2] {
        let list = |tie, id: Option<i64>| -> &[u32] {
            id.and_then(|id| self.tied.get(&(tie, group, id)))
                .map_or(&[], Vec::as_slice)
        };
        match event.user.filter(|_| self.join_on == JoinOn::User) {
            Some(_) => [
                list(Tie::User, event.user),
                list(Tie::LoneSession, event.session),
            ],
            None => [list(Tie::Session, event.session), &[]],
        }
    }

    /// The latest of them in `[from, event.ts]` that `fits`.
    fn latest(
        &self,
        event: &Event,
        group: i64,
        from: i64,
        fits: impl Fn(usize) -> bool,
    ) -> Option<&'a Placement> {
        let mut best: Option<&Placement> = None;
        for list in self.lists(event, group) {
            let end = list.partition_point(|&at| self.placements[at as usize].ts <= event.ts);
            let found = list[..end]
                .iter()
                .rev()
                .take_while(|&&at| self.placements[at as usize].ts >= from)
                .find(|&&at| fits(at as usize))
                .map(|&at| &self.placements[at as usize]);
            if found.map(Placement::order) > best.map(Placement::order) {
                best = found;
            }
        }
        best
    }

    /// Whether the person saw the group at all, be it later.
    fn any(&self, event: &Event, group: i64) -> bool {
        self.lists(event, group).iter().any(|list| !list.is_empty())
    }
}

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) credit: Option<Credit>,
    /// Not attributed, and the placement was shown only after the event.
    pub(crate) early: bool,
}

fn credit(placement: &Placement, route: Route, counts: bool) -> Credit {
    Credit {
        row: placement.row,
        impression: placement.impression,
        shown: placement.ts,
        route,
        counts,
    }
}

/// First counted click of each placement, by row.
pub(crate) type Clicked = HashMap<u64, i64, FixedState>;

/// Runs rules 1 and 2 on events and all the placements they want. `placements` must stand in their
/// order. Decisions come in the order of the events; that of a cancel is empty. Beside them come the clicks
/// that count.
pub(crate) fn decide(
    events: &[Event],
    placements: &[Placement],
    rules: &Rules,
) -> (Vec<Decision>, Clicked) {
    let mut clicked = Clicked::default();
    let named: HashMap<i64, usize, FixedState> = placements
        .iter()
        .enumerate()
        .map(|(at, placement)| (placement.impression, at))
        .collect();
    let name = |event: &Event, window: i64| {
        let at = named.get(&event.impression?)?;
        let placement = &placements[*at];
        let counts = placement.ts <= event.ts && event.ts - placement.ts <= window;
        (placement.item == event.item).then(|| credit(placement, Route::Named, counts))
    };
    let decision = |event: &Event, index: &Index, credit: Option<Credit>| Decision {
        early: match credit {
            Some(credit) => !credit.counts && credit.shown > event.ts,
            None => {
                index.any(event, event.item)
                    && index
                        .latest(event, event.item, i64::MIN, |_| true)
                        .is_none()
            }
        },
        credit,
    };
    let all = Index::new(placements, rules.join_on, |placement| Some(placement.item));
    let mut decisions = vec![
        Decision {
            credit: None,
            early: false
        };
        events.len()
    ];
    for (event, decided) in events.iter().zip(&mut decisions) {
        let Some(window) = rules.window(event.kind) else {
            continue;
        };
        if event.is("purchase") {
            continue;
        }
        let found = name(event, window).or_else(|| {
            let placement = all.latest(event, event.item, i64::MIN, |_| true)?;
            let counts = event.ts - placement.ts <= window;
            Some(credit(placement, Route::Joined, counts))
        });
        if let Some(found) = found
            && found.counts
            && event.is("click")
        {
            let first = clicked.entry(found.row).or_insert(event.ts);
            *first = (*first).min(event.ts);
        }
        *decided = decision(event, &all, found);
    }
    // Clicked placements apart: a purchase need not look through all that were only seen.
    let of_clicked = Index::new(placements, rules.join_on, |placement| {
        clicked
            .contains_key(&placement.row)
            .then_some(placement.item)
    });
    for (event, decided) in events.iter().zip(&mut decisions) {
        if !event.is("purchase") {
            continue;
        }
        let window = rules.window(event.kind).unwrap_or(0);
        let was_clicked = |at: usize| clicked[&placements[at].row] <= event.ts;
        let joined = |placement, counts| credit(placement, Route::Joined, counts);
        let (item, from) = (event.item, event.ts - window);
        let found = name(event, window)
            .or_else(|| {
                of_clicked
                    .latest(event, item, from, was_clicked)
                    .map(|placement| joined(placement, true))
            })
            .or_else(|| {
                let seen = rules
                    .view_through
                    .then(|| all.latest(event, item, from, |_| true));
                seen.flatten().map(|placement| joined(placement, true))
            })
            .or_else(|| {
                let late = if rules.view_through {
                    all.latest(event, item, i64::MIN, |_| true)
                } else {
                    of_clicked.latest(event, item, i64::MIN, was_clicked)
                };
                late.map(|placement| joined(placement, false))
            });
        *decided = decision(event, &all, found);
    }
    (decisions, clicked)
}

/// Runs rule 3 on one purchase that rules 1 and 2 did not attribute.
pub(crate) fn halo<'a>(
    purchases: impl Iterator<Item = &'a Event>,
    placements: &[Placement],
    rules: &Rules,
    clicked: &Clicked,
) -> Vec<Option<Credit>> {
    let all = Index::new(placements, rules.join_on, |placement| placement.seller);
    let of_clicked = Index::new(placements, rules.join_on, |placement| {
        placement
            .seller
            .filter(|_| clicked.contains_key(&placement.row))
    });
    purchases
        .map(|event| {
            let seller = event.seller?;
            let from = event.ts - rules.window(event.kind).unwrap_or(0);
            let other = |at: usize| placements[at].item != event.item;
            let was_clicked = |at: usize| other(at) && clicked[&placements[at].row] <= event.ts;
            of_clicked
                .latest(event, seller, from, was_clicked)
                .or_else(|| {
                    let seen = rules
                        .view_through
                        .then(|| all.latest(event, seller, from, other));
                    seen.flatten()
                })
                .map(|placement| credit(placement, Route::Halo, true))
        })
        .collect()
}
