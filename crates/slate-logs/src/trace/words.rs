//! Spans of time and verbs as people say them.

use crate::date::{DAY, MINUTE};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 60 * MINUTE;

/// A span of microseconds in its two largest units, without its sign: "3 d 4 h", "12 min", "1.5 s", "7 µs".
pub fn span(micros: i64) -> String {
    let micros = micros.unsigned_abs() as i64;
    let two = |large: i64, name: &str, small: i64, small_name: &str| {
        let rest = micros % large / small;
        if rest == 0 {
            format!("{} {name}", micros / large)
        } else {
            format!("{} {name} {rest} {small_name}", micros / large)
        }
    };
    match micros {
        DAY.. => two(DAY, "d", HOUR, "h"),
        HOUR.. => two(HOUR, "h", MINUTE, "min"),
        MINUTE.. => two(MINUTE, "min", SECOND, "s"),
        SECOND.. if micros % SECOND == 0 => format!("{} s", micros / SECOND),
        SECOND.. => format!("{:.1} s", micros as f64 / SECOND as f64),
        1_000.. => format!("{} ms", micros / 1000),
        _ => format!("{micros} µs"),
    }
}

/// What somebody did, as in "clicked 3 min after it was shown".
pub(super) fn verb(event_type: &str) -> &'static str {
    match event_type {
        "view" => "viewed",
        "click" => "clicked",
        "watch" => "put on the watch list",
        "cart" => "put in the cart",
        "offer" => "got an offer",
        "bid" => "got a bid",
        "bin_click" => "buy-it-now pressed",
        "purchase" => "bought",
        _ => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (micros, text) in [
            (0, "0 µs"),
            (-1, "1 µs"),
            (2_500, "2 ms"),
            (1_500_000, "1.5 s"),
            (59 * SECOND, "59 s"),
            (MINUTE, "1 min"),
            (61 * SECOND, "1 min 1 s"),
            (25 * HOUR + MINUTE, "1 d 1 h"),
            (30 * DAY, "30 d"),
        ] {
            assert_eq!(span(micros), text);
        }
    }
}
