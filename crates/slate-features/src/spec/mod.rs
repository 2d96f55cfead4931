//! What the config says about features: the section `[features]`.
//!
//! Each entry names a column of the examples and how it becomes a number or an id. Columns that
//! are not named are not used. A few columns are refused: labels, what the label join wrote,
//! ids of the row itself, and the logged slot with its propensity, which a ranker cannot know
//! before it has ranked (`position = true` asks for the slot all the same).
//!
//! ```
//! # use slate_features::FeatureSpec;
//! let spec: FeatureSpec = toml::from_str(r#"
//!     numeric = [{ column = "price", transforms = ["log1p", "standardise"] }]
//!     categorical = [{ column = "item_category", min_count = 20 }]
//!     rate = [{ name = "ctr", numerator = "item_clicks_30d", denominator = "item_impressions_30d" }]
//!     relative = [{ column = "price", to = ["rank", "log_ratio"] }]
//! "#)?;
//! spec.check()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod kinds;
mod lists;
mod taste;

use serde::{Deserialize, Serialize};

pub use kinds::{
    Alike, Categorical, Comparison, Cross, Cyclic, DEFAULT_MIN_COUNT, DEFAULT_SMOOTHING, Embedding,
    HistorySpec, MultiValued, Numeric, Period, Rate, RateTransform, Relative, Transform,
};
pub use lists::{ListLimit, OverLong};
pub(crate) use taste::{CLICK_LAG, made};
pub use taste::{Taste, Trend};

/// The section `[features]`. The order of entries is the order of the dataset's columns: numeric,
/// rate, relative, cyclic, position; then categorical, cross. Those that are `alike` to others follow the
/// others of their kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Columns used as numbers.
    #[serde(default)]
    pub numeric: Vec<Numeric>,
    /// Columns used as ids.
    #[serde(default)]
    pub categorical: Vec<Categorical>,
    /// Smoothed rates of two count columns.
    #[serde(default)]
    pub rate: Vec<Rate>,
    /// Columns compared with the other rows of the same list.
    #[serde(default)]
    pub relative: Vec<Relative>,
    /// Times as places on a circle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cyclic: Vec<Cyclic>,
    /// Columns of several values used as ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multi_valued: Vec<MultiValued>,
    /// Vectors by item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<Embedding>,
    /// Columns made from what users were shown and did before, for the entries above to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taste: Vec<Taste>,
    /// What the page's user did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySpec>,
    /// Combinations of columns used as ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cross: Vec<Cross>,
    /// Columns read as other inputs are; they follow the other inputs of their kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<Alike>,
    /// Whether the logged slot is a feature, as standardised `log1p`.
    #[serde(default)]
    pub position: bool,
    /// Most rows of a list; no limit where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_list_length: Option<u32>,
    /// What becomes of longer lists: cut where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_long: Option<OverLong>,
    /// Sample weight of each grade, grade 0 first; empty means 1 for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
}

impl FeatureSpec {
    /// Every column of the examples that an entry names, with the key that names it.
    pub(crate) fn inputs(&self) -> Vec<(&str, String)> {
        let mut inputs = self.readings();
        inputs.retain(|(column, _)| !self.is_made(column));
        for (i, taste) in self.taste.iter().enumerate() {
            let key = |part: &str| format!("features.taste[{i}].{part}");
            inputs.push((&taste.column, key("column")));
            inputs.push((&taste.user, key("user")));
            inputs.push((&taste.item, key("item")));
            if taste.trend.is_some() {
                inputs.push(("slot", key("trend")));
                inputs.push((CLICK_LAG, key("trend")));
            }
        }
        inputs
    }

    /// Every column that becomes an input, of the examples or made from them.
    fn readings(&self) -> Vec<(&str, String)> {
        let mut inputs: Vec<(&str, String)> = Vec::new();
        for (i, numeric) in self.numeric.iter().enumerate() {
            inputs.push((&numeric.column, format!("features.numeric[{i}]")));
        }
        for (i, rate) in self.rate.iter().enumerate() {
            let key = |part: &str| format!("features.rate[{i}].{part}");
            inputs.push((&rate.numerator, key("numerator")));
            inputs.push((&rate.denominator, key("denominator")));
        }
        for (i, relative) in self.relative.iter().enumerate() {
            inputs.push((&relative.column, format!("features.relative[{i}]")));
        }
        for (i, multi) in self.multi_valued.iter().enumerate() {
            inputs.push((&multi.column, format!("features.multi_valued[{i}]")));
        }
        for (i, embedding) in self.embedding.iter().enumerate() {
            inputs.push((&embedding.column, format!("features.embedding[{i}]")));
        }
        for (i, cyclic) in self.cyclic.iter().enumerate() {
            inputs.push((&cyclic.column, format!("features.cyclic[{i}]")));
        }
        for (i, cross) in self.cross.iter().enumerate() {
            let key = format!("features.cross[{i}]");
            inputs.extend(
                cross
                    .columns
                    .iter()
                    .map(|column| (column.as_str(), key.clone())),
            );
        }
        for (i, categorical) in self.categorical.iter().enumerate() {
            inputs.push((&categorical.column, format!("features.categorical[{i}]")));
        }
        for (i, alike) in self.alike.iter().enumerate() {
            inputs.push((&alike.column, format!("features.alike[{i}]")));
        }
        inputs
    }
}
