//! The queries from checked tables to sorted events and placements. What they leave to Rust, because
//! the engine's joins and windows cannot be bounded in memory, is in [`crate::attribution`] and
//! [`crate::history`].

use std::fmt::Write;

use crate::Attribution;
use crate::engine::fill;
use crate::tables::{Extra, quote};

/// All events, repeats marked: the first of each id, by what had arrived and then by its columns, is
/// copy 1. Only ids that repeat go through the window, which is slow for as many ids as there are.
pub(crate) fn events(attribution: &Attribution, repeated: bool) -> String {
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
    let known = |events: &str| fill(include_str!("sql/events.sql"), &[("events", events)]);
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

/// Everything known of a placement when it was shown.
pub(crate) fn rows(as_of: i64, slot_extras: &[&Extra], item_extras: &[&Extra]) -> String {
    let mut extras = String::new();
    for extra in slot_extras {
        let _ = write!(extras, ",\n  s.{} AS {}", extra.alias, quote(&extra.name));
    }
    for extra in item_extras {
        let _ = write!(
            extras,
            ",\n  i.{} AS {}",
            extra.alias,
            quote(&item_column(&extra.name))
        );
    }
    fill(
        include_str!("sql/rows.sql"),
        &[("as_of", &as_of.to_string()), ("extras", &extras)],
    )
}

/// What attribution needs to know of a placement.
pub(crate) fn narrow_rows(as_of: i64, sellers: bool) -> String {
    let (seller, items) = if sellers {
        (
            "coalesce(s.seller_id, i.seller_id)",
            "item_kept i RIGHT JOIN slot_kept s ON i.item_id = s.item_id",
        )
    } else {
        ("s.seller_id", "slot_kept s")
    };
    format!(
        "SELECT s.list_id, s.page_id, s.impression_id, s.page_ts AS ts, s.slot, s.item_id, \
         {seller} AS seller_id, s.page_user_id AS user_id, s.page_session_id AS session_id, \
         s.page_seed_item_id AS seed_item_id FROM {items} WHERE s.page_ts <= {as_of}"
    )
}

/// Name in the output of an extra column of the item table.
pub(crate) fn item_column(name: &str) -> String {
    format!("item_{name}")
}
