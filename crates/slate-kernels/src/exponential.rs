//! The exponential function and its kin, as polynomials that a processor works out for several numbers
//! at once; the library's own take one at a time. After Cephes' `expf`.

/// 1.5 · 2²³: adding and taking it away rounds to a whole number.
const ROUND: f32 = 12_582_912.0;

/// `exp(x)`, within 3 units of the last place for `x` from −87 to 88, and the value at that end beyond.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
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
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, within 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    // Near 0 the difference above would lose the digits of `x`: its series there.
    let square = x * x;
    let series = (square * (2.0 / 15.0 - square * (17.0 / 315.0)) - 1.0 / 3.0) * square;
    let near = x + x * series;
    if x.abs() < 0.2 { near } else { far }
}

/// The normal distribution's `Φ(x)`, within 2e-7, and `exp(−x²/2)`.
///
/// The error function is Abramowitz and Stegun's 7.1.26.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let size = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut sum = 1.061_405_4_f32;
    for term in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + term;
    }
    let bell = exp(-size * size);
    // erfc(|x| / √2) / 2: what Φ lacks of 1 for positive x, and has for negative.
    let tail = 0.5 * sum * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

/// `x Φ(x)` with the normal distribution's `Φ`, the exact GELU, within 2e-7 · max(1, |x|).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    x * normal(x).0
}

/// The slope of [`gelu`], `Φ(x) + x φ(x)`, within 4e-7.
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    /// `1 / √(2π)`
    const HEIGHT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2 * 0.5;
    let (share, bell) = normal(x);
    share + x * HEIGHT * bell
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

    /// The error function by a series whose terms are all of one sign.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp()
    }

    #[test]
    fn gelu_is_its_definition() {
        for step in -8_000..8_000 {
            let x = step as f32 * 0.001;
            let exact =
                f64::from(x) * 0.5 * (1.0 + erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2));
            let error = (f64::from(gelu(x)) - exact).abs();
            assert!(
                error < 2e-7 * f64::from(x.abs().max(1.0)),
                "{x}: {} {exact}",
                gelu(x)
            );
            let share = 0.5 * (1.0 + erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2));
            let density = (-0.5 * f64::from(x).powi(2)).exp() / std::f64::consts::TAU.sqrt();
            let error = f64::from(gelu_slope(x)) - (share + f64::from(x) * density);
            assert!(error.abs() < 4e-7, "{x}: {error}");
        }
        assert_eq!(gelu(0.0), 0.0);
        assert_eq!(gelu(100.0), 100.0);
        assert!(gelu(-100.0).abs() < 1e-30);
    }
}
