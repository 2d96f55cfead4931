//! Dates of the config as UTC microseconds.
//!
//! Two forms are read: `2026-03-01` (midnight) and `2026-03-01T06:30:00Z`, with any fraction of a
//! second down to microseconds. Years from 1970 to 9999.

use crate::spec::Period;

/// Microseconds since 1970 UTC, or none where `text` is not a date.
pub(crate) fn parse_micros(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400_000_000 + time.map_or(Some(0), parse_time)?)
}

/// Where a time stands in its period: 0 at the beginning, below 1.
pub(crate) fn share(micros: i64, period: Period) -> f64 {
    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;
    let within = |time: i64, length: i64| time.rem_euclid(length) as f64 / length as f64;
    match period {
        Period::Hour => within(micros, HOUR),
        Period::Day => within(micros, DAY),
        // 1970 began on a Thursday.
        Period::Week => within(micros + 3 * DAY, 7 * DAY),
        Period::Year => {
            let day = micros.div_euclid(DAY);
            let mut year = 1970 + day.div_euclid(366);
            while days_since_1970(year + 1, 1, 1) <= day {
                year += 1;
            }
            let (first, next) = (days_since_1970(year, 1, 1), days_since_1970(year + 1, 1, 1));
            (micros - first * DAY) as f64 / ((next - first) * DAY) as f64
        }
    }
}

fn parse_time(text: &str) -> Option<i64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, "0"),
    };
    let mut parts = whole.splitn(3, ':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = digits(parts.next()?, 2)?;
    if hour > 23 || minute > 59 || second > 59 || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let micros = digits(fraction, fraction.len())? * 10_i64.pow(6 - fraction.len() as u32);
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

fn digits(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, by counting years from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from `date -u -d TEXT +%s`.
    #[test]
    fn dates_become_microseconds() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2026-03-01", 1_772_323_200),
            ("2026-12-31T23:59:59Z", 1_798_761_599),
        ] {
            assert_eq!(parse_micros(text), Some(seconds * 1_000_000), "{text}");
        }
        assert_eq!(parse_micros("1970-01-01T00:00:00.25Z"), Some(250_000));
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        for text in [
            "2026-02-30",
            "2026-3-1",
            "01.03.2026",
            "2026-03-01T06:00:00",
            "",
            "2026-13-01",
        ] {
            assert_eq!(parse_micros(text), None, "{text}");
        }
    }
}
