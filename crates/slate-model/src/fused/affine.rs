//! A linear layer with its bias and `max(0, ·)` in one pass over the output.

use burn_flex::FlexTensor;
use slate_kernels::{View, multiply, sum_of_rows};

use super::rows::{size, tensor, values};

pub(super) fn forward(x: &FlexTensor, w: &FlexTensor, b: &FlexTensor, relu: bool) -> FlexTensor {
    let ([rows, inputs], outputs) = (size(x), size(w)[1]);
    let (x, w, bias) = (values(x), values(w), values(b));
    let mut y = Vec::with_capacity(rows * outputs);
    for _ in 0..rows {
        y.extend_from_slice(&bias);
    }
    let (x, w) = (View::new(&x, rows, inputs), View::new(&w, inputs, outputs));
    multiply(&mut y, outputs, true, 1.0, x, w);
    if relu {
        for value in &mut y {
            // Not `max`, which would hide a NaN; always written, so that no branch is needed.
            *value = if *value <= 0.0 { 0.0 } else { *value };
        }
    }
    tensor(y, &[rows, outputs])
}

/// Slopes of input, weights and bias; that of the input only where `of_x`.
pub(super) fn backward(
    x: &FlexTensor,
    w: &FlexTensor,
    y: Option<&FlexTensor>,
    gradient: &FlexTensor,
    of_x: bool,
) -> [Option<FlexTensor>; 3] {
    let ([rows, inputs], outputs) = (size(x), size(w)[1]);
    let (x, w, gradient) = (values(x), values(w), values(gradient));
    let masked: Vec<f32>;
    let gradient: &[f32] = match y {
        None => &gradient,
        Some(y) => {
            let y = values(y);
            let pairs = gradient.iter().zip(y.iter());
            masked = pairs
                .map(|(slope, y)| if *y <= 0.0 { 0.0 } else { *slope })
                .collect();
            &masked
        }
    };
    let slopes = View::new(gradient, rows, outputs);
    let of_x = of_x.then(|| {
        let mut of_x = vec![0.0; rows * inputs];
        let w = View::new(&w, inputs, outputs).turned();
        multiply(&mut of_x, inputs, false, 1.0, slopes, w);
        tensor(of_x, &[rows, inputs])
    });
    let mut of_w = vec![0.0; inputs * outputs];
    let x = View::new(&x, rows, inputs).turned();
    multiply(&mut of_w, outputs, false, 1.0, x, slopes);
    [
        of_x,
        Some(tensor(of_w, &[inputs, outputs])),
        Some(tensor(sum_of_rows(gradient, outputs), &[outputs])),
    ]
}
