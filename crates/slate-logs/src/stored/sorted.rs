//! Sound placements held in memory and given in the order of the output.
//!
//! Rows of a page nearly always stand together and in order, but pages often do not stand in the order of
//! time: logs are written by session or by shop. So it is stretches of rows that are put in order and
//! copied, an eighth as many as rows where lists have eight; only pages whose stretches interleave come
//! apart into rows. Nothing but places moves until rows are asked for.

use std::collections::VecDeque;
use std::iter::repeat_n;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, MutableArrayData, RecordBatch, UInt32Array, make_array,
};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use rayon::prelude::*;

use super::pages::failed;
use super::sound::{Slots, Sound};
use crate::LogError;

/// Rows of a batch that is given.
const ROWS: usize = 8192;
/// Rows that are copied at once, columns by as many threads as there are: numbers alone. Texts of more than
/// [`ROWS`] could be too long for one column.
const AT_ONCE: usize = 8 * ROWS;

/// Rows of one page that follow each other in a batch, and in the order within the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    /// When the page was shown, and its id: the order of the output.
    ts: i64,
    page: i64,
    batch: u32,
    first: u32,
    rows: u32,
    /// Where the page is.
    place: u32,
}

impl Stretch {
    fn is_of_page(&self, other: &Self) -> bool {
        (self.ts, self.page) == (other.ts, other.page)
    }

    /// Each of its rows as a stretch of its own.
    fn rows(self) -> impl Iterator<Item = Self> {
        let rows = self.first..self.first + self.rows;
        rows.map(move |first| Self {
            first,
            rows: 1,
            ..self
        })
    }
}

/// Placements as they come.
#[derive(Default)]
pub(super) struct Unsorted {
    /// The columns of each batch.
    batches: Vec<Vec<ArrayRef>>,
    stretches: Vec<Stretch>,
    bytes: u64,
}

impl Unsorted {
    /// Takes the next ones.
    pub(super) fn add(&mut self, slots: Slots, sound: &Sound) {
        let before = self.stretches.len();
        let (pages, keys) = (slots.pages.values(), Keys::of(&slots.columns, sound));
        let order_of = |place| sound.pages().order_of(place);
        let batch = self.batches.len() as u32;
        self.stretches
            .extend(stretches(pages, &keys, batch, order_of));
        let stretches = self.stretches.len() - before;
        self.bytes += slots.bytes() + (stretches * size_of::<Stretch>()) as u64;
        self.batches.push(slots.columns);
    }

    /// What they hold, with their place in the order while no page comes apart into rows.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Cuts a batch into stretches; `order_of` says what orders the page at a place.
fn stretches(
    pages: &[u32],
    keys: &Keys,
    batch: u32,
    order_of: impl Fn(u32) -> (i64, i64),
) -> impl Iterator<Item = Stretch> {
    let follows = |&row: &usize| pages[row - 1] == pages[row] && keys.at(row - 1) <= keys.at(row);
    let mut first = 0;
    std::iter::from_fn(move || {
        let place = *pages.get(first)?;
        let mut next = first + 1;
        while next < pages.len() && follows(&next) {
            next += 1;
        }
        let (ts, page) = order_of(place);
        let stretch = Stretch {
            ts,
            page,
            batch,
            first: first as u32,
            rows: (next - first) as u32,
            place,
        };
        first = next;
        Some(stretch)
    })
}

/// All rows of some batches in the order of the output.
fn in_order(mut stretches: Vec<Stretch>, keys: &[Keys]) -> Vec<Stretch> {
    stretches.par_sort_unstable();
    let begin = |of: &Stretch| keys[of.batch as usize].at(of.first as usize);
    let end = |of: &Stretch| keys[of.batch as usize].at((of.first + of.rows - 1) as usize);
    let is_in_order = |page: &[Stretch]| page.is_sorted_by(|a, b| end(a) <= begin(b));
    let pages = || stretches.par_chunk_by(Stretch::is_of_page);
    if pages().all(is_in_order) {
        return stretches;
    }
    let come_apart = |page: &[Stretch]| {
        let mut page = page.to_vec();
        page.sort_unstable_by_key(begin);
        if !is_in_order(&page) {
            page = page.into_iter().flat_map(Stretch::rows).collect();
            page.sort_unstable_by_key(begin);
        }
        page
    };
    pages().flat_map_iter(come_apart).collect()
}

/// The columns of a batch that order the rows of a page: list, slot and impression.
struct Keys<'a>([&'a [i64]; 3]);

impl<'a> Keys<'a> {
    fn of(columns: &'a [ArrayRef], sound: &Sound) -> Self {
        let column = |at: usize| columns[at].as_primitive::<Int64Type>();
        Self(sound.order_within_page().map(|at| &column(at).values()[..]))
    }

    fn at(&self, row: usize) -> [i64; 3] {
        self.0.map(|column| column[row])
    }
}

/// Batches of placements and the order of all their rows.
pub(super) struct Sorted {
    /// The batches of each column.
    columns: Vec<Vec<ArrayData>>,
    order: Vec<Stretch>,
    next: usize,
    at_once: usize,
    made: VecDeque<RecordBatch>,
}

