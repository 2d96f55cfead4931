//! Why an event went where it went, in words. The ends are the job's own; here they are only explained.

use std::collections::HashMap;

use super::watch::Shown;
use super::words::span;
use super::{CreditTrace, EventTrace};
use crate::attribution::{Credit, End, Event, Fate, Fates, Placement, Route};
use crate::date;

/// An event as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) event: Event,
    /// It has the id of another event that was kept.
    pub(super) repeats: bool,
    /// It had arrived by the date of the labels.
    pub(super) seen: bool,
}

/// A placement of another page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elsewhere {
    pub(super) page: i64,
    pub(super) slot: i64,
    pub(super) item: i64,
    pub(super) ts: i64,
}

/// Everything the reasons are made of.
pub(super) struct Explainer<'a> {
    /// The placements of the page.
    pub(super) shown: &'a [Shown],
    pub(super) fates: &'a Fates,
    /// Placements of other pages that events name or go to.
    pub(super) elsewhere: HashMap<i64, Elsewhere>,
    pub(super) kept: &'a [Kept],
    pub(super) as_of: i64,
}

/// A reason, and the placement of the page it is about.
struct Reason {
    code: &'static str,
    text: String,
    concerns: Option<i64>,
    counts_here: bool,
    outside_by: Option<i64>,
}

impl Reason {
    fn new(code: &'static str, concerns: Option<&Placement>, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            concerns: concerns.map(|placement| placement.impression),
            counts_here: false,
            outside_by: None,
        }
    }
}

