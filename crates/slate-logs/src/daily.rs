//! What a log holds of each day: pages, placements and events by type.
//!
//! In: a log, a span of days. Out: one [`Day`] for each day of it, in order, with zeros where the log
//! has nothing, so that a day without a row is seen. Rows are counted as they are, bad ones and
//! repeats included; those without a time, page or type belong to no day.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use crate::date::DAY;
use crate::engine::Engine;
use crate::faults::{EARLIEST, LATEST};
use crate::options::refuse;
use crate::source::{LogSource, TableSource};
use crate::validate::work_folder;
use crate::{EngineOptions, LogError, tables};

/// Bytes of pages held at once where the options have no limit.
const MEMORY: u64 = 256 << 20;
/// Least that is worth a pass over the log.
const LEAST_MEMORY: u64 = 1 << 20;
/// A page and its day, in a list that grows by doubling.
const PAGE: u64 = 32;
const STAGE: &str = "count the days of the log";

/// Rows of one day, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Day {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Pages shown on it.
    pub pages: u64,
    /// Placements on these pages; of rows with one `page_id` the earliest says their day.
    pub slots: u64,
    /// Events that happened on it, by their own time and type; types without one are not there.
    pub events: BTreeMap<String, u64>,
}

/// Counts the rows of each day from `from` on and before `to`, both in days since 1970-01-01 (UTC).
///
/// Only times, ids and types are read. Memory does not grow with the log: of the pages of these days as
/// many are held as fit in `options.memory` (256 MiB where left out, 1 MiB at least), and there are as
/// many passes over pages and placements as that takes. `options.passes` and `options.cluster` mean
/// nothing here.
///
/// # Errors
/// [`LogError::Option`] for days outside the years 2000 to 2100 and for a `to` before `from`;
/// [`LogError::Damaged`] and [`LogError::Changed`] name the file that cannot be read; otherwise what
/// keeps the engine from running.
pub fn daily(
    source: &LogSource,
    from: i64,
    to: i64,
    options: &EngineOptions,
) -> Result<Vec<Day>, LogError> {
    let (first, last) = (EARLIEST / DAY, LATEST / DAY);
    for (key, day) in [("from", from), ("to", to)] {
        if !(first..=last).contains(&day) {
            let expected = "days since 1970-01-01 within the years 2000 to 2100";
            return Err(refuse(key, day, expected));
        }
    }
    if to < from {
        return Err(refuse("to", to, "no day before `from`"));
    }
    let days = (from..to).map(|day| Day {
        day,
        ..Day::default()
    });
    let mut days: Vec<Day> = days.collect();
    let memory = options.memory.unwrap_or(MEMORY).max(LEAST_MEMORY);
    let passes = (source.page.rows * PAGE).div_ceil(memory).max(1);
    // The engine itself only streams, and groups by day and type: it needs no pool.
    let engine = Engine::start(options.threads, None, work_folder())?;
    let span = Span { from, to };
    let counted = span
        .pages(&engine, source, passes, &mut days)
        .and_then(|()| span.events(&engine, source, &mut days));
    match counted {
        Ok(()) => source.changed_file().map_or(Ok(days), Err),
        Err(error) => {
            // The engine does not say which file it could not decode.
            let file = source.changed_file().or_else(|| source.damaged_file());
            Err(file.unwrap_or(error))
        }
    }
}

/// The days that are counted, `to` excluded.
#[derive(Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    /// Counts pages and placements.
    fn pages(
        self,
        engine: &Engine,
        source: &LogSource,
        passes: u64,
        days: &mut [Day],
    ) -> Result<(), LogError> {
        view(engine, "page", &source.page)?;
        view(engine, "slot", &source.slot)?;
        let (day, within) = self.sql();
        for pass in 0..passes {
            // By a prime first: ids may be multiples of something.
            let part = format!("abs(page_id % 1000003) % {passes} = {pass}");
            let sql = format!("SELECT page_id, {day} FROM page WHERE {within} AND {part}");
            let mut shown: Vec<(i64, u32)> = Vec::new();
            let mut stream = engine.stream(STAGE, &sql)?;
            while let Some(batch) = stream.next()? {
                let [ids, times] = [0, 1].map(|at| batch.column(at).as_primitive::<Int64Type>());
                for (&id, &day) in ids.values().iter().zip(times.values()) {
                    let at = (day - self.from) as usize;
                    days[at].pages += 1;
                    shown.push((id, at as u32));
                }
            }
            shown.sort_unstable();
            shown.dedup_by_key(|(id, _)| *id);
            let sql = format!("SELECT page_id FROM slot WHERE {part}");
            let mut stream = engine.stream(STAGE, &sql)?;
            while let Some(batch) = stream.next()? {
                for id in batch.column(0).as_primitive::<Int64Type>().values() {
                    if let Ok(place) = shown.binary_search_by_key(id, |(id, _)| *id) {
                        days[shown[place].1 as usize].slots += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts events by type.
    fn events(self, engine: &Engine, source: &LogSource, days: &mut [Day]) -> Result<(), LogError> {
        let Some(event) = &source.event else {
            return Ok(());
        };
        view(engine, "event", event)?;
        let (day, within) = self.sql();
        let sql = format!(
            "SELECT {day}, \"type\", count(*) FROM event \
             WHERE {within} AND \"type\" IS NOT NULL GROUP BY {day}, \"type\""
        );
        for batch in engine.collect(STAGE, &sql)? {
            let [day, rows] = [0, 2].map(|at| batch.column(at).as_primitive::<Int64Type>());
            let types = batch.column(1).as_string::<i32>();
            for row in 0..batch.num_rows() {
                let events = &mut days[(day.value(row) - self.from) as usize].events;
                events.insert(types.value(row).to_owned(), rows.value(row) as u64);
            }
        }
        Ok(())
    }

    /// The day of a row, and whether it is one of these days. No time before 1970 is, so that division
    /// rounds down.
    fn sql(self) -> (String, String) {
        let (from, to) = (self.from * DAY, self.to * DAY);
        (format!("ts / {DAY}"), format!("ts >= {from} AND ts < {to}"))
    }
}

/// A table of the log in canonical form, by the name `name`.
fn view(engine: &Engine, name: &str, source: &TableSource) -> Result<(), LogError> {
    let raw = format!("{name}_raw");
    engine.register(&raw, &source.files, &source.schema)?;
    let list = tables::canonical(source.table, Some(source), &[]);
    engine.view(name, &format!("SELECT {list} FROM {raw}"))
}
