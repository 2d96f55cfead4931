//! The kinds of features a config may ask for, one entry each.

use serde::{Deserialize, Serialize};

/// Fewest training rows a value needs for an id of its own, where the config does not say.
///
/// More than one on purpose: rarer values share id 0, so the unknown id is trained too and cold
/// items do not meet an untrained embedding.
pub const DEFAULT_MIN_COUNT: u64 = 5;
/// Prior rows a rate is smoothed with, where the config does not say.
pub const DEFAULT_SMOOTHING: f64 = 20.0;

/// A column used as a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    /// Column of the examples.
    pub column: String,
    /// Name of the feature, by default that of the column, after `since_` with `time_since`.
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
    /// The column is a time (UTC microseconds), and the number is the hours from it to the page. A
    /// time after the page is missing: it has not happened yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_since: bool,
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

/// A time as the sine and cosine of where it stands in a period, in UTC: `<name>_<period>_sin` and
/// `<name>_<period>_cos`. A missing time is 0 in both, the middle of the circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cyclic {
    /// Column of the examples, UTC microseconds; `ts` is the page's own time.
    pub column: String,
    /// Name of the features before the period, by default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What comes round.
    pub period: Period,
}

/// A period of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From minute 0.
    Hour,
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From 1 January, 365 or 366 days long.
    Year,
}

impl Period {
    /// As in the config and in names of features.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Year => "year",
        }
    }
}

/// Columns combined into one id: each combination of values is a value of its own, a missing one
/// included; all missing is id 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cross {
    /// Columns of the examples, two or more: text, whole numbers or true/false.
    pub columns: Vec<String>,
    /// Name of the feature, by default the columns with `_x_` between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As of a categorical column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// As of a categorical column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ids: Option<u32>,
    /// As of a categorical column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
}

/// A text column that holds several values, such as tags or the levels of a category path. A row has
/// the ids of its values, each once, in their order, as an array of its own length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiValued {
    /// Column of the examples, text.
    pub column: String,
    /// Name of the feature, by default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What stands between two values; spaces around a value do not count.
    #[serde(default = "bar")]
    pub separator: String,
    /// Most values of a row, 1 to 1,024; the first are kept.
    #[serde(default = "sixteen")]
    pub max_values: u32,
    /// As of a categorical column; a row counts once for each value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// As of a categorical column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ids: Option<u32>,
    /// As of a categorical column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
}

impl MultiValued {
    /// The feature's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.column)
    }
}

fn bar() -> String {
    "|".to_owned()
}

fn sixteen() -> u32 {
    16
}

/// Vectors by id, for instance of titles or pictures. The table is written once; every network reads
/// the vector of a row's item as dense numbers after all others. Ids without a vector get zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Name of the feature.
    pub name: String,
    /// An `.npy` of f32 `[n, width]`.
    pub path: std::path::PathBuf,
    /// An `.npy` of i64 `[n]`: the id of each vector.
    pub ids: std::path::PathBuf,
    /// Column of the examples that holds the id.
    #[serde(default = "item_id")]
    pub column: String,
    /// Whether each number of a vector is brought to mean 0 and deviation 1, which see [`VectorScale`]: what all
    /// vectors have in common, and what a few numbers shout, hides what tells items apart.
    ///
    /// [`VectorScale`]: crate::VectorScale
    #[serde(default)]
    pub standardise: bool,
}

fn item_id() -> String {
    "item_id".to_owned()
}

/// A column read as another input is: with its scale, its bin edges or its ids. So the same value of a
/// seed item and of a candidate is the same number to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alike {
    /// Column of the examples.
    pub column: String,
    /// Name of the input whose reading it takes: numeric, quantile bins, categorical or multi-valued.
    pub to: String,
    /// Name of the feature, by default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Alike {
    /// The feature's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.column)
    }
}

/// The last events of the page's user as a sequence; needs `[attribution.sequence]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySpec {
    /// Longest sequence, 1 to 10,000 events; the latest are kept.
    #[serde(default = "fifty")]
    pub max_events: u32,
    /// Fewest events of an item in the training window's sequences for an id of its own, by default
    /// [`DEFAULT_MIN_COUNT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// Most ids beside the unknown one; the most frequent items get them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ids: Option<u32>,
    /// Hashes items into this many ids instead of keeping a vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
    /// Names of embeddings by item: the mean vector of the events' items is an input, `history_NAME`, which
    /// follows the vectors of the rows' own items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<String>,
    /// How many events the mean's prior is worth, a vector of zeros, 0 to 1,000: so that one event says
    /// less than many.
    #[serde(default = "three")]
    pub prior_events: u32,
}

impl HistorySpec {
    /// Name of the input that is the mean vector of an embedding.
    pub(crate) fn vector_name(embedding: &str) -> String {
        format!("history_{embedding}")
    }
}

fn fifty() -> u32 {
    50
}

fn three() -> u32 {
    3
}

impl Cross {
    /// The same as a categorical column whose values are the combinations.
    pub(crate) fn as_categorical(&self) -> Categorical {
        Categorical {
            column: self.columns.first().cloned().unwrap_or_default(),
            name: Some(
                self.name
                    .clone()
                    .unwrap_or_else(|| self.columns.join("_x_")),
            ),
            min_count: self.min_count,
            max_ids: self.max_ids,
            buckets: self.buckets,
        }
    }
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
    pub fn name(&self) -> String {
        match (&self.name, self.time_since) {
            (Some(name), _) => name.clone(),
            (None, true) => format!("since_{}", self.column),
            (None, false) => self.column.clone(),
        }
    }
}

impl Cyclic {
    /// The features' name before the period.
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
