//! Placements on their way into order: read as they are stored where that is enough, put in order where it
//! is not, and written at once where nobody needs them again.

use std::fs;
use std::path::Path;

use super::Job;
use super::outputs::Unlabelled;
use crate::attribution::{Deal, Matcher};
use crate::beside::{Beside, Items, Pages};
use crate::check::{self, CheckedLog};
use crate::history::{History, Texts, Wish};
use crate::layout::Layout;
use crate::lists::ListPages;
use crate::order::{Order, Ordered};
use crate::row_files::RowFiles;
use crate::rows::Rows;
use crate::stored::Stored;
use crate::tables::Extra;
use crate::{Attribution, ClusterReport, LogError, plan};

/// What is gathered while placements pass by for the first time.
pub(super) struct Seen {
    pub(super) matcher: Matcher,
    pub(super) lists: ListPages,
    pub(super) categories: Texts,
    /// Pages up to this time have labels that cannot change any more.
    pub(super) until: i64,
    /// Rows of such pages.
    pub(super) mature: u64,
}

impl Seen {
    /// Begins again with the first row.
    fn forget(&mut self) {
        self.matcher.forget();
        self.lists = ListPages::default();
        self.mature = 0;
    }
}

/// How far the placement table is known.
pub(super) enum Slots {
    /// Not at all: it may be read as it is stored.
    Unread,
    /// It is being read as it is stored.
    Read(Box<Stored>),
    /// Not at all, and only the engine can put it in order.
    Engine,
    /// The engine knows which rows are usable.
    Checked,
}

/// Placements in the order of the output.
pub(super) enum Placements {
    /// In a work file, to be read as often as needed.
    Kept(RowFiles),
    /// In the output already, but for their labels.
    Written(Box<Unlabelled>),
}

impl Placements {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Kept(files) => files.len,
            Self::Written(written) => written.len(),
        }
    }

    /// Shows all rows that are kept.
    pub(super) fn read(
        &self,
        each: impl FnMut(&Rows, u64) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        match self {
            Self::Kept(files) => files.read(each),
            Self::Written(_) => Ok(()),
        }
    }
}

