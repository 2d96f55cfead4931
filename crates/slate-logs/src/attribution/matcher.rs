//! One pass over the placements for a share of the events.

use super::event::{Event, Events};
use super::fates::Fates;
use super::placement::Placement;
use super::wanted::Wanted;
use crate::LogError;
use crate::engine::Engine;
use crate::history::{Texts, id_pass};
use crate::rows::Rows;

/// The events of one pass, and the placements they could belong to.
pub(crate) struct Matcher {
    events: Vec<Event>,
    wanted: Wanted,
    found: Vec<Placement>,
}

impl Matcher {
    /// Reads the events of a pass. The first pass counts those that take no part. `told` hears how many
    /// were read.
    pub(crate) fn load(
        engine: &Engine,
        (pass, passes): (u32, u32),
        fates: &mut Fates,
        categories: &mut Texts,
        told: &dyn Fn(u64),
    ) -> Result<Self, LogError> {
        let mut events = Vec::new();
        let mut batches = engine.stream("read events", "SELECT * FROM events")?;
        while let Some(batch) = batches.next()? {
            let read = Events::of(&batch, &mut |text| Some(categories.code(text)));
            for at in 0..read.len() {
                if read.repeats(at) || !read.seen(at) {
                    if pass > 0 {
                        continue;
                    }
                    if read.repeats(at) {
                        fates.duplicate(read.kind(at));
                    } else {
                        fates.unseen(read.kind(at));
                    }
                } else if id_pass(read.item(at), passes) == pass {
                    events.push(read.event(at));
                }
            }
            told(read.len() as u64);
        }
        let wanted = Wanted::by(events.iter());
        Ok(Self {
            events,
            wanted,
            found: Vec::new(),
        })
    }

    /// Begins again with the first row.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
    }

    /// Takes the next rows, the first of which has this place.
    pub(crate) fn add(&mut self, rows: &Rows, first: u64) {
        let wants = (0..rows.len()).filter(|&at| self.wanted.wants(rows, at));
        self.found
            .extend(wants.map(|at| Placement::of(rows, at, first)));
    }

    /// Events of the pass that take part.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Gives each event of the pass its end. `told` hears of every event twice.
    pub(crate) fn decide(
        mut self,
        fates: &mut Fates,
        watch: &dyn Fn(&Event) -> bool,
        told: &dyn Fn(u64),
    ) {
        // In one order, whatever the engine's threads did.
        self.events.sort_unstable_by_key(|event| event.id);
        fates.decide(&self.events, &mut self.found, watch, told);
    }
}
