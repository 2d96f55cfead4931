//! Which placements some event could belong to.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::event::Event;
use crate::history::mix;
use crate::rows::Rows;

/// A set of pairs that is most often asked for what it does not have.
///
/// Placements are many, and most are wanted by nobody. A table of bits turns nearly all of these away before
/// the set is looked at, which is slow for being large. The first of a pair says which line of the table
/// has its bit: placements of one page, which share it, find that line in the processor's cache.
struct Ids {
    known: HashSet<(i64, i64), FixedState>,
    lines: Vec<Line>,
    /// What a number is shifted by to be the place of a line.
    shift: u32,
}

/// As long as a line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Bits of the table for each pair, at least: one in 16 of the other pairs gets through where pairs are
/// even among the lines, and more for a person with hundreds of events.
const BITS: usize = 16;

impl Ids {
    /// Of these pairs, which may repeat.
    fn new(pairs: impl Iterator<Item = (i64, i64)> + Clone) -> Self {
        let known: HashSet<_, _> = pairs.clone().collect();
        let lines = (known.len() * BITS)
            .div_ceil(512)
            .next_power_of_two()
            .max(2);
        let mut ids = Self {
            known,
            shift: 64 - lines.trailing_zeros(),
            lines: vec![Line::default(); lines],
        };
        for (first, second) in pairs {
            let (line, word, bit) = ids.place(first, second);
            ids.lines[line].0[word] |= bit;
        }
        ids
    }

    /// Of none.
    fn none() -> Self {
        Self::new(std::iter::empty())
    }

    #[inline]
    fn place(&self, first: i64, second: i64) -> (usize, usize, u64) {
        let bit = mix(second as u64) >> 55;
        let line = mix(first as u64) >> self.shift;
        (line as usize, (bit / 64) as usize, 1 << (bit % 64))
    }

    /// Whether the table lets it through.
    #[inline]
    fn may_contain(&self, first: i64, second: i64) -> bool {
        let (line, word, bit) = self.place(first, second);
        self.lines[line].0[word] & bit != 0
    }

    #[inline]
    fn contains(&self, first: i64, second: i64) -> bool {
        self.may_contain(first, second) && self.known.contains(&(first, second))
    }
}

/// An impression as a pair: those of one page most often have ids that follow each other.
fn named(impression: i64) -> (i64, i64) {
    (impression >> 6, impression)
}

/// Everything by which events look for placements. Items come second: the people of a page come first.
pub(crate) struct Wanted {
    users: Ids,
    sessions: Ids,
    named: Ids,
    /// By seller where purchases may go to a seller's other items.
    seller_users: Ids,
    seller_sessions: Ids,
}

impl Wanted {
    /// What these events look for.
    pub(crate) fn by<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> Self {
        let events = events.filter(|event| !event.is("cancel"));
        let of = |id: fn(&Event) -> Option<(i64, i64)>| Ids::new(events.clone().filter_map(id));
        Self {
            users: of(|event| Some((event.user?, event.item))),
            sessions: of(|event| Some((event.session?, event.item))),
            named: of(|event| event.impression.map(named)),
            seller_users: Ids::none(),
            seller_sessions: Ids::none(),
        }
    }

    /// What these purchases look for among the other items of their sellers.
    pub(crate) fn by_seller<'a>(purchases: &(impl Iterator<Item = &'a Event> + Clone)) -> Self {
        let of = |id: fn(&Event) -> Option<(i64, i64)>| Ids::new(purchases.clone().filter_map(id));
        Self {
            users: Ids::none(),
            sessions: Ids::none(),
            named: Ids::none(),
            seller_users: of(|event| Some((event.user?, event.seller?))),
            seller_sessions: of(|event| Some((event.session?, event.seller?))),
        }
    }

    /// The rows that some event could belong to.
    pub(crate) fn among(&self, rows: &Rows) -> Vec<usize> {
        // First all that may be, with no branch but the loop: the processor looks at many rows at once. What
        // stands for an unknown id does not matter, for the sets are asked again.
        let mut found = vec![0; rows.len()];
        let mut len = 0;
        for at in 0..rows.len() {
            let (user, session) = (rows.user.or_any(at), rows.session.or_any(at));
            let (item, seller) = (rows.item[at], rows.seller.or_any(at));
            let (page, impression) = named(rows.impression[at]);
            let may_be = self.users.may_contain(user, item)
                | self.sessions.may_contain(session, item)
                | self.named.may_contain(page, impression)
                | self.seller_users.may_contain(user, seller)
                | self.seller_sessions.may_contain(session, seller);
            found[len] = at;
            len += usize::from(may_be);
        }
        found.truncate(len);
        found.retain(|&at| self.wants(rows, at));
        found
    }

    /// Whether some event could belong to row `at`.
    fn wants(&self, rows: &Rows, at: usize) -> bool {
        let (item, seller) = (rows.item[at], rows.seller.get(at));
        let (page, impression) = named(rows.impression[at]);
        let has = |ids: &Ids, person: Option<i64>, what: Option<i64>| {
            person
                .zip(what)
                .is_some_and(|(person, what)| ids.contains(person, what))
        };
        let (user, session) = (rows.user.get(at), rows.session.get(at));
        has(&self.users, user, Some(item))
            || has(&self.sessions, session, Some(item))
            || self.named.contains(page, impression)
            || has(&self.seller_users, user, seller)
            || has(&self.seller_sessions, session, seller)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_table_turns_nothing_away_that_is_known(
            known in proptest::collection::hash_set((-40_i64..40, any::<i64>()), 0..60),
            others in proptest::collection::vec((-40_i64..40, any::<i64>()), 0..60),
        ) {
            let ids = Ids::new(known.iter().copied());
            for &(first, second) in known.iter().chain(&others) {
                prop_assert_eq!(ids.contains(first, second), known.contains(&(first, second)));
            }
        }
    }

    #[test]
    fn the_table_turns_most_others_away() {
        for step in [1_i64, 8, 1000, 1 << 33] {
            for people in [500, 5000, 20_000] {
                let pair = |at: i64| (at % people * step, at * step);
                let ids = Ids::new((0..20_000).map(pair));
                let others = (20_000..40_000).map(pair);
                let through = others.filter(|&(first, second)| ids.may_contain(first, second));
                // A line has the pairs of a person and those of the others that share it, in 512 bits.
                let (own, shared) = (20_000 / people, 20_000 / ids.lines.len() as i64);
                let expected = 20_000 * (own + shared) / 512;
                let through = through.count() as i64;
                assert!(through < expected * 6 / 5 + 100, "{through} {expected}");
            }
        }
    }
}
