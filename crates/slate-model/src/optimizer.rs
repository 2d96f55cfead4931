//! Optimisers, on the host, with a state that can be saved to the bit.
//!
//! Each rule is one pass over weights, gradient and state. Burn's own optimisers make a tensor for
//! every term of a formula and keep their state by parameter number, which differs from run to run;
//! here it is kept by place, and written under the parameter's name. A test holds every rule to
//! Burn's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slate_kernels::vectorised;

use crate::gradients::Gradients;
use crate::network::Network;
use crate::options::TrainOptions;
use crate::weights::{self, Weight};
use crate::workers::{SPAN, Workers};

const BETA_1: f32 = 0.9;
const ADAM_BETA_2: f32 = 0.999;
const ADAM_EPSILON: f32 = 1e-8;
const ADAGRAD_EPSILON: f32 = 1e-10;
const LION_BETA_2: f32 = 0.99;

/// How weights follow gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay; β 0.9 and 0.999, ε 1e-8.
    AdamW,
    /// Gradient descent, with momentum where it is set.
    Sgd,
    /// Steps divided by the root of all squared gradients so far; ε 1e-10.
    Adagrad,
    /// Steps of one size, by the sign of the mean gradient; β 0.9 and 0.99.
    Lion,
}

impl OptimizerKind {
    pub(crate) const ALL: [Self; 4] = [Self::AdamW, Self::Sgd, Self::Adagrad, Self::Lion];

    /// As a config has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Sgd => "sgd",
            Self::Adagrad => "adagrad",
            Self::Lion => "lion",
        }
    }
}

/// An optimiser with its state.
#[derive(Debug, Clone)]
pub(crate) struct Optimizer {
    kind: OptimizerKind,
    momentum: f32,
    weight_decay: f64,
    /// Factors of the rate by parameter; 1 where there are none.
    factors: Vec<f64>,
    /// By parameter, in the order the network visits them; empty until its first gradient.
    slots: Vec<Slot>,
}

/// What an optimiser remembers of one parameter.
#[derive(Debug, Clone, Default, PartialEq)]
struct Slot {
    /// Steps made.
    time: i32,
    /// Mean gradient, momentum, or sum of squares.
    first: Vec<f32>,
    /// Mean squared gradient of `AdamW`.
    second: Vec<f32>,
}

