//! Two scorings of the same rows: is one better, by how much, and could it be chance?
//!
//! Pairing matters: lists differ far more than models do, and the difference on the same lists
//! leaves that out. Intervals resample lists, the same ones for both sides.

use serde::{Deserialize, Serialize};

use crate::metric::null_is_nan;
use crate::statistic::{Form, Statistic};
use crate::{Bootstrap, Convention, EvalError, MetricName, Sample, sign_flip};

/// Random sign patterns behind a p value.
const FLIPS: usize = 10_000;

/// By how much the first sample's metric is above the second's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the metric, as in `ndcg@10`.
    pub name: String,
    /// First minus second.
    pub difference: f64,
    /// Lower end of its paired interval; NaN (`null` in JSON) where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    /// Upper end; as `low`.
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
    /// Two-sided p value of no difference; NaN (`null` in JSON) where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub p: f64,
    /// Lists or rows that count.
    pub n: u64,
    /// What `n` counts: `list` or `row`.
    pub unit: String,
    /// The choices it depends on; ends in the test behind `p`.
    pub convention: String,
}

/// Computes the difference of each metric, `a` minus `b`, with an interval and a p value.
///
/// The interval is a percentile bootstrap over lists. The p value of a mean or ratio is that of
/// [`sign_flip`] over the lists' differences (`test=sign-flip`); that of `auc` and `ece`, which are
/// no sums over lists, is read from the bootstrap draws (`test=bootstrap`): twice the smaller share
/// of draws on either side of 0.
///
/// # Errors
/// As [`crate::evaluate`] for either sample; [`EvalError::Unpaired`] when anything but scores and
/// probabilities differs.
pub fn compare(
    a: &Sample<'_>,
    b: &Sample<'_>,
    metrics: &[MetricName],
    convention: &Convention,
    bootstrap: &Bootstrap,
) -> Result<Vec<Difference>, EvalError> {
    a.check()?;
    b.check()?;
    bootstrap.check()?;
    paired(a, b)?;
    let mut pairs = Vec::with_capacity(metrics.len());
    for &name in metrics {
        let first = Statistic::new(name, a, *convention)?;
        let second = Statistic::new(name, b, *convention)?;
        let difference = first.value(a)? - second.value(b)?;
        pairs.push((first, second, difference));
    }
    let lists = a.lists.len();
    let draws: Vec<Vec<Option<f64>>> = bootstrap.run(lists, |counts| {
        let count = |list: usize| f64::from(counts[list]);
        pairs
            .iter()
            .map(|(first, second, _)| Some(first.resampled(count)? - second.resampled(count)?))
            .collect()
    });
    let mut differences = Vec::with_capacity(pairs.len());
    for (i, (first, second, difference)) in pairs.iter().enumerate() {
        let drawn: Vec<f64> = draws.iter().filter_map(|draw| draw[i]).collect();
        let (p, test) = match (&first.form, &second.form) {
            (Form::Ratio(first), Form::Ratio(second)) => {
                // Denominators hang on lists and labels alone, so the numerators carry it all.
                let per_list: Vec<f64> = first
                    .iter()
                    .zip(second)
                    .map(|(first, second)| first[0] - second[0])
                    .collect();
                (sign_flip(&per_list, FLIPS, bootstrap.seed)?, "sign-flip")
            }
            _ => (bootstrap_p(&drawn), "bootstrap"),
        };
        let middle = if first.contributing(lists) < 2 {
            None
        } else {
            bootstrap.middle(drawn)
        };
        let (low, high) = middle.map_or((f64::NAN, f64::NAN), |(low, high)| {
            (low.min(*difference), high.max(*difference))
        });
        differences.push(Difference {
            name: first.name.to_string(),
            difference: *difference,
            low,
            high,
            p,
            n: first.n,
            unit: first.name.unit(convention).to_owned(),
            convention: format!("{};test={test}", first.name.convention(convention)),
        });
    }
    Ok(differences)
}

/// Twice the smaller share of draws on either side of 0, at most 1; NaN without draws.
fn bootstrap_p(drawn: &[f64]) -> f64 {
    if drawn.is_empty() {
        return f64::NAN;
    }
    let below = drawn.iter().filter(|d| **d <= 0.0).count();
    let above = drawn.iter().filter(|d| **d >= 0.0).count();
    (2.0 * (1 + below.min(above)) as f64 / (1 + drawn.len()) as f64).min(1.0)
}

/// Both samples must hold the same rows.
fn paired(a: &Sample<'_>, b: &Sample<'_>) -> Result<(), EvalError> {
    fn same<T: PartialEq>(
        column: &'static str,
        unit: &str,
        a: Option<&[T]>,
        b: Option<&[T]>,
    ) -> Result<(), EvalError> {
        let unpaired = |place| Err(EvalError::Unpaired { column, place });
        match (a, b) {
            (None, None) => Ok(()),
            (Some(a), Some(b)) => match a.iter().zip(b).position(|(a, b)| a != b) {
                Some(place) => unpaired(format!("{unit} {place}")),
                None if a.len() != b.len() => unpaired(format!("{unit} {}", a.len().min(b.len()))),
                None => Ok(()),
            },
            _ => unpaired("all rows, as only one of them has it".to_owned()),
        }
    }
    // Offset i + 1 is the end of list i.
    let (ends_a, ends_b) = (&a.lists.as_slice()[1..], &b.lists.as_slice()[1..]);
    same("lists", "list", Some(ends_a), Some(ends_b))?;
    same("grades", "row", a.grades, b.grades)?;
    same("labels", "row", a.labels, b.labels)?;
    same("weights", "row", a.weights, b.weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::ListOffsets;

    #[test]
    fn different_rows_are_no_pair() {
        let two = ListOffsets::from_lengths([2, 2]).unwrap();
        let one = ListOffsets::from_lengths([2, 1]).unwrap();
        let (scores, labels) = ([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1]);
        let mut a = Sample::new(&two, &scores);
        a.labels = Some(&labels);
        let mut b = a;
        b.labels = Some(&[0, 1, 1, 1]);
        let names = [MetricName::Auc];
        let run = |b: &Sample<'_>| {
            compare(&a, b, &names, &Convention::default(), &Bootstrap::default()).unwrap_err()
        };
        assert_eq!(
            run(&b).to_string(),
            "the two samples differ in `labels` at row 2, expected the same rows in both"
        );
        b.labels = None;
        assert!(run(&b).to_string().contains("only one of them has it"));
        assert!(
            run(&Sample::new(&one, &scores[..3]))
                .to_string()
                .contains("`lists` at list 1")
        );
    }

    #[test]
    fn bootstrap_p_counts_sides() {
        assert_eq!(bootstrap_p(&[1.0; 999]), 2.0 / 1000.0);
        assert_eq!(bootstrap_p(&[0.0; 10]), 1.0);
        assert!(bootstrap_p(&[]).is_nan());
    }
}
