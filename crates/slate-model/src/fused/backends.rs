//! The operations as Burn calls them, on the processor's tensors and under autodiff.

use std::borrow::Cow;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, ExtensionType, Flex, backend_extension};
use burn_flex::FlexTensor;
use slate_kernels::Moments;

use super::affine::{Layer, relu_slopes};
use super::attention::{Attention, Shape};
use super::block::{Block, Closing, Kept};
use super::feed_forward::FeedForward;
use super::rows::{size, tensor, values};
use super::{Mask, affine, attention, feed_forward, gru, norm};
use crate::network_config::{Activation, NormPlace};

/// Factors and what is added: of a linear layer weights `[inputs, outputs]` and bias `[outputs]`, of a
/// normalisation scales and shifts.
#[derive(Debug, Clone, ExtensionType)]
pub(crate) struct Pair<B: Backend> {
    pub(super) factor: FloatTensor<B>,
    pub(super) shift: FloatTensor<B>,
}

/// Weights of an attention block.
#[derive(Debug, Clone, ExtensionType)]
pub(crate) struct AttentionWeights<B: Backend> {
    #[extension_type]
    pub(super) norm: Pair<B>,
    #[extension_type]
    pub(super) query: Pair<B>,
    #[extension_type]
    pub(super) key: Pair<B>,
    #[extension_type]
    pub(super) value: Pair<B>,
    #[extension_type]
    pub(super) output: Pair<B>,
}

/// Weights of a feed-forward block.
#[derive(Debug, Clone, ExtensionType)]
pub(crate) struct FeedForwardWeights<B: Backend> {
    #[extension_type]
    pub(super) norm: Pair<B>,
    #[extension_type]
    pub(super) inner: Pair<B>,
    #[extension_type]
    pub(super) outer: Pair<B>,
}

/// The operations, for a backend.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RankOps: Backend {
    /// `x w + b`, and `max(0, ·)` of it where `relu`.
    fn affine(
        x: FloatTensor<Self>,
        #[extension_type] layer: Pair<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;

    /// Layer normalisation of rows.
    fn norm(x: FloatTensor<Self>, #[extension_type] layer: Pair<Self>) -> FloatTensor<Self>;

    /// An attention block.
    fn attention(
        x: FloatTensor<Self>,
        real: FloatTensor<Self>,
        #[extension_type] weights: AttentionWeights<Self>,
        heads: usize,
        place: NormPlace,
        mask: Mask,
    ) -> FloatTensor<Self>;

    /// A feed-forward block.
    fn feed_forward(
        x: FloatTensor<Self>,
        #[extension_type] weights: FeedForwardWeights<Self>,
        activation: Activation,
        place: NormPlace,
        masks: [Mask; 2],
    ) -> FloatTensor<Self>;

    /// A recurrent unit over the places of lists, from projected inputs.
    fn recur(
        x: FloatTensor<Self>,
        #[extension_type] layer: Pair<Self>,
        real: FloatTensor<Self>,
        backwards: bool,
    ) -> FloatTensor<Self>;
}

/// Numbers of a pair's tensors.
struct Read<'a> {
    factor: Cow<'a, [f32]>,
    shift: Cow<'a, [f32]>,
}

impl Read<'_> {
    fn layer(&self) -> Layer<'_> {
        Layer {
            weight: &self.factor,
            bias: &self.shift,
        }
    }
}

impl Pair<Flex> {
    fn read(&self) -> Read<'_> {
        Read {
            factor: values(&self.factor),
            shift: values(&self.shift),
        }
    }

    /// Slopes as tensors of the shapes they are slopes of.
    fn slopes(&self, [of_factor, of_shift]: [Vec<f32>; 2]) -> [FlexTensor; 2] {
        [
            tensor(of_factor, self.factor.layout().shape()),
            tensor(of_shift, self.shift.layout().shape()),
        ]
    }
}

