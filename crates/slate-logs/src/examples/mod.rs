//! From a log to examples: one row for each usable placement, with what was known when it was shown
//! and what became of it.
//!
//! Placements come in one total order, `(page ts, page_id, list_id, slot, impression_id)`: read as they are
//! stored, put in order in memory, sorted by the engine or by a cluster. From there the rows stream by:
//! past the events that look for them, past the counters of history, into the file. What is held are
//! events, keys and their counts, divided into as many passes as memory asks for.

mod outputs;
mod placements;

use std::collections::HashSet;
use std::path::Path;

use slate_types::Progress;

use self::placements::{Placements, Seen, Slots};
use crate::attribution::{Deal, Event, Events, Fates, Label, Matcher, Placement, Rules, Wanted};
use crate::check::{self, CheckedLog};
use crate::engine::Engine;
use crate::history::{History, Mark, Subject, Texts, Wish};
use crate::layout::Layout;
use crate::lists::ListPages;
use crate::pairs::Sessions;
use crate::passes::Memory;
use crate::row_files::RowFiles;
use crate::source::{LogSource, TableSource};
use crate::tables::Extras;
use crate::trace::Watch;
use crate::{
    Attribution, ClusterOptions, ClusterReport, EngineOptions, ExampleColumns, ExampleFiles,
    ExamplesSummary, JoinReport, LogError, date, plan,
};

/// Version of the layout of `examples.parquet`, in its footer as `slate.format`.
pub const EXAMPLES_FORMAT: u32 = 1;

/// Checks a log, credits its events to placements, counts what was known before each page, and writes
/// the examples with these columns. The output is the same bytes at any number of threads or passes.
///
/// Blocks, and starts threads of its own: not to be called from asynchronous code.
///
/// # Errors
/// [`LogError`]: a wrong unit of time, too many unusable rows, no usable row, lists that span pages,
/// damaged files, too little memory, and failures of the engine or the disk.
pub fn examples(
    source: &LogSource,
    attribution: &Attribution,
    engine: &EngineOptions,
    columns: &ExampleColumns,
    out: ExampleFiles,
    progress: &dyn Progress,
) -> Result<ExamplesSummary, LogError> {
    watched(
        source,
        attribution,
        engine,
        out,
        Some(columns),
        None,
        progress,
    )
}

/// The same, but writes ids and labels alone: no features, no history, no sequences.
///
/// # Errors
/// As [`examples`].
pub fn labels(
    source: &LogSource,
    attribution: &Attribution,
    engine: &EngineOptions,
    out: ExampleFiles,
    progress: &dyn Progress,
) -> Result<ExamplesSummary, LogError> {
    watched(source, attribution, engine, out, None, None, progress)
}

/// Runs the job with an eye on one page; with features and history where `columns` says which.
pub(crate) fn watched(
    source: &LogSource,
    attribution: &Attribution,
    options: &EngineOptions,
    out: ExampleFiles,
    columns: Option<&ExampleColumns>,
    watch: Option<&Watch>,
    progress: &dyn Progress,
) -> Result<ExamplesSummary, LogError> {
    let labels_alone;
    let attribution = if columns.is_some() {
        attribution
    } else {
        labels_alone = attribution.without_history();
        &labels_alone
    };
    // Also so that what is removed after a failure is ours.
    for file in [out.examples, out.rejects, out.sequences] {
        if file.exists() {
            return Err(LogError::Io {
                action: "create",
                path: file.to_owned(),
                source: std::io::ErrorKind::AlreadyExists.into(),
            });
        }
    }
    let mut work = out.examples.as_os_str().to_owned();
    work.push(".work");
    let memory = Memory::plan(source, attribution, options)?;
    if let Some(cluster) = &options.cluster {
        cluster.check()?;
    }
    let engine = Engine::start(options.threads, memory.pool, work.into())?;
    let job = Job {
        engine: &engine,
        cluster: options.cluster.as_ref(),
        passes: memory.passes,
        bounded: memory.limit.is_some(),
        source,
        attribution,
        columns,
        watch,
        progress,
    };
    let done = job.run(out).map_err(|error| match error {
        // The engine does not say which file it could not decode.
        LogError::Engine { .. } => {
            let changed = source.changed_file();
            changed.or_else(|| source.damaged_file()).unwrap_or(error)
        }
        // Nor does a cluster that reads another log than was counted, and what is there instead of a file
        // looks damaged.
        LogError::Io { .. } | LogError::Shard { .. } | LogError::Damaged { .. } => {
            source.changed_file().unwrap_or(error)
        }
        other => other,
    })?;
    match source.changed_file() {
        None => Ok(done),
        Some(changed) => {
            out.remove();
            Err(changed)
        }
    }
}

