//! Regressions on slots and a few numbers, by Newton's method.

use rayon::prelude::*;

use super::outcome::OutcomeModel;
use crate::line::logistic;

/// Penalty on half the squared coefficients.
const RIDGE: f64 = 1.0;
/// Rows summed at a time, so that sums do not depend on threads.
const CHUNK: usize = 1 << 14;
pub(super) const MOST_STEPS: usize = 100;

impl OutcomeModel {
    pub(super) fn mean(self, z: f64) -> f64 {
        match self {
            Self::Linear => z,
            Self::Logistic => logistic(z),
        }
    }

    fn loss(self, z: f64, reward: f64) -> f64 {
        match self {
            Self::Linear => 0.5 * (z - reward) * (z - reward),
            // log(1 + e^z) − r·z without overflow.
            Self::Logistic => z.max(0.0) + (-z.abs()).exp().ln_1p() - reward * z,
        }
    }
}

/// A row as the solver sees it.
pub(super) struct Seen {
    /// Which slot's coefficient it has.
    pub(super) slot: usize,
    pub(super) reward: f64,
    /// How often it counts.
    pub(super) weight: f64,
}

/// Rows to fit: `row` writes the features of one into a slice.
pub(super) struct Design<'a> {
    pub(super) link: OutcomeModel,
    /// What coefficients are drawn to.
    pub(super) base: f64,
    pub(super) slots: usize,
    pub(super) width: usize,
    pub(super) row: &'a (dyn Fn(usize, &mut [f64]) -> Seen + Sync),
    pub(super) rows: usize,
}

/// Loss, gradient and curvature of some rows.
pub(super) struct Sums {
    pub(super) loss: f64,
    pub(super) gradient: Vec<f64>,
    /// `[size, size]`, of which the lower half is read.
    pub(super) hessian: Vec<f64>,
}

impl Sums {
    fn none(size: usize) -> Self {
        Self {
            loss: 0.0,
            gradient: vec![0.0; size],
            hessian: vec![0.0; size * size],
        }
    }

    /// What `add` says of so many rows, and the penalty on the coefficients from `free` on.
    pub(super) fn over(
        rows: usize,
        beta: &[f64],
        free: usize,
        add: impl Fn(std::ops::Range<usize>, &mut Self) + Sync,
    ) -> Self {
        let size = beta.len();
        let chunks = rows.div_ceil(CHUNK);
        let parts: Vec<Self> = (0..chunks)
            .into_par_iter()
            .map(|chunk| {
                let mut sums = Self::none(size);
                add(chunk * CHUNK..((chunk + 1) * CHUNK).min(rows), &mut sums);
                sums
            })
            .collect();
        let mut all = Self::none(size);
        for (at, b) in beta.iter().enumerate().skip(free) {
            all.loss += 0.5 * RIDGE * b * b;
            all.gradient[at] = RIDGE * b;
            all.hessian[at * size + at] = RIDGE;
        }
        for part in parts {
            all.loss += part.loss;
            let pairs = all.gradient.iter_mut().zip(part.gradient);
            pairs.for_each(|(sum, value)| *sum += value);
            let pairs = all.hessian.iter_mut().zip(part.hessian);
            pairs.for_each(|(sum, value)| *sum += value);
        }
        all
    }

    /// Newton's step of the coefficients at these places while the others hold still; none where the
    /// curvature is not positive.
    pub(super) fn step(&self, moving: &[usize]) -> Option<Vec<f64>> {
        let size = self.gradient.len();
        let rows = moving.iter().flat_map(|&row| {
            let columns = moving.iter();
            // The lower half alone is filled, and `moving` rises.
            columns.map(move |&column| self.hessian[row * size + column])
        });
        let matrix: Vec<f64> = rows.collect();
        let right: Vec<f64> = moving.iter().map(|&at| self.gradient[at]).collect();
        cholesky_solve(&matrix, &right)
    }
}

