//! A piece of a batch through the network and back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
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

/// Copies of a step's network, by device, whose weights are leaves of a graph. A graph belongs to one piece at a
/// time, so there are as many as pieces are computed at once, and a piece takes one that another is done with:
/// after a backward pass Burn takes leaves again, and what was computed from them is gone.
#[derive(Default)]
pub(super) struct Leaves {
    idle: Mutex<Vec<(Device, Network)>>,
}

impl Leaves {
    /// A copy on this device that is idle, or else a new one.
    fn take(&self, network: &Network, device: &Device) -> Network {
        let mut idle = self.lock();
        if let Some(place) = idle.iter().position(|(own, _)| own == device) {
            return idle.swap_remove(place).1;
        }
        drop(idle);
        leaves(network.clone(), device)
    }

    /// For the next piece on this device.
    fn give_back(&self, device: Device, network: Network) {
        self.lock().push((device, network));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Device, Network)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network on a device, its weights the leaves of a graph.
fn leaves(network: Network, device: &Device) -> Network {
    network.fork(&device.clone().autodiff()).train()
}

/// What every shard of a batch is about.
pub(super) struct Task<'a> {
    pub(super) network: &'a Network,
    pub(super) leaves: Leaves,
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
    // Weights of 16 bits are those of cards, of which each has one piece.
    let network = match precision {
        Precision::Full => task.leaves.take(task.network, &device),
        Precision::Mixed => leaves(precision.read(task.network.clone()), &device),
    };
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
    let gradients = Gradients::collect(&network, sum.backward())?;
    if precision == Precision::Full {
        task.leaves.give_back(device, network);
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
