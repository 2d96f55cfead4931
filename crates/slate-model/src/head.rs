//! The outputs of every network: one score per slot and head.

use serde::{Deserialize, Serialize};

/// What a score is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Clicked.
    Click,
    /// Purchased.
    Purchase,
    /// Relevant, by grade.
    Grade,
}

impl Head {
    /// All heads, in the order of the network's outputs.
    pub const ALL: [Self; 3] = [Self::Click, Self::Purchase, Self::Grade];

    /// The name in configs, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Purchase => "purchase",
            Self::Grade => "grade",
        }
    }
}
