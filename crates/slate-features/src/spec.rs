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

use serde::{Deserialize, Serialize};

use crate::FeatureError;

/// Columns that would tell the answer, with the reason.
const LABELS: [&str; 7] = [
    "grade",
    "click",
    "purchase",
    "matured",
    "attribution",
    "click_lag",
    "purchase_lag",
];
/// Columns that name the row itself.
const ROW_IDS: [&str; 3] = ["impression_id", "list_id", "page_id"];
/// Columns that follow from the logged order.
const LOGGED_ORDER: [&str; 2] = ["slot", "propensity"];

/// Fewest training rows a value needs for an id of its own, where the config does not say.
///
/// More than one on purpose: rarer values share id 0, so the unknown id is trained too and cold
/// items do not meet an untrained embedding.
pub const DEFAULT_MIN_COUNT: u64 = 5;
/// Prior rows a rate is smoothed with, where the config does not say.
pub const DEFAULT_SMOOTHING: f64 = 20.0;

/// The section `[features]`. The order of entries is the order of the dataset's columns: numeric,
/// rate, relative, position.
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
    /// Whether the logged slot is a feature, as standardised `log1p`.
    #[serde(default)]
    pub position: bool,
    /// Sample weight of each grade, grade 0 first; empty means 1 for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
}

/// A column used as a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    /// Column of the examples.
    pub column: String,
    /// Name of the feature, by default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is done to it; `log1p` always comes before `standardise`.
    #[serde(default = "standardise_only")]
    pub transforms: Vec<Transform>,
    /// Values are brought into this range first, in the column's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<[f64; 2]>,
    /// Whether a column `<name>_missing` of 0 and 1 is added. By default it is added where the
    /// training window has a missing value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_indicator: Option<bool>,
    /// Turns the column into a categorical feature `<name>_bin` instead: the number of the
    /// training quantile it falls into, from 1; a missing value is id 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile_bins: Option<u32>,
}

/// What can be done to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// `ln(1 + x)`, for `x > -1`.
    Log1p,
    /// `(x - mean) / sd` of the training window; 0 where the column is constant.
    Standardise,
}

/// What can be done to a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateTransform {
    /// Natural logarithm.
    Log,
    /// `(x - mean) / sd` of the training window; 0 where the rate is constant.
    Standardise,
}

/// A column used as an id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categorical {
    /// Column of the examples: text, whole numbers or true/false.
    pub column: String,
    /// Name of the feature, by default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Fewest training rows a value needs for an id of its own, by default
    /// [`DEFAULT_MIN_COUNT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// Most ids beside the unknown one; the most frequent values get them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ids: Option<u32>,
    /// Hashes values into this many ids instead of keeping a vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
}

/// `(n + s·p) / (d + s)`, where `p` is the rate of the whole training window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Name of the feature.
    pub name: String,
    /// Column `n` of counts, null read as 0.
    pub numerator: String,
    /// Column `d` of counts, null read as 0.
    pub denominator: String,
    /// `s`, how many rows the prior is worth.
    #[serde(default = "default_smoothing")]
    pub smoothing: f64,
    /// What is done to the rate; `log` always comes before `standardise`.
    #[serde(default = "log_and_standardise")]
    pub transforms: Vec<RateTransform>,
}

/// A column compared with the other rows of its list. Missing values compare as 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relative {
    /// Column of the examples, numbers.
    pub column: String,
    /// How it is compared; each gives a feature `<column>_<comparison>`.
    #[serde(default = "rank_only")]
    pub to: Vec<Comparison>,
}

/// How a number is compared with those of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `(x - mean) / sd` over the list; 0 where all are equal.
    Z,
    /// `ln(1 + x)` less its mean over the list, for `x > -1`: the log-ratio to the geometric mean.
    LogRatio,
    /// Share of the others that are smaller, ties counted half, less ½: from -½ (smallest) to ½.
    Rank,
}

impl Comparison {
    /// The suffix of the feature's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Z => "z",
            Self::LogRatio => "log_ratio",
            Self::Rank => "rank",
        }
    }
}

fn standardise_only() -> Vec<Transform> {
    vec![Transform::Standardise]
}

fn log_and_standardise() -> Vec<RateTransform> {
    vec![RateTransform::Log, RateTransform::Standardise]
}

