//! Expected reciprocal rank: where a reader who goes down the list and may stop at every row stops
//! (Chapelle et al. 2009).
//!
//! Input: one finite score and one grade per row. A reader stops at a row of grade g with
//! probability `(2^g - 1) / 2^most`. Output: the mean of one over the rank where he stops, per list,
//! in `[0, 1)`; larger is better. Ties are exact expectations over all orders of the tied rows.
//!
//! ```
//! use slate_eval::{Convention, err};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([2])?;
//! let values = err(&lists, &[0.9, 0.1], &[1, 2], None, 2, &Convention::default())?;
//! assert_eq!(values, [Some(0.25 + 0.75 * 0.75 / 2.0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use slate_types::ListOffsets;

use crate::ranking::Order;
use crate::{Convention, EvalError, check};

/// Computes ERR of each list, over its first `k` ranks or, with `None`, all of them. `most` is the
/// largest grade there is.
///
/// # Errors
/// [`EvalError::Length`], [`EvalError::NoRows`] and [`EvalError::NotFinite`] for the columns;
/// [`EvalError::Grade`] for a grade above `most`; [`EvalError::Cutoff`] for `k` of 0.
pub fn err(
    lists: &ListOffsets,
    scores: &[f64],
    grades: &[u8],
    k: Option<usize>,
    most: u8,
    convention: &Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    let order = Order::new(lists, scores, None, "err", k, *convention)?;
    of_order(&order, grades, k, most, *convention)
}

/// As [`err()`].
pub(crate) fn of_order(
    order: &Order<'_>,
    grades: &[u8],
    k: Option<usize>,
    most: u8,
    convention: Convention,
) -> Result<Vec<Option<f64>>, EvalError> {
    check::length("grades", grades.len(), order.lists.rows())?;
    if let Some(row) = grades.iter().position(|&grade| grade > most) {
        let value = grades[row];
        return Err(EvalError::Grade { row, value, most });
    }
    let k = k.unwrap_or(usize::MAX);
    let going_on = |grade: u8| 1.0 - (f64::from(grade).exp2() - 1.0) / f64::from(most).exp2();
    Ok(order.each_list(|ranking, list| {
        let grades = &grades[list.rows.clone()];
        if grades.iter().all(|&grade| grade == 0) {
            return convention.empty.value();
        }
        let (mut sum, mut reach, mut rank) = (0.0, 1.0, 0);
        let mut means = Vec::new();
        for group in ranking.head(&list, k, convention.ties) {
            let going_on = group.iter().map(|&(_, row)| going_on(grades[row as usize]));
            let inside = group.len().min(k - rank);
            mean_products(going_on, inside, &mut means);
            for i in 0..inside {
                sum += reach * (means[i] - means[i + 1]) / (rank + i + 1) as f64;
            }
            reach *= means[inside];
            rank += group.len();
        }
        Some(sum)
    }))
}

/// Fills `means[i]` with the mean product over all choices of i of the `values`, for i up to
/// `most`: the probability to go past i tied rows in random order.
fn mean_products(values: impl Iterator<Item = f64>, most: usize, means: &mut Vec<f64>) {
    means.clear();
    means.resize(most + 1, 0.0);
    means[0] = 1.0;
    for (before, value) in values.enumerate() {
        let size = before as f64 + 1.0;
        for i in (1..=most.min(before + 1)).rev() {
            // The value is among the i chosen with probability i / size.
            let chosen = i as f64 / size;
            means[i] = (1.0 - chosen) * means[i] + chosen * value * means[i - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_exact_expectations() {
        let lists = ListOffsets::from_lengths([4]).unwrap();
        let convention = Convention::default();
        let grades = [0, 3, 1, 4];
        for k in 1..=4 {
            let tied = err(&lists, &[0.5; 4], &grades, Some(k), 4, &convention).unwrap();
            let mut mean = 0.0;
            for order in 0..24_usize {
                // The order-th permutation, by its factorial digits.
                let mut rest = vec![0, 1, 2, 3];
                let mut scores = [0.0; 4];
                let mut digits = order;
                for place in 0..4 {
                    let row = rest.remove(digits % rest.len());
                    digits /= rest.len() + 1;
                    scores[row] = -f64::from(place);
                }
                let value = err(&lists, &scores, &grades, Some(k), 4, &convention).unwrap();
                mean += value[0].unwrap() / 24.0;
            }
            assert!(
                (tied[0].unwrap() - mean).abs() < 1e-12,
                "{k} {tied:?} {mean}"
            );
        }
    }

    #[test]
    fn a_grade_above_the_most_is_refused() {
        let lists = ListOffsets::from_lengths([2]).unwrap();
        let error = err(
            &lists,
            &[0.0, 1.0],
            &[0, 5],
            None,
            4,
            &Convention::default(),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "`grades` at row 1 is 5, expected a whole number from 0 to 4"
        );
    }
}