impl Explainer<'_> {
    /// The events with their ends, in the order in which they were kept.
    pub(super) fn events(&self) -> Vec<EventTrace> {
        let fates: HashMap<i64, &Fate> = self
            .fates
            .watched
            .iter()
            .map(|fate| (fate.event.id, fate))
            .collect();
        self.kept
            .iter()
            .map(|kept| {
                let event = &kept.event;
                if kept.repeats {
                    let text = format!("repeats the id {} of another event", event.id);
                    let reason = Reason::new("duplicate", self.about(event), text);
                    return self.entry(event, "duplicate", None, reason);
                }
                let Some(fate) = fates.get(&event.id).filter(|_| kept.seen) else {
                    return self.entry(event, "late", None, self.not_arrived(event));
                };
                let end = match fate.end {
                    End::Attributed => "attributed",
                    End::Late => "late",
                    End::Orphan => "orphan",
                };
                self.entry(event, end, fate.credit, self.reason(fate))
            })
            .collect()
    }

    fn entry(
        &self,
        event: &Event,
        end: &'static str,
        credit: Option<Credit>,
        reason: Reason,
    ) -> EventTrace {
        let credit = credit.map(|credit| {
            let own = self.own(credit.impression).map(|own| {
                let page = own.page;
                (page, own.slot)
            });
            let other = self.elsewhere.get(&credit.impression);
            let place = own.or_else(|| other.map(|other| (other.page, other.slot)));
            CreditTrace {
                impression_id: credit.impression,
                page_id: place.map(|(page, _)| page),
                slot: place.map(|(_, slot)| slot),
                shown: credit.shown,
                lag: event.ts - credit.shown,
                route: match credit.route {
                    Route::Named => "named",
                    Route::Joined => "joined",
                    Route::Halo => "halo",
                },
                in_window: credit.counts,
            }
        });
        EventTrace {
            event_id: event.id,
            ts: event.ts,
            event_type: event.name(),
            item_id: event.item,
            user_id: event.user,
            session_id: event.session,
            impression_id: event.impression,
            order_id: event.order,
            end,
            code: reason.code,
            reason: reason.text,
            concerns: reason.concerns,
            counts_here: reason.counts_here,
            outside_by: reason.outside_by,
            credit,
        }
    }

    /// The placement of the page with this id.
    fn own(&self, impression: i64) -> Option<&Placement> {
        let mut placements = self.shown.iter().map(|shown| &shown.placement);
        placements.find(|placement| placement.impression == impression)
    }

    /// The placement of the page an event is about: the one it names, else the last of its item, else
    /// the last of its seller.
    fn about(&self, event: &Event) -> Option<&Placement> {
        let placements = || self.shown.iter().map(|shown| &shown.placement);
        let of_seller = |placement: &&Placement| {
            event.is("purchase") && event.seller.is_some() && placement.seller == event.seller
        };
        event
            .impression
            .and_then(|named| self.own(named))
            .or_else(|| {
                placements()
                    .filter(|placement| placement.item == event.item)
                    .max_by_key(|placement| placement.order())
            })
            .or_else(|| placements().filter(of_seller).max_by_key(|p| p.order()))
    }

    /// A placement by its place on the screen.
    fn place(&self, impression: i64) -> String {
        if let Some(own) = self.own(impression) {
            return format!("slot {}", own.slot);
        }
        match self.elsewhere.get(&impression) {
            Some(other) => format!("page {}, slot {}", other.page, other.slot),
            None => format!("placement {impression}"),
        }
    }

    fn not_arrived(&self, event: &Event) -> Reason {
        let as_of = date::format(self.as_of);
        let text = if event.ts > self.as_of {
            format!(
                "{} after the date of the labels, {as_of}",
                span(event.ts - self.as_of)
            )
        } else {
            format!("reached the log (`ingest_ts`) only after the date of the labels, {as_of}")
        };
        Reason::new("not_arrived", self.about(event), text)
    }

    fn reason(&self, fate: &Fate) -> Reason {
        if fate.event.is("cancel") {
            return self.cancel(fate);
        }
        match fate.credit {
            Some(credit) if credit.counts => self.attributed(fate, &credit),
            Some(credit) => self.late(fate, &credit),
            None => self.orphan(fate),
        }
    }

    fn attributed(&self, fate: &Fate, credit: &Credit) -> Reason {
        let event = &fate.event;
        let Some(own) = self.own(credit.impression) else {
            return self.gone_elsewhere(event, credit);
        };
        let after = span(event.ts - credit.shown);
        let clicked = self.fates.clicked(credit.row);
        let clicked = clicked.is_some_and(|ts| ts <= event.ts);
        let (code, text) = match credit.route {
            Route::Named => (
                "named",
                format!("names slot {}, {after} after it was shown", own.slot),
            ),
            Route::Joined if event.is("purchase") && clicked => (
                "joined",
                format!(
                    "slot {} is the latest clicked placement of the item, {after} before",
                    own.slot
                ),
            ),
            Route::Joined => (
                "joined",
                format!(
                    "slot {} is the latest placement of the item, {after} before",
                    own.slot
                ),
            ),
            Route::Halo => (
                "halo",
                format!(
                    "bought another item of the seller of slot {}, {after} after it was shown",
                    own.slot
                ),
            ),
        };
        let mut reason = Reason::new(code, Some(own), text);
        reason.counts_here = fate.undone.is_none();
        if let Some(undone) = fate.undone {
            reason.code = "cancelled";
            reason.text = format!(
                "{}; cancelled {} later",
                reason.text,
                span(undone - event.ts)
            );
        }
        reason
    }

    /// Why an event went to another page rather than to this one.
    fn gone_elsewhere(&self, event: &Event, credit: &Credit) -> Reason {
        let about = self.about(event);
        let there = self.place(credit.impression);
        let text = match about {
            _ if credit.route == Route::Named => format!("names {there}"),
            Some(here) if here.ts > event.ts => format!(
                "went to {there}; slot {} was shown {} after it",
                here.slot,
                span(here.ts - event.ts)
            ),
            Some(here) if !same_person(event, here) => {
                format!("went to {there}; {}", stranger(event, here))
            }
            Some(here) if event.is("purchase") && !self.clicked_by(here, event.ts) => format!(
                "went to {there}, which was clicked; slot {} was not, before it",
                here.slot
            ),
            Some(here) if here.ts <= credit.shown => format!(
                "went to {there}, shown {} after slot {} (last touch)",
                span(credit.shown - here.ts),
                here.slot
            ),
            _ => format!("went to {there}"),
        };
        Reason::new("elsewhere", about, text)
    }

    fn clicked_by(&self, placement: &Placement, ts: i64) -> bool {
        let clicked = self.fates.clicked(placement.row);
        clicked.is_some_and(|first| first <= ts)
    }

    fn late(&self, fate: &Fate, credit: &Credit) -> Reason {
        let event = &fate.event;
        let own = self.own(credit.impression);
        let about = own.or_else(|| self.about(event));
        let place = self.place(credit.impression);
        if credit.shown > event.ts {
            let by = span(credit.shown - event.ts);
            let text = format!("names {place}, shown {by} after it: clocks may differ");
            return Reason::new("early", about, text);
        }
        let window = self.fates.rules.window(event.kind).unwrap_or(0);
        let outside = event.ts - credit.shown - window;
        let text = format!(
            "{} after {place} was shown, {} past the window of {}",
            span(event.ts - credit.shown),
            span(outside),
            span(window)
        );
        let mut reason = Reason::new("outside_window", about, text);
        reason.outside_by = Some(outside);
        reason
    }

    fn orphan(&self, fate: &Fate) -> Reason {
        let event = &fate.event;
        let about = self.about(event);
        let reason = |code, text: String| Reason::new(code, about, text);
        let mut names = String::new();
        if let Some(named) = event.impression {
            let item = self.own(named).map(|own| own.item);
            let item = item.or_else(|| self.elsewhere.get(&named).map(|other| other.item));
            let place = self.place(named);
            match item {
                Some(item) if item != event.item => {
                    let text = format!("names {place}, which shows item {item}");
                    return reason("other_item", text);
                }
                Some(_) => {
                    let ts = self.elsewhere.get(&named).map(|other| other.ts);
                    if ts.is_some_and(|ts| ts > self.as_of) {
                        names = format!("names {place}, shown after the date of the labels; ");
                    }
                }
                None => names = format!("names placement {named}, which the log does not have; "),
            }
        }
        let Some(here) = about else {
            return reason("no_placement", format!("{names}no placement of the item"));
        };
        if event.user.is_none() && event.session.is_none() {
            let text = "it has neither user nor session, and names no placement of the item";
            return reason("no_person", text.to_owned());
        }
        if !same_person(event, here) {
            return reason("another_user", format!("{names}{}", stranger(event, here)));
        }
        if here.ts > event.ts {
            let text = format!(
                "{names}slot {} was shown {} after it{}",
                here.slot,
                span(here.ts - event.ts),
                if fate.early {
                    ": clocks may differ"
                } else {
                    ""
                }
            );
            return reason("early", text);
        }
        if event.is("purchase") && here.item != event.item {
            let text = format!("{names}another item of the seller of slot {}", here.slot);
            return reason("other_item", text);
        }
        if event.is("purchase") {
            let text = match self.fates.clicked(here.row) {
                Some(clicked) if clicked > event.ts => format!(
                    "{names}slot {} was clicked only {} after it",
                    here.slot,
                    span(clicked - event.ts)
                ),
                _ => format!(
                    "{names}slot {} was shown {} before, but not clicked (`view_through` is off)",
                    here.slot,
                    span(event.ts - here.ts)
                ),
            };
            return reason("not_clicked", text);
        }
        reason(
            "no_placement",
            format!("{names}no placement it could belong to"),
        )
    }

    fn cancel(&self, fate: &Fate) -> Reason {
        let event = &fate.event;
        let about = self.about(event);
        let Some(order) = event.order else {
            let text = "names no order, so no purchase can be told to be the cancelled one";
            return Reason::new("cancels_nothing", about, text);
        };
        let purchase = self.fates.watched.iter().find(|other| {
            other.event.is("purchase")
                && other.event.order == Some(order)
                && other.event.item == event.item
        });
        let Some(purchase) = purchase else {
            let text = format!("no purchase of the item in order {order}");
            return Reason::new("cancels_nothing", about, text);
        };
        let id = purchase.event.id;
        let (code, what) = match (fate.end, purchase.credit) {
            (End::Attributed, Some(credit)) => ("cancels", self.place(credit.impression)),
            (End::Late, _) => ("cancels_late", "a purchase outside its window".to_owned()),
            _ => ("cancels_orphan", "a purchase without placement".to_owned()),
        };
        Reason::new(
            code,
            about,
            format!("takes back purchase {id} of order {order} ({what})"),
        )
    }
}

/// Whether the rules look for this event's placement among those of the placement's user or session.
fn same_person(event: &Event, placement: &Placement) -> bool {
    let session = event.session.is_some() && event.session == placement.session;
    match (event.user, placement.user) {
        (Some(one), Some(other)) => one == other,
        _ => session,
    }
}

fn stranger(event: &Event, placement: &Placement) -> String {
    match (event.user, placement.user) {
        (Some(one), Some(other)) => {
            format!(
                "it is of user {one}, slot {} was shown to user {other}",
                placement.slot
            )
        }
        _ => format!("it is of another session than slot {}", placement.slot),
    }
}
