//! What the towers read, as tensors on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use slate_types::{Batch, FeatureShape, InputPlaces, PairInputs, VisitorPlaces};

use super::taste::TasteInput;
use crate::input::{Several, column};
use crate::shards::Shard;
use crate::tables::TableSizes;

/// The inputs of both sides.
pub(crate) struct PairInput {
    /// One row for each list.
    pub(super) seed: ItemInput,
    /// One row for each place.
    pub(super) candidate: ItemInput,
    /// `[N·L, C]`: cosines of the vectors that both sides have, 0 where one of them has none.
    pub(super) cosines: Option<Tensor<2>>,
    /// One for each kind of content that visitors are known by.
    pub(super) visitor: Vec<TasteInput>,
}

/// The inputs of one side.
pub(super) struct ItemInput {
    pub(super) rows: usize,
    /// One `[rows, width]` for each modality.
    pub(super) vectors: Vec<Tensor<2>>,
    /// `[rows, modalities]`: 1 where there is a vector; none without modalities.
    pub(super) present: Option<Tensor<2>>,
    /// `[rows, numbers]`
    pub(super) numbers: Option<Tensor<2>>,
    /// One `[rows, 1]` for each categorical input.
    pub(super) ids: Vec<Tensor<2, Int>>,
    /// One for each input of several ids.
    pub(super) several: Vec<Several>,
}

/// Sizes of the inputs of one side.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) vectors: Vec<usize>,
    pub(super) numbers: usize,
    /// Of its ids.
    pub(super) tables: TableSizes,
}

/// Whether a batch of this shape has these inputs.
pub(super) fn are_there(places: &InputPlaces, shape: &FeatureShape) -> bool {
    let below = |places: &[usize], count: usize| places.iter().all(|&at| at < count);
    let mut vectors = places.vectors.iter();
    vectors.all(|range| !range.is_empty() && range.end <= shape.dense)
        && below(&places.numbers, shape.dense)
        && below(&places.categorical, shape.categorical.len())
        && below(&places.multi_valued, shape.multi_valued.len())
}

/// The sizes of these inputs.
pub(super) fn sizes(places: &InputPlaces, tables: &TableSizes) -> Sizes {
    Sizes {
        vectors: places.vectors.iter().map(ExactSizeIterator::len).collect(),
        numbers: places.numbers.len(),
        tables: tables.at(places),
    }
}

/// The places of the vectors of both sides that are compared: of those that stand at the same place of
/// either side, where they are of one width.
pub(super) fn matching(inputs: &PairInputs) -> impl Iterator<Item = usize> + '_ {
    let pairs = inputs.seed.vectors.iter().zip(&inputs.candidate.vectors);
    pairs
        .enumerate()
        .filter(|(_, (seed, candidate))| seed.len() == candidate.len())
        .map(|(at, _)| at)
}

impl PairInput {
    pub(crate) fn new(shard: &Shard, batch: &Batch, inputs: &PairInputs, device: &Device) -> Self {
        // Seeds are the same at every slot: the first one's are the list's.
        let firsts = shard.places.iter().step_by(shard.slots.max(1));
        let firsts: Vec<Option<usize>> = firsts.copied().collect();
        let cosines: Vec<usize> = matching(inputs).collect();
        let cosines = (!cosines.is_empty()).then(|| {
            let mut values = Vec::with_capacity(shard.places.len() * cosines.len());
            for (row, place) in shard.places.iter().enumerate() {
                for &at in &cosines {
                    let vector = |place: Option<usize>, range: &std::ops::Range<usize>| {
                        place.map(|place| dense(batch, place, range.clone()))
                    };
                    let there = vector(firsts[row / shard.slots], &inputs.seed.vectors[at]);
                    let here = vector(*place, &inputs.candidate.vectors[at]);
                    values.push(there.zip(here).map_or(0.0, |(a, b)| cosine(a, b)));
                }
            }
            let shape = [shard.places.len(), cosines.len()];
            Tensor::from_data(TensorData::new(values, shape), device)
        });
        let candidate = ItemInput::new(&shard.places, batch, &inputs.candidate, device);
        let taste = |entry: &VisitorPlaces| {
            let mut vectors = inputs.candidate.vectors.iter().zip(&candidate.vectors);
            let own = vectors.find(|(range, _)| **range == entry.candidate);
            let (_, own) = own.expect("checked when the network was made");
            let visitor = gathered(&firsts, batch, &entry.visitor);
            let shape = [firsts.len(), entry.visitor.len()];
            TasteInput {
                visitor: Tensor::from_data(TensorData::new(visitor, shape), device),
                candidate: own.clone(),
            }
        };
        Self {
            seed: ItemInput::new(&firsts, batch, &inputs.seed, device),
            cosines,
            visitor: inputs.visitor.iter().map(taste).collect(),
            candidate,
        }
    }
}

impl ItemInput {
    fn new(places: &[Option<usize>], batch: &Batch, inputs: &InputPlaces, device: &Device) -> Self {
        let rows = places.len();
        let tensor = |values: Vec<f32>, width: usize| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values, [rows, width]), device)
        };
        let mut present = vec![0.0; rows * inputs.vectors.len()];
        let mut vectors = Vec::with_capacity(inputs.vectors.len());
        for (at, range) in inputs.vectors.iter().enumerate() {
            let values = gathered(places, batch, range);
            for (row, vector) in values.chunks_exact(range.len()).enumerate() {
                let is_there = vector.iter().any(|value| *value != 0.0);
                present[row * inputs.vectors.len() + at] = f32::from(is_there);
            }
            vectors.push(tensor(values, range.len()));
        }
        let number = |place: &Option<usize>, at: usize| {
            place.map_or(0.0, |place| batch.dense[place * batch.dense_width + at])
        };
        let numbers = places
            .iter()
            .flat_map(|place| inputs.numbers.iter().map(move |&at| number(place, at)));
        let numbers: Vec<f32> = numbers.collect();
        let width = batch.categorical_width;
        Self {
            rows,
            present: (!vectors.is_empty()).then(|| tensor(present, vectors.len())),
            vectors,
            numbers: (!numbers.is_empty()).then(|| tensor(numbers, inputs.numbers.len())),
            ids: inputs
                .categorical
                .iter()
                .map(|&at| {
                    column(
                        places,
                        |place| batch.categorical[place * width + at],
                        device,
                    )
                })
                .collect(),
            several: inputs
                .multi_valued
                .iter()
                .map(|&at| Several::new(places, batch, at, device))
                .collect(),
        }
    }
}

/// These dense inputs of each place, zeros where there is none.
fn gathered(places: &[Option<usize>], batch: &Batch, range: &std::ops::Range<usize>) -> Vec<f32> {
    let mut values = vec![0.0; places.len() * range.len()];
    let each = values.chunks_exact_mut(range.len()).zip(places);
    for (into, place) in each {
        if let Some(place) = *place {
            into.copy_from_slice(dense(batch, place, range.clone()));
        }
    }
    values
}

fn dense(batch: &Batch, place: usize, range: std::ops::Range<usize>) -> &[f32] {
    &batch.dense[place * batch.dense_width..][range]
}

/// The cosine of two vectors, 0 where one of them is all zeros.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 3];
    for (a, b) in a.iter().zip(b) {
        sums[0] += a * b;
        sums[1] += a * a;
        sums[2] += b * b;
    }
    let [product, a, b] = sums;
    if a > 0.0 && b > 0.0 {
        product / (a.sqrt() * b.sqrt())
    } else {
        0.0
    }
}
