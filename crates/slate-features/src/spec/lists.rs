//! How long a list may be, and what becomes of longer ones.

use serde::{Deserialize, Serialize};

use super::FeatureSpec;
use crate::FeatureError;

/// What becomes of a list that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLong {
    /// Its first rows, by slot, are kept; the others are counted and left out.
    Cut,
    /// It becomes several lists of neighbouring slots, all as long as allowed but the last. They
    /// keep its id, so that whoever goes by ids sees the whole list again.
    Split,
}

/// A rule about long lists. Features that compare rows of a list see it as the rule leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimit {
    /// Most rows of a list, at least 1.
    pub most: usize,
    /// What becomes of longer ones.
    pub over_long: OverLong,
}

impl FeatureSpec {
    /// The rule, if lists are limited at all.
    ///
    /// # Errors
    /// [`FeatureError::Option`] for a limit of 0 and for `over_long` without a limit.
    pub fn list_limit(&self) -> Result<Option<ListLimit>, FeatureError> {
        match (self.max_list_length, self.over_long) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(FeatureError::option(
                "features.over_long",
                "set without `max_list_length`",
                "both, or none",
            )),
            (Some(0), _) => Err(FeatureError::option(
                "features.max_list_length",
                0,
                "a whole number from 1",
            )),
            (Some(most), over_long) => Ok(Some(ListLimit {
                most: most as usize,
                over_long: over_long.unwrap_or(OverLong::Cut),
            })),
        }
    }
}
