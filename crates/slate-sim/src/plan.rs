//! Who comes in a month and how many pages they see: the whole month at a glance, before any page.
//!
//! Pages are shared out by systematic sampling over the users' activity, so the total is exact and
//! each user's number follows from the seed alone. A user's pages of one month stand in one chunk.

use slate_types::Seed;

use crate::config::Market;
use crate::error::SimError;
use crate::people;

/// Pages of one chunk, about: the unit of work for a thread and of writing.
const CHUNK_PAGES: u64 = 512;
/// A user may use up at most this share of the items allowed in a month as candidates.
const ITEMS_PER_CANDIDATE: u64 = 5;

/// One user's pages of one month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visits {
    /// Counted from 0.
    pub(crate) user: u64,
    /// Index of the first page, over the whole log, counted from 0.
    pub(crate) first_page: u64,
    /// At least 1.
    pub(crate) pages: u64,
}

/// Pages before month `month`; month `months` gives them all.
pub(crate) fn pages_before(market: &Market, month: u32) -> u64 {
    let config = market.config();
    let wide = u128::from(config.pages) * u128::from(month) / u128::from(config.months);
    wide as u64
}

/// The visits of a month, in user order, cut into chunks.
///
/// # Errors
/// [`SimError::CatalogueTooSmall`] where a user would see more than the catalogue can give.
pub(crate) fn chunks(
    market: &Market,
    seed: Seed,
    month: u32,
) -> Result<Vec<Vec<Visits>>, SimError> {
    let config = market.config();
    let first = pages_before(market, month);
    let pages = pages_before(market, month + 1) - first;
    let total: f64 = (0..config.users)
        .map(|user| people::activity(seed, user, month))
        .sum();
    let offset = seed.derive("month").index(month.into()).unit();
    let mut running = 0.0;
    let mut done = 0;
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    let mut in_chunk = 0;
    for user in 0..config.users {
        running += people::activity(seed, user, month);
        let upto = (running / total * pages as f64 + offset).floor() as u64;
        // The last user takes what rounding may have left.
        let upto = if user + 1 == config.users {
            pages
        } else {
            upto.min(pages)
        };
        if upto > done {
            let visits = Visits {
                user,
                first_page: first + done,
                pages: upto - done,
            };
            refuse_too_many(market, visits.pages)?;
            chunk.push(visits);
            in_chunk += visits.pages;
            done = upto;
            if in_chunk >= CHUNK_PAGES {
                chunks.push(std::mem::take(&mut chunk));
                in_chunk = 0;
            }
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn refuse_too_many(market: &Market, pages: u64) -> Result<(), SimError> {
    let config = market.config();
    let needed = pages
        .saturating_mul(config.candidates.into())
        .saturating_mul(ITEMS_PER_CANDIDATE);
    if config.items >= needed {
        return Ok(());
    }
    Err(SimError::CatalogueTooSmall {
        items: config.items,
        needed,
        pages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MarketConfig;

    fn market(pages: u64, users: u64) -> Market {
        MarketConfig {
            pages,
            users,
            ..MarketConfig::default()
        }
        .check()
        .unwrap()
    }

    #[test]
    fn pages_add_up_exactly_and_stand_in_order() {
        let market = market(10_001, 3_000);
        let mut next = 0;
        for month in 0..6 {
            assert_eq!(next, pages_before(&market, month));
            for visits in chunks(&market, Seed(1), month)
                .unwrap()
                .into_iter()
                .flatten()
            {
                assert_eq!(visits.first_page, next);
                assert!(visits.pages > 0 && visits.user < 3_000);
                next += visits.pages;
            }
        }
        assert_eq!(next, 10_001);
    }

    #[test]
    fn chunks_are_of_even_size() {
        let chunks = chunks(&market(30_000, 10_000), Seed(1), 0).unwrap();
        assert_eq!(chunks.len(), 10);
        for chunk in &chunks[..9] {
            let pages: u64 = chunk.iter().map(|visits| visits.pages).sum();
            assert!((CHUNK_PAGES..CHUNK_PAGES + 20).contains(&pages), "{pages}");
        }
    }

    #[test]
    fn a_catalogue_that_cannot_feed_a_user_is_refused() {
        let error = chunks(&market(6_000, 1), Seed(1), 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`simulate.items` is 3000, expected at least 120000: one user sees up to 1000 pages a \
             month"
        );
    }
}
