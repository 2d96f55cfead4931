//! A graph of near items, so that a query need not look at all of them (HNSW: Malkov and Yashunin 2018).
//!
//! Items are linked to items near them, on layers that get thinner; a search walks from the thinnest down
//! along links that come nearer and keeps the best `beam` it met. It may miss an item that [`nearest`] finds;
//! a wider beam misses fewer. The graph holds no vectors: it is asked together with the table it was made
//! of, which may be mapped. It is built by one thread, item after item, and layers are drawn from a
//! seed, so the same table gives the same graph.
//!
//! [`nearest`]: crate::nearest()

use std::io::{Read, Write};

use hnsw_stable::{Dense, Hnsw, HnswConfig, Metric, NodeId, VectorStore, VectorStoreMut};
use slate_types::{Progress, Seed};

use crate::search::{Found, is_vector};

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphOptions {
    /// Links of an item on a layer, 2 to 128; twice as many on the lowest.
    pub links: usize,
    /// How many of the best met are kept when an item is linked, 1 to 10,000.
    pub beam: usize,
    /// Where layers are drawn from.
    pub seed: Seed,
}

/// A graph over the rows of a table.
pub struct Graph {
    index: Hnsw<u32, OneLessProduct>,
}

/// Why a graph cannot be made, read or asked.
#[derive(Debug, thiserror::Error)]
#[error("the graph of near items cannot be used")]
pub struct GraphError(#[from] hnsw_stable::Error);

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("items", &self.index.len())
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// Links the rows of a table whose vectors are of length 1.
    ///
    /// # Shapes
    /// - table: `[items, width]`, fewer than 2³² items.
    ///
    /// # Errors
    /// [`GraphError`] where the library fails.
    pub fn build(
        table: &[f32],
        width: usize,
        options: GraphOptions,
        progress: &dyn Progress,
    ) -> Result<Self, GraphError> {
        let rows = Rows { table, width };
        let config = HnswConfig::new(width, rows.len().max(1))
            .m(options.links)
            .ef_construction(options.beam)
            .seed(options.seed.0);
        let index = Hnsw::new(OneLessProduct, config);
        progress.begin("links between items", Some(rows.len() as u64), "items");
        for (row, vector) in table.chunks_exact(width).enumerate() {
            index.insert(&rows, row as u32, vector)?;
            progress.advance(1);
        }
        progress.end();
        Ok(Self { index })
    }

    /// Writes the graph.
    ///
    /// # Errors
    /// [`GraphError`] where it cannot be written.
    pub fn write(&self, to: &mut impl Write) -> Result<(), GraphError> {
        Ok(self.index.save_to(to)?)
    }

    /// Reads a graph.
    ///
    /// # Errors
    /// [`GraphError`] for bytes that are no graph.
    pub fn read(from: &mut impl Read) -> Result<Self, GraphError> {
        let index = Hnsw::load_from(OneLessProduct, from)?;
        Ok(Self { index })
    }

    /// Items it links.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it links nothing.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The `k` items nearest to a query of length 1, as far as the search finds them, nearest first; of equally near
    /// ones the earlier row. Rows of zeros, items without a vector, are left out. `beam` is at least `k`.
    ///
    /// # Shapes
    /// - table: `[items, width]`, the one it was built from; query: `[width]`
    ///
    /// # Errors
    /// [`GraphError`] for another table.
    pub fn nearest(
        &self,
        table: &[f32],
        query: &[f32],
        k: usize,
        beam: usize,
    ) -> Result<Vec<Found>, GraphError> {
        if self.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let width = query.len();
        let rows = Rows { table, width };
        if rows.len() != self.len() || width != self.index.dim() {
            let told = format!("it is not of {} vectors of {width} numbers", rows.len());
            return Err(hnsw_stable::Error::InvalidIndexFormat(told).into());
        }
        self.index.set_ef_search(beam.max(k));
        let has_vector = |row: &u32| rows.get(*row as usize).is_some_and(is_vector);
        let k = k.min(self.len());
        let hits = self.index.search(&rows, query, k, Some(&has_vector))?;
        let found = hits.into_iter().filter_map(|hit| {
            let row = hit.key as usize;
            let score = product(rows.get(row)?, query);
            Some(Found { row, score })
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by(Found::order);
        Ok(found)
    }
}

/// `1 − a · b`: the order of cosines, of vectors of length 1. Our own, in a fixed order of sums: the library's
/// differs from processor to processor.
#[derive(Debug, Clone)]
struct OneLessProduct;

impl Metric for OneLessProduct {
    type Family = Dense<f32>;

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        1.0 - product(a, b)
    }
}

/// The product of two vectors, in sixteen sums that are added in the end.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (blocks, others) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = blocks.remainder().iter().zip(others.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in blocks.zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The rows of a table; the library counts them in the order they were linked, which is theirs.
struct Rows<'a> {
    table: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    fn len(&self) -> usize {
        self.table.len() / self.width
    }

    fn get(&self, row: usize) -> Option<&'a [f32]> {
        let start = row.checked_mul(self.width)?;
        self.table.get(start..start.checked_add(self.width)?)
    }
}

