//! An estimate reduced to sums per cluster, and what each cluster moves it by.

use super::estimator::Estimator;
use super::log::{Log, Target};
use crate::EvalError;

/// Lists longer than this are normalised together, in replay.
const MOST_LENGTHS: usize = 64;

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
        let weights = raw_weights(log, target, estimator)?;
        let (forecast, expected) = if estimator.reads_model() {
            (
                need(target.forecast, "forecasts")?,
                need(target.expected, "forecasts")?,
            )
        } else if estimator == Estimator::CascadeDr {
            if let Some((here, expected)) = target.to_come {
                let before = one_slot_up(log, &weights);
                let reached = |row: usize| if log.counts(row) { before[row] } else { 0.0 };
                let expected = expected.iter().enumerate();
                (
                    here.to_vec(),
                    expected.map(|(row, v)| v * reached(row)).collect(),
                )
            } else {
                // A model of places knows no prefixes: what is to come below a slot is added there and taken
                // off one slot down, so the expectation of the whole list is left.
                (
                    need(target.forecast, "forecasts")?,
                    need(target.expected, "forecasts")?,
                )
            }
        } else {
            (zeros(), zeros())
        };
        let grouping = Grouping::of(log, target, estimator);
        let groups = grouping.count();
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
                let left = log.rewards[row] - forecast[row];
                let Some(group) = grouping.group(log, list, row) else {
                    sums[0] += weight * left;
                    continue;
                };
                let of_group = &mut sums[1 + 3 * group..4 + 3 * group];
                // A ratio of sums times a sum, whichever stands for which: of weighted rewards, weights and
                // rows, or, in cells, of rewards, rows and weights.
                let parts = match grouping {
                    Grouping::Cells { .. } => [left, 1.0, weight],
                    _ => [weight * left, weight, 1.0],
                };
                for (sum, part) in of_group.iter_mut().zip(parts) {
                    *sum += part;
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

/// What of each row is weighed, before any clipping.
fn raw_weights(
    log: &Log<'_>,
    target: &Target<'_>,
    estimator: Estimator,
) -> Result<Vec<f64>, EvalError> {
    let missing = |column| EvalError::Missing {
        metric: estimator.to_string(),
        column,
    };
    let prefixes = || {
        let prefixes = target.prefix_weights;
        prefixes.ok_or_else(|| missing("prefix weights"))
    };
    Ok(match estimator {
        Estimator::Rips | Estimator::SnRips | Estimator::CascadeDr => prefixes()?.to_vec(),
        Estimator::ListIps | Estimator::ListSnips => whole_lists(log, prefixes()?),
        Estimator::Replay => {
            let matched = target.matched.ok_or_else(|| missing("matched lists"))?;
            let mut weights = vec![0.0; log.lists.rows()];
            for (list, rows) in log.lists.iter().enumerate() {
                weights[rows].fill(f64::from(u8::from(matched[list])));
            }
            weights
        }
        Estimator::Mips => {
            target.cells.ok_or_else(|| missing("cells"))?;
            target.weights.to_vec()
        }
        Estimator::Dm => vec![0.0; log.lists.rows()],
        _ => target.weights.to_vec(),
    })
}

/// The weights an estimator multiplies rewards with, one per row: its own kind, clipped as it clips, and
/// under `mips` the mean of each cell. All 0 for `dm`.
///
/// # Errors
/// Errors of the columns; [`EvalError::Missing`] for one that the estimator reads.
pub fn used_weights(
    log: &Log<'_>,
    target: &Target<'_>,
    estimator: Estimator,
) -> Result<Vec<f64>, EvalError> {
    log.check()?;
    target.check(log)?;
    let raw = raw_weights(log, target, estimator)?;
    if let (Estimator::Mips, Some(cells)) = (estimator, target.cells) {
        return Ok(of_cells(log, target, cells));
    }
    Ok(raw.into_iter().map(|w| estimator.transform(w)).collect())
}

/// Rows that are normalised together.
enum Grouping {
    /// None are.
    None,
    /// All, or those of each slot.
    Slots(usize),
    /// Those of lists of one length: a short list is matched more often than a long one.
    Lengths(usize),
    /// Those of each cell.
    Cells { of_row: Vec<u32>, count: usize },
}

impl Grouping {
    fn of(log: &Log<'_>, target: &Target<'_>, estimator: Estimator) -> Self {
        match (estimator, target.cells) {
            (Estimator::Replay, _) => {
                let longest = log.lists.iter().map(|rows| rows.len()).max();
                Self::Lengths(longest.unwrap_or(0).min(MOST_LENGTHS) + 1)
            }
            (Estimator::Mips, Some(cells)) => Self::Cells {
                of_row: cells.to_vec(),
                count: cells.iter().max().map_or(0, |most| *most as usize + 1),
            },
            // The whole list has one weight.
            (Estimator::ListSnips, _) => Self::Slots(1),
            _ if estimator.is_self_normalised() => Self::Slots(log.groups()),
            _ => Self::None,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Slots(count) | Self::Lengths(count) | Self::Cells { count, .. } => *count,
        }
    }

    fn group(&self, log: &Log<'_>, list: usize, row: usize) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Slots(count) => Some((log.slots[row] as usize).min(count - 1)),
            Self::Lengths(count) => Some(log.lists.range(list).len().min(count - 1)),
            Self::Cells { of_row, .. } => Some(of_row[row] as usize),
        }
    }
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
