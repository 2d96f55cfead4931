//! What a user may choose about the past kept beside each placement.

use serde::{Deserialize, Serialize};
use slate_types::log::EVENT_TYPES;

use crate::LogError;
use crate::options::refuse;

/// Whose impressions, clicks and purchases are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryKey {
    /// The placement's item.
    Item,
    /// The placement's seller.
    Seller,
    /// The placement's category, the whole path.
    Category,
    /// The page's user.
    User,
    /// The page's user with items of the placement's category.
    UserCategory,
}

impl HistoryKey {
    /// As in the config and in names of columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Seller => "seller",
            Self::Category => "category",
            Self::User => "user",
            Self::UserCategory => "user_category",
        }
    }
}

/// `[attribution.pairs]`: what is counted of two items in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairOptions {
    /// Minutes without an event of the same person after which a new session begins, 1 to 1,440.
    pub session_gap_minutes: u32,
    /// Events of a session that are looked at, the first ones, 2 to 100,000: whoever does more in one
    /// go is no shopper, and pairs grow with the square.
    pub session_events: u32,
    /// Window of the counts in days, 1 to 3,650.
    pub days: u32,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            session_gap_minutes: 3,
            session_events: 500,
            days: 30,
        }
    }
}

/// `[attribution.sequence]`: what is kept of a user's past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceOptions {
    /// Longest sequence, 1 to 10,000 events; the latest are kept.
    pub length: u32,
    /// Types of events that are kept, no two alike.
    pub events: Vec<String>,
}

impl Default for SequenceOptions {
    fn default() -> Self {
        Self {
            length: 50,
            events: EVENT_TYPES
                .iter()
                .filter(|name| **name != "cancel")
                .map(|name| (*name).to_owned())
                .collect(),
        }
    }
}

/// What is kept of a user's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) length: usize,
    /// By index into [`EVENT_TYPES`].
    pub(crate) kinds: Vec<bool>,
}

impl SequenceOptions {
    pub(crate) fn check(&self) -> Result<Sequence, LogError> {
        if !(1..=10_000).contains(&self.length) {
            return Err(refuse(
                "sequence.length",
                self.length,
                "a whole number from 1 to 10000",
            ));
        }
        let mut kinds = vec![false; EVENT_TYPES.len()];
        for name in &self.events {
            let kind = EVENT_TYPES.iter().position(|known| known == name);
            match kind {
                Some(kind) if name != "cancel" && !kinds[kind] => kinds[kind] = true,
                _ => {
                    return Err(refuse(
                        "sequence.events",
                        format!("`{name}`"),
                        "types of events but `cancel`, each once",
                    ));
                }
            }
        }
        if self.events.is_empty() {
            return Err(refuse(
                "sequence.events",
                "empty",
                "at least one type of event",
            ));
        }
        Ok(Sequence {
            length: self.length as usize,
            kinds,
        })
    }
}
