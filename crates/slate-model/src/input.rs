//! What a network reads, as tensors on a device.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use slate_types::{Batch, InputPlaces, PairInputs};

use crate::batch_norm::{BatchMoments, Standard};
use crate::pair::PairInput;
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
    /// What is known of the items of a pair, where the network compares two; the fields above are
    /// without it then.
    pub(crate) pair: Option<PairInput>,
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
    /// The features of a shard's lists; `pair` says which of them describe items that are compared.
    ///
    /// Dense inputs are standardised where `standard` says by what.
    pub(crate) fn new(
        shard: &Shard,
        batch: &Batch,
        pair: Option<&PairInputs>,
        standard: Option<&Standard>,
        device: &Device,
    ) -> Self {
        let all = whole(batch);
        let inputs = pair.map_or(&all, |pair| &pair.context);
        let width = batch.categorical_width;
        let id = |at: usize| move |place: usize| batch.categorical[place * width + at];
        let real = shard.places.iter().map(|place| f32::from(place.is_some()));
        let real = TensorData::new(real.collect::<Vec<f32>>(), [shard.lists, shard.slots]);
        Self {
            lists: shard.lists,
            slots: shard.slots,
            dense: dense(&shard.places, batch, inputs, standard, device),
            ids: inputs
                .categorical
                .iter()
                .map(|&at| column(&shard.places, id(at), device))
                .collect(),
            multi_valued: inputs
                .multi_valued
                .iter()
                .map(|&at| Several::new(&shard.places, batch, at, device))
                .collect(),
            slot: column(
                &shard.places,
                |place| batch.slot.get(place).copied().unwrap_or(0),
                device,
            ),
            real: Tensor::from_data(real, device),
            history: batch
                .history
                .is_some()
                .then(|| Events::new(shard, batch, device)),
            pair: pair.map(|pair| PairInput::new(shard, batch, pair, device)),
        }
    }
}

/// All inputs of a batch.
fn whole(batch: &Batch) -> InputPlaces {
    let dense = 0..batch.dense_width;
    InputPlaces {
        vectors: (!dense.is_empty()).then_some(dense).into_iter().collect(),
        numbers: Vec::new(),
        categorical: (0..batch.categorical_width).collect(),
        multi_valued: (0..batch.multi_valued.len()).collect(),
    }
}

/// These dense inputs side by side, or none where there are none.
fn dense(
    places: &[Option<usize>],
    batch: &Batch,
    inputs: &InputPlaces,
    standard: Option<&Standard>,
    device: &Device,
) -> Option<Tensor<2>> {
    let ranges: Vec<Range<usize>> = inputs.dense_ranges().collect();
    let width = inputs.dense();
    if width == 0 {
        return None;
    }
    let mut values = vec![0.0; places.len() * width];
    for (row, place) in values.chunks_exact_mut(width).zip(places) {
        let Some(place) = place else { continue };
        gather(batch, *place, &ranges, row);
        if let Some(standard) = standard {
            standard.apply(row);
        }
    }
    let values = TensorData::new(values, [places.len(), width]);
    Some(Tensor::from_data(values, device))
}

/// The dense inputs of a place that a network reads.
fn gather(batch: &Batch, place: usize, ranges: &[Range<usize>], row: &mut [f32]) {
    let own = &batch.dense[place * batch.dense_width..(place + 1) * batch.dense_width];
    let mut at = 0;
    for range in ranges {
        row[at..at + range.len()].copy_from_slice(&own[range.clone()]);
        at += range.len();
    }
}

/// Moments of the dense inputs of a network over the real slots of a batch.
pub(crate) fn moments(batch: &Batch, pair: Option<&PairInputs>) -> Option<BatchMoments> {
    let all = whole(batch);
    let inputs = pair.map_or(&all, |pair| &pair.context);
    let ranges: Vec<Range<usize>> = inputs.dense_ranges().collect();
    let width = inputs.dense();
    let real = (0..batch.mask.len()).filter(|&place| batch.mask[place]);
    let real: Vec<usize> = real.collect();
    let mut values = vec![0.0; real.len() * width];
    for (row, place) in values.chunks_exact_mut(width.max(1)).zip(real) {
        gather(batch, place, &ranges, row);
    }
    BatchMoments::of(&values, width)
}

/// One number for each place, 0 on padding.
pub(crate) fn column(
    places: &[Option<usize>],
    value: impl Fn(usize) -> u32,
    device: &Device,
) -> Tensor<2, Int> {
    let of = |place: &Option<usize>| place.map_or(0, |place| i64::from(value(place)));
    let values: Vec<i64> = places.iter().map(of).collect();
    Tensor::from_data(TensorData::new(values, [places.len(), 1]), device)
}

impl Several {
    pub(crate) fn new(
        places: &[Option<usize>],
        batch: &Batch,
        feature: usize,
        device: &Device,
    ) -> Self {
        let given = &batch.multi_valued[feature];
        let of = |place: &Option<usize>| place.map_or(&[][..], |place| given.of(place));
        let most = places.iter().map(|place| of(place).len()).max();
        let most = most.unwrap_or(0).max(1);
        let mut ids = Vec::with_capacity(places.len() * most);
        let mut share = Vec::with_capacity(places.len() * most);
        for place in places {
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
        let rows = places.len();
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
