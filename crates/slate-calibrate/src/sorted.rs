//! Rows by rising score, pooled on the way: what every isotonic fit is made of.
//!
//! Sorting is two thirds of such a fit. Rows are dealt out to buckets between sampled scores, each
//! bucket is sorted and pooled by itself, and the few blocks that are left are pooled once more
//! (pooling adjacent violators piece by piece gives the same blocks as doing it at once). Where
//! rows have no weights and labels are 0 or 1, a row is a single word: scores of one bucket differ
//! in few bits, and the label takes one of the others.
//!
//! Chunks and buckets depend on the number of rows alone, so the result does not depend on the
//! number of threads.

use rayon::prelude::*;

use crate::examples::Examples;

/// Rows dealt out at a time.
const CHUNK: usize = 1 << 15;
/// Below so many rows there is one bucket.
const SMALL: usize = 1 << 14;
/// Rows a bucket should have.
const PER_BUCKET: usize = 1 << 12;
/// Numbers of one cell up to which they are put in order by moving.
const CROWD: u32 = 16;
/// Sampled scores for each bucket.
const SAMPLES: usize = 8;

/// Neighbouring rows with one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    /// Lowest score.
    pub(crate) first: f64,
    /// Highest score.
    pub(crate) last: f64,
    /// Weighted mean label.
    pub(crate) mean: f64,
    /// Sum of the weights.
    pub(crate) weight: f64,
    /// Sum of weight × label.
    pub(crate) sum: f64,
}

/// Pools equal scores, then neighbours whose means fall (Ayer et al. 1955). Means of the blocks
/// rise strictly.
pub(crate) fn pool(examples: &Examples<'_>) -> Vec<Block> {
    let scores = &examples.scores;
    let splitters = splitters(scores);
    if examples.weights.is_none()
        && examples.binary
        && let Some(bases) = bases(scores, &splitters)
    {
        let row = |row: usize, bucket: usize| {
            let place = key(scores[row]) - bases[bucket];
            place << 1 | u64::from(examples.labels[row] > 0.0)
        };
        return pool_buckets(scores, &splitters, row, |bucket, rows| {
            pool_packed(bases[bucket], rows)
        });
    }
    let row = |row: usize, _| Weighted {
        key: key(scores[row]),
        label: examples.labels[row],
        weight: examples.weight(row),
    };
    pool_buckets(scores, &splitters, row, |_, rows| pool_weighted(rows))
}

/// Appends a block, pooled with those before it whose mean is not below its own.
pub(crate) fn push(blocks: &mut Vec<Block>, mut block: Block) {
    while let Some(before) = blocks.pop_if(|before| before.mean >= block.mean) {
        block.sum += before.sum;
        block.weight += before.weight;
        // The mean of equal means is that mean, whatever rounding makes of the sums.
        if before.mean > block.mean {
            block.mean = block.sum / block.weight;
        }
        block.first = before.first;
    }
    blocks.push(block);
}

/// A number that grows with the score; -0 and 0 have one key. `score` is finite.
fn key(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// The score of a key.
fn score(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    })
}

/// A row of any label and weight.
#[derive(Clone, Copy)]
struct Weighted {
    key: u64,
    label: f64,
    weight: f64,
}

/// Keys between which buckets lie, from scores sampled at even distances; none for few rows.
fn splitters(scores: &[f64]) -> Vec<u64> {
    if scores.len() < SMALL {
        return vec![];
    }
    let samples = scores.len() / PER_BUCKET * SAMPLES;
    let step = scores.len() / samples;
    let mut keys: Vec<u64> = (0..samples)
        .map(|sample| key(scores[sample * step]))
        .collect();
    keys.sort_unstable();
    let mut splitters: Vec<u64> = keys.chunks(SAMPLES).skip(1).map(|chunk| chunk[0]).collect();
    splitters.dedup();
    splitters
}

/// The lowest key that a row of each bucket can have; none where keys of one bucket may lie so far
/// apart that their distance leaves no bit for a label.
fn bases(scores: &[f64], splitters: &[u64]) -> Option<Vec<u64>> {
    let ends = |chunk: &[f64]| {
        chunk.iter().fold((u64::MAX, 0), |(low, high), score| {
            (key(*score).min(low), key(*score).max(high))
        })
    };
    let (low, high) = scores.par_chunks(CHUNK).map(ends).reduce(
        || (u64::MAX, 0),
        |a: (u64, u64), b| (a.0.min(b.0), a.1.max(b.1)),
    );
    let mut bases = vec![low];
    bases.extend(splitters);
    let mut edges = bases.windows(2).map(|pair| pair[1] - pair[0]);
    let near = edges.all(|width| width >> 63 == 0) && (high - bases[bases.len() - 1]) >> 63 == 0;
    near.then_some(bases)
}