fn rank_only() -> Vec<Comparison> {
    vec![Comparison::Rank]
}

fn default_smoothing() -> f64 {
    DEFAULT_SMOOTHING
}

impl Numeric {
    /// The feature's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.column)
    }
}

impl Categorical {
    /// The feature's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.column)
    }
}

impl FeatureSpec {
    /// Checks ranges, double names and columns that may not be features. Whether the columns
    /// exist is known only with the examples.
    ///
    /// # Errors
    /// [`FeatureError::Option`] with the key.
    pub fn check(&self) -> Result<(), FeatureError> {
        let mut names: Vec<(String, String)> = Vec::new();
        for (i, numeric) in self.numeric.iter().enumerate() {
            let key = format!("features.numeric[{i}]");
            may_be_feature(&format!("{key}.column"), &numeric.column)?;
            numeric.check(&key)?;
            let name = numeric.name();
            if numeric.quantile_bins.is_some() {
                names.push((format!("{name}_bin"), key));
            } else {
                names.push((format!("{name}_missing"), key.clone()));
                names.push((name.to_owned(), key));
            }
        }
        for (i, rate) in self.rate.iter().enumerate() {
            let key = format!("features.rate[{i}]");
            may_be_feature(&format!("{key}.numerator"), &rate.numerator)?;
            may_be_feature(&format!("{key}.denominator"), &rate.denominator)?;
            if !(rate.smoothing > 0.0 && rate.smoothing.is_finite()) {
                return Err(FeatureError::option(
                    format!("{key}.smoothing"),
                    rate.smoothing,
                    "a number above 0",
                ));
            }
            unrepeated(&format!("{key}.transforms"), &rate.transforms)?;
            names.push((rate.name.clone(), key));
        }
        for (i, relative) in self.relative.iter().enumerate() {
            let key = format!("features.relative[{i}]");
            may_be_feature(&format!("{key}.column"), &relative.column)?;
            unrepeated(&format!("{key}.to"), &relative.to)?;
            for comparison in &relative.to {
                names.push((
                    format!("{}_{}", relative.column, comparison.suffix()),
                    key.clone(),
                ));
            }
        }
        if self.position {
            names.push(("position".to_owned(), "features.position".to_owned()));
        }
        let dense = names.len();
        for (i, categorical) in self.categorical.iter().enumerate() {
            let key = format!("features.categorical[{i}]");
            may_be_feature(&format!("{key}.column"), &categorical.column)?;
            categorical.check(&key)?;
            names.push((categorical.name().to_owned(), key));
        }
        unique(&names[..dense])?;
        unique(&names[dense..])?;
        if names.is_empty() {
            return Err(FeatureError::option(
                "features",
                "empty",
                "at least one entry in `numeric`, `categorical`, `rate` or `relative`",
            ));
        }
        for (grade, &weight) in self.weights.iter().enumerate() {
            if !(weight > 0.0 && weight.is_finite()) {
                let key = format!("features.weights[{grade}]");
                return Err(FeatureError::option(key, weight, "a number above 0"));
            }
        }
        Ok(())
    }
}

impl Numeric {
    fn check(&self, key: &str) -> Result<(), FeatureError> {
        unrepeated(&format!("{key}.transforms"), &self.transforms)?;
        if let Some([low, high]) = self.clip
            && !(low < high && low.is_finite() && high.is_finite())
        {
            return Err(FeatureError::option(
                format!("{key}.clip"),
                format!("[{low}, {high}]"),
                "two finite numbers, the smaller first",
            ));
        }
        let Some(bins) = self.quantile_bins else {
            return Ok(());
        };
        if !(2..=4096).contains(&bins) {
            return Err(FeatureError::option(
                format!("{key}.quantile_bins"),
                bins,
                "a number from 2 to 4096",
            ));
        }
        let plain = self.clip.is_none() && self.missing_indicator.is_none();
        if !plain || self.transforms.contains(&Transform::Log1p) {
            return Err(FeatureError::option(
                format!("{key}.quantile_bins"),
                "set beside `log1p`, `clip` or `missing_indicator`",
                "to stand alone, since bins replace the number; list the column twice for both",
            ));
        }
        Ok(())
    }
}

