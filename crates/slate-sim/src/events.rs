//! The events a page leaves behind: what users did, and the noise real logs carry.
//!
//! Times: a click is at most 20 minutes after the page, other events of the visit at most 9 minutes
//! after the click, a purchase at most 30 days after the page, a cancel 1 to 10 days after its
//! purchase. Noise never changes a label: duplicates repeat an event exactly, late events come
//! after their window has closed (clicks 31 minutes to 24 hours, purchases up to 40 days after the
//! page) and name no placement, orphans are about items the user is never shown.

use crate::behaviour::Outcome;
use crate::calendar::{DAY, HOUR, MINUTE, SECOND};
use crate::catalogue::Catalogue;
use crate::config::MarketConfig;
use crate::pages::Page;
use crate::random::Stream;
use crate::simulate::Tally;

/// Longest wait from page to click, after its first second, in seconds.
const CLICK_LONGEST: f64 = 1_198.0;
/// Longest wait from page to purchase: the usual attribution window.
const PURCHASE_WITHIN: i64 = 30 * DAY;
/// Ids set aside for the events of one page; 60 slots of 12 events at most.
const IDS_PER_PAGE: i64 = 1024;

/// A row of the table `event`.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) ts: i64,
    pub(crate) kind: &'static str,
    pub(crate) item: i64,
    pub(crate) user: i64,
    pub(crate) session: Option<i64>,
    pub(crate) seller: i64,
    pub(crate) impression: Option<i64>,
    pub(crate) sale: Option<Sale>,
}

/// What a purchase or a cancel says beyond other events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sale {
    pub(crate) order: i64,
    pub(crate) quantity: i64,
    /// Price and shipping, in minor units.
    pub(crate) total: i64,
    pub(crate) ad_rate: f64,
}

/// A placement as events see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) impression: i64,
    /// Index into the catalogue.
    pub(crate) item: u32,
    pub(crate) price: i64,
    pub(crate) shipping: i64,
}

/// Writes the events of one page.
pub(crate) struct Diary<'a> {
    config: &'a MarketConfig,
    catalogue: &'a Catalogue,
    page: &'a Page,
    stream: &'a mut Stream,
    events: &'a mut Vec<Event>,
    tally: &'a mut Tally,
    next_id: i64,
}

impl<'a> Diary<'a> {
    /// Begins the diary of a page; events are appended to `events`.
    pub(crate) fn new(
        config: &'a MarketConfig,
        catalogue: &'a Catalogue,
        page: &'a Page,
        stream: &'a mut Stream,
        events: &'a mut Vec<Event>,
        tally: &'a mut Tally,
    ) -> Self {
        let next_id = page.id * IDS_PER_PAGE;
        Self {
            config,
            catalogue,
            page,
            stream,
            events,
            tally,
            next_id,
        }
    }

    /// Writes down what happened to one placement; `shown` are all placements of the page.
    pub(crate) fn placement(&mut self, slot: usize, outcome: Outcome, shown: &[Placement]) {
        if !outcome.clicked {
            return;
        }
        let placement = shown[slot];
        self.tally.clicks += 1;
        let wait = self
            .stream
            .wait(self.config.click_delay_seconds, 2.0, CLICK_LONGEST);
        let click = self.page.ts + SECOND + (wait * 1e6) as i64;
        self.record("click", click, placement, true, None);
        self.visit(click, outcome.bought, placement);
        if outcome.bought {
            self.sale(click, outcome.cancelled, placement);
        }
        if self.stream.chance(self.config.late_rate) {
            let other = shown[self.stream.below(shown.len())];
            self.late(other);
        }
        if self.stream.chance(self.config.orphan_rate)
            && let Some(item) = self.page.stranger
        {
            self.orphan(item);
        }
    }

    /// Views, watches and carts in the minutes after the click.
    fn visit(&mut self, click: i64, bought: bool, placement: Placement) {
        let (watch, cart) = if bought { (0.10, 0.70) } else { (0.12, 0.10) };
        for (kind, probability) in [("view", 0.6), ("watch", watch), ("cart", cart)] {
            if self.stream.chance(probability) {
                let wait = (self.stream.unit() * 9.0 * MINUTE as f64) as i64;
                self.record(kind, click + SECOND + wait, placement, true, None);
            }
        }
    }

