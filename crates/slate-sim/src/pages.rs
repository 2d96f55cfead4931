//! Pages before anyone orders them: who looks, when, at what, and which items are candidates.
//!
//! Nothing here depends on the logging policy or on what users did, so two policies with one seed
//! are asked to order exactly the same candidates.
//!
//! Two rules make every event's placement unambiguous, so that the truth holds under attribution
//! by user, item and time:
//! - A user-item pair has a class from 0 to 3, by hash. Class 0, 1 or 2 may be a candidate only in
//!   months whose number has that remainder by 3, so at least two whole months lie between two
//!   appearances in different months; class 3 never is, and orphan events come from it.
//! - Within a month an item is a candidate for a user once.

use std::collections::BTreeSet;

use slate_types::Seed;

use crate::calendar::{DAY, HOUR, SECOND};
use crate::catalogue::Catalogue;
use crate::config::Market;
use crate::error::SimError;
use crate::people::{self, User, dot};
use crate::plan::Visits;
use crate::random::Stream;
use crate::season::Season;
use crate::words::LEAVES;

/// Visits per hour of the day, as running shares of 100.
const HOURS: [f64; 24] = [
    2.0, 3.0, 3.6, 4.1, 4.6, 5.4, 7.0, 9.5, 12.8, 16.8, 21.2, 25.8, 30.8, 35.8, 40.6, 45.4, 50.4,
    56.0, 62.4, 69.6, 77.8, 86.2, 94.0, 100.0,
];

/// An item that could be shown on a page.
pub(crate) struct Candidate {
    /// Index into the catalogue.
    pub(crate) item: u32,
    /// Price on this page, minor units.
    pub(crate) price: i64,
    /// Shipping on this page, minor units.
    pub(crate) shipping: i64,
    /// Log of price and shipping against the median candidate of the page, cut at ±1.5. Against the
    /// candidates and not against the shown list: so an item's chances do not depend on which
    /// others were shown, and estimates from item-position propensities are exact.
    pub(crate) relative_price: f64,
    /// Cosine between seed item and candidate.
    pub(crate) likeness: f64,
    /// How much the user likes the style; variance about 1.
    pub(crate) liking: f64,
    /// `likeness`, as a retrieval model sees it.
    pub(crate) similarity: f64,
    /// `liking`, as a retrieval model sees it.
    pub(crate) affinity: f64,
}

/// One page.
pub(crate) struct Page {
    /// Counted from 1.
    pub(crate) id: i64,
    /// Id of the first page of the session.
    pub(crate) session: i64,
    /// Counted from 0.
    pub(crate) user: u64,
    /// Microseconds.
    pub(crate) ts: i64,
    pub(crate) site: &'static str,
    pub(crate) device: &'static str,
    pub(crate) kind: &'static str,
    /// Index into the catalogue.
    pub(crate) seed_item: u32,
    /// Slots to fill, at most the number of candidates and at least 1.
    pub(crate) slots: usize,
    /// In the order drawn, which is no order.
    pub(crate) pool: Vec<Candidate>,
    /// An item this user is never shown.
    pub(crate) stranger: Option<u32>,
}

/// Makes pages.
pub(crate) struct PageMaker<'a> {
    pub(crate) market: &'a Market,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) season: &'a Season,
    pub(crate) seed: Seed,
}

