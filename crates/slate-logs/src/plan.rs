//! The queries from checked tables to sorted events and placements. What they leave to Rust, because
//! the engine's joins and windows cannot be bounded in memory, is in [`crate::attribution`] and
//! [`crate::history`].

use std::fmt::Write;

use crate::Attribution;
use crate::engine::fill;
use crate::tables::{Extra, quote};

/// All events, repeats marked: the first of each id, by what had arrived and then by its columns, is
/// copy 1. Only ids that repeat go through the window, which is slow for as many ids as there are.
/// Sellers and categories of items are only looked up where they are `wanted`.
pub(crate) fn events(attribution: &Attribution, repeated: bool, wanted: bool) -> String {
    let seen = match attribution.label_as_of {
        None => "1".to_owned(),
        Some(as_of) => format!(
            "CASE WHEN e.ts <= {as_of} AND coalesce(e.ingest_ts, e.ts) <= {as_of} THEN 1 ELSE 0 END"
        ),
    };
    let (single, repeats) = if repeated {
        (
            "(SELECT g.* FROM event_repeats r RIGHT ANTI JOIN event_good g \
             ON r.event_id = g.event_id)",
            include_str!("sql/repeated_events.sql"),
        )
    } else {
        ("event_good", "")
    };
    let template = if wanted {
        include_str!("sql/events.sql")
    } else {
        include_str!("sql/events_alone.sql")
    };
    let known = |events: &str| fill(template, &[("events", events)]);
    let sql = format!(
        "{}{}",
        known(single),
        fill(repeats, &[("known", &known(REPEATED))])
    );
    fill(&sql, &[("seen", &format!("CAST({seen} AS BIGINT)"))])
}

/// The good events whose ids repeat.
const REPEATED: &str =
    "(SELECT g.* FROM event_repeats r RIGHT SEMI JOIN event_good g ON r.event_id = g.event_id)";

/// Events that count, each person's together and in the order of time.
pub(crate) fn events_by_person() -> &'static str {
    "SELECT *, CASE WHEN user_id IS NULL THEN 1 ELSE 0 END AS nobody FROM events \
     WHERE seen = 1 AND copy = 1 AND type <> 'cancel' \
     ORDER BY nobody, coalesce(user_id, session_id), ts, event_id"
}

/// The order of the output.
pub(crate) const ORDER: &str = " ORDER BY s.page_ts, s.page_id, s.list_id, s.slot, s.impression_id";

/// Columns of a placement itself that attribution and history do not look at.
pub(crate) const OWN: [&str; 6] = [
    "kind",
    "price",
    "shipping",
    "ad_rate",
    "raw_score",
    "propensity",
];
/// Columns of a page that are only passed on.
pub(crate) const OF_PAGES: [&str; 4] = ["site", "device", "page_type", "traffic_class"];

/// Placements, with what attribution needs to know of them and those of their own columns that are
/// `shown`. What is known of their items and pages is laid beside them when they are in order.
pub(crate) fn rows(as_of: i64, shown: &[&str], extras: &[&Extra]) -> String {
    let mut own = String::new();
    for name in OWN.iter().filter(|name| shown.contains(name)) {
        let _ = write!(own, ", s.{name}");
    }
    for extra in extras {
        let _ = write!(own, ", s.{} AS {}", extra.alias, quote(&extra.name));
    }
    format!(
        "SELECT s.list_id, s.page_id, s.impression_id, s.page_ts AS ts, s.slot, s.item_id, \
         s.seller_id, s.page_user_id AS user_id, s.page_session_id AS session_id, \
         s.page_seed_item_id AS seed_item_id{own} FROM slot_kept s WHERE s.page_ts <= {as_of}"
    )
}

/// The share `shard` of these rows in the order of the output.
#[cfg(feature = "cluster")]
pub(crate) fn shard_rows(rows: &str, shard: u32, shards: u32) -> String {
    let share = crate::cluster::share::sql(shards);
    format!("{rows} AND {share} = {shard}{ORDER}")
}

/// Items by id: seller, then what placements take along, the category first.
pub(crate) fn items(extras: &[&Extra]) -> String {
    let mut list = String::new();
    for extra in extras {
        let name = quote(&item_column(&extra.name));
        let _ = write!(list, ", {} AS {name}", extra.alias);
    }
    format!(
        "SELECT item_id, seller_id, category AS item_category, condition AS item_condition, \
         price AS item_price, start AS item_start, \"end\" AS item_end{list} FROM item_kept"
    )
}

/// Pages by id in the order of the output, with those columns that are `shown` and only passed on.
pub(crate) fn pages(as_of: i64, shown: &[&str]) -> String {
    let mut columns = String::new();
    for name in OF_PAGES.iter().filter(|name| shown.contains(name)) {
        let _ = write!(columns, ", {name}");
    }
    format!("SELECT page_id{columns} FROM page_kept WHERE ts <= {as_of} ORDER BY ts, page_id")
}

/// Name in the output of an extra column of the item table.
pub(crate) fn item_column(name: &str) -> String {
    format!("item_{name}")
}

/// What [`item_column`] made a name of.
pub(crate) fn of_item_column(name: &str) -> &str {
    name.strip_prefix("item_").unwrap_or(name)
}

/// Name of a column of the item table in the examples, of the page's seed item.
pub(crate) fn seed_column(name: &str) -> String {
    format!("seed_{name}")
}