impl<C: CheckpointStrategy> Pair<Autodiff<Flex, C>> {
    fn primitive(&self) -> Pair<Flex> {
        Pair {
            factor: self.factor.primitive().clone(),
            shift: self.shift.primitive().clone(),
        }
    }
}

/// What an attention block is called with, beside its input.
#[derive(Debug, Clone)]
struct AttentionCall {
    real: FlexTensor,
    weights: AttentionWeights<Flex>,
    heads: usize,
    place: NormPlace,
    mask: Mask,
}

impl AttentionCall {
    fn pairs(&self) -> [&Pair<Flex>; 5] {
        let own = &self.weights;
        [&own.norm, &own.query, &own.key, &own.value, &own.output]
    }

    fn run<T>(&self, with: impl FnOnce(&Block<'_, Attention<'_>>) -> T) -> T {
        let read = self.pairs().map(Pair::read);
        let [norm, query, key, value, output] = &read;
        let real = values(&self.real);
        with(&Block {
            place: self.place,
            gamma: &norm.factor,
            beta: &norm.shift,
            body: Attention {
                shape: Shape {
                    places: size(&self.real)[1],
                    hidden: norm.shift.len(),
                    heads: self.heads,
                },
                inputs: [query.layer(), key.layer(), value.layer()],
                closing: Closing {
                    layer: output.layer(),
                    mask: self.mask.as_deref(),
                },
                real: &real,
            },
        })
    }
}

/// What a feed-forward block is called with, beside its input.
#[derive(Debug, Clone)]
struct FeedForwardCall {
    weights: FeedForwardWeights<Flex>,
    activation: Activation,
    place: NormPlace,
    masks: [Mask; 2],
}

impl FeedForwardCall {
    fn pairs(&self) -> [&Pair<Flex>; 3] {
        let own = &self.weights;
        [&own.norm, &own.inner, &own.outer]
    }

    fn run<T>(&self, with: impl FnOnce(&Block<'_, FeedForward<'_>>) -> T) -> T {
        let read = self.pairs().map(Pair::read);
        let [norm, inner, outer] = &read;
        let [of_inner, of_outer] = &self.masks;
        with(&Block {
            place: self.place,
            gamma: &norm.factor,
            beta: &norm.shift,
            body: FeedForward {
                inner: inner.layer(),
                activation: self.activation,
                mask: of_inner.as_deref(),
                closing: Closing {
                    layer: outer.layer(),
                    mask: of_outer.as_deref(),
                },
            },
        })
    }
}

impl RankOps for Flex {
    fn affine(x: FlexTensor, layer: Pair<Flex>, relu: bool) -> FlexTensor {
        let layer = layer.read();
        let mut y = layer.layer().forward(&values(&x));
        if relu {
            affine::relu(&mut y);
        }
        tensor(y, &[size(&x)[0], layer.shift.len()])
    }

    fn norm(x: FlexTensor, layer: Pair<Flex>) -> FlexTensor {
        let layer = layer.read();
        let (y, _) = norm::forward(&values(&x), &layer.factor, &layer.shift);
        tensor(y, &size(&x))
    }

    fn attention(
        x: FlexTensor,
        real: FlexTensor,
        weights: AttentionWeights<Flex>,
        heads: usize,
        place: NormPlace,
        mask: Mask,
    ) -> FlexTensor {
        let call = AttentionCall {
            real,
            weights,
            heads,
            place,
            mask,
        };
        tensor(call.run(|block| block.forward(&values(&x))).0, &size(&x))
    }

    fn feed_forward(
        x: FlexTensor,
        weights: FeedForwardWeights<Flex>,
        activation: Activation,
        place: NormPlace,
        masks: [Mask; 2],
    ) -> FlexTensor {
        let call = FeedForwardCall {
            weights,
            activation,
            place,
            masks,
        };
        tensor(call.run(|block| block.forward(&values(&x))).0, &size(&x))
    }

    fn recur(x: FlexTensor, layer: Pair<Flex>, real: FlexTensor, backwards: bool) -> FlexTensor {
        let lists = size(&real)[0];
        let weights = [&layer.factor, &layer.shift];
        gru::forward(&x, weights, &real, lists, backwards).0
    }
}

