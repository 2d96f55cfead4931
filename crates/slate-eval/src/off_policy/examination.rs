//! How likely users look at each slot, with how sure that is.

use super::appeal::AppealRows;
use super::click_model::{Cell, PositionModel};
use super::harvest::harvest_pairs;
use crate::bootstrap::{Bootstrap, quantile};
use crate::{EvalError, check};

/// Views that the mean rate is worth in the position-based model of each item.
const PRIOR: f64 = 10.0;
const STEPS: usize = 300;

/// How a curve is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// From items that stood in several slots ([`harvest_pairs`]). In lists in random order items of all
    /// slots are alike: number rows by the length of their list there, since only long lists have deep slots.
    Harvested,
    /// By expectation-maximisation ([`PositionModel`]); where most items stood in one slot only, it takes
    /// appeal for attention and says nothing of it.
    Em,
    /// The same model with an appeal that numbers tell, so no item need stand in several
    /// slots; what the numbers do not know of appeal it takes for attention.
    Regression,
}

/// Placements that were shown, one value per row.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// Number of the item.
    pub items: &'a [u32],
    /// Slot, from 0.
    pub slots: &'a [u32],
    /// Clicked: 0 or 1.
    pub clicks: &'a [u8],
    /// `[rows, width]`, numbers that say how appealing a placement is; for [`Curve::Regression`], or empty.
    pub features: &'a [f64],
    /// Cluster, numbers below the number of rows.
    pub clusters: &'a [u32],
}

/// A curve with its resamples.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// Of each slot, 1 for slot 0; NaN where nothing is known.
    pub of_slot: Vec<f64>,
    /// Lower ends; NaN where there is none: nobody clicked there, or all resamples say the same.
    pub low: Vec<f64>,
    /// Upper ends.
    pub high: Vec<f64>,
    /// The curve in each resample of clusters.
    pub draws: Vec<Vec<f64>>,
}

/// Estimates the curve of the first `slots` slots; clusters are resampled.
///
/// # Errors
/// Errors of the columns; [`EvalError::NothingToMeasure`] where slot 0 has no click.
pub fn examine(
    curve: Curve,
    views: &Views<'_>,
    slots: usize,
    bootstrap: &Bootstrap,
) -> Result<Examination, EvalError> {
    let rows = views.items.len();
    check::labels(views.clicks, rows)?;
    check::length("slots", views.slots.len(), rows)?;
    check::numbers("clusters", views.clusters, rows)?;
    check::level(bootstrap.level)?;
    let clusters = views
        .clusters
        .iter()
        .max()
        .map_or(0, |most| *most as usize + 1);
    let appeal = match curve {
        Curve::Regression => {
            let (features, clicks) = (views.features, views.clicks);
            let rows = AppealRows::new(features, views.slots, clicks, slots)?;
            let model = rows.fit(&vec![1.0; rows.rows.len()], None)?;
            Some((rows, model))
        }
        _ => None,
    };
    let one = |counts: &[u32]| match &appeal {
        Some((rows, all)) => {
            let of_cluster = |row: &u32| f64::from(counts[views.clusters[*row as usize] as usize]);
            let counts: Vec<f64> = rows.rows.iter().map(of_cluster).collect();
            let model = rows.fit(&counts, Some(all))?;
            Ok(model.curve())
        }
        None => fit(curve, views, slots, counts),
    };
    let mut of_slot = match &appeal {
        Some((_, all)) => all.curve(),
        None => one(&vec![1; clusters])?,
    };
    of_slot.resize(slots, f64::NAN);
    // A resample without a click in slot 0 has no curve.
    let draws: Vec<Vec<f64>> = bootstrap
        .run(clusters, |counts| one(counts).ok())
        .into_iter()
        .flatten()
        .map(|mut draw| {
            draw.resize(slots, f64::NAN);
            draw
        })
        .collect();
    let mut clicked = vec![false; slots];
    for (&slot, &click) in views.slots.iter().zip(views.clicks) {
        if let Some(clicked) = clicked.get_mut(slot as usize) {
            *clicked |= click > 0;
        }
    }
    let tail = (1.0 - bootstrap.level) / 2.0;
    let end = |share: f64| {
        let of = |slot: usize| {
            let mut values: Vec<f64> = draws.iter().map(|draw| draw[slot]).collect();
            values.retain(|value| value.is_finite());
            values.sort_unstable_by(f64::total_cmp);
            if values.len() * 2 < bootstrap.draws || values.is_empty() {
                return f64::NAN;
            }
            // Slot 0 is 1 by definition. Of any other resamples know no spread where nobody clicked, or
            // where all say the same.
            if slot > 0 && (!clicked[slot] || values[0] == values[values.len() - 1]) {
                return f64::NAN;
            }
            quantile(&values, share)
        };
        (0..slots).map(of).collect::<Vec<f64>>()
    };
    Ok(Examination {
        low: end(tail),
        high: end(1.0 - tail),
        of_slot,
        draws,
    })
}

