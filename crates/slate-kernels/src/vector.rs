//! Arithmetic that is compiled twice: for any processor, and for one with vectors of eight numbers.

/// Runs `work` as compiled for AVX2 where the processor has it, else as it is.
///
/// The result has the same bits either way: sums keep the order the source gives them, and no product
/// is fused with a sum. Only what is inlined into `work` gains.
#[inline]
pub fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide<T>(work: impl FnOnce() -> T) -> T {
            work()
        }
        #[expect(
            unsafe_code,
            reason = "code for a feature may run where the feature is"
        )]
        // SAFETY: the processor was just asked.
        return unsafe { wide(work) };
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_plain_code() {
        // Inlined, so that what runs in `vectorised` is compiled there.
        #[inline(always)]
        fn work(values: &[f32]) -> Vec<f32> {
            let terms = values.iter().map(|&value| value * 1.7 + value * value);
            let mut running = 0.0;
            terms
                .map(|term| {
                    running += term;
                    crate::exp(term) / (1.0 + running.abs())
                })
                .collect()
        }
        let values: Vec<f32> = (0..1000).map(|at| (at as f32 * 0.37).sin()).collect();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(
            bits(vectorised(
                #[inline(always)]
                || work(&values)
            )),
            bits(work(&values))
        );
    }
}
