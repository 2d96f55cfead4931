//! A linear layer with its bias and `max(0, ·)` in one pass over the output.

use burn_flex::FlexTensor;

use super::rows::{product, size, tensor, turned, values};

pub(super) fn forward(x: &FlexTensor, w: &FlexTensor, b: &FlexTensor, relu: bool) -> FlexTensor {
    let mut y = product(x, w);
    let bias = values(b);
    let width = bias.len();
    for row in y.storage_mut::<f32>().chunks_exact_mut(width) {
        let pairs = row.iter_mut().zip(bias.iter());
        if relu {
            pairs.for_each(|(value, bias)| *value = (*value + bias).max(0.0));
        } else {
            pairs.for_each(|(value, bias)| *value += bias);
        }
    }
    y
}

/// Slopes of input, weights and bias; that of the input only where `of_x`.
pub(super) fn backward(
    x: &FlexTensor,
    w: &FlexTensor,
    y: Option<&FlexTensor>,
    gradient: FlexTensor,
    of_x: bool,
) -> [Option<FlexTensor>; 3] {
    let [rows, width] = size(&gradient);
    let gradient = match y {
        None => gradient,
        Some(y) => {
            let (slopes, y) = (values(&gradient), values(y));
            let masked = slopes.iter().zip(y.iter());
            let masked = masked.map(|(slope, y)| if *y > 0.0 { *slope } else { 0.0 });
            tensor(masked.collect(), &[rows, width])
        }
    };
    let mut of_bias = vec![0.0; width];
    for row in values(&gradient).chunks_exact(width) {
        let pairs = of_bias.iter_mut().zip(row);
        pairs.for_each(|(sum, slope)| *sum += slope);
    }
    [
        of_x.then(|| product(&gradient, &turned(w))),
        Some(product(&turned(x), &gradient)),
        Some(tensor(of_bias, &[width])),
    ]
}
