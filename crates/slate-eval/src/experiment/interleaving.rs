//! Two rankers in one list: a click is a vote.
//!
//! Interleaving needs far fewer lists than an experiment with arms, because both rankers answer the
//! same page; what it measures is preference, not money. *Team draft* (Radlinski et al. 2008) lets the
//! rankers pick in turn, a coin deciding who begins each round; *balanced* (Joachims 2003) merges from
//! the top, a coin deciding who begins. Balanced credit as first published favours a ranker at times;
//! here an item counts by its rank in each list down to the depth that both were read to.

use slate_types::Seed;

/// How two orders are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interleaving {
    /// Picks in turn; each item belongs to the ranker that picked it.
    TeamDraft,
    /// From the top of both.
    Balanced,
}

/// What the clicks on one merged list say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The first order.
    First,
    /// The second order.
    Second,
    /// Neither.
    Tie,
}

/// A merged list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Items in the order shown.
    pub items: Vec<u32>,
    /// Under team draft: whether the second order picked it.
    pub of_second: Vec<bool>,
}

impl Interleaving {
    /// Merges two orders of the same items, or of the first of them, down to `depth`.
    pub fn merge(self, first: &[u32], second: &[u32], depth: usize, seed: Seed) -> Merged {
        let mut merged = Merged {
            items: Vec::new(),
            of_second: Vec::new(),
        };
        let coin = |round: u64| seed.index(round).unit() < 0.5;
        let next =
            |order: &[u32], taken: &[u32]| order.iter().copied().find(|i| !taken.contains(i));
        let mut round = 0;
        while merged.items.len() < depth {
            let second_begins = match self {
                Self::TeamDraft => coin(round),
                Self::Balanced => coin(0),
            };
            round += 1;
            let before = merged.items.len();
            for of_second in [second_begins, !second_begins] {
                let order = if of_second { second } else { first };
                let pick = match self {
                    Self::TeamDraft => next(order, &merged.items),
                    // The item at this depth, unless the other order had it already.
                    Self::Balanced => {
                        let at = order.get(round as usize - 1).copied();
                        if at.is_none() && merged.items.len() == before {
                            next(order, &merged.items)
                        } else {
                            at.filter(|item| !merged.items.contains(item))
                        }
                    }
                };
                if let Some(item) = pick
                    && merged.items.len() < depth
                {
                    merged.items.push(item);
                    merged.of_second.push(of_second);
                }
            }
            let longest = first.len().max(second.len());
            if merged.items.len() == before && round as usize >= longest {
                break;
            }
        }
        merged
    }
}

/// Which order the clicked items (places of the merged list) speak for.
pub fn prefer(
    kind: Interleaving,
    merged: &Merged,
    first: &[u32],
    second: &[u32],
    clicked: &[usize],
) -> Preference {
    let (a, b) = match kind {
        Interleaving::TeamDraft => {
            let of_second = clicked.iter().filter(|&&at| merged.of_second[at]).count();
            (clicked.len() - of_second, of_second)
        }
        Interleaving::Balanced => {
            let Some(&lowest) = clicked.iter().max() else {
                return Preference::Tie;
            };
            let rank = |order: &[u32], item: u32| order.iter().position(|&i| i == item);
            let reach = |item: u32| {
                let ranks = [rank(first, item), rank(second, item)];
                ranks.into_iter().flatten().min().unwrap_or(usize::MAX)
            };
            // How far down the better of both lists the user has read.
            let depth = reach(merged.items[lowest]);
            let hits = |order: &[u32]| {
                let near =
                    |&&at: &&usize| rank(order, merged.items[at]).is_some_and(|rank| rank <= depth);
                clicked.iter().filter(near).count()
            };
            (hits(first), hits(second))
        }
    };
    match a.cmp(&b) {
        std::cmp::Ordering::Greater => Preference::First,
        std::cmp::Ordering::Less => Preference::Second,
        std::cmp::Ordering::Equal => Preference::Tie,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_shown_once_and_both_begin_equally_often() {
        let (first, second) = ([1, 2, 3, 4], [3, 1, 4, 2]);
        for kind in [Interleaving::TeamDraft, Interleaving::Balanced] {
            let mut begins = 0;
            for i in 0..4000 {
                let merged = kind.merge(&first, &second, 4, Seed(5).index(i));
                let mut items = merged.items.clone();
                items.sort_unstable();
                assert_eq!(items, [1, 2, 3, 4], "{kind:?}");
                begins += u32::from(merged.items[0] == 3);
            }
            assert!((1870..2130).contains(&begins), "{kind:?} {begins}");
            assert_eq!(kind.merge(&first, &second, 2, Seed(1)).items.len(), 2);
        }
    }

    /// Clicks that know nothing of the orders prefer neither, under team draft.
    #[test]
    fn blind_clicks_prefer_neither() {
        let (first, second) = ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3]);
        let mut score = 0_i32;
        let n = 20_000;
        for i in 0..n {
            let seed = Seed(8).index(i);
            let kind = Interleaving::TeamDraft;
            let merged = kind.merge(&first, &second, 5, seed.derive("merge"));
            let clicked = [(seed.derive("click").unit() * 5.0) as usize];
            score += match prefer(kind, &merged, &first, &second, &clicked) {
                Preference::First => 1,
                Preference::Second => -1,
                Preference::Tie => 0,
            };
        }
        assert!(f64::from(score).abs() < 4.0 * (n as f64).sqrt(), "{score}");
    }

    /// A user who wants one item prefers the order that has it higher.
    #[test]
    fn the_order_with_the_wanted_item_on_top_wins() {
        let (first, second) = ([7, 1, 2, 3], [1, 2, 3, 7]);
        for kind in [Interleaving::TeamDraft, Interleaving::Balanced] {
            let mut wins = 0_i32;
            for i in 0..2000 {
                let merged = kind.merge(&first, &second, 4, Seed(2).index(i));
                let at = merged.items.iter().position(|&item| item == 7).unwrap();
                wins += match prefer(kind, &merged, &first, &second, &[at]) {
                    Preference::First => 1,
                    Preference::Second => -1,
                    Preference::Tie => 0,
                };
            }
            assert!(wins > 1500, "{kind:?} {wins}");
        }
    }
}
