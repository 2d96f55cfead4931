//! Operations that are one piece forwards and backwards on the processor.
//!
//! Under autodiff, Burn takes attention, layer normalisation and a recurrent unit apart into many
//! tensor operations, each with a tensor of its own to keep. Here each is one operation with its
//! own backward pass. On other devices they are compositions of Burn's operations ([`plain`]); tests
//! hold the two equal, scores and gradients.

mod affine;
mod attention;
mod gru;
mod norm;
pub(crate) mod plain;
mod rows;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::device::is_processor;

/// Sizes of an attention: lists, places of each, heads.
pub(crate) type Sizes = [usize; 3];

/// The operations, for a backend.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RankOps: Backend {
    /// `x w + b`, and `max(0, ·)` of it where `relu`.
    fn affine(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;

    /// Attention of queries to keys, softmax over the places that are real.
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        real: FloatTensor<Self>,
        lists: usize,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// Layer normalisation of rows.
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// A recurrent unit over the places of lists, from projected inputs.
    fn recur(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        real: FloatTensor<Self>,
        lists: usize,
        backwards: bool,
    ) -> FloatTensor<Self>;
}

/// Whether a tensor is where the fused operations are.
fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_processor(&tensor.device())
}

/// A linear layer, with `max(0, ·)` after it where `relu`.
///
/// # Shapes
/// - x: `[rows, inputs]`, output: `[rows, outputs]`
pub(crate) fn affine(layer: &Linear, x: Tensor<2>, relu: bool) -> Tensor<2> {
    match &layer.bias {
        Some(bias) if is_fused(&x) => Tensor::from_dispatch(<Dispatch as RankOps>::affine(
            x.into_dispatch(),
            layer.weight.val().into_dispatch(),
            bias.val().into_dispatch(),
            relu,
        )),
        _ => plain::affine(layer, x, relu),
    }
}

/// Layer normalisation of rows.
///
/// # Shapes
/// - x, output: `[rows, width]`
pub(crate) fn norm(layer: &LayerNorm, x: Tensor<2>) -> Tensor<2> {
    match &layer.beta {
        Some(beta) if is_fused(&x) => Tensor::from_dispatch(<Dispatch as RankOps>::norm(
            x.into_dispatch(),
            layer.gamma.val().into_dispatch(),
            beta.val().into_dispatch(),
        )),
        _ => layer.forward(x),
    }
}

/// Multi-head scaled dot-product attention among the real places of each list.
///
/// # Shapes
/// - q, k, v, output: `[lists·places, heads·width]`
/// - real: `[lists, places]`, 1 where there is a slot and 0 on padding
pub(crate) fn attend(
    [q, k, v]: [Tensor<2>; 3],
    real: Tensor<2>,
    [lists, places, heads]: Sizes,
) -> Tensor<2> {
    if is_fused(&q) {
        Tensor::from_dispatch(<Dispatch as RankOps>::attend(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            real.into_dispatch(),
            lists,
            heads,
        ))
    } else {
        plain::attend([q, k, v], real, [lists, places, heads])
    }
}

/// The states of a recurrent unit; `x` is what the inputs give each gate, in the order `r`, `z`, `n`.
///
/// # Shapes
/// - x: `[lists·places, 3·width]`, output: `[lists·places, width]`
/// - real: `[lists, places]`, 1 where there is a slot; on padding the state stays
pub(crate) fn recur(hidden: &Linear, x: Tensor<2>, real: Tensor<2>, backwards: bool) -> Tensor<2> {
    match &hidden.bias {
        Some(bias) if is_fused(&x) => {
            let lists = real.dims()[0];
            Tensor::from_dispatch(<Dispatch as RankOps>::recur(
                x.into_dispatch(),
                hidden.weight.val().into_dispatch(),
                bias.val().into_dispatch(),
                real.into_dispatch(),
                lists,
                backwards,
            ))
        }
        _ => plain::recur(hidden, x, real, backwards),
    }
}

impl RankOps for Flex {
    fn affine(x: FlexTensor, w: FlexTensor, b: FlexTensor, relu: bool) -> FlexTensor {
        affine::forward(&x, &w, &b, relu)
    }

    fn attend(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        real: FlexTensor,
        lists: usize,
        heads: usize,
    ) -> FlexTensor {
        attention::forward([&q, &k, &v], &real, lists, heads).0
    }

    fn norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor) -> FlexTensor {
        norm::forward(&x, &gamma, &beta).0
    }

    fn recur(
        x: FlexTensor,
        w: FlexTensor,
        b: FlexTensor,
        real: FlexTensor,
        lists: usize,
        backwards: bool,
    ) -> FlexTensor {
        gru::forward(&x, [&w, &b], &real, lists, backwards).0
    }
}

