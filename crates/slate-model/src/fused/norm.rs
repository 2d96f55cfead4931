//! Layer normalisation: each row less its mean, over its deviation, scaled and shifted.

use burn_flex::FlexTensor;
use slate_kernels::{Moments, sum};

use super::rows::{size, tensor, values};

/// What is added to the variance, as in `torch.nn.LayerNorm` and Burn.
const EPSILON: f32 = 1e-5;

/// Output, normalised rows, and the inverse deviation of each row.
pub(super) fn forward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [rows, width] = size(x);
    let (x, gamma, beta) = (values(x), values(gamma), values(beta));
    let mut output = vec![0.0; rows * width];
    let mut normed = vec![0.0; rows * width];
    let mut inverse = Vec::with_capacity(rows);
    for ((row, normed), output) in x
        .chunks_exact(width)
        .zip(normed.chunks_exact_mut(width))
        .zip(output.chunks_exact_mut(width))
    {
        let Moments { mean, scale } = Moments::of(row, EPSILON);
        inverse.push(scale);
        let numbers = row.iter().zip(gamma.iter().zip(beta.iter()));
        for ((normed, output), (value, (gamma, beta))) in normed.iter_mut().zip(output).zip(numbers)
        {
            *normed = (value - mean) * scale;
            *output = *normed * gamma + beta;
        }
    }
    (
        tensor(output, &[rows, width]),
        tensor(normed, &[rows, width]),
        tensor(inverse, &[rows]),
    )
}

/// Slopes of input, scales and shifts.
pub(super) fn backward(
    normed: &FlexTensor,
    inverse: &FlexTensor,
    gamma: &FlexTensor,
    gradient: &FlexTensor,
) -> [FlexTensor; 3] {
    let [rows, width] = size(normed);
    let (normed, inverse) = (values(normed), values(inverse));
    let (gamma, gradient) = (values(gamma), values(gradient));
    let mut of_x = vec![0.0; rows * width];
    let (mut of_gamma, mut of_beta) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    for (((normed, slopes), output), scale) in normed
        .chunks_exact(width)
        .zip(gradient.chunks_exact(width))
        .zip(of_x.chunks_exact_mut(width))
        .zip(inverse.iter())
    {
        let columns = of_gamma.iter_mut().zip(&mut of_beta);
        for ((of_gamma, of_beta), (slope, normed)) in columns.zip(slopes.iter().zip(normed)) {
            *of_gamma += slope * normed;
            *of_beta += slope;
        }
        for ((output, slope), gamma) in output.iter_mut().zip(slopes).zip(gamma.iter()) {
            *output = slope * gamma;
        }
        let mean = sum(output, |value| value) / width as f32;
        let mut along = [0.0_f32; 8];
        let pairs = output.chunks(8).zip(normed.chunks(8));
        for (values, normed) in pairs {
            for (strand, (value, normed)) in along.iter_mut().zip(values.iter().zip(normed)) {
                *strand += value * normed;
            }
        }
        let along = along.iter().sum::<f32>() / width as f32;
        for (output, normed) in output.iter_mut().zip(normed) {
            *output = scale * (*output - mean - normed * along);
        }
    }
    [
        tensor(of_x, &[rows, width]),
        tensor(of_gamma, &[width]),
        tensor(of_beta, &[width]),
    ]
}
