//! What everyone goes for of late: a logistic regression of clicks on the vectors of the items shown.
//!
//! Of the rows with items of the map that were shown before a moment, each has a weight `w` that halves with its
//! age, and `y` is 1 where its click has come by then, else 0. With an intercept for each slot alone, the chance of
//! `y` in a slot is its share `p`; the trend is the step that Newton's method takes from there under a normal prior,
//! `(Σ w p (1 − p) (v − m) (v − m)' + ridge · I)⁻¹ Σ w (y − p) v`, `m` being the mean vector of the slot. So a place
//! that is looked at more does not make a style look liked. A style that is shown more of late than before looks
//! disliked for as long as its clicks take; the half-life should be much longer.

use std::collections::BTreeMap;

use super::normal::{Factor, add_square, add_times, packed};

/// Slots that are told apart; the last stands for all behind it, too.
const SLOTS: usize = 64;
/// Sums are brought down where a row of now would weigh more than 2 to this.
const HEAVIEST: f64 = 256.0;
/// A slot whose rows weigh less has faded away.
const FAINT: f64 = 1e-30;

/// What happened so far. Rows come in the order of time.
pub(super) struct Trending {
    width: usize,
    /// Microseconds.
    half_life: f64,
    ridge: f64,
    /// Shown then, a row weighs 1; later, more.
    since: i64,
    slots: Vec<Slot>,
    /// Rows whose click is yet to come, by its time.
    waiting: BTreeMap<(i64, u64), Waiting>,
    /// Clicks so far, so that no two are at one place.
    clicks: u64,
}

/// Sums over the rows of a slot.
struct Slot {
    /// `Σ w` and `Σ w y`.
    shown: f64,
    clicked: f64,
    /// `Σ w v v'`, packed, then `Σ w v`, then `Σ w y v`.
    sums: Vec<f64>,
}

struct Waiting {
    ts: i64,
    slot: usize,
    vector: Vec<f64>,
}

impl Trending {
    /// `half_life` in microseconds; `ridge` is 1 over the variance of the prior of a number of the trend.
    pub(super) fn new(width: usize, half_life: f64, ridge: f64) -> Self {
        Self {
            width,
            half_life,
            ridge,
            since: 0,
            slots: Vec::new(),
            waiting: BTreeMap::new(),
            clicks: 0,
        }
    }

    /// The trend as of all that is before `now`, `[width]`; log-odds in a product with an item's vector.
    pub(super) fn at(&mut self, now: i64) -> Vec<f64> {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 < now
        {
            let Waiting { ts, slot, vector } = entry.remove();
            let weight = self.weight(ts);
            let slot = &mut self.slots[slot];
            slot.clicked += weight;
            let products = &mut slot.sums[packed(self.width) + self.width..];
            add_times(products, weight, &vector);
        }
        let fading = 1.0 / self.weight(now);
        if fading < (-HEAVIEST).exp2() {
            for slot in &mut self.slots {
                slot.shown *= fading;
                slot.clicked *= fading;
                slot.sums.iter_mut().for_each(|sum| *sum *= fading);
            }
            self.since = now;
        }
        let fading = 1.0 / self.weight(now);
        let mut matrix = vec![0.0; packed(self.width)];
        let mut trend = vec![0.0; self.width];
        for slot in &self.slots {
            if slot.clicked == 0.0 || slot.shown * fading < FAINT {
                continue;
            }
            let share = slot.clicked / slot.shown;
            let (squares, rest) = slot.sums.split_at(matrix.len());
            let (of_shown, of_clicked) = rest.split_at(self.width);
            let mut around = squares.to_vec();
            add_square(&mut around, -1.0 / slot.shown, of_shown);
            let each = matrix.iter_mut().zip(around);
            each.for_each(|(sum, square)| *sum += share * (1.0 - share) * square * fading);
            let each = trend.iter_mut().zip(of_shown).zip(of_clicked);
            each.for_each(|((sum, shown), clicked)| *sum += (clicked - share * shown) * fading);
        }
        Factor::new(&matrix, self.ridge, self.width).solve(&mut trend);
        trend
    }

