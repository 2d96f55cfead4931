//! Rows of numbers: sums, means and softmax.

use crate::{exp, vectorised};

/// Sums of a row in eight strands, which a processor adds side by side.
#[inline(always)]
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

/// The scalar product of two rows of one length, in eight strands.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut strands = [0.0_f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let pairs = a.remainder().iter().zip(b.remainder());
    let rest: f32 = pairs.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (strand, (a, b)) in strands.iter_mut().zip(a.iter().zip(b)) {
            *strand += a * b;
        }
    }
    strands.iter().sum::<f32>() + rest
}

/// The largest number of a row that is not NaN, −∞ where there is none; in eight strands, whose order
/// changes nothing.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut strands = [f32::NEG_INFINITY; 8];
    let chunks = row.chunks_exact(8);
    let rest = chunks.remainder().iter().copied();
    let rest = rest.fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (strand, value) in strands.iter_mut().zip(chunk) {
            *strand = larger(*strand, *value);
        }
    }
    strands.into_iter().fold(rest, larger)
}

/// Whether no number is NaN or infinite.
pub fn all_finite(values: &[f32]) -> bool {
    // By their bits, without the sign: what is not finite is at least infinity's, and the largest of many is found
    // with vectors.
    let largest = |values: &[f32]| {
        let bits = values.iter().map(|value| value.abs().to_bits());
        bits.fold(0, u32::max)
    };
    vectorised(
        #[inline(always)]
        || {
            let mut chunks = values.chunks(1024);
            chunks.all(|chunk| largest(chunk) < f32::INFINITY.to_bits())
        },
    )
}

/// The sum of all rows of `width` numbers.
pub fn sum_of_rows(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact(width) {
                let pairs = sums.iter_mut().zip(row);
                pairs.for_each(|(sum, value)| *sum += value);
            }
        },
    );
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
    #[inline(always)]
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

/// Softmax of each row of `width` numbers, in place.
pub fn softmax(rows: &mut [f32], width: usize) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width) {
                let most = largest(row);
                for value in row.iter_mut() {
                    *value = exp(*value - most);
                }
                let inverse = 1.0 / sum(row, |value| value);
                for value in row {
                    *value *= inverse;
                }
            }
        },
    );
}

/// The same over the places where `real` is not 0; padding gets nothing.
pub fn softmax_of_real(rows: &mut [f32], real: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(real.len()) {
                let pairs = row.iter().zip(real).filter(|(_, real)| **real != 0.0);
                let most = pairs
                    .map(|(value, _)| *value)
                    .fold(f32::NEG_INFINITY, f32::max);
                if most == f32::NEG_INFINITY {
                    row.fill(0.0);
                    continue;
                }
                for (value, real) in row.iter_mut().zip(real) {
                    let own = exp(*value - most);
                    *value = if *real == 0.0 { 0.0 } else { own };
                }
                let inverse = 1.0 / sum(row, |value| value);
                for value in row {
                    *value *= inverse;
                }
            }
        },
    );
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
        let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        assert!((f64::from(dot(&row, &row)) - squares).abs() < 1e-5);
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(largest(&row), most);
        assert_eq!(largest(&[f32::NAN, 2.0]), 2.0);
        assert_eq!(largest(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_anywhere() {
        let mut values = vec![f32::MAX; 2 * 1024 + 11];
        values[7] = f32::MIN;
        assert!(all_finite(&values) && all_finite(&[]));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 1023, 1024, 2058] {
                let there = std::mem::replace(&mut values[place], bad);
                assert!(!all_finite(&values), "{bad} at {place}");
                values[place] = there;
            }
        }
    }

    #[test]
    fn softmax_leaves_padding_out() {
        let mut row = [1.0, 1.0, 5.0];
        softmax_of_real(&mut row, &[1.0, 1.0, 0.0]);
        assert_eq!(row, [0.5, 0.5, 0.0]);
        softmax_of_real(&mut row, &[0.0; 3]);
        assert_eq!(row, [0.0; 3]);
        let mut rows = [1e4, 1e4, 0.0, 3.0_f32.ln()];
        softmax(&mut rows, 2);
        assert_eq!(rows[..2], [0.5, 0.5]);
        assert!((rows[2] - 0.25).abs() < 1e-6 && (rows[3] - 0.75).abs() < 1e-6);
    }
}
