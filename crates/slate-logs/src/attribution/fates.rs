//! Where every event went, once all passes are done.

use rayon::prelude::*;
use slate_types::log::EVENT_TYPES;

use super::credit::{self, Clicked, Credit, Decision, Route, Rules};
use super::event::Event;
use super::labels::{Label, Outcome};
use super::placement::Placement;
use crate::{JoinLine, JoinReport};

/// A purchase or a cancel, with where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deal {
    pub(crate) event: Event,
    pub(crate) decision: Decision,
    /// Of a purchase: when it was first cancelled, not before the purchase itself.
    pub(crate) undone: Option<i64>,
}

/// An event and its end, for those who ask about single events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) event: Event,
    pub(crate) end: End,
    pub(crate) credit: Option<Credit>,
    /// The placement was shown only after the event.
    pub(crate) early: bool,
    /// Of a purchase: taken back by a cancel.
    pub(crate) undone: Option<i64>,
}

/// The four ends an event can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Attributed,
    Late,
    Orphan,
}

impl Deal {
    /// The purchases and cancels among all events, cancels settled and nothing decided: that is all
    /// that history wants to know of them.
    pub(crate) fn undecided<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Self> {
        let deals = events.filter(|event| event.is("purchase") || event.is("cancel"));
        let mut deals: Vec<Self> = deals
            .map(|event| Self {
                event: *event,
                decision: Decision {
                    credit: None,
                    early: false,
                },
                undone: None,
            })
            .collect();
        undo(&mut deals);
        deals
    }
}

/// Says of each purchase whether and when it was cancelled. Returns the purchases and the cancels of every
/// order and item with a cancel.
fn undo(deals: &mut [Deal]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let orders = deals.iter().enumerate().filter_map(|(at, deal)| {
        let order = deal.event.order?;
        Some((order, deal.event.item, at))
    });
    let mut orders: Vec<(i64, i64, usize)> = orders.collect();
    orders.par_sort_unstable();
    let mut undone = Vec::new();
    for group in orders.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let group = group.iter().map(|of_order| of_order.2);
        let (purchases, cancels): (Vec<usize>, Vec<usize>) =
            group.partition(|&at| deals[at].event.is("purchase"));
        let Some(cancelled) = cancels.iter().map(|&at| deals[at].event.ts).min() else {
            continue;
        };
        for &at in &purchases {
            deals[at].undone = Some(cancelled.max(deals[at].event.ts));
        }
        undone.push((purchases, cancels));
    }
    undone
}

/// Gathers decisions pass by pass.
pub(crate) struct Fates {
    pub(crate) rules: Rules,
    lines: Vec<JoinLine>,
    outcomes: Vec<Outcome>,
    /// Clicks that count, part by part.
    clicked: Vec<Clicked>,
    /// Purchases and cancels: they are settled together.
    pub(crate) deals: Vec<Deal>,
    /// Ends of the events that somebody asked about.
    pub(crate) watched: Vec<Fate>,
}

/// Events and all the placements they want: whatever shares an item is in one part.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) events: Vec<Event>,
    pub(crate) placements: Vec<Placement>,
}

impl Part {
    /// What the rules say of each event, in the order of ids, in which the events are left; and the clicks
    /// that count.
    fn decide(&mut self, rules: &Rules) -> (Vec<Decision>, Clicked) {
        // In one order, whatever the engine's threads did.
        self.events.sort_unstable_by_key(|event| event.id);
        self.placements.sort_unstable_by_key(Placement::order);
        credit::decide(&self.events, &self.placements, rules)
    }
}

impl Decision {
    fn end(&self) -> End {
        match self.credit {
            Some(credit) if credit.counts => End::Attributed,
            Some(_) => End::Late,
            None => End::Orphan,
        }
    }
}

