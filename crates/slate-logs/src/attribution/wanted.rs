//! Which placements some event could belong to.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::event::Event;
use crate::rows::Rows;

type Ids = HashSet<(i64, i64), FixedState>;

/// Everything by which events look for placements.
#[derive(Default)]
pub(crate) struct Wanted {
    users: Ids,
    sessions: Ids,
    named: HashSet<i64, FixedState>,
    /// By seller where purchases may go to a seller's other items.
    seller_users: Ids,
    seller_sessions: Ids,
}

impl Wanted {
    /// What these events look for.
    pub(crate) fn by<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let mut wanted = Self::default();
        for event in events.filter(|event| !event.is("cancel")) {
            if let Some(user) = event.user {
                wanted.users.insert((event.item, user));
            }
            if let Some(session) = event.session {
                wanted.sessions.insert((event.item, session));
            }
            if let Some(impression) = event.impression {
                wanted.named.insert(impression);
            }
        }
        wanted
    }

    /// What these purchases look for among the other items of their sellers.
    pub(crate) fn by_seller<'a>(purchases: impl Iterator<Item = &'a Event>) -> Self {
        let mut wanted = Self::default();
        for event in purchases {
            let Some(seller) = event.seller else { continue };
            if let Some(user) = event.user {
                wanted.seller_users.insert((seller, user));
            }
            if let Some(session) = event.session {
                wanted.seller_sessions.insert((seller, session));
            }
        }
        wanted
    }

    /// Whether some event could belong to row `at`.
    pub(crate) fn wants(&self, rows: &Rows, at: usize) -> bool {
        let item = rows.item[at];
        let found = |ids: &Ids, first: i64, second: Option<i64>| {
            !ids.is_empty() && second.is_some_and(|second| ids.contains(&(first, second)))
        };
        let (user, session) = (rows.user.get(at), rows.session.get(at));
        let by_item = found(&self.users, item, user)
            || found(&self.sessions, item, session)
            || (!self.named.is_empty() && self.named.contains(&rows.impression[at]));
        by_item
            || rows.seller.get(at).is_some_and(|seller| {
                found(&self.seller_users, seller, user)
                    || found(&self.seller_sessions, seller, session)
            })
    }
}
