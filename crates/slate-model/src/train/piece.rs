//! A piece of a batch through the network and back.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use slate_types::Batch;

use crate::batch_norm::Standard;
use crate::gradients::Gradients;
use crate::network::Network;
use crate::noise::Noise;
use crate::objective::Objective;
use crate::pair::InBatch;
use crate::shards::Shard;
use crate::weights::fetch;
use crate::{ModelError, Precision, distil};

/// What every shard of a batch is about.
pub(super) struct Task<'a> {
    pub(super) network: &'a Network,
    pub(super) objective: Objective<'a>,
    pub(super) batch: &'a Batch,
    /// What each loss is divided by.
    pub(super) masses: Vec<f64>,
    pub(super) in_batch: Option<(&'a InBatch, f64)>,
    /// What dense inputs are standardised by, where the batch says it.
    pub(super) standard: Option<Standard>,
    /// The network that it is drawn to, and what a slot's distance from it is multiplied by.
    pub(super) teacher: Option<(&'a Network, f64)>,
}

/// A shard's share of the batch's loss, and of its gradient.
pub(super) fn backward(
    task: &Task<'_>,
    shard: &Shard,
    precision: Precision,
    noise: &mut Noise,
) -> Result<(f64, Gradients), ModelError> {
    let (batch, objective, in_batch) = (task.batch, &task.objective, task.in_batch);
    let device = noise.device().clone();
    // Leaves of its own: a graph belongs to one thread.
    let network = precision.read(task.network.clone());
    let network = network.fork(&device.clone().autodiff()).train();
    let input = match &task.standard {
        Some(standard) => network.read_by(shard, batch, Some(standard), &device),
        None => network.read(shard, batch, &device),
    };
    let pass = network.forward_as_shown(&input, noise);
    let columns = doubles(&pass.columns)?;
    let (mut loss, mut slopes) = objective.share(batch, shard, &task.masses, &columns);
    if let Some((teacher, factor)) = task.teacher {
        let teacher = teacher.clone().to_device(&device);
        // It judges as it would score: what a batch is standardised by is no business of its.
        let own = (task.standard.as_ref()).map(|_| teacher.read(shard, batch, &device));
        let input = own.as_ref().unwrap_or(&input);
        let aim = teacher.forward_as_shown(input, &mut Noise::none(&device));
        let aim = doubles(&aim.columns)?;
        loss += distil::share(batch, shard, factor, [&columns, &aim], &mut slopes);
    }
    let mut sides = vec![(pass.columns, slopes)];
    if let (Some((own, mass)), Some(vectors)) = (in_batch, pass.vectors) {
        let [list, place] = own.sides(&vectors);
        let share = own.share(batch, shard, mass, &doubles(&list)?, &doubles(&place)?);
        loss += share.loss;
        sides.extend([(list, share.seed), (place, share.candidate)]);
    }
    let scale = precision.scale(sides.iter().flat_map(|(_, slopes)| slopes));
    let sums = sides
        .into_iter()
        .map(|(values, slopes)| sloped(values, slopes, scale));
    let sum = sums.reduce(|one, two| one + two).expect("the columns");
    let gradients = GradientsParams::from_grads(sum.backward(), &network);
    let gradients = Gradients::collect(&network, gradients)?;
    if precision == Precision::Full {
        return Ok((loss, gradients));
    }
    Ok((loss, gradients.divided(scale)))
}

pub(super) fn doubles(tensor: &Tensor<2>) -> Result<Vec<f64>, ModelError> {
    Ok(fetch(tensor.clone())?.into_iter().map(f64::from).collect())
}

/// `Σ value · slope · scale`. Its derivative with the slopes held fixed is the slopes: so a backward pass starts
/// from a loss's exact gradient.
fn sloped(values: Tensor<2>, slopes: Vec<f64>, scale: f64) -> Tensor<1> {
    let slopes = slopes.into_iter().map(|slope| (slope * scale) as f32);
    let slopes: Vec<f32> = slopes.collect();
    let slopes = TensorData::new(slopes, values.dims());
    let slopes = Tensor::<2>::from_data(slopes, &values.device());
    (values * slopes).sum()
}
