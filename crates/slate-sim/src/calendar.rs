//! Calendar dates to UTC microseconds, months to spans of time.
//!
//! Only what a simulated log needs: whole days, the proleptic Gregorian calendar, no time zones.

use std::fmt;

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 24 * HOUR;

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month {
    year: i64,
    /// 1 to 12.
    month: i64,
}

impl Month {
    /// The month (UTC) of a time in microseconds since 1970.
    pub(crate) fn of(micros: i64) -> Self {
        // Civil from days (Hinnant), the inverse of `Date::micros`.
        let days = micros.div_euclid(DAY) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153 + 3;
        Self {
            year: era * 400 + year_of_era + i64::from(month > 12),
            month: if month > 12 { month - 12 } else { month },
        }
    }
}

/// As in `2026-03`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A calendar date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 28: later days do not exist in every month, and a log's months must all begin alike.
    pub(crate) day: i64,
}

impl Date {
    /// Reads `YYYY-MM-DD`; none for anything else, for a day after the 28th and for a year outside
    /// 2001 to 2090, so that every time stays within what a log may hold.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            if plain {
                part.parse::<i64>().ok()
            } else {
                None
            }
        };
        let date = Self {
            year: number(4)?,
            month: number(2)?,
            day: number(2)?,
        };
        let real = (2001..=2090).contains(&date.year)
            && (1..=12).contains(&date.month)
            && (1..=28).contains(&date.day);
        (parts.next().is_none() && real).then_some(date)
    }

    /// The same day, `months` later.
    pub(crate) fn plus_months(self, months: u32) -> Self {
        let zero_based = self.month - 1 + i64::from(months);
        Self {
            year: self.year + zero_based / 12,
            month: zero_based % 12 + 1,
            day: self.day,
        }
    }

    /// Midnight UTC of this date, in microseconds since 1970.
    pub(crate) fn micros(self) -> i64 {
        // Days from civil (Hinnant): years begin in March so that the leap day comes last.
        let year = if self.month <= 2 {
            self.year - 1
        } else {
            self.year
        };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        // `date -u -d 2026-01-01 +%s` and `date -u -d 2028-03-01 +%s`.
        assert_eq!(
            Date::parse("2026-01-01").unwrap().micros(),
            1_767_225_600 * SECOND
        );
        assert_eq!(
            Date::parse("2028-03-01").unwrap().micros(),
            1_835_481_600 * SECOND
        );
    }

    #[test]
    fn times_have_the_month_they_are_in() {
        for year in [2001, 2024, 2026, 2090] {
            for month in 1..=12 {
                let first = Date {
                    year,
                    month,
                    day: 1,
                };
                let (from, to) = (first.micros(), first.plus_months(1).micros());
                let name = format!("{year}-{month:02}");
                assert_eq!(Month::of(from).to_string(), name);
                assert_eq!(Month::of(to - 1).to_string(), name);
                assert!(Month::of(from - 1) < Month::of(from));
            }
        }
    }

    #[test]
    fn months_roll_over_the_year() {
        let start = Date::parse("2026-11-05").unwrap();
        assert_eq!(
            start.plus_months(2),
            Date {
                year: 2027,
                month: 1,
                day: 5
            }
        );
        assert_eq!(start.plus_months(0), start);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "2026-1-01",
            "2026-13-01",
            "2026-01-29",
            "1999-01-01",
            "today",
            "2026-01-01-",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
