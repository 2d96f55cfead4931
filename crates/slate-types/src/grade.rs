//! Relevance grades: how far a buyer went with a placement.

use serde::{Deserialize, Serialize};

/// A relevance grade; larger is more relevant. Grades say the order of outcomes and nothing about
/// their worth: sample weights are kept apart.
///
/// The default order is that of the constants. A log may use other grades, as LETOR files do.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Grade(pub u8);

impl Grade {
    /// Shown and nothing more.
    pub const SHOWN: Self = Self(0);
    /// Clicked.
    pub const CLICK: Self = Self(1);
    /// Put on the watch list.
    pub const WATCH: Self = Self(2);
    /// Put in the cart, made an offer on, or bid on.
    pub const CART: Self = Self(3);
    /// Bought, and not cancelled.
    pub const PURCHASE: Self = Self(4);
}
