//! The same operations from Burn's own, for every device.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};

/// Sizes of an attention: lists, places of each, heads.
type Sizes = [usize; 3];

/// As [`affine`](super::affine).
pub(crate) fn affine(layer: &Linear, x: Tensor<2>, with_relu: bool) -> Tensor<2> {
    let y = linear(layer, x);
    if with_relu { relu(y) } else { y }
}

/// `x w + b`, the product in the precision of the weights.
fn linear(layer: &Linear, x: Tensor<2>) -> Tensor<2> {
    let weight = layer.weight.val();
    let (narrow, full) = (weight.dtype(), x.dtype());
    if narrow == full {
        return layer.forward(x);
    }
    let product = x.cast(narrow).matmul(weight).cast(full);
    match &layer.bias {
        None => product,
        Some(bias) => product + bias.val().unsqueeze(),
    }
}

/// Multi-head scaled dot-product attention of queries, keys and values among the real places of each list.
///
/// # Shapes
/// - inputs, output: `[lists·places, heads·width]`
/// - real: `[lists, places]`, 1 where there is a slot and 0 on padding
pub(crate) fn attend(
    inputs: [Tensor<2>; 3],
    real: Tensor<2>,
    [lists, places, heads]: Sizes,
) -> Tensor<2> {
    let hidden = inputs[0].dims()[1];
    let width = hidden / heads;
    let [q, k, v] = inputs
        .map(|rows| -> Tensor<4> { rows.reshape([lists, places, heads, width]).swap_dims(1, 2) });
    let logits = q
        .mul_scalar((width as f32).powf(-0.5))
        .matmul(k.swap_dims(2, 3));
    // Far below any logit of a finite network, and still finite, so that the difference to the
    // row's maximum is never ∞ − ∞.
    let padding = real.equal_scalar(0.0).reshape([lists, 1, 1, places]);
    let logits = logits.mask_fill(padding.expand([lists, heads, places, places]), -1e30);
    let context = softmax(logits, 3).matmul(v);
    context.swap_dims(1, 2).reshape([lists * places, hidden])
}

/// As [`recur`](super::recur).
pub(crate) fn recur(hidden: &Linear, x: Tensor<2>, real: Tensor<2>, backwards: bool) -> Tensor<2> {
    let [lists, places] = real.dims();
    let width = x.dims()[1] / 3;
    // Place by place: each step reads one block of rows.
    let by_place = |rows: Tensor<2>, columns: usize| -> Vec<Tensor<2>> {
        rows.reshape([lists, places, columns])
            .swap_dims(0, 1)
            .split(1, 0)
            .into_iter()
            .map(|step: Tensor<3>| step.reshape([lists, columns]))
            .collect()
    };
    let device = real.device();
    let real = by_place(real.reshape([lists * places, 1]), 1);
    let inputs = by_place(x, 3 * width);
    let mut state = Tensor::<2>::zeros([lists, width], &device);
    let mut states: Vec<Option<Tensor<3>>> = vec![None; places];
    for step in 0..places {
        let place = if backwards { places - 1 - step } else { step };
        let gates = |tensor: &Tensor<2>, gate: usize, gates: usize| {
            tensor.clone().narrow(1, gate * width, gates * width)
        };
        let input = &inputs[place];
        let given = linear(hidden, state.clone());
        let open = sigmoid(gates(input, 0, 2) + gates(&given, 0, 2));
        let (reset, keep) = (gates(&open, 0, 1), gates(&open, 1, 1));
        let candidate = tanh(gates(input, 2, 1) + reset * gates(&given, 2, 1));
        // (1 − z) n + z h = n + z (h − n)
        let next = candidate.clone() + keep * (state.clone() - candidate);
        state = state.clone() + real[place].clone() * (next - state);
        states[place] = Some(state.clone().reshape([lists, 1, width]));
    }
    let states: Vec<Tensor<3>> = states.into_iter().flatten().collect();
    Tensor::cat(states, 1).reshape([lists * places, width])
}