    /// A row of `now`, which must be what [`Trending::at`] was asked for last. `lag`: microseconds to its click.
    pub(super) fn show(&mut self, now: i64, slot: i64, lag: Option<i64>, vector: &[f64]) {
        let slot = slot.clamp(0, SLOTS as i64 - 1) as usize;
        let weight = self.weight(now);
        while self.slots.len() <= slot {
            self.slots.push(Slot {
                shown: 0.0,
                clicked: 0.0,
                sums: vec![0.0; packed(self.width) + 2 * self.width],
            });
        }
        let own = &mut self.slots[slot];
        own.shown += weight;
        let (squares, rest) = own.sums.split_at_mut(packed(self.width));
        add_square(squares, weight, vector);
        add_times(rest, weight, vector);
        if let Some(lag) = lag {
            let waiting = Waiting {
                ts: now,
                slot,
                vector: vector.to_vec(),
            };
            let at = (now.saturating_add(lag.max(0)), self.clicks);
            self.waiting.insert(at, waiting);
            self.clicks += 1;
        }
    }

    /// Of a row that was shown then.
    fn weight(&self, then: i64) -> f64 {
        (then.saturating_sub(self.since) as f64 / self.half_life).exp2()
    }
}

#[cfg(test)]
mod tests {
    use slate_types::Seed;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    struct Row {
        ts: i64,
        slot: i64,
        lag: Option<i64>,
        vector: [f64; 2],
    }

    fn draw(at: u64, of: &str) -> f64 {
        Seed(5).derive(of).index(at).unit()
    }

    /// Four rows at a time, some moments far apart; a third of them are clicked, some of these long after.
    fn rows() -> Vec<Row> {
        let row = |at: u64| Row {
            ts: (at / 4 * 5 + at / 200 * 900) as i64 * HOUR,
            slot: [0, 1, 2, 70, 90][(draw(at, "slot") * 5.0) as usize],
            lag: (draw(at, "click") < 0.3)
                .then(|| (draw(at, "lag").powi(4) * 400.0 * HOUR as f64) as i64),
            vector: [draw(at, "one") - 0.5, draw(at, "two") * 2.0],
        };
        (0..400).map(row).collect()
    }

    /// The same from its definition, the slots one after the other and two equations by Cramer's rule.
    fn twin(rows: &[Row], now: i64, half_life: f64, ridge: f64) -> [f64; 2] {
        let (mut a, mut b, mut d, mut right) = (ridge, 0.0, ridge, [0.0; 2]);
        for slot in 0..SLOTS as i64 {
            let own = rows
                .iter()
                .filter(|row| row.ts < now && row.slot.min(SLOTS as i64 - 1) == slot);
            let seen: Vec<(f64, f64, [f64; 2])> = own
                .map(|row| {
                    let weight = 0.5_f64.powf((now - row.ts) as f64 / half_life);
                    let come = row.lag.is_some_and(|lag| row.ts + lag < now);
                    (weight, f64::from(u8::from(come)), row.vector)
                })
                .collect();
            let shown: f64 = seen.iter().map(|(w, _, _)| w).sum();
            let clicked: f64 = seen.iter().map(|(w, y, _)| w * y).sum();
            let mean = |at: usize| seen.iter().map(|(w, _, v)| w * v[at]).sum::<f64>() / shown;
            let mean = [mean(0), mean(1)];
            for (w, y, vector) in seen {
                let share = clicked / shown;
                let q = share * (1.0 - share);
                let [one, two] = [vector[0] - mean[0], vector[1] - mean[1]];
                a += w * q * one * one;
                b += w * q * one * two;
                d += w * q * two * two;
                right[0] += w * (y - share) * vector[0];
                right[1] += w * (y - share) * vector[1];
            }
        }
        let determinant = a * d - b * b;
        [
            (d * right[0] - b * right[1]) / determinant,
            (a * right[1] - b * right[0]) / determinant,
        ]
    }

