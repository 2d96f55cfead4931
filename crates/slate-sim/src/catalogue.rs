//! What is for sale: categories, sellers and items, as the seed made them.
//!
//! An item has a place in a space of styles, a quality nobody sees directly, a price that is
//! log-normal within its category, and a day its listing starts. Items of later months and of
//! categories that open later are made here too; they only cannot be shown before they start.

use slate_types::Seed;

use crate::calendar::DAY;
use crate::config::Market;
use crate::random::Stream;
use crate::words::{self, LEAVES};

/// Dimensions of the space that styles and tastes live in.
pub(crate) const DIMS: usize = 8;
/// A place in that space.
pub(crate) type Style = [f32; DIMS];

/// A leaf category.
pub(crate) struct Category {
    /// As in `Home > Lamps`.
    pub(crate) path: String,
    /// Where its items gather.
    pub(crate) centre: Style,
    /// First month with items.
    pub(crate) opens: u32,
    /// How many items and visitors it attracts, against the others.
    pub(crate) weight: f64,
    log_price: f64,
}

/// A seller.
pub(crate) struct Seller {
    /// Standard normal; larger is better.
    pub(crate) quality: f64,
    /// Shipping cost, in minor units.
    pub(crate) shipping: i64,
}

/// An item.
pub(crate) struct Item {
    pub(crate) category: u32,
    pub(crate) seller: u32,
    /// Place within the category; standard normal.
    pub(crate) style: Style,
    /// Standard normal; larger is better.
    pub(crate) quality: f32,
    /// Log of how often it is looked for, before drift.
    pub(crate) popularity: f32,
    /// Two standard normals that say how popularity moves over the months.
    pub(crate) swing: [f32; 2],
    /// List price in minor units.
    pub(crate) price: i64,
    /// Share of the sale paid for promotion; 0 is not promoted.
    pub(crate) ad_rate: f64,
    /// Start of the listing, in microseconds.
    pub(crate) start: i64,
    /// Month it starts in; 0 for all that were there before.
    pub(crate) month: u32,
    /// Index into [`CONDITIONS`].
    pub(crate) condition: u8,
    pub(crate) brand: u32,
    pub(crate) material: u32,
    /// Mean of its ratings, 1 to 5; none for items that start after the log does.
    pub(crate) rating: Option<f64>,
    /// Number of ratings.
    pub(crate) reviews: i64,
}

impl Item {
    /// Its title.
    pub(crate) fn title(&self) -> String {
        words::title(
            self.category as usize,
            &self.style,
            self.brand,
            self.material,
        )
    }
}

/// Conditions an item can be in.
pub(crate) const CONDITIONS: [&str; 3] = ["new", "used", "refurbished"];

/// Everything for sale over the whole log. Item ids are index + 1, in the order of starting months.
pub(crate) struct Catalogue {
    pub(crate) categories: Vec<Category>,
    pub(crate) sellers: Vec<Seller>,
    pub(crate) items: Vec<Item>,
}

impl Catalogue {
    /// Makes the catalogue of a market.
    pub(crate) fn new(market: &Market, seed: Seed) -> Self {
        let config = market.config();
        let categories = categories(config.categories, config.months, seed.derive("categories"));
        let sellers: Vec<Seller> = (0..config.sellers)
            .map(|id| seller(&mut Stream::new(seed.derive("sellers").index(id.into()))))
            .collect();
        let later = (config.items as f64 * config.new_items_per_month).round() as u64;
        let mut catalogue = Self {
            categories,
            sellers,
            items: Vec::new(),
        };
        for month in 0..config.months {
            let count = if month == 0 { config.items } else { later };
            let shares = catalogue.shares(month);
            let span = (market.month_start(month), market.month_start(month + 1));
            for _ in 0..count {
                let item_seed = seed.derive("items").index(catalogue.items.len() as u64);
                let item = catalogue.item(month, span, &shares, &mut Stream::new(item_seed));
                catalogue.items.push(item);
            }
        }
        catalogue
    }

    /// Siblings of a category, itself included: the leaves of one parent.
    pub(crate) fn siblings(&self, category: usize) -> std::ops::Range<usize> {
        let first = category / LEAVES * LEAVES;
        first..(first + LEAVES).min(self.categories.len())
    }

    /// Cumulative shares of new listings by category; a category that just opened gets more.
    fn shares(&self, month: u32) -> Vec<f64> {
        let mut total = 0.0;
        self.categories
            .iter()
            .map(|category| {
                if category.opens <= month {
                    let fresh = month > 0 && category.opens + 1 >= month && category.opens > 0;
                    total += category.weight * if fresh { 6.0 } else { 1.0 };
                }
                total
            })
            .collect()
    }

