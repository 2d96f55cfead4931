//! Times of source files to UTC microseconds.
//!
//! In: text such as `2019-11-24 00:00:34.762830+00:00`, `2016-06-14 04:06:19.061`,
//! `2013-04-04T08:32:14.99999991618` (a spreadsheet cell: any number of decimals, rounded to the
//! microsecond, so that this one is 08:32:15) or `2016-05-09`. Out: microseconds since 1970. A
//! time without an offset is taken as UTC. Refused: anything else, and years outside 2000–2099.

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// Reads a date with a time of day.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let midnight = parse_date(date)?;
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => (&rest[..at], parse_offset(&rest[at..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = match clock.split_once('.') {
        Some((whole, fraction)) => (whole, parse_fraction(fraction)?),
        None => (clock, 0),
    };
    let mut parts = whole.split(':');
    let hour = two_digits(parts.next()?, 23)?;
    let minute = two_digits(parts.next()?, 59)?;
    let second = two_digits(parts.next()?, 59)?;
    if parts.next().is_some() {
        return None;
    }
    Some(midnight + (hour * 3600 + minute * 60 + second - offset) * SECOND + fraction)
}

/// Reads a date, giving its midnight.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let century = two_digits(text.get(..2)?, 99)?;
    let year = century * 100 + two_digits(text.get(2..4)?, 99)?;
    let month = two_digits(text.get(5..7)?, 12)?;
    let day = two_digits(text.get(8..10)?, 31)?;
    if !(2000..2100).contains(&year) || month == 0 || day == 0 || day > days_in(year, month) {
        return None;
    }
    Some(days_since_1970(year, month, day) * DAY)
}

/// `Z`, `+hh:mm` or `-hh:mm`, in seconds.
fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    // `+02:00`, and the shorter `+02` and `+0200` that databases write.
    let clock = text.get(1..)?;
    let (hour, minute) = match clock.split_once(':') {
        Some(parts) => parts,
        None if clock.len() == 2 => (clock, "00"),
        None if clock.len() == 4 && clock.is_ascii() => clock.split_at(2),
        None => return None,
    };
    Some(sign * (two_digits(hour, 23)? * 3600 + two_digits(minute, 59)? * 60))
}

/// Decimals of a second to the nearest microsecond, halves up.
fn parse_fraction(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |at: usize| {
        text.as_bytes()
            .get(at)
            .map_or(0, |byte| i64::from(byte - b'0'))
    };
    let micros = (0..6).fold(0, |micros, at| micros * 10 + digit(at));
    Some(micros + i64::from(digit(6) >= 5))
}

fn two_digits(text: &str, most: i64) -> Option<i64> {
    if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= most)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap(year)),
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year)
        .map(|year| 365 + i64::from(is_leap(year)))
        .sum();
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // `date -u -d '2016-06-14 04:00:00' +%s` and the like.
        assert_eq!(parse_date("2000-01-01"), Some(946_684_800 * SECOND));
        assert_eq!(parse_date("2016-03-01"), Some(1_456_790_400 * SECOND));
        assert_eq!(
            parse_time("2016-06-14 03:59:59.998"),
            Some(1_465_876_799_998_000)
        );
        assert_eq!(
            parse_time("2019-11-24 00:00:34.762830+00:00"),
            Some(1_574_553_634_762_830)
        );
        for offset in ["+02:00", "+02", "+0200"] {
            assert_eq!(
                parse_time(&format!("2019-11-24T02:00:00{offset}")),
                parse_time("2019-11-24T00:00:00Z")
            );
        }
    }

    #[test]
    fn spreadsheet_cells_round_to_whole_microseconds() {
        assert_eq!(
            parse_time("2013-04-04T08:32:14.99999991618096825"),
            parse_time("2013-04-04 08:32:15")
        );
        assert_eq!(
            parse_time("2012-12-31T23:59:59.9999998"),
            parse_date("2013-01-01")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "2016-02-30",
            "1999-12-31",
            "2100-01-01",
            "2016-1-01",
            "20160101",
            "é016-01-01",
            "2016-13-01",
            "2016-00-10",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in [
            "2016-06-14",
            "2016-06-14 24:00:00",
            "2016-06-14 10:00",
            "2016-06-14 10:00:00.",
            "2016-06-14 10:00:00.5x",
            "2016-06-14 10:00:00:00",
            "2016-06-14_10:00:00",
            "2016-06-14 10:00:00+2",
            "1465876799",
            "2016-06-1é 10:00:00",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
