//! Events as attribution and history see them.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use slate_types::log::EVENT_TYPES;

/// One event that had arrived by the date of the labels, repeats left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) ts: i64,
    /// Index into [`EVENT_TYPES`].
    pub(crate) kind: u8,
    pub(crate) item: i64,
    /// Of the event, else that of the item.
    pub(crate) seller: Option<i64>,
    pub(crate) user: Option<i64>,
    pub(crate) session: Option<i64>,
    /// Code of the item's category.
    pub(crate) category: Option<i64>,
    pub(crate) impression: Option<i64>,
    pub(crate) order: Option<i64>,
}

impl Event {
    /// The type by name.
    pub(crate) fn name(&self) -> &'static str {
        EVENT_TYPES[usize::from(self.kind)]
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name() == name
    }
}

/// Index of a type in [`EVENT_TYPES`].
pub(crate) fn kind(name: &str) -> u8 {
    EVENT_TYPES
        .iter()
        .position(|known| *known == name)
        .expect("the check lets no other type pass") as u8
}

/// Rows of the table `events` that the queries make.
pub(crate) struct Events {
    ids: Int64Array,
    ts: Int64Array,
    kinds: Vec<u8>,
    items: Int64Array,
    sellers: Int64Array,
    users: Int64Array,
    sessions: Int64Array,
    categories: Vec<Option<i64>>,
    impressions: Int64Array,
    orders: Int64Array,
    seen: Int64Array,
    copies: Int64Array,
}

impl Events {
    /// Columns by name; `code` numbers categories.
    pub(crate) fn of(batch: &RecordBatch, code: &mut dyn FnMut(&str) -> Option<i64>) -> Self {
        let numbers = |name: &str| {
            batch
                .column_by_name(name)
                .expect("the query names it")
                .as_primitive::<Int64Type>()
                .clone()
        };
        let texts = |name: &str| {
            batch
                .column_by_name(name)
                .expect("the query names it")
                .as_string::<i32>()
        };
        Self {
            ids: numbers("event_id"),
            ts: numbers("ts"),
            kinds: texts("type").iter().flatten().map(kind).collect(),
            items: numbers("item_id"),
            sellers: numbers("seller_id"),
            users: numbers("user_id"),
            sessions: numbers("session_id"),
            categories: texts("category")
                .iter()
                .map(|text| text.and_then(&mut *code))
                .collect(),
            impressions: numbers("impression_id"),
            orders: numbers("order_id"),
            seen: numbers("seen"),
            copies: numbers("copy"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The type of row `at`, an index into [`EVENT_TYPES`].
    pub(crate) fn kind(&self, at: usize) -> u8 {
        self.kinds[at]
    }

    /// Whether row `at` repeats another.
    pub(crate) fn repeats(&self, at: usize) -> bool {
        self.copies.value(at) > 1
    }

    /// Whether row `at` had arrived by the date of the labels.
    pub(crate) fn seen(&self, at: usize) -> bool {
        self.seen.value(at) == 1
    }

    pub(crate) fn item(&self, at: usize) -> i64 {
        self.items.value(at)
    }

    pub(crate) fn event(&self, at: usize) -> Event {
        let maybe = |values: &Int64Array| (!values.is_null(at)).then(|| values.value(at));
        Event {
            id: self.ids.value(at),
            ts: self.ts.value(at),
            kind: self.kinds[at],
            item: self.items.value(at),
            seller: maybe(&self.sellers),
            user: maybe(&self.users),
            session: maybe(&self.sessions),
            category: self.categories[at],
            impression: maybe(&self.impressions),
            order: maybe(&self.orders),
        }
    }
}
