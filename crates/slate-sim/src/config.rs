//! The section `[simulate]` of a config file, and the checked market it becomes.
//!
//! The file type takes any value of the right kind and refuses unknown keys; [`MarketConfig::check`]
//! refuses values out of range. Only a [`Market`] can be simulated.
//!
//! ```
//! use slate_sim::{MarketConfig, Policy};
//!
//! let config = MarketConfig { pages: 500, policy: Policy::Random, ..MarketConfig::default() };
//! assert!(config.check().is_ok());
//! let error = MarketConfig { pages: 0, ..MarketConfig::default() }.check().unwrap_err();
//! assert_eq!(error.to_string(), "`simulate.pages` is 0, expected 1 to 10000000000");
//! ```

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::calendar::{Date, Month};
use crate::curve::Curve;
use crate::error::SimError;
use crate::shock::Shock;

/// How the tables of the log are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Files {
    /// A file for each table: `event.parquet`.
    #[default]
    Table,
    /// A folder for each table, with a partition for each calendar month (UTC):
    /// `event/month=2026-03/part-0.parquet`. Placements and truth are in the month of their page,
    /// events in that of their own time, which may be up to two months after their page's. Files have
    /// no column `month`. `item` stays one file.
    Month,
}

impl Files {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How the logged pages were ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Every order of the candidates is equally likely.
    Random,
    /// Popular items first, with softmax exploration.
    Popularity,
    /// A plain production ranker: similarity, popularity and rating, with softmax exploration.
    Ranker,
}

/// `[simulate]` in a config file. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// Pages shown, all months together. Default 20,000.
    pub pages: u64,
    /// Calendar months the log covers. Default 6.
    pub months: u32,
    /// First day, `YYYY-MM-DD`, up to the 28th of a month. Default 2026-01-01.
    pub start: String,
    /// Users. Default 5,000.
    pub users: u64,
    /// Items on sale when the log starts. Default 3,000.
    pub items: u64,
    /// Sellers. Default 200.
    pub sellers: u32,
    /// Leaf categories; about a fifth of them open after the first month. Default 24.
    pub categories: u32,
    /// New items each later month, as a share of `items`. Default 0.05.
    pub new_items_per_month: f64,
    /// Fewest slots of an ordinary page. Default 4.
    pub slots_min: u32,
    /// Most slots of a page. Default 12.
    pub slots_max: u32,
    /// Share of pages with only 1 to 3 slots. Default 0.1.
    pub short_lists: f64,
    /// Candidates the policy orders for each page. Default 24.
    pub candidates: u32,
    /// The logging policy. Default `ranker`.
    pub policy: Policy,
    /// Temperature of the softmax exploration over standardised scores. Default 0.5.
    pub temperature: f64,
    /// Share of pages ordered by `random` instead, logged with traffic class `random`. Default 0.1.
    pub explore_share: f64,
    /// Slot `k` is examined with probability `(k + 1)^-exponent`. Default 0.6.
    pub examination_exponent: f64,
    /// Examination probability of each slot; replaces the exponent. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examination: Option<Vec<f64>>,
    /// Mean clicks per placement under the logging policy. Default 0.09.
    pub click_rate: f64,
    /// Mean purchases per placement, cancelled ones not counted. Default 0.022.
    pub purchase_rate: f64,
    /// From true log-odds to the probability of a purchase after a click. Default `logistic`.
    pub curve: Curve,
    /// Scale of the wait between page and click; never more than 20 minutes. Default 20.
    pub click_delay_seconds: f64,
    /// Scale of the wait between click and purchase; the purchase is never later than 30 days
    /// after the page. Default 3.
    pub purchase_delay_hours: f64,
    /// Tail of that wait: smaller is heavier. Default 0.7.
    pub purchase_delay_tail: f64,
    /// Share of purchases cancelled some days later. Default 0.05.
    pub cancel_rate: f64,
    /// Exact repeats of events, per event. Default 0.01.
    pub duplicate_rate: f64,
    /// Events after their window has closed, per click. Default 0.02.
    pub late_rate: f64,
    /// Events on items the user was never shown, per click. Default 0.02.
    pub orphan_rate: f64,
    /// Share of events that name the placement they came from. Default 0.5.
    pub impression_id_rate: f64,
    /// How much tastes, popularity and trends move over the months; 0 is not at all. Default 0.5.
    pub drift: f64,
    /// Whether items have a drawn picture. Default true.
    pub pictures: bool,
    /// Side of the pictures in pixels. Default 32.
    pub picture_size: u32,
    /// How the tables are laid out. Default `table`.
    // Left out of manifests where it is the default: they stay what they were before it was.
    #[serde(skip_serializing_if = "Files::is_default")]
    pub files: Files,
    /// A month in which the market or its log breaks. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shock: Option<Shock>,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            pages: 20_000,
            months: 6,
            start: "2026-01-01".to_owned(),
            users: 5_000,
            items: 3_000,
            sellers: 200,
            categories: 24,
            new_items_per_month: 0.05,
            slots_min: 4,
            slots_max: 12,
            short_lists: 0.1,
            candidates: 24,
            policy: Policy::Ranker,
            temperature: 0.5,
            explore_share: 0.1,
            examination_exponent: 0.6,
            examination: None,
            click_rate: 0.09,
            purchase_rate: 0.022,
            curve: Curve::Logistic,
            click_delay_seconds: 20.0,
            purchase_delay_hours: 3.0,
            purchase_delay_tail: 0.7,
            cancel_rate: 0.05,
            duplicate_rate: 0.01,
            late_rate: 0.02,
            orphan_rate: 0.02,
            impression_id_rate: 0.5,
            drift: 0.5,
            pictures: true,
            picture_size: 32,
            files: Files::Table,
            shock: None,
        }
    }
}

