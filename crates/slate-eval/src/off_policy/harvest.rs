//! Examination by slot from items that stood in several slots ("intervention harvesting").
//!
//! Where rankers changed, or lists were shuffled, the same item was shown in slot `j` and in slot `k`,
//! and its appeal cancels out of the ratio of its click rates (Agarwal et al. 2019). Over all such items
//! the ratio is that of Mantel and Haenszel (1959), which weighs an item by how much it can say; the
//! ratios of all pairs of slots together give one curve by least squares on logarithms.

use std::collections::BTreeMap;

use super::click_model::Cell;
use super::regression::cholesky_solve;
use crate::EvalError;

/// An examination curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Harvest {
    /// Of each slot, 1 for slot 0; NaN for a slot that no item shares with slot 0, directly or over
    /// others.
    pub examination: Vec<f64>,
    /// Pairs of slots with clicks on both sides.
    pub pairs: usize,
}

/// Ratio sums of one pair of slots.
#[derive(Default, Clone, Copy)]
struct Pair {
    above: f64,
    below: f64,
    clicks_above: f64,
    clicks_below: f64,
}

/// Fits the curve. `cells` are sorted into items here; the same item and slot may come more than once.
///
/// # Errors
/// [`EvalError::NoRows`] without cells.
pub fn harvest_pairs(cells: &[Cell]) -> Result<Harvest, EvalError> {
    let Some(deepest) = cells.iter().map(|cell| cell.slot).max() else {
        return Err(EvalError::NoRows);
    };
    let slots = deepest as usize + 1;
    let mut items: BTreeMap<u32, BTreeMap<usize, [f64; 2]>> = BTreeMap::new();
    for cell in cells {
        let of = items.entry(cell.item).or_default();
        let sums = of.entry(cell.slot as usize).or_default();
        sums[0] += cell.shown;
        sums[1] += cell.clicks;
    }
    let mut pairs: BTreeMap<(usize, usize), Pair> = BTreeMap::new();
    for of in items.values() {
        let shown: Vec<(usize, [f64; 2])> = of.iter().map(|(&slot, &sums)| (slot, sums)).collect();
        for (at, &(j, [n_j, c_j])) in shown.iter().enumerate() {
            for &(k, [n_k, c_k]) in &shown[at + 1..] {
                let pair = pairs.entry((j, k)).or_default();
                pair.above += c_j * n_k / (n_j + n_k);
                pair.below += c_k * n_j / (n_j + n_k);
                pair.clicks_above += c_j;
                pair.clicks_below += c_k;
            }
        }
    }
    pairs.retain(|_, pair| pair.above > 0.0 && pair.below > 0.0);
    let connected: Vec<(usize, usize)> = pairs.keys().copied().collect();
    let reached = reached(slots, &connected);
    let known: Vec<usize> = (1..slots).filter(|&slot| reached[slot]).collect();
    let at = |slot: usize| known.binary_search(&slot).ok();
    let size = known.len();
    let (mut matrix, mut right) = (vec![0.0; size * size], vec![0.0; size]);
    for (&(j, k), pair) in &pairs {
        if !reached[j] || !reached[k] {
            continue;
        }
        // The variance of the logarithm of a ratio of two counts.
        let weight = 1.0 / (1.0 / pair.clicks_above + 1.0 / pair.clicks_below);
        let ratio = (pair.below / pair.above).ln();
        let (j, k) = (at(j), at(k));
        if let Some(k) = k {
            matrix[k * size + k] += weight;
            right[k] += weight * ratio;
        }
        if let Some(j) = j {
            matrix[j * size + j] += weight;
            right[j] -= weight * ratio;
        }
        if let (Some(j), Some(k)) = (j, k) {
            matrix[k * size + j] -= weight;
            matrix[j * size + k] -= weight;
        }
    }
    let logs = cholesky_solve(&matrix, &right);
    let mut examination = vec![f64::NAN; slots];
    examination[0] = 1.0;
    for (slot, log) in known.iter().zip(logs.unwrap_or_default()) {
        examination[*slot] = log.exp();
    }
    Ok(Harvest {
        examination,
        pairs: pairs.len(),
    })
}

/// Slots that pairs connect with slot 0.
fn reached(slots: usize, pairs: &[(usize, usize)]) -> Vec<bool> {
    let mut reached = vec![false; slots];
    reached[0] = true;
    loop {
        let before = reached.iter().filter(|&&r| r).count();
        for &(j, k) in pairs {
            let either = reached[j] || reached[k];
            reached[j] = either;
            reached[k] = either;
        }
        if reached.iter().filter(|&&r| r).count() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clicks as expected of θ and γ: the curve is θ to the digit, however often what was shown.
    #[test]
    fn expected_clicks_give_the_curve() {
        let theta = [1.0, 0.6, 0.4, 0.1];
        let mut cells = Vec::new();
        for item in 0..9_u32 {
            let gamma = 0.1 + 0.08 * f64::from(item);
            for slot in 0..4_u32 {
                if (item + slot) % 3 == 0 {
                    continue;
                }
                let shown = f64::from(10 + 7 * item * (slot + 1));
                let clicks = shown * gamma * theta[slot as usize];
                cells.push(Cell {
                    item,
                    slot,
                    shown,
                    clicks,
                });
            }
        }
        let harvest = harvest_pairs(&cells).unwrap();
        for (ours, truth) in harvest.examination.iter().zip(theta) {
            assert!((ours - truth).abs() < 1e-12, "{ours} {truth}");
        }
        assert_eq!(harvest.pairs, 6);
    }

    #[test]
    fn a_slot_that_shares_no_item_is_unknown() {
        let cell = |item, slot| Cell {
            item,
            slot,
            shown: 10.0,
            clicks: 2.0,
        };
        let cells = [cell(0, 0), cell(0, 1), cell(1, 2), cell(1, 3)];
        let harvest = harvest_pairs(&cells).unwrap();
        assert_eq!(harvest.examination[..2], [1.0, 1.0]);
        assert!(harvest.examination[2].is_nan() && harvest.examination[3].is_nan());
        assert!(harvest_pairs(&[]).is_err());
    }
}