impl Optimizer {
    pub(crate) fn new(options: &TrainOptions) -> Self {
        Self {
            kind: options.optimizer,
            momentum: options.momentum.unwrap_or(0.0) as f32,
            weight_decay: options.weight_decay,
            factors: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// The same with a factor of the rate for each parameter, in the order the network visits them.
    pub(crate) fn with_factors(self, factors: Vec<f64>) -> Self {
        Self { factors, ..self }
    }

    pub(crate) fn kind(&self) -> OptimizerKind {
        self.kind
    }

    /// Moves the weights by one step. Parameters without a gradient stay.
    pub(crate) fn step(
        &mut self,
        rate: f64,
        network: &mut Network,
        gradients: &Gradients,
        workers: &Workers,
    ) {
        self.slots.resize(gradients.0.len(), Slot::default());
        weights::update(network, |weights| {
            let mut spans = Vec::new();
            let parameters = weights.iter_mut().zip(&mut self.slots).zip(&gradients.0);
            for (place, ((weight, slot), gradient)) in parameters.enumerate() {
                let Some(gradient) = gradient else { continue };
                let rule = Rule {
                    rate: rate * self.factors.get(place).copied().unwrap_or(1.0),
                    weight_decay: self.weight_decay,
                    momentum: self.momentum,
                };
                slot.time += 1;
                spans.extend(slot.spans(self.kind, &mut weight.values, gradient, rule));
            }
            workers.map(spans, |(rule, span)| rule.apply(self.kind, span));
        });
    }

    /// The state by the parameters' names: `NAME#first`, `NAME#second`, and the steps made.
    pub(crate) fn state(
        &self,
        names: &[(String, Vec<usize>)],
    ) -> (BTreeMap<String, Weight>, Vec<i32>) {
        let mut arrays = BTreeMap::new();
        for (slot, (name, shape)) in self.slots.iter().zip(names) {
            for (part, values) in [("first", &slot.first), ("second", &slot.second)] {
                if !values.is_empty() {
                    let weight = Weight {
                        shape: shape.clone(),
                        values: values.clone(),
                    };
                    arrays.insert(format!("{name}#{part}"), weight);
                }
            }
        }
        (arrays, self.slots.iter().map(|slot| slot.time).collect())
    }

    /// Puts a [`state`](Self::state) back.
    pub(crate) fn restore(
        &mut self,
        names: &[(String, Vec<usize>)],
        mut arrays: BTreeMap<String, Weight>,
        times: &[i32],
    ) {
        let mut take = |name: &str, part: &str| {
            let weight = arrays.remove(&format!("{name}#{part}"));
            weight.map(|weight| weight.values).unwrap_or_default()
        };
        self.slots = times
            .iter()
            .zip(names)
            .map(|(&time, (name, _))| Slot {
                time,
                first: take(name, "first"),
                second: take(name, "second"),
            })
            .collect();
    }
}

impl Slot {
    /// A parameter in spans that threads share out.
    fn spans<'a>(
        &'a mut self,
        kind: OptimizerKind,
        weights: &'a mut [f32],
        gradient: &'a [f32],
        rule: Rule,
    ) -> impl Iterator<Item = (Rule, Span<'a>)> {
        self.first.resize(weights.len(), 0.0);
        if kind == OptimizerKind::AdamW {
            self.second.resize(weights.len(), 0.0);
        }
        let time = self.time;
        let weights = weights.chunks_mut(SPAN).zip(gradient.chunks(SPAN));
        // Rules without a second moment have empty ones.
        let second = self.second.chunks_mut(SPAN).map(Some);
        let second = second.chain(std::iter::repeat_with(|| None));
        let moments = self.first.chunks_mut(SPAN).zip(second);
        weights
            .zip(moments)
            .map(move |((weights, gradient), (first, second))| {
                let span = Span {
                    weights,
                    gradient,
                    time,
                    first,
                    second: second.unwrap_or_default(),
                };
                (rule, span)
            })
    }
}

/// A stretch of one parameter, its gradient, and what is remembered of it.
struct Span<'a> {
    weights: &'a mut [f32],
    gradient: &'a [f32],
    time: i32,
    first: &'a mut [f32],
    second: &'a mut [f32],
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Rule {
    rate: f64,
    weight_decay: f64,
    momentum: f32,
}

#[expect(
    clippy::inline_always,
    reason = "what is to be compiled for wider vectors has to be inlined there"
)]
impl Rule {
    fn apply(&self, kind: OptimizerKind, span: Span<'_>) {
        vectorised(
            #[inline(always)]
            || match kind {
                OptimizerKind::AdamW => self.adamw(span),
                OptimizerKind::Sgd => self.sgd(span),
                OptimizerKind::Adagrad => self.adagrad(span),
                OptimizerKind::Lion => self.lion(span),
            },
        );
    }

    /// What decoupled decay multiplies a weight by.
    #[inline(always)]
    fn kept(&self) -> f32 {
        (1.0 - self.rate * self.weight_decay) as f32
    }

    #[inline(always)]
    fn adamw(&self, span: Span<'_>) {
        let (kept, rate) = (self.kept(), self.rate as f32);
        let first_share = 1.0 - BETA_1.powi(span.time);
        let second_share = 1.0 - ADAM_BETA_2.powi(span.time);
        let moments = span.first.iter_mut().zip(span.second);
        let weights = span.weights.iter_mut().zip(span.gradient);
        for ((weight, &slope), (first, second)) in weights.zip(moments) {
            *first = *first * BETA_1 + slope * (1.0 - BETA_1);
            *second = *second * ADAM_BETA_2 + slope * slope * (1.0 - ADAM_BETA_2);
            let step = (*first / first_share) / ((*second / second_share).sqrt() + ADAM_EPSILON);
            *weight = *weight * kept - step * rate;
        }
    }

    #[inline(always)]
    fn sgd(&self, span: Span<'_>) {
        let (decay, rate) = (self.weight_decay as f32, self.rate as f32);
        let weights = span.weights.iter_mut().zip(span.gradient);
        for ((weight, &slope), velocity) in weights.zip(span.first) {
            *velocity = *velocity * self.momentum + (slope + *weight * decay);
            *weight -= *velocity * rate;
        }
    }

    #[inline(always)]
    fn adagrad(&self, span: Span<'_>) {
        let (decay, rate) = (self.weight_decay as f32, self.rate as f32);
        let weights = span.weights.iter_mut().zip(span.gradient);
        for ((weight, &slope), squares) in weights.zip(span.first) {
            let slope = slope + *weight * decay;
            *squares += slope * slope;
            *weight -= slope / (squares.sqrt() + ADAGRAD_EPSILON) * rate;
        }
    }

