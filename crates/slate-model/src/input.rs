//! What a network reads, as tensors on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use slate_types::Batch;

use crate::shards::Shard;

/// `N` lists of `L` places as tensors, rows in list order.
pub(crate) struct Input {
    /// Lists, `N`.
    pub(crate) lists: usize,
    /// Places per list, `L`.
    pub(crate) slots: usize,
    /// `[N·L, D]`, or none without dense inputs.
    pub(crate) dense: Option<Tensor<2>>,
    /// One `[N·L, 1]` for each categorical input.
    pub(crate) ids: Vec<Tensor<2, Int>>,
    /// One for each input of several ids.
    pub(crate) multi_valued: Vec<Several>,
    /// `[N·L, 1]`, the logged slot.
    pub(crate) slot: Tensor<2, Int>,
    /// `[N, L]`: 1 where there is a slot, 0 on padding.
    pub(crate) real: Tensor<2>,
    /// Histories of the lists' persons, where they are an input.
    pub(crate) history: Option<Events>,
}

/// Several ids for each row, padded to `M`.
pub(crate) struct Several {
    /// `[N·L, M]`
    pub(crate) ids: Tensor<2, Int>,
    /// `[N·L, M, 1]`: what each counts in the row's mean; 0 on padding.
    pub(crate) share: Tensor<3>,
}

/// Histories of `N` persons, padded to `H` events, oldest first.
pub(crate) struct Events {
    /// Events per person, `H`, at least 1.
    pub(crate) length: usize,
    /// `[N·H, 1]`
    pub(crate) item: Tensor<2, Int>,
    /// `[N·H, 1]`
    pub(crate) kind: Tensor<2, Int>,
    /// `[N·H, 1]`
    pub(crate) age: Tensor<2>,
    /// `[N, H]`: 1 where there is an event, 0 on padding.
    pub(crate) real: Tensor<2>,
}

impl Input {
    /// The features of a shard's lists.
    pub(crate) fn new(shard: &Shard, batch: &Batch, device: &Device) -> Self {
        let rows = shard.places.len();
        let dense = (batch.dense_width > 0).then(|| {
            let mut dense = vec![0.0; rows * batch.dense_width];
            for (row, place) in dense.chunks_exact_mut(batch.dense_width).zip(&shard.places) {
                if let Some(place) = place {
                    let from = place * batch.dense_width;
                    row.copy_from_slice(&batch.dense[from..from + batch.dense_width]);
                }
            }
            Tensor::from_data(TensorData::new(dense, [rows, batch.dense_width]), device)
        });
        let width = batch.categorical_width;
        let column = |value: &dyn Fn(usize) -> u32| -> Tensor<2, Int> {
            let of = |place: &Option<usize>| place.map_or(0, |place| i64::from(value(place)));
            let values: Vec<i64> = shard.places.iter().map(of).collect();
            Tensor::from_data(TensorData::new(values, [rows, 1]), device)
        };
        let real = shard.places.iter().map(|place| f32::from(place.is_some()));
        let real = TensorData::new(real.collect::<Vec<f32>>(), [shard.lists, shard.slots]);
        Self {
            lists: shard.lists,
            slots: shard.slots,
            dense,
            ids: (0..width)
                .map(|at| column(&|place| batch.categorical[place * width + at]))
                .collect(),
            multi_valued: (0..batch.multi_valued.len())
                .map(|feature| Several::new(shard, batch, feature, device))
                .collect(),
            slot: column(&|place| batch.slot.get(place).copied().unwrap_or(0)),
            real: Tensor::from_data(real, device),
            history: batch
                .history
                .is_some()
                .then(|| Events::new(shard, batch, device)),
        }
    }
}

impl Several {
    fn new(shard: &Shard, batch: &Batch, feature: usize, device: &Device) -> Self {
        let given = &batch.multi_valued[feature];
        let of = |place: &Option<usize>| match place {
            Some(place) => {
                &given.values[given.offsets[*place] as usize..given.offsets[place + 1] as usize]
            }
            None => &[],
        };
        let most = shard.places.iter().map(|place| of(place).len()).max();
        let most = most.unwrap_or(0).max(1);
        let mut ids = Vec::with_capacity(shard.places.len() * most);
        let mut share = Vec::with_capacity(shard.places.len() * most);
        for place in &shard.places {
            let own = of(place);
            for at in 0..most {
                ids.push(own.get(at).map_or(0, |&id| i64::from(id)));
                share.push(if at < own.len() {
                    1.0 / own.len() as f32
                } else {
                    0.0
                });
            }
        }
        let rows = shard.places.len();
        Self {
            ids: Tensor::from_data(TensorData::new(ids, [rows, most]), device),
            share: Tensor::from_data(TensorData::new(share, [rows, most, 1]), device),
        }
    }
}

impl Events {
    fn new(shard: &Shard, batch: &Batch, device: &Device) -> Self {
        let given = batch
            .history
            .as_ref()
            .expect("a batch whose history was seen has one");
        let of = |list: usize| given.offsets[list] as usize..given.offsets[list + 1] as usize;
        // The first place of a list in a shard is a slot: lists without slots are left out.
        let lists: Vec<usize> = shard
            .places
            .iter()
            .step_by(shard.slots.max(1))
            .map(|place| place.map_or(0, |place| place / batch.slots))
            .collect();
        let length = lists
            .iter()
            .map(|&list| of(list).len())
            .max()
            .unwrap_or(0)
            .max(1);
        let places = lists.len() * length;
        let (mut item, mut kind) = (Vec::with_capacity(places), Vec::with_capacity(places));
        let (mut age, mut real) = (Vec::with_capacity(places), Vec::with_capacity(places));
        for &list in &lists {
            let own = of(list);
            for event in 0..length {
                let at = own.start + event;
                let is_real = at < own.end;
                item.push(if is_real {
                    i64::from(given.item[at])
                } else {
                    0
                });
                kind.push(if is_real {
                    i64::from(given.kind[at])
                } else {
                    0
                });
                age.push(if is_real { given.age[at] } else { 0.0 });
                real.push(f32::from(is_real));
            }
        }
        let shape = [lists.len(), length];
        Self {
            length,
            item: Tensor::from_data(TensorData::new(item, [places, 1]), device),
            kind: Tensor::from_data(TensorData::new(kind, [places, 1]), device),
            age: Tensor::from_data(TensorData::new(age, [places, 1]), device),
            real: Tensor::from_data(TensorData::new(real, shape), device),
        }
    }
}
