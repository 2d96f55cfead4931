//! Calendar dates to UTC microseconds, months to spans of time.
//!
//! Only what a simulated log needs: whole days, the proleptic Gregorian calendar, no time zones.

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 24 * HOUR;

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
