//! The items whose vectors are nearest to given ones, all of them looked at.

use std::cmp::Ordering;

use rayon::prelude::*;
use slate_kernels::{Start, View, multiply};

/// Numbers that one thread looks at at a time.
const BLOCK: usize = 1 << 18;

/// Vectors of one kind, and the one they are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// `[items, query.len()]`; a row of zeros is an item without a vector.
    pub table: &'a [f32],
    /// Not empty.
    pub query: &'a [f32],
    /// How the two are compared.
    pub measure: Measure,
}

/// How vectors are compared with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// By the cosine, where every row that is not all zeros is of length 1: it is not measured.
    Unit,
    /// By the cosine.
    Cosine,
    /// By the product.
    Product,
}

/// An item that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its row.
    pub row: usize,
    /// The mean of the cosines between its vectors and the queries, in `[-1, 1]`, and the products of sides that
    /// are compared by them; a side where either has none counts 0.
    pub score: f32,
}

impl Found {
    /// Larger scores first; of equal ones the earlier row.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.row.cmp(&other.row))
    }
}

/// The `k` items nearest to the queries, nearest first; of equally near ones the earlier row. Items
/// without a vector on any side that is compared by its cosine are left out.
///
/// # Panics
/// Where a query is empty, or tables have different numbers of rows.
pub fn nearest(sides: &[Side<'_>], k: usize) -> Vec<Found> {
    let Some(first) = sides.first() else {
        return Vec::new();
    };
    let items = first.table.len() / first.query.len();
    let k = k.min(items);
    for side in sides {
        assert_eq!(
            side.table.len(),
            items * side.query.len(),
            "a row for each item"
        );
    }
    let queries: Vec<f32> = sides.iter().map(|side| length(side.query)).collect();
    let cosines = sides.iter().filter(|side| side.measure != Measure::Product);
    let cosines = cosines.count().max(1) as f32;
    let width: usize = sides.iter().map(|side| side.query.len()).sum();
    let rows = (BLOCK / width).max(1);
    let blocks = (0..items.div_ceil(rows)).into_par_iter();
    let best = blocks.map(|block| {
        let first = block * rows;
        let mut own = Block::new(rows.min(items - first));
        for (side, &query) in sides.iter().zip(&queries) {
            own.add(side, first, query, cosines);
        }
        let mut best = Best::new(k);
        for (at, (total, is_there)) in own.total.into_iter().zip(own.is_there).enumerate() {
            if is_there {
                let row = first + at;
                best.offer(Found { row, score: total });
            }
        }
        best
    });
    best.reduce(|| Best::new(k), Best::with).sorted()
}

/// Scores of some rows, added up over the sides.
struct Block {
    total: Vec<f32>,
    /// Whether any side that is compared by its cosine has a vector.
    is_there: Vec<bool>,
    products: Vec<f32>,
}

impl Block {
    fn new(rows: usize) -> Self {
        Self {
            total: vec![0.0; rows],
            is_there: vec![false; rows],
            products: vec![0.0; rows],
        }
    }

    /// `query` is the length of the side's, `cosines` the number of sides that are compared by them.
    fn add(&mut self, side: &Side<'_>, first: usize, query: f32, cosines: f32) {
        let (rows, width) = (self.total.len(), side.query.len());
        let table = &side.table[first * width..(first + rows) * width];
        let vectors = View::new(table, rows, width);
        let asked = View::new(side.query, width, 1);
        multiply(&mut self.products, 1, Start::Zero, 1.0, vectors, asked);
        if side.measure == Measure::Product {
            let products = self.total.iter_mut().zip(&self.products);
            products.for_each(|(total, product)| *total += product);
            return;
        }
        for (at, vector) in table.chunks_exact(width).enumerate() {
            let product = self.products[at];
            let length = if side.measure == Measure::Cosine {
                length(vector)
            } else if product != 0.0 || is_vector(vector) {
                // A row of length 1 can have the product 0 too.
                1.0
            } else {
                0.0
            };
            self.is_there[at] |= length > 0.0;
            if length > 0.0 && query > 0.0 {
                self.total[at] += product / (length * query) / cosines;
            }
        }
    }
}

/// Whether a row is an item's vector: zeros stand for none.
pub(crate) fn is_vector(row: &[f32]) -> bool {
    row.iter().any(|value| *value != 0.0)
}

fn length(vector: &[f32]) -> f32 {
    slate_kernels::sum(vector, |value| value * value).sqrt()
}

/// The best so far: a list that is sorted only when it is much too long.
struct Best {
    k: usize,
    found: Vec<Found>,
    /// What a score must reach once `k` are found.
    bar: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self {
            k,
            found: Vec::new(),
            bar: f32::NEG_INFINITY,
        }
    }

    /// Nothing is said of a score that is not a number.
    fn offer(&mut self, found: Found) {
        if found.score >= self.bar {
            self.found.push(found);
            if self.found.len() >= 2 * self.k.max(32) {
                self.shorten();
            }
        }
    }

    fn shorten(&mut self) {
        if self.k == 0 {
            self.found.clear();
        } else if self.found.len() > self.k {
            self.found.select_nth_unstable_by(self.k - 1, Found::order);
            self.found.truncate(self.k);
            self.bar = self.found[self.k - 1].score;
        }
    }

    fn with(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.shorten();
        self
    }

    fn sorted(mut self) -> Vec<Found> {
        self.found.sort_by(Found::order);
        self.found.truncate(self.k);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same from all items, sorted.
    fn by_sorting(sides: &[Side<'_>], k: usize) -> Vec<Found> {
        let items = sides[0].table.len() / sides[0].query.len();
        let of = |product: bool| {
            let sides = sides.iter();
            sides.filter(move |side| (side.measure == Measure::Product) == product)
        };
        let score = |side: &Side<'_>, row: usize| {
            let vector = &side.table[row * side.query.len()..][..side.query.len()];
            let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            if side.measure == Measure::Product {
                return sum(vector, side.query);
            }
            let size = (sum(vector, vector).sqrt()) * sum(side.query, side.query).sqrt();
            if size > 0.0 {
                sum(vector, side.query) / size
            } else {
                0.0
            }
        };
        let vector = |side: &Side<'_>, row: usize| {
            side.table[row * side.query.len()..][..side.query.len()]
                .iter()
                .any(|v| *v != 0.0)
        };
        let mut all: Vec<Found> = (0..items)
            .filter(|&row| of(false).any(|side| vector(side, row)))
            .map(|row| Found {
                row,
                score: of(false)
                    .map(|side| score(side, row) / of(false).count() as f32)
                    .chain(of(true).map(|side| score(side, row)))
                    .sum(),
            })
            .collect();
        all.sort_by(Found::order);
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn the_nearest_are_those_of_a_full_sort(
            widths in (1_usize..40, 1_usize..20),
            seed in 0_u32..1000,
            items in 0_usize..300,
            k in 0_usize..50,
        ) {
            // One number of a row is 1 or −1 and the rest are 0: sums are exact, and often equal.
            let table = |width: usize, salt: u32| -> Vec<f32> {
                let mut table = vec![0.0; items * width];
                for (row, values) in table.chunks_exact_mut(width).enumerate() {
                    let hash = (row as u32 + salt).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16;
                    if !hash.is_multiple_of(5) {
                        let sign = if hash.is_multiple_of(2) { 1.0 } else { -1.0 };
                        values[hash as usize / 8 % width] = sign;
                    }
                }
                table
            };
            let (titles, images) = (table(widths.0, 1), table(widths.1, 900));
            let query = |width: usize| -> Vec<f32> {
                (0..width).map(|at| f32::from(at == seed as usize % width)).collect()
            };
            let (title, image) = (query(widths.0), query(widths.1));
            let sides = [
                Side { table: &titles, query: &title, measure: Measure::Unit },
                Side { table: &images, query: &image, measure: Measure::Cosine },
                Side { table: &titles, query: &title, measure: Measure::Product },
            ];
            for sides in [&sides[..1], &sides[..2], &sides[..]] {
                prop_assert_eq!(nearest(sides, k), by_sorting(sides, k));
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_left_out() {
        let side = Side {
            table: &[f32::NAN, 2.0, 0.0, -1.0],
            query: &[0.5],
            measure: Measure::Cosine,
        };
        let found = nearest(&[side], 4);
        assert_eq!(
            found
                .iter()
                .map(|found| (found.row, found.score))
                .collect::<Vec<_>>(),
            [(1, 1.0), (3, -1.0)]
        );
    }
}
