//! A normal vector known by what was seen of it: its mean and covariance out of sums.
//!
//! Symmetric matrices are packed: row after row, each up to its diagonal.

/// Numbers of a packed matrix.
pub(super) fn packed(width: usize) -> usize {
    width * (width + 1) / 2
}

/// Adds `weight · v v'` to a packed matrix.
pub(super) fn add_square(sums: &mut [f64], weight: f64, v: &[f64]) {
    let mut at = 0;
    for (i, &one) in v.iter().enumerate() {
        for &other in &v[..=i] {
            sums[at] += weight * (one * other);
            at += 1;
        }
    }
}

/// Adds `weight · v`.
pub(super) fn add_times(sums: &mut [f64], weight: f64, v: &[f64]) {
    let each = sums.iter_mut().zip(v);
    each.for_each(|(sum, number)| *sum += weight * number);
}

/// The Cholesky factor `L` of a positive matrix `L L'`, packed.
#[derive(Debug)]
pub(super) struct Factor {
    lower: Vec<f64>,
    width: usize,
}

impl Factor {
    /// Of `matrix + ridge · I`, which must be positive.
    pub(super) fn new(matrix: &[f64], ridge: f64, width: usize) -> Self {
        let mut lower = matrix.to_vec();
        for i in 0..width {
            let row = packed(i);
            for j in 0..=i {
                let column = packed(j);
                let mut left = lower[row + j];
                for k in 0..j {
                    left -= lower[row + k] * lower[column + k];
                }
                lower[row + j] = if i == j {
                    // The ridge keeps it above 0 but for rounding.
                    (left + ridge).max(f64::MIN_POSITIVE).sqrt()
                } else {
                    left / lower[column + j]
                };
            }
        }
        Self { lower, width }
    }

    /// The `x` of `L L' x = right`, in its place.
    pub(super) fn solve(&self, right: &mut [f64]) {
        let at = |i: usize, j: usize| self.lower[packed(i) + j];
        for i in 0..self.width {
            for k in 0..i {
                right[i] -= at(i, k) * right[k];
            }
            right[i] /= at(i, i);
        }
        for i in (0..self.width).rev() {
            for k in i + 1..self.width {
                right[i] -= at(k, i) * right[k];
            }
            right[i] /= at(i, i);
        }
    }

    /// The inverse of the matrix, packed.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let mut inverse = vec![0.0; packed(self.width)];
        let mut column = vec![0.0; self.width];
        for j in 0..self.width {
            column.fill(0.0);
            column[j] = 1.0;
            self.solve(&mut column);
            for i in j..self.width {
                inverse[packed(i) + j] = column[i];
            }
        }
        inverse
    }

    /// `L' v`.
    pub(super) fn turned(&self, v: &[f64]) -> Vec<f64> {
        let product = |j: usize| (j..self.width).map(move |i| self.lower[packed(i) + j] * v[i]);
        (0..self.width).map(|j| product(j).sum()).collect()
    }

    /// `L' M L` of a packed matrix.
    pub(super) fn turned_matrix(&self, matrix: &[f64]) -> Vec<f64> {
        let width = self.width;
        let of = |i: usize, j: usize| matrix[packed(i.max(j)) + i.min(j)];
        // Column after column of M L, then L' of each.
        let columns: Vec<Vec<f64>> = (0..width)
            .map(|j| {
                let product = |i: usize| -> f64 {
                    (j..width)
                        .map(|k| of(i, k) * self.lower[packed(k) + j])
                        .sum()
                };
                self.turned(&(0..width).map(product).collect::<Vec<_>>())
            })
            .collect();
        let rows = (0..width).flat_map(|i| (0..=i).map(move |j| (i, j)));
        rows.map(|(i, j)| columns[j][i]).collect()
    }

    /// The logarithm of the matrix's determinant.
    #[cfg(test)]
    pub(super) fn ln_determinant(&self) -> f64 {
        (0..self.width)
            .map(|i| 2.0 * self.lower[packed(i) + i].ln())
            .sum()
    }
}

/// The sum of the products of all numbers of two packed matrices: `v' M v` where one is `v v'`.
pub(super) fn inner(one: &[f64], other: &[f64]) -> f64 {
    let (mut sum, mut diagonal, mut row) = (0.0, 0, 0);
    for (at, (one, other)) in one.iter().zip(other).enumerate() {
        let times = if at == diagonal { 1.0 } else { 2.0 };
        sum += times * one * other;
        if at == diagonal {
            row += 1;
            diagonal += row + 1;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 2 .6 / 2 5 1 / .6 1 3
    const MATRIX: [f64; 6] = [4.0, 2.0, 5.0, 0.6, 1.0, 3.0];

    fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
        let at = |i: usize, j: usize| matrix[packed(i.max(j)) + i.min(j)];
        (0..v.len())
            .map(|i| (0..v.len()).map(|j| at(i, j) * v[j]).sum())
            .collect()
    }

    #[test]
    fn equations_are_solved_and_matrices_inverted() {
        let factor = Factor::new(&MATRIX, 0.5, 3);
        let mut ridged = MATRIX;
        for i in 0..3 {
            ridged[packed(i) + i] += 0.5;
        }
        let right = [1.0, -2.0, 0.5];
        let mut x = right.to_vec();
        factor.solve(&mut x);
        for (left, right) in times(&ridged, &x).iter().zip(right) {
            assert!((left - right).abs() < 1e-12, "{left} {right}");
        }
        let inverse = factor.inverse();
        for (same, x) in times(&inverse, &right).iter().zip(&x) {
            assert!((same - x).abs() < 1e-12, "{same} {x}");
        }
        let direct: f64 = times(&MATRIX, &right)
            .iter()
            .zip(right)
            .map(|(a, b)| a * b)
            .sum();
        let mut square = vec![0.0; 6];
        add_square(&mut square, 1.0, &right);
        assert!((inner(&MATRIX, &square) - direct).abs() < 1e-12);
    }

    #[test]
    fn a_factor_turns_a_form_into_a_length() {
        let factor = Factor::new(&MATRIX, 0.0, 3);
        let v = [0.3, -1.0, 2.0];
        let mut square = vec![0.0; 6];
        add_square(&mut square, 1.0, &v);
        let mut turned = vec![0.0; 6];
        add_square(&mut turned, 1.0, &factor.turned(&v));
        for (found, expected) in factor.turned_matrix(&square).iter().zip(&turned) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let length: f64 = factor.turned(&v).iter().map(|x| x * x).sum();
        assert!((length - inner(&MATRIX, &square)).abs() < 1e-12);
        // By the rule of Sarrus.
        let determinant: f64 =
            4.0 * (5.0 * 3.0 - 1.0) - 2.0 * (2.0 * 3.0 - 0.6) + 0.6 * (2.0 - 3.0);
        assert!((factor.ln_determinant() - determinant.ln()).abs() < 1e-12);
    }

    #[test]
    fn squares_add_up() {
        let mut sums = vec![0.0; 6];
        add_square(&mut sums, 1.0, &[1.0, 2.0, -1.0]);
        add_square(&mut sums, 1.0, &[1.0, 2.0, -1.0]);
        add_square(&mut sums, 1.0, &[0.0, 1.0, 0.0]);
        assert_eq!(sums, [2.0, 4.0, 9.0, -2.0, -4.0, 2.0]);
    }
}
