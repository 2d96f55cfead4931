//! Bins of equal mass that never split equal values, so that row order cannot matter.

use std::ops::Range;

/// Cuts `sorted` into at most `bins` ranges of nearly equal length.
///
/// Without ties the first `len % bins` ranges have one value more than the others, as
/// `numpy.array_split` has it. A cut inside a run of equal values moves to the nearer end of the
/// run, and to the later one when both are as near; cuts that then coincide are one cut.
pub(crate) fn equal_mass(sorted: &[f64], bins: usize) -> Vec<Range<usize>> {
    let n = sorted.len();
    let mut ranges = Vec::with_capacity(bins.min(n));
    let mut start = 0;
    for bin in 1..=bins {
        let cut = bin * (n / bins) + bin.min(n % bins);
        let end = if cut == 0 || cut >= n || sorted[cut - 1] < sorted[cut] {
            cut.min(n)
        } else {
            let first = sorted.partition_point(|value| *value < sorted[cut]);
            let after = sorted.partition_point(|value| *value <= sorted[cut]);
            if cut - first < after - cut {
                first
            } else {
                after
            }
        };
        if end > start {
            ranges.push(start..end);
            start = end;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_even_and_ties_stay_together() {
        assert_eq!(equal_mass(&[1.0, 2.0, 3.0, 4.0, 5.0], 2), [0..3, 3..5]);
        assert_eq!(equal_mass(&[1.0, 2.0, 2.0, 2.0], 2), [0..1, 1..4]);
        assert_eq!(
            equal_mass(&[1.0, 1.0, 2.0, 3.0, 3.0, 3.0], 3),
            [0..2, 2..3, 3..6]
        );
        assert_eq!(
            equal_mass(&[7.0, 7.0, 8.0, 8.0, 8.0], 1).first(),
            Some(&(0..5))
        );
        assert_eq!(equal_mass(&[7.0; 4], 3).first(), Some(&(0..4)));
        assert_eq!(equal_mass(&[1.0, 2.0], 5), [0..1, 1..2]);
        assert!(equal_mass(&[], 5).is_empty());
    }
}
