//! Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002).
//!
//! Input: one finite score and one grade (0 to 255) per row. Output: one number in `[0, 1]` per
//! list, larger is better; `None` for a list without a grade above 0 under `empty=skip`. The
//! discount of rank r (from 1) is `1 / log2(1 + r)`; gain and ideal gain are both cut at k.
//!
//! ```
//! use slate_eval::{Convention, ndcg};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([3, 2])?;
//! let values = ndcg(&lists, &[0.9, 0.8, 0.1, 0.5, 0.4], &[1, 0, 0, 0, 0], None,
//!     &Convention::default())?;
//! assert_eq!(values, [Some(1.0), None]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use slate_types::ListOffsets;

use crate::ranking::{List, Order, Place, Ranking};
use crate::{Convention, EvalError, Ties, check};

/// Relevant rows up to which only these are put in order.
const FEW: usize = 20;

/// Computes NDCG of each list, over its first `k` ranks or, with `None`, all of them.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`] and [`EvalError::NotFinite`] for the columns;
/// [`EvalError::Cutoff`] for `k` of 0; [`EvalError::Missing`] for ties by id, which only
/// [`crate::evaluate`] can break.
pub fn ndcg(
    lists: &ListOffsets,
    scores: &[f64],
    grades: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "ndcg", k, *convention)?;
    of_order(&order, grades, k, *convention, true)
}

/// Computes DCG of each list, as [`ndcg`] but not divided by that of the ideal order: 0 where no
/// row is relevant.
///
/// # Errors
/// As [`ndcg`].
pub fn dcg(
    lists: &ListOffsets,
    scores: &[f64],
    grades: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "dcg", k, *convention)?;
    of_order(&order, grades, k, *convention, false)
}

/// NDCG where `normalised`, or else DCG.
pub(crate) fn of_order(
    order: &Order<'_>,
    grades: &[u8],
    k: Option<usize>,
    convention: Convention,
    normalised: bool,
) -> Result<Vec<Option<f64>>, EvalError> {
    check::length("grades", grades.len(), order.lists.rows())?;
    let longest = order.lists.iter().map(|rows| rows.len()).max().unwrap_or(0);
    let tables = Tables::new(k.map_or(longest, |k| k.min(longest)), convention);
    Ok(order.each_list(|ranking, list| {
        let grades = &grades[list.rows.clone()];
        let ideal = tables.ideal(grades);
        if normalised && ideal == 0.0 {
            return convention.empty.value();
        }
        let sum = tables.sum(&list, grades, convention, ranking);
        // Rounding may lift a perfect order a hair above 1.
        Some(if normalised {
            (sum / ideal).min(1.0)
        } else {
            sum
        })
    }))
}

/// What all lists share.
struct Tables {
    /// Gain of each grade.
    gain: Vec<f64>,
    /// `discount[i]` is the sum of the discounts of the first `i` ranks, up to the cutoff.
    discount: Vec<f64>,
}

impl Tables {
    fn new(ranks: usize, convention: Convention) -> Self {
        let gain = (0..=u8::MAX)
            .map(|grade| convention.gain.of(grade))
            .collect();
        let mut discount = vec![0.0; ranks + 1];
        for rank in 0..ranks {
            discount[rank + 1] = discount[rank] + 1.0 / (rank as f64 + 2.0).log2();
        }
        Self { gain, discount }
    }

    /// Ranks that count.
    fn ranks(&self) -> usize {
        self.discount.len() - 1
    }

    /// Sum of the discounts of ranks `start..end`, those past the cutoff being 0.
    fn discounts(&self, start: usize, end: usize) -> f64 {
        self.discount[end.min(self.ranks())] - self.discount[start.min(self.ranks())]
    }
}

impl Tables {
    /// DCG of the ideal order, by counting: the best grades take the first ranks.
    fn ideal(&self, grades: &[u8]) -> f64 {
        let best = usize::from(grades.iter().copied().max().unwrap_or(0));
        if best < 8 {
            self.ideal_of::<8>(grades, best)
        } else {
            self.ideal_of::<256>(grades, best)
        }
    }

    /// The same for grades up to `best`, below `GRADES`: fewer counters are sooner set to 0.
    fn ideal_of<const GRADES: usize>(&self, grades: &[u8], best: usize) -> f64 {
        // Four counters for each grade, so that no addition waits for the one before it.
        let mut counts = [[0_u32; 4]; GRADES];
        let quads = grades.chunks_exact(4);
        for &grade in quads.remainder() {
            counts[usize::from(grade)][0] += 1;
        }
        for quad in quads {
            for (place, &grade) in quad.iter().enumerate() {
                counts[usize::from(grade)][place] += 1;
            }
        }
        let (mut ideal, mut rank) = (0.0, 0);
        for grade in (1..=best).rev() {
            let end = rank + counts[grade].iter().sum::<u32>() as usize;
            ideal += self.gain[grade] * self.discounts(rank, end);
            rank = end;
        }
        ideal
    }

