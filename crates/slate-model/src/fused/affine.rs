//! A linear layer with its bias.

use slate_kernels::{View, multiply, sum_of_rows, vectorised};

/// Weights of a layer.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    /// `[inputs, outputs]`
    pub(super) weight: &'a [f32],
    /// `[outputs]`
    pub(super) bias: &'a [f32],
}

impl<'a> Layer<'a> {
    fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    pub(super) fn weights(&self) -> View<'a> {
        View::new(self.weight, self.inputs(), self.bias.len())
    }

    /// `x w + b`.
    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs();
        let mut y = Vec::with_capacity(rows * self.bias.len());
        for _ in 0..rows {
            y.extend_from_slice(self.bias);
        }
        self.add(x, &mut y);
        y
    }

    /// `residual + x w + b`.
    pub(super) fn forward_onto(&self, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let mut y = Vec::with_capacity(residual.len());
        vectorised(
            #[inline(always)]
            || {
                for row in residual.chunks_exact(self.bias.len()) {
                    y.extend(row.iter().zip(self.bias).map(|(own, bias)| own + bias));
                }
            },
        );
        self.add(x, &mut y);
        y
    }

    fn add(&self, x: &[f32], onto: &mut [f32]) {
        let outputs = self.bias.len();
        let x = View::new(x, onto.len() / outputs, self.inputs());
        multiply(onto, outputs, true, 1.0, x, self.weights());
    }

    /// Slopes of the input, from those of the output.
    pub(super) fn of_input(&self, gradient: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs(), self.bias.len());
        let rows = gradient.len() / outputs;
        let mut of_x = vec![0.0; rows * inputs];
        let slopes = View::new(gradient, rows, outputs);
        multiply(
            &mut of_x,
            inputs,
            false,
            1.0,
            slopes,
            self.weights().turned(),
        );
        of_x
    }

    /// Slopes of weights and bias, from those of the output.
    pub(super) fn of_weights(&self, x: &[f32], gradient: &[f32]) -> [Vec<f32>; 2] {
        let (inputs, outputs) = (self.inputs(), self.bias.len());
        let rows = gradient.len() / outputs;
        let mut of_w = vec![0.0; inputs * outputs];
        let x = View::new(x, rows, inputs).turned();
        multiply(
            &mut of_w,
            outputs,
            false,
            1.0,
            x,
            View::new(gradient, rows, outputs),
        );
        [of_w, sum_of_rows(gradient, outputs)]
    }
}

/// `max(0, ·)` of all; NaN stays.
pub(super) fn relu(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for value in values {
                *value = above_zero(*value, *value);
            }
        },
    );
}

/// Slopes before `max(0, ·)`, from those after it and what it gave.
pub(super) fn relu_slopes(slopes: &mut [f32], given: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (slope, value) in slopes.iter_mut().zip(given) {
                *slope = above_zero(*value, *slope);
            }
        },
    );
}

/// `value` where `x` is above 0 or NaN, else 0. By bits: a choice would be compiled to a store under
/// a mask, which some processors take many times as long for.
#[inline]
fn above_zero(x: f32, value: f32) -> f32 {
    let kept = u32::from(x > 0.0 || x.is_nan()).wrapping_neg();
    f32::from_bits(value.to_bits() & kept)
}
