//! Two linear layers with a non-linearity between, each row by itself.

use slate_kernels::{gelu, gelu_slope, vectorised};

use super::affine::{Layer, relu, relu_slopes};
use super::block::{Body, Closing};
use crate::network_config::Activation;

/// The layers and what lies between.
pub(super) struct FeedForward<'a> {
    pub(super) inner: Layer<'a>,
    pub(super) activation: Activation,
    /// Dropout's factors of the numbers between the layers, where there is dropout.
    pub(super) mask: Option<&'a [f32]>,
    pub(super) closing: Closing<'a>,
}

/// What the backward pass needs of the forward pass, `[rows, wide]` each.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// What the first layer gave, where the slope of the non-linearity needs it.
    before: Option<Vec<f32>>,
    /// After the non-linearity and dropout.
    wide: Vec<f32>,
}

impl Body for FeedForward<'_> {
    type Kept = Kept;

    fn forward(&self, input: &[f32], residual: &[f32]) -> (Vec<f32>, Kept) {
        let mut wide = self.inner.forward(input);
        let before = match self.activation {
            Activation::Relu => {
                relu(&mut wide);
                None
            }
            Activation::Gelu => {
                let after = vectorised(
                    #[inline(always)]
                    || wide.iter().map(|&value| gelu(value)).collect(),
                );
                Some(std::mem::replace(&mut wide, after))
            }
        };
        if let Some(mask) = self.mask {
            let pairs = wide.iter_mut().zip(mask);
            pairs.for_each(|(value, factor)| *value *= factor);
        }
        let output = self.closing.forward(&wide, residual);
        (output, Kept { before, wide })
    }

    fn backward(&self, kept: &Kept, input: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let (mut slopes, [of_w, of_b]) = self.closing.backward(&kept.wide, gradient);
        if let Some(mask) = self.mask {
            let pairs = slopes.iter_mut().zip(mask);
            pairs.for_each(|(slope, factor)| *slope *= factor);
        }
        match &kept.before {
            // What dropout set to 0 has no slope already.
            None => relu_slopes(&mut slopes, &kept.wide),
            Some(before) => {
                let pairs = slopes.iter_mut().zip(before);
                vectorised(
                    #[inline(always)]
                    || pairs.for_each(|(slope, &value)| *slope *= gelu_slope(value)),
                );
            }
        }
        let [of_inner, of_bias] = self.inner.of_weights(input, &slopes);
        (
            self.inner.of_input(&slopes),
            vec![of_inner, of_bias, of_w, of_b],
        )
    }
}
