//! Operations that are one piece forwards and backwards on the processor.
//!
//! Under autodiff, Burn takes a layer of an encoder, a normalisation and a recurrent unit apart into many
//! tensor operations, each with tensors of its own to make, to keep and to add up. Here each is one
//! operation with its own backward pass; a layer of an encoder is two of them. On other devices they are
//! compositions of Burn's operations ([`plain`]); tests hold the two equal, scores and gradients.

mod affine;
mod attention;
mod backends;
mod block;
mod feed_forward;
mod gru;
mod norm;
pub(crate) mod plain;
mod rows;

use burn::backend::Dispatch;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

use crate::device::is_processor;
use crate::network_config::{Activation, NormPlace};
use backends::{AttentionWeights, FeedForwardWeights, Pair, RankOps};

/// Dropout's factors of a piece's numbers, in row-major order; none without dropout.
pub(crate) type Mask = Option<Vec<f32>>;

/// Whether a tensor is where the fused operations are.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_processor(&tensor.device())
}

/// Weights and bias of a layer that has one.
fn pair(layer: &Linear) -> Pair<Dispatch> {
    let bias = layer.bias.as_ref().expect("our layers have a bias");
    Pair {
        factor: layer.weight.val().into_dispatch(),
        shift: bias.val().into_dispatch(),
    }
}

/// Scales and shifts of a normalisation that has them.
fn scales(layer: &LayerNorm) -> Pair<Dispatch> {
    let beta = layer.beta.as_ref().expect("our normalisations shift");
    Pair {
        factor: layer.gamma.val().into_dispatch(),
        shift: beta.val().into_dispatch(),
    }
}

/// A linear layer, with `max(0, ·)` after it where `relu`.
///
/// # Shapes
/// - x: `[rows, inputs]`, output: `[rows, outputs]`
pub(crate) fn affine(layer: &Linear, x: Tensor<2>, relu: bool) -> Tensor<2> {
    if is_fused(&x) && layer.bias.is_some() {
        let x = x.into_dispatch();
        Tensor::from_dispatch(<Dispatch as RankOps>::affine(x, pair(layer), relu))
    } else {
        plain::affine(layer, x, relu)
    }
}

/// Layer normalisation of rows.
///
/// # Shapes
/// - x, output: `[rows, width]`
pub(crate) fn norm(layer: &LayerNorm, x: Tensor<2>) -> Tensor<2> {
    if is_fused(&x) && layer.beta.is_some() {
        let x = x.into_dispatch();
        Tensor::from_dispatch(<Dispatch as RankOps>::norm(x, scales(layer)))
    } else {
        layer.forward(x)
    }
}

/// The linear layers around an attention.
pub(crate) struct Projections<'a> {
    pub(crate) query: &'a Linear,
    pub(crate) key: &'a Linear,
    pub(crate) value: &'a Linear,
    pub(crate) output: &'a Linear,
}

/// Multi-head scaled dot-product attention among the real places of each list, with its normalisation
/// and its residual sum; on the processor alone.
///
/// # Shapes
/// - x, output, mask: `[lists·places, heads·width]`
/// - real: `[lists, places]`, 1 where there is a slot and 0 on padding
pub(crate) fn attention(
    x: Tensor<2>,
    real: &Tensor<2>,
    heads: usize,
    layers: &Projections<'_>,
    norm: (&LayerNorm, NormPlace),
    mask: Mask,
) -> Tensor<2> {
    let weights = AttentionWeights {
        norm: scales(norm.0),
        query: pair(layers.query),
        key: pair(layers.key),
        value: pair(layers.value),
        output: pair(layers.output),
    };
    let (x, real) = (x.into_dispatch(), real.clone().into_dispatch());
    let y = <Dispatch as RankOps>::attention(x, real, weights, heads, norm.1, mask);
    Tensor::from_dispatch(y)
}

/// Two linear layers with a non-linearity between, with their normalisation and their residual sum; on
/// the processor alone.
///
/// # Shapes
/// - x, output, the second mask: `[rows, width]`; the first mask: `[rows, wide]`
pub(crate) fn feed_forward(
    x: Tensor<2>,
    [inner, outer]: [&Linear; 2],
    activation: Activation,
    norm: (&LayerNorm, NormPlace),
    masks: [Mask; 2],
) -> Tensor<2> {
    let weights = FeedForwardWeights {
        norm: scales(norm.0),
        inner: pair(inner),
        outer: pair(outer),
    };
    let x = x.into_dispatch();
    let y = <Dispatch as RankOps>::feed_forward(x, weights, activation, norm.1, masks);
    Tensor::from_dispatch(y)
}

