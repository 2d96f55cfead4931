//! Placements in the order of the output, as the passes read them.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;

/// A batch of placements: the columns that attribution and history look at.
pub(crate) struct Rows {
    pub(crate) ts: ScalarBuffer<i64>,
    pub(crate) page: ScalarBuffer<i64>,
    pub(crate) list: ScalarBuffer<i64>,
    pub(crate) slot: ScalarBuffer<i64>,
    pub(crate) impression: ScalarBuffer<i64>,
    pub(crate) item: ScalarBuffer<i64>,
    pub(crate) seller: Maybe,
    pub(crate) user: Maybe,
    pub(crate) session: Maybe,
    /// The item the page is about.
    pub(crate) seed: Maybe,
    /// Code of the item's category.
    pub(crate) category: Maybe,
}

/// Ids that may be unknown.
pub(crate) struct Maybe(Int64Array);

impl Maybe {
    pub(crate) fn get(&self, at: usize) -> Option<i64> {
        (!self.0.is_null(at)).then(|| self.0.value(at))
    }

    /// The id, or any number where it is unknown.
    pub(crate) fn or_any(&self, at: usize) -> i64 {
        self.0.value(at)
    }
}

/// The columns of [`Rows`], in order; the last six may be null.
pub(crate) const COLUMNS: [&str; 11] = [
    "ts",
    "page_id",
    "list_id",
    "slot",
    "impression_id",
    "item_id",
    "seller_id",
    "user_id",
    "session_id",
    "seed_item_id",
    CATEGORY_CODE,
];

/// No name that a column of a log would have.
pub(crate) const CATEGORY_CODE: &str = "slate.category_code";

impl Rows {
    /// Columns in the order of [`COLUMNS`].
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let known = |at: usize| {
            batch
                .column(at)
                .as_primitive::<Int64Type>()
                .values()
                .clone()
        };
        let maybe = |at: usize| Maybe(batch.column(at).as_primitive::<Int64Type>().clone());
        Self {
            ts: known(0),
            page: known(1),
            list: known(2),
            slot: known(3),
            impression: known(4),
            item: known(5),
            seller: maybe(6),
            user: maybe(7),
            session: maybe(8),
            seed: maybe(9),
            category: maybe(10),
        }
    }

    /// Whether these rows follow `last` and each other in the order of the output. Leaves the place of
    /// the last one in `last`.
    pub(crate) fn ascend(&self, last: &mut Option<[i64; 5]>) -> bool {
        let place = |at: usize| {
            [
                self.ts[at],
                self.page[at],
                self.list[at],
                self.slot[at],
                self.impression[at],
            ]
        };
        for at in 0..self.len() {
            let here = place(at);
            if last.is_some_and(|last| last >= here) {
                return false;
            }
            *last = Some(here);
        }
        true
    }

    /// How many placements.
    pub(crate) fn len(&self) -> usize {
        self.ts.len()
    }
}
