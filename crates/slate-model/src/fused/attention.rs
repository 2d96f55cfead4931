//! Attention among the places of each list, all heads at once.

use burn_flex::FlexTensor;

use super::rows::{product, size, turned, values};

/// `[lists·places, heads·width]` as `[lists, heads, places, width]`, a view.
fn by_head(rows: &FlexTensor, lists: usize, heads: usize) -> FlexTensor {
    let [all, hidden] = size(rows);
    let shape = vec![lists, all / lists, heads, hidden / heads];
    rows.reshape(shape.into()).permute(&[0, 2, 1, 3])
}

/// The way back, with numbers in order.
fn by_row(heads: &FlexTensor) -> FlexTensor {
    let shape = heads.layout().shape();
    let (rows, hidden) = (shape[0] * shape[2], shape[1] * shape[3]);
    let rows_of = heads.permute(&[0, 2, 1, 3]).to_contiguous();
    rows_of.reshape(vec![rows, hidden].into())
}

/// Context of every place, and the attention weights `[lists, heads, places, places]`.
pub(super) fn forward(
    [q, k, v]: [&FlexTensor; 3],
    real: &FlexTensor,
    lists: usize,
    heads: usize,
) -> (FlexTensor, FlexTensor) {
    let [rows, hidden] = size(q);
    let places = rows / lists;
    let scale = 1.0 / ((hidden / heads) as f32).sqrt();
    let [q, k, v] = [q, k, v].map(|rows| by_head(rows, lists, heads));
    let mut weights = product(&q, &turned(&k));
    let real = values(real);
    let of_list = weights
        .storage_mut::<f32>()
        .chunks_exact_mut(heads * places * places);
    for (weights, real) in of_list.zip(real.chunks_exact(places)) {
        let whole = real.iter().all(|&real| real != 0.0);
        for row in weights.chunks_exact_mut(places) {
            if whole {
                softmax(row, scale);
            } else {
                softmax_of_real(row, real, scale);
            }
        }
    }
    (by_row(&product(&weights, &v)), weights)
}

/// Softmax of `scale · row`, in place.
fn softmax(row: &mut [f32], scale: f32) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = exp(scale * (*value - most));
    }
    let inverse = 1.0 / row.iter().sum::<f32>();
    for value in row {
        *value *= inverse;
    }
}

/// The same over the real places; padding gets nothing.
fn softmax_of_real(row: &mut [f32], real: &[f32], scale: f32) {
    let pairs = row.iter().zip(real).filter(|(_, real)| **real != 0.0);
    let most = pairs
        .map(|(value, _)| *value)
        .fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        // A list of padding alone has no context.
        row.fill(0.0);
        return;
    }
    for (value, real) in row.iter_mut().zip(real) {
        *value = if *real == 0.0 {
            0.0
        } else {
            exp(scale * (*value - most))
        };
    }
    let inverse = 1.0 / row.iter().sum::<f32>();
    for value in row {
        *value *= inverse;
    }
}

/// 1.5 · 2²³: adding and taking it away rounds to a whole number.
const ROUND: f32 = 12_582_912.0;

/// `exp(x)` for `x ≤ 0`, within 2 units of the last place: a polynomial that a processor works out
/// for several numbers at once (Cephes' `expf`).
#[inline]
fn exp(x: f32) -> f32 {
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_2e-4_f32;
    for term in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5.000_000_3e-1,
    ] {
        sum = sum * rest + term;
    }
    let fraction = sum * rest * rest + rest + 1.0;
    // The whole number stands in the low bits of `shifted`; the exponent of a float begins at bit 23.
    let power = shifted.to_bits().wrapping_add(127) << 23;
    fraction * f32::from_bits(power)
}

/// Slopes of queries, keys and values.
pub(super) fn backward(
    [q, k, v]: &[FlexTensor; 3],
    weights: &FlexTensor,
    gradient: &FlexTensor,
    heads: usize,
) -> [FlexTensor; 3] {
    let hidden = size(q)[1];
    let shape = weights.layout().shape();
    let (lists, places) = (shape[0], shape[2]);
    let scale = 1.0 / ((hidden / heads) as f32).sqrt();
    let [q, k, v, gradient] = [q, k, v, gradient].map(|rows| by_head(rows, lists, heads));
    let of_v = product(&turned(weights), &gradient);
    let mut slopes = product(&gradient, &turned(&v));
    let weights = values(weights);
    let rows = slopes.storage_mut::<f32>().chunks_exact_mut(places);
    for (slopes, weights) in rows.zip(weights.chunks_exact(places)) {
        let pairs = slopes.iter().zip(weights);
        let mean: f32 = pairs.map(|(slope, weight)| slope * weight).sum();
        for (slope, weight) in slopes.iter_mut().zip(weights) {
            *slope = weight * (*slope - mean) * scale;
        }
    }
    let of_q = product(&slopes, &k);
    let of_k = product(&turned(&slopes), &q);
    [of_q, of_k, of_v].map(|heads| by_row(&heads))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tensor;
    use super::*;

    #[test]
    fn exp_is_close_to_the_last_place() {
        for step in 0..20_000 {
            let x = -(step as f32) * 0.004;
            let (found, expected) = (exp(x), x.exp());
            assert!(
                (found - expected).abs() <= 3e-7 * expected,
                "{x}: {found} {expected}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37);
    }

    #[test]
    fn padding_has_no_weight() {
        let ones = |shape: &[usize]| tensor(vec![1.0; shape.iter().product()], shape);
        let real = tensor(vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[2, 3]);
        let rows = ones(&[6, 2]);
        let (_, weights) = forward([&rows, &rows, &rows], &real, 2, 1);
        let weights = values(&weights);
        assert_eq!(&weights[..3], [0.5, 0.5, 0.0]);
        assert_eq!(&weights[9..], [0.0; 9]);
    }
}
