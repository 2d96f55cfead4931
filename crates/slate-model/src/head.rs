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
}

impl Head {
    /// All heads, in the order of the network's outputs.
    pub const ALL: [Self; 2] = [Self::Click, Self::Purchase];

    /// The name in configs, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Purchase => "purchase",
        }
    }

    /// Column of the network's output.
    pub(crate) fn column(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stand_in_the_column_of_their_order() {
        for (column, head) in Head::ALL.into_iter().enumerate() {
            assert_eq!(head.column(), column);
        }
    }
}
