//! A linear layer with its bias.

use slate_kernels::{Start, View, product, sum_of_rows, vectorised};

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
        product(Start::Row(self.bias), self.rows(x), self.weights())
    }

    /// `residual + x w + b`.
    pub(super) fn forward_onto(&self, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let start = Start::Rows(residual, self.bias);
        product(start, self.rows(x), self.weights())
    }

    /// Slopes of the input, from those of the output.
    pub(super) fn of_input(&self, gradient: &[f32]) -> Vec<f32> {
        product(Start::Zero, self.outputs(gradient), self.weights().turned())
    }

    /// Slopes of weights and bias, from those of the output.
    pub(super) fn of_weights(&self, x: &[f32], gradient: &[f32]) -> [Vec<f32>; 2] {
        let (x, slopes) = (self.rows(x).turned(), self.outputs(gradient));
        [
            product(Start::Zero, x, slopes),
            sum_of_rows(gradient, self.bias.len()),
        ]
    }

    fn rows<'x>(&self, x: &'x [f32]) -> View<'x> {
        let inputs = self.inputs();
        View::new(x, x.len() / inputs, inputs)
    }

    fn outputs<'x>(&self, of: &'x [f32]) -> View<'x> {
        let outputs = self.bias.len();
        View::new(of, of.len() / outputs, outputs)
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
