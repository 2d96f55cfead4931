//! `[[features.taste]]`: what a user thinks of items, learned from a number logged with every row.

use serde::{Deserialize, Serialize};

use super::FeatureSpec;
use crate::{FeatureError, taste::WIDEST};

/// A column that is made from all values of another that a user was shown before; entries of `numeric`,
/// `relative` and so on read it by its name. See [`TasteFeature`] for what it is.
///
/// [`TasteFeature`]: crate::TasteFeature
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taste {
    /// Name of the column that is made.
    pub name: String,
    /// Column of numbers, known before the page is ranked.
    pub column: String,
    /// Column that says whose taste it is, whole numbers.
    #[serde(default = "user_id")]
    pub user: String,
    /// Column with the item, whole numbers.
    #[serde(default = "item_id")]
    pub item: String,
    /// Numbers of the vectors, 1 to 32. While examples are read, each user takes `4 · width · (width + 3)` bytes of memory,
    /// and fitting takes 32 bytes for each row of the training window.
    #[serde(default = "eight")]
    pub width: u32,
    /// After so many days a row counts half for its user, since tastes change; all rows count alike where left out, and
    /// for items always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<f64>,
    /// Fewest rows of the training window an item needs for a vector, by default
    /// [`DEFAULT_MIN_COUNT`](super::DEFAULT_MIN_COUNT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// A second column: how much everyone goes for items like this one of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
}

/// A column with the log-odds of a click that items' vectors account for, by the clicks until then; see
/// [`TasteFeature`](crate::TasteFeature).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    /// Name of the column that is made.
    pub name: String,
    /// After so many days a row counts half. A row whose click is yet to come counts as not clicked, so it should
    /// be much longer than clicks take.
    #[serde(default = "week")]
    pub half_life_days: f64,
}

/// Column of the examples with the microseconds from the page to the first click, null where there was none.
pub(crate) const CLICK_LAG: &str = "click_lag";

/// The columns that entry `at` makes, each with its part of the configuration.
pub(crate) fn made<'a>(
    at: usize,
    name: &'a str,
    trend: Option<&'a Trend>,
) -> impl Iterator<Item = (String, &'a str)> {
    let trend = trend.map(|trend| (format!("features.taste[{at}].trend"), trend.name.as_str()));
    std::iter::once((format!("features.taste[{at}]"), name)).chain(trend)
}

fn user_id() -> String {
    "user_id".to_owned()
}

fn item_id() -> String {
    "item_id".to_owned()
}

fn eight() -> u32 {
    8
}

fn week() -> f64 {
    7.0
}

impl FeatureSpec {
    /// The columns that are made from others, each with its part of the configuration.
    pub(crate) fn made(&self) -> impl Iterator<Item = (String, &str)> {
        let entries = self.taste.iter().enumerate();
        entries.flat_map(|(at, own)| made(at, &own.name, own.trend.as_ref()))
    }

    /// Whether a column is made from others.
    pub(super) fn is_made(&self, column: &str) -> bool {
        self.made().any(|(_, name)| name == column)
    }

    pub(super) fn check_tastes(&self) -> Result<(), FeatureError> {
        let mut names = Vec::new();
        for (part, name) in self.made() {
            let key = format!("{part}.name");
            if name.is_empty() {
                return Err(FeatureError::option(key, "empty", "a name"));
            }
            if names.contains(&name) {
                let found = format!("`{name}` twice");
                return Err(FeatureError::option(key, found, "a name of its own"));
            }
            names.push(name);
        }
        for (i, taste) in self.taste.iter().enumerate() {
            let key = format!("features.taste[{i}]");
            for (part, column) in [
                ("column", &taste.column),
                ("user", &taste.user),
                ("item", &taste.item),
            ] {
                super::check::may_be_feature(&format!("{key}.{part}"), column)?;
                if self.is_made(column) {
                    return Err(FeatureError::option(
                        format!("{key}.{part}"),
                        format!("`{column}`"),
                        "a column of the log, not one that is made from others",
                    ));
                }
            }
            super::check::in_range(format!("{key}.width"), taste.width, WIDEST)?;
            let half_lives = [
                ("", taste.half_life_days),
                (".trend", taste.trend.as_ref().map(|own| own.half_life_days)),
            ];
            for (part, half_life) in half_lives {
                if let Some(days) = half_life
                    && !(days > 0.0 && days.is_finite())
                {
                    let key = format!("{key}{part}.half_life_days");
                    return Err(FeatureError::option(key, days, "a number above 0"));
                }
            }
            if taste.min_count == Some(0) {
                return Err(FeatureError::option(
                    format!("{key}.min_count"),
                    0,
                    "a whole number from 1",
                ));
            }
            // The vectors of a trend are worth fitting by themselves.
            let unread_is_fine = usize::from(taste.trend.is_some());
            let names = made(i, &taste.name, taste.trend.as_ref());
            for (part, name) in names.skip(unread_is_fine) {
                let mut read = self.readings().into_iter();
                if !read.any(|(column, _)| column == name) {
                    return Err(FeatureError::option(
                        part,
                        format!("`{name}`, which nothing reads"),
                        format!(
                            "an entry that does, such as `numeric = [{{ column = \"{name}\" }}]`"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}
