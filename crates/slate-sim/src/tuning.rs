//! Sets the two intercepts so that clicks and purchases are as frequent as the config asks.
//!
//! A sample of the real pages is ordered by the logging policy, and each intercept is found by
//! bisection on the mean true probability. So the three curves give the same number of purchases
//! and can be compared. The sample takes the first pages of each month.

use slate_types::Seed;

use crate::behaviour::{Behaviour, Leaning};
use crate::catalogue::Catalogue;
use crate::config::Market;
use crate::error::SimError;
use crate::pages::PageMaker;
use crate::plan;
use crate::ranking;
use crate::season::Season;

/// Pages in the sample, about.
const SAMPLE: usize = 800;
/// Largest intercept tried, and least: beyond it probabilities no longer move.
const BOUND: f64 = 40.0;

/// Finds the behaviour that meets the config's rates.
///
/// # Errors
/// [`SimError::RateOutOfReach`] where even certain clicks or purchases are too few.
pub(crate) fn tune(
    market: &Market,
    catalogue: &Catalogue,
    seed: Seed,
) -> Result<Behaviour, SimError> {
    let config = market.config();
    let sample = sample(market, catalogue, seed)?;
    let rows = sample.len() as f64;
    let start = Behaviour {
        click: 0.0,
        buy: 0.0,
        curve: config.curve,
        cancel_rate: config.cancel_rate,
    };
    let clicks = |click: f64| {
        let behaviour = Behaviour { click, ..start };
        sample
            .iter()
            .map(|(leaning, seen)| behaviour.truth(*leaning, *seen).click)
            .sum::<f64>()
            / rows
    };
    let click = solve("click_rate", config.click_rate, clicks)?;
    let purchases = |buy: f64| {
        let behaviour = Behaviour {
            click,
            buy,
            ..start
        };
        sample
            .iter()
            .map(|(leaning, seen)| behaviour.truth(*leaning, *seen).purchase)
            .sum::<f64>()
            / rows
    };
    let buy = solve("purchase_rate", config.purchase_rate, purchases)?;
    Ok(Behaviour {
        click,
        buy,
        ..start
    })
}

/// Leaning and examination of each placement of the sample.
fn sample(
    market: &Market,
    catalogue: &Catalogue,
    seed: Seed,
) -> Result<Vec<(Leaning, f64)>, SimError> {
    let months = market.config().months;
    let per_month = SAMPLE.div_ceil(months as usize);
    let mut rows = Vec::new();
    for month in 0..months {
        let season = &Season::new(market, catalogue, seed, month);
        let maker = PageMaker {
            market,
            catalogue,
            season,
            seed,
        };
        let mut pages = 0;
        for visits in plan::chunks(market, seed, month)?.into_iter().flatten() {
            if pages >= per_month {
                break;
            }
            for page in maker.pages(visits)? {
                pages += 1;
                let ranking = ranking::rank(market, catalogue, season, seed, &page);
                for (slot, placed) in ranking.placed.iter().enumerate() {
                    let candidate = &page.pool[placed.candidate];
                    let leaning = Leaning::new(catalogue, season, &page, candidate);
                    rows.push((leaning, market.examination()[slot]));
                }
            }
        }
    }
    Ok(rows)
}

/// The intercept at which an increasing `rate` meets `target`.
fn solve(key: &'static str, target: f64, rate: impl Fn(f64) -> f64) -> Result<f64, SimError> {
    let reachable = rate(BOUND);
    if target >= reachable {
        return Err(SimError::RateOutOfReach {
            key,
            given: target,
            reachable,
        });
    }
    let (mut low, mut high) = (-BOUND, BOUND);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if rate(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MarketConfig;

    #[test]
    fn a_rate_that_cannot_be_met_is_refused() {
        let config = MarketConfig {
            pages: 200,
            click_rate: 0.9,
            ..MarketConfig::default()
        };
        let market = config.check().unwrap();
        let catalogue = Catalogue::new(&market, Seed(1));
        let error = tune(&market, &catalogue, Seed(1)).unwrap_err().to_string();
        let expected = "`simulate.click_rate` is 0.9, expected at most 0.";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn the_intercept_meets_the_rate() {
        let logistic = |a: f64| 1.0 / (1.0 + (-a).exp());
        assert!((solve("click_rate", 0.25, logistic).unwrap() + 3.0_f64.ln()).abs() < 1e-9);
    }
}
