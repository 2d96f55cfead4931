//! Rows made into arrays and dealt out to the parts of a dataset.
//!
//! Three things go on at once: the next rows are decoded, those before them are made into numbers, and
//! those before these are written.

use std::{collections::BTreeSet, path::Path, sync::mpsc::sync_channel};

use rayon::prelude::*;
use slate_types::{Progress, Split};

use crate::{
    Applier, Block, Extras, FeatureError, FeatureMap, Manifest, TimeSplit,
    build::{KNOWN_OR_NAN, REQUIRED, flags, rows, usable},
    data::SplitData,
    examples::Examples,
    export::{Format, PartWriter},
    multi::ExtrasApplier,
};

/// Blocks that are made into numbers at once, by as many threads as there are.
const AT_ONCE: usize = 8;
/// Blocks that may wait to be written.
const WAITING: usize = 8;

/// What turns rows into arrays.
pub(crate) struct Mapping<'a> {
    pub(crate) map: &'a FeatureMap,
    pub(crate) extras: ExtrasApplier<'a>,
    /// Of each grade; 1 for all where empty.
    pub(crate) weights: &'a [f64],
    pub(crate) formats: &'a BTreeSet<Format>,
}

/// What the writer is sent.
enum Made {
    /// Rows, and of each whether its label cannot change any more.
    Rows(Box<SplitData>, Vec<u8>),
    End,
}

impl Mapping<'_> {
    /// Writes all rows into the parts they belong to; the manifest gets their files.
    pub(crate) fn write(
        &mut self,
        source: &Examples,
        times: TimeSplit,
        out: &Path,
        manifest: &mut Manifest,
        progress: &dyn Progress,
    ) -> Result<(), FeatureError> {
        let (map, formats, weights) = (self.map, self.formats, self.weights);
        let mut columns = map.columns();
        columns.extend(REQUIRED.into_iter().chain(KNOWN_OR_NAN));
        let blocks = source.blocks(&columns)?;
        let (send, receive) = sync_channel::<Made>(WAITING);
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut parts = Parts::new(map, times, out, formats);
                for made in receive {
                    match made {
                        Made::Rows(data, matured) => {
                            parts.write(&data, &matured, manifest)?;
                            progress.advance(data.grade.len() as u64);
                        }
                        Made::End => return parts.finish(manifest),
                    }
                }
                // No end: who made the rows has an error to tell.
                Ok(())
            });
            let applier = Applier::new(map);
            let make = || {
                let mut blocks = blocks.into_iter();
                loop {
                    let some: Result<Vec<Block>, FeatureError> =
                        blocks.by_ref().take(AT_ONCE).collect();
                    let some = some?;
                    if some.is_empty() {
                        break;
                    }
                    let extras = some.iter().map(|block| self.extras.apply(block));
                    let extras: Vec<Extras> = extras.collect::<Result<_, _>>()?;
                    let made = some.par_iter().zip(extras).map(|(block, extras)| {
                        let features = applier.apply(block)?;
                        let matured = flags(block, "matured")?;
                        let data = rows(block, features, extras, weights)?;
                        Ok(Made::Rows(Box::new(data), matured))
                    });
                    let made: Vec<Result<Made, FeatureError>> = made.collect();
                    for made in made {
                        if send.send(made?).is_err() {
                            return Ok(());
                        }
                    }
                }
                // Where nobody receives, the writer has an error to tell.
                let _ = send.send(Made::End);
                Ok(())
            };
            let made = make();
            // Without this the writer would wait for more.
            drop(send);
            let written = match writing.join() {
                Ok(written) => written,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            made.and(written)
        })
    }
}

/// The parts of a dataset, opened as rows for them come.
struct Parts<'a> {
    map: &'a FeatureMap,
    times: TimeSplit,
    out: &'a Path,
    formats: &'a BTreeSet<Format>,
    writers: [(Split, Option<PartWriter>); Split::ALL.len()],
}

impl<'a> Parts<'a> {
    fn new(
        map: &'a FeatureMap,
        times: TimeSplit,
        out: &'a Path,
        formats: &'a BTreeSet<Format>,
    ) -> Self {
        Self {
            map,
            times,
            out,
            formats,
            writers: Split::ALL.map(|split| (split, None)),
        }
    }

    fn write(
        &mut self,
        data: &SplitData,
        matured: &[u8],
        manifest: &Manifest,
    ) -> Result<(), FeatureError> {
        let part = |list: usize| {
            let fits = usable(&matured[data.lists.range(list)]);
            fits.then(|| self.times.part(data.list_ts[list]))
        };
        let mut begin = 0;
        while begin < data.lists.len() {
            let split = part(begin);
            let end = (begin..data.lists.len())
                .find(|&list| part(list) != split)
                .unwrap_or(data.lists.len());
            if let Some((split, writer)) = self.writers.iter_mut().find(|(s, _)| Some(*s) == split)
            {
                if writer.is_none() {
                    let counts = manifest.splits.get(split).copied().unwrap_or_default();
                    let (out, map) = (self.out, self.map);
                    *writer = Some(PartWriter::create(out, *split, map, counts, self.formats)?);
                }
                let writer = writer.as_mut().expect("it was opened");
                writer.write(data, begin..end)?;
            }
            begin = end;
        }
        Ok(())
    }

    fn finish(self, manifest: &mut Manifest) -> Result<(), FeatureError> {
        let Manifest { files, exports, .. } = manifest;
        let mut writers = self.writers.into_iter().filter_map(|(_, writer)| writer);
        writers.try_for_each(|writer| writer.finish(self.out, self.formats, files, exports))
    }
}