impl PageMaker<'_> {
    /// The pages of one user in one month, in the order of sessions.
    ///
    /// # Errors
    /// [`SimError::CatalogueTooSmall`] where no candidate is left.
    pub(crate) fn pages(&self, visits: Visits) -> Result<Vec<Page>, SimError> {
        let drift = self.market.config().drift;
        let mut user = User::new(self.seed, visits.user, self.season.month, drift);
        if let Some(turn) = self.season.turn {
            user = user.turned(self.seed, visits.user, turn);
        }
        let seed = self
            .seed
            .derive("pages")
            .index(self.season.month.into())
            .index(visits.user);
        let mut stream = Stream::new(seed);
        let mut used = BTreeSet::new();
        let mut pages = Vec::with_capacity(visits.pages as usize);
        let mut session = Session {
            id: 0,
            left: 0,
            ts: 0,
            device: "",
            category: 0,
        };
        for index in 0..visits.pages {
            let id = (visits.first_page + index + 1) as i64;
            if session.left == 0 {
                session = self.session(id, &user, &mut stream);
            } else {
                session.ts += 20 * SECOND + (stream.wait(60.0, 1.5, 900.0) * 1e6) as i64;
                if stream.chance(0.2) {
                    session.category = self.interest(&user, &mut stream);
                }
            }
            session.left -= 1;
            pages.push(self.page(id, visits, &session, &user, &mut used, &mut stream)?);
        }
        Ok(pages)
    }

    fn session(&self, id: i64, user: &User, stream: &mut Stream) -> Session {
        let days = (self.season.to - self.season.from) / DAY;
        let day = stream.below(days as usize) as i64;
        let hour = crate::catalogue::pick(&HOURS, stream.unit()) as i64;
        let within = (stream.unit() * HOUR as f64) as i64;
        Session {
            id,
            left: 1 + stream.below(4),
            ts: self.season.from + day * DAY + hour * HOUR + within,
            device: people::device(stream),
            category: self.interest(user, stream),
        }
    }

    /// A category to look at: mostly one of the user's two homes.
    fn interest(&self, user: &User, stream: &mut Stream) -> usize {
        let parents = self.catalogue.categories.len().div_ceil(LEAVES);
        if stream.chance(0.75) {
            let home = (user.homes[stream.below(2)] % parents as u64) as usize * LEAVES;
            let leaves = self.catalogue.siblings(home);
            let leaf = home + stream.below(leaves.len());
            if !self.season.shelf(leaf).is_empty() {
                return leaf;
            }
        }
        self.season.draw_category(stream.unit())
    }

    fn page(
        &self,
        id: i64,
        visits: Visits,
        session: &Session,
        user: &User,
        used: &mut BTreeSet<u32>,
        stream: &mut Stream,
    ) -> Result<Page, SimError> {
        let seed_item = self
            .draw_started(session.category, session.ts, stream)
            .ok_or_else(|| self.too_small(visits))?;
        let items = self.pool(visits.user, session.ts, seed_item, used, stream);
        if items.is_empty() {
            return Err(self.too_small(visits));
        }
        let slots = self.slots(stream).min(items.len());
        Ok(Page {
            id,
            session: session.id,
            user: visits.user,
            ts: session.ts,
            site: user.site,
            device: session.device,
            kind: if stream.chance(0.8) { "item" } else { "cart" },
            seed_item,
            slots,
            stranger: self.stranger(visits.user, stream),
            pool: self.candidates(&items, seed_item, user, stream),
        })
    }

    fn too_small(&self, visits: Visits) -> SimError {
        let items = self.market.config().items;
        SimError::CatalogueTooSmall {
            items,
            needed: items * 2,
            pages: visits.pages,
        }
    }

    fn slots(&self, stream: &mut Stream) -> usize {
        let config = self.market.config();
        if stream.chance(config.short_lists) {
            return 1 + stream.below(3);
        }
        let (low, high) = (config.slots_min as usize, config.slots_max as usize);
        low + stream.below(high - low + 1)
    }

    /// An item of the category whose listing has started, or of any category if need be.
    fn draw_started(&self, category: usize, ts: i64, stream: &mut Stream) -> Option<u32> {
        let started = |&item: &u32| self.catalogue.items[item as usize].start <= ts;
        for attempt in 0..20 {
            let category = if attempt < 8 {
                category
            } else {
                self.season.draw_category(stream.unit())
            };
            if let Some(item) = self.season.draw(category, stream.unit()).filter(started) {
                return Some(item);
            }
        }
        // The first item is one of those there before the log starts.
        (!self.catalogue.items.is_empty()).then_some(0)
    }

    /// Candidates near the seed item: its category, its siblings, and some from anywhere.
    fn pool(
        &self,
        user: u64,
        ts: i64,
        seed_item: u32,
        used: &mut BTreeSet<u32>,
        stream: &mut Stream,
    ) -> Vec<u32> {
        let wanted = self.market.config().candidates as usize;
        let home = self.catalogue.items[seed_item as usize].category as usize;
        let siblings = self.catalogue.siblings(home);
        let class = Classes::new(self.seed, user);
        let allowed = |item: u32| {
            item != seed_item
                && self.catalogue.items[item as usize].start <= ts
                && class.of(item) == self.season.month % 3
        };
        let mut pool = Vec::with_capacity(wanted);
        for _ in 0..wanted * 30 {
            let kind = stream.unit();
            let category = if kind < 0.6 {
                home
            } else if kind < 0.85 {
                siblings.start + stream.below(siblings.len())
            } else {
                self.season.draw_category(stream.unit())
            };
            if let Some(item) = self.season.draw(category, stream.unit())
                && allowed(item)
                && used.insert(item)
            {
                pool.push(item);
                if pool.len() == wanted {
                    return pool;
                }
            }
        }
        // Nearly all near items are used up: take what is left, nearest category first.
        let categories = self.catalogue.categories.len();
        for category in (0..categories).map(|step| (home + step) % categories) {
            for &item in self.season.shelf(category) {
                if allowed(item) && used.insert(item) {
                    pool.push(item);
                    if pool.len() == wanted {
                        return pool;
                    }
                }
            }
        }
        pool
    }

    /// An item of the class that is never shown to this user.
    fn stranger(&self, user: u64, stream: &mut Stream) -> Option<u32> {
        let class = Classes::new(self.seed, user);
        let count = self.catalogue.items.len();
        let start = stream.below(count);
        (0..count)
            .map(|step| ((start + step) % count) as u32)
            .find(|&item| class.of(item) == Classes::NEVER)
    }

    fn candidates(
        &self,
        items: &[u32],
        seed_item: u32,
        user: &User,
        stream: &mut Stream,
    ) -> Vec<Candidate> {
        let place = |item: u32| {
            let item = &self.catalogue.items[item as usize];
            let centre = self.catalogue.categories[item.category as usize].centre;
            std::array::from_fn(|dim| centre[dim] + 0.7 * item.style[dim])
        };
        let shipping = |item: u32| {
            self.catalogue.sellers[self.catalogue.items[item as usize].seller as usize].shipping
        };
        let price = |item: u32| {
            self.season
                .price(item, self.catalogue.items[item as usize].price)
        };
        let cost = |item: u32| ((price(item) + shipping(item)) as f64).ln();
        let mut costs: Vec<f64> = items.iter().map(|&item| cost(item)).collect();
        costs.sort_by(f64::total_cmp);
        let median = costs[costs.len() / 2];
        let seed_place = place(seed_item);
        let seed_length = dot(&seed_place, &seed_place).sqrt();
        items
            .iter()
            .map(|&item| {
                let here = place(item);
                let likeness =
                    dot(&here, &seed_place) / (dot(&here, &here).sqrt() * seed_length).max(1e-6);
                let liking = dot(&user.taste, &self.catalogue.items[item as usize].style);
                Candidate {
                    item,
                    price: price(item),
                    shipping: shipping(item),
                    relative_price: (cost(item) - median).clamp(-1.5, 1.5),
                    likeness,
                    liking,
                    similarity: (likeness + 0.12 * stream.normal()).clamp(-1.0, 1.0),
                    affinity: liking + 0.6 * stream.normal(),
                }
            })
            .collect()
    }
}

