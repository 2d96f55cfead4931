//! The queries from checked tables to sorted events and placements. What they leave to Rust, because
//! the engine's joins and windows cannot be bounded in memory, is in [`crate::attribution`] and
//! [`crate::history`].

use std::fmt::Write;

use crate::Attribution;
use crate::engine::fill;
use crate::tables::{Extra, quote};

/// All events, repeats marked.
pub(crate) fn events(attribution: &Attribution) -> String {
    let seen = match attribution.label_as_of {
        None => "1".to_owned(),
        Some(as_of) => format!(
            "CASE WHEN e.ts <= {as_of} AND coalesce(e.ingest_ts, e.ts) <= {as_of} THEN 1 ELSE 0 END"
        ),
    };
    let seen = format!("CAST({seen} AS BIGINT)");
    fill(include_str!("sql/events.sql"), &[("seen", &seen)])
}

/// Events that count, each person's together and in the order of time.
pub(crate) fn events_by_person() -> &'static str {
    "SELECT *, CASE WHEN user_id IS NULL THEN 1 ELSE 0 END AS nobody FROM events \
     WHERE seen = 1 AND copy = 1 AND type <> 'cancel' \
     ORDER BY nobody, coalesce(user_id, session_id), ts, event_id"
}

/// Everything known of a placement when it was shown, in the order of the output.
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

/// Name in the output of an extra column of the item table.
pub(crate) fn item_column(name: &str) -> String {
    format!("item_{name}")
}
