//! What a user thinks of items like this one, as a column that other entries read like those of the log.
//!
//! A number that is logged with every candidate, such as the affinity some other model has for it, says more
//! than it does of the one row: all such numbers that a user was ever shown tell their taste. They are taken
//! apart as `value = m_i + u · v_i + noise`, with a mean and a vector for each item and a vector for each
//! user (probabilistic matrix factorisation; Salakhutdinov and Mnih 2008). Items are fitted to the
//! training window and kept in the feature map. What is known of a user is worked out moment by moment, from
//! what this user was shown until then, the page itself included: its values are known before it is ranked.
//! The vector of an item that is not in the map is learned in the same way, from the users who were shown it
//! before; its mean stays that of all.
//!
//! All of this is done to standardised values; the column is `m_i + E[u] · v_i` back in the unit of the value,
//! `E[u]` being 0 for who was shown nothing. It is missing where a row has no item.
//!
//! The same vectors say what everyone goes for of late, in a second column, the trend: `w · v_i` of a
//! logistic regression of clicks on the vectors of the map's items; see `trend`. Other items read it by
//! the vectors they have by then, and do not feed it.
//!
//! Which way the vectors point is chance, but no column depends on it: they can be fitted anew where a network
//! reads the columns as before.

mod fit;
mod normal;
mod past;
mod trend;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Block, FeatureError, Scale,
    spec::{CLICK_LAG, Trend},
};

pub(crate) use fit::{SWEEPS, fit};
pub(crate) use past::Past;

/// Most numbers of a vector.
pub(crate) const WIDEST: u32 = 32;

/// The values of a column; NaN for null.
fn values(block: &Block, column: &str) -> Result<Vec<f64>, FeatureError> {
    let values = block.numbers(column)?;
    let wide = |value: &f64| value.abs() > f64::from(f32::MAX);
    match values.iter().position(wide) {
        None => Ok(values),
        Some(row) => Err(block.bad_value(column, row, values[row], "a number within f32")),
    }
}

/// A fitted entry of `features.taste`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TasteFeature {
    /// Name of the column that is made.
    pub name: String,
    /// Column of the examples with the value of each row.
    pub column: String,
    /// Column of the examples that says whose taste it is.
    pub user: String,
    /// Column of the examples with the item's id.
    pub item: String,
    /// Numbers of a vector.
    pub width: u32,
    /// After so many days a row of a user counts half; all count alike where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<f64>,
    /// Mean and deviation of all values of the training window; what follows is of standardised ones.
    pub scale: Scale,
    /// Variance of the noise, where a user's vector has variance 1 in each number.
    pub noise: f64,
    /// Variance of each number of an item's vector.
    pub spread: f64,
    /// The second column, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// By growing id.
    pub items: Vec<TasteItem>,
}

/// An item of a taste: in JSON one text of numbers, `id mean vector…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TasteItem {
    /// The item.
    pub id: i64,
    /// The mean of its standardised values, a little towards 0, that of all.
    pub mean: f32,
    /// What tells users apart in how they take it.
    pub vector: Vec<f32>,
}

impl From<TasteItem> for String {
    fn from(item: TasteItem) -> Self {
        let numbers = std::iter::once(item.mean).chain(item.vector);
        numbers.fold(item.id.to_string(), |text, number| {
            format!("{text} {number}")
        })
    }
}

impl TryFrom<String> for TasteItem {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let broken = || format!("`{text}` is no item of a taste, expected `id mean vector…`");
        let mut words = text.split(' ');
        let id = words.next().and_then(|word| word.parse().ok());
        let numbers: Option<Vec<f32>> = words
            .map(|word| word.parse().ok().filter(|number: &f32| number.is_finite()))
            .collect();
        match (id, numbers.as_deref()) {
            (Some(id), Some([mean, vector @ ..])) => Ok(Self {
                id,
                mean: *mean,
                vector: vector.to_vec(),
            }),
            _ => Err(broken()),
        }
    }
}

impl TasteFeature {
    /// Refuses what was not made here.
    pub(crate) fn check(&self, file: &Path) -> Result<(), FeatureError> {
        let width = self.width as usize;
        let wide = self.items.iter().find(|item| item.vector.len() != width);
        let order = self.items.windows(2).find(|pair| pair[0].id >= pair[1].id);
        let trend = self.trend.as_ref().map(|trend| trend.half_life_days);
        let mut half_lives = self.half_life_days.iter().chain(&trend);
        let positive = self.noise > 0.0
            && self.spread > 0.0
            && half_lives.all(|&days| days > 0.0)
            && self.scale.sd >= 0.0;
        let problem = match (wide, order) {
            (Some(item), _) => format!("a vector of {} numbers", item.vector.len()),
            _ if !(1..=WIDEST).contains(&self.width) => format!("`width` {}", self.width),
            (_, Some(pair)) => format!("item {} before item {}", pair[0].id, pair[1].id),
            _ if !positive => "a noise, spread or half-life that is not above 0".to_owned(),
            _ => return Ok(()),
        };
        Err(FeatureError::Mismatch {
            file: file.to_path_buf(),
            what: "taste",
            found: format!("`{}` with {problem}", self.name),
            expected:
                "items by growing id, each with a vector of `width` numbers, and positive variances"
                    .to_owned(),
        })
    }

    /// The columns it makes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let trend = self.trend.iter().map(|trend| trend.name.as_str());
        std::iter::once(self.name.as_str()).chain(trend)
    }

    /// Whether a column is one of those it makes.
    pub fn makes(&self, column: &str) -> bool {
        self.names().any(|name| name == column)
    }

    /// How a column is made; none for one it does not make.
    pub(crate) fn words(&self, column: &str) -> Option<String> {
        let fading = |days| format!("half of it within {days} days");
        if column == self.name {
            let half_life = self.half_life_days.map(fading);
            let half_life = half_life.map_or(String::new(), |words| format!(", {words}"));
            return Some(format!(
                "`{}` that `{}` was shown until then{half_life}, by {} numbers of {} items",
                self.column,
                self.user,
                self.width,
                self.items.len()
            ));
        }
        let trend = self.trend.as_ref().filter(|trend| trend.name == column)?;
        let fading = fading(trend.half_life_days);
        Some(format!(
            "clicks of everyone until then, {fading}, by the numbers of `{}`",
            self.name
        ))
    }

    /// Columns of the examples it reads.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let mut columns = vec![self.column.as_str(), &self.user, &self.item];
        if self.trend.is_some() {
            columns.extend(["slot", CLICK_LAG]);
        }
        columns
    }
}
