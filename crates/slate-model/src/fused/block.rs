//! Half a layer of an encoder as one operation: a normalisation, a body, and the sum with what came in.

use std::borrow::Cow;

use slate_kernels::Moments;

use super::affine::Layer;
use super::norm;
use crate::network_config::NormPlace;

/// The last linear layer of a body, with dropout and the sum with what came in.
pub(super) struct Closing<'a> {
    pub(super) layer: Layer<'a>,
    /// Dropout's factors, where there is dropout.
    pub(super) mask: Option<&'a [f32]>,
}

impl Closing<'_> {
    /// `residual + mask · (x w + b)`.
    pub(super) fn forward(&self, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let Some(mask) = self.mask else {
            return self.layer.forward_onto(x, residual);
        };
        let mut y = self.layer.forward(x);
        for (value, (own, factor)) in y.iter_mut().zip(residual.iter().zip(mask)) {
            *value = own + *value * factor;
        }
        y
    }

    /// Slopes of `x`, and of weights and bias.
    pub(super) fn backward(&self, x: &[f32], gradient: &[f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
        let gradient: Cow<'_, [f32]> = match self.mask {
            None => gradient.into(),
            Some(mask) => {
                let pairs = gradient.iter().zip(mask);
                pairs.map(|(slope, factor)| slope * factor).collect()
            }
        };
        let of_x = self.layer.of_input(&gradient);
        (of_x, self.layer.of_weights(x, &gradient))
    }
}

/// What stands between normalisation and sum.
pub(super) trait Body {
    /// What its backward pass needs of its forward pass.
    type Kept;

    /// Its output, added to `residual`.
    fn forward(&self, input: &[f32], residual: &[f32]) -> (Vec<f32>, Self::Kept);

    /// Slopes of the input, and of its own weights in their order.
    fn backward(
        &self,
        kept: &Self::Kept,
        input: &[f32],
        gradient: &[f32],
    ) -> (Vec<f32>, Vec<Vec<f32>>);
}

/// A body and its normalisation.
pub(super) struct Block<'a, B> {
    pub(super) place: NormPlace,
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) body: B,
}

/// What a block's backward pass needs of its forward pass, beside its input.
#[derive(Debug, Clone)]
pub(super) struct Kept<K> {
    moments: Vec<Moments>,
    /// What the body read, where normalisation comes first; else the sum that was normalised.
    rows: Vec<f32>,
    body: K,
}

impl<B: Body> Block<'_, B> {
    pub(super) fn forward(&self, x: &[f32]) -> (Vec<f32>, Kept<B::Kept>) {
        match self.place {
            NormPlace::Pre => {
                let (rows, moments) = norm::forward(x, self.gamma, self.beta);
                let (y, body) = self.body.forward(&rows, x);
                (
                    y,
                    Kept {
                        moments,
                        rows,
                        body,
                    },
                )
            }
            NormPlace::Post => {
                let (rows, body) = self.body.forward(x, x);
                let (y, moments) = norm::forward(&rows, self.gamma, self.beta);
                (
                    y,
                    Kept {
                        moments,
                        rows,
                        body,
                    },
                )
            }
        }
    }

    /// Slopes of `x`, and of scales, shifts and the body's weights in their order.
    pub(super) fn backward(
        &self,
        kept: &Kept<B::Kept>,
        x: &[f32],
        gradient: &[f32],
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let Kept {
            moments,
            rows,
            body,
        } = kept;
        match self.place {
            NormPlace::Pre => {
                let (of_rows, own) = self.body.backward(body, rows, gradient);
                let (of_x, norms) =
                    norm::backward(x, moments, self.gamma, &of_rows, Some(gradient));
                (of_x, norms.into_iter().chain(own).collect())
            }
            NormPlace::Post => {
                let (of_sum, norms) = norm::backward(rows, moments, self.gamma, gradient, None);
                let (mut of_x, own) = self.body.backward(body, x, &of_sum);
                of_x.iter_mut().zip(&of_sum).for_each(|(a, b)| *a += b);
                (of_x, norms.into_iter().chain(own).collect())
            }
        }
    }
}
