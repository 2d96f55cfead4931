//! The logging policies: which candidates a page showed, in which order, and how likely that was.
//!
//! Scores have a spread of about 1 within a page; a policy draws its order from the Plackett–Luce
//! law with log-weights score / temperature. The logged propensity is the marginal probability
//! that this item got this slot, given the page's candidates and its traffic class.

use slate_types::{PlackettLuce, Seed};

use crate::catalogue::Catalogue;
use crate::config::{Market, Policy};
use crate::pages::{Candidate, Page};
use crate::random::Stream;
use crate::season::Season;

/// One slot of an ordered page.
pub(crate) struct Placed {
    /// Index into the page's pool.
    pub(crate) candidate: usize,
    /// The policy's score; none where it has none.
    pub(crate) score: Option<f64>,
    /// Probability that this item got this slot.
    pub(crate) propensity: f64,
    /// The same, given the items in the slots above.
    pub(crate) given_prefix: f64,
}

/// A page with its order, slot 0 first.
pub(crate) struct Ranking {
    pub(crate) policy: Policy,
    /// As in the column `traffic_class`.
    pub(crate) traffic_class: &'static str,
    pub(crate) placed: Vec<Placed>,
}

impl Policy {
    /// Name in the column `policy_id`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Popularity => "popularity",
            Self::Ranker => "ranker",
        }
    }

    /// Name in the column `model_version`; only the ranker is a model.
    pub(crate) fn model_version(self) -> Option<&'static str> {
        (self == Self::Ranker).then_some("ranker-1")
    }
}

/// Orders a page by the market's policy, or at random on its share of explored pages.
pub(crate) fn rank(
    market: &Market,
    catalogue: &Catalogue,
    season: &Season,
    seed: Seed,
    page: &Page,
) -> Ranking {
    let config = market.config();
    let mut stream = Stream::new(seed.derive("policy").index(page.id as u64));
    let explored = stream.chance(config.explore_share);
    let policy = if explored {
        Policy::Random
    } else {
        config.policy
    };
    let traffic_class = if policy == Policy::Random {
        "random"
    } else {
        "prod"
    };
    let scores: Option<Vec<f64>> = match policy {
        Policy::Random => None,
        Policy::Popularity => Some(
            page.pool
                .iter()
                .map(|candidate| season.popularity(candidate.item))
                .collect(),
        ),
        Policy::Ranker => Some(
            page.pool
                .iter()
                .map(|candidate| ranker_score(catalogue, season, candidate, &mut stream))
                .collect(),
        ),
    };
    let log_weights: Vec<f64> = match &scores {
        None => vec![0.0; page.pool.len()],
        Some(scores) => scores
            .iter()
            .map(|score| score / config.temperature)
            .collect(),
    };
    let order = PlackettLuce::new(&log_weights);
    let shown = order.draw(page.slots, || stream.exponential());
    let propensities = if scores.is_none() {
        // Exact, and exactly the same for all.
        vec![1.0 / page.pool.len() as f64; shown.len()]
    } else {
        let wanted: Vec<(usize, usize)> = shown
            .iter()
            .enumerate()
            .map(|(slot, &candidate)| (candidate, slot))
            .collect();
        order.marginals(&wanted)
    };
    let given_prefix = order.given_prefix(&shown);
    let placed = shown
        .into_iter()
        .zip(propensities.into_iter().zip(given_prefix))
        .map(|(candidate, (propensity, given_prefix))| Placed {
            candidate,
            score: scores.as_ref().map(|scores| scores[candidate]),
            propensity,
            given_prefix,
        })
        .collect();
    Ranking {
        policy,
        traffic_class,
        placed,
    }
}

/// A plain production ranker: it trusts similarity and popularity, knows ratings, and knows nothing
/// about prices, sellers and the user. So there is something to learn from its logs.
fn ranker_score(
    catalogue: &Catalogue,
    season: &Season,
    candidate: &Candidate,
    stream: &mut Stream,
) -> f64 {
    let rating = catalogue.items[candidate.item as usize]
        .rating
        .unwrap_or(3.8);
    1.6 * candidate.similarity
        + 0.5 * season.popularity(candidate.item)
        + 0.3 * (rating - 3.8)
        + 0.3 * stream.normal()
}