    #[inline(always)]
    fn lion(&self, span: Span<'_>) {
        let (kept, rate) = (self.kept(), self.rate as f32);
        let weights = span.weights.iter_mut().zip(span.gradient);
        for ((weight, &slope), mean) in weights.zip(span.first) {
            let ahead = *mean * BETA_1 + slope * (1.0 - BETA_1);
            let sign = if ahead == 0.0 { 0.0 } else { ahead.signum() };
            *mean = *mean * LION_BETA_2 + slope * (1.0 - LION_BETA_2);
            *weight = *weight * kept - sign * rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::optim::decay::WeightDecayConfig;
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{
        AdaGradConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer, SgdConfig,
    };
    use burn::tensor::Device;
    use slate_types::{Batch, FeatureShape, Seed};

    use super::*;
    use crate::noise::Noise;
    use crate::outputs::Outputs;
    use crate::{NetworkKind, NetworkOptions, shards};

    fn one_thread() -> Workers {
        Workers::with_threads(1).unwrap()
    }

    fn network() -> Network {
        let options = NetworkOptions {
            kind: NetworkKind::Mlp,
            hidden: 5,
            ..Default::default()
        };
        let shape = FeatureShape {
            dense: 3,
            categorical: vec![],
            ..FeatureShape::default()
        };
        let config = options.check().unwrap();
        Network::new(
            &config,
            &shape,
            Outputs::default().columns(),
            Seed(3),
            &Device::flex(),
        )
        .unwrap()
    }

    fn backward(network: &Network, step: usize) -> burn::tensor::Gradients {
        let dense = |place: usize| ((place + 7 * step) as f32).sin();
        let batch = Batch {
            lists: 2,
            slots: 2,
            dense_width: 3,
            dense: (0..12).map(dense).collect(),
            mask: vec![true; 4],
            slot: vec![0; 4],
            ..Batch::default()
        };
        let input = network.read(&shards::cut(&batch, 1)[0], &batch, &Device::flex());
        let scores = network
            .forward(&input, &mut Noise::none(&Device::flex()))
            .columns;
        let loss = (scores.clone() * scores).sum();
        loss.backward()
    }

    /// The largest difference between our weights and Burn's after a few steps.
    fn difference(options: &TrainOptions, burn: ModuleOptimizer) -> f32 {
        let mut ours = Optimizer::new(options);
        let (mut own, mut burn) = (network(), burn);
        let mut other = network().train();
        for step in 0..5 {
            let gradients = GradientsParams::from_grads(backward(&other, step), &other);
            other = burn.step(options.learning_rate, other, gradients);
            let leaves = own.clone().train();
            let gradients = Gradients::collect(&leaves, backward(&leaves, step)).unwrap();
            ours.step(options.learning_rate, &mut own, &gradients, &one_thread());
        }
        let (own, other) = (weights::read(&own), weights::read(&other.valid()));
        let pairs = own.values().zip(other.values());
        pairs
            .flat_map(|(a, b)| a.values.iter().zip(&b.values))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn every_rule_is_burns() {
        let options = |optimizer, momentum| TrainOptions {
            optimizer,
            momentum,
            learning_rate: 0.02,
            weight_decay: 0.1,
            ..Default::default()
        };
        let decay = || Some(WeightDecayConfig::new(0.1));
        let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1);
        assert!(difference(&options(OptimizerKind::AdamW, None), adamw.init()) < 1e-6);
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let sgd = SgdConfig::new()
            .with_weight_decay(decay())
            .with_momentum(Some(momentum));
        assert!(difference(&options(OptimizerKind::Sgd, Some(0.9)), sgd.init()) < 1e-6);
        let adagrad = AdaGradConfig::new()
            .with_epsilon(1e-10)
            .with_weight_decay(decay());
        assert!(difference(&options(OptimizerKind::Adagrad, None), adagrad.init()) < 1e-6);
        let lion = LionConfig::new().with_weight_decay(0.1);
        assert!(difference(&options(OptimizerKind::Lion, None), lion.init()) < 1e-6);
    }

    #[test]
    fn a_restored_optimizer_goes_on_as_before() {
        let options = TrainOptions::default();
        let mut first = Optimizer::new(&options);
        let step = |optimizer: &mut Optimizer, mut network: Network, at: usize| {
            let leaves = network.clone().train();
            let gradients = Gradients::collect(&leaves, backward(&leaves, at)).unwrap();
            optimizer.step(1e-2, &mut network, &gradients, &one_thread());
            network
        };
        let at_three = (0..3).fold(network(), |network, at| step(&mut first, network, at));
        let names = weights::names(&at_three);
        let (arrays, times) = first.state(&names);
        let mut second = Optimizer::new(&options);
        second.restore(&names, arrays, &times);
        let [one, two] = [first, second].map(|mut optimizer| {
            let network = step(&mut optimizer, at_three.clone(), 3);
            weights::read(&network)
        });
        assert_eq!(one, two);
    }
}
