//! Gradients of a step on the host: summed over shards in their order, and clipped by their
//! global norm.
//!
//! Burn clips each parameter by itself; `torch.nn.utils.clip_grad_norm_`, which configs mean,
//! scales all of them by one factor.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{self, FloatDType, Tensor};
use slate_kernels::{all_finite, vectorised};

use crate::ModelError;
use crate::weights::Tensors;
use crate::workers::{SPAN, Workers};

/// The gradient of each parameter, in the order a module visits them; none where the loss does not
/// depend on the parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gradients(pub(crate) Vec<Option<Vec<f32>>>);

impl Gradients {
    /// Brings the gradients of a backward pass to the host.
    ///
    /// # Errors
    /// [`ModelError::Compute`] for a device that failed at one.
    pub(crate) fn collect<M: Module>(
        module: &M,
        gradients: tensor::Gradients,
    ) -> Result<Self, ModelError> {
        let mut collect = Collect {
            gradients,
            found: Vec::new(),
            tensors: Tensors::default(),
        };
        module.visit(&mut collect);
        let mut values = collect.tensors.fetch()?.into_iter();
        let mut take = |found: bool| found.then(|| values.next().expect("one for each found"));
        Ok(Self(collect.found.into_iter().map(&mut take).collect()))
    }

    /// The sums of several, parameter by parameter, each in their order.
    pub(crate) fn sum(parts: impl IntoIterator<Item = Self>, workers: &Workers) -> Self {
        let mut parts = parts.into_iter();
        let mut total = parts.next().unwrap_or(Self(Vec::new()));
        let mut others: Vec<Vec<Vec<f32>>> = total.0.iter().map(|_| Vec::new()).collect();
        for part in parts {
            for ((sum, others), part) in total.0.iter_mut().zip(&mut others).zip(part.0) {
                match (sum.as_mut(), part) {
                    (_, None) => {}
                    (None, part) => *sum = part,
                    (Some(_), Some(part)) => others.push(part),
                }
            }
        }
        let mut spans = Vec::new();
        for (sum, others) in total.0.iter_mut().zip(&others) {
            let sums = sum.iter_mut().flat_map(|sum| sum.chunks_mut(SPAN));
            spans.extend(sums.enumerate().map(|(span, sum)| (span, sum, others)));
        }
        workers.map(spans, |(span, sum, others)| {
            for other in others {
                add(sum, &other[span * SPAN..][..sum.len()]);
            }
        });
        total
    }

    /// Multiplies all of them.
    pub(crate) fn scale(&mut self, factor: f32, workers: &Workers) {
        let spans = self.0.iter_mut().flatten();
        let spans = spans.flat_map(|own| own.chunks_mut(SPAN)).collect();
        workers.map(spans, |span: &mut [f32]| {
            for value in span {
                *value *= factor;
            }
        });
    }

    /// The same, each divided by a power of two.
    pub(crate) fn divided(mut self, power: f64) -> Self {
        let factor = power.recip() as f32;
        for value in self.0.iter_mut().flatten().flatten() {
            *value *= factor;
        }
        self
    }

    /// Whether no number has left the range.
    pub(crate) fn is_finite(&self) -> bool {
        self.0.iter().flatten().all(|own| all_finite(own))
    }

    /// Scales them down to the norm `most` where theirs is larger (0: never); the norm before.
    pub(crate) fn clip(&mut self, most: f64, workers: &Workers) -> f64 {
        let spans = self.0.iter().flatten().flat_map(|own| own.chunks(SPAN));
        let squares = workers.map(spans.collect(), sum_of_squares);
        let norm = squares.iter().sum::<f64>().sqrt();
        if most > 0.0 && norm > most && norm.is_finite() {
            self.scale((most / norm) as f32, workers);
        }
        norm
    }
}

fn add(sum: &mut [f32], part: &[f32]) {
    let pairs = sum.iter_mut().zip(part);
    vectorised(
        #[inline(always)]
        || pairs.for_each(|(sum, part)| *sum += part),
    );
}

/// In eight strands, which a processor adds side by side.
fn sum_of_squares(values: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value) * f64::from(value);
    vectorised(
        #[inline(always)]
        || {
            let (chunks, rest) = values.as_chunks::<8>();
            let mut strands = [0.0; 8];
            for chunk in chunks {
                for (strand, &value) in strands.iter_mut().zip(chunk) {
                    *strand += square(value);
                }
            }
            let rest: f64 = rest.iter().map(|&value| square(value)).sum();
            strands.iter().sum::<f64>() + rest
        },
    )
}

/// A sum of gradients that are ready in any order. They are added in the order of their numbers, most of them while
/// others are computed: so few are kept at a time.
#[derive(Default)]
pub(crate) struct RunningSum(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    /// Of those before `next`; none before the first, and while a thread adds to it.
    total: Option<Gradients>,
    is_adding: bool,
    next: usize,
    /// By number.
    waiting: BTreeMap<usize, Gradients>,
}

impl RunningSum {
    /// Hands in the gradients of this number.
    pub(crate) fn put(&self, number: usize, gradients: Gradients) {
        self.lock().waiting.insert(number, gradients);
    }

