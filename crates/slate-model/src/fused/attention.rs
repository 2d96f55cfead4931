//! Attention among the places of each list, all heads at once.

use burn_flex::FlexTensor;
use slate_kernels::{View, multiply, softmax, softmax_of_real};

use super::rows::{size, tensor, values};

/// Where things lie: rows of `hidden` numbers, `places` rows for each list, `heads` side by side.
#[derive(Clone, Copy)]
struct Shape {
    places: usize,
    hidden: usize,
    width: usize,
}

impl Shape {
    fn of(rows: &FlexTensor, lists: usize, heads: usize) -> Self {
        let [rows, hidden] = size(rows);
        Self {
            places: rows / lists,
            hidden,
            width: hidden / heads,
        }
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// One head of a list's rows.
    fn head(self, list: &[f32], head: usize) -> View<'_> {
        let from = &list[head * self.width..];
        View::strided(from, [self.places, self.width], self.hidden)
    }
}

/// Context of every place, and the attention weights `[lists, heads, places, places]`.
pub(super) fn forward(
    [q, k, v]: [&FlexTensor; 3],
    real: &FlexTensor,
    lists: usize,
    heads: usize,
) -> (FlexTensor, FlexTensor) {
    let shape = Shape::of(q, lists, heads);
    let (places, hidden, of_list) = (shape.places, shape.hidden, shape.places * shape.hidden);
    let (q, k, v, real) = (values(q), values(k), values(v), values(real));
    let mut context = vec![0.0; lists * of_list];
    let mut weights = vec![0.0; lists * heads * places * places];
    for list in 0..lists {
        let own = list * of_list..(list + 1) * of_list;
        let real = &real[list * places..(list + 1) * places];
        let whole = real.iter().all(|&real| real != 0.0);
        let context = &mut context[own.clone()];
        for head in 0..heads {
            let at = (list * heads + head) * places * places;
            let weights = &mut weights[at..at + places * places];
            let keys = shape.head(&k[own.clone()], head).turned();
            let queries = shape.head(&q[own.clone()], head);
            multiply(weights, places, false, shape.scale(), queries, keys);
            for row in weights.chunks_exact_mut(places) {
                if whole {
                    softmax(row);
                } else {
                    softmax_of_real(row, real);
                }
            }
            let weights = View::new(weights, places, places);
            let into = &mut context[head * shape.width..];
            let values = shape.head(&v[own.clone()], head);
            multiply(into, hidden, false, 1.0, weights, values);
        }
    }
    (
        tensor(context, &[lists * places, hidden]),
        tensor(weights, &[lists, heads, places, places]),
    )
}

/// Slopes of queries, keys and values.
pub(super) fn backward(
    [q, k, v]: &[FlexTensor; 3],
    weights: &FlexTensor,
    gradient: &FlexTensor,
    heads: usize,
) -> [FlexTensor; 3] {
    let lists = weights.layout().shape()[0];
    let shape = Shape::of(q, lists, heads);
    let (places, hidden, of_list) = (shape.places, shape.hidden, shape.places * shape.hidden);
    let (q, k, v) = (values(q), values(k), values(v));
    let (weights, gradient) = (values(weights), values(gradient));
    let mut slopes = [(); 3].map(|()| vec![0.0; lists * of_list]);
    let mut of_weights = vec![0.0; places * places];
    for list in 0..lists {
        let own = list * of_list..(list + 1) * of_list;
        for head in 0..heads {
            let at = (list * heads + head) * places * places;
            let weights = &weights[at..at + places * places];
            let gradient = shape.head(&gradient[own.clone()], head);
            let [of_q, of_k, of_v] = slopes
                .each_mut()
                .map(|slopes| &mut slopes[own.start + head * shape.width..own.end]);
            let turned = View::new(weights, places, places).turned();
            multiply(of_v, hidden, false, 1.0, turned, gradient);
            let values = shape.head(&v[own.clone()], head).turned();
            multiply(&mut of_weights, places, false, 1.0, gradient, values);
            let rows = of_weights.chunks_exact_mut(places);
            for (slopes, weights) in rows.zip(weights.chunks_exact(places)) {
                let pairs = slopes.iter().zip(weights);
                let mean: f32 = pairs.map(|(slope, weight)| slope * weight).sum();
                for (slope, weight) in slopes.iter_mut().zip(weights) {
                    *slope = weight * (*slope - mean);
                }
            }
            let slopes = View::new(&of_weights, places, places);
            let keys = shape.head(&k[own.clone()], head);
            multiply(of_q, hidden, false, shape.scale(), slopes, keys);
            let queries = shape.head(&q[own.clone()], head);
            multiply(of_k, hidden, false, shape.scale(), slopes.turned(), queries);
        }
    }
    slopes.map(|slopes| tensor(slopes, &[lists * places, hidden]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_no_weight() {
        let ones = |shape: &[usize]| tensor(vec![1.0; shape.iter().product()], shape);
        let real = tensor(vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[2, 3]);
        let rows = ones(&[6, 2]);
        let (_, weights) = forward([&rows, &rows, &rows], &real, 2, 1);
        let weights = values(&weights);
        assert_eq!(&weights[..3], [0.5, 0.5, 0.0]);
        assert_eq!(&weights[9..], [0.0; 9]);
    }
}
