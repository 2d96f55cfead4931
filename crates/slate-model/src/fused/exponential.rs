//! The exponential function and its kin, as polynomials that a processor works out for several numbers
//! at once; the library's own take one at a time. After Cephes' `expf`.

/// 1.5 · 2²³: adding and taking it away rounds to a whole number.
const ROUND: f32 = 12_582_912.0;

/// `exp(x)`, within 3 units of the last place for `x` from −87 to 88, and the value at that end beyond.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
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

/// `1 / (1 + exp(−x))`.
#[inline]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, within 3e-7.
#[inline]
pub(super) fn tanh(x: f32) -> f32 {
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    // Near 0 the difference above would lose the digits of `x`: its series there.
    let square = x * x;
    let series = (square * (2.0 / 15.0 - square * (17.0 / 315.0)) - 1.0 / 3.0) * square;
    let near = x + x * series;
    if x.abs() < 0.2 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_last_place() {
        for step in -21_000..21_000 {
            let x = step as f32 * 0.004;
            let (found, expected) = (exp(x), x.exp());
            assert!(
                (found - expected).abs() <= 4e-7 * expected,
                "{x}: {found} {expected}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37 && exp(1e30).is_finite());
    }

    #[test]
    fn sigmoid_and_tanh_are_the_librarys() {
        for step in -20_000..20_000 {
            let x = step as f32 * 0.001;
            let plain = 1.0 / (1.0 + f64::from(-x).exp());
            assert!(
                (f64::from(sigmoid(x)) - plain).abs() < 2e-7,
                "{x}: {}",
                sigmoid(x)
            );
            let (found, expected) = (tanh(x), x.tanh());
            assert!((found - expected).abs() < 3e-7, "{x}: {found}");
        }
    }
}