/// A market whose settings have been checked.
#[derive(Debug, Clone)]
pub struct Market {
    pub(crate) config: MarketConfig,
    start: Date,
    examination: Vec<f64>,
}

impl MarketConfig {
    /// Checks every range; only the result can be simulated.
    ///
    /// # Errors
    /// [`SimError::Config`] names the key, the value given and the values allowed;
    /// [`SimError::Conflict`] names two keys that contradict each other.
    pub fn check(self) -> Result<Market, SimError> {
        whole("pages", self.pages, 1..=10_000_000_000)?;
        whole("months", self.months.into(), 1..=60)?;
        whole("users", self.users, 1..=100_000_000)?;
        whole("items", self.items, 1..=20_000_000)?;
        whole("sellers", self.sellers.into(), 1..=10_000_000)?;
        whole("categories", self.categories.into(), 1..=10_000)?;
        whole("slots_min", self.slots_min.into(), 1..=60)?;
        whole("slots_max", self.slots_max.into(), 1..=60)?;
        whole("candidates", self.candidates.into(), 1..=500)?;
        whole("picture_size", self.picture_size.into(), 8..=512)?;
        ordered("slots_min", self.slots_min, "slots_max", self.slots_max)?;
        ordered("slots_max", self.slots_max, "candidates", self.candidates)?;
        between("new_items_per_month", self.new_items_per_month, 0.0, 1.0)?;
        between("short_lists", self.short_lists, 0.0, 1.0)?;
        between("temperature", self.temperature, 0.05, 100.0)?;
        between("explore_share", self.explore_share, 0.0, 1.0)?;
        between("examination_exponent", self.examination_exponent, 0.0, 5.0)?;
        between("click_rate", self.click_rate, 1e-6, 0.95)?;
        between("purchase_rate", self.purchase_rate, 1e-7, 0.95)?;
        between("click_delay_seconds", self.click_delay_seconds, 1.0, 600.0)?;
        between(
            "purchase_delay_hours",
            self.purchase_delay_hours,
            0.01,
            240.0,
        )?;
        between("purchase_delay_tail", self.purchase_delay_tail, 0.1, 10.0)?;
        between("cancel_rate", self.cancel_rate, 0.0, 0.95)?;
        between("duplicate_rate", self.duplicate_rate, 0.0, 1.0)?;
        between("late_rate", self.late_rate, 0.0, 1.0)?;
        between("orphan_rate", self.orphan_rate, 0.0, 1.0)?;
        between("impression_id_rate", self.impression_id_rate, 0.0, 1.0)?;
        between("drift", self.drift, 0.0, 1.0)?;
        if let Some(shock) = &self.shock {
            shock.check(self.months)?;
        }
        if self.purchase_rate >= self.click_rate {
            return Err(SimError::Conflict {
                low_key: "purchase_rate",
                low: self.purchase_rate.to_string(),
                high_key: "click_rate",
                high: self.click_rate.to_string(),
                rule: "fewer purchases than clicks, because every purchase follows a click",
            });
        }
        let start = Date::parse(&self.start).ok_or_else(|| SimError::Config {
            key: "start",
            given: format!("`{}`", self.start),
            expected: "a date like `2026-01-01`, years 2001 to 2090, day 1 to 28".to_owned(),
        })?;
        let examination = self.examination_by_slot()?;
        Ok(Market {
            config: self,
            start,
            examination,
        })
    }

    fn examination_by_slot(&self) -> Result<Vec<f64>, SimError> {
        let slots = self.slots_max.max(3) as usize;
        let Some(given) = &self.examination else {
            let exponent = self.examination_exponent;
            return Ok((1..=slots)
                .map(|place| (place as f64).powf(-exponent))
                .collect());
        };
        if given.len() < slots {
            return Err(SimError::Config {
                key: "examination",
                given: format!("{} numbers", given.len()),
                expected: format!("at least {slots}, one for each slot"),
            });
        }
        for &probability in given {
            between("examination", probability, 1e-6, 1.0)?;
        }
        Ok(given.clone())
    }
}

