//! What a user may choose about labels, history and the engine, and what of it is accepted.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use slate_types::log::EVENT_TYPES;

use crate::ClusterOptions;
use crate::LogError;
use crate::date::{self, DAY, MINUTE};
use crate::history::{Frame, Subject};
use crate::history_options::{HistoryKey, PairOptions, Sequence, SequenceOptions};
use crate::pairs::PAIR_COUNTS;
use crate::source::{LogSource, TableSource};

/// Counts kept for each key and window, in the order of the columns.
const COUNTS: [&str; 3] = ["impressions", "clicks", "purchases"];

/// `[attribution]` of a config: which events count for which placement.
///
/// Every window runs from the moment a placement was shown and includes its last microsecond.
///
/// ```
/// use slate_logs::AttributionOptions;
///
/// let attribution = AttributionOptions::default().check()?;
/// assert_eq!(attribution.history_days(), [7, 30]);
/// # Ok::<(), slate_logs::LogError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionOptions {
    /// Minutes in which a click or view counts, 1 to 525,600.
    pub click_minutes: u32,
    /// Days in which putting an item on the watch list counts, 1 to 3,650.
    pub watch_days: u32,
    /// Days in which putting it in the cart counts, 1 to 3,650.
    pub cart_days: u32,
    /// Days in which an offer counts, 1 to 3,650.
    pub offer_days: u32,
    /// Days in which a bid counts, 1 to 3,650.
    pub bid_days: u32,
    /// Days in which pressing the buy-it-now button counts, 1 to 3,650.
    pub bin_click_days: u32,
    /// Days in which a purchase counts, 1 to 3,650.
    pub purchase_days: u32,
    /// Whether a purchase without a click goes to the latest placement seen.
    pub view_through: bool,
    /// The log as it was at this moment: a date (its start, UTC) or an RFC 3339 time. Pages, events
    /// and arrivals after it are not looked at. Left out, all of the log is used, and it is taken
    /// to be complete up to its last page or event.
    pub label_as_of: Option<String>,
    /// Whether a purchase of an item its buyer did not click goes to the latest clicked placement
    /// of another item of the same seller (with `view_through`, to the latest seen).
    pub halo: bool,
    /// Who an event that names no impression must share with its placement.
    pub join_on: JoinOn,
    /// Windows of the history columns in days, each 1 to 3,650, no two alike, at most 8.
    pub history_days: Vec<u32>,
    /// Whose history is counted, no two alike.
    pub history_keys: Vec<HistoryKey>,
    /// What buyers did with the page's own item and the placement's; not counted where left out.
    pub pairs: Option<PairOptions>,
    /// The last events of the page's user before each list; not written where left out.
    pub sequence: Option<SequenceOptions>,
    /// Largest share of a table's rows that may be set aside, 0 to 1.
    pub max_reject_share: f64,
    /// Grade of each type of event.
    pub grades: Grades,
}

/// `[attribution.grades]`: relevance of a placement by the best event credited to it, each from 0
/// to 30; 0 is that of a placement shown and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grades {
    /// The item's page was viewed.
    pub view: u8,
    /// The placement was clicked.
    pub click: u8,
    /// The item was put on the watch list.
    pub watch: u8,
    /// The item was put in the cart.
    pub cart: u8,
    /// An offer was made.
    pub offer: u8,
    /// A bid was made.
    pub bid: u8,
    /// The buy-it-now button was pressed.
    pub bin_click: u8,
    /// The item was bought and the purchase was not cancelled.
    pub purchase: u8,
}

impl Default for Grades {
    fn default() -> Self {
        Self {
            view: 0,
            click: 1,
            watch: 2,
            cart: 3,
            offer: 3,
            bid: 3,
            bin_click: 3,
            purchase: 4,
        }
    }
}