/// The backward pass of an operation: `slopes` gets what was kept, the slope of the output, and whether
/// the first input wants one; each input that does is given its own.
fn hand_on<S, const N: usize>(
    ops: Ops<S, N>,
    grads: &mut Gradients,
    slopes: impl FnOnce(S, &FlexTensor, bool) -> Vec<Option<FlexTensor>>,
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

/// Slopes of an input and of pairs of weights, in their order, as tensors.
fn tensors<const N: usize>(
    of_x: FlexTensor,
    pairs: [&Pair<Flex>; N],
    slopes: Vec<Vec<f32>>,
) -> Vec<Option<FlexTensor>> {
    let mut slopes = slopes.into_iter();
    let of_pairs = pairs.into_iter().flat_map(|pair| {
        let mut next = || slopes.next().expect("two slopes for each pair");
        let [of_factor, of_shift] = [next(), next()];
        pair.slopes([of_factor, of_shift])
    });
    std::iter::once(of_x).chain(of_pairs).map(Some).collect()
}

#[derive(Debug)]
struct AffineOp;

impl Backward<Flex, 3> for AffineOp {
    /// Input, weights, and the output where a non-linearity followed.
    type State = (FlexTensor, Pair<Flex>, Option<FlexTensor>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(x, layer, y), gradient, of_x| {
            let mut slopes = values(gradient);
            if let Some(y) = &y {
                relu_slopes(slopes.to_mut(), &values(y));
            }
            let read = layer.read();
            let of_x = of_x.then(|| tensor(read.layer().of_input(&slopes), &size(&x)));
            let own = layer.slopes(read.layer().of_weights(&values(&x), &slopes));
            std::iter::once(of_x).chain(own.map(Some)).collect()
        });
    }
}

#[derive(Debug)]
struct NormOp;

impl Backward<Flex, 3> for NormOp {
    /// Input, what its rows were normalised by, scales and shifts.
    type State = (FlexTensor, Vec<Moments>, Pair<Flex>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(x, moments, layer), gradient, _| {
            let rows = values(&x);
            let gradient = values(gradient);
            let gamma = &layer.read().factor;
            let (of_x, own) = norm::backward(&rows, &moments, gamma, &gradient, None);
            tensors(tensor(of_x, &size(&x)), [&layer], own.into())
        });
    }
}

#[derive(Debug)]
struct AttentionOp;

impl Backward<Flex, 11> for AttentionOp {
    type State = (FlexTensor, AttentionCall, Kept<attention::Kept>);

    fn backward(self, ops: Ops<Self::State, 11>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(x, call, kept), gradient, _| {
            let (rows, gradient) = (values(&x), values(gradient));
            let (of_x, own) = call.run(|block| block.backward(&kept, &rows, &gradient));
            tensors(tensor(of_x, &size(&x)), call.pairs(), own)
        });
    }
}

#[derive(Debug)]
struct FeedForwardOp;

impl Backward<Flex, 7> for FeedForwardOp {
    type State = (FlexTensor, FeedForwardCall, Kept<feed_forward::Kept>);

    fn backward(self, ops: Ops<Self::State, 7>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(x, call, kept), gradient, _| {
            let (rows, gradient) = (values(&x), values(gradient));
            let (of_x, own) = call.run(|block| block.backward(&kept, &rows, &gradient));
            tensors(tensor(of_x, &size(&x)), call.pairs(), own)
        });
    }
}

#[derive(Debug)]
struct RecurOp;

impl Backward<Flex, 3> for RecurOp {
    /// Weights, which places are real, and what the forward pass kept.
    type State = (FlexTensor, FlexTensor, gru::Kept, bool);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        hand_on(ops, grads, |(w, real, kept, backwards), gradient, _| {
            let slopes = gru::backward(&w, &real, &kept, gradient, backwards);
            slopes.into_iter().map(Some).collect()
        });
    }
}

