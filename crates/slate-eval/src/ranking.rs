//! The head of a list by score, in groups of equal scores: what every metric at k reads.

use std::ops::Range;

use rayon::prelude::*;
use slate_types::ListOffsets;

use crate::{Convention, EvalError, Ties, check};

/// Lists and what puts the rows of each in order.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) lists: &'a ListOffsets,
    pub(crate) scores: &'a [f64],
    /// For [`Ties::Docid`]: rows of equal score stand by rising number.
    pub(crate) breaks_ties: Option<&'a [u32]>,
    /// Rows that have no rank.
    pub(crate) unranked: Option<&'a [bool]>,
}

impl<'a> Order<'a> {
    /// Checks scores and cutoff, and that ties can be put in order as `convention` wants.
    pub(crate) fn new(
        lists: &'a ListOffsets,
        scores: &'a [f64],
        tie_order: Option<&'a [u32]>,
        name: &str,
        k: Option<usize>,
        convention: Convention,
    ) -> Result<Self, EvalError> {
        check::scores(scores, lists.rows())?;
        if k == Some(0) {
            return Err(EvalError::Cutoff {
                given: format!("{name}@0"),
            });
        }
        if let Some(order) = tie_order {
            check::length("tie_order", order.len(), lists.rows())?;
        } else if convention.ties == Ties::Docid {
            return Err(EvalError::Missing {
                metric: name.to_owned(),
                column: "tie_order",
            });
        }
        Ok(Self {
            lists,
            scores,
            breaks_ties: tie_order,
            unranked: None,
        })
    }

    /// Maps each list, in parallel, in list order.
    pub(crate) fn each_list<T: Send>(
        &self,
        value: impl Fn(&mut Ranking, List<'a>) -> T + Sync,
    ) -> Vec<T> {
        self.lists
            .as_slice()
            .par_windows(2)
            .with_min_len(64)
            .map_init(Ranking::default, |ranking, ends| {
                let rows = ends[0] as usize..ends[1] as usize;
                let list = List {
                    scores: &self.scores[rows.clone()],
                    tie_order: self.breaks_ties.map(|order| &order[rows.clone()]),
                    unranked: self.unranked.map(|unranked| &unranked[rows.clone()]),
                    rows,
                };
                value(ranking, list)
            })
            .collect()
    }
}

/// One list.
#[derive(Clone)]
pub(crate) struct List<'a> {
    /// Its rows among all.
    pub(crate) rows: Range<usize>,
    /// Their scores.
    pub(crate) scores: &'a [f64],
    tie_order: Option<&'a [u32]>,
    unranked: Option<&'a [bool]>,
}

/// A number that grows where `score` falls, so that sorting ascending puts the best first. Equal
/// scores, -0 and 0 among them, have equal keys. `score` is finite.
pub(crate) fn key(score: f64) -> u64 {
    // Adding 0 turns -0 into 0. Then the usual order-preserving map of floats to integers.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    !ascending
}

/// Working memory for ranking one list after another.
#[derive(Default)]
pub(crate) struct Ranking {
    rows: Vec<(u64, u32)>,
}

impl Ranking {
    /// The groups of tied rows that begin before rank `k`, best first. Each group is a slice of
    /// `(key, row in the list)` in row order; the last may reach past `k`. Unless ties count as
    /// their mean each row is a group of its own.
    pub(crate) fn head(
        &mut self,
        list: &List<'_>,
        k: usize,
        ties: Ties,
    ) -> impl Iterator<Item = &[(u64, u32)]> {
        let rows = &mut self.rows;
        rows.clear();
        let scores = list.scores.iter().zip(0..);
        let keys = scores.map(|(&score, row)| (key(score), row));
        match list.unranked {
            None => rows.extend(keys),
            Some(unranked) => rows.extend(keys.filter(|(_, row)| !unranked[*row as usize])),
        }
        let mut head = rows.len();
        if let (Ties::Docid, Some(order)) = (ties, list.tie_order) {
            rows.sort_unstable_by_key(|&(key, row)| (key, order[row as usize], row));
            head = k.min(head);
        } else {
            if k < rows.len() {
                rows.select_nth_unstable(k - 1);
                head = k;
                if ties == Ties::Mean {
                    // The group of the row at rank k may go on behind it.
                    let boundary = rows[k - 1].0;
                    for i in k..rows.len() {
                        if rows[i].0 == boundary {
                            rows.swap(i, head);
                            head += 1;
                        }
                    }
                }
            }
            rows[..head].sort_unstable();
        }
        rows[..head].chunk_by(move |a, b| ties == Ties::Mean && a.0 == b.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scores: &[f64], k: usize, ties: Ties) -> Vec<Vec<u32>> {
        let mut ranking = Ranking::default();
        let list = List {
            rows: 0..scores.len(),
            scores,
            tie_order: Some(&[9, 5, 3, 4, 1]),
            unranked: None,
        };
        ranking
            .head(&list, k, ties)
            .map(|g| g.iter().map(|&(_, row)| row).collect())
            .collect()
    }

    #[test]
    fn keys_order_as_scores_do() {
        let falling = [f64::MAX, 2.0, 1e-300, 0.0, -1e-300, -2.0, f64::MIN];
        assert!(falling.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn a_group_at_the_cutoff_stays_whole() {
        let scores = [0.5, 0.1, 0.5, 0.9, 0.5];
        assert_eq!(rows(&scores, 2, Ties::Mean), [vec![3], vec![0, 2, 4]]);
        assert_eq!(rows(&scores, 2, Ties::Stable), [vec![3], vec![0]]);
        assert_eq!(rows(&scores, 3, Ties::Docid), [vec![3], vec![4], vec![2]]);
        assert_eq!(
            rows(&scores, 9, Ties::Mean),
            [vec![3], vec![0, 2, 4], vec![1]]
        );
    }
}
