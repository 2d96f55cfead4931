//! One chunk of pages, from visits to rows: the unit of parallel work.
//!
//! A chunk depends on the seed, the month and its visits only; chunks can be made in any order and
//! on any number of threads.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use slate_types::Seed;

use crate::behaviour::{Behaviour, Leaning};
use crate::calendar::Month;
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

/// Rows of one table by partition; none is the whole table.
pub(crate) type Parted = Vec<(Option<Month>, RecordBatch)>;

/// The rows of a chunk, ready to be written.
pub(crate) struct Chunk {
    /// No row of this chunk or a later one is in an earlier partition.
    pub(crate) first: Option<Month>,
    pub(crate) pages: Parted,
    pub(crate) slots: Parted,
    pub(crate) events: Parted,
    pub(crate) truth: Parted,
    pub(crate) tally: Tally,
}

/// Rows of one partition under construction.
#[derive(Default)]
struct Rows {
    pages: PageRows,
    slots: SlotRows,
    truth: TruthRows,
}

/// What pages leave behind: rows of any partition.
#[derive(Default)]
struct Trail {
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
        let mut parts: BTreeMap<Option<Month>, Rows> = BTreeMap::new();
        let mut trail = Trail::default();
        for &visits in visits {
            for page in maker.pages(visits)? {
                let ranking = ranking::rank(market, catalogue, season, seed, &page);
                let rows = parts.entry(market.partition(page.ts)).or_default();
                self.show(&page, &ranking, rows, &mut trail);
            }
        }
        let first = market.partition(season.from);
        let mut chunk = Chunk {
            first,
            pages: Vec::new(),
            slots: Vec::new(),
            events: self.log(&mut trail, first),
            truth: Vec::new(),
            tally: trail.tally,
        };
        for (part, rows) in parts {
            chunk.pages.push((part, rows.pages.batch()));
            chunk.slots.push((part, rows.slots.batch()));
            chunk.truth.push((part, rows.truth.batch()));
        }
        Ok(chunk)
    }

    /// The events that reach the log. The partition `first` is there even without one, so that the
    /// table is.
    fn log(&self, trail: &mut Trail, first: Option<Month>) -> Parted {
        let mut parts: BTreeMap<Option<Month>, Vec<Event>> = BTreeMap::from([(first, Vec::new())]);
        for event in std::mem::take(&mut trail.events) {
            if self.market.loses(self.seed, &event) {
                trail.tally.lost += 1;
                trail.tally.events -= 1;
            } else {
                let part = self.market.partition(event.ts);
                parts.entry(part).or_default().push(event);
            }
        }
        parts
            .into_iter()
            .map(|(part, events)| (part, tables::event_batch(&events)))
            .collect()
    }

    /// Shows a page to its user and writes down what happens.
    fn show(&self, page: &Page, ranking: &Ranking, rows: &mut Rows, trail: &mut Trail) {
        let Self {
            market,
            catalogue,
            season,
            behaviour,
            seed,
        } = *self;
        rows.pages.push(page, ranking);
        trail.tally.page(page.ts, ranking.placed.len());
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
            ..
        } = rows;
        let Trail { events, tally } = trail;
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
