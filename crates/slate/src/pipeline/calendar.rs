//! Calendar months.

use anyhow::Result;
use chrono::{Datelike as _, NaiveDate};

use crate::console::Refusal;

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// A calendar month, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month {
    year: i32,
    /// From 1.
    month: u32,
}

impl Month {
    /// Reads `2026-03`.
    ///
    /// # Errors
    /// Any other text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let date = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map_err(|_| {
            Refusal::new(format!("`{text}` is no month, expected one like 2026-03"))
        })?;
        Ok(Self {
            year: date.year(),
            month: date.month(),
        })
    }

    /// Reads `2026-03..2026-06`, both ends in, or one month.
    ///
    /// # Errors
    /// Text that is no month, an end before the beginning.
    pub(crate) fn range(text: &str) -> Result<Vec<Self>> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (mut month, last) = (Self::parse(first)?, Self::parse(last)?);
        let mut months = Vec::new();
        while month <= last {
            months.push(month);
            month = month.next();
        }
        if months.is_empty() {
            let told = format!("the months {text} end before they begin");
            return Err(Refusal::new(told).into());
        }
        Ok(months)
    }

    /// The month after it.
    pub(crate) fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year + 1,
                month: 1,
            },
            month => Self {
                month: month + 1,
                ..self
            },
        }
    }

    /// The month so many before it.
    pub(crate) fn before(self, months: u32) -> Self {
        let since = self.year * 12 + self.month as i32 - 1 - months as i32;
        Self {
            year: since.div_euclid(12),
            month: since.rem_euclid(12) as u32 + 1,
        }
    }

    /// Months from an earlier one to it; 0 for one that is not earlier.
    pub(crate) fn since(self, earlier: Self) -> u32 {
        let count = |month: Self| month.year * 12 + month.month as i32;
        (count(self) - count(earlier)).max(0) as u32
    }

    /// The last one that is over, by the clock of this machine.
    pub(crate) fn last() -> Self {
        let now = chrono::DateTime::from(std::time::SystemTime::now());
        let now: chrono::DateTime<chrono::Utc> = now;
        Self {
            year: now.year(),
            month: now.month(),
        }
        .before(1)
    }

    /// Its first day, so many days before.
    pub(crate) fn day_before(self, days: u64) -> String {
        let first = NaiveDate::from_ymd_opt(self.year, self.month, 1);
        let day = first.and_then(|first| first.checked_sub_days(chrono::Days::new(days)));
        day.map_or_else(String::new, |day| day.format("%Y-%m-%d").to_string())
    }

    /// First moment, UTC microseconds.
    pub(crate) fn begins(self) -> i64 {
        let first = NaiveDate::from_ymd_opt(self.year, self.month, 1);
        let midnight = first.and_then(|first| first.and_hms_opt(0, 0, 0));
        midnight.map_or(0, |midnight| midnight.and_utc().timestamp_micros())
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other() {
        let told = |text: &str| {
            let months = Month::range(text).unwrap();
            months.iter().map(Month::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told("2026-11..2027-02"),
            ["2026-11", "2026-12", "2027-01", "2027-02"]
        );
        assert_eq!(told("2026-03"), ["2026-03"]);
        assert!(Month::range("2026-04..2026-03").is_err());
        assert!(Month::range("2026-13").is_err() && Month::range("March").is_err());
        let march = Month::parse("2026-03").unwrap();
        assert_eq!(march.begins(), 1_772_323_200_000_000);
        assert_eq!(march.day_before(1), "2026-02-28");
        assert_eq!(march.before(3).to_string(), "2025-12");
        assert_eq!(march.before(14).to_string(), "2025-01");
        assert_eq!(march.since(march.before(14)), 14);
        assert_eq!(march.since(march.next()), 0);
    }
}