    #[test]
    fn it_is_a_step_of_newton_from_the_shares_of_the_slots() {
        let rows = rows();
        // With the shortest, rows are hundreds of half-lives old.
        for half_life in [1.0, 50.0, 1e6] {
            let half_life = half_life * HOUR as f64;
            let mut trending = Trending::new(2, half_life, 0.3);
            let mut longest = 0.0_f64;
            for moment in rows.chunk_by(|one, two| one.ts == two.ts) {
                let now = moment[0].ts;
                let found = trending.at(now);
                let expected = twin(&rows, now, half_life, 0.3);
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
                    longest = longest.max(found.abs());
                }
                for row in moment {
                    trending.show(now, row.slot, row.lag, &row.vector);
                }
            }
            assert!(longest > 0.01, "{longest}");
        }
    }

    /// The trend after many rows of two items, `+1` and `−1`, in two slots.
    fn after(shown_first: f64, click: impl Fn(i64, f64) -> f64) -> f64 {
        let mut trending = Trending::new(1, 1e9 * HOUR as f64, 1.0);
        for at in 0..40_000 {
            let first = if draw(at, "first") < shown_first {
                1.0
            } else {
                -1.0
            };
            for (slot, style) in [(0, first), (1, -first)] {
                let lag = (draw(2 * at + slot as u64, "click") < click(slot, style)).then_some(0);
                trending.show(at as i64, slot, lag, &[style]);
            }
        }
        trending.at(50_000)[0]
    }

    #[test]
    fn a_style_that_is_liked_is_told_from_one_that_is_shown_first() {
        let looked_at = |slot: i64| if slot == 0 { 0.3 } else { 0.05 };
        let found = after(0.9, |slot, _| looked_at(slot));
        assert!(found.abs() < 0.05, "nothing is liked: {found}");
        // ±0.2 log-odds around the share of the slot.
        let odds = |slot: i64, style: f64| {
            let p: f64 = looked_at(slot);
            let odds = p / (1.0 - p) * (0.2 * style).exp();
            odds / (1.0 + odds)
        };
        for shown_first in [0.5, 0.1, 0.9] {
            let found = after(shown_first, odds);
            assert!((found - 0.2).abs() < 0.05, "{shown_first}: {found}");
        }
    }

    #[test]
    fn a_slot_that_is_not_shown_any_more_fades_away() {
        let show = |trending: &mut Trending, hour: i64, slot: i64, style: f64| {
            let found = trending.at(hour * HOUR)[0];
            trending.show(hour * HOUR, slot, Some(1), &[style]);
            trending.show(hour * HOUR, slot, None, &[-style]);
            found
        };
        for half_life in [0.5, 0.9, 1.3] {
            let new = || Trending::new(1, half_life * HOUR as f64, 1.0);
            let (mut one, mut both) = (new(), new());
            for hour in 0..3000 {
                if (150..160).contains(&hour) {
                    show(&mut both, hour, 1, 5.0);
                }
                let [one, both] = [&mut one, &mut both].map(|own| show(own, hour, 0, 1.0));
                assert!(both.is_finite(), "hour {hour}");
                if hour > 500 {
                    assert!((one - both).abs() < 1e-12, "hour {hour}: {one} {both}");
                }
            }
        }
    }

    #[test]
    fn nothing_happened_yet() {
        let mut trending = Trending::new(3, HOUR as f64, 1.0);
        assert_eq!(trending.at(5), [0.0; 3]);
        trending.show(5, -4, Some(-10), &[1.0, 2.0, 3.0]);
        trending.show(5, 0, Some(i64::MAX), &[1.0, 2.0, 4.0]);
        assert_eq!(trending.at(5), [0.0; 3], "not before its time");
        assert!(trending.at(6)[2] < 0.0, "the first was clicked");
        assert_eq!(trending.at(i64::MAX / 2), [0.0; 3], "long ago");
    }
}
