//! A placement that some event could belong to.

use crate::rows::Rows;

/// The few columns of a placement that attribution needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Its place in the order of the output.
    pub(crate) row: u64,
    pub(crate) ts: i64,
    pub(crate) page: i64,
    pub(crate) slot: i64,
    pub(crate) impression: i64,
    pub(crate) item: i64,
    pub(crate) seller: Option<i64>,
    pub(crate) user: Option<i64>,
    pub(crate) session: Option<i64>,
}

impl Placement {
    /// Row `at` of a batch whose first row is `first` in the order of the output.
    pub(crate) fn of(rows: &Rows, at: usize, first: u64) -> Self {
        Self {
            row: first + at as u64,
            ts: rows.ts[at],
            page: rows.page[at],
            slot: rows.slot[at],
            impression: rows.impression[at],
            item: rows.item[at],
            seller: rows.seller.get(at),
            user: rows.user.get(at),
            session: rows.session.get(at),
        }
    }

    /// What "last touch" means: the largest of these.
    pub(crate) fn order(&self) -> (i64, i64, i64, i64) {
        (self.ts, self.page, self.slot, self.impression)
    }
}