/// Deals rows out to buckets, pools each, and pools what is left.
fn pool_buckets<R: Copy + Send + Sync>(
    scores: &[f64],
    splitters: &[u64],
    row: impl Fn(usize, usize) -> R + Sync,
    pool: impl Fn(usize, Vec<R>) -> Vec<Block> + Sync,
) -> Vec<Block> {
    if splitters.is_empty() {
        return pool(0, (0..scores.len()).map(|at| row(at, 0)).collect());
    }
    let chunks: Vec<Chunk<R>> = scores
        .par_chunks(CHUNK)
        .enumerate()
        .map(|(chunk, scores)| Chunk::new(chunk * CHUNK, scores, splitters, &row))
        .collect();
    let pieces: Vec<Vec<Block>> = (0..=splitters.len())
        .into_par_iter()
        .map(|bucket| {
            let parts = || chunks.iter().map(|chunk| chunk.bucket(bucket));
            let mut rows = Vec::with_capacity(parts().map(<[R]>::len).sum());
            parts().for_each(|part| rows.extend_from_slice(part));
            pool(bucket, rows)
        })
        .collect();
    let mut blocks = Vec::new();
    for block in pieces.into_iter().flatten() {
        push(&mut blocks, block);
    }
    blocks
}

/// Rows of a chunk, dealt out to buckets.
struct Chunk<R> {
    rows: Vec<R>,
    /// Where each bucket begins, and the end.
    starts: Vec<u32>,
}

impl<R: Copy> Chunk<R> {
    /// Of rows from `first` on, which have these scores.
    fn new(
        first: usize,
        scores: &[f64],
        splitters: &[u64],
        row: &impl Fn(usize, usize) -> R,
    ) -> Self {
        // A row goes to the bucket numbered by the splitters that are not above it: rows with one
        // score share a bucket.
        let bucket = |score: &f64| {
            let key = key(*score);
            splitters.partition_point(|splitter| *splitter <= key) as u32
        };
        let buckets: Vec<u32> = scores.iter().map(bucket).collect();
        let mut starts = vec![0_u32; splitters.len() + 2];
        for &bucket in &buckets {
            starts[bucket as usize + 1] += 1;
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![row(first, buckets[0] as usize); scores.len()];
        for (at, bucket) in (first..).zip(buckets) {
            let place = &mut next[bucket as usize];
            rows[*place as usize] = row(at, bucket as usize);
            *place += 1;
        }
        Self { rows, starts }
    }

    fn bucket(&self, bucket: usize) -> &[R] {
        &self.rows[self.starts[bucket] as usize..self.starts[bucket + 1] as usize]
    }
}

/// Neighbouring rows with one value, in whole numbers.
struct Counts {
    first: u64,
    last: u64,
    positives: u64,
    rows: u64,
}

impl Counts {
    /// Whether its rate is at least the other's, without rounding: fewer than 2^32 rows.
    fn at_least(&self, other: &Self) -> bool {
        self.positives * other.rows >= other.positives * self.rows
    }
}

/// Sorts numbers that lie more or less evenly between the least and the largest, as keys of one bucket do:
/// each is put where it would stand if they did exactly, and the few that then stand wrong are moved.
fn sort(numbers: Vec<u64>) -> Vec<u64> {
    let (low, high) = numbers.iter().fold((u64::MAX, 0), |(low, high), &number| {
        (number.min(low), number.max(high))
    });
    if numbers.len() < 2 || low == high {
        return numbers;
    }
    // At most as many cells as numbers.
    let bits = (high - low).ilog2() + 1;
    let shift = bits.saturating_sub(numbers.len().ilog2());
    let cell = |number: u64| ((number - low) >> shift) as usize;
    let mut next = vec![0_u32; cell(high) + 2];
    for &number in &numbers {
        next[cell(number) + 1] += 1;
    }
    let uneven = next.iter().any(|&count| count > CROWD);
    for cell in 1..next.len() {
        next[cell] += next[cell - 1];
    }
    let mut sorted = vec![0; numbers.len()];
    for &number in &numbers {
        let place = &mut next[cell(number)];
        sorted[*place as usize] = number;
        *place += 1;
    }
    if uneven {
        let mut start = 0;
        // Where each cell ends, now that it is full.
        for &end in &next[..next.len() - 1] {
            sorted[start..end as usize].sort_unstable();
            start = end as usize;
        }
        return sorted;
    }
    for at in 1..sorted.len() {
        let number = sorted[at];
        let mut place = at;
        while place > 0 && sorted[place - 1] > number {
            sorted[place] = sorted[place - 1];
            place -= 1;
        }
        sorted[place] = number;
    }
    sorted
}

/// Pools rows of weight 1 and label 0 or 1: `(key - base) * 2 + label`.
fn pool_packed(base: u64, rows: Vec<u64>) -> Vec<Block> {
    let rows = sort(rows);
    let mut stack: Vec<Counts> = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let key = rows[at] >> 1;
        let (start, mut positives) = (at, 0);
        while at < rows.len() && rows[at] >> 1 == key {
            positives += rows[at] & 1;
            at += 1;
        }
        let mut block = Counts {
            first: key,
            last: key,
            positives,
            rows: (at - start) as u64,
        };
        while let Some(before) = stack.pop_if(|before| before.at_least(&block)) {
            block.first = before.first;
            block.positives += before.positives;
            block.rows += before.rows;
        }
        stack.push(block);
    }
    let block = |counts: Counts| Block {
        first: score(base + counts.first),
        last: score(base + counts.last),
        mean: counts.positives as f64 / counts.rows as f64,
        weight: counts.rows as f64,
        sum: counts.positives as f64,
    };
    stack.into_iter().map(block).collect()
}

