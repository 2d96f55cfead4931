//! The market in one month: what is on the shelves, what is popular, what is in fashion.

use slate_types::Seed;

use crate::catalogue::{Catalogue, Style, pick};
use crate::config::Market;
use crate::people;
use crate::random::Stream;
use crate::shock::Turn;

/// Items of one category that can be shown in a month.
struct Shelf {
    items: Vec<u32>,
    /// Running sum of popularity over `items`.
    cumulative: Vec<f64>,
}

/// One month of the market.
pub(crate) struct Season {
    /// Counted from 0.
    pub(crate) month: u32,
    /// First microsecond.
    pub(crate) from: i64,
    /// First microsecond of the next month.
    pub(crate) to: i64,
    /// Direction of fashion: styles along it sell better.
    pub(crate) trend: Style,
    /// How tastes are turned in this month alone.
    pub(crate) turn: Option<Turn>,
    /// Log popularity by item, drift included; items of later months hold what they will have.
    popularity: Vec<f32>,
    shelves: Vec<Shelf>,
    /// Running sum of the weight of open categories.
    open: Vec<f64>,
    seed: Seed,
}

impl Season {
    /// Stocks the shelves for a month.
    pub(crate) fn new(market: &Market, catalogue: &Catalogue, seed: Seed, month: u32) -> Self {
        let drift = market.config().drift;
        let angle = f64::from(month) * std::f64::consts::TAU / 12.0;
        let turn = market.turn(month);
        let mut popularity: Vec<f32> = catalogue
            .items
            .iter()
            .map(|item| {
                let [a, b] = item.swing.map(f64::from);
                let moved = drift * (a * angle.cos() + b * angle.sin());
                item.popularity + moved as f32
            })
            .collect();
        let mut trend = people::trend(seed, month, drift);
        if let Some(turn) = turn {
            turn_popularity(&mut popularity, seed, drift, turn);
            trend = people::turned_trend(seed, &trend, turn);
        }
        let mut shelves: Vec<Shelf> = (0..catalogue.categories.len())
            .map(|_| Shelf {
                items: Vec::new(),
                cumulative: Vec::new(),
            })
            .collect();
        for (index, item) in catalogue.items.iter().enumerate() {
            if item.month <= month {
                let shelf = &mut shelves[item.category as usize];
                let before = shelf.cumulative.last().copied().unwrap_or(0.0);
                shelf.items.push(index as u32);
                shelf
                    .cumulative
                    .push(before + f64::from(popularity[index]).exp());
            }
        }
        let mut total = 0.0;
        let open = catalogue
            .categories
            .iter()
            .zip(&shelves)
            .map(|(category, shelf)| {
                total += if shelf.items.is_empty() {
                    0.0
                } else {
                    category.weight
                };
                total
            })
            .collect();
        Self {
            month,
            from: market.month_start(month),
            to: market.month_start(month + 1),
            trend,
            turn,
            popularity,
            shelves,
            open,
            seed: seed.derive("sale"),
        }
    }

    /// Log popularity of an item, about normal with variance from 0.6 to 1.
    pub(crate) fn popularity(&self, item: u32) -> f64 {
        self.popularity[item as usize].into()
    }

    /// An item of a category, the popular ones more often; none where the shelf is empty.
    pub(crate) fn draw(&self, category: usize, unit: f64) -> Option<u32> {
        let shelf = &self.shelves[category];
        if shelf.items.is_empty() {
            None
        } else {
            Some(shelf.items[pick(&shelf.cumulative, unit)])
        }
    }

    /// A category with items, the large ones more often.
    pub(crate) fn draw_category(&self, unit: f64) -> usize {
        pick(&self.open, unit)
    }

    /// All items of a category that start in this month or before.
    pub(crate) fn shelf(&self, category: usize) -> &[u32] {
        &self.shelves[category].items
    }

    /// The price in this month, from the list price: one item in eight is 20 % off.
    pub(crate) fn price(&self, item: u32, list_price: i64) -> i64 {
        let on_sale = self.seed.index(item.into()).index(self.month.into()).unit() < 0.125;
        if on_sale {
            list_price * 4 / 5
        } else {
            list_price
        }
    }
}

