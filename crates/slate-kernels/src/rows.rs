//! Rows of numbers: sums, means and softmax.

use crate::exp;

/// Sums of a row in eight strands, which a processor adds side by side.
#[inline]
pub fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut strands = [0.0_f32; 8];
    let chunks = row.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|&value| term(value)).sum();
    for chunk in chunks {
        for (strand, &value) in strands.iter_mut().zip(chunk) {
            *strand += term(value);
        }
    }
    strands.iter().sum::<f32>() + rest
}

/// The sum of all rows of `width` numbers.
pub fn sum_of_rows(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in values.chunks_exact(width) {
        let pairs = sums.iter_mut().zip(row);
        pairs.for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// What a row is normalised by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Its mean.
    pub mean: f32,
    /// `1 / √(variance + epsilon)`, the variance over all numbers of the row.
    pub scale: f32,
}

impl Moments {
    /// Those of a row that is not empty.
    #[inline]
    pub fn of(row: &[f32], epsilon: f32) -> Self {
        let width = row.len() as f32;
        let mean = sum(row, |value| value) / width;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / width;
        Self {
            mean,
            scale: 1.0 / (variance + epsilon).sqrt(),
        }
    }
}

/// Softmax of a row, in place.
pub fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = exp(*value - most);
    }
    let inverse = 1.0 / row.iter().sum::<f32>();
    for value in row {
        *value *= inverse;
    }
}

/// The same over the places where `real` is not 0; padding gets nothing.
pub fn softmax_of_real(row: &mut [f32], real: &[f32]) {
    let pairs = row.iter().zip(real).filter(|(_, real)| **real != 0.0);
    let most = pairs
        .map(|(value, _)| *value)
        .fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    for (value, real) in row.iter_mut().zip(real) {
        *value = if *real == 0.0 {
            0.0
        } else {
            exp(*value - most)
        };
    }
    let inverse = 1.0 / row.iter().sum::<f32>();
    for value in row {
        *value *= inverse;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_moments_are_those_of_plain_loops() {
        let row: Vec<f32> = (0..21).map(|at| (at as f32 * 0.7).sin()).collect();
        let plain: f64 = row.iter().map(|&value| f64::from(value)).sum();
        assert!((f64::from(sum(&row, |value| value)) - plain).abs() < 1e-6);
        let mean = plain / 21.0;
        let variance = row
            .iter()
            .map(|&value| (f64::from(value) - mean).powi(2))
            .sum::<f64>()
            / 21.0;
        let found = Moments::of(&row, 1e-5);
        assert!((f64::from(found.mean) - mean).abs() < 1e-6);
        assert!((f64::from(found.scale) - 1.0 / (variance + 1e-5).sqrt()).abs() < 1e-5);
        assert_eq!(sum_of_rows(&[1.0, 2.0, 3.0, 4.0], 2), [4.0, 6.0]);
    }

    #[test]
    fn softmax_leaves_padding_out() {
        let mut row = [1.0, 1.0, 5.0];
        softmax_of_real(&mut row, &[1.0, 1.0, 0.0]);
        assert_eq!(row, [0.5, 0.5, 0.0]);
        softmax_of_real(&mut row, &[0.0; 3]);
        assert_eq!(row, [0.0; 3]);
        let mut row = [1e4, 1e4];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5]);
    }
}