    /// DCG of the order by score where few rows are relevant: only these need a place. The same to the bit
    /// as that of the whole order. None for other lists.
    fn sum_of_few(&self, list: &List<'_>, grades: &[u8], ties: Ties) -> Option<f64> {
        let mut relevant = [0; FEW + 1];
        let mut count = 0;
        // Written always and kept by the count: which rows are kept is not to be guessed.
        for (row, &grade) in grades.iter().enumerate() {
            relevant[count.min(FEW)] = row;
            count += usize::from(grade > 0);
        }
        if count > FEW || !list.is_plain(ties) {
            return None;
        }
        let mut places = [(Place { start: 0, end: 0 }, 0.0); FEW];
        let mut inside = 0;
        for &row in &relevant[..count] {
            let larger = list.larger(row);
            if larger < self.ranks() {
                let place = list.place(row, larger, ties);
                places[inside] = (place, self.gain[usize::from(grades[row])]);
                inside += 1;
            }
        }
        let places = &mut places[..inside];
        places.sort_by_key(|(place, _)| place.start);
        let groups = places.chunk_by(|(a, _), (b, _)| a.start == b.start);
        let mut sum = 0.0;
        for group in groups {
            let Place { start, end } = group[0].0;
            let gains: f64 = group.iter().map(|(_, gain)| gain).sum();
            if gains > 0.0 {
                sum += gains / (end - start) as f64 * self.discounts(start, end);
            }
        }
        Some(sum)
    }

    /// DCG of the order by score.
    fn sum(
        &self,
        list: &List<'_>,
        grades: &[u8],
        convention: Convention,
        ranking: &mut Ranking,
    ) -> f64 {
        let few = self.sum_of_few(list, grades, convention.ties);
        few.unwrap_or_else(|| self.sum_of_all(list, grades, convention, ranking))
    }

