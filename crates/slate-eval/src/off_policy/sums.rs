//! An estimate reduced to sums per cluster, and what each cluster moves it by.

use super::estimator::Estimator;
use super::log::{Log, Target};
use crate::EvalError;

/// Sums of one policy, a row of `width` numbers per cluster: what needs no normalising first and, for
/// self-normalised estimates, of each group the weighted rewards, the weights and the rows.
pub(crate) struct Sums {
    groups: usize,
    width: usize,
    pub(crate) of_cluster: Vec<f64>,
}

impl Sums {
    /// Adds up a checked log for a checked target.
    pub(crate) fn new(
        log: &Log<'_>,
        target: &Target<'_>,
        estimator: Estimator,
    ) -> Result<Self, EvalError> {
        let missing = |column| EvalError::Missing {
            metric: estimator.to_string(),
            column,
        };
        let need = |column: Option<&'_ [f64]>, name| match column {
            Some(column) => Ok(column.to_vec()),
            None => Err(missing(name)),
        };
        let rows = log.lists.rows();
        let zeros = || vec![0.0; rows];
        let weights: Vec<f64> = match estimator {
            Estimator::Rips | Estimator::SnRips | Estimator::CascadeDr => {
                need(target.prefix_weights, "prefix weights")?
            }
            Estimator::ListIps | Estimator::ListSnips => {
                whole_lists(log, &need(target.prefix_weights, "prefix weights")?)
            }
            Estimator::Mips | Estimator::SnMips => {
                of_cells(log, target, target.cells.ok_or_else(|| missing("cells"))?)
            }
            Estimator::Replay => {
                let matched = target.matched.ok_or_else(|| missing("matched lists"))?;
                let mut weights = zeros();
                for (list, rows) in log.lists.iter().enumerate() {
                    weights[rows].fill(f64::from(u8::from(matched[list])));
                }
                weights
            }
            Estimator::Dm => zeros(),
            _ => target.weights.to_vec(),
        };
        let (forecast, expected) = if estimator.reads_model() {
            (
                need(target.forecast, "forecasts")?,
                need(target.expected, "forecasts")?,
            )
        } else if estimator == Estimator::CascadeDr {
            let (here, expected) = target.to_come.ok_or_else(|| missing("forecasts to come"))?;
            let before = one_slot_up(log, &weights);
            let reached = |row: usize| if log.counts(row) { before[row] } else { 0.0 };
            let expected = expected.iter().enumerate();
            (
                here.to_vec(),
                expected.map(|(row, v)| v * reached(row)).collect(),
            )
        } else {
            (zeros(), zeros())
        };
        // The whole list has one weight, whose mean over rows is that over lists.
        let single = matches!(estimator, Estimator::Replay | Estimator::ListSnips);
        let groups = match (estimator.is_self_normalised(), single) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => log.groups(),
        };
        let width = 1 + 3 * groups;
        let mut of_cluster = vec![0.0; log.cluster_count() * width];
        for (list, rows) in log.lists.iter().enumerate() {
            let cluster = log.cluster(list);
            let sums = &mut of_cluster[cluster * width..(cluster + 1) * width];
            for row in rows {
                // A row that stood below the top may be put into it.
                sums[0] += expected[row];
                if !log.counts(row) {
                    continue;
                }
                let weight = estimator.transform(weights[row]);
                let weighted = weight * (log.rewards[row] - forecast[row]);
                if groups == 0 {
                    sums[0] += weighted;
                } else {
                    let group = (log.slots[row] as usize).min(groups - 1);
                    let of_group = &mut sums[1 + 3 * group..4 + 3 * group];
                    of_group[0] += weighted;
                    of_group[1] += weight;
                    of_group[2] += 1.0;
                }
            }
        }
        Ok(Self {
            groups,
            width,
            of_cluster,
        })
    }

    /// Numbers per cluster.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The numbers of one cluster.
    pub(crate) fn row(&self, cluster: usize) -> &[f64] {
        &self.of_cluster[cluster * self.width..(cluster + 1) * self.width]
    }

    /// Sums over all clusters.
    pub(crate) fn totals(&self) -> Vec<f64> {
        let mut totals = vec![0.0; self.width];
        for row in self.of_cluster.chunks_exact(self.width) {
            for (total, value) in totals.iter_mut().zip(row) {
                *total += value;
            }
        }
        totals
    }

    /// Value per unit. NaN where a group has rows and no weight at all, or there are no units.
    pub(crate) fn value(totals: &[f64], units: f64) -> f64 {
        let mut sum = totals[0];
        for group in totals[1..].chunks_exact(3) {
            if group[2] > 0.0 {
                sum += group[2] * group[0] / group[1];
            }
        }
        sum / units
    }

    /// What one cluster moves the value by, to first order; these sum to 0 over all clusters.
    pub(crate) fn influence(&self, cluster: usize, totals: &[f64], units: f64, own: f64) -> f64 {
        let row = self.row(cluster);
        let mut sum = row[0];
        for (all, of) in totals[1..].chunks_exact(3).zip(row[1..].chunks_exact(3)) {
            if all[2] > 0.0 {
                let mean = all[0] / all[1];
                sum += of[2] * mean + all[2] / all[1] * (of[0] - mean * of[1]);
            }
        }
        (sum - Self::value(totals, units) * own) / units
    }

    /// Whether every group that has rows has weight.
    pub(crate) fn is_supported(&self, totals: &[f64]) -> bool {
        self.groups == 0
            || totals[1..]
                .chunks_exact(3)
                .all(|group| group[2] == 0.0 || group[1] > 0.0)
    }
}

/// The weight of each row's whole list: that of its deepest slot that counts.
fn whole_lists(log: &Log<'_>, prefix_weights: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; prefix_weights.len()];
    for rows in log.lists.iter() {
        let counted = rows.clone().filter(|&row| log.counts(row));
        if let Some(last) = counted.max_by_key(|&row| log.slots[row]) {
            weights[rows].fill(prefix_weights[last]);
        }
    }
    weights
}

/// The prefix weight of the slot above each row's; 1 above the first.
fn one_slot_up(log: &Log<'_>, prefix_weights: &[f64]) -> Vec<f64> {
    let mut weights = vec![1.0; prefix_weights.len()];
    for rows in log.lists.iter() {
        let mut order: Vec<usize> = rows.collect();
        order.sort_by_key(|&row| log.slots[row]);
        for pair in order.windows(2) {
            weights[pair[1]] = prefix_weights[pair[0]];
        }
    }
    weights
}

/// The mean weight of the logged placements of each row's cell.
fn of_cells(log: &Log<'_>, target: &Target<'_>, cells: &[u32]) -> Vec<f64> {
    let count = cells.iter().max().map_or(0, |most| *most as usize + 1);
    let mut sums = vec![[0.0; 2]; count];
    for (row, &cell) in cells.iter().enumerate() {
        if log.counts(row) {
            sums[cell as usize][0] += target.weights[row];
            sums[cell as usize][1] += 1.0;
        }
    }
    let mean = |&cell: &u32| {
        let [sum, rows] = sums[cell as usize];
        if rows > 0.0 { sum / rows } else { 0.0 }
    };
    cells.iter().map(mean).collect()
}
