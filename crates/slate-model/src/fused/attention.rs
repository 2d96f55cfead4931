//! Self-attention among the places of each list, all heads at once.

use slate_kernels::{
    Start, View, dot, multiply, product, products, softmax, softmax_of_real, sum_of_rows,
    vectorised,
};

use super::affine::Layer;
use super::block::{Body, Closing};

/// Where things lie: `places` rows for each list, `hidden` numbers each, `heads` side by side.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) places: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
}

impl Shape {
    /// Numbers of a head.
    fn width(self) -> usize {
        self.hidden / self.heads
    }

    fn scale(self) -> f32 {
        1.0 / (self.width() as f32).sqrt()
    }

    /// Where a head of queries, keys or values begins in a list's packed rows.
    fn begin(self, part: usize, head: usize) -> usize {
        part * self.hidden + head * self.width()
    }

    /// Queries, keys or values of one head, from a list's packed rows.
    fn of(self, packed: &[f32], part: usize, head: usize) -> View<'_> {
        let from = &packed[self.begin(part, head)..];
        View::strided(from, [self.places, self.width()], 3 * self.hidden)
    }
}

/// Attention with its projections.
pub(super) struct Attention<'a> {
    pub(super) shape: Shape,
    /// Queries, keys and values.
    pub(super) inputs: [Layer<'a>; 3],
    pub(super) closing: Closing<'a>,
    /// `[lists, places]`: 1 where there is a slot, 0 on padding.
    pub(super) real: &'a [f32],
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// `[rows, 3·hidden]`: queries, keys and values side by side.
    packed: Vec<f32>,
    /// `[lists, heads, places, places]`: what each place gives to the others.
    weights: Vec<f32>,
    /// `[rows, hidden]`
    context: Vec<f32>,
}

impl Attention<'_> {
    /// Context of every place, and the attention weights.
    fn attend(&self, packed: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let shape = self.shape;
        let (places, hidden) = (shape.places, shape.hidden);
        let mut context = vec![0.0; packed.len() / 3];
        let mut weights = vec![0.0; packed.len() / (3 * hidden) * shape.heads * places];
        let lists = packed
            .chunks_exact(3 * places * hidden)
            .zip(context.chunks_exact_mut(places * hidden));
        let of_lists = weights.chunks_exact_mut(shape.heads * places * places);
        let real = self.real.chunks_exact(places);
        for ((packed, context), (weights, real)) in lists.zip(of_lists.zip(real)) {
            let whole = real.iter().all(|&real| real != 0.0);
            for (head, weights) in weights.chunks_exact_mut(places * places).enumerate() {
                let (queries, keys) = (shape.of(packed, 0, head), shape.of(packed, 1, head));
                multiply(
                    weights,
                    places,
                    Start::Zero,
                    shape.scale(),
                    queries,
                    keys.turned(),
                );
                if whole {
                    softmax(weights, places);
                } else {
                    softmax_of_real(weights, real);
                }
                let weights = View::new(weights, places, places);
                let into = &mut context[head * shape.width()..];
                multiply(
                    into,
                    hidden,
                    Start::Zero,
                    1.0,
                    weights,
                    shape.of(packed, 2, head),
                );
            }
        }
        (context, weights)
    }

    /// Slopes of queries, keys and values, side by side, from that of the context.
    fn slopes(&self, kept: &Kept, of_context: &[f32]) -> Vec<f32> {
        let shape = self.shape;
        let (places, hidden) = (shape.places, shape.hidden);
        let mut slopes = vec![0.0; kept.packed.len()];
        let mut of_weights = vec![0.0; places * places];
        let lists = kept
            .packed
            .chunks_exact(3 * places * hidden)
            .zip(slopes.chunks_exact_mut(3 * places * hidden));
        let given = of_context
            .chunks_exact(places * hidden)
            .zip(kept.weights.chunks_exact(shape.heads * places * places));
        for ((packed, slopes), (of_context, weights)) in lists.zip(given) {
            for (head, weights) in weights.chunks_exact(places * places).enumerate() {
                let mut slope = |part: usize, scale: f32, a: View<'_>, b: View<'_>| {
                    let into = &mut slopes[shape.begin(part, head)..];
                    multiply(into, 3 * hidden, Start::Zero, scale, a, b);
                };
                let from = &of_context[head * shape.width()..];
                let gradient = View::strided(from, [places, shape.width()], hidden);
                slope(
                    2,
                    1.0,
                    View::new(weights, places, places).turned(),
                    gradient,
                );
                let values = shape.of(packed, 2, head).turned();
                multiply(&mut of_weights, places, Start::Zero, 1.0, gradient, values);
                softmax_slopes(&mut of_weights, weights, places);
                let of_logits = View::new(&of_weights, places, places);
                slope(0, shape.scale(), of_logits, shape.of(packed, 1, head));
                let queries = shape.of(packed, 0, head);
                slope(1, shape.scale(), of_logits.turned(), queries);
            }
        }
        slopes
    }
}

