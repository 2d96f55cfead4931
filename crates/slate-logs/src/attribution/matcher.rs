//! One pass over the placements for a share of the events.

use super::event::{Event, Events};
use super::fates::{Fates, Part};
use super::placement::Placement;
use super::wanted::Wanted;
use crate::LogError;
use crate::engine::Engine;
use crate::history::{Texts, id_pass};
use crate::rows::Rows;

/// Parts into which the events of a pass are divided to be decided by several threads: more than there
/// are threads, so that all have something to do, and so that a part is small.
const PARTS: u32 = 32;

/// The events of one pass, and the placements they could belong to.
pub(crate) struct Matcher {
    passes: u32,
    events: Vec<Event>,
    wanted: Wanted,
    found: Vec<Placement>,
}

impl Matcher {
    /// Reads the events of a pass, `most` of all passes together. The first pass counts those that take no
    /// part. `told` hears how many were read.
    pub(crate) fn load(
        engine: &Engine,
        (pass, passes): (u32, u32),
        most: u64,
        fates: &mut Fates,
        categories: &mut Texts,
        told: &dyn Fn(u64),
    ) -> Result<Self, LogError> {
        // To grow is to copy: tens of megabytes.
        let mut events = Vec::with_capacity((most / u64::from(passes)) as usize);
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
            passes,
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
        let wanted = self.wanted.among(rows);
        let found = wanted.map(|at| Placement::of(rows, at, first));
        self.found.extend(found);
    }

    /// Events of the pass that take part.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Gives each event of the pass its end. `told` hears of every event.
    pub(crate) fn decide(
        self,
        fates: &mut Fates,
        watch: &dyn Fn(&Event) -> bool,
        told: &dyn Fn(u64),
    ) {
        let part = |item| (id_pass(item, self.passes * PARTS) % PARTS) as usize;
        let mut parts: Vec<Part> = (0..PARTS).map(|_| Part::default()).collect();
        for event in self.events {
            parts[part(event.item)].events.push(event);
        }
        for placement in self.found {
            parts[part(placement.item)].placements.push(placement);
        }
        fates.decide(parts, watch, told);
    }
}