impl Sorted {
    /// Puts these in order.
    pub(super) fn new(unsorted: Unsorted, sound: &Sound) -> Self {
        let Unsorted {
            batches, stretches, ..
        } = unsorted;
        let keys = batches.iter().map(|columns| Keys::of(columns, sound));
        let order = in_order(stretches, &keys.collect::<Vec<_>>());
        let columns = batches.first().map_or(0, Vec::len);
        let batches_of = |at: usize| {
            batches
                .iter()
                .map(|columns| columns[at].to_data())
                .collect()
        };
        let columns: Vec<Vec<ArrayData>> = (0..columns).map(batches_of).collect();
        let mut kinds = columns.iter().filter_map(|batches| batches.first());
        let numbers = kinds.all(|batch| batch.data_type().is_primitive());
        Self {
            columns,
            order,
            next: 0,
            at_once: if numbers { AT_ONCE } else { ROWS },
            made: VecDeque::new(),
        }
    }

    /// The next rows, none at the end.
    pub(super) fn next(&mut self, sound: &Sound) -> Result<Option<RecordBatch>, LogError> {
        if self.made.is_empty() {
            let (mut stretches, mut rows) = (Vec::new(), 0);
            while rows < self.at_once
                && let Some(stretch) = self.order.get_mut(self.next)
            {
                let free = (self.at_once - rows) as u32;
                let taken = stretch.rows.min(free);
                stretches.push(Stretch {
                    rows: taken,
                    ..*stretch
                });
                rows += taken as usize;
                stretch.first += taken;
                stretch.rows -= taken;
                self.next += usize::from(stretch.rows == 0);
            }
            let copied = self.copy(&stretches, rows)?;
            let parts = (0..rows).step_by(ROWS).collect::<Vec<_>>().into_par_iter();
            let made = parts.map(|first| sound.rows(&copied.slice(first, ROWS.min(rows - first))));
            self.made = made.collect::<Result<_, _>>()?;
        }
        Ok(self.made.pop_front())
    }

    /// These rows, a stretch after the other.
    fn copy(&self, stretches: &[Stretch], rows: usize) -> Result<Slots, LogError> {
        let columns = self.columns.par_iter().map(|batches| {
            let mut column = MutableArrayData::new(batches.iter().collect(), false, rows);
            for stretch in stretches {
                let first = stretch.first as usize;
                let end = first + stretch.rows as usize;
                column.try_extend(stretch.batch as usize, first, end)?;
            }
            Ok(make_array(column.freeze()))
        });
        let columns: Result<_, ArrowError> = columns.collect();
        let pages = stretches
            .iter()
            .flat_map(|stretch| repeat_n(stretch.place, stretch.rows as usize));
        Ok(Slots {
            columns: columns.map_err(failed)?,
            pages: UInt32Array::from_iter_values(pages),
        })
    }
}

#[cfg(test)]
mod tests {
    use slate_types::Seed;

    use super::*;

    /// Rows of 40 pages in five batches: some whole, some cut, some out of order, some repeated.
    #[test]
    fn stretches_come_in_the_order_their_rows_have() {
        let mut drawn = 0;
        let mut below = |most: usize| {
            drawn += 1;
            (Seed(1).index(drawn).unit() * most as f64) as usize
        };
        for apart in [1, 4, 1000] {
            // Larger ids were shown earlier.
            let order_of = |place: u32| (-i64::from(place / 2), i64::from(place));
            let mut rows: Vec<(u32, [i64; 3])> = Vec::new();
            for page in 0..40 {
                for slot in 0..=below(9) as i64 {
                    rows.push((page, [7, slot / 2, slot * 31 % 8]));
                }
            }
            for _ in 0..rows.len() / apart {
                let (a, b) = (below(rows.len()), below(rows.len()));
                rows.swap(a, b);
            }
            let batches: Vec<&[(u32, [i64; 3])]> = rows.chunks(rows.len().div_ceil(5)).collect();
            let columns: Vec<[Vec<i64>; 3]> = batches
                .iter()
                .map(|batch| [0, 1, 2].map(|at| batch.iter().map(|row| row.1[at]).collect()))
                .collect();
            let keys: Vec<Keys> = columns
                .iter()
                .map(|columns| Keys(columns.each_ref().map(Vec::as_slice)))
                .collect();
            let mut all = Vec::new();
            for ((batch, keys), at) in batches.iter().zip(&keys).zip(0..) {
                let pages: Vec<u32> = batch.iter().map(|row| row.0).collect();
                all.extend(stretches(&pages, keys, at, order_of));
            }
            if apart == 1000 {
                assert!(all.len() < rows.len() / 2, "rows of a page stand together");
            }
            let ordered = in_order(all, &keys);
            let ordered: Vec<(u32, [i64; 3])> = ordered
                .iter()
                .flat_map(|stretch| {
                    assert_eq!(order_of(stretch.place), (stretch.ts, stretch.page));
                    let rows = stretch.first as usize..(stretch.first + stretch.rows) as usize;
                    &batches[stretch.batch as usize][rows]
                })
                .copied()
                .collect();
            let mut expected = rows.clone();
            expected.sort_by_key(|&(page, key)| (order_of(page), key));
            assert_eq!(ordered, expected);
        }
    }
}