fn pool_weighted(mut rows: Vec<Weighted>) -> Vec<Block> {
    // By key, then by all the rest, so that sums do not depend on the order of the rows.
    rows.sort_unstable_by(|a, b| {
        a.key
            .cmp(&b.key)
            .then(a.label.total_cmp(&b.label))
            .then(a.weight.total_cmp(&b.weight))
    });
    let mut blocks: Vec<Block> = Vec::new();
    for tied in rows.chunk_by(|a, b| a.key == b.key) {
        let weight: f64 = tied.iter().map(|row| row.weight).sum();
        let sum: f64 = tied.iter().map(|row| row.weight * row.label).sum();
        // Sorted by label: the first and the last are the least and the largest.
        let mean = if tied[0].label == tied[tied.len() - 1].label {
            tied[0].label
        } else {
            sum / weight
        };
        let score = score(tied[0].key);
        let block = Block {
            first: score,
            last: score,
            mean,
            weight,
            sum,
        };
        push(&mut blocks, block);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_scores_are_one() {
        for value in [f64::MIN, -1.5, -1e-300, 0.0, 1e-300, 2.0, f64::MAX] {
            assert_eq!(score(key(value)), value);
        }
        assert!(key(-1.0) < key(-0.5) && key(-0.5) < key(0.0) && key(0.0) < key(1e-9));
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn numbers_are_sorted_however_they_lie() {
        let seed = slate_types::Seed(9);
        for case in 0..300_u64 {
            let draw = seed.index(case);
            let power = 1 + case as i32 % 60;
            let numbers: Vec<u64> = (0..case * 3)
                .map(|at| (draw.index(at).unit().powi(power) * 2_f64.powi(power)) as u64)
                .chain((case % 4 == 0).then_some(u64::MAX >> 1))
                .collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            assert_eq!(sort(numbers), expected);
        }
    }

    /// Many buckets give the blocks of one.
    #[test]
    fn pieces_give_the_blocks_of_the_whole() {
        let rows = 3 * SMALL;
        let seed = slate_types::Seed(5);
        let scores: Vec<f64> = (0..rows)
            .map(|i| f64::from((seed.index(i as u64).unit() * 4e4) as f32) / 64.0)
            .collect();
        let labels: Vec<f64> = (0..rows)
            .map(|i| {
                let chance = scores[i] / 700.0;
                f64::from(u8::from(
                    seed.derive("label").index(i as u64).unit() < chance,
                ))
            })
            .collect();
        let weights: Vec<f64> = (0..rows).map(|i| 1.0 + (i % 3) as f64).collect();
        let whole = |weights: Option<&[f64]>| {
            pool_weighted(
                (0..rows)
                    .map(|row| Weighted {
                        key: key(scores[row]),
                        label: labels[row],
                        weight: weights.map_or(1.0, |w| w[row]),
                    })
                    .collect(),
            )
        };
        let odd: Vec<f64> = scores.iter().map(|s| s + 1.0 / 3.0).collect();
        for (scores, weights) in [(&scores, None), (&scores, Some(&weights[..])), (&odd, None)] {
            let examples =
                Examples::new(scores, &labels, weights, crate::examples::Labels::Binary).unwrap();
            let pieces = pool(&examples);
            let whole = whole(weights);
            assert!(whole.len() > 50);
            assert_eq!(pieces.len(), whole.len());
            for (piece, block) in pieces.iter().zip(&whole) {
                assert_eq!((piece.mean, piece.weight), (block.mean, block.weight));
            }
        }
    }
}