impl<C: CheckpointStrategy> RankOps for Autodiff<Flex, C> {
    fn affine(x: FloatTensor<Self>, layer: Pair<Self>, relu: bool) -> FloatTensor<Self> {
        let prepared = AffineOp
            .prepare::<C>([x.node(), layer.factor.node(), layer.shift.node()])
            .compute_bound()
            .stateful();
        let (x, layer) = (x.primitive().clone(), layer.primitive());
        let y = Flex::affine(x.clone(), layer.clone(), relu);
        match prepared {
            OpsKind::Tracked(prepared) => {
                let kept = relu.then(|| y.clone());
                prepared.finish((x, layer, kept), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn norm(x: FloatTensor<Self>, layer: Pair<Self>) -> FloatTensor<Self> {
        let prepared = NormOp
            .prepare::<C>([x.node(), layer.factor.node(), layer.shift.node()])
            .compute_bound()
            .stateful();
        let (x, layer) = (x.primitive().clone(), layer.primitive());
        let read = layer.read();
        let (y, moments) = norm::forward(&values(&x), &read.factor, &read.shift);
        let y = tensor(y, &size(&x));
        drop(read);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, moments, layer), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn attention(
        x: FloatTensor<Self>,
        real: FloatTensor<Self>,
        weights: AttentionWeights<Self>,
        heads: usize,
        place: NormPlace,
        mask: Mask,
    ) -> FloatTensor<Self> {
        let AttentionWeights {
            norm,
            query,
            key,
            value,
            output,
        } = &weights;
        let prepared = AttentionOp
            .prepare::<C>([
                x.node(),
                norm.factor.node(),
                norm.shift.node(),
                query.factor.node(),
                query.shift.node(),
                key.factor.node(),
                key.shift.node(),
                value.factor.node(),
                value.shift.node(),
                output.factor.node(),
                output.shift.node(),
            ])
            .compute_bound()
            .stateful();
        let call = AttentionCall {
            real: real.primitive().clone(),
            weights: AttentionWeights {
                norm: norm.primitive(),
                query: query.primitive(),
                key: key.primitive(),
                value: value.primitive(),
                output: output.primitive(),
            },
            heads,
            place,
            mask,
        };
        let x = x.primitive().clone();
        let (y, kept) = call.run(|block| block.forward(&values(&x)));
        let y = tensor(y, &size(&x));
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, call, kept), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn feed_forward(
        x: FloatTensor<Self>,
        weights: FeedForwardWeights<Self>,
        activation: Activation,
        place: NormPlace,
        masks: [Mask; 2],
    ) -> FloatTensor<Self> {
        let FeedForwardWeights { norm, inner, outer } = &weights;
        let prepared = FeedForwardOp
            .prepare::<C>([
                x.node(),
                norm.factor.node(),
                norm.shift.node(),
                inner.factor.node(),
                inner.shift.node(),
                outer.factor.node(),
                outer.shift.node(),
            ])
            .compute_bound()
            .stateful();
        let call = FeedForwardCall {
            weights: FeedForwardWeights {
                norm: norm.primitive(),
                inner: inner.primitive(),
                outer: outer.primitive(),
            },
            activation,
            place,
            masks,
        };
        let x = x.primitive().clone();
        let (y, kept) = call.run(|block| block.forward(&values(&x)));
        let y = tensor(y, &size(&x));
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, call, kept), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn recur(
        x: FloatTensor<Self>,
        layer: Pair<Self>,
        real: FloatTensor<Self>,
        backwards: bool,
    ) -> FloatTensor<Self> {
        let prepared = RecurOp
            .prepare::<C>([x.node(), layer.factor.node(), layer.shift.node()])
            .compute_bound()
            .stateful();
        let (layer, real) = (layer.primitive(), real.primitive().clone());
        let (lists, weights) = (size(&real)[0], [&layer.factor, &layer.shift]);
        let (y, kept) = gru::forward(x.primitive(), weights, &real, lists, backwards);
        match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish((layer.factor.clone(), real, kept, backwards), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}