/// A run of pages of one user.
struct Session {
    id: i64,
    left: usize,
    ts: i64,
    device: &'static str,
    category: usize,
}

/// Classes of the items for one user.
struct Classes(Seed);

impl Classes {
    /// The class whose items are never shown.
    const NEVER: u32 = 3;

    fn new(seed: Seed, user: u64) -> Self {
        Self(seed.derive("classes").index(user))
    }

    fn of(&self, item: u32) -> u32 {
        (self.0.index(item.into()).0 >> 62) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::MarketConfig;
    use crate::plan;

    /// The two shortest months, less the longest session: late events end well before.
    const QUIET: i64 = 59 * DAY - 2 * HOUR;

    #[test]
    fn no_item_returns_to_a_user_within_the_quiet_time() {
        let market = MarketConfig {
            pages: 600,
            users: 60,
            items: 1_000,
            candidates: 12,
            ..MarketConfig::default()
        };
        let market = market.check().unwrap();
        let seed = Seed(8);
        let catalogue = Catalogue::new(&market, seed);
        let mut seen: BTreeMap<(u64, u32), Vec<i64>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for month in 0..6 {
            let season = &Season::new(&market, &catalogue, seed, month);
            let maker = PageMaker {
                market: &market,
                catalogue: &catalogue,
                season,
                seed,
            };
            for visits in plan::chunks(&market, seed, month)
                .unwrap()
                .into_iter()
                .flatten()
            {
                for page in maker.pages(visits).unwrap() {
                    assert!(page.ts >= season.from && page.ts < season.to + 2 * HOUR);
                    assert!((1..=page.pool.len()).contains(&page.slots));
                    strangers.extend(page.stranger.map(|item| (page.user, item)));
                    for candidate in &page.pool {
                        let item = &catalogue.items[candidate.item as usize];
                        assert!(item.start <= page.ts && candidate.item != page.seed_item);
                        seen.entry((page.user, candidate.item))
                            .or_default()
                            .push(page.ts);
                    }
                }
            }
        }
        let mut returns = 0;
        for times in seen.values_mut() {
            times.sort_unstable();
            for pair in times.windows(2) {
                assert!(pair[1] - pair[0] > QUIET);
                returns += 1;
            }
        }
        assert!(returns > 20, "items do come back: {returns}");
        assert_eq!(strangers.len(), 600);
        assert!(strangers.iter().all(|pair| !seen.contains_key(pair)));
    }
}