    fn sale(&mut self, click: i64, cancelled: bool, placement: Placement) {
        // From one second after the click to exactly 30 days after the page.
        let earliest = click + SECOND;
        let longest = (self.page.ts + PURCHASE_WITHIN - earliest) as f64;
        let scale = self.config.purchase_delay_hours * HOUR as f64;
        let wait = self
            .stream
            .wait(scale, self.config.purchase_delay_tail, longest) as i64;
        let purchase = earliest + wait;
        let quantity = if self.stream.chance(0.05) { 2 } else { 1 };
        let sale = Sale {
            order: self.next_id,
            quantity,
            total: placement.price * quantity + placement.shipping,
            ad_rate: self.catalogue.items[placement.item as usize].ad_rate,
        };
        let same_visit = purchase - self.page.ts <= 30 * MINUTE;
        self.tally.purchases += 1;
        self.record("purchase", purchase, placement, same_visit, Some(sale));
        if cancelled {
            let cancel = purchase + DAY + (self.stream.unit() * 9.0 * DAY as f64) as i64;
            self.tally.cancels += 1;
            let nameless = Placement {
                impression: 0,
                ..placement
            };
            self.record("cancel", cancel, nameless, false, Some(sale));
        }
    }

    /// An event after its window: its placement exists and must not be credited.
    fn late(&mut self, placement: Placement) {
        self.tally.late += 1;
        let nameless = Placement {
            impression: 0,
            ..placement
        };
        if self.stream.chance(0.5) {
            let wait = 31 * MINUTE + (self.stream.unit() * 23.0 * HOUR as f64) as i64;
            self.push("click", self.page.ts + wait, nameless, false, None);
        } else {
            let wait = PURCHASE_WITHIN + HOUR + (self.stream.unit() * 9.0 * DAY as f64) as i64;
            let sale = self.plain_sale(nameless);
            self.push("purchase", self.page.ts + wait, nameless, false, Some(sale));
        }
    }

    /// An event on an item that this user is never shown.
    fn orphan(&mut self, item: u32) {
        self.tally.orphans += 1;
        let price = self.catalogue.items[item as usize].price;
        let unseen = Placement {
            impression: 0,
            item,
            price,
            shipping: 0,
        };
        let ts = self.page.ts + SECOND + (self.stream.unit() * HOUR as f64) as i64;
        if self.stream.chance(0.7) {
            self.push("click", ts, unseen, false, None);
        } else {
            let sale = self.plain_sale(unseen);
            self.push("purchase", ts, unseen, false, Some(sale));
        }
    }

    fn plain_sale(&self, placement: Placement) -> Sale {
        Sale {
            order: self.next_id,
            quantity: 1,
            total: placement.price + placement.shipping,
            ad_rate: self.catalogue.items[placement.item as usize].ad_rate,
        }
    }

    /// Writes an event that happened, and sometimes its exact repeat.
    fn record(
        &mut self,
        kind: &'static str,
        ts: i64,
        placement: Placement,
        in_session: bool,
        sale: Option<Sale>,
    ) {
        self.push(kind, ts, placement, in_session, sale);
        if self.stream.chance(self.config.duplicate_rate)
            && let Some(event) = self.events.last().cloned()
        {
            self.tally.duplicates += 1;
            self.tally.events += 1;
            self.events.push(event);
        }
    }

    fn push(
        &mut self,
        kind: &'static str,
        ts: i64,
        placement: Placement,
        in_session: bool,
        sale: Option<Sale>,
    ) {
        let named = placement.impression != 0 && self.stream.chance(self.config.impression_id_rate);
        self.events.push(Event {
            id: self.next_id,
            ts,
            kind,
            item: i64::from(placement.item) + 1,
            user: self.page.user as i64 + 1,
            session: in_session.then_some(self.page.session),
            seller: i64::from(self.catalogue.items[placement.item as usize].seller) + 1,
            impression: named.then_some(placement.impression),
            sale,
        });
        self.tally.events += 1;
        self.next_id += 1;
    }
}
