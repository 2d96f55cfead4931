//! Logistic regression on a few columns, some of whose coefficients may not be negative.
//!
//! Projected Newton (Bertsekas 1982): coefficients that stand at 0 and would fall are held, a Newton
//! step is taken in the others, and what it makes negative is put back to 0. The loss is convex, so
//! what it ends at is the best there is.

use rayon::prelude::*;

use crate::examples::Examples;
use crate::sigmoid::log_loss;

/// Rows summed by one thread at a time; chunks are summed in order.
const CHUNK: usize = 1 << 12;

/// Weighted log loss of `1 / (1 + exp(-columns · coefficients))`, plus half the coefficients' form
/// in `penalty`.
pub(crate) struct Regression<'a, C> {
    pub(crate) examples: &'a Examples<'a>,
    /// Writes the columns of a row with this score.
    pub(crate) columns: C,
    /// Which coefficients may not be negative.
    pub(crate) bounded: &'a [bool],
    /// A symmetric matrix, row by row.
    pub(crate) penalty: &'a [f64],
}

/// Where the search ended.
pub(crate) struct Solution {
    pub(crate) coefficients: Vec<f64>,
    /// Log loss without the penalty.
    pub(crate) loss: f64,
    /// Degrees of freedom: how many free coefficients the penalty leaves, in effect.
    pub(crate) freedom: f64,
}

struct Sums {
    loss: f64,
    gradient: Vec<f64>,
    /// Row by row.
    hessian: Vec<f64>,
}

impl<C: Fn(f64, &mut [f64]) + Sync> Regression<'_, C> {
    fn sums(&self, at: &[f64]) -> Sums {
        let width = at.len();
        let scores = &self.examples.scores;
        let parts: Vec<Sums> = (0..scores.len().div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let mut sums = Sums {
                    loss: 0.0,
                    gradient: vec![0.0; width],
                    hessian: vec![0.0; width * width],
                };
                let mut columns = vec![0.0; width];
                for row in chunk * CHUNK..((chunk + 1) * CHUNK).min(scores.len()) {
                    (self.columns)(scores[row], &mut columns);
                    let e = columns.iter().zip(at).map(|(x, c)| x * c).sum();
                    let weight = self.examples.weight(row);
                    let [loss, first, second] =
                        log_loss(e, self.examples.labels[row]).map(|part| weight * part);
                    sums.loss += loss;
                    for i in 0..width {
                        sums.gradient[i] += first * columns[i];
                        let scaled = second * columns[i];
                        let row = &mut sums.hessian[i * width..=i * width + i];
                        for (sum, column) in row.iter_mut().zip(&columns) {
                            *sum += scaled * column;
                        }
                    }
                }
                sums
            })
            .collect();
        let mut total = Sums {
            loss: 0.0,
            gradient: vec![0.0; width],
            hessian: vec![0.0; width * width],
        };
        for part in parts {
            total.loss += part.loss;
            for (sum, value) in total.gradient.iter_mut().zip(part.gradient) {
                *sum += value;
            }
            for (sum, value) in total.hessian.iter_mut().zip(part.hessian) {
                *sum += value;
            }
        }
        for i in 0..width {
            for j in i + 1..width {
                total.hessian[i * width + j] = total.hessian[j * width + i];
            }
        }
        total
    }

    /// Half the form of the penalty, and its gradient.
    fn penalty(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let width = at.len();
        let gradient: Vec<f64> = (0..width)
            .map(|i| {
                let row = &self.penalty[i * width..(i + 1) * width];
                row.iter().zip(at).map(|(p, c)| p * c).sum()
            })
            .collect();
        let form: f64 = gradient.iter().zip(at).map(|(g, c)| g * c).sum();
        (form / 2.0, gradient)
    }
}

