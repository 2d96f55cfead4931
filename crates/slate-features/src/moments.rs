//! Mean, standard deviation and quantiles of a stream of numbers.

use crate::map::Scale;

/// Count, mean and sum of squared deviations, added to one number at a time (Welford 1962):
/// exact to rounding even where the mean is large beside the deviation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    /// The same after `zeros` zeros more (Chan, Golub and Leveque 1979).
    #[must_use]
    pub(crate) fn with_zeros(self, zeros: u64) -> Self {
        if zeros == 0 {
            return self;
        }
        let count = self.count + zeros;
        let share = self.count as f64 / count as f64;
        Self {
            count,
            mean: self.mean * share,
            squares: self.squares + self.mean * self.mean * share * zeros as f64,
        }
    }

    /// Mean and population standard deviation; a deviation that is only rounding counts as 0.
    pub(crate) fn scale(self) -> Scale {
        if self.count == 0 {
            return Scale { mean: 0.0, sd: 0.0 };
        }
        let sd = (self.squares / self.count as f64).sqrt();
        let rounding = 1e-12 * self.mean.abs();
        Scale {
            mean: self.mean,
            sd: if sd > rounding { sd } else { 0.0 },
        }
    }
}

/// Numbers kept for quantiles: all of them while they fit, then every second, every fourth, … in
/// the order they came. Which are kept depends on their places alone, so the result is the same
/// on every run.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    kept: Vec<f64>,
    most: usize,
    stride: u64,
    seen: u64,
}

impl Sample {
    /// Keeps at most `most` numbers, which must be even.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            most,
            stride: 1,
            seen: 0,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.most {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(value);
            }
        }
        self.seen += 1;
    }

    /// Where `bins` bins of equal share begin, the first left out: quantiles `k / bins`,
    /// linear between neighbours as NumPy has them. Equal edges are merged, and an edge at the
    /// smallest number is dropped, since no number is below it.
    pub(crate) fn edges(mut self, bins: u32) -> Vec<f64> {
        self.kept.sort_unstable_by(f64::total_cmp);
        let Some(&smallest) = self.kept.first() else {
            return Vec::new();
        };
        let mut edges: Vec<f64> = (1..bins)
            .map(|k| quantile(&self.kept, f64::from(k) / f64::from(bins)))
            .collect();
        edges.dedup();
        edges.retain(|&edge| edge > smallest);
        edges
    }
}

/// `sorted` has at least one number.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    let part = place - place.floor();
    // From the nearer end, as NumPy does, so that rounding is the same.
    if part < 0.5 {
        low + (high - low) * part
    } else {
        high - (high - low) * (1.0 - part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for &value in values {
            moments.add(value);
        }
        moments
    }

    #[test]
    fn a_constant_has_no_deviation() {
        assert_eq!(moments(&[0.1; 1000]).scale(), Scale { mean: 0.1, sd: 0.0 });
        assert_eq!(moments(&[]).scale(), Scale { mean: 0.0, sd: 0.0 });
    }

    #[test]
    fn zeros_can_be_added_afterwards() {
        let late = moments(&[3.0, 1.0, 2.5]).with_zeros(4).scale();
        let early = moments(&[3.0, 0.0, 1.0, 0.0, 2.5, 0.0, 0.0]).scale();
        assert!((late.mean - early.mean).abs() < 1e-15);
        assert!((late.sd - early.sd).abs() < 1e-15);
        assert_eq!(
            moments(&[]).with_zeros(5).scale(),
            Scale { mean: 0.0, sd: 0.0 }
        );
    }

    #[test]
    fn a_full_sample_keeps_places_evenly() {
        let mut sample = Sample::new(8);
        (0..30).for_each(|i| sample.add(f64::from(i)));
        assert_eq!(sample.kept, [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0]);
    }

    #[test]
    fn heavy_ties_give_fewer_bins() {
        let mut sample = Sample::new(1024);
        for value in [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0] {
            sample.add(value);
        }
        assert_eq!(sample.edges(4), [0.25]);
    }
}
