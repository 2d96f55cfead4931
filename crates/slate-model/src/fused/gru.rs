//! A recurrent unit over time, the matrix products of a step being all that is left to do in order.

use burn_flex::FlexTensor;
use slate_kernels::{Start, View, multiply, product, sigmoid, sum_of_rows, tanh, vectorised};

use super::rows::{size, tensor, values};

/// What the backward pass needs of the forward pass, place after place in the order they were
/// gone through.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// `[places·lists, width]`: the state before each step.
    before: FlexTensor,
    /// `[places·lists, 4·width]`: `r`, `z`, `n`, and what the state gave to `n`.
    gates: FlexTensor,
}

/// The places in the order they are gone through.
fn order(places: usize, backwards: bool) -> impl DoubleEndedIterator<Item = usize> {
    (0..places).map(move |step| if backwards { places - 1 - step } else { step })
}

/// States `[lists·places, width]`.
pub(super) fn forward(
    x: &FlexTensor,
    [w, b]: [&FlexTensor; 2],
    real: &FlexTensor,
    lists: usize,
    backwards: bool,
) -> (FlexTensor, Kept) {
    let [rows, wide] = size(x);
    let (places, width) = (rows / lists, wide / 3);
    let (x, w, bias, real) = (values(x), values(w), values(b), values(real));
    let w = View::new(&w, width, wide);
    let mut hidden = vec![0.0; lists * wide];
    let mut states = vec![0.0; rows * width];
    let mut before = Vec::with_capacity(rows * width);
    let mut gates = vec![0.0; rows * 4 * width];
    let mut state = vec![0.0_f32; lists * width];
    for (step, place) in order(places, backwards).enumerate() {
        before.extend_from_slice(&state);
        let states_now = View::new(&state, lists, width);
        multiply(&mut hidden, wide, Start::Zero, 1.0, states_now, w);
        for list in 0..lists {
            let row = list * places + place;
            let own = &mut state[list * width..(list + 1) * width];
            if real[row] != 0.0 {
                let input = &x[row * wide..(row + 1) * wide];
                let hidden = &hidden[list * wide..(list + 1) * wide];
                let at = (step * lists + list) * 4 * width;
                let (open, rest) = gates[at..at + 4 * width].split_at_mut(2 * width);
                vectorised(
                    #[inline(always)]
                    || {
                        let given_to_both = input.iter().zip(hidden).zip(bias.iter());
                        for (open, ((input, hidden), bias)) in open.iter_mut().zip(given_to_both) {
                            *open = sigmoid(input + hidden + bias);
                        }
                        let (reset, keep) = open.split_at(width);
                        let (candidate, given) = rest.split_at_mut(width);
                        let (input, hidden) = (&input[2 * width..], &hidden[2 * width..]);
                        let pairs = hidden.iter().zip(&bias[2 * width..]);
                        for (given, (hidden, bias)) in given.iter_mut().zip(pairs) {
                            *given = hidden + bias;
                        }
                        let gates = reset.iter().zip(given.iter()).zip(input);
                        for (candidate, ((reset, given), input)) in candidate.iter_mut().zip(gates)
                        {
                            *candidate = tanh(input + reset * given);
                        }
                        for (own, (candidate, keep)) in
                            own.iter_mut().zip(candidate.iter().zip(keep))
                        {
                            *own = candidate + keep * (*own - candidate);
                        }
                    },
                );
            }
            states[row * width..(row + 1) * width].copy_from_slice(own);
        }
    }
    let kept = Kept {
        before: tensor(before, &[rows, width]),
        gates: tensor(gates, &[rows, 4 * width]),
    };
    (tensor(states, &[rows, width]), kept)
}

/// Slopes of the projected inputs, the weights and their bias.
pub(super) fn backward(
    w: &FlexTensor,
    real: &FlexTensor,
    kept: &Kept,
    gradient: &FlexTensor,
    backwards: bool,
) -> [FlexTensor; 3] {
    let [rows, width] = size(gradient);
    let wide = 3 * width;
    let lists = real.layout().shape()[0];
    let places = rows / lists;
    let (real, gradient) = (values(real), values(gradient));
    let (before, gates) = (values(&kept.before), values(&kept.gates));
    let w = values(w);
    let w = View::new(&w, width, wide).turned();
    let mut of_x = vec![0.0; rows * wide];
    // Slopes of what the state gives to the gates, in the order of the steps.
    let mut of_hidden = vec![0.0; rows * wide];
    let mut of_state = vec![0.0_f32; lists * width];
    for (step, place) in order(places, backwards)
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        for list in 0..lists {
            let row = list * places + place;
            let own = &mut of_state[list * width..(list + 1) * width];
            let slopes = own
                .iter_mut()
                .zip(&gradient[row * width..(row + 1) * width]);
            slopes.for_each(|(own, slope)| *own += slope);
            if real[row] == 0.0 {
                continue;
            }
            let at = step * lists + list;
            let gates = &gates[at * 4 * width..(at + 1) * 4 * width];
            let before = &before[at * width..(at + 1) * width];
            let of_input = &mut of_x[row * wide..(row + 1) * wide];
            let of_hidden = &mut of_hidden[at * wide..(at + 1) * wide];
            step_slopes(own, gates, before, of_input, of_hidden);
        }
        let block = step * lists * wide..(step + 1) * lists * wide;
        let block = View::new(&of_hidden[block], lists, wide);
        multiply(&mut of_state, width, Start::There, 1.0, block, w);
    }
    let of_bias = sum_of_rows(&of_hidden, wide);
    let before = View::new(&before, rows, width).turned();
    let of_w = product(Start::Zero, before, View::new(&of_hidden, rows, wide));
    [
        tensor(of_x, &[rows, wide]),
        tensor(of_w, &[width, wide]),
        tensor(of_bias, &[wide]),
    ]
}

/// Slopes of what one step gave to its gates, by input and by state, from the slope of the state after
/// it, which becomes the slope of the state before it but for what went through the gates.
fn step_slopes(
    own: &mut [f32],
    gates: &[f32],
    before: &[f32],
    of_input: &mut [f32],
    of_hidden: &mut [f32],
) {
    let width = own.len();
    let (r, rest) = gates.split_at(width);
    let (z, rest) = rest.split_at(width);
    let (n, given) = rest.split_at(width);
    let (of_r, rest) = of_input.split_at_mut(width);
    let (of_z, of_n) = rest.split_at_mut(width);
    let (by_r, rest) = of_hidden.split_at_mut(width);
    let (by_z, by_n) = rest.split_at_mut(width);
    let (before, given) = (&before[..width], &given[..width]);
    let (of_n, by_n) = (&mut of_n[..width], &mut by_n[..width]);
    vectorised(
        #[inline(always)]
        || {
            for at in 0..width {
                let slope = own[at];
                of_n[at] = slope * (1.0 - z[at]) * (1.0 - n[at] * n[at]);
                of_z[at] = slope * (before[at] - n[at]) * z[at] * (1.0 - z[at]);
                of_r[at] = of_n[at] * given[at] * r[at] * (1.0 - r[at]);
                own[at] = slope * z[at];
            }
            by_r.copy_from_slice(of_r);
            by_z.copy_from_slice(of_z);
            for (by_n, (of_n, r)) in by_n.iter_mut().zip(of_n.iter().zip(r)) {
                *by_n = of_n * r;
            }
        },
    );
}