impl Default for AttributionOptions {
    fn default() -> Self {
        Self {
            click_minutes: 30,
            watch_days: 30,
            cart_days: 30,
            offer_days: 30,
            bid_days: 30,
            bin_click_days: 30,
            purchase_days: 30,
            view_through: false,
            label_as_of: None,
            halo: false,
            join_on: JoinOn::User,
            history_days: vec![7, 30],
            history_keys: vec![HistoryKey::Item, HistoryKey::User],
            pairs: None,
            sequence: None,
            max_reject_share: 0.05,
            grades: Grades::default(),
        }
    }
}

/// How an event that names no impression finds its placements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinOn {
    /// By the user; by the session where the event or the placement has no user.
    #[default]
    User,
    /// By the session alone, for logs whose users come and go within one.
    Session,
}

/// Checked [`AttributionOptions`].
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    pub(crate) rules: Vec<Rule>,
    pub(crate) view_through: bool,
    pub(crate) label_as_of: Option<i64>,
    pub(crate) max_reject_share: f64,
    pub(crate) halo: bool,
    pub(crate) join_on: JoinOn,
    history_days: Vec<u32>,
    pub(crate) history_keys: Vec<HistoryKey>,
    pub(crate) pairs: Option<PairOptions>,
    pub(crate) sequence: Option<Sequence>,
}

/// Window and grade of one type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// One of [`EVENT_TYPES`], never `cancel`.
    pub(crate) event_type: &'static str,
    /// Microseconds from the placement to the last moment that counts.
    pub(crate) window: i64,
    /// 0 to 30.
    pub(crate) grade: u8,
}

impl AttributionOptions {
    /// Checks ranges and reads the date.
    ///
    /// # Errors
    /// [`LogError::Option`] names the first key out of range.
    pub fn check(&self) -> Result<Attribution, LogError> {
        let days = |key: &'static str, days: u32| {
            if (1..=3650).contains(&days) {
                Ok(i64::from(days) * DAY)
            } else {
                Err(refuse(key, days, "a whole number from 1 to 3650"))
            }
        };
        if !(1..=525_600).contains(&self.click_minutes) {
            return Err(refuse(
                "click_minutes",
                self.click_minutes,
                "a whole number from 1 to 525600",
            ));
        }
        let click = i64::from(self.click_minutes) * MINUTE;
        let grades = &self.grades;
        let rules = [
            ("view", click, grades.view),
            ("click", click, grades.click),
            ("watch", days("watch_days", self.watch_days)?, grades.watch),
            ("cart", days("cart_days", self.cart_days)?, grades.cart),
            ("offer", days("offer_days", self.offer_days)?, grades.offer),
            ("bid", days("bid_days", self.bid_days)?, grades.bid),
            (
                "bin_click",
                days("bin_click_days", self.bin_click_days)?,
                grades.bin_click,
            ),
            (
                "purchase",
                days("purchase_days", self.purchase_days)?,
                grades.purchase,
            ),
        ]
        .map(|(event_type, window, grade)| Rule {
            event_type,
            window,
            grade,
        });
        debug_assert!(
            rules
                .iter()
                .all(|rule| EVENT_TYPES.contains(&rule.event_type))
        );
        if let Some(rule) = rules.iter().find(|rule| rule.grade > 30) {
            return Err(refuse(
                &format!("grades.{}", rule.event_type),
                rule.grade,
                "a whole number from 0 to 30",
            ));
        }
        if self.history_days.len() > 8 {
            return Err(refuse(
                "history_days",
                self.history_days.len(),
                "at most 8 windows",
            ));
        }
        for (i, &window) in self.history_days.iter().enumerate() {
            days("history_days", window)?;
            if self.history_days[..i].contains(&window) {
                return Err(refuse("history_days", window, "windows that differ"));
            }
        }
        for (i, key) in self.history_keys.iter().enumerate() {
            if self.history_keys[..i].contains(key) {
                let given = format!("`{}` twice", key.name());
                return Err(refuse("history_keys", given, "keys that differ"));
            }
        }
        if let Some(pairs) = &self.pairs {
            days("pairs.days", pairs.days)?;
            if !(2..=100_000).contains(&pairs.session_events) {
                return Err(refuse(
                    "pairs.session_events",
                    pairs.session_events,
                    "a whole number from 2 to 100000",
                ));
            }
            if !(1..=1440).contains(&pairs.session_gap_minutes) {
                return Err(refuse(
                    "pairs.session_gap_minutes",
                    pairs.session_gap_minutes,
                    "a whole number from 1 to 1440",
                ));
            }
        }
        let sequence = self
            .sequence
            .as_ref()
            .map(SequenceOptions::check)
            .transpose()?;
        if !(0.0..=1.0).contains(&self.max_reject_share) {
            return Err(refuse(
                "max_reject_share",
                self.max_reject_share,
                "a number from 0 to 1",
            ));
        }
        let label_as_of = match &self.label_as_of {
            None => None,
            Some(text) => Some(date::parse(text).ok_or_else(|| {
                refuse(
                    "label_as_of",
                    format!("`{text}`"),
                    "a date such as `2026-03-01` or a time such as `2026-03-01T12:00:00Z`",
                )
            })?),
        };
        Ok(Attribution {
            rules: rules.to_vec(),
            view_through: self.view_through,
            label_as_of,
            max_reject_share: self.max_reject_share,
            halo: self.halo,
            join_on: self.join_on,
            history_days: self.history_days.clone(),
            history_keys: self.history_keys.clone(),
            pairs: self.pairs,
            sequence,
        })
    }
}