    /// Adds what can be added, where that is worth a pass over the sum and no other thread does.
    pub(crate) fn advance(&self) {
        let mut parts = self.lock();
        let ready = parts.waiting.keys().zip(parts.next..);
        if parts.is_adding || ready.take_while(|(own, next)| *own == next).count() < 2 {
            return;
        }
        parts.is_adding = true;
        let total = parts.total.take();
        let own: Vec<_> = std::iter::from_fn(|| parts.take_next()).collect();
        drop(parts);
        let total = Gradients::sum(total.into_iter().chain(own), &Workers::NONE);
        let mut parts = self.lock();
        parts.is_adding = false;
        parts.total = Some(total);
    }

    /// The sum of all that were handed in.
    pub(crate) fn finish(self, workers: &Workers) -> Gradients {
        let parts = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Gradients::sum(
            parts.total.into_iter().chain(parts.waiting.into_values()),
            workers,
        )
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn take_next(&mut self) -> Option<Gradients> {
        let own = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(own)
    }
}

struct Collect {
    gradients: tensor::Gradients,
    /// Whether a parameter has one.
    found: Vec<bool>,
    tensors: Tensors,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(&mut self.gradients);
        self.found.push(gradient.is_some());
        if let Some(gradient) = gradient {
            // One of a weight that was read in half precision is narrow, too.
            self.tensors.push(gradient.cast(FloatDType::F32));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Tensor};

    use super::*;

    /// Gradients of `factor · Σ output` for one row of ones: `factor` in every place.
    fn shard(factor: f32) -> Gradients {
        let layer = LinearConfig::new(3, 1).init(&Device::flex().autodiff());
        let output = layer.forward(Tensor::<2>::ones([1, 3], &Device::flex()));
        let backward = output.mul_scalar(factor).sum().backward();
        Gradients::collect(&layer, backward).unwrap()
    }

    fn combined(most: f64) -> (Vec<f32>, f64) {
        let workers = Workers::with_threads(2).unwrap();
        let mut total = Gradients::sum([shard(1.0), shard(4.0)], &workers);
        let norm = total.clip(most, &workers);
        (total.0.into_iter().flatten().flatten().collect(), norm)
    }

    #[test]
    fn shards_add_up() {
        assert_eq!(combined(0.0), (vec![5.0; 4], 10.0));
    }

    #[test]
    fn one_factor_clips_all_parameters() {
        assert_eq!(combined(20.0), (vec![5.0; 4], 10.0));
        assert_eq!(combined(2.0), (vec![1.0; 4], 10.0));
    }

    #[test]
    fn a_parameter_without_a_gradient_takes_the_other_shards() {
        let workers = Workers::with_threads(1).unwrap();
        let parts = [vec![None, None], vec![Some(vec![2.0]), None]].map(Gradients);
        let total = Gradients::sum(parts, &workers);
        assert_eq!(total, Gradients(vec![Some(vec![2.0]), None]));
    }

    /// Parts whose sum depends on the order in which they are added.
    fn uneven(number: usize) -> Gradients {
        let value =
            |at: usize| ((number * 7 + at) as f32 * 0.37).sin() * 10_f32.powi(number as i32);
        Gradients(vec![Some((0..19).map(value).collect()), None])
    }

    #[test]
    fn a_running_sum_is_that_in_the_order_of_numbers() {
        let parts = || (0..6).map(uneven);
        let expected = Gradients::sum(parts(), &Workers::NONE);
        let turned = Gradients::sum(parts().rev(), &Workers::NONE);
        assert_ne!(expected, turned);
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 0, 3, 5, 2, 4]] {
            for advances in [0b00_0000, 0b11_1111, 0b01_0010] {
                let sum = RunningSum::default();
                for (place, number) in order.into_iter().enumerate() {
                    sum.put(number, uneven(number));
                    if advances >> place & 1 == 1 {
                        sum.advance();
                    }
                }
                assert_eq!(sum.finish(&Workers::NONE), expected);
            }
        }
        assert_eq!(
            RunningSum::default().finish(&Workers::NONE),
            Gradients(vec![])
        );
    }

    #[test]
    fn a_running_sum_keeps_few_parts() {
        let sum = RunningSum::default();
        for number in 0..6 {
            sum.put(number, uneven(number));
            sum.advance();
            assert!(sum.lock().waiting.len() < 2);
        }
    }

    #[test]
    fn threads_may_hand_in_and_advance_at_once() {
        let workers = Workers::with_threads(4).unwrap();
        let expected = Gradients::sum((0..32).map(|at| uneven(at % 7)), &Workers::NONE);
        for _ in 0..50 {
            let sum = RunningSum::default();
            workers.map((0..32).collect(), |number| {
                sum.put(number, uneven(number % 7));
                sum.advance();
            });
            assert_eq!(sum.finish(&workers), expected);
        }
    }

    #[test]
    fn long_parameters_add_up_in_spans() {
        let workers = Workers::with_threads(3).unwrap();
        let long = |factor: f32| {
            (0..2 * SPAN + 5)
                .map(|at| factor * (at % 97) as f32)
                .collect()
        };
        let parts = [1.0, 2.0, 5.0].map(|factor| Gradients(vec![Some(long(factor))]));
        let mut total = Gradients::sum(parts, &workers);
        assert_eq!(total, Gradients(vec![Some(long(8.0))]));
        let squares = long(8.0)
            .into_iter()
            .map(|value: f32| f64::from(value).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        assert!((total.clip(0.0, &workers) - norm).abs() < 1e-9 * norm);
    }
}
