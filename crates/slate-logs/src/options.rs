//! What a user may choose about labels, history and the engine, and what of it is accepted.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use slate_types::log::EVENT_TYPES;

use crate::LogError;
use crate::date::{self, DAY, MINUTE};

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
    /// Windows of the history columns in days, each 1 to 3,650, no two alike, at most 8.
    pub history_days: Vec<u32>,
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
            history_days: vec![7, 30],
            max_reject_share: 0.05,
            grades: Grades::default(),
        }
    }
}

/// Checked [`AttributionOptions`].
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    pub(crate) rules: Vec<Rule>,
    pub(crate) view_through: bool,
    pub(crate) label_as_of: Option<i64>,
    pub(crate) max_reject_share: f64,
    history_days: Vec<u32>,
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
            history_days: self.history_days.clone(),
        })
    }
}

impl Attribution {
    /// Windows of the history columns, in days, in the order of the columns.
    pub fn history_days(&self) -> &[u32] {
        &self.history_days
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads; 0 means one for each core. The output does not depend on it.
    pub threads: usize,
    /// Bytes that sorts and aggregates may hold before they spill to disk beside the output; no
    /// limit where left out. Files being decoded and small join sides come on top.
    pub memory: Option<u64>,
}

fn refuse(key: &str, given: impl Display, expected: &'static str) -> LogError {
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