impl VectorStore for Rows<'_> {
    type Family = Dense<f32>;
    type Vector<'v>
        = &'v [f32]
    where
        Self: 'v;

    fn dim(&self) -> usize {
        self.width
    }

    fn vector(&self, node: NodeId) -> Option<&[f32]> {
        self.get(node.as_usize())
    }
}

impl VectorStoreMut for Rows<'_> {
    /// The table has them.
    fn set(&self, _: NodeId, _: &[f32]) -> hnsw_stable::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use slate_types::Silent;

    use super::*;
    use crate::{Measure, Side, nearest};

    const WIDTH: usize = 12;
    const OPTIONS: GraphOptions = GraphOptions {
        links: 12,
        beam: 80,
        seed: Seed(3),
    };

    /// Vectors around thirty centres; every ninth row is zeros.
    fn table(items: usize) -> Vec<f32> {
        let draw =
            |of: &str, at: usize| 2.0 * Seed(7).derive(of).index(at as u64).unit() as f32 - 1.0;
        let mut table = Vec::new();
        for row in 0..items {
            let number = |at: usize| {
                let centre = draw("centre", row % 30 * WIDTH + at);
                centre + 0.4 * draw("item", row * WIDTH + at)
            };
            let there = f32::from(row % 9 > 0);
            table.extend((0..WIDTH).map(|at| there * number(at)));
        }
        crate::scale_to_one(&mut table, WIDTH);
        table
    }

    fn bytes(graph: &Graph) -> Vec<u8> {
        let mut bytes = Vec::new();
        graph.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn nearly_all_of_the_nearest_are_found_and_no_others() {
        let (items, k) = (1500, 10);
        let table = table(items);
        let graph = Graph::build(&table, WIDTH, OPTIONS, &Silent).unwrap();
        assert_eq!(graph.len(), items);
        let graph = Graph::read(&mut bytes(&graph).as_slice()).unwrap();
        let mut hits = 0;
        let queries: Vec<usize> = (0..items).filter(|row| row % 9 > 0).step_by(10).collect();
        for &row in &queries {
            let query = &table[row * WIDTH..(row + 1) * WIDTH];
            let side = Side {
                table: &table,
                query,
                measure: Measure::Unit,
            };
            let exact = nearest(&[side], k);
            let found = graph.nearest(&table, query, k, 60).unwrap();
            assert_eq!(found.len(), k, "none of them without a vector");
            assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for one in &found {
                let there = &table[one.row * WIDTH..(one.row + 1) * WIDTH];
                assert!((product(there, query) - one.score).abs() < 1e-6);
            }
            let rows: Vec<usize> = exact.iter().map(|found| found.row).collect();
            hits += found.iter().filter(|one| rows.contains(&one.row)).count();
        }
        let recall = hits as f64 / (k * queries.len()) as f64;
        assert!(recall > 0.98, "{recall}");
    }

    #[test]
    fn the_same_table_gives_the_same_graph_and_another_is_refused() {
        let table = table(300);
        let graph = |table: &[f32], seed| {
            let options = GraphOptions { seed, ..OPTIONS };
            Graph::build(table, WIDTH, options, &Silent).unwrap()
        };
        let first = bytes(&graph(&table, Seed(1)));
        assert_eq!(first, bytes(&graph(&table, Seed(1))));
        assert_ne!(first, bytes(&graph(&table, Seed(2))));
        let short = &table[..280 * WIDTH];
        let error = graph(&table, Seed(1)).nearest(short, &table[WIDTH..2 * WIDTH], 5, 20);
        assert!(error.is_err());
        assert!(Graph::read(&mut &first[..first.len() / 2]).is_err());
        assert!(Graph::read(&mut &b"no graph"[..]).is_err());
        let nothing = [0.0; WIDTH];
        let asked = &table[WIDTH..2 * WIDTH];
        let found = graph(&nothing, Seed(1)).nearest(&nothing, asked, 3, 9);
        assert!(found.unwrap().is_empty(), "one item, and it has no vector");
        let found = graph(&[], Seed(1)).nearest(&[], asked, 3, 9);
        assert!(found.unwrap().is_empty());
        // More are asked for than have a cosine above that of zeros.
        let mut rare = table.clone();
        for (row, vector) in rare.chunks_exact_mut(WIDTH).enumerate() {
            if row % 8 > 1 {
                vector.fill(0.0);
            }
        }
        let there = rare
            .chunks_exact(WIDTH)
            .filter(|row| is_vector(row))
            .count();
        let found = graph(&rare, Seed(1)).nearest(&rare, asked, there, 300);
        assert_eq!(found.unwrap().len(), there);
    }

    #[test]
    fn products_are_those_of_their_numbers() {
        for width in [1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..width).map(|at| at as f32 - 3.0).collect();
            let b: Vec<f32> = (0..width).map(|at| (at % 5) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(product(&a, &b), expected);
        }
    }
}
