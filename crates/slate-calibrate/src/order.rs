//! Ranking by calibrated probability without losing what the score knew.

use std::cmp::Ordering;

use slate_types::{Probabilities, Scores};

/// Sorts rows by falling probability, rows of equal probability by falling score, and what is then
/// still tied by row. Returns row numbers, best first.
///
/// An isotonic map ties rows that the score told apart; sorted by probability alone they would come
/// in any order and the ranking would lose. A NaN score comes last among its ties. Where the two
/// columns differ in length the shorter counts.
///
/// ```
/// use slate_types::{Probabilities, Scores};
///
/// let probabilities = Probabilities::new(vec![0.2, 0.5, 0.5])?;
/// let scores = Scores(vec![1.0, 2.0, 3.0]);
/// assert_eq!(slate_calibrate::order(&probabilities, &scores), [2, 1, 0]);
/// # Ok::<(), slate_types::NotAProbability>(())
/// ```
pub fn order(probabilities: &Probabilities, scores: &Scores) -> Vec<usize> {
    let (p, s) = (probabilities.as_slice(), &scores.0);
    let mut rows: Vec<usize> = (0..p.len().min(s.len())).collect();
    rows.sort_by(|&a, &b| {
        let by_score = match (s[a].is_nan(), s[b].is_nan()) {
            (false, false) => s[b].partial_cmp(&s[a]).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        };
        // Probabilities are no NaN; -0 and 0 are equal.
        p[b].partial_cmp(&p[a])
            .unwrap_or(Ordering::Equal)
            .then(by_score)
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_then_score_then_row() {
        let p = Probabilities::new(vec![0.5, 0.9, 0.5, 0.5, 0.0, -0.0]).unwrap();
        let s = Scores(vec![1.0, 0.0, 2.0, 1.0, f64::NAN, 3.0]);
        assert_eq!(order(&p, &s), [1, 2, 0, 3, 5, 4]);
    }
}