/// The states of a recurrent unit; `x` is what the inputs give each gate, in the order `r`, `z`, `n`.
///
/// # Shapes
/// - x: `[lists·places, 3·width]`, output: `[lists·places, width]`
/// - real: `[lists, places]`, 1 where there is a slot; on padding the state stays
pub(crate) fn recur(hidden: &Linear, x: Tensor<2>, real: Tensor<2>, backwards: bool) -> Tensor<2> {
    if is_fused(&x) && hidden.bias.is_some() {
        let (x, real) = (x.into_dispatch(), real.into_dispatch());
        Tensor::from_dispatch(<Dispatch as RankOps>::recur(
            x,
            pair(hidden),
            real,
            backwards,
        ))
    } else {
        plain::recur(hidden, x, real, backwards)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::module::Module;
    use burn::nn::LayerNormConfig;
    use burn::tensor::{Device, TensorData};
    use slate_types::Seed;

    use super::*;
    use crate::gradients::Gradients;
    use crate::initial::Initial;
    use crate::weights::host;

    /// Weights of every operation, and inputs that want gradients as well.
    #[derive(Module, Debug)]
    struct Case {
        layer: Linear,
        norm: LayerNorm,
        inputs: Vec<burn::module::Param<Tensor<2>>>,
    }

    fn case(inputs: &[[usize; 2]], layer: [usize; 2]) -> Case {
        let device = Device::flex();
        let initial = Initial {
            seed: Seed(5),
            device: &device,
        };
        let input = |(at, &[rows, columns]): (usize, &[usize; 2])| {
            let value = |place: usize| ((place * 7 + at * 3) as f32 * 0.37).sin() * 1.5;
            let values: Vec<f32> = (0..rows * columns).map(value).collect();
            burn::module::Param::from_data(TensorData::new(values, [rows, columns]), &device)
        };
        Case {
            layer: initial.linear("layer", layer[0], layer[1]),
            norm: LayerNormConfig::new(inputs[0][1]).init(&device),
            inputs: inputs.iter().enumerate().map(input).collect(),
        }
    }

    /// Output and gradients of `Σ output · wave`, where every place has a slope of its own.
    fn outcome<M: Module>(case: &M, run: impl Fn(&M) -> Tensor<2>) -> (Vec<f32>, Gradients) {
        let case = case.clone().fork(&Device::flex().autodiff()).train();
        let output = run(&case);
        let shape = output.dims();
        let wave: Vec<f32> = (0..shape[0] * shape[1])
            .map(|at| (at as f32 * 0.9).cos())
            .collect();
        let wave = Tensor::<2>::from_data(TensorData::new(wave, shape), &Device::flex());
        let values = host(output.clone());
        let backward = (output * wave).sum().backward();
        (values, Gradients::collect(&case, backward).unwrap())
    }

    /// Holds two ways to the same output to each other, and their gradients.
    pub(crate) fn assert_same<M: Module>(
        case: &M,
        fused: impl Fn(&M) -> Tensor<2>,
        plain: impl Fn(&M) -> Tensor<2>,
    ) {
        let (values, gradients) = outcome(case, fused);
        let (expected, expected_gradients) = outcome(case, plain);
        let near = |a: &f32, b: &f32| (a - b).abs() <= 2e-5 * (1.0 + b.abs());
        assert_eq!(values.len(), expected.len());
        for (found, expected) in values.iter().zip(&expected) {
            assert!(near(found, expected), "{found} {expected}");
        }
        let pairs = gradients.0.iter().zip(&expected_gradients.0);
        for (place, (found, expected)) in pairs.enumerate() {
            assert_eq!(found.is_some(), expected.is_some(), "parameter {place}");
            let numbers = found.iter().flatten().zip(expected.iter().flatten());
            for (found, expected) in numbers {
                assert!(
                    near(found, expected),
                    "parameter {place}: {found} {expected}"
                );
            }
        }
    }

    /// Which places of lists of these lengths are real.
    pub(crate) fn real(lengths: &[usize], places: usize) -> Tensor<2> {
        let mask = lengths
            .iter()
            .flat_map(|&length| (0..places).map(move |at| at < length));
        let mask: Vec<f32> = mask.map(f32::from).collect();
        Tensor::from_data(
            TensorData::new(mask, [lengths.len(), places]),
            &Device::flex(),
        )
    }

    #[test]
    fn a_linear_layer_is_burns() {
        for relu in [false, true] {
            assert_same(
                &case(&[[7, 5]], [5, 6]),
                |case| affine(&case.layer, case.inputs[0].val(), relu),
                |case| plain::affine(&case.layer, case.inputs[0].val(), relu),
            );
        }
    }

    #[test]
    fn layer_normalisation_is_burns() {
        for width in [3, 8, 21] {
            assert_same(
                &case(&[[6, width]], [1, 1]),
                |case| norm(&case.norm, case.inputs[0].val()),
                |case| case.norm.forward(case.inputs[0].val()),
            );
        }
    }

    #[test]
    fn a_recurrent_unit_is_that_of_its_parts() {
        for backwards in [false, true] {
            assert_same(
                &case(&[[12, 9]], [3, 9]),
                |case| {
                    recur(
                        &case.layer,
                        case.inputs[0].val(),
                        real(&[4, 1, 3], 4),
                        backwards,
                    )
                },
                |case| {
                    let x = case.inputs[0].val();
                    plain::recur(&case.layer, x, real(&[4, 1, 3], 4), backwards)
                },
            );
        }
    }
}