/// The backward pass of an operation of three inputs: `slopes` gets what was kept, the slope of the
/// output, and whether the first input wants one; each input that does is given its own.
fn hand_on<S>(
    ops: Ops<S, 3>,
    grads: &mut Gradients,
    slopes: impl FnOnce(S, &FlexTensor, bool) -> [Option<FlexTensor>; 3],
) {
    let gradient = grads.consume::<Flex>(&ops.node);
    let of_first = ops.parents[0].is_some();
    let slopes = slopes(ops.state, &gradient, of_first);
    for (parent, slope) in ops.parents.into_iter().zip(slopes) {
        if let (Some(parent), Some(slope)) = (parent, slope) {
            grads.register::<Flex>(parent.id, slope);
        }
    }
}

#[derive(Debug)]
struct Affine;

impl Backward<Flex, 3> for Affine {
    /// Input, weights, and the output where a non-linearity followed.
    type State = (FlexTensor, FlexTensor, Option<FlexTensor>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(x, w, y), gradient, of_x| {
            affine::backward(&x, &w, y.as_ref(), gradient, of_x)
        });
    }
}

#[derive(Debug)]
struct Attend;

impl Backward<Flex, 3> for Attend {
    /// Queries, keys, values, attention weights, heads.
    type State = ([FlexTensor; 3], FlexTensor, usize);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(inputs, weights, heads), gradient, _| {
            attention::backward(&inputs, &weights, gradient, heads).map(Some)
        });
    }
}

#[derive(Debug)]
struct Norm;

impl Backward<Flex, 3> for Norm {
    /// Normalised rows, the inverse deviation of each, scales.
    type State = (FlexTensor, FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(normed, inverse, gamma), gradient, _| {
            norm::backward(&normed, &inverse, &gamma, gradient).map(Some)
        });
    }
}

#[derive(Debug)]
struct Recur;

impl Backward<Flex, 3> for Recur {
    /// Weights, which places are real, and what the forward pass kept.
    type State = (FlexTensor, FlexTensor, gru::Kept, bool);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(w, real, kept, backwards), gradient, _| {
            gru::backward(&w, &real, &kept, gradient, backwards).map(Some)
        });
    }
}

impl<C: CheckpointStrategy> RankOps for Autodiff<Flex, C> {
    fn affine(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let prepared = Affine
            .prepare::<C>([x.node(), w.node(), b.node()])
            .compute_bound()
            .stateful();
        let (x, w) = (x.primitive().clone(), w.primitive().clone());
        let y = affine::forward(&x, &w, b.primitive(), relu);
        match prepared {
            OpsKind::Tracked(prepared) => {
                let kept = relu.then(|| y.clone());
                prepared.finish((x, w, kept), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        real: FloatTensor<Self>,
        lists: usize,
        heads: usize,
    ) -> FloatTensor<Self> {
        let prepared = Attend
            .prepare::<C>([q.node(), k.node(), v.node()])
            .compute_bound()
            .stateful();
        let inputs = [q, k, v].map(|tensor| tensor.primitive().clone());
        let [q, k, v] = &inputs;
        let (y, weights) = attention::forward([q, k, v], real.primitive(), lists, heads);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((inputs, weights, heads), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = Norm
            .prepare::<C>([x.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let gamma = gamma.primitive().clone();
        let (y, normed, inverse) = norm::forward(x.primitive(), &gamma, beta.primitive());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((normed, inverse, gamma), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn recur(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        real: FloatTensor<Self>,
        lists: usize,
        backwards: bool,
    ) -> FloatTensor<Self> {
        let prepared = Recur
            .prepare::<C>([x.node(), w.node(), b.node()])
            .compute_bound()
            .stateful();
        let w = w.primitive().clone();
        let real = real.primitive().clone();
        let (y, kept) = gru::forward(x.primitive(), [&w, b.primitive()], &real, lists, backwards);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((w, real, kept, backwards), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::LayerNormConfig;
    use burn::optim::GradientsParams;
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
    fn outcome(case: &Case, run: impl Fn(&Case) -> Tensor<2>) -> (Vec<f32>, Gradients) {
        let case = case.clone().fork(&Device::flex().autodiff()).train();
        let output = run(&case);
        let shape = output.dims();
        let wave: Vec<f32> = (0..shape[0] * shape[1])
            .map(|at| (at as f32 * 0.9).cos())
            .collect();
        let wave = Tensor::<2>::from_data(TensorData::new(wave, shape), &Device::flex());
        let values = host(output.clone());
        let backward = (output * wave).sum().backward();
        let gradients = GradientsParams::from_grads(backward, &case);
        (values, Gradients::collect(&case, gradients).unwrap())
    }

    fn assert_same(
        case: &Case,
        fused: impl Fn(&Case) -> Tensor<2>,
        plain: impl Fn(&Case) -> Tensor<2>,
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

    fn real(lengths: &[usize], places: usize) -> Tensor<2> {
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
    fn attention_is_that_of_its_parts() {
        for lengths in [[4, 4, 4], [4, 1, 2]] {
            let sizes = [3, 4, 2];
            // Padding gets no slope from above in a network; here it does, and both agree.
            let inputs = |case: &Case| [0, 1, 2].map(|at| case.inputs[at].val());
            assert_same(
                &case(&[[12, 6]; 3], [1, 1]),
                |case| attend(inputs(case), real(&lengths, 4), sizes),
                |case| plain::attend(inputs(case), real(&lengths, 4), sizes),
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
