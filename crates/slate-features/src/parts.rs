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

/// Rows that are made into numbers at once, by as many threads as there are; more where one list has more.
/// Four times as many are in memory: some are read, made, waiting and written.
const AT_ONCE: usize = 32_768;
/// Lots of so many rows that may wait to be written.
const WAITING: usize = 1;

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
    /// Rows, block by block, and of each whether its label cannot change any more.
    Rows(Vec<(SplitData, Vec<u8>)>),
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
        let mut columns = map.readings();
        columns.extend(REQUIRED.into_iter().chain(KNOWN_OR_NAN));
        let blocks = source.blocks(&columns)?;
        let (send, receive) = sync_channel::<Made>(WAITING);
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut parts = Parts::new(map, times, out, formats);
                for made in receive {
                    match made {
                        Made::Rows(blocks) => {
                            for (data, matured) in blocks {
                                parts.write(&data, &matured, manifest)?;
                                progress.advance(data.grade.len() as u64);
                            }
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
                    let (mut some, mut gathered): (Vec<Block>, usize) = (Vec::new(), 0);
                    while gathered < AT_ONCE
                        && let Some(block) = blocks.next().transpose()?
                    {
                        gathered += block.rows();
                        some.push(block);
                    }
                    if some.is_empty() {
                        break;
                    }
                    let extras = some.iter().map(|block| self.extras.apply(block));
                    let extras: Vec<Extras> = extras.collect::<Result<_, _>>()?;
                    let made = some.par_iter().zip(extras).map(|(block, extras)| {
                        let features = applier.apply(block)?;
                        let matured = flags(block, "matured")?;
                        Ok((rows(block, features, extras, weights)?, matured))
                    });
                    // All of them, so that the error told is that of the first row that has one.
                    let made: Vec<Result<(SplitData, Vec<u8>), FeatureError>> = made.collect();
                    let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
                    if send.send(Made::Rows(made)).is_err() {
                        return Ok(());
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
