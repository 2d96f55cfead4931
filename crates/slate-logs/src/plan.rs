//! The queries from checked tables to example rows, with the windows and grades of an
//! [`Attribution`] filled in. The fixed ones stand in `sql/`; those whose columns depend on the
//! history windows are built here.

use std::fmt::Write;

use crate::Attribution;
use crate::date::DAY;
use crate::engine::fill;
use crate::options::Rule;
use crate::tables::{Extra, quote};

/// Counts kept for each key and window, in the order of the columns.
pub(crate) const COUNTS: [&str; 3] = ["impressions", "clicks", "purchases"];

/// Names of the history columns, items first.
pub(crate) fn history_columns(attribution: &Attribution) -> Vec<String> {
    let mut names = Vec::new();
    for key in ["item", "user"] {
        for days in attribution.history_days() {
            names.extend(COUNTS.iter().map(|count| format!("{key}_{count}_{days}d")));
        }
    }
    names
}

pub(crate) fn events(attribution: &Attribution) -> String {
    let seen = match attribution.label_as_of {
        None => "1".to_owned(),
        Some(as_of) => format!(
            "CASE WHEN ts <= {as_of} AND coalesce(ingest_ts, ts) <= {as_of} THEN 1 ELSE 0 END"
        ),
    };
    fill(include_str!("sql/events.sql"), &[("seen", &seen)])
}

pub(crate) fn placements(as_of: i64) -> String {
    fill(
        include_str!("sql/placements.sql"),
        &[("as_of", &as_of.to_string())],
    )
}

pub(crate) fn pairs() -> String {
    include_str!("sql/pairs.sql").to_owned()
}

pub(crate) fn cancels() -> String {
    include_str!("sql/cancels.sql").to_owned()
}

pub(crate) fn report() -> String {
    include_str!("sql/report.sql").to_owned()
}

pub(crate) fn credits(attribution: &Attribution) -> String {
    let purchase = attribution
        .rules
        .iter()
        .find(|rule| rule.event_type == "purchase")
        .expect("purchases always have a rule");
    fill(
        include_str!("sql/credits.sql"),
        &[
            ("window", &by_type(&attribution.rules, |rule| rule.window)),
            ("purchase_window", &purchase.window.to_string()),
            (
                "view_through",
                if attribution.view_through {
                    "true"
                } else {
                    "false"
                },
            ),
        ],
    )
}

pub(crate) fn labels(attribution: &Attribution) -> String {
    let grade = by_type(&attribution.rules, |rule| i64::from(rule.grade));
    fill(include_str!("sql/labels.sql"), &[("grade", &grade)])
}

/// A list that is on more than one page, with two of its pages.
pub(crate) fn scattered_list() -> &'static str {
    "SELECT list_id, min(page_id), max(page_id) FROM placements GROUP BY list_id \
     HAVING min(page_id) <> max(page_id) ORDER BY list_id LIMIT 1"
}

fn by_type(rules: &[Rule], value: impl Fn(&Rule) -> i64) -> String {
    let mut sql = "CASE type".to_owned();
    for rule in rules {
        let _ = write!(sql, " WHEN '{}' THEN {}", rule.event_type, value(rule));
    }
    sql.push_str(" END");
    sql
}

/// Clicks and purchases at their own times, and what takes cancelled purchases back.
///
/// A purchase at `p` cancelled at `c` counts in a window of `w` for placements in `(p, c]` alone,
/// not in `(p, p + w]`. So `undo` is −1 just after `c`, until the purchase would have left the
/// window anyway: a −1 at `c` and a +1 at `p + w`, summed over all the past.
pub(crate) fn marks(attribution: &Attribution) -> String {
    let undo = |columns: &dyn Fn(u32) -> i64| {
        let mut list = String::new();
        for &days in attribution.history_days() {
            let _ = write!(list, ", {} AS undo_{days}", columns(days));
        }
        list
    };
    let mut sql = format!(
        "WITH undone AS (\n  SELECT purchase_id, item_id, user_id, purchase_ts,\n    \
         CASE WHEN min(cancel_ts) > purchase_ts THEN min(cancel_ts) ELSE purchase_ts END AS undone_ts\n  \
         FROM cancels GROUP BY purchase_id, item_id, user_id, purchase_ts\n)\n\
         SELECT item_id, user_id, ts, CASE WHEN type = 'click' THEN 1 ELSE 0 END AS click, \
         CASE WHEN type = 'purchase' THEN 1 ELSE 0 END AS purchase{}\n\
         FROM events WHERE seen = 1 AND copy = 1 AND type IN ('click', 'purchase')",
        undo(&|_| 0)
    );
    for &window in attribution.history_days() {
        let end = format!("purchase_ts + {}", i64::from(window) * DAY);
        for (at, step) in [("undone_ts", -1), (end.as_str(), 1)] {
            let list = undo(&|days| if days == window { step } else { 0 });
            let _ = write!(
                sql,
                "\nUNION ALL SELECT item_id, user_id, {at} AS ts, 0 AS click, 0 AS purchase{list}\n\
                 FROM undone WHERE undone_ts < {end}"
            );
        }
    }
    sql
}

/// What a key (`item_id` or `user_id`) went through: its placements and its marks, by key and time.
/// Placements of an unknown user come with a null key.
pub(crate) fn past(attribution: &Attribution, key: &str) -> String {
    let (mut none, mut own) = (String::new(), String::new());
    for days in attribution.history_days() {
        let _ = write!(none, ", 0 AS undo_{days}");
        let _ = write!(own, ", undo_{days}");
    }
    format!(
        "SELECT {key} AS past_key, ts, 1 AS shown, 0 AS click, 0 AS purchase{none}, \
         impression_id, page_id, list_id, slot FROM placements\n\
         UNION ALL\n\
         SELECT {key}, ts, 0, click, purchase{own}, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), \
         CAST(NULL AS BIGINT), CAST(NULL AS BIGINT) FROM marks WHERE {key} IS NOT NULL\n\
         ORDER BY past_key, ts"
    )
}

/// The counts of each placement from a table that [`crate::history`] wrote, in the order of the
/// output.
pub(crate) fn history(table: &str, columns: &[String]) -> String {
    let columns = columns.join(", ");
    format!("SELECT impression_id, {columns} FROM {table} {OUTPUT_ORDER}")
}

/// The labels of each placement, in the order of the output.
pub(crate) fn labelled(attribution: &Attribution, as_of: i64) -> String {
    format!(
        "SELECT impression_id, grade, click, purchase, matured, attribution, click_lag, \
         purchase_lag FROM (\n\
           SELECT p.*, coalesce(l.grade, 0) AS grade, coalesce(l.click, 0) AS click, \
             coalesce(l.purchase, 0) AS purchase, p.ts <= {} AS matured, \
             l.attribution, l.click_lag, l.purchase_lag\n\
           FROM labels l RIGHT JOIN placements p ON l.impression_id = p.impression_id\n\
         ) {OUTPUT_ORDER}",
        as_of.saturating_sub(attribution.longest_window())
    )
}

/// The one order in which placements are laid side by side and written.
const OUTPUT_ORDER: &str = "ORDER BY ts, page_id, list_id, slot, impression_id";

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
