//! How heavy the largest of some weights are: whether sums of them have a variance at all.
//!
//! Weights of 0 say nothing of it: a policy with one order has them wherever another was shown, and the
//! more of them there are, the further down the others a share of all would reach.

/// Tails of fewer weights say nothing.
const LEAST_TAIL: usize = 5;
/// What the shape is drawn towards, and how many weights that is worth.
const PRIOR: (f64, f64) = (0.5, 10.0);

/// Shape k of the generalised Pareto law of the largest weights: below 0 they have a bound, below 1/2 a
/// variance, below 1 a mean. Of the `n` weights above 0 the tail is the largest `min(n ÷ 5, 3√n)`, as in Pareto-smoothed
/// importance sampling (Vehtari et al. 2024); k is the posterior mean of Zhang and Stephens (2009), drawn to 1/2
/// as if by ten weights more. None where fewer than five weights stand out, or one is infinite or NaN.
///
/// ```
/// // Half the weights 0 and half 2: as light as tails come.
/// let weights: Vec<f64> = (0..400).map(|i| f64::from(i % 2 * 2)).collect();
/// assert_eq!(slate_eval::off_policy::pareto_shape(&weights), None);
/// ```
pub fn pareto_shape(weights: &[f64]) -> Option<f64> {
    if weights.iter().any(|w| !w.is_finite()) {
        return None;
    }
    let mut weights: Vec<f64> = weights.iter().copied().filter(|w| *w > 0.0).collect();
    let count = weights.len() as f64;
    let wanted = f64::min(0.2 * count, 3.0 * count.sqrt()).ceil() as usize;
    if wanted < LEAST_TAIL || wanted >= weights.len() {
        return None;
    }
    let first = weights.len() - wanted;
    let (_, &mut threshold, tail) = weights.select_nth_unstable_by(first - 1, f64::total_cmp);
    let mut above: Vec<f64> = tail.iter().map(|w| w - threshold).collect();
    above.retain(|excess| *excess > 0.0);
    if above.len() < LEAST_TAIL {
        return None;
    }
    above.sort_unstable_by(f64::total_cmp);
    Some(shape(&above))
}

/// Of excesses above 0, in rising order.
fn shape(above: &[f64]) -> f64 {
    let count = above.len() as f64;
    let quarter = above[(count / 4.0 + 0.5) as usize - 1];
    let largest = above[above.len() - 1];
    // The law as −k ÷ scale and k; candidates of the first lie close where it is likely.
    let points = 30 + count.sqrt() as usize;
    let mean_log = |b: f64| above.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / count;
    let candidates: Vec<(f64, f64)> = (1..=points)
        .map(|at| {
            let spread = 1.0 - (points as f64 / (at as f64 - 0.5)).sqrt();
            let b = spread / (3.0 * quarter) + 1.0 / largest;
            let k = mean_log(b);
            (b, count * ((-b / k).ln() - k - 1.0))
        })
        .collect();
    let best = candidates
        .iter()
        .map(|(_, likelihood)| *likelihood)
        .fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut all) = (0.0, 0.0);
    for (b, likelihood) in candidates {
        let weight = (likelihood - best).exp();
        // A candidate of exactly 0 is the exponential law's, whose likelihood this form cannot say.
        if weight.is_finite() {
            sum += weight * b;
            all += weight;
        }
    }
    let k = mean_log(sum / all);
    (count * k + PRIOR.1 * PRIOR.0) / (count + PRIOR.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use slate_types::Seed;

    /// From `tests/data/gold_tail.py` (`ArviZ`).
    #[test]
    fn shapes_are_those_of_arviz() {
        let text = include_str!("../../tests/data/tail.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            let weights: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
            let theirs = case["shape"].as_f64().unwrap();
            let ours = pareto_shape(&weights).unwrap();
            assert!(
                (ours - theirs).abs() < 1e-9,
                "{} {ours} {theirs}",
                case["law"]
            );
        }
    }

    /// Quantiles of a Pareto law of shape k.
    fn drawn(k: f64, count: u64) -> Vec<f64> {
        (0..count)
            .map(|i| Seed(8).index(i).unit().max(1e-12).powf(-k))
            .collect()
    }

    #[test]
    fn the_shape_of_a_known_law_is_found() {
        for k in [0.2, 0.5, 0.9, 1.5] {
            let found = pareto_shape(&drawn(k, 40_000)).unwrap();
            assert!((found - k).abs() < 0.15, "{found} {k}");
        }
        // Scale and order change nothing.
        let mut weights = drawn(0.6, 2_000);
        let before = pareto_shape(&weights).unwrap();
        weights.reverse();
        for w in &mut weights {
            *w *= 8.0;
        }
        assert!((pareto_shape(&weights).unwrap() - before).abs() < 1e-9);
    }

    /// Weights with a bound, as of a logger that explores with a floor, have a negative shape or none.
    #[test]
    fn weights_with_a_bound_are_light() {
        let few_large: Vec<f64> = (0..4_000)
            .map(|i| if i % 100 == 0 { 80.0 } else { f64::from(i % 3) })
            .collect();
        assert!(pareto_shape(&few_large).unwrap() < 0.0);
        let flat: Vec<f64> = (0..4_000).map(|i| Seed(3).index(i).unit()).collect();
        assert!(pareto_shape(&flat).unwrap() < 0.0);
        assert_eq!(pareto_shape(&[1.0; 500]), None);
        assert_eq!(pareto_shape(&[1.0, 2.0, 3.0]), None);
        assert_eq!(pareto_shape(&[]), None);
        let mut odd = drawn(1.5, 400);
        odd[7] = f64::INFINITY;
        assert_eq!(pareto_shape(&odd), None);
    }

    /// A policy with one order has weights of 0 almost everywhere; what is above has its own tail.
    #[test]
    fn weights_of_zero_hide_no_tail() {
        let some = drawn(0.9, 1_000);
        let mut all = vec![0.0; 29_000];
        all.extend(&some);
        assert_eq!(pareto_shape(&all), pareto_shape(&some));
        assert!(pareto_shape(&all).unwrap() > 0.6);
    }
}
