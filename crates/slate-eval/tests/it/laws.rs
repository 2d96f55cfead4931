//! Laws of the ranking metrics, for any lists.

use proptest::prelude::*;
use slate_eval::{
    Convention, Empty, Gain, Ties, average_precision, err, hit, list_auc, mrr, ndcg, precision,
    ptr, recall,
};
use slate_types::ListOffsets;

/// Lists of (score, grade) rows; few distinct scores, so that ties are common.
fn lists() -> impl Strategy<Value = Vec<Vec<(i8, u8)>>> {
    prop::collection::vec(prop::collection::vec((-4_i8..4, 0_u8..5), 1..14), 1..6)
}

fn conventions() -> impl Strategy<Value = Convention> {
    (
        prop::sample::select(vec![Gain::Exponential, Gain::Linear]),
        prop::sample::select(vec![Ties::Mean, Ties::Stable]),
        prop::sample::select(vec![Empty::Skip, Empty::Zero, Empty::One]),
    )
        .prop_map(|(gain, ties, empty)| Convention {
            gain,
            ties,
            empty,
            ..Convention::default()
        })
}

struct Columns {
    lists: ListOffsets,
    scores: Vec<f64>,
    grades: Vec<u8>,
    labels: Vec<u8>,
}

impl Columns {
    fn new(rows: &[Vec<(i8, u8)>]) -> Self {
        let flat: Vec<(i8, u8)> = rows.concat();
        Self {
            lists: ListOffsets::from_lengths(rows.iter().map(|list| list.len() as u64)).unwrap(),
            scores: flat.iter().map(|row| f64::from(row.0)).collect(),
            grades: flat.iter().map(|row| row.1).collect(),
            labels: flat.iter().map(|row| u8::from(row.1 > 2)).collect(),
        }
    }

    /// All ranking metrics at k, list by list.
    fn all(&self, k: usize, convention: Convention) -> Vec<Vec<Option<f64>>> {
        let (lists, scores, labels) = (&self.lists, &self.scores, &self.labels);
        vec![
            ndcg(lists, scores, &self.grades, Some(k), &convention).unwrap(),
            ndcg(lists, scores, &self.grades, None, &convention).unwrap(),
            hit(lists, scores, labels, k, &convention).unwrap(),
            mrr(lists, scores, labels, None, &convention).unwrap(),
            precision(lists, scores, labels, k, &convention).unwrap(),
            recall(lists, scores, labels, k, &convention).unwrap(),
            average_precision(lists, scores, labels, Some(k), &convention).unwrap(),
            err(lists, scores, &self.grades, Some(k), 7, &convention).unwrap(),
            list_auc(lists, scores, labels).unwrap(),
            mrr(lists, scores, labels, Some(k), &convention).unwrap(),
            ptr(lists, scores, labels, k, &convention)
                .unwrap()
                .iter()
                .map(|count| Some(count.positives / count.placements as f64))
                .collect(),
        ]
    }
}

fn close(a: &[Vec<Option<f64>>], b: &[Vec<Option<f64>>]) -> bool {
    a.concat()
        .iter()
        .zip(b.concat())
        .all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => *a == b,
        })
}

proptest! {
    #[test]
    fn values_are_from_zero_to_one(rows in lists(), k in 1_usize..16, c in conventions()) {
        for value in Columns::new(&rows).all(k, c).concat().into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&value), "{}", value);
        }
    }

    #[test]
    fn a_rising_map_of_the_score_changes_nothing(
        rows in lists(), k in 1_usize..16, c in conventions()
    ) {
        let plain = Columns::new(&rows);
        let mut mapped = Columns::new(&rows);
        for score in &mut mapped.scores {
            *score = (0.3 * *score).exp() - 7.0;
        }
        prop_assert_eq!(plain.all(k, c), mapped.all(k, c));
    }

    #[test]
    fn with_mean_ties_row_order_changes_nothing(rows in lists(), k in 1_usize..16) {
        let convention = Convention::default();
        let turned: Vec<Vec<(i8, u8)>> =
            rows.iter().map(|list| list.iter().rev().copied().collect()).collect();
        let (a, b) = (Columns::new(&rows), Columns::new(&turned));
        prop_assert!(close(&a.all(k, convention), &b.all(k, convention)));
    }

    #[test]
    fn the_perfect_order_is_one_and_no_order_is_better(
        rows in lists(), k in 1_usize..16, c in conventions()
    ) {
        let mut columns = Columns::new(&rows);
        let any = ndcg(&columns.lists, &columns.scores, &columns.grades, Some(k), &c).unwrap();
        columns.scores = columns.grades.iter().map(|grade| f64::from(*grade)).collect();
        let best = ndcg(&columns.lists, &columns.scores, &columns.grades, Some(k), &c).unwrap();
        for (list, (any, best)) in any.iter().zip(&best).enumerate() {
            prop_assert!(any <= best);
            if columns.grades[columns.lists.range(list)].iter().any(|grade| *grade > 0) {
                prop_assert!((best.unwrap() - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn without_ties_ptr_counts_the_first_k(
        grades in prop::collection::vec(0_u8..2, 1..20), k in 1_usize..24
    ) {
        let lists = ListOffsets::from_lengths([grades.len() as u64]).unwrap();
        let scores: Vec<f64> = (0..grades.len()).map(|row| ((row * 7919) % 1009) as f64).collect();
        let mut order: Vec<usize> = (0..grades.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let bought = order.iter().take(k).filter(|&&row| grades[row] == 1).count();
        let counts = ptr(&lists, &scores, &grades, k, &Convention::default()).unwrap();
        prop_assert_eq!(counts[0].positives, bought as f64);
        prop_assert_eq!(counts[0].placements, k.min(grades.len()));
    }
}