    /// The same by putting the first ranks in order.
    fn sum_of_all(
        &self,
        list: &List<'_>,
        grades: &[u8],
        convention: Convention,
        ranking: &mut Ranking,
    ) -> f64 {
        let (mut sum, mut rank) = (0.0, 0);
        for group in ranking.head(list, self.ranks(), convention.ties) {
            let end = rank + group.len();
            let gains: f64 = group
                .iter()
                .map(|&(_, row)| self.gain[usize::from(grades[row as usize])])
                .sum();
            if gains > 0.0 {
                // Each order of a tied group is equally likely, so each rank gets the mean gain.
                sum += gains / group.len() as f64 * self.discounts(rank, end);
            }
            rank = end;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn few_relevant_rows_are_summed_as_the_whole_order_is() {
        let seed = slate_types::Seed(5);
        let mut few = 0;
        for case in 0..600 {
            let draw = seed.index(case);
            let rows = 1 + case % 70;
            let scores: Vec<f64> = (0..rows)
                .map(|row| (draw.index(row).unit() * (1 + case % 50) as f64).floor() - 3.0)
                .collect();
            let share = (case % 7) as f64 / 6.0;
            let grade = draw.derive("grade");
            let grades: Vec<u8> = (0..rows)
                .map(|row| (grade.index(row).unit() * share * 4.0) as u8)
                .collect();
            let lists = ListOffsets::from_lengths([rows]).unwrap();
            for ties in [Ties::Mean, Ties::Stable] {
                let convention = Convention {
                    ties,
                    ..Convention::default()
                };
                let order = Order::new(&lists, &scores, None, "ndcg", None, convention).unwrap();
                for k in [1, 3, 10, rows as usize] {
                    let tables = Tables::new(k.min(rows as usize), convention);
                    few += order.each_list(|ranking, list| {
                        let all = tables.sum_of_all(&list, &grades, convention, ranking);
                        let own = tables.sum_of_few(&list, &grades, ties);
                        if let Some(own) = own {
                            assert_eq!(own.to_bits(), all.to_bits(), "{scores:?} {grades:?} {k}");
                        }
                        usize::from(own.is_some())
                    })[0];
                }
            }
        }
        assert!((1000..4800).contains(&few), "{few} of both kinds");
    }

    /// From `tests/data/gold_ndcg.py` and `gold_ndcg2.py`: scikit-learn 1.9.1, LightGBM 4.7.0 and
    /// a plain-Python NDCG over 16 lists.
    fn check_golden(suffix: &str, prefix: &str, convention: Convention) -> usize {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/ndcg.json")).unwrap();
        let mut checked = 0;
        for list in golden["lists"].as_array().unwrap() {
            let scores: Vec<f64> = serde_json::from_value(list["score"].clone()).unwrap();
            let grades: Vec<u8> = serde_json::from_value(list["rel"].clone()).unwrap();
            let lists = ListOffsets::from_lengths([scores.len() as u64]).unwrap();
            for k in [Some(1), Some(3), Some(10), None] {
                let at = k.map_or(String::new(), |k| format!("@{k}"));
                let key = format!("{prefix}{at}_{suffix}");
                let Some(expected) = list.get(&key) else {
                    continue;
                };
                let ours = ndcg(&lists, &scores, &grades, k, &convention).unwrap()[0];
                match (expected.as_f64(), ours) {
                    (Some(expected), Some(ours)) => {
                        let place = format!("{} {key}: {ours} {expected}", list["name"]);
                        assert!((ours - expected).abs() < 1e-9, "{place}");
                        checked += 1;
                    }
                    // scikit-learn refuses lists of one row; the plain one has no value for empty.
                    (None, ours) => {
                        assert!(
                            scores.len() == 1 || ours.is_none(),
                            "{} {key}",
                            list["name"]
                        );
                    }
                    (Some(_), None) => panic!("{} {key} has no value", list["name"]),
                }
            }
        }
        checked
    }

    #[test]
    fn equals_scikit_learn_with_mean_ties() {
        let linear = Convention::sklearn();
        assert_eq!(check_golden("lin_avg_ties", "sklearn_ndcg", linear), 56);
        let exponential = Convention {
            gain: crate::Gain::Exponential,
            ..linear
        };
        assert_eq!(
            check_golden("exp_avg_ties", "sklearn_ndcg", exponential),
            56
        );
    }

    #[test]
    fn equals_lightgbm() {
        let exponential = Convention::lightgbm();
        assert_eq!(check_golden("exp", "lightgbm_ndcg", exponential), 48);
        let linear = Convention {
            gain: crate::Gain::Linear,
            ..exponential
        };
        assert_eq!(check_golden("lin", "lightgbm_ndcg", linear), 48);
    }

    /// Documents of equal score stand by falling name, names being `d0`, `d1`, … in row order.
    #[test]
    fn equals_trec_eval() {
        let golden: Value = serde_json::from_str(include_str!("../tests/data/ndcg.json")).unwrap();
        let mut checked = 0;
        for list in golden["lists"].as_array().unwrap() {
            let scores: Vec<f64> = serde_json::from_value(list["score"].clone()).unwrap();
            let grades: Vec<u8> = serde_json::from_value(list["rel"].clone()).unwrap();
            let rows = scores.len();
            let mut falling: Vec<usize> = (0..rows).collect();
            falling.sort_by_key(|row| std::cmp::Reverse(format!("d{row}")));
            let mut place = vec![0; rows];
            for (at, &row) in falling.iter().enumerate() {
                place[row] = at as u32;
            }
            let lists = ListOffsets::from_lengths([rows as u64]).unwrap();
            let convention = Convention::trec_eval();
            let order = Order::new(&lists, &scores, Some(&place), "ndcg", None, convention);
            let order = order.unwrap();
            for (k, at) in [
                (Some(1), "@1"),
                (Some(3), "@3"),
                (Some(10), "@10"),
                (None, ""),
            ] {
                let ours = of_order(&order, &grades, k, convention, true).unwrap()[0];
                for key in ["trec_eval_ndcg", "ir_measures_nDCG"] {
                    let expected = list[format!("{key}{at}")].as_f64().unwrap();
                    let own = ours.unwrap_or(0.0);
                    assert!(
                        (own - expected).abs() < 1e-9,
                        "{} {key}{at} {own}",
                        list["name"]
                    );
                    checked += 1;
                }
            }
        }
        assert_eq!(checked, 128);
    }

    #[test]
    fn equals_plain_python_with_stable_ties() {
        let exponential = Convention {
            ties: Ties::Stable,
            ..Convention::default()
        };
        assert_eq!(check_golden("exp_tie_index", "ndcg", exponential), 56);
        let linear = Convention {
            gain: crate::Gain::Linear,
            ..exponential
        };
        assert_eq!(check_golden("lin_tie_index", "ndcg", linear), 56);
    }

    #[test]
    fn bad_columns_are_named() {
        let lists = ListOffsets::from_lengths([2]).unwrap();
        let convention = Convention::default();
        let error = ndcg(&lists, &[0.0, f64::NAN], &[0, 1], None, &convention).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scores` at row 1 is NaN, expected a finite number"
        );
        let error = ndcg(&lists, &[0.0, 1.0], &[1], None, &convention).unwrap_err();
        assert_eq!(error.to_string(), "`grades` has 1 rows, expected 2");
        assert!(ndcg(&lists, &[0.0, 1.0], &[1, 0], Some(0), &convention).is_err());
        let values = dcg(&lists, &[0.0, 1.0], &[2, 1], None, &convention).unwrap();
        assert_eq!(values, [Some(1.0 + 3.0 / 3.0_f64.log2())]);
        let none = ListOffsets::from_lengths([]).unwrap();
        assert_eq!(
            ndcg(&none, &[], &[], None, &convention),
            Err(EvalError::NoRows)
        );
    }
}