impl Fates {
    pub(crate) fn new(rules: Rules) -> Self {
        let line = |name: &&str| JoinLine {
            event_type: (*name).to_owned(),
            ..JoinLine::default()
        };
        Self {
            rules,
            lines: EVENT_TYPES.iter().map(line).collect(),
            outcomes: Vec::new(),
            clicked: Vec::new(),
            deals: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// Counts an event that repeats another.
    pub(crate) fn duplicate(&mut self, kind: u8) {
        let line = &mut self.lines[usize::from(kind)];
        line.input += 1;
        line.duplicate += 1;
    }

    /// Counts an event that came after the date of the labels.
    pub(crate) fn unseen(&mut self, kind: u8) {
        let line = &mut self.lines[usize::from(kind)];
        line.input += 1;
        line.late += 1;
    }

    /// Decides about the events of one pass, which may be in any order, several parts at once. `told` hears
    /// of every event.
    pub(crate) fn decide(
        &mut self,
        parts: Vec<Part>,
        watch: &dyn Fn(&Event) -> bool,
        told: &dyn Fn(u64),
    ) {
        let mut parts = parts;
        let rules = &self.rules;
        let decided = parts.par_iter_mut().map(|part| part.decide(rules));
        let decided: Vec<(Vec<Decision>, Clicked)> = decided.collect();
        for (part, (decisions, clicked)) in parts.iter().zip(decided) {
            self.clicked.push(clicked);
            for (event, decision) in part.events.iter().zip(decisions) {
                self.take(event, decision, watch);
            }
            told(part.events.len() as u64);
        }
    }

    /// Notes what becomes of an event, unless that is settled later.
    fn take(&mut self, event: &Event, decision: Decision, watch: &dyn Fn(&Event) -> bool) {
        if event.is("purchase") || event.is("cancel") {
            self.deals.push(Deal {
                event: *event,
                decision,
                undone: None,
            });
            return;
        }
        let end = decision.end();
        self.count(event, end, decision);
        if let Some(credit) = decision.credit.filter(|credit| credit.counts) {
            self.outcomes.extend(Outcome::of(
                event,
                credit.row,
                credit.shown,
                credit.route,
                &self.rules,
            ));
        }
        if watch(event) {
            self.watched.push(Fate {
                event: *event,
                end,
                credit: decision.credit,
                early: decision.early,
                undone: None,
            });
        }
    }

    /// When a placement was first clicked, by a click that counts.
    pub(crate) fn clicked(&self, row: u64) -> Option<i64> {
        self.clicked.iter().find_map(|part| part.get(&row)).copied()
    }

    /// Purchases that no rule but halo can attribute.
    pub(crate) fn unresolved(&self) -> impl Iterator<Item = &Event> + Clone {
        self.deals
            .iter()
            .filter(|deal| Self::may_be_halo(deal))
            .map(|deal| &deal.event)
    }

    fn may_be_halo(deal: &Deal) -> bool {
        let open = match deal.decision.credit {
            None => true,
            Some(credit) => !credit.counts && credit.route != Route::Named,
        };
        open && deal.event.is("purchase") && deal.event.seller.is_some()
    }

    /// Lets unresolved purchases go to the seller's other items among `placements`.
    pub(crate) fn halo(&mut self, placements: &mut [Placement]) {
        placements.sort_unstable_by_key(Placement::order);
        let clicked: Clicked = self.clicked.drain(..).flatten().collect();
        let found = credit::halo(self.unresolved(), placements, &self.rules, &clicked);
        self.clicked.push(clicked);
        let open = self.deals.iter_mut().filter(|deal| Self::may_be_halo(deal));
        for (deal, found) in open.zip(found) {
            if found.is_some() {
                deal.decision = Decision {
                    credit: found,
                    early: false,
                };
            }
        }
    }

    /// Settles purchases with their cancels.
    pub(crate) fn settle(&mut self, watch: &dyn Fn(&Event) -> bool) {
        let mut ends: Vec<End> = self.deals.iter().map(|deal| deal.decision.end()).collect();
        for (purchases, cancels) in undo(&mut self.deals) {
            let best = purchases.iter().map(|&at| ends[at]).min();
            for at in cancels {
                ends[at] = best.unwrap_or(End::Orphan);
            }
        }
        let deals = std::mem::take(&mut self.deals);
        for (deal, end) in deals.iter().zip(ends) {
            self.count(&deal.event, end, deal.decision);
            if let (End::Attributed, Some(credit)) = (end, deal.decision.credit) {
                if deal.undone.is_some() {
                    self.lines[usize::from(deal.event.kind)].reversed += 1;
                } else {
                    self.outcomes.extend(Outcome::of(
                        &deal.event,
                        credit.row,
                        credit.shown,
                        credit.route,
                        &self.rules,
                    ));
                }
            }
            if watch(&deal.event) {
                self.watched.push(Fate {
                    event: deal.event,
                    end,
                    credit: deal.decision.credit,
                    early: deal.decision.early,
                    undone: deal.undone,
                });
            }
        }
        self.deals = deals;
    }

    fn count(&mut self, event: &Event, end: End, decision: Decision) {
        let line = &mut self.lines[usize::from(event.kind)];
        line.input += 1;
        match end {
            End::Attributed => line.attributed += 1,
            End::Late => line.late += 1,
            End::Orphan => line.orphan += 1,
        }
        line.early += u64::from(decision.early && end != End::Attributed);
        let halo = decision
            .credit
            .is_some_and(|credit| credit.route == Route::Halo);
        line.halo += u64::from(halo && end == End::Attributed);
    }

    /// The labels, by row, and the report, types without events left out.
    pub(crate) fn finish(&mut self) -> (Vec<Label>, JoinReport) {
        let lines = std::mem::take(&mut self.lines);
        let report = JoinReport {
            lines: lines.into_iter().filter(|line| line.input > 0).collect(),
        };
        (Label::of(std::mem::take(&mut self.outcomes)), report)
    }
}