/// Turns the log popularity of every item.
fn turn_popularity(popularity: &mut [f32], seed: Seed, drift: f64, turn: Turn) {
    let seed = seed.derive("shock").derive("popularity");
    // That of the catalogue and its swing.
    let deviation = (0.25_f64.powi(2) + 0.75_f64.powi(2) + drift * drift).sqrt();
    for (index, value) in popularity.iter_mut().enumerate() {
        let fresh = deviation * Stream::new(seed.index(index as u64)).normal();
        *value = turn.of((*value).into(), fresh) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MarketConfig;
    use crate::shock::Shock;

    /// Correlation of popularity, and the cosine of fashion, between months 2 and 3, counted from 0.
    fn alike(shock: Option<Shock>) -> (f64, f64) {
        let config = MarketConfig {
            shock,
            ..MarketConfig::default()
        };
        let market = config.check().unwrap();
        let catalogue = Catalogue::new(&market, Seed(2));
        let [before, now] = [2, 3].map(|month| Season::new(&market, &catalogue, Seed(2), month));
        let n = catalogue.items.len() as f64;
        let items = 0..catalogue.items.len() as u32;
        let mean = |of: &dyn Fn(u32) -> f64| items.clone().map(of).sum::<f64>() / n;
        let (a, b) = (|i| before.popularity(i), |i| now.popularity(i));
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let together = mean(&|i| (a(i) - mean_a) * (b(i) - mean_b));
        let size =
            mean(&|i| (a(i) - mean_a).powi(2)).sqrt() * mean(&|i| (b(i) - mean_b).powi(2)).sqrt();
        let [from, to] = [before.trend, now.trend];
        let lengths = (people::dot(&from, &from) * people::dot(&to, &to)).sqrt();
        (together / size, people::dot(&from, &to) / lengths)
    }

    #[test]
    fn a_shock_turns_popularity_and_fashion_round() {
        let shock = |tastes| {
            Some(Shock {
                month: 4,
                tastes,
                lost_events: 0.0,
            })
        };
        let (popularity, fashion) = alike(None);
        assert!(popularity > 0.8 && fashion > 0.5, "{popularity} {fashion}");
        assert_eq!(alike(shock(0.0)), (popularity, fashion));
        let (half, _) = alike(shock(0.5));
        assert!(half.abs() < 0.1, "{half}");
        let (opposite, turned) = alike(shock(1.0));
        assert!((opposite + popularity).abs() < 1e-6, "{opposite}");
        assert!((turned + fashion).abs() < 1e-5, "{turned}");
    }

    #[test]
    fn shelves_fill_over_the_months() {
        let market = MarketConfig {
            items: 400,
            ..MarketConfig::default()
        }
        .check()
        .unwrap();
        let catalogue = Catalogue::new(&market, Seed(2));
        let stock = |month| {
            let season = Season::new(&market, &catalogue, Seed(2), month);
            let items = (0..24)
                .map(|category| season.shelf(category).len())
                .sum::<usize>();
            (items, season.draw(4, 0.5).is_some())
        };
        assert_eq!(stock(0), (400, false), "category 4 opens later");
        assert_eq!(stock(5), (400 + 5 * 20, true));
    }

    #[test]
    fn popular_items_are_drawn_more_often() {
        let market = MarketConfig {
            items: 400,
            ..MarketConfig::default()
        }
        .check()
        .unwrap();
        let catalogue = Catalogue::new(&market, Seed(2));
        let season = Season::new(&market, &catalogue, Seed(2), 3);
        let n = 4000;
        let drawn: f64 = (0..n)
            .map(|step| season.popularity(season.draw(0, f64::from(step) / f64::from(n)).unwrap()))
            .sum();
        let shelf = season.shelf(0);
        let plain: f64 = shelf.iter().map(|&item| season.popularity(item)).sum();
        assert!(drawn / f64::from(n) > plain / shelf.len() as f64 + 0.3);
    }
}