impl Design<'_> {
    /// Coefficients of slots and features that minimise the loss and half the ridge times their squares:
    /// Newton, halving steps that overshoot.
    pub(super) fn solve(&self) -> Vec<f64> {
        let mut beta = vec![0.0; self.slots + self.width];
        let mut now = self.sums(&beta);
        for _ in 0..MOST_STEPS {
            let Some(step) = cholesky_solve(&now.hessian, &now.gradient) else {
                break;
            };
            let decrease: f64 = step.iter().zip(&now.gradient).map(|(s, g)| s * g).sum();
            if decrease <= 1e-14 * (1.0 + now.loss.abs()) {
                break;
            }
            let mut share = 1.0;
            let next = loop {
                let moved = beta.iter().zip(&step).map(|(b, s)| b - share * s);
                let moved: Vec<f64> = moved.collect();
                let sums = self.sums(&moved);
                if sums.loss <= now.loss || share < 1e-6 {
                    break (moved, sums);
                }
                share *= 0.5;
            };
            (beta, now) = next;
        }
        beta
    }

    fn sums(&self, beta: &[f64]) -> Sums {
        Sums::over(self.rows, beta, 0, |rows, sums| {
            let mut features = vec![0.0; self.width];
            for row in rows {
                self.add(row, beta, &mut features, sums);
            }
        })
    }

    fn add(&self, row: usize, beta: &[f64], features: &mut [f64], sums: &mut Sums) {
        let size = beta.len();
        let Seen {
            slot,
            reward,
            weight,
        } = (self.row)(row, features);
        let slot = slot.min(self.slots - 1);
        let of_features = &beta[self.slots..];
        let known: f64 = features.iter().zip(of_features).map(|(x, b)| x * b).sum();
        let z = self.base + beta[slot] + known;
        let mean = self.link.mean(z);
        let curve = match self.link {
            OutcomeModel::Linear => weight,
            OutcomeModel::Logistic => weight * mean * (1.0 - mean),
        };
        let gap = weight * (mean - reward);
        sums.loss += weight * self.link.loss(z, reward);
        sums.gradient[slot] += gap;
        sums.hessian[slot * size + slot] += curve;
        for (at, x) in features.iter().enumerate() {
            let place = self.slots + at;
            sums.gradient[place] += gap * x;
            // The lower half is all that is read.
            sums.hessian[place * size + slot] += curve * x;
            for (before, y) in features[..=at].iter().enumerate() {
                sums.hessian[place * size + self.slots + before] += curve * x * y;
            }
        }
    }
}

/// Solves `matrix · x = right` for a symmetric positive matrix of which the lower half is read. None
/// where it is not positive.
pub(super) fn cholesky_solve(matrix: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    let mut lower = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let inner: f64 = (0..j)
                .map(|k| lower[i * size + k] * lower[j * size + k])
                .sum();
            let rest = matrix[i * size + j] - inner;
            lower[i * size + j] = if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / lower[j * size + j]
            };
        }
    }
    let mut x = right.to_vec();
    for i in 0..size {
        let inner: f64 = (0..i).map(|k| lower[i * size + k] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * size + i];
    }
    for i in (0..size).rev() {
        let inner: f64 = (i + 1..size).map(|k| lower[k * size + i] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * size + i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    /// From `tests/data/gold_backtest.py` (`SciPy`).
    #[test]
    fn coefficients_are_those_of_other_solvers() {
        for (name, link) in [
            ("logistic_table", OutcomeModel::Logistic),
            ("ridge_linear", OutcomeModel::Linear),
        ] {
            let case = golden(name);
            let floats =
                |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).unwrap() };
            let slots: Vec<usize> = serde_json::from_value(case["slot"].clone()).unwrap();
            let x: Vec<Vec<f64>> = serde_json::from_value(case["numeric"].clone()).unwrap();
            let (y, weights) = (floats("target"), floats("weight"));
            let design = Design {
                link,
                base: 0.0,
                slots: 4,
                width: 2,
                row: &|at, features| {
                    features.copy_from_slice(&x[at]);
                    Seen {
                        slot: slots[at],
                        reward: y[at],
                        weight: weights[at],
                    }
                },
                rows: y.len(),
            };
            for (ours, theirs) in design.solve().iter().zip(floats("coefficients")) {
                assert!((ours - theirs).abs() < 1e-8, "{name} {ours} {theirs}");
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_has_no_solution() {
        assert!(cholesky_solve(&[1.0, 0.0, 2.0, 1.0], &[1.0, 1.0]).is_none());
        let x = cholesky_solve(&[4.0, 0.0, 2.0, 3.0], &[8.0, 7.0]).unwrap();
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12);
    }
}