impl Job<'_> {
    /// Whether nothing needs the placements after they have been seen once: then they are written at once,
    /// and their labels in the end.
    pub(super) fn at_once(&self) -> bool {
        let Attribution { halo, sequence, .. } = self.attribution;
        self.passes == 1 && !self.bounded && !halo && sequence.is_none()
    }

    /// Begins to read the placements of a log that may be sound; its pages are known.
    pub(super) fn read_slots(&self, layout: &Layout) -> Result<Slots, LogError> {
        // Without a date the labels are as of the last row of the log, and every page counts.
        let as_of = self.attribution.label_as_of.unwrap_or(i64::MAX);
        let extras: Vec<&Extra> = layout.slot_extras.iter().collect();
        let slot = &self.source.slot;
        match Stored::begin(self.engine, slot, as_of, &layout.shown, &extras) {
            Ok(Some(stored)) => Ok(Slots::Read(Box::new(stored))),
            // What does not fit into one column here, the engine may manage.
            Ok(None) | Err(LogError::Engine { .. }) => Ok(Slots::Engine),
            Err(error) => Err(error),
        }
    }

    /// The placements of a sound log, as they are stored or put in order in memory. None where the log is
    /// not sound, or out of order and too large.
    pub(super) fn as_stored(
        &self,
        seen: &mut Seen,
        slots: Slots,
        layout: &Layout,
        as_of: i64,
        out: &Path,
    ) -> Result<Option<Placements>, LogError> {
        let slot = &self.source.slot;
        let slots = match slots {
            Slots::Unread => self.read_slots(layout)?,
            other => other,
        };
        let Slots::Read(stored) = slots else {
            return Ok(None);
        };
        let mut stored = *stored;
        let mut placements = self.pass(seen, &mut stored, layout, as_of, out)?;
        if placements.is_none() {
            let Some(sorted) = stored.again_sorted() else {
                return Ok(None);
            };
            stored = sorted;
            placements = self.pass(seen, &mut stored, layout, as_of, out)?;
        }
        let (gave_up, ascend) = (stored.gave_up(), stored.impressions_ascend());
        drop(stored);
        let sound =
            !gave_up && placements.is_some() && (ascend || check::are_unique(self.engine, slot)?);
        if !sound && matches!(placements, Some(Placements::Written(_))) {
            remove(out)?;
        }
        Ok(placements.filter(|_| sound))
    }

    /// Lets placements pass by for the first time. None as soon as a row is out of order.
    fn pass(
        &self,
        seen: &mut Seen,
        stored: &mut Stored,
        layout: &Layout,
        as_of: i64,
        out: &Path,
    ) -> Result<Option<Placements>, LogError> {
        let begin = || {
            let rows = Some(self.source.slot.rows);
            self.progress.begin("order placements", rows, "rows");
        };
        if !self.at_once() {
            begin();
            let files = self.keep(seen, stored, layout, as_of, false)?;
            return Ok(files.map(Placements::Kept));
        }
        let mut history = self.history_at_once(seen, layout)?;
        begin();
        seen.forget();
        let beside = self.beside(layout, as_of, false, &mut seen.categories)?;
        let see = |rows: &Rows, first| self.see(seen, rows, first);
        let (ours, place) = ((layout, &mut history), (as_of, out));
        let written = self.write_unlabelled(stored, beside, ours, place, see)?;
        self.progress.end();
        if written.is_none() {
            remove(out)?;
        }
        Ok(written.map(|written| Placements::Written(Box::new(written))))
    }

    /// Prepares the history columns before any placement was seen: they look at events alone.
    fn history_at_once(&self, seen: &Seen, layout: &Layout) -> Result<History, LogError> {
        let wishes = Wish::of(self.attribution.subjects(), &layout.history);
        let matcher = &seen.matcher;
        let deals = if wishes.is_empty() {
            Vec::new()
        } else {
            Deal::undecided(matcher.events())
        };
        let marks = |pass| self.marks(&deals, Some(matcher), &seen.categories, &wishes, pass);
        self.progress.begin("count history", None, "rows");
        let history = History::prepare(&wishes, 1, self.engine.work(), marks, |_| Ok(()));
        self.progress.end();
        history
    }

    /// The placements, put in order by whoever has to.
    pub(super) fn in_order(
        &self,
        seen: &mut Seen,
        checked: &CheckedLog,
        layout: &Layout,
        as_of: i64,
    ) -> Result<(Placements, Option<ClusterReport>), LogError> {
        let order = Order {
            engine: self.engine,
            cluster: self
                .cluster
                .map(|options| (options, options.shards_of(self.source.slot.rows))),
            // A watch sees rows once.
            twice: self.watch.is_none(),
            usable: self.usable(checked),
            read: self.usable(checked) + self.rows("page_impression"),
            progress: self.progress,
        };
        let extras: Vec<&Extra> = layout.slot_extras.iter().collect();
        let rows = plan::rows(as_of, &layout.shown, &extras);
        let (files, cluster) = order.bring(&rows, |batches| {
            self.keep(seen, batches, layout, as_of, true)
        })?;
        Ok((Placements::Kept(files), cluster))
    }

    /// Keeps rows on disk as they pass by, if they are in order; `pages` are laid beside them.
    fn keep(
        &self,
        seen: &mut Seen,
        batches: &mut dyn Ordered,
        layout: &Layout,
        as_of: i64,
        pages: bool,
    ) -> Result<Option<RowFiles>, LogError> {
        seen.forget();
        let beside = self.beside(layout, as_of, pages, &mut seen.categories)?;
        let see = |rows: &Rows, first| self.see(seen, rows, first);
        let files = RowFiles::write(batches, beside, self.engine.work(), see);
        self.progress.end();
        files
    }

    fn see(&self, seen: &mut Seen, rows: &Rows, first: u64) {
        seen.matcher.add(rows, first);
        seen.lists.add(rows, 0, self.passes);
        seen.mature += rows.ts.partition_point(|&ts| ts <= seen.until) as u64;
        if let Some(watch) = self.watch {
            watch.see(rows, first);
        }
        self.progress.advance(rows.len() as u64);
    }

    /// What is known of items and, unless placements bring that along, of `pages`, as far as this job
    /// needs it.
    fn beside(
        &self,
        layout: &Layout,
        as_of: i64,
        pages: bool,
        categories: &mut Texts,
    ) -> Result<Beside<'_>, LogError> {
        let whole = self.columns.is_some();
        let extras: [&[Extra]; 2] = [&layout.item_extras, &layout.seed_extras];
        let items = (whole || self.attribution.halo)
            .then(|| Items::read(self.engine, &layout.shown, extras, categories));
        let pages = (whole && pages).then(|| Pages::read(self.engine, as_of, &layout.shown));
        Ok(Beside::new(items.transpose()?, pages.transpose()?))
    }
}

/// Removes examples that are void.
fn remove(out: &Path) -> Result<(), LogError> {
    fs::remove_file(out).map_err(|source| LogError::Io {
        action: "remove",
        path: out.to_owned(),
        source,
    })
}
