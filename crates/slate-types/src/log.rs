//! The canonical log schema, as data.
//!
//! A log is a folder with one Parquet file (or a folder of Parquet files) per table, named after
//! the table: `page_impression`, `slot_impression`, `event`, `item`, and optionally `candidate`
//! and `listing_contract`. Times are UTC microseconds, money is whole minor units of one
//! currency, rates are fractions. Columns beyond the schema are kept: in `slot_impression` and
//! `item` they are named feature columns.
//!
//! ```
//! use slate_types::log::{ColumnKind, SLOT_IMPRESSION};
//!
//! let price = SLOT_IMPRESSION.column("price").expect("in the schema");
//! assert_eq!(price.kind, ColumnKind::Money);
//! assert!(!price.required, "a log without prices is a log");
//! ```

use crate::FormatVersion;

/// Version of the log layout, written to `manifest.json` beside the tables.
pub const LOG_FORMAT: FormatVersion = FormatVersion(1);

/// What a column holds and which values are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A 64-bit integer that names something. Importers number text ids and keep the text.
    Id,
    /// UTC microseconds since 1970, as a 64-bit integer or an Arrow timestamp; from the year 2000
    /// to 2100, so that seconds and milliseconds are noticed.
    Timestamp,
    /// UTF-8 text.
    Text,
    /// One of the named texts.
    Choice(&'static [&'static str]),
    /// Minor units of a currency, a 64-bit integer, not negative.
    Money,
    /// A fraction, a finite number from 0 up.
    Rate,
    /// A finite number from 0 to 1.
    Probability,
    /// A finite number.
    Number,
    /// A whole number, not negative.
    Count,
    /// Raw bytes, for instance a PNG picture, or the path of a file that has them.
    Bytes,
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name in the file.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Must be there and hold no null. Other columns may be absent, or null in any row: unknown is
    /// null and never a stand-in number.
    pub required: bool,
    /// One sentence for documentation and messages.
    pub doc: &'static str,
}

/// One table of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Name of the file or folder, without `.parquet`.
    pub name: &'static str,
    /// The column that must be unique, if one must.
    pub key: Option<&'static str>,
    /// Its columns, in the order Slate writes them.
    pub columns: &'static [Column],
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const fn required(name: &'static str, kind: ColumnKind, doc: &'static str) -> Column {
    Column {
        name,
        kind,
        required: true,
        doc,
    }
}

const fn optional(name: &'static str, kind: ColumnKind, doc: &'static str) -> Column {
    Column {
        name,
        kind,
        required: false,
        doc,
    }
}

/// Traffic classes of a page.
pub const TRAFFIC_CLASSES: &[&str] = &["prod", "random", "explore"];
/// Kinds of placements.
pub const SLOT_KINDS: &[&str] = &["organic", "promoted", "auction", "module"];
/// Types of events.
pub const EVENT_TYPES: &[&str] = &[
    "view",
    "click",
    "watch",
    "cart",
    "offer",
    "bid",
    "bin_click",
    "purchase",
    "cancel",
];

/// One row for each page shown.
pub const PAGE_IMPRESSION: Table = Table {
    name: "page_impression",
    key: Some("page_id"),
    columns: &[
        required("page_id", ColumnKind::Id, "the page, unique"),
        required("ts", ColumnKind::Timestamp, "when it was shown"),
        optional("user_id", ColumnKind::Id, "who saw it"),
        optional("session_id", ColumnKind::Id, "in which session"),
        optional("site", ColumnKind::Text, "country site"),
        optional("device", ColumnKind::Text, "kind of device"),
        optional("page_type", ColumnKind::Text, "kind of page"),
        optional("seed_item_id", ColumnKind::Id, "the item the page is about"),
        optional(
            "experiment_arm",
            ColumnKind::Text,
            "arm of a running experiment",
        ),
        optional(
            "traffic_class",
            ColumnKind::Choice(TRAFFIC_CLASSES),
            "how the order was chosen",
        ),
    ],
};

