//! A gated recurrent unit over the places of a list, in their order.
//!
//! As `torch.nn.GRU`: with gates `r`, `z` and candidate `n`,
//! `r = σ(Wr x + Ur h)`, `z = σ(Wz x + Uz h)`, `n = tanh(Wn x + r (Un h))`, `h' = (1 − z) n + z h`, each
//! product with a bias. On padding the state stays as it is.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::fused;
use crate::initial::Initial;
use crate::noise::Noise;

/// Layers of recurrent units, with dropout between.
#[derive(Module, Debug)]
pub(crate) struct Gru {
    layers: Vec<Layer>,
}

/// One layer: forwards, and with it perhaps backwards.
#[derive(Module, Debug)]
struct Layer {
    forward: Cell,
    backward: Option<Cell>,
}

/// One direction of a layer; the gates stand side by side as `r`, `z`, `n`.
#[derive(Module, Debug)]
struct Cell {
    /// `[inputs, 3·width]`
    input: Linear,
    /// `[width, 3·width]`
    hidden: Linear,
}

impl Gru {
    /// `inputs` numbers to `width`, halves of it from each direction where there are two.
    pub(crate) fn new(
        name: &str,
        [inputs, width, layers]: [usize; 3],
        bidirectional: bool,
        initial: &Initial<'_>,
    ) -> Self {
        let own = if bidirectional { width / 2 } else { width };
        let layers = (0..layers)
            .map(|place| {
                let inputs = if place == 0 { inputs } else { width };
                let cell = |direction: &str| {
                    Cell::new(
                        &format!("{name}.layers.{place}.{direction}"),
                        inputs,
                        own,
                        initial,
                    )
                };
                Layer {
                    forward: cell("forward"),
                    backward: bidirectional.then(|| cell("backward")),
                }
            })
            .collect();
        Self { layers }
    }

    /// The state after every place.
    ///
    /// # Shapes
    /// - input: `[N·L, inputs]`, output: `[N·L, width]`
    /// - real: `[N, L]`, 1 on slots and 0 on padding
    pub(crate) fn forward(
        &self,
        mut values: Tensor<2>,
        real: &Tensor<2>,
        noise: &mut Noise,
    ) -> Tensor<2> {
        for (place, layer) in self.layers.iter().enumerate() {
            if place > 0 {
                values = noise.apply(values);
            }
            values = layer.forward(values, real);
        }
        values
    }

    /// The state after the last event of every list, of units that go forwards.
    ///
    /// # Shapes
    /// - input: `[N·L, inputs]`, output: `[N, width]`
    pub(crate) fn last(&self, values: Tensor<2>, real: &Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let states = self.forward(values, real, noise);
        let ([lists, places], width) = (real.dims(), states.dims()[1]);
        // On padding the state stays, so that of the last place is that of the last event.
        states
            .reshape([lists, places, width])
            .narrow(1, places - 1, 1)
            .reshape([lists, width])
    }
}

impl Layer {
    fn forward(&self, values: Tensor<2>, real: &Tensor<2>) -> Tensor<2> {
        match &self.backward {
            None => self.forward.run(values, real, false),
            Some(backward) => {
                let one = self.forward.run(values.clone(), real, false);
                Tensor::cat(vec![one, backward.run(values, real, true)], 1)
            }
        }
    }
}

impl Cell {
    fn new(name: &str, inputs: usize, width: usize, initial: &Initial<'_>) -> Self {
        Self {
            input: initial.bounded(&format!("{name}.input"), inputs, 3 * width, width),
            hidden: initial.bounded(&format!("{name}.hidden"), width, 3 * width, width),
        }
    }

    fn run(&self, values: Tensor<2>, real: &Tensor<2>, backwards: bool) -> Tensor<2> {
        let inputs = fused::affine(&self.input, values, false);
        fused::recur(&self.hidden, inputs, real.clone(), backwards)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use slate_types::Seed;

    use super::*;
    use crate::weights::host;

    fn rows(values: &[f64], width: usize) -> Tensor<2> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let shape = [values.len() / width, width];
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// `row · weights + bias`, in plain loops.
    fn product(linear: &Linear, row: &[f64]) -> Vec<f64> {
        let weights = host(linear.weight.val());
        let bias = host(linear.bias.as_ref().unwrap().val());
        let outputs = bias.len();
        let sum = |column: usize| {
            let terms = row.iter().enumerate();
            let sum: f64 = terms
                .map(|(at, value)| value * f64::from(weights[at * outputs + column]))
                .sum();
            sum + f64::from(bias[column])
        };
        (0..outputs).map(sum).collect()
    }

    /// One direction over one list, from the formulas.
    fn twin(cell: &Cell, list: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let width = cell.hidden.weight.dims()[0];
        let mut state = vec![0.0; width];
        let step = |row: &Vec<f64>| {
            let (x, h) = (product(&cell.input, row), product(&cell.hidden, &state));
            state = (0..width)
                .map(|at| {
                    let r = sigmoid(x[at] + h[at]);
                    let z = sigmoid(x[width + at] + h[width + at]);
                    let n = (x[2 * width + at] + r * h[2 * width + at]).tanh();
                    (1.0 - z) * n + z * state[at]
                })
                .collect();
            state.clone()
        };
        list.iter().map(step).collect()
    }

    #[test]
    fn states_are_those_of_the_formulas_and_padding_changes_nothing() {
        let device = Device::flex();
        let initial = Initial {
            seed: Seed(3),
            device: &device,
        };
        let gru = Gru::new("gru", [3, 4, 1], true, &initial);
        let layer = &gru.layers[0];
        let lengths = [3, 1, 2];
        let value = |list: usize, slot: usize, at: usize| ((list * 9 + slot * 3 + at) as f64).sin();
        let mut input = Vec::new();
        let mut real = Vec::new();
        for (list, &length) in lengths.iter().enumerate() {
            for slot in 0..3 {
                // Padding holds numbers that must not matter.
                let far = if slot < length { 1.0 } else { 100.0 };
                input.extend((0..3).map(|at| far * value(list, slot, at)));
                real.push(f64::from(u8::from(slot < length)));
            }
        }
        let real = rows(&real, 3);
        let noise = &mut Noise::none(&device);
        let states = host(gru.forward(rows(&input, 3), &real, noise));
        for (list, &length) in lengths.iter().enumerate() {
            let own: Vec<Vec<f64>> = (0..length)
                .map(|slot| (0..3).map(|at| value(list, slot, at)).collect())
                .collect();
            let reversed: Vec<Vec<f64>> = own.iter().rev().cloned().collect();
            let forwards = twin(&layer.forward, &own);
            let mut backwards = twin(layer.backward.as_ref().unwrap(), &reversed);
            backwards.reverse();
            for slot in 0..length {
                let expected = [forwards[slot].clone(), backwards[slot].clone()].concat();
                let found = &states[(list * 3 + slot) * 4..][..4];
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-6,
                        "{found} {expected}"
                    );
                }
            }
        }
    }
}