impl Categorical {
    fn check(&self, key: &str) -> Result<(), FeatureError> {
        if self.buckets.is_some() && (self.min_count.is_some() || self.max_ids.is_some()) {
            return Err(FeatureError::option(
                format!("{key}.buckets"),
                "set beside `min_count` or `max_ids`",
                "either `buckets` or a vocabulary",
            ));
        }
        for (name, value) in [
            ("min_count", self.min_count),
            ("max_ids", self.max_ids.map(u64::from)),
            ("buckets", self.buckets.map(u64::from)),
        ] {
            // One id more than buckets or values must still be a u32.
            if value.is_some_and(|value| value == 0 || value >= u64::from(u32::MAX)) {
                return Err(FeatureError::option(
                    format!("{key}.{name}"),
                    value.unwrap_or_default(),
                    "a whole number from 1 to 4294967294",
                ));
            }
        }
        Ok(())
    }
}

fn may_be_feature(key: &str, column: &str) -> Result<(), FeatureError> {
    let refused = |why: &str| {
        Err(FeatureError::option(
            key,
            format!("`{column}`"),
            format!("a column that {why}"),
        ))
    };
    if LABELS.contains(&column) {
        return refused("is known before the outcome: this one is a label");
    }
    if ROW_IDS.contains(&column) {
        return refused("can repeat: this one names a single row, list or page");
    }
    if LOGGED_ORDER.contains(&column) {
        return refused(
            "is known before ranking: this one follows from the logged order (`position = true` \
             asks for the slot)",
        );
    }
    Ok(())
}

fn unrepeated<T: PartialEq + std::fmt::Debug>(key: &str, list: &[T]) -> Result<(), FeatureError> {
    for (i, entry) in list.iter().enumerate() {
        if list[..i].contains(entry) {
            return Err(FeatureError::option(
                key,
                format!("{list:?}"),
                "each entry once",
            ));
        }
    }
    Ok(())
}

fn unique(names: &[(String, String)]) -> Result<(), FeatureError> {
    for (i, (name, key)) in names.iter().enumerate() {
        if let Some((_, other)) = names[..i].iter().find(|(other, _)| other == name) {
            return Err(FeatureError::option(
                key,
                format!("a second feature `{name}`"),
                format!("a name of its own (`{other}` has this one): set `name`"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message a config is refused with, or "fine".
    fn verdict(text: &str) -> String {
        match toml::from_str::<FeatureSpec>(text) {
            Err(error) => error.message().to_owned(),
            Ok(spec) => spec
                .check()
                .map_or_else(|error| error.to_string(), |()| "fine".to_owned()),
        }
    }

    #[test]
    fn sound_specs_pass() {
        assert_eq!(verdict(r#"numeric = [{ column = "price" }]"#), "fine");
        assert_eq!(
            verdict(r#"categorical = [{ column = "item_id", buckets = 64 }]"#),
            "fine"
        );
        assert_eq!(
            verdict(r#"numeric = [{ column = "price" }, { column = "price", quantile_bins = 8 }]"#),
            "fine"
        );
    }

    #[test]
    fn unsound_specs_are_named() {
        for (text, expected) in [
            ("", "`features` is empty, expected at least one entry"),
            (r#"numeric = [{ column = "click" }]"#, "this one is a label"),
            (
                r#"numeric = [{ column = "slot" }]"#,
                "`position = true` asks for the slot",
            ),
            (
                r#"categorical = [{ column = "page_id" }]"#,
                "names a single row",
            ),
            (
                r#"numeric = [{ column = "a", clip = [2, 1] }]"#,
                "the smaller first",
            ),
            (
                r#"numeric = [{ column = "a" }, { column = "a" }]"#,
                "a second feature `a",
            ),
            (
                r#"numeric = [{ column = "a", quantile_bins = 1 }]"#,
                "from 2 to 4096",
            ),
            (
                r#"numeric = [{ column = "a", log = true }]"#,
                "unknown field `log`",
            ),
            (
                r#"categorical = [{ column = "a", buckets = 9, max_ids = 3 }]"#,
                "either `buckets`",
            ),
            (
                r#"rate = [{ name = "r", numerator = "a", denominator = "b", smoothing = 0 }]"#,
                "`features.rate[0].smoothing` is 0, expected a number above 0",
            ),
            (
                "position = true\nweights = [1.0, -1.0]",
                "`features.weights[1]` is -1",
            ),
        ] {
            let message = verdict(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
