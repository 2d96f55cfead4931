//! Sound placements held in memory and given in the order of the output.
//!
//! Rows of a page nearly always stand together, but pages often do not stand in the order of time: logs
//! are written by session or by shop. So rows are dealt out to their pages, whose order is known, in one
//! counting pass; only pages whose own rows are out of order are sorted. That is linear, and moves
//! nothing but places until rows are asked for.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::Int64Type;
use rayon::prelude::*;

use super::pages::failed;
use super::sound::{Slots, Sound};
use crate::LogError;

/// Rows of a batch that is given.
const ROWS: usize = 8192;
/// Batches that are made at once, by as many threads as there are.
const AT_ONCE: usize = 8;

/// Where a row is: its batch and its row there.
type Place = (u32, u32);

/// Batches of placements and the order of all their rows.
pub(super) struct Sorted {
    batches: Vec<Slots>,
    order: Vec<Place>,
    next: usize,
    made: VecDeque<RecordBatch>,
}

impl Sorted {
    /// Puts these in order.
    pub(super) fn new(batches: Vec<Slots>, sound: &Sound) -> Self {
        let ranks = sound.pages().ranks();
        let rank = |page: u32| ranks[page as usize] as usize;
        // Where the rows of each page begin, and in the end where those of the next do.
        let mut begins = vec![0_usize; ranks.len() + 1];
        for &page in batches.iter().flat_map(|slots| slots.pages.values()) {
            begins[rank(page) + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut order: Vec<Place> = vec![(0, 0); begins[ranks.len()]];
        let mut free = begins.clone();
        for (slots, batch) in batches.iter().zip(0..) {
            for (&page, row) in slots.pages.values().iter().zip(0..) {
                let free = &mut free[rank(page)];
                order[*free] = (batch, row);
                *free += 1;
            }
        }
        let within = sound.order_within_page();
        let keys: Vec<[&[i64]; 3]> = batches
            .iter()
            .map(|slots| {
                within.map(|at| &slots.columns[at].as_primitive::<Int64Type>().values()[..])
            })
            .collect();
        let key = |&(batch, row): &Place| keys[batch as usize].map(|key| key[row as usize]);
        let mut rest = order.as_mut_slice();
        let mut pages = Vec::new();
        for ends in begins.windows(2) {
            let (page, after) = std::mem::take(&mut rest).split_at_mut(ends[1] - ends[0]);
            if page.len() > 1 {
                pages.push(page);
            }
            rest = after;
        }
        pages.into_par_iter().for_each(|page| {
            if !page.is_sorted_by_key(key) {
                page.sort_unstable_by_key(key);
            }
        });
        Self {
            batches,
            order,
            next: 0,
            made: VecDeque::new(),
        }
    }

    /// The next rows, none at the end.
    pub(super) fn next(&mut self, sound: &Sound) -> Result<Option<RecordBatch>, LogError> {
        if self.made.is_empty() {
            let last = self.order.len().min(self.next + ROWS * AT_ONCE);
            let places = self.order[self.next..last].par_chunks(ROWS);
            let made: Result<Vec<RecordBatch>, LogError> =
                places.map(|places| self.rows(sound, places)).collect();
            self.made.extend(made?);
            self.next = last;
        }
        Ok(self.made.pop_front())
    }

    fn rows(&self, sound: &Sound, places: &[Place]) -> Result<RecordBatch, LogError> {
        let places: Vec<(usize, usize)> = places
            .iter()
            .map(|&(batch, row)| (batch as usize, row as usize))
            .collect();
        let columns = self.batches.first().map_or(0, |slots| slots.columns.len());
        let columns = (0..columns).map(|at| {
            let parts: Vec<&dyn Array> = self
                .batches
                .iter()
                .map(|slots| slots.columns[at].as_ref())
                .collect();
            interleave(&parts, &places).map_err(failed)
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let pages = places.iter();
        let pages = pages.map(|&(batch, row)| self.batches[batch].pages.value(row));
        sound.rows(&Slots {
            columns,
            pages: UInt32Array::from_iter_values(pages),
        })
    }
}
