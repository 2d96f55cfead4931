//! A month in which the market or its log breaks, to try what watches over models.
//!
//! Tastes turn: popularity, fashion and what each user likes are rotated, by an angle from 0 to half a
//! turn, towards something drawn anew of the same size. So half of the way they have nothing to do
//! with before, and all the way they are its opposite. Events get lost: users did them, the truth
//! knows them, and the table `event` does not.
//!
//! Months other than the shock's have the pages and outcomes they would have without it.

use serde::{Deserialize, Serialize};

use crate::config::{Market, between, whole};
use crate::error::SimError;
use crate::events::Event;
use slate_types::Seed;

/// `[simulate.shock]` in a config file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shock {
    /// The month it happens in, counted from 1, as `months` are: it begins on the day of `start`. From
    /// 1 to `months`.
    pub month: u32,
    /// How far popularity of items, fashion and tastes of users are turned round in that month, from 0
    /// (not at all) over 0.5 (unrelated to before) to 1 (wholly: the opposite). `click_rate` and
    /// `purchase_rate` are met without the shock. Default 0.
    #[serde(default)]
    pub tastes: f64,
    /// Share of the events of that month, by their own time, that never reach the log, from 0 to 1.
    /// An event and its exact repeats share their fate. `truth` stays as it was, so labels made of
    /// the events no longer agree with it. Default 0.
    #[serde(default)]
    pub lost_events: f64,
}

impl Shock {
    /// Checks ranges; errors name the key.
    pub(crate) fn check(&self, months: u32) -> Result<(), SimError> {
        whole("shock.month", self.month.into(), 1..=months.into())?;
        between("shock.tastes", self.tastes, 0.0, 1.0)?;
        between("shock.lost_events", self.lost_events, 0.0, 1.0)
    }
}

impl Market {
    /// The same market without its shock.
    pub(crate) fn calm(&self) -> Self {
        let mut market = self.clone();
        market.config.shock = None;
        market
    }

    /// How tastes are turned in a month, counted from 0; none where they are not.
    pub(crate) fn turn(&self, month: u32) -> Option<Turn> {
        let shock = self.config.shock.as_ref()?;
        let turns = shock.month == month + 1 && shock.tastes > 0.0;
        turns.then(|| Turn::new(shock.tastes))
    }

    /// Whether an event never reaches the log.
    pub(crate) fn loses(&self, seed: Seed, event: &Event) -> bool {
        self.config.shock.as_ref().is_some_and(|shock| {
            let span = self.month_start(shock.month - 1)..self.month_start(shock.month);
            span.contains(&event.ts)
                && seed.derive("lost").index(event.id as u64).unit() < shock.lost_events
        })
    }
}

/// A rotation of what is liked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turn {
    kept: f64,
    fresh: f64,
}

impl Turn {
    fn new(share: f64) -> Self {
        let angle = share * std::f64::consts::PI;
        Self {
            kept: angle.cos(),
            fresh: angle.sin(),
        }
    }

    /// A value after the turn; `fresh` is one of the same size that has nothing to do with it.
    pub(crate) fn of(self, value: f64, fresh: f64) -> f64 {
        self.kept * value + self.fresh * fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MarketConfig;

    fn refusal(month: u32, tastes: f64, lost_events: f64) -> String {
        let shock = Shock {
            month,
            tastes,
            lost_events,
        };
        let config = MarketConfig {
            shock: Some(shock),
            ..MarketConfig::default()
        };
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert_eq!(
            refusal(0, 0.0, 0.0),
            "`simulate.shock.month` is 0, expected 1 to 6"
        );
        assert_eq!(
            refusal(7, 0.0, 0.0),
            "`simulate.shock.month` is 7, expected 1 to 6"
        );
        assert_eq!(
            refusal(2, 1.5, 0.0),
            "`simulate.shock.tastes` is 1.5, expected a number from 0 to 1"
        );
        assert_eq!(
            refusal(2, 0.0, f64::NAN),
            "`simulate.shock.lost_events` is NaN, expected a number from 0 to 1"
        );
    }

    #[test]
    fn a_file_names_the_month_and_may_leave_the_rest_out() {
        let config: MarketConfig = toml::from_str("[shock]\nmonth = 3").unwrap();
        let shock = config.shock.unwrap();
        assert_eq!(
            (shock.month, shock.tastes, shock.lost_events),
            (3, 0.0, 0.0)
        );
        let refused = |text| {
            toml::from_str::<MarketConfig>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("[shock]\ntastes = 1.0").contains("missing field `month`"));
        assert!(refused("[shock]\nmonth = 1\ntaste = 1.0").contains("unknown field `taste`"));
    }

    #[test]
    fn a_whole_turn_is_the_opposite_and_size_is_kept() {
        assert!((Turn::new(1.0).of(0.7, 5.0) + 0.7).abs() < 1e-12);
        assert!((Turn::new(0.5).of(0.7, 5.0) - 5.0).abs() < 1e-12);
        let turn = Turn::new(0.3);
        assert!((turn.kept.powi(2) + turn.fresh.powi(2) - 1.0).abs() < 1e-12);
    }
}
