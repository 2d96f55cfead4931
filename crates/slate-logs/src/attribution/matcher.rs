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
    parts: Vec<Part>,
    wanted: Wanted,
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
        let mut parts: Vec<Part> = (0..PARTS).map(|_| Part::default()).collect();
        // To grow is to copy: tens of megabytes.
        let most = most / (u64::from(passes) * u64::from(PARTS));
        for part in &mut parts {
            part.events.reserve((most + most / 8) as usize);
        }
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
                    let event = read.event(at);
                    parts[part(event.item, passes)].events.push(event);
                }
            }
            told(read.len() as u64);
        }
        let wanted = Wanted::by(parts.iter().flat_map(|part| &part.events));
        Ok(Self {
            passes,
            parts,
            wanted,
        })
    }

    /// Begins again with the first row.
    pub(crate) fn forget(&mut self) {
        for part in &mut self.parts {
            part.placements.clear();
        }
    }

    /// Takes the next rows, the first of which has this place.
    pub(crate) fn add(&mut self, rows: &Rows, first: u64) {
        for at in self.wanted.among(rows) {
            let part = part(rows.item[at], self.passes);
            let placement = Placement::of(rows, at, first);
            self.parts[part].placements.push(placement);
        }
    }

    /// Events of the pass that take part.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.parts.iter().flat_map(|part| &part.events)
    }

    /// Gives each event of the pass its end. `told` hears of every event.
    pub(crate) fn decide(
        self,
        fates: &mut Fates,
        watch: &dyn Fn(&Event) -> bool,
        told: &dyn Fn(u64),
    ) {
        fates.decide(self.parts, watch, told);
    }
}

/// The part of an item, among those of its pass.
fn part(item: i64, passes: u32) -> usize {
    (id_pass(item, passes.saturating_mul(PARTS)) % PARTS) as usize
}