    fn item(
        &self,
        month: u32,
        (from, to): (i64, i64),
        shares: &[f64],
        stream: &mut Stream,
    ) -> Item {
        let category = pick(shares, stream.unit());
        let quality = stream.normal();
        let popularity = 0.25 * quality + 0.75 * stream.normal();
        let style = stream.normals();
        let log_price = self.categories[category].log_price + 0.45 * stream.normal();
        let promoted = stream.chance(0.6);
        let ad_rate = (20.0 + 130.0 * stream.unit()).round() / 1000.0;
        let start = if month == 0 {
            from - (stream.unit() * 300.0 * DAY as f64) as i64
        } else {
            from + (stream.unit() * (to - from) as f64) as i64
        };
        let rating = (3.8 + 0.6 * quality + 0.25 * stream.normal()).clamp(1.0, 5.0);
        let reviews = (2.5 + popularity + 0.6 * stream.normal()).exp() as i64;
        Item {
            category: category as u32,
            seller: stream.below(self.sellers.len()) as u32,
            style,
            quality: quality as f32,
            popularity: popularity as f32,
            swing: stream.normals(),
            // Prices end in 9, as shops have them.
            price: (log_price.exp() * 10.0) as i64 * 10 + 99,
            ad_rate: if promoted { ad_rate } else { 0.0 },
            start,
            month,
            condition: [0, 0, 0, 1, 1, 2][stream.below(6)],
            brand: stream.below(16) as u32,
            material: stream.below(8) as u32,
            rating: (month == 0).then_some((rating * 10.0).round() / 10.0),
            reviews: if month == 0 { reviews } else { 0 },
        }
    }
}

/// Index of the first cumulative share above `unit` × total; the last index with a share of its own
/// at the end.
pub(crate) fn pick(cumulative: &[f64], unit: f64) -> usize {
    let total = cumulative.last().copied().unwrap_or(0.0);
    cumulative
        .partition_point(|&share| share <= unit * total)
        .min(cumulative.len() - 1)
}

fn categories(count: u32, months: u32, seed: Seed) -> Vec<Category> {
    // Every fifth category opens later, spread over the months after the first.
    let late = if months > 1 { count / 5 } else { 0 };
    let mut centre = Style::default();
    (0..count)
        .map(|leaf| {
            if (leaf as usize).is_multiple_of(LEAVES) {
                let parent = seed.derive("parent").index(u64::from(leaf) / LEAVES as u64);
                centre = Stream::new(parent).normals();
            }
            let mut stream = Stream::new(seed.index(leaf.into()));
            let offset: Style = stream.normals();
            let order = leaf / 5;
            let opens = if leaf % 5 == 4 && order < late {
                1 + (u64::from(order) * u64::from(months - 1) / u64::from(late)) as u32
            } else {
                0
            };
            Category {
                path: words::category_path(leaf as usize),
                centre: std::array::from_fn(|dim| 0.8 * centre[dim] + 0.6 * offset[dim]),
                opens,
                weight: (0.5 * stream.normal()).exp(),
                log_price: 3.4 + 0.7 * stream.normal(),
            }
        })
        .collect()
}

fn seller(stream: &mut Stream) -> Seller {
    let quality = stream.normal();
    let shipping = [0, 0, 299, 499, 799][stream.below(5)];
    Seller { quality, shipping }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MarketConfig;

    fn catalogue() -> (Market, Catalogue) {
        let market = MarketConfig {
            items: 500,
            ..MarketConfig::default()
        }
        .check()
        .unwrap();
        let catalogue = Catalogue::new(&market, Seed(1));
        (market, catalogue)
    }

    #[test]
    fn later_months_bring_items_and_categories() {
        let (market, catalogue) = catalogue();
        assert_eq!(catalogue.items.len(), 500 + 5 * 25);
        let later = catalogue
            .categories
            .iter()
            .filter(|category| category.opens > 0)
            .count();
        assert_eq!(later, 4);
        for item in &catalogue.items {
            assert!(catalogue.categories[item.category as usize].opens <= item.month);
            let expected = market.month_start(item.month);
            assert!(if item.month == 0 {
                item.start <= expected
            } else {
                item.start >= expected
            });
            assert_eq!(item.rating.is_some(), item.month == 0);
        }
        let newest = catalogue
            .items
            .iter()
            .filter(|item| catalogue.categories[item.category as usize].opens > 0);
        assert!(newest.count() > 10, "new categories must fill");
    }

    #[test]
    fn values_are_in_range() {
        let (_, catalogue) = catalogue();
        for item in &catalogue.items {
            assert!(item.price > 0 && item.price % 10 == 9);
            assert!(item.ad_rate == 0.0 || (0.02..=0.15).contains(&item.ad_rate));
            assert!(
                item.rating
                    .is_none_or(|rating| (1.0..=5.0).contains(&rating))
            );
        }
    }

    #[test]
    fn picks_follow_the_shares() {
        let cumulative = [0.0, 1.0, 1.0, 4.0];
        assert_eq!(pick(&cumulative, 0.0), 1);
        assert_eq!(pick(&cumulative, 0.2499), 1);
        assert_eq!(pick(&cumulative, 0.25), 3);
        assert_eq!(pick(&cumulative, 0.9999), 3);
    }
}