/// One row for each placement shown.
pub const SLOT_IMPRESSION: Table = Table {
    name: "slot_impression",
    key: Some("impression_id"),
    columns: &[
        required("impression_id", ColumnKind::Id, "the placement, unique"),
        required("page_id", ColumnKind::Id, "the page it was on"),
        required("list_id", ColumnKind::Id, "the ranked list it was in"),
        required(
            "slot",
            ColumnKind::Count,
            "place in the list, counted from 0",
        ),
        required("item_id", ColumnKind::Id, "the item shown"),
        optional("price", ColumnKind::Money, "price shown"),
        optional("seller_id", ColumnKind::Id, "who sells it"),
        optional("module_id", ColumnKind::Id, "the module it was in"),
        optional("kind", ColumnKind::Choice(SLOT_KINDS), "kind of placement"),
        optional("shipping", ColumnKind::Money, "shipping cost shown"),
        optional(
            "ad_rate",
            ColumnKind::Rate,
            "share of the sale paid for promotion",
        ),
        optional(
            "policy_id",
            ColumnKind::Text,
            "the policy that chose the order",
        ),
        optional(
            "model_version",
            ColumnKind::Text,
            "the model that scored it",
        ),
        optional("raw_score", ColumnKind::Number, "its score"),
        optional(
            "probability",
            ColumnKind::Probability,
            "its predicted purchase probability",
        ),
        optional(
            "propensity",
            ColumnKind::Probability,
            "probability that the logging policy put this item in this slot",
        ),
    ],
};

/// One row for each thing a user did.
pub const EVENT: Table = Table {
    name: "event",
    key: None,
    columns: &[
        required(
            "event_id",
            ColumnKind::Id,
            "the event; repeats are counted as duplicates",
        ),
        required("ts", ColumnKind::Timestamp, "when it happened"),
        required("type", ColumnKind::Choice(EVENT_TYPES), "what happened"),
        required("item_id", ColumnKind::Id, "to which item"),
        optional(
            "ingest_ts",
            ColumnKind::Timestamp,
            "when it reached the log",
        ),
        optional("user_id", ColumnKind::Id, "who did it"),
        optional("session_id", ColumnKind::Id, "in which session"),
        optional("seller_id", ColumnKind::Id, "who sells the item"),
        optional(
            "impression_id",
            ColumnKind::Id,
            "the placement it came from, where known",
        ),
        optional(
            "order_id",
            ColumnKind::Id,
            "the order of a purchase or cancel",
        ),
        optional("quantity", ColumnKind::Count, "how many"),
        optional(
            "sale_total",
            ColumnKind::Money,
            "price and shipping of the sale",
        ),
        optional(
            "ad_rate_at_sale",
            ColumnKind::Rate,
            "ad rate when it was sold",
        ),
    ],
};

/// One row for each item.
pub const ITEM: Table = Table {
    name: "item",
    key: Some("item_id"),
    columns: &[
        required("item_id", ColumnKind::Id, "the item, unique"),
        optional("title", ColumnKind::Text, "its title"),
        optional(
            "image",
            ColumnKind::Bytes,
            "its picture, PNG, JPEG or WebP, or the path of it",
        ),
        optional(
            "category",
            ColumnKind::Text,
            "category path, levels separated by ` > `",
        ),
        optional("price", ColumnKind::Money, "list price"),
        optional("seller_id", ColumnKind::Id, "who sells it"),
        optional("condition", ColumnKind::Text, "new, used, …"),
        optional("start", ColumnKind::Timestamp, "when the listing starts"),
        optional("end", ColumnKind::Timestamp, "when the listing ends"),
    ],
};

/// One row for each item that could have been shown and was not; sampled.
pub const CANDIDATE: Table = Table {
    name: "candidate",
    key: None,
    columns: &[
        required("list_id", ColumnKind::Id, "the list it was a candidate for"),
        required("item_id", ColumnKind::Id, "the item"),
        optional("raw_score", ColumnKind::Number, "its score"),
    ],
};

/// One row for each promise to show a listing so many times.
pub const LISTING_CONTRACT: Table = Table {
    name: "listing_contract",
    key: None,
    columns: &[
        required("item_id", ColumnKind::Id, "the listing"),
        required("start", ColumnKind::Timestamp, "when the contract starts"),
        required("end", ColumnKind::Timestamp, "when it ends"),
        required("target_views", ColumnKind::Count, "views promised"),
        optional(
            "delivered_views",
            ColumnKind::Count,
            "views delivered so far",
        ),
        optional("flat_fee", ColumnKind::Money, "fee for the whole contract"),
        optional("budget", ColumnKind::Money, "most to be spent"),
    ],
};

/// All tables. A log must have the first two; `event` and `item` may be absent.
pub const TABLES: [Table; 6] = [
    PAGE_IMPRESSION,
    SLOT_IMPRESSION,
    EVENT,
    ITEM,
    CANDIDATE,
    LISTING_CONTRACT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_keys_exist() {
        for table in TABLES {
            for (i, column) in table.columns.iter().enumerate() {
                assert!(
                    table.columns[..i]
                        .iter()
                        .all(|other| other.name != column.name),
                    "`{}` stands twice in `{}`",
                    column.name,
                    table.name
                );
            }
            if let Some(key) = table.key {
                assert!(table.column(key).is_some_and(|column| column.required));
            }
        }
    }
}
