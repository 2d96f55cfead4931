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

impl FeatureSpec {
    /// Whether a column is made from others.
    pub(super) fn is_made(&self, column: &str) -> bool {
        self.taste.iter().any(|taste| taste.name == column)
    }

    pub(super) fn check_tastes(&self) -> Result<(), FeatureError> {
        for (i, taste) in self.taste.iter().enumerate() {
            let key = format!("features.taste[{i}]");
            if taste.name.is_empty() {
                return Err(FeatureError::option(
                    format!("{key}.name"),
                    "empty",
                    "a name",
                ));
            }
            if self.taste[..i].iter().any(|other| other.name == taste.name) {
                return Err(FeatureError::option(
                    format!("{key}.name"),
                    format!("`{}` twice", taste.name),
                    "a name of its own",
                ));
            }
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
            if let Some(days) = taste.half_life_days
                && !(days > 0.0 && days.is_finite())
            {
                return Err(FeatureError::option(
                    format!("{key}.half_life_days"),
                    days,
                    "a number above 0",
                ));
            }
            if taste.min_count == Some(0) {
                return Err(FeatureError::option(
                    format!("{key}.min_count"),
                    0,
                    "a whole number from 1",
                ));
            }
            let read = |(column, _): &(&str, String)| *column == taste.name;
            if !self.readings().iter().any(read) {
                return Err(FeatureError::option(
                    key,
                    format!("`{}`, which nothing reads", taste.name),
                    format!(
                        "an entry that does, such as `numeric = [{{ column = \"{}\" }}]`",
                        taste.name
                    ),
                ));
            }
        }
        Ok(())
    }
}
