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

/// Rows that are put in order by counting.
const COUNTED: usize = 20;

/// Where a row stands: the group of rows of its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Rows before the group.
    pub(crate) start: usize,
    /// Rows up to its end.
    pub(crate) end: usize,
}

/// Scores of which something holds: a sum of comparisons, which the compiler makes wide operations of.
fn count(scores: &[f64], holds: impl Fn(f64) -> bool) -> usize {
    let count: u64 = scores.iter().map(|score| u64::from(holds(*score))).sum();
    count as usize
}

impl List<'_> {
    /// Whether scores and the order of rows say all about who stands where.
    pub(crate) fn is_plain(&self, ties: Ties) -> bool {
        self.unranked.is_none() && ties != Ties::Docid
    }

    /// Rows of larger score than a row: quicker than putting the list in order where few rows are asked
    /// for.
    pub(crate) fn larger(&self, row: usize) -> usize {
        let own = self.scores[row];
        count(self.scores, |other| other > own)
    }

    /// Where a row of a plain list stands that has so many of larger score.
    pub(crate) fn place(&self, row: usize, larger: usize, ties: Ties) -> Place {
        let own = self.scores[row];
        if ties == Ties::Mean {
            Place {
                start: larger,
                end: larger + count(self.scores, |other| other == own),
            }
        } else {
            let start = larger + count(&self.scores[..row], |other| other == own);
            Place {
                start,
                end: start + 1,
            }
        }
    }

    /// Rows that have a rank.
    pub(crate) fn ranked(&self) -> usize {
        let unranked = self
            .unranked
            .into_iter()
            .flatten()
            .filter(|unranked| **unranked);
        self.scores.len() - unranked.count()
    }
}

/// Working memory for ranking one list after another.
#[derive(Default)]
pub(crate) struct Ranking {
    rows: Vec<(u64, u32)>,
    keys: Vec<u64>,
    selected: Vec<u64>,
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
        let head = if list.is_plain(ties) && k < list.scores.len() {
            self.pick(list.scores, k, ties)
        } else {
            self.sort(list, k, ties)
        };
        self.rows[..head].chunk_by(move |a, b| ties == Ties::Mean && a.0 == b.0)
    }

    /// Sorts the rows up to rank `k`; how many there are of them.
    fn sort(&mut self, list: &List<'_>, k: usize, ties: Ties) -> usize {
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
            return k.min(head);
        }
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
        head
    }

    /// As [`Ranking::sort`], for `k` below the length of a list: the k-th key is found among keys
    /// alone, and only rows up to it are sorted.
    fn pick(&mut self, scores: &[f64], k: usize, ties: Ties) -> usize {
        self.keys.clear();
        self.keys.extend(scores.iter().map(|score| key(*score)));
        self.selected.clear();
        self.selected.extend_from_slice(&self.keys);
        let (_, worst, _) = self.selected.select_nth_unstable(k - 1);
        // Written always and kept by the count: which rows are kept is not to be guessed.
        self.rows.resize(scores.len(), (0, 0));
        let mut kept = 0;
        for (row, &key) in (0..).zip(&self.keys) {
            self.rows[kept] = (key, row);
            kept += usize::from(key <= *worst);
        }
        if kept <= COUNTED {
            // Each row's place is the number of rows before it, again without guessing.
            let mut placed = [(0, 0); COUNTED];
            let rows = &self.rows[..kept];
            for (at, &(key, row)) in rows.iter().enumerate() {
                let better: usize = rows.iter().map(|other| usize::from(other.0 < key)).sum();
                let tied: usize = rows[..at]
                    .iter()
                    .map(|other| usize::from(other.0 == key))
                    .sum();
                placed[better + tied] = (key, row);
            }
            self.rows[..kept].copy_from_slice(&placed[..kept]);
        } else {
            self.rows[..kept].sort_unstable();
        }
        if ties == Ties::Mean { kept } else { k }
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
    fn picking_the_best_is_sorting() {
        let seed = slate_types::Seed(3);
        for case in 0..400 {
            let draw = seed.index(case);
            let scores: Vec<f64> = (0..2 + case % 60)
                .map(|i| (draw.index(i).unit() * (1 + case % 40) as f64).floor())
                .collect();
            for k in 1..scores.len() {
                for ties in [Ties::Mean, Ties::Stable] {
                    let list = List {
                        rows: 0..scores.len(),
                        scores: &scores,
                        tie_order: None,
                        unranked: None,
                    };
                    let (mut picked, mut sorted) = (Ranking::default(), Ranking::default());
                    let head = picked.pick(&scores, k, ties);
                    assert_eq!(head, sorted.sort(&list, k, ties));
                    assert_eq!(picked.rows[..head], sorted.rows[..head], "{scores:?} {k}");
                }
            }
        }
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
