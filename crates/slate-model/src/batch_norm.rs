//! Batch normalisation of the dense inputs (Ioffe and Szegedy 2015), mask-aware.
//!
//! In training each input is standardised by its mean and deviation over the real slots of the batch, whole
//! whatever pieces it is cut in; scores are made with running means of both. Inputs want no gradient, so this
//! is done on the host where they are read, and only a scale and a shift for each input are left for the
//! network to learn.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::initial::Initial;
use crate::weights::{Tensors, host};

/// What is added to a variance, as in `torch.nn.BatchNorm1d`.
const EPSILON: f64 = 1e-5;

/// Share of a running mean that a batch replaces, as in `torch.nn.BatchNorm1d`.
const MOMENTUM: f32 = 0.1;

/// Scale, shift and running moments of each input, `[D]` each.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    /// Running mean; no gradient reaches it.
    mean: Param<Tensor<1>>,
    /// Running variance, unbiased; no gradient reaches it.
    variance: Param<Tensor<1>>,
}

/// Mean and variance of each input over rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchMoments {
    rows: usize,
    mean: Vec<f64>,
    /// Over all rows, not unbiased.
    variance: Vec<f64>,
}

/// What inputs are standardised by: `(x − mean) · scale`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standard {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl BatchMoments {
    /// Those of rows of `width` inputs, one after the other; none where there are no rows.
    pub(crate) fn of(values: &[f32], width: usize) -> Option<Self> {
        let count = values.len().checked_div(width).filter(|&count| count > 0)?;
        let share = |sums: Vec<f64>| -> Vec<f64> {
            sums.into_iter().map(|sum| sum / count as f64).collect()
        };
        let mut sums = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let mean = share(sums);
        let mut squares = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for (sum, (value, mean)) in squares.iter_mut().zip(row.iter().zip(&mean)) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        Some(Self {
            rows: count,
            mean,
            variance: share(squares),
        })
    }

    pub(crate) fn standard(&self) -> Standard {
        let scale = |variance: &f64| (1.0 / (variance + EPSILON).sqrt()) as f32;
        Standard {
            mean: self.mean.iter().map(|&mean| mean as f32).collect(),
            scale: self.variance.iter().map(scale).collect(),
        }
    }
}

impl Standard {
    /// Standardises a row in place.
    pub(crate) fn apply(&self, row: &mut [f32]) {
        for (value, (mean, scale)) in row.iter_mut().zip(self.mean.iter().zip(&self.scale)) {
            *value = (*value - mean) * scale;
        }
    }
}

impl BatchNorm {
    pub(crate) fn new(width: usize, initial: &Initial<'_>) -> Self {
        let filled = |value: f32| {
            let values = TensorData::new(vec![value; width], [width]);
            Param::from_data(values, initial.device)
        };
        Self {
            gamma: filled(1.0),
            beta: filled(0.0),
            mean: filled(0.0),
            variance: filled(1.0),
        }
    }

    /// What rows are standardised by where there is no batch to learn from.
    pub(crate) fn running(&self) -> Standard {
        let mut both = Tensors::default();
        both.push(self.mean.val());
        both.push(self.variance.val());
        let both = both.fetch().expect("weights can be read").into_iter();
        let mut both = both.map(|values| values.into_iter().map(f64::from).collect());
        let mut next = || both.next().expect("two were asked for");
        let moments = BatchMoments {
            rows: 0,
            mean: next(),
            variance: next(),
        };
        moments.standard()
    }

    /// Scales and shifts standardised rows.
    ///
    /// # Shapes
    /// - x, output: `[rows, D]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x * self.gamma.val().unsqueeze() + self.beta.val().unsqueeze()
    }

    /// The same after a batch: its moments have a share in the running ones, as in PyTorch, also while these
    /// are mostly what they began with. One row says nothing of a deviation and moves nothing.
    pub(crate) fn followed(mut self, batch: &BatchMoments) -> Self {
        if batch.rows < 2 {
            return self;
        }
        let bias = batch.rows as f64 / (batch.rows - 1) as f64;
        let unbiased: Vec<f64> = batch.variance.iter().map(|own| own * bias).collect();
        self.mean = moved(self.mean, &batch.mean);
        self.variance = moved(self.variance, &unbiased);
        self
    }
}

fn moved(running: Param<Tensor<1>>, batch: &[f64]) -> Param<Tensor<1>> {
    running.map(|running| {
        let device = running.device();
        let pairs = host(running).into_iter().zip(batch);
        let values: Vec<f32> = pairs
            .map(|(old, new)| old * (1.0 - MOMENTUM) + *new as f32 * MOMENTUM)
            .collect();
        let width = values.len();
        Tensor::from_data(TensorData::new(values, [width]), &device)
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use slate_types::Seed;

    use super::*;

    #[test]
    fn a_batch_is_standardised_and_moves_the_running_moments() {
        let rows = [[1.0_f32, 5.0], [3.0, 5.0], [8.0, 5.0]];
        let moments = BatchMoments::of(rows.as_flattened(), 2).unwrap();
        assert_eq!(moments.mean, [4.0, 5.0]);
        assert_eq!(moments.variance, [26.0 / 3.0, 0.0]);
        let mut own = rows;
        for row in &mut own {
            moments.standard().apply(row);
        }
        let scale = (1.0 / (26.0_f64 / 3.0 + 1e-5).sqrt()) as f32;
        assert_eq!(
            own,
            [[-3.0 * scale, 0.0], [-scale, 0.0], [4.0 * scale, 0.0]]
        );

        let device = Device::flex();
        let initial = Initial {
            seed: Seed(1),
            device: &device,
        };
        let norm = BatchNorm::new(2, &initial).followed(&moments);
        let near = |found: Tensor<1>, expected: [f32; 2]| {
            let found = host(found);
            let pairs = found.iter().zip(expected);
            for (found, expected) in pairs {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        };
        near(norm.mean.val(), [0.4, 0.5]);
        // torch.nn.BatchNorm1d keeps the unbiased variance, 13 here.
        near(norm.variance.val(), [0.9 + 1.3, 0.9]);
        let one = BatchMoments::of(&[9.0, 9.0], 2).unwrap();
        let (mean, variance) = (norm.mean.val(), norm.variance.val());
        let norm = norm.followed(&one);
        assert_eq!(host(norm.mean.val()), host(mean));
        assert_eq!(host(norm.variance.val()), host(variance));
        assert_eq!(BatchMoments::of(&[], 2), None);
    }
}
