//! What users do with a placement, and the true probabilities of it.
//!
//! A placement in slot `k` is looked at with probability `examination[k]`; one that is looked at is
//! clicked with probability `sigmoid(a + click leaning)`; a click becomes a purchase with
//! probability `curve(b + buy leaning)`; a purchase is cancelled at a constant rate. Leanings follow
//! taste, likeness to the seed item, price, quality, seller and fashion, and nothing about other
//! slots. The intercepts `a` and `b` are set in `tuning.rs`.

use crate::catalogue::Catalogue;
use crate::curve::Curve;
use crate::pages::{Candidate, Page};
use crate::people::dot;
use crate::random::Stream;
use crate::season::Season;

/// How much a user leans towards a candidate, in log-odds, before the intercepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaning {
    /// Towards a click, once looked at.
    pub(crate) click: f64,
    /// Towards a purchase, once clicked.
    pub(crate) buy: f64,
}

/// Intercepts and constants that turn leanings into probabilities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behaviour {
    /// Added to the click leaning.
    pub(crate) click: f64,
    /// Added to the buy leaning.
    pub(crate) buy: f64,
    /// From buy log-odds to a probability.
    pub(crate) curve: Curve,
    /// Share of purchases cancelled.
    pub(crate) cancel_rate: f64,
}

/// True probabilities of one placement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    /// That the slot is looked at.
    pub(crate) examination: f64,
    /// Of a click.
    pub(crate) click: f64,
    /// Of a purchase after a click, cancelled or not.
    pub(crate) buy_given_click: f64,
    /// Of a purchase that is not cancelled.
    pub(crate) purchase: f64,
    /// The same, if the slot were always looked at.
    pub(crate) purchase_examined: f64,
    /// The log-odds that the curve turned into `buy_given_click`.
    pub(crate) log_odds: f64,
}

/// What happened to one placement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) clicked: bool,
    /// Bought, cancelled or not.
    pub(crate) bought: bool,
    /// Bought and cancelled.
    pub(crate) cancelled: bool,
}

impl Leaning {
    /// How much the page's user leans towards a candidate of the page.
    pub(crate) fn new(
        catalogue: &Catalogue,
        season: &Season,
        page: &Page,
        candidate: &Candidate,
    ) -> Self {
        let item = &catalogue.items[candidate.item as usize];
        let fashion = dot(&season.trend, &item.style);
        let seller = catalogue.sellers[item.seller as usize].quality;
        let cart = if page.kind == "cart" { 1.0 } else { 0.0 };
        let desktop = if page.device == "desktop" { 1.0 } else { 0.0 };
        let new = if item.condition == 0 { 1.0 } else { 0.0 };
        Self {
            click: 0.9 * candidate.liking
                + 1.3 * candidate.likeness
                + 0.25 * season.popularity(candidate.item)
                + 0.6 * fashion
                - 0.4 * candidate.relative_price
                - 0.3 * cart,
            buy: 0.9 * candidate.liking
                + 0.6 * candidate.likeness
                + 0.7 * f64::from(item.quality)
                + 0.5 * seller
                + 0.6 * fashion
                - 1.3 * candidate.relative_price
                + 0.3 * desktop
                + 0.2 * new,
        }
    }
}

impl Behaviour {
    /// The true probabilities of a placement in a slot with this examination.
    pub(crate) fn truth(&self, leaning: Leaning, examination: f64) -> Truth {
        let click_examined = 1.0 / (1.0 + (-(self.click + leaning.click)).exp());
        let log_odds = self.buy + leaning.buy;
        let buy_given_click = self.curve.probability(log_odds);
        let purchase_examined = click_examined * buy_given_click * (1.0 - self.cancel_rate);
        Truth {
            examination,
            click: examination * click_examined,
            buy_given_click,
            purchase: examination * purchase_examined,
            purchase_examined,
            log_odds,
        }
    }

    /// Draws what happens. Always takes three numbers, so that one outcome does not shift the next.
    pub(crate) fn outcome(&self, truth: &Truth, stream: &mut Stream) -> Outcome {
        let [click, buy, cancel] = std::array::from_fn(|_| stream.unit());
        let clicked = click < truth.click;
        let bought = clicked && buy < truth.buy_given_click;
        Outcome {
            clicked,
            bought,
            cancelled: bought && cancel < self.cancel_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use slate_types::Seed;

    use super::*;

    #[test]
    fn outcomes_are_as_frequent_as_the_truth() {
        let behaviour = Behaviour {
            click: 0.5,
            buy: -0.2,
            curve: Curve::Logistic,
            cancel_rate: 0.3,
        };
        let truth = behaviour.truth(
            Leaning {
                click: 0.4,
                buy: 0.6,
            },
            0.7,
        );
        assert!((truth.purchase - 0.7 * truth.purchase_examined).abs() < 1e-15);
        let mut stream = Stream::new(Seed(1));
        let n = 20_000;
        let (mut clicks, mut kept) = (0, 0);
        for _ in 0..n {
            let outcome = behaviour.outcome(&truth, &mut stream);
            assert!(outcome.clicked || !outcome.bought);
            assert!(outcome.bought || !outcome.cancelled);
            clicks += u32::from(outcome.clicked);
            kept += u32::from(outcome.bought && !outcome.cancelled);
        }
        for (count, p) in [(clicks, truth.click), (kept, truth.purchase)] {
            let share = f64::from(count) / f64::from(n);
            assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / f64::from(n)).sqrt());
        }
    }
}
