//! Users: what they like, where they shop, how often they come.
//!
//! Everything is a function of the seed, the user and the month. A taste turns around a fixed
//! centre, so months differ and yet no month needs the one before.

use slate_types::Seed;

use crate::catalogue::{DIMS, Style};
use crate::random::Stream;
use crate::shock::Turn;

/// Country sites, with the share of users at or before each.
const SITES: [(&str, f64); 4] = [("us", 0.5), ("uk", 0.75), ("de", 0.92), ("au", 1.0)];
/// Devices, likewise.
const DEVICES: [(&str, f64); 3] = [("mobile", 0.55), ("desktop", 0.9), ("tablet", 1.0)];

/// A user in one month.
pub(crate) struct User {
    /// What the user likes; scalar products with a style have variance about 1.
    pub(crate) taste: Style,
    /// Parent categories the user comes back to; any numbers, taken modulo the number of parents.
    pub(crate) homes: [u64; 2],
    pub(crate) site: &'static str,
}

impl User {
    /// The user in this month. `drift` is from 0 (always the same) to 1.
    pub(crate) fn new(seed: Seed, user: u64, month: u32, drift: f64) -> Self {
        let seed = seed.derive("users").index(user);
        let mut stream = Stream::new(seed);
        let [centre, a, b]: [Style; 3] = std::array::from_fn(|_| stream.normals());
        let moving = 0.7 * drift;
        let still = (1.0 - moving * moving).sqrt();
        let angle = f64::from(month) * std::f64::consts::TAU / 12.0;
        let scale = 1.0 / (DIMS as f64).sqrt();
        let taste = std::array::from_fn(|dim| {
            let turning = f64::from(a[dim]) * angle.cos() + f64::from(b[dim]) * angle.sin();
            ((still * f64::from(centre[dim]) + moving * turning) * scale) as f32
        });
        Self {
            taste,
            homes: [seed.index(0).0, seed.index(1).0],
            site: choose(&SITES, stream.unit()),
        }
    }

    /// The same user with a taste that was turned.
    pub(crate) fn turned(mut self, seed: Seed, user: u64, turn: Turn) -> Self {
        let seed = seed.derive("shock").derive("tastes").index(user);
        let fresh: Style = Stream::new(seed).normals();
        let scale = 1.0 / (DIMS as f64).sqrt();
        self.taste = std::array::from_fn(|dim| {
            turn.of(self.taste[dim].into(), scale * f64::from(fresh[dim])) as f32
        });
        self
    }
}

/// How many pages a user asks for in a month, against the others: some never, few often.
pub(crate) fn activity(seed: Seed, user: u64, month: u32) -> f64 {
    let steady = (1.0 - seed.derive("activity").index(user).unit())
        .powf(-0.3)
        .min(4.0);
    let this_month = seed.derive("visits").index(user).index(month.into()).unit();
    // Never quite 0, so that a market with one user still has pages.
    let presence = if this_month < 0.5 {
        1e-6
    } else {
        2.0 * this_month - 0.5
    };
    steady * presence
}

/// A device for one session.
pub(crate) fn device(stream: &mut Stream) -> &'static str {
    choose(&DEVICES, stream.unit())
}

/// The direction fashion takes in this month, of length `drift`.
pub(crate) fn trend(seed: Seed, month: u32, drift: f64) -> Style {
    let mut stream = Stream::new(seed.derive("trend"));
    let [a, b]: [Style; 2] = std::array::from_fn(|_| stream.normals());
    let angle = f64::from(month) * std::f64::consts::TAU / 12.0;
    let direction: [f64; DIMS] = std::array::from_fn(|dim| {
        f64::from(a[dim]) * angle.cos() + f64::from(b[dim]) * angle.sin()
    });
    let length = direction
        .iter()
        .map(|value| value * value)
        .sum::<f64>()
        .sqrt();
    direction.map(|value| (drift * value / length) as f32)
}

/// Fashion after a turn, as long as before.
pub(crate) fn turned_trend(seed: Seed, trend: &Style, turn: Turn) -> Style {
    let fresh: Style = Stream::new(seed.derive("shock").derive("trend")).normals();
    let length = |style: &Style| dot(style, style).sqrt();
    let long = length(trend);
    let scale = long / length(&fresh).max(1e-6);
    let turned: Style =
        std::array::from_fn(|dim| turn.of(trend[dim].into(), scale * f64::from(fresh[dim])) as f32);
    let scale = long / length(&turned).max(1e-6);
    turned.map(|value| (scale * f64::from(value)) as f32)
}

/// Scalar product.
pub(crate) fn dot(a: &Style, b: &Style) -> f64 {
    f64::from(a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>())
}

fn choose(choices: &[(&'static str, f64)], unit: f64) -> &'static str {
    choices
        .iter()
        .find(|choice| unit < choice.1)
        .map_or(choices[0].0, |choice| choice.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tastes_move_with_drift_and_keep_their_size() {
        let taste = |user, month, drift| User::new(Seed(4), user, month, drift).taste;
        assert_eq!(taste(1, 0, 0.0), taste(1, 5, 0.0));
        assert_ne!(taste(1, 0, 0.5), taste(1, 5, 0.5));
        let (now, next_year) = (taste(1, 0, 0.5), taste(1, 12, 0.5));
        let moved = now
            .iter()
            .zip(next_year)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(moved < 1e-6, "a year is a turn");
        let n = 2000;
        let size: f64 = (0..n)
            .map(|user| dot(&taste(user, 3, 0.5), &taste(user, 3, 0.5)))
            .sum();
        // The square of each taste has mean 1 and variance 2/8.
        assert!((size / n as f64 - 1.0).abs() < 4.0 * (0.25 / n as f64).sqrt());
    }

    #[test]
    fn activity_is_positive_and_changes_by_month() {
        let months: Vec<f64> = (0..12).map(|month| activity(Seed(4), 9, month)).collect();
        assert!(months.iter().all(|&weight| weight > 0.0));
        assert!(months.iter().any(|&weight| weight != months[0]));
    }
}
