//! The head of a list by score, in groups of equal scores: what every metric at k reads.

use crate::Ties;

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
    /// `(key, row in the list)` in row order; the last may reach past `k`. With [`Ties::Stable`]
    /// each row is a group of its own.
    pub(crate) fn head(
        &mut self,
        scores: &[f64],
        k: usize,
        ties: Ties,
    ) -> impl Iterator<Item = &[(u64, u32)]> {
        let rows = &mut self.rows;
        rows.clear();
        rows.extend(
            scores
                .iter()
                .zip(0..)
                .map(|(&score, row)| (key(score), row)),
        );
        let mut head = rows.len();
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
        rows[..head].chunk_by(move |a, b| ties == Ties::Mean && a.0 == b.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scores: &[f64], k: usize, ties: Ties) -> Vec<Vec<u32>> {
        let mut ranking = Ranking::default();
        ranking
            .head(scores, k, ties)
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
        assert_eq!(
            rows(&scores, 9, Ties::Mean),
            [vec![3], vec![0, 2, 4], vec![1]]
        );
    }
}