struct Job<'a> {
    engine: &'a Engine,
    /// What puts placements in order, if not the engine.
    cluster: Option<&'a ClusterOptions>,
    /// Shares into which events and keys are divided.
    passes: u32,
    /// Memory is limited.
    bounded: bool,
    source: &'a LogSource,
    attribution: &'a Attribution,
    /// Of features and history; none for labels alone.
    columns: Option<&'a ExampleColumns>,
    /// The page somebody asked about.
    watch: Option<&'a Watch>,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self, out: ExampleFiles) -> Result<ExamplesSummary, LogError> {
        let advance = |rows| self.progress.advance(rows);
        // A sound log need not be read once more to know it. But a watch sees rows once, a cluster is
        // asked for rows that are known to be sound, and a text with unreadable lines is not sound.
        let as_stored =
            self.watch.is_none() && self.cluster.is_none() && self.source.slot.unread.is_none();
        let extras = Extras::of(self.source);
        let layout = match self.columns {
            Some(columns) => Layout::new(&extras, self.attribution, columns),
            None => Layout::labels(),
        };
        let (mut checked, slots) = self.stage("check the log", self.check_reads(), || {
            let (engine, source, rules) = (self.engine, self.source, self.attribution);
            let pages = check::check_pages(engine, source, rules, &advance)?;
            // Placements are read while all that follows goes on, if they may be held meanwhile.
            let slots = match (as_stored, self.bounded) {
                (false, _) => Ok(Slots::Checked),
                (true, true) => Ok(Slots::Unread),
                (true, false) => self.read_slots(&layout),
            };
            // What is wrong with the other tables is told first.
            let checked = pages.check_rest(engine, source, rules, extras, &advance)?;
            Ok((checked, slots?))
        })?;
        if !as_stored {
            self.check_slots(&mut checked)?;
        }
        let as_of = self.attribution.label_as_of.unwrap_or(checked.last_ts);
        if let Some(watch) = self.watch {
            self.stage("look up the page", None, || {
                watch.begin(self.engine, self.source, &checked, as_of)
            })?;
        }
        let written = self
            .attribute(&mut checked, &layout, as_of, slots, out.examples)
            .and_then(|attributed| {
                if !checked.reject_queries().is_empty() {
                    self.write_rejects(&checked, out.rejects)?;
                }
                self.write_sequences(&attributed, out.sequences)?;
                self.write_examples(&checked, as_of, attributed, layout, out.examples)
            });
        if written.is_err() {
            out.remove();
        }
        written
    }

    fn stage<T>(
        &self,
        name: &str,
        total: impl Into<Option<u64>>,
        work: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.progress.begin(name, total.into(), "rows");
        let result = work();
        self.progress.end();
        result
    }

    fn check_slots(&self, checked: &mut CheckedLog) -> Result<(), LogError> {
        let total = 2 * self.source.slot.rows + 2 * self.rows("page_impression");
        let advance = |rows| self.progress.advance(rows);
        self.stage("check the placements", total, || {
            checked.check_slots(self.engine, self.source, self.attribution, &advance)
        })
    }

    /// Writes what was shown in the order of the output, and gives every event its end.
    fn attribute(
        &self,
        checked: &mut CheckedLog,
        layout: &Layout,
        as_of: i64,
        slots: Slots,
        out: &Path,
    ) -> Result<Attributed, LogError> {
        let mut categories = Texts::default();
        let rules = Rules::new(
            &self.attribution.rules,
            self.attribution.view_through,
            self.attribution.join_on,
        );
        let mut fates = Fates::new(rules);
        let advance = |rows| self.progress.advance(rows);
        let (events, items) = (self.rows("event"), self.rows("item"));
        let wanted = self.columns.is_some() || self.attribution.halo;
        let sql = plan::events(self.attribution, checked.repeated_events, wanted);
        let unchecked = !matches!(slots, Slots::Checked);
        if unchecked && self.at_once() && self.attribution.pairs.is_none() {
            self.engine.view("events", &sql)?;
        } else {
            // They are read several times. Where ids repeat, both kinds of events are read apart.
            let readings = 1 + u64::from(checked.repeated_events);
            self.stage("read events", readings * (events + items), || {
                self.engine
                    .materialise("read events", "events", &sql, &advance)
            })?;
        }
        let matcher = self.stage("load events", events, || {
            let (fates, categories) = (&mut fates, &mut categories);
            let passes = (0, self.passes);
            let most = checked.events;
            Matcher::load(self.engine, passes, most, fates, categories, &advance)
        })?;
        let mut seen = Seen {
            matcher,
            lists: ListPages::default(),
            categories,
            until: as_of.saturating_sub(self.attribution.longest_window()),
            mature: 0,
        };
        let stored = self.as_stored(&mut seen, slots, layout, as_of, out)?;
        let (placements, cluster) = if let Some(placements) = stored {
            (placements, None)
        } else {
            if unchecked {
                self.check_slots(checked)?;
            }
            self.in_order(&mut seen, checked, layout, as_of)?
        };
        let Seen {
            mut matcher,
            lists,
            mut categories,
            mature,
            ..
        } = seen;
        if placements.len() == 0 {
            return Err(LogError::NothingLeft {
                dir: self.source.dir.clone(),
                reason: format!("every page is after {}", date::format(as_of)),
            });
        }
        lists.check()?;
        let asked_about = match self.watch {
            Some(watch) => watch.concerned(self.engine, self.attribution)?,
            None => HashSet::new(),
        };
        let asked = |event: &Event| asked_about.contains(&event.id);
        let held = matcher.events().count() as u64;
        self.stage("match events", held, || {
            matcher.decide(&mut fates, &asked, &advance);
            Ok(())
        })?;

        let again = u64::from(self.passes - 1);
        let halo = u64::from(self.attribution.halo);
        let total = again * (placements.len() + events) + placements.len() * halo;
        self.progress.begin("attribute events", Some(total), "rows");
        for pass in 1..self.passes {
            matcher = Matcher::load(
                self.engine,
                (pass, self.passes),
                checked.events,
                &mut fates,
                &mut categories,
                &advance,
            )?;
            let mut lists = ListPages::default();
            placements.read(|rows, first| {
                matcher.add(rows, first);
                lists.add(rows, pass, self.passes);
                self.progress.advance(rows.len() as u64);
                Ok(())
            })?;
            lists.check()?;
            matcher.decide(&mut fates, &asked, &|_| {});
        }
        if self.attribution.halo {
            let wanted = Wanted::by_seller(&fates.unresolved());
            let mut found = Vec::new();
            placements.read(|rows, first| {
                found.extend(
                    wanted
                        .among(rows)
                        .into_iter()
                        .map(|at| Placement::of(rows, at, first)),
                );
                self.progress.advance(rows.len() as u64);
                Ok(())
            })?;
            fates.halo(&mut found);
        }
        fates.settle(&asked);
        self.progress.end();
        if let Some(watch) = self.watch {
            watch.explain(self.engine, self.attribution, &fates)?;
        }
        let (labels, join) = fates.finish();
        join.check(checked.events)?;
        Ok(Attributed {
            placements,
            labels,
            mature,
            join,
            deals: fates.deals,
            categories,
            cluster,
        })
    }

    /// Prepares the history columns of placements that are kept.
    fn history(
        &self,
        files: &RowFiles,
        attributed: &Attributed,
        layout: &Layout,
    ) -> Result<History, LogError> {
        let wishes = Wish::of(self.attribution.subjects(), &layout.history);
        // In one pass, history is counted while the examples are written.
        let counted_before = self.passes > 1 && !wishes.is_empty();
        let rows = files.len * u64::from(counted_before);
        let mut events = attributed.join.line("click").input;
        if self.attribution.pairs.is_some() {
            let total = attributed.join.total();
            events += total.input - attributed.join.line("cancel").input;
        }
        let total = u64::from(self.passes) * (rows + events);
        self.progress.begin("count history", Some(total), "rows");
        let Attributed {
            deals, categories, ..
        } = attributed;
        let history = History::prepare(
            &wishes,
            self.passes,
            self.engine.work(),
            |pass| self.marks(deals, None, categories, &wishes, pass),
            |each| {
                files.read(|rows, _| {
                    self.progress.advance(rows.len() as u64);
                    each(rows)
                })
            },
        );
        self.progress.end();
        history
    }

    /// What happened to the keys of one pass, by wish. Clicks are among the events that are `held`, or
    /// are read anew.
    fn marks(
        &self,
        deals: &[Deal],
        held: Option<&Matcher>,
        categories: &Texts,
        wishes: &[Wish],
        pass: u32,
    ) -> Result<Vec<Vec<Mark>>, LogError> {
        let mut marks: Vec<Vec<Mark>> = wishes.iter().map(|_| Vec::new()).collect();
        let mut add = |event: &Event, count: u8, undone: Option<i64>| {
            for (wish, marks) in wishes.iter().zip(&mut marks) {
                if let Some(key) = wish.subject.of_event(event)
                    && key.pass(self.passes) == pass
                {
                    let ts = event.ts;
                    marks.push(Mark {
                        ts,
                        key,
                        count,
                        undone,
                    });
                }
            }
        };
        if let Some(matcher) = held {
            let clicks = matcher.events().filter(|event| event.is("click"));
            clicks.for_each(|event| add(event, 1, None));
        } else {
            let clicks = "SELECT * FROM events WHERE type = 'click'";
            self.each_event(clicks, categories, |event| add(event, 1, None))?;
        }
        for deal in deals.iter().filter(|deal| deal.event.is("purchase")) {
            add(&deal.event, 2, deal.undone);
        }
        let pairs = wishes.iter().position(|wish| wish.subject == Subject::Pair);
        if let (Some(at), Some(options)) = (pairs, self.attribution.pairs) {
            let mut sessions = Sessions::new(options, deals);
            let marks = &mut marks[at];
            self.each_event(plan::events_by_person(), categories, |event| {
                sessions.add(event, |mark| {
                    if mark.key.pass(self.passes) == pass {
                        marks.push(mark);
                    }
                });
            })?;
        }
        Ok(marks)
    }

    /// Shows every event of a query that had arrived and repeats no other.
    fn each_event(
        &self,
        sql: &str,
        categories: &Texts,
        mut each: impl FnMut(&Event),
    ) -> Result<(), LogError> {
        let mut batches = self.engine.stream("read events", sql)?;
        while let Some(batch) = batches.next()? {
            let events = Events::of(&batch, &mut |text| categories.get(text));
            for at in 0..events.len() {
                if events.seen(at) && !events.repeats(at) {
                    each(&events.event(at));
                }
            }
            self.progress.advance(events.len() as u64);
        }
        Ok(())
    }

    /// Rows of a table, as its files say.
    fn rows(&self, table: &str) -> u64 {
        let tables = self.source.rows();
        let found = tables.iter().find(|(name, _)| *name == table);
        found.map_or(0, |(_, rows)| *rows)
    }

    /// Rows that checking the log reads, at most: tables with a key twice. Placements come later.
    fn check_reads(&self) -> u64 {
        let once = |source: &TableSource| source.rows * (1 + u64::from(source.table.key.is_some()));
        let tables = self.source.tables();
        tables
            .filter(|source| source.table.name != self.source.slot.table.name)
            .map(once)
            .sum()
    }

    fn usable(&self, checked: &CheckedLog) -> u64 {
        let rejected: u64 = checked
            .rejects()
            .iter()
            .filter(|reject| reject.table == self.source.slot.table.name)
            .map(|reject| reject.rows)
            .sum();
        self.source.slot.rows - rejected
    }
}

/// What the passes over the placements found.
struct Attributed {
    placements: Placements,
    labels: Vec<Label>,
    /// Rows whose labels cannot change any more: the first ones.
    mature: u64,
    join: JoinReport,
    deals: Vec<Deal>,
    categories: Texts,
    cluster: Option<ClusterReport>,
}