/// The curve where each cluster counts so often.
fn fit(
    curve: Curve,
    views: &Views<'_>,
    slots: usize,
    counts: &[u32],
) -> Result<Vec<f64>, EvalError> {
    let nothing = EvalError::NothingToMeasure {
        metric: "examination".to_owned(),
        why: "slot 0 has no click",
    };
    let rows = (0..views.items.len()).filter_map(|row| {
        let count = counts[views.clusters[row] as usize];
        let counts = count > 0 && (views.slots[row] as usize) < slots;
        counts.then(|| (row, f64::from(count)))
    });
    let cells = Cell::count(rows.map(|(row, count)| {
        let clicks = count * f64::from(views.clicks[row]);
        (views.items[row], views.slots[row], count, clicks)
    }));
    let first = cells.iter().filter(|cell| cell.slot == 0);
    if first.map(|cell| cell.clicks).sum::<f64>() == 0.0 {
        return Err(nothing);
    }
    Ok(if curve == Curve::Harvested {
        harvest_pairs(&cells)?.examination
    } else {
        let sum = |of: fn(&Cell) -> f64| cells.iter().map(of).sum::<f64>();
        let mean = sum(|cell| cell.clicks) / sum(|cell| cell.shown);
        let prior = [PRIOR * mean, PRIOR * (1.0 - mean)];
        PositionModel::fit(&cells, prior, STEPS)?.examination
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::Seed;

    /// Clicks of a market with known examination; with `random` items stand anywhere, or else better ones
    /// mostly stand higher.
    fn market(lists: u64, random: bool, seed: Seed) -> [Vec<u32>; 4] {
        let theta = [1.0, 0.6, 0.35];
        let [mut items, mut slots, mut clicks, mut clusters] = [const { Vec::new() }; 4];
        for list in 0..lists {
            let seed = seed.index(list);
            let start = (seed.derive("items").unit() * 9.0) as u32;
            let mut order: Vec<u32> = (0..3).map(|i| (start + 4 * i) % 12).collect();
            let luck = |item: u32| seed.derive("order").index(u64::from(item)).unit();
            let key = |item: u32| {
                if random {
                    luck(item)
                } else {
                    luck(item) - 0.06 * f64::from(item)
                }
            };
            order.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
            for (slot, item) in (0..).zip(order) {
                let p = theta[slot as usize] * (0.05 + 0.05 * f64::from(item));
                items.push(item);
                slots.push(slot);
                clicks.push(u32::from(
                    seed.derive("click").index(u64::from(slot)).unit() < p,
                ));
                clusters.push(list as u32);
            }
        }
        [items, slots, clicks, clusters]
    }

    #[test]
    fn each_curve_finds_the_truth_where_it_should() {
        let bootstrap = Bootstrap {
            draws: 40,
            ..Bootstrap::default()
        };
        let truth = [1.0, 0.6, 0.35];
        for (curve, random, by_length, close) in [
            (Curve::Regression, false, false, true),
            (Curve::Harvested, true, true, true),
            (Curve::Harvested, false, false, true),
            (Curve::Em, false, false, true),
            // Better items stood higher: their appeal counts as attention.
            (Curve::Harvested, false, true, false),
        ] {
            let [mut items, slots, clicks, clusters] = market(8_000, random, Seed(31));
            if by_length {
                items.fill(3);
            }
            let clicks: Vec<u8> = clicks.iter().map(|&click| click as u8).collect();
            // The law of the market is not logistic, but close to it in the logarithm of its rate.
            let rate = |&item: &u32| (0.05 + 0.05 * f64::from(item)).ln();
            let features: Vec<f64> = items.iter().map(rate).collect();
            let views = Views {
                items: &items,
                slots: &slots,
                clicks: &clicks,
                features: &features,
                clusters: &clusters,
            };
            let found = examine(curve, &views, 3, &bootstrap).unwrap();
            assert_eq!(found.of_slot[0], 1.0);
            let gap = (found.of_slot[2] - truth[2]).abs();
            assert_eq!(gap < 0.035, close, "{curve:?} {:?}", found.of_slot);
            if close {
                let holds = found.low[2] <= truth[2] + 0.02 && truth[2] - 0.02 <= found.high[2];
                assert!(holds, "{curve:?} {:?} {:?}", found.low, found.high);
            }
        }
    }

    /// Nobody clicked slot 1: that is a value, and no knowledge of it.
    #[test]
    fn a_slot_without_a_click_has_no_interval() {
        let lists = 20;
        let items: Vec<u32> = (0..lists * 2).map(|row| row % 2).collect();
        let slots = items.clone();
        let clicks: Vec<u8> = (0..lists * 2).map(|row| u8::from(row % 4 == 0)).collect();
        let clusters: Vec<u32> = (0..lists * 2).map(|row| row / 2).collect();
        let views = Views {
            items: &items,
            slots: &slots,
            clicks: &clicks,
            features: &[],
            clusters: &clusters,
        };
        let found = examine(Curve::Em, &views, 2, &Bootstrap::default()).unwrap();
        assert_eq!(
            (found.of_slot[0], found.low[0], found.high[0]),
            (1.0, 1.0, 1.0)
        );
        assert!(found.of_slot[1] < 1e-6, "{:?}", found.of_slot);
        assert!(found.low[1].is_nan() && found.high[1].is_nan());
    }

    #[test]
    fn no_click_on_top_is_no_curve() {
        let views = Views {
            items: &[0, 1],
            slots: &[0, 1],
            clicks: &[0, 1],
            features: &[],
            clusters: &[0, 0],
        };
        for curve in [Curve::Harvested, Curve::Em, Curve::Regression] {
            let made = examine(curve, &views, 2, &Bootstrap::default());
            assert!(
                matches!(made, Err(EvalError::NothingToMeasure { .. })),
                "{curve:?}"
            );
        }
    }
}