/// Minimises from `start`, whose bounded coefficients are not negative.
pub(crate) fn solve<C: Fn(f64, &mut [f64]) + Sync>(
    regression: &Regression<'_, C>,
    start: Vec<f64>,
) -> Solution {
    let width = start.len();
    let mut at = start;
    let mut sums = regression.sums(&at);
    let mut free: Vec<usize> = (0..width).collect();
    for _ in 0..200 {
        let (penalty, slope) = regression.penalty(&at);
        let value = sums.loss + penalty;
        let gradient: Vec<f64> = sums
            .gradient
            .iter()
            .zip(slope)
            .map(|(a, b)| a + b)
            .collect();
        let hessian: Vec<f64> = sums
            .hessian
            .iter()
            .zip(regression.penalty)
            .map(|(a, b)| a + b)
            .collect();
        let held = |i: usize| regression.bounded[i] && at[i] == 0.0;
        free = (0..width)
            .filter(|&i| !held(i) || gradient[i] < 0.0)
            .collect();
        let step = loop {
            let step = newton_step(&hessian, &gradient, &free);
            // A coefficient at 0 that the step would make negative is held as well.
            let before = free.len();
            free.retain(|&i| !held(i) || step[i] > 0.0);
            if free.len() == before {
                break step;
            }
        };
        let fall: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        if !fall.is_finite() || fall >= 0.0 {
            break;
        }
        let moved = |share: f64| -> Vec<f64> {
            (0..width)
                .map(|i| {
                    let value = at[i] + share * step[i];
                    if regression.bounded[i] {
                        value.max(0.0)
                    } else {
                        value
                    }
                })
                .collect()
        };
        if -fall < 1e-15 * value.abs() {
            // The last step falls less than the sum can show: take it unseen.
            at = moved(1.0);
            break;
        }
        let mut share = 1.0;
        let next = loop {
            let tried = moved(share);
            let wanted: f64 = (0..width).map(|i| gradient[i] * (tried[i] - at[i])).sum();
            let sums = regression.sums(&tried);
            let found = sums.loss + regression.penalty(&tried).0;
            if found <= value + 1e-4 * wanted
                || share == 1.0 && -fall < 1e-12 * value.abs() && found.is_finite()
            {
                break Some((tried, sums));
            }
            share /= 2.0;
            if share < 1e-10 {
                break None;
            }
        };
        let Some((tried, tried_sums)) = next else {
            break;
        };
        (at, sums) = (tried, tried_sums);
    }
    Solution {
        freedom: freedom(&sums.hessian, regression.penalty, &free, width),
        loss: sums.loss,
        coefficients: at,
    }
}

/// The Newton step in the coefficients `free`, 0 in the others.
fn newton_step(hessian: &[f64], gradient: &[f64], free: &[usize]) -> Vec<f64> {
    let width = gradient.len();
    let mut step = vec![0.0; width];
    let square: Vec<f64> = free
        .iter()
        .flat_map(|&i| free.iter().map(move |&j| hessian[i * width + j]))
        .collect();
    let right: Vec<f64> = free.iter().map(|&i| -gradient[i]).collect();
    for (&i, value) in free.iter().zip(cholesky_solve(square, right)) {
        step[i] = value;
    }
    step
}

/// The trace of H (H + P)⁻¹ over the free coefficients.
fn freedom(hessian: &[f64], penalty: &[f64], free: &[usize], width: usize) -> f64 {
    let of = |matrix: &[f64], i: usize, j: usize| matrix[i * width + j];
    let square: Vec<f64> = free
        .iter()
        .flat_map(|&i| free.iter().map(move |&j| (i, j)))
        .map(|(i, j)| of(hessian, i, j) + of(penalty, i, j))
        .collect();
    free.iter()
        .enumerate()
        .map(|(place, &j)| {
            let column = free.iter().map(|&i| of(hessian, i, j)).collect();
            cholesky_solve(square.clone(), column)[place]
        })
        .sum()
}

/// Solves `matrix x = right` for a symmetric, positive matrix. A hair on the diagonal keeps it so
/// where columns are nearly multiples of each other.
fn cholesky_solve(mut matrix: Vec<f64>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    let largest = (0..n).map(|i| matrix[i * n + i]).fold(0.0, f64::max);
    for i in 0..n {
        matrix[i * n + i] += 1e-13 * largest + f64::MIN_POSITIVE;
    }
    for j in 0..n {
        for k in 0..j {
            let scale = matrix[j * n + k];
            for i in j..n {
                matrix[i * n + j] -= scale * matrix[i * n + k];
            }
        }
        let root = matrix[j * n + j].max(f64::MIN_POSITIVE).sqrt();
        for i in j..n {
            matrix[i * n + j] /= root;
        }
    }
    for i in 0..n {
        for k in 0..i {
            right[i] -= matrix[i * n + k] * right[k];
        }
        right[i] /= matrix[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            right[i] -= matrix[k * n + i] * right[k];
        }
        right[i] /= matrix[i * n + i];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let matrix = vec![4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let x = cholesky_solve(matrix.clone(), vec![1.0, -2.0, 0.5]);
        for (i, right) in [1.0, -2.0, 0.5].into_iter().enumerate() {
            let left: f64 = (0..3).map(|j| matrix[i * 3 + j] * x[j]).sum();
            assert!((left - right).abs() < 1e-11, "{left} {right}");
        }
    }
}