impl Attribution {
    /// The same rules, with nothing counted beside the labels.
    pub(crate) fn without_history(&self) -> Self {
        Self {
            history_days: Vec::new(),
            history_keys: Vec::new(),
            pairs: None,
            sequence: None,
            ..self.clone()
        }
    }

    /// Refuses keys that the log cannot tell.
    pub(crate) fn check_keys(&self, source: &LogSource) -> Result<(), LogError> {
        let has = |table: Option<&TableSource>, column: &str| {
            table.is_some_and(|table| table.schema.field_with_name(column).is_ok())
        };
        let category = has(source.item.as_ref(), "category");
        let seller = has(Some(&source.slot), "seller_id") || has(source.item.as_ref(), "seller_id");
        for key in &self.history_keys {
            let (known, expected) = match key {
                HistoryKey::Category | HistoryKey::UserCategory => {
                    (category, "item categories (column `category` of `item`)")
                }
                HistoryKey::Seller => (
                    seller,
                    "sellers (column `seller_id` of `slot_impression` or `item`)",
                ),
                HistoryKey::Item | HistoryKey::User => (true, ""),
            };
            if !known {
                return Err(LogError::NoKey {
                    key: key.name(),
                    dir: source.dir.clone(),
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Windows of the history columns, in days, in the order of the columns.
    pub fn history_days(&self) -> &[u32] {
        &self.history_days
    }

    /// Names of the history columns, in their order: by key, window and count, then those of pairs.
    pub fn history_columns(&self) -> Vec<String> {
        let mut names = Vec::new();
        for key in &self.history_keys {
            for days in &self.history_days {
                let name = |count| format!("{}_{count}_{days}d", key.name());
                names.extend(COUNTS.map(name));
            }
        }
        if let Some(pairs) = &self.pairs {
            names.extend(PAIR_COUNTS.map(|count| format!("pair_{count}_{}d", pairs.days)));
        }
        names
    }

    /// What the history columns are counted for, in their order.
    pub(crate) fn subjects(&self) -> Vec<(Subject, Frame)> {
        let windows: Vec<i64> = self
            .history_days
            .iter()
            .map(|days| i64::from(*days) * DAY)
            .collect();
        let mut subjects = Vec::new();
        if !windows.is_empty() {
            for key in &self.history_keys {
                let frame = Frame {
                    windows: windows.clone(),
                    counts: COUNTS.len(),
                    rows: true,
                };
                subjects.push((Subject::Key(*key), frame));
            }
        }
        if let Some(pairs) = &self.pairs {
            let frame = Frame {
                windows: vec![i64::from(pairs.days) * DAY],
                counts: PAIR_COUNTS.len(),
                rows: false,
            };
            subjects.push((Subject::Pair, frame));
        }
        subjects
    }

    /// Microseconds after which no event can change a placement's label any more: the longest
    /// window of a type that is a label (clicks, purchases, and every type with a grade).
    pub fn longest_window(&self) -> i64 {
        self.rules
            .iter()
            .filter(|rule| rule.grade > 0 || matches!(rule.event_type, "click" | "purchase"))
            .map(|rule| rule.window)
            .max()
            .expect("clicks and purchases always have a rule")
    }
}

/// How much of the machine the engine may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads; 0 means one for each core. The output does not depend on it.
    pub threads: usize,
    /// Most bytes the job may take: what does not fit spills to disk beside the output or is done in
    /// several passes. No limit where left out.
    pub memory: Option<u64>,
    /// Passes in which events and keys are divided by a hash; as many as `memory` asks for where left
    /// out. The output does not depend on it.
    pub passes: Option<u32>,
    /// A cluster that puts the placements in order; done here where left out. The output does not
    /// depend on it.
    pub cluster: Option<ClusterOptions>,
}

pub(crate) fn refuse(key: &str, given: impl Display, expected: &'static str) -> LogError {
    LogError::Option {
        key: key.to_owned(),
        given: given.to_string(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &AttributionOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn ranges_are_checked_by_name() {
        let fresh = AttributionOptions::default;
        assert_eq!(
            message(&AttributionOptions {
                click_minutes: 0,
                ..fresh()
            }),
            "`click_minutes` is 0, expected a whole number from 1 to 525600"
        );
        assert_eq!(
            message(&AttributionOptions {
                purchase_days: 4000,
                ..fresh()
            }),
            "`purchase_days` is 4000, expected a whole number from 1 to 3650"
        );
        assert_eq!(
            message(&AttributionOptions {
                history_days: vec![7, 7],
                ..fresh()
            }),
            "`history_days` is 7, expected windows that differ"
        );
        assert_eq!(
            message(&AttributionOptions {
                max_reject_share: f64::NAN,
                ..fresh()
            }),
            "`max_reject_share` is NaN, expected a number from 0 to 1"
        );
        assert_eq!(
            message(&AttributionOptions {
                grades: Grades {
                    cart: 31,
                    ..Grades::default()
                },
                ..fresh()
            }),
            "`grades.cart` is 31, expected a whole number from 0 to 30"
        );
        assert_eq!(
            message(&AttributionOptions {
                label_as_of: Some("soon".into()),
                ..fresh()
            }),
            "`label_as_of` is `soon`, expected a date such as `2026-03-01` or a time such as \
             `2026-03-01T12:00:00Z`"
        );
    }

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_have_defaults() {
        let options: AttributionOptions = serde_json::from_str("{\"view_through\":true}").unwrap();
        assert_eq!(options.purchase_days, 30);
        assert!(options.view_through);
        let error = serde_json::from_str::<AttributionOptions>("{\"click_minute\":1}").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `click_minute`"),
            "{error}"
        );
    }

    #[test]
    fn the_longest_window_is_that_of_a_label() {
        let options = AttributionOptions {
            watch_days: 90,
            ..Default::default()
        };
        assert_eq!(options.check().unwrap().longest_window(), 90 * DAY);
        let ungraded = AttributionOptions {
            grades: Grades {
                watch: 0,
                ..Grades::default()
            },
            ..options
        };
        assert_eq!(ungraded.check().unwrap().longest_window(), 30 * DAY);
    }
}
