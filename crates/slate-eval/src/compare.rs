//! Two scorings of the same rows: is one better, by how much, and could it be chance?
//!
//! Pairing matters: lists differ far more than models do, and the difference on the same lists
//! leaves that out. Intervals resample lists, the same ones for both sides.

use serde::{Deserialize, Serialize};

use crate::evaluate::told;
use crate::metric::null_is_nan;
use crate::statistic::{Form, Statistic};
use crate::{Bootstrap, Convention, EvalError, MetricName, Sample, holm, paired_t, sign_flip};

/// Random sign patterns behind a p value.
const FLIPS: usize = 10_000;

/// By how much the first sample's metric is above the second's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the metric, as in `ndcg@10`.
    pub name: String,
    /// First minus second.
    pub difference: f64,
    /// The difference over the second's value; NaN (`null` in JSON) where that is 0.
    #[serde(deserialize_with = "null_is_nan")]
    pub relative: f64,
    /// Lower end of its paired interval; NaN (`null` in JSON) where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    /// Upper end; as `low`.
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
    /// Two-sided p value of no difference; NaN (`null` in JSON) where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub p: f64,
    /// The p value after Holm's adjustment for all comparisons made together; NaN as `p`.
    #[serde(deserialize_with = "null_is_nan")]
    pub p_holm: f64,
    /// Lists, items, pages or rows that count.
    pub n: u64,
    /// What `n` counts.
    pub unit: String,
    /// The choices it depends on; ends in the interval and the test behind `p`.
    pub convention: String,
}

/// Computes the difference of each metric, `a` minus `b`, with an interval and a p value.
///
/// The interval of a mean over lists is Student's, of the lists' differences (`interval=t`); that of
/// anything else, and with clusters, a percentile bootstrap over lists or clusters. The p value of a
/// mean or ratio is that of [`sign_flip`] over the differences of lists or clusters
/// (`test=sign-flip`); that of metrics which are no sums over lists is read from the bootstrap draws
/// (`test=bootstrap`): twice the smaller share of draws on either side of 0. `p_holm` is adjusted
/// for the metrics asked for; adjust anew with [`crate::holm`] where there are more comparisons.
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
        let base = second.value(b)?;
        let difference = first.value(a)? - base;
        pairs.push((first, second, difference, base));
    }
    let clusters = a.cluster_count();
    let draws: Vec<Vec<Option<f64>>> = bootstrap.run(clusters, |counts| {
        let count = |cluster: usize| f64::from(counts[cluster]);
        pairs
            .iter()
            .map(|(first, second, ..)| Some(first.resampled(count)? - second.resampled(count)?))
            .collect()
    });
    let mut differences = Vec::with_capacity(pairs.len());
    for (i, (first, second, difference, base)) in pairs.iter().enumerate() {
        let drawn: Vec<f64> = draws.iter().filter_map(|draw| draw[i]).collect();
        // Where denominators hang on lists and labels alone the numerators carry it all.
        let moved: Option<Vec<[f64; 2]>> = match (&first.form, &second.form) {
            (Form::Ratio(first), Form::Ratio(second))
                if first.iter().zip(second).all(|(a, b)| a[1] == b[1]) =>
            {
                let pairs = first.iter().zip(second);
                Some(pairs.map(|(a, b)| [a[0] - b[0], a[1]]).collect())
            }
            _ => None,
        };
        let (p, test) = match &moved {
            Some(moved) => {
                let moved: Vec<f64> = moved.iter().map(|parts| parts[0]).collect();
                (sign_flip(&moved, FLIPS, bootstrap.seed)?, "sign-flip")
            }
            None => (bootstrap_p(&drawn), "bootstrap"),
        };
        let means = moved.filter(|moved| {
            a.clusters.is_none()
                && !first.name.is_over_rows()
                && moved.iter().all(|parts| parts[1] == 0.0 || parts[1] == 1.0)
        });
        let (middle, interval) = if first.contributing(clusters) < 2 {
            (None, "none")
        } else if let Some(moved) = means {
            let counted = moved.iter().filter(|parts| parts[1] == 1.0);
            let counted: Vec<f64> = counted.map(|parts| parts[0]).collect();
            let test = paired_t(&counted, bootstrap.level)?;
            (Some((test.low, test.high)), "t")
        } else {
            (bootstrap.middle(drawn), "percentile")
        };
        let (low, high) = middle.map_or((f64::NAN, f64::NAN), |(low, high)| {
            (low.min(*difference), high.max(*difference))
        });
        differences.push(Difference {
            name: first.name.to_string(),
            difference: *difference,
            relative: if *base == 0.0 {
                f64::NAN
            } else {
                difference / base.abs()
            },
            low,
            high,
            p,
            p_holm: p,
            n: first.n,
            unit: first.name.unit(convention).to_owned(),
            convention: format!(
                "{};interval={interval};test={test}",
                told(first, a, *convention)
            ),
        });
    }
    adjust(&mut differences);
    Ok(differences)
}

/// Sets `p_holm` for all of `differences` together.
pub fn adjust<'a>(differences: impl IntoIterator<Item = &'a mut Difference>) {
    let mut differences: Vec<&mut Difference> = differences.into_iter().collect();
    let p: Vec<f64> = differences.iter().map(|one| one.p).collect();
    for (one, p) in differences.iter_mut().zip(holm(&p)) {
        one.p_holm = p;
    }
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
    same("clicks", "row", a.clicks, b.clicks)?;
    same("worth", "row", a.worth, b.worth)?;
    same("slots", "row", a.slots, b.slots)?;
    same("propensities", "row", a.propensities, b.propensities)?;
    same("pages", "list", a.pages, b.pages)?;
    same("clusters", "list", a.clusters, b.clusters)?;
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
