//! Which placements some event could belong to.

use std::collections::HashSet;
use std::hash::Hash;

use foldhash::fast::FixedState;

use super::event::Event;
use crate::rows::Rows;

/// A set that is most often asked for what it does not have.
///
/// Placements are many, and most are wanted by nobody. A table of bits that stays in the processor's cache
/// turns nearly all of these away before the set, which does not, is looked at.
struct Ids<T> {
    known: HashSet<T, FixedState>,
    /// One bit for each id, at its place; empty where no id is known.
    sieve: Vec<u64>,
    /// What a number is shifted by to be a place in the table.
    shift: u32,
}

/// Bits of the table for each id, at least: one in 16 of the other ids gets through at most.
const BITS: usize = 16;

/// What is found in a set.
trait Id: Copy + Eq + Hash {
    /// A number of which the upper bits are as good as random.
    fn mixed(self) -> u64;
}

impl Id for i64 {
    fn mixed(self) -> u64 {
        (self, 0).mixed()
    }
}

impl Id for (i64, i64) {
    fn mixed(self) -> u64 {
        // Both halves of a product are needed: each leaves some bits of its factors out.
        let seed = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
        let product = u128::from(self.0 as u64 ^ seed[0]) * u128::from(seed[1]);
        let first = (product >> 64) as u64 ^ product as u64;
        let product = u128::from(first ^ self.1 as u64) * u128::from(seed[0]);
        (product >> 64) as u64 ^ product as u64
    }
}

impl<T: Id> Ids<T> {
    fn new(known: HashSet<T, FixedState>) -> Self {
        let bits = (known.len() * BITS).next_power_of_two().max(64);
        let shift = 64 - bits.trailing_zeros();
        let mut sieve = vec![0_u64; if known.is_empty() { 0 } else { bits / 64 }];
        for id in &known {
            let place = id.mixed() >> shift;
            sieve[(place / 64) as usize] |= 1 << (place % 64);
        }
        Self {
            known,
            sieve,
            shift,
        }
    }

    /// Whether the table lets it through.
    #[inline]
    fn may_contain(&self, id: T) -> bool {
        let place = id.mixed() >> self.shift;
        let word = self.sieve.get((place / 64) as usize);
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    #[inline]
    fn contains(&self, id: T) -> bool {
        self.may_contain(id) && self.known.contains(&id)
    }
}

/// Everything by which events look for placements.
pub(crate) struct Wanted {
    users: Ids<(i64, i64)>,
    sessions: Ids<(i64, i64)>,
    named: Ids<i64>,
    /// By seller where purchases may go to a seller's other items.
    seller_users: Ids<(i64, i64)>,
    seller_sessions: Ids<(i64, i64)>,
}

impl Wanted {
    /// What these events look for.
    pub(crate) fn by<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let (mut users, mut sessions) = (HashSet::default(), HashSet::default());
        let mut named = HashSet::default();
        for event in events.filter(|event| !event.is("cancel")) {
            users.extend(event.user.map(|user| (event.item, user)));
            sessions.extend(event.session.map(|session| (event.item, session)));
            named.extend(event.impression);
        }
        Self {
            users: Ids::new(users),
            sessions: Ids::new(sessions),
            named: Ids::new(named),
            seller_users: Ids::new(HashSet::default()),
            seller_sessions: Ids::new(HashSet::default()),
        }
    }

    /// What these purchases look for among the other items of their sellers.
    pub(crate) fn by_seller<'a>(purchases: impl Iterator<Item = &'a Event>) -> Self {
        let (mut users, mut sessions) = (HashSet::default(), HashSet::default());
        for event in purchases {
            let Some(seller) = event.seller else { continue };
            users.extend(event.user.map(|user| (seller, user)));
            sessions.extend(event.session.map(|session| (seller, session)));
        }
        Self {
            users: Ids::new(HashSet::default()),
            sessions: Ids::new(HashSet::default()),
            named: Ids::new(HashSet::default()),
            seller_users: Ids::new(users),
            seller_sessions: Ids::new(sessions),
        }
    }

    /// The rows that some event could belong to.
    pub(crate) fn among(&self, rows: &Rows) -> impl Iterator<Item = usize> {
        // Without a branch on any but the last word: the processor looks at many rows at once. What stands
        // for an unknown id here does not matter, for the sets are asked again.
        let may_be = |&at: &usize| {
            let (item, seller) = (rows.item[at], rows.seller.bits(at));
            let (user, session) = (rows.user.bits(at), rows.session.bits(at));
            self.users.may_contain((item, user))
                | self.sessions.may_contain((item, session))
                | self.named.may_contain(rows.impression[at])
                | self.seller_users.may_contain((seller, user))
                | self.seller_sessions.may_contain((seller, session))
        };
        (0..rows.len())
            .filter(may_be)
            .filter(|&at| self.wants(rows, at))
    }

    /// Whether some event could belong to row `at`.
    fn wants(&self, rows: &Rows, at: usize) -> bool {
        let item = rows.item[at];
        let found = |ids: &Ids<(i64, i64)>, first: i64, second: Option<i64>| {
            second.is_some_and(|second| ids.contains((first, second)))
        };
        let (user, session) = (rows.user.get(at), rows.session.get(at));
        let by_item = found(&self.users, item, user)
            || found(&self.sessions, item, session)
            || self.named.contains(rows.impression[at]);
        by_item
            || rows.seller.get(at).is_some_and(|seller| {
                found(&self.seller_users, seller, user)
                    || found(&self.seller_sessions, seller, session)
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sieve_turns_nothing_away_that_is_known(
            known in proptest::collection::hash_set((-40_i64..40, any::<i64>()), 0..60),
            others in proptest::collection::vec((-40_i64..40, any::<i64>()), 0..60),
        ) {
            let ids = Ids::new(known.iter().copied().collect());
            let ones = Ids::new(known.iter().map(|id| id.1).collect());
            for &id in known.iter().chain(&others) {
                prop_assert_eq!(ids.contains(id), known.contains(&id));
                prop_assert_eq!(ones.contains(id.1), known.iter().any(|known| known.1 == id.1));
            }
        }
    }

    #[test]
    fn the_sieve_turns_most_others_away() {
        for step in [1_i64, 8, 1000, 1 << 33] {
            let pairs = (0..20_000).map(|at| (at % 50 * step, at * step));
            let ids = Ids::new(pairs.collect());
            let through =
                (0..20_000).filter(|at| ids.may_contain((at % 50 * step, (at + 20_000) * step)));
            // At most 1/16 is expected: 1250, standard deviation 34.
            assert!(through.count() < 1420);
        }
    }
}
