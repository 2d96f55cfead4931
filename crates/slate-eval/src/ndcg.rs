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

use rayon::prelude::*;
use slate_types::ListOffsets;

use crate::ranking::Ranking;
use crate::{Convention, EvalError, check};

/// Computes NDCG of each list, over its first `k` ranks or, with `None`, all of them.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`] and [`EvalError::NotFinite`] for the columns;
/// [`EvalError::Cutoff`] for `k` of 0.
pub fn ndcg(
    lists: &ListOffsets,
    scores: &[f64],
    grades: &[u8],
    k: Option<usize>,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    check::scores(scores, lists.rows())?;
    check::length("grades", grades.len(), lists.rows())?;
    if k == Some(0) {
        return Err(EvalError::Cutoff {
            given: "ndcg@0".to_owned(),
        });
    }
    let longest = lists.iter().map(|rows| rows.len()).max().unwrap_or(0);
    let tables = Tables::new(k.map_or(longest, |k| k.min(longest)), *convention);
    Ok(lists
        .as_slice()
        .par_windows(2)
        .with_min_len(64)
        .map_init(Scratch::default, |scratch, ends| {
            let rows = ends[0] as usize..ends[1] as usize;
            of_list(
                &scores[rows.clone()],
                &grades[rows],
                &tables,
                *convention,
                scratch,
            )
        })
        .collect())
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

struct Scratch {
    ranking: Ranking,
    /// Rows of each grade; all 0 between lists.
    counts: [u32; 256],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            ranking: Ranking::default(),
            counts: [0; 256],
        }
    }
}

fn of_list(
    scores: &[f64],
    grades: &[u8],
    tables: &Tables,
    convention: Convention,
    scratch: &mut Scratch,
) -> Option<f64> {
    let mut best = 0;
    for &grade in grades {
        scratch.counts[usize::from(grade)] += 1;
        best = best.max(grade);
    }
    // The ideal order by counting: the best grades take the first ranks.
    let (mut ideal, mut rank) = (0.0, 0);
    for grade in (0..=usize::from(best)).rev() {
        let end = rank + scratch.counts[grade] as usize;
        ideal += tables.gain[grade] * tables.discounts(rank, end);
        rank = end;
        scratch.counts[grade] = 0;
    }
    if best == 0 {
        return convention.empty.value();
    }

    let (mut sum, mut rank) = (0.0, 0);
    for group in scratch
        .ranking
        .head(scores, tables.ranks(), convention.ties)
    {
        let end = rank + group.len();
        let gains: f64 = group
            .iter()
            .map(|&(_, row)| tables.gain[usize::from(grades[row as usize])])
            .sum();
        if gains > 0.0 {
            // Each order of a tied group is equally likely, so each rank gets the mean gain.
            sum += gains / group.len() as f64 * tables.discounts(rank, end);
        }
        rank = end;
    }
    // Rounding may lift a perfect order a hair above 1.
    Some((sum / ideal).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ties;
    use serde_json::Value;

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
        let none = ListOffsets::from_lengths([]).unwrap();
        assert_eq!(
            ndcg(&none, &[], &[], None, &convention),
            Err(EvalError::NoRows)
        );
    }
}