impl Market {
    /// The settings, defaults filled in.
    pub fn config(&self) -> &MarketConfig {
        &self.config
    }

    /// Probability that each slot is looked at, slot 0 first; known to the truth and constant.
    pub fn examination(&self) -> &[f64] {
        &self.examination
    }

    /// First moment of a month; month `months` is the end of the log.
    pub(crate) fn month_start(&self, month: u32) -> i64 {
        self.start.plus_months(month).micros()
    }

    /// The partition of a row of this time, in microseconds; none where tables are not parted.
    pub(crate) fn partition(&self, ts: i64) -> Option<Month> {
        match self.config.files {
            Files::Table => None,
            Files::Month => Some(Month::of(ts)),
        }
    }
}

pub(crate) fn whole(
    key: &'static str,
    given: u64,
    allowed: RangeInclusive<u64>,
) -> Result<(), SimError> {
    if allowed.contains(&given) {
        return Ok(());
    }
    let expected = format!("{} to {}", allowed.start(), allowed.end());
    Err(SimError::Config {
        key,
        given: given.to_string(),
        expected,
    })
}

pub(crate) fn between(key: &'static str, given: f64, low: f64, high: f64) -> Result<(), SimError> {
    // Not `given < low || given > high`: NaN must be refused too.
    if (low..=high).contains(&given) {
        return Ok(());
    }
    let expected = format!("a number from {low} to {high}");
    Err(SimError::Config {
        key,
        given: given.to_string(),
        expected,
    })
}

fn ordered(
    low_key: &'static str,
    low: u32,
    high_key: &'static str,
    high: u32,
) -> Result<(), SimError> {
    if low <= high {
        return Ok(());
    }
    Err(SimError::Conflict {
        low_key,
        low: low.to_string(),
        high_key,
        high: high.to_string(),
        rule: "the first to be no larger than the second",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut MarketConfig)) -> String {
        let mut config = MarketConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn values_out_of_range_are_named() {
        let cases = [
            (
                refusal(|c| c.pages = 0),
                "`simulate.pages` is 0, expected 1 to 10000000000",
            ),
            (
                refusal(|c| c.months = 0),
                "`simulate.months` is 0, expected 1 to 60",
            ),
            (
                refusal(|c| c.late_rate = -0.1),
                "`simulate.late_rate` is -0.1, expected a number from 0 to 1",
            ),
            (
                refusal(|c| c.cancel_rate = f64::NAN),
                "`simulate.cancel_rate` is NaN, expected a number from 0 to 0.95",
            ),
            (
                refusal(|c| c.slots_min = 13),
                "`simulate.slots_min` is 13 but `simulate.slots_max` is 12, expected the first to \
                 be no larger than the second",
            ),
            (
                refusal(|c| c.candidates = 8),
                "`simulate.slots_max` is 12 but `simulate.candidates` is 8, expected the first to \
                 be no larger than the second",
            ),
            (
                refusal(|c| c.purchase_rate = 0.2),
                "`simulate.purchase_rate` is 0.2 but `simulate.click_rate` is 0.09, expected fewer \
                 purchases than clicks, because every purchase follows a click",
            ),
            (
                refusal(|c| "1 May".clone_into(&mut c.start)),
                "`simulate.start` is `1 May`, expected a date like `2026-01-01`, years 2001 to \
                 2090, day 1 to 28",
            ),
            (
                refusal(|c| c.examination = Some(vec![1.0; 3])),
                "`simulate.examination` is 3 numbers, expected at least 12, one for each slot",
            ),
            (
                refusal(|c| c.examination = Some(vec![1.5; 12])),
                "`simulate.examination` is 1.5, expected a number from 0.000001 to 1",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn a_file_may_set_any_key_and_no_other() {
        let config: MarketConfig =
            toml::from_str("pages = 7\npolicy = \"popularity\"\ncurve = \"log-linear\"").unwrap();
        assert_eq!((config.pages, config.policy), (7, Policy::Popularity));
        assert_eq!(config.users, MarketConfig::default().users);
        let config: MarketConfig = toml::from_str("files = \"month\"").unwrap();
        assert_eq!(config.files, Files::Month);
        let error = toml::from_str::<MarketConfig>("page = 7")
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `page`"), "{error}");
    }

    #[test]
    fn examination_falls_from_one() {
        let market = MarketConfig::default().check().unwrap();
        assert_eq!(market.examination()[0], 1.0);
        assert!(market.examination().is_sorted_by(|a, b| a > b));
    }
}
