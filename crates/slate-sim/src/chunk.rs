//! One chunk of pages, from visits to rows: the unit of parallel work.
//!
//! A chunk depends on the seed, the month and its visits only; chunks can be made in any order and
//! on any number of threads.

use arrow::array::RecordBatch;
use slate_types::Seed;

use crate::behaviour::{Behaviour, Leaning};
use crate::catalogue::Catalogue;
use crate::config::Market;
use crate::error::SimError;
use crate::events::{Diary, Event, Placement};
use crate::pages::{Page, PageMaker};
use crate::plan::Visits;
use crate::random::Stream;
use crate::ranking::{self, Ranking};
use crate::season::Season;
use crate::simulate::Tally;
use crate::tables::{self, PageRows, SlotRows, TruthRows};

/// Everything a chunk needs to know.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) market: &'a Market,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) season: &'a Season,
    pub(crate) behaviour: &'a Behaviour,
    pub(crate) seed: Seed,
}

/// The rows of a chunk, ready to be written.
pub(crate) struct Chunk {
    pub(crate) pages: RecordBatch,
    pub(crate) slots: RecordBatch,
    pub(crate) events: RecordBatch,
    pub(crate) truth: RecordBatch,
    pub(crate) tally: Tally,
}

/// Rows under construction.
#[derive(Default)]
struct Rows {
    pages: PageRows,
    slots: SlotRows,
    truth: TruthRows,
    events: Vec<Event>,
    tally: Tally,
}

impl World<'_> {
    /// Makes a chunk.
    ///
    /// # Errors
    /// [`SimError::CatalogueTooSmall`] where a page finds no candidate.
    pub(crate) fn chunk(&self, visits: &[Visits]) -> Result<Chunk, SimError> {
        let Self {
            market,
            catalogue,
            season,
            seed,
            ..
        } = *self;
        let maker = PageMaker {
            market,
            catalogue,
            season,
            seed,
        };
        let mut rows = Rows::default();
        for &visits in visits {
            for page in maker.pages(visits)? {
                let ranking = ranking::rank(market, catalogue, season, seed, &page);
                self.show(&page, &ranking, &mut rows);
            }
        }
        Ok(Chunk {
            pages: rows.pages.batch(),
            slots: rows.slots.batch(),
            events: tables::event_batch(&rows.events),
            truth: rows.truth.batch(),
            tally: rows.tally,
        })
    }

    /// Shows a page to its user and writes down what happens.
    fn show(&self, page: &Page, ranking: &Ranking, rows: &mut Rows) {
        let Self {
            market,
            catalogue,
            season,
            behaviour,
            seed,
        } = *self;
        rows.pages.push(page, ranking);
        rows.tally.page(page.ts, ranking.placed.len());
        let shown: Vec<Placement> = ranking
            .placed
            .iter()
            .enumerate()
            .map(|(slot, placed)| {
                let candidate = &page.pool[placed.candidate];
                Placement {
                    impression: tables::impression_id(page, slot),
                    item: candidate.item,
                    price: candidate.price,
                    shipping: candidate.shipping,
                }
            })
            .collect();
        let seed = seed.derive("behaviour").index(page.id as u64);
        let mut outcomes = Stream::new(seed);
        let mut noise = Stream::new(seed.derive("events"));
        let config = market.config();
        let Rows {
            slots,
            truth: truths,
            events,
            tally,
            ..
        } = rows;
        let mut diary = Diary::new(config, catalogue, page, &mut noise, events, tally);
        for (slot, placed) in ranking.placed.iter().enumerate() {
            let leaning = Leaning::new(catalogue, season, page, &page.pool[placed.candidate]);
            let truth = behaviour.truth(leaning, market.examination()[slot]);
            let outcome = behaviour.outcome(&truth, &mut outcomes);
            slots.push(catalogue, page, ranking, slot);
            truths.push(page, slot, shown[slot], placed, &truth, outcome);
            diary.placement(slot, outcome, &shown);
        }
    }
}