/// Slopes before a softmax of rows of `width` numbers, from those after it and what it gave.
fn softmax_slopes(slopes: &mut [f32], given: &[f32], width: usize) {
    vectorised(
        #[inline(always)]
        || {
            let rows = slopes.chunks_exact_mut(width);
            for (slopes, given) in rows.zip(given.chunks_exact(width)) {
                let mean = dot(slopes, given);
                for (slope, given) in slopes.iter_mut().zip(given) {
                    *slope = given * (*slope - mean);
                }
            }
        },
    );
}

impl Body for Attention<'_> {
    type Kept = Kept;

    fn forward(&self, input: &[f32], residual: &[f32]) -> (Vec<f32>, Kept) {
        let hidden = self.shape.hidden;
        let rows = input.len() / hidden;
        let x = View::new(input, rows, hidden);
        let inputs = self.inputs;
        let packed = products(
            x,
            inputs.map(|layer| (Start::Row(layer.bias), layer.weights())),
        );
        let (context, weights) = self.attend(&packed);
        let kept = Kept {
            packed,
            weights,
            context,
        };
        (self.closing.forward(&kept.context, residual), kept)
    }

    fn backward(&self, kept: &Kept, input: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let hidden = self.shape.hidden;
        let rows = input.len() / hidden;
        let (of_context, [of_w, of_b]) = self.closing.backward(&kept.context, gradient);
        let packed = self.slopes(kept, &of_context);
        let mut of_input = of_context;
        let x = View::new(input, rows, hidden).turned();
        let slopes_of = |part: usize| {
            let slopes = &packed[part * hidden..];
            View::strided(slopes, [rows, hidden], 3 * hidden)
        };
        let biases = sum_of_rows(&packed, 3 * hidden);
        let mut gradients = Vec::with_capacity(8);
        let mut start = Start::Zero;
        for (part, layer) in self.inputs.iter().enumerate() {
            let turned = layer.weights().turned();
            multiply(&mut of_input, hidden, start, 1.0, slopes_of(part), turned);
            start = Start::There;
            gradients.push(product(Start::Zero, x, slopes_of(part)));
            gradients.push(biases[part * hidden..(part + 1) * hidden].to_vec());
        }
        gradients.extend([of_w, of_b]);
        (of_input, gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_no_weight() {
        let layer = Layer {
            weight: &[0.0; 4],
            bias: &[0.0; 2],
        };
        let attention = Attention {
            shape: Shape {
                places: 3,
                hidden: 2,
                heads: 1,
            },
            inputs: [layer; 3],
            closing: Closing { layer, mask: None },
            real: &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        };
        let (_, weights) = attention.attend(&[1.0; 36]);
        assert_eq!(&weights[..3], [0.5, 0.5, 0.0]);
        assert_eq!(&weights[9..], [0.0; 9]);
    }
}
