//! Sets unusable rows of a log aside and says why, table by table.
//!
//! A row is unusable when a required value is null, a value is outside what its column allows, its
//! page is unknown, or its id was seen already (the first row by the order of all its columns is
//! kept). If every time of a table is far off, that is no bad row but a wrong unit, and an error.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use slate_types::log::{ColumnKind, EVENT, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION, Table};

use crate::codes::{CodeCount, Codes, Keys, Reading};
use crate::engine::Engine;
use crate::faults::{EARLIEST, Fault, LATEST};
use crate::rejects::{self, RejectCount};
use crate::source::{LogSource, TableSource};
use crate::tables::{self, Check, Extra, Extras};
use crate::{Attribution, LogError};

const STAGE: &str = "check the rows of the log";

/// A log whose good rows are known to the engine as `page_kept`, `event_good` (with duplicates),
/// `item_kept` and, once they are checked, `slot_kept`.
pub(crate) struct CheckedLog {
    page: TableCheck,
    /// None while they have not been looked at.
    slot: Option<TableCheck>,
    event: TableCheck,
    item: TableCheck,
    pub(crate) extras: Extras,
    /// Good events, duplicates included.
    pub(crate) events: u64,
    /// Whether some good events have one id.
    pub(crate) repeated_events: bool,
    /// Largest time of a good page or event.
    pub(crate) last_ts: i64,
}

impl CheckedLog {
    /// Rows set aside, table by table.
    pub(crate) fn rejects(&self) -> Vec<RejectCount> {
        let rejects = self.tables().flat_map(|table| &table.rejects);
        rejects.cloned().collect()
    }

    /// Queries for the rows set aside, one for each table that has some.
    pub(crate) fn reject_queries(&self) -> Vec<String> {
        let queries = self.tables().flat_map(|table| &table.reject_queries);
        queries.cloned().collect()
    }

    fn tables(&self) -> impl Iterator<Item = &TableCheck> {
        let slot = self.slot.as_ref();
        [Some(&self.page), slot, Some(&self.event), Some(&self.item)]
            .into_iter()
            .flatten()
    }

    /// Checks the placements, too. Pages are read once more with them.
    pub(crate) fn check_slots(
        &mut self,
        engine: &Engine,
        source: &LogSource,
        attribution: &Attribution,
        told: &dyn Fn(u64),
    ) -> Result<(), LogError> {
        let slot = check_table(
            engine,
            &SLOT_IMPRESSION,
            "slot",
            Some(&source.slot),
            &self.extras.slot,
            told,
        )?;
        slot.limit(&source.slot, attribution.max_reject_share)?;
        if slot.good == 0 {
            return Err(nothing_left(
                source,
                "every placement was set aside as unusable",
            ));
        }
        self.slot = Some(slot);
        Ok(())
    }
}

fn nothing_left(source: &LogSource, reason: &str) -> LogError {
    LogError::NothingLeft {
        dir: source.dir.clone(),
        reason: reason.to_owned(),
    }
}

/// What checking one table found.
pub(crate) struct TableCheck {
    pub(crate) rejects: Vec<RejectCount>,
    reject_queries: Vec<String>,
    good: u64,
    last_ts: Option<i64>,
    /// Keys that several good rows have, in `{short}_repeats` if there are any.
    repeats: u64,
}

/// A log whose good pages are known to the engine as `page_kept`.
pub(crate) struct CheckedPages {
    page: TableCheck,
    /// Largest time of a good page.
    last_ts: i64,
}

/// Checks the pages. `told` hears how many rows are read on the way; a table is read twice where keys
/// repeat.
pub(crate) fn check_pages(
    engine: &Engine,
    source: &LogSource,
    attribution: &Attribution,
    told: &dyn Fn(u64),
) -> Result<CheckedPages, LogError> {
    let from = Some(&source.page);
    let page = check_table(engine, &PAGE_IMPRESSION, "page", from, &[], told)?;
    page.limit(&source.page, attribution.max_reject_share)?;
    let last_ts = page
        .last_ts
        .ok_or_else(|| nothing_left(source, "every page was set aside as unusable"))?;
    Ok(CheckedPages { page, last_ts })
}

impl CheckedPages {
    /// Checks all other tables but the placements.
    pub(crate) fn check_rest(
        self,
        engine: &Engine,
        source: &LogSource,
        attribution: &Attribution,
        extras: Extras,
        told: &dyn Fn(u64),
    ) -> Result<CheckedLog, LogError> {
        let check = |table, short, from: Option<&TableSource>, extras: &[Extra]| {
            let checked = check_table(engine, table, short, from, extras, told)?;
            if let Some(from) = from {
                checked.limit(from, attribution.max_reject_share)?;
            }
            Ok(checked)
        };
        let event = check(&EVENT, "event", source.event.as_ref(), &[])?;
        let item = check(&ITEM, "item", source.item.as_ref(), &extras.item)?;
        let Self { page, last_ts } = self;
        Ok(CheckedLog {
            extras,
            events: event.good,
            repeated_events: event.repeats > 0,
            last_ts: event.last_ts.map_or(last_ts, |last| last.max(last_ts)),
            page,
            slot: None,
            event,
            item,
        })
    }
}

/// Makes pages and placements known without looking at their rows; returns the extra columns of
/// placements.
pub(crate) fn define_unchecked(
    engine: &Engine,
    source: &LogSource,
) -> Result<Vec<Extra>, LogError> {
    let slot = tables::extras(&source.slot).0;
    let both: [(&'static Table, &str, &TableSource, &[Extra]); 2] = [
        (&PAGE_IMPRESSION, "page", &source.page, &[]),
        (&SLOT_IMPRESSION, "slot", &source.slot, &slot),
    ];
    for (table, short, source, extras) in both {
        define_rows(engine, table, short, Some(source), extras)?;
        let rows = format!("SELECT * FROM {short}_all");
        engine.view(&format!("{short}_kept"), &rows)?;
    }
    Ok(slot)
}

impl TableCheck {
    /// Refuses a table of which more rows than allowed were set aside.
    fn limit(&self, source: &TableSource, limit: f64) -> Result<(), LogError> {
        let rejected: u64 = self.rejects.iter().map(|reject| reject.rows).sum();
        if rejected as f64 <= limit * source.rows as f64 {
            return Ok(());
        }
        let mut commonest = &self.rejects[0];
        for reject in &self.rejects {
            if reject.rows > commonest.rows {
                commonest = reject;
            }
        }
        Err(LogError::TooManyRejects {
            file: source.path.clone(),
            rejected,
            rows: source.rows,
            limit,
            column: commonest.column.clone(),
            reason: commonest.reason.clone(),
            commonest_rows: commonest.rows,
        })
    }
}

/// Checks one table and makes its good rows known as `{short}_good` and, without repeated keys,
/// `{short}_kept`. Slots need `page_kept`.
pub(crate) fn check_table(
    engine: &Engine,
    table: &'static Table,
    short: &str,
    source: Option<&TableSource>,
    extras: &[Extra],
    told: &dyn Fn(u64),
) -> Result<TableCheck, LogError> {
    let mut checks = tables::checks(table, extras);
    define_rows(engine, table, short, source, extras)?;
    if table.name == SLOT_IMPRESSION.name {
        checks.push(Check {
            column: "page_id".to_owned(),
            value: "page_id".to_owned(),
            tested: "page_ts".to_owned(),
            fault: Fault::Null,
            reason: "is not among the usable rows of page_impression".to_owned(),
        });
    }
    let code = tables::code(&checks);
    engine.view(
        &format!("{short}_coded"),
        &format!("SELECT *, {code} AS bad FROM {short}_all"),
    )?;
    let mut found = TableCheck {
        rejects: Vec::new(),
        reject_queries: Vec::new(),
        good: 0,
        last_ts: None,
        repeats: 0,
    };
    let Some(source) = source else {
        // A table that is absent has no rows, good or bad.
        for state in ["good", "kept"] {
            engine.view(
                &format!("{short}_{state}"),
                &format!("SELECT * FROM {short}_all"),
            )?;
        }
        return Ok(found);
    };
    let times: Vec<&'static str> = table
        .columns
        .iter()
        .filter(|column| column.kind == ColumnKind::Timestamp)
        .map(|column| column.name)
        .collect();
    let key = table.key.unwrap_or("event_id");
    let reading = Reading {
        stage: STAGE,
        short,
        key,
        times: &times,
        checks: &checks,
        told,
    };
    let Codes { counts, repeats } = Codes::read(engine, &reading)?;
    check_units(source, &times, &counts)?;
    if let Some(good) = counts.get(&0) {
        found.good = good.rows;
        if table.column("ts").is_some() {
            found.last_ts = good.ranges[0].map(|(_, last)| last);
        }
    }
    let bad: Vec<(usize, u64)> = counts
        .iter()
        .filter(|(code, _)| **code > 0)
        .map(|(&code, count)| (code as usize - 1, count.rows))
        .collect();
    // Where every row is good, later queries need not read every column to know it.
    let good = if bad.is_empty() {
        format!("SELECT * FROM {short}_all")
    } else {
        format!("SELECT * FROM {short}_coded WHERE bad = 0")
    };
    engine.view(&format!("{short}_good"), &good)?;
    for &(check, rows) in &bad {
        found.rejects.push(RejectCount {
            table: table.name.to_owned(),
            column: checks[check].column.clone(),
            reason: checks[check].reason.clone(),
            rows,
        });
    }
    if !bad.is_empty() {
        let bad: Vec<_> = bad
            .iter()
            .map(|&(check, _)| (check, &checks[check]))
            .collect();
        found
            .reject_queries
            .push(reject_query(table, short, key, &bad));
    }
    found.repeats = define_repeats(engine, short, key, repeats, told)?;
    // What a repeated event means is for attribution to say.
    if let Some(unread) = &source.unread {
        let name = format!("{short}_unread");
        let schema = rejects::schema();
        engine.register(&name, std::slice::from_ref(&unread.file), &schema)?;
        found.rejects.extend(unread.counts.iter().cloned());
        found.reject_queries.push(format!("SELECT * FROM {name}"));
    }
    let repeated = if table.key.is_some() {
        keep_first(engine, table, short, key, found.repeats, extras, told)?
    } else {
        0
    };
    if repeated > 0 {
        let reason = "repeats the id of another row";
        found.rejects.push(RejectCount {
            table: table.name.to_owned(),
            column: key.to_owned(),
            reason: reason.to_owned(),
            rows: repeated,
        });
        found.reject_queries.push(format!(
            "SELECT '{}' AS \"table\", {key} AS key, '{key}' AS \"column\", \
             CAST({key} AS VARCHAR) AS value, '{reason}' AS reason FROM {short}_ranked \
             WHERE copy > 1",
            table.name
        ));
        found.good -= repeated;
    }
    Ok(found)
}

/// Defines `{short}_all`: every row in canonical form, slots with the columns of their page.
fn define_rows(
    engine: &Engine,
    table: &'static Table,
    short: &str,
    source: Option<&TableSource>,
    extras: &[Extra],
) -> Result<(), LogError> {
    let list = tables::canonical(table, source, extras);
    let from = match source {
        Some(source) => {
            let raw = format!("{short}_raw");
            engine.register(&raw, &source.files, &source.schema)?;
            raw
        }
        None => "(SELECT 1 AS none WHERE false)".to_owned(),
    };
    let rows = format!("SELECT {list} FROM {from}");
    if table.name != SLOT_IMPRESSION.name {
        return engine.view(&format!("{short}_all"), &rows);
    }
    let page: Vec<String> = tables::columns(&PAGE_IMPRESSION)
        .filter(|column| column.name != "page_id")
        .map(|column| format!("p.{0} AS page_{0}", column.name))
        .collect();
    engine.view(
        &format!("{short}_all"),
        &format!(
            "SELECT s.*, {} FROM page_kept p RIGHT JOIN ({rows}) s ON p.page_id = s.page_id",
            page.join(", ")
        ),
    )
}

/// Whether no two rows of a table have one key, as far as that can be held.
pub(crate) fn are_unique(engine: &Engine, source: &TableSource) -> Result<bool, LogError> {
    let key = source.table.key.expect("the table has a key");
    engine.register("keys_alone", &source.files, &source.schema)?;
    let sql = format!("SELECT CAST({key} AS BIGINT) FROM keys_alone");
    let mut keys = Keys::new(engine);
    let mut batches = engine.stream(STAGE, &sql)?;
    while let Some(batch) = batches.next()? {
        let values = batch.column(0).as_primitive::<Int64Type>().values();
        keys.add(values.iter().copied());
    }
    Ok(keys.repeated().is_some_and(|repeats| repeats.is_empty()))
}

/// Refuses a time column all of whose values are on one side of the possible years.
fn check_units(
    source: &TableSource,
    times: &[&'static str],
    counts: &BTreeMap<i64, CodeCount>,
) -> Result<(), LogError> {
    for (i, &column) in times.iter().enumerate() {
        let ranges: Vec<(i64, i64)> = counts
            .values()
            .filter_map(|count| count.ranges[i])
            .collect();
        let least = ranges.iter().map(|range| range.0).min();
        let most = ranges.iter().map(|range| range.1).max();
        let (Some(least), Some(most)) = (least, most) else {
            continue;
        };
        if most >= EARLIEST && least < LATEST {
            continue;
        }
        let fits = |scale: fn(i64) -> Option<i64>| {
            [least, most].into_iter().all(|value| {
                scale(value).is_some_and(|micros| (EARLIEST..LATEST).contains(&micros))
            })
        };
        let looks_like = if fits(|value| value.checked_mul(1_000_000)) {
            Some("seconds")
        } else if fits(|value| value.checked_mul(1000)) {
            Some("milliseconds")
        } else if fits(|value| Some(value / 1000)) {
            Some("nanoseconds")
        } else {
            None
        };
        return Err(LogError::Unit {
            file: source.path.clone(),
            column,
            example: least,
            looks_like,
        });
    }
    Ok(())
}

/// Defines `{short}_repeats` with the keys that several good rows have and how many these are, `n`;
/// returns how many keys. Without any the table may be missing.
fn define_repeats(
    engine: &Engine,
    short: &str,
    key: &str,
    known: Option<Vec<(i64, i64)>>,
    told: &dyn Fn(u64),
) -> Result<u64, LogError> {
    let name = format!("{short}_repeats");
    let Some(repeats) = known else {
        let sql = format!(
            "SELECT {key}, count(*) AS n FROM {short}_good GROUP BY {key} HAVING count(*) > 1"
        );
        return engine.materialise(STAGE, &name, &sql, told);
    };
    if repeats.is_empty() {
        return Ok(0);
    }
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field(key), field("n")]));
    let (keys, counts): (Vec<i64>, Vec<i64>) = repeats.into_iter().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys)),
        Arc::new(Int64Array::from(counts)),
    ];
    let rows = RecordBatch::try_new(schema.clone(), columns).expect("two columns of one length");
    let mut sink = engine.sink(&name, schema)?;
    sink.write(&rows)?;
    sink.finish(engine)
}

/// Defines `{short}_kept` with the first row of each key; returns how many rows that leaves out.
/// `{short}_ranked` holds the rows of repeated keys where there are any.
fn keep_first(
    engine: &Engine,
    table: &Table,
    short: &str,
    key: &str,
    keys: u64,
    extras: &[Extra],
    told: &dyn Fn(u64),
) -> Result<u64, LogError> {
    let repeats = format!("{short}_repeats");
    let kept = format!("{short}_kept");
    if keys == 0 {
        engine.view(&kept, &format!("SELECT * FROM {short}_good"))?;
        return Ok(0);
    }
    let own: Vec<String> = tables::columns(table)
        .map(|column| tables::quote(column.name))
        .chain(extras.iter().map(|extra| extra.alias.clone()))
        .collect();
    // Through a file: on one thread the planner drops absent columns, constant nulls to it, from the
    // sort below a join, and then refuses its own plan.
    let repeated = format!("{short}_repeated");
    engine.materialise(
        STAGE,
        &repeated,
        &format!("SELECT g.* FROM {repeats} r RIGHT SEMI JOIN {short}_good g ON r.{key} = g.{key}"),
        told,
    )?;
    // So is the window, which every query over the placements would compute again.
    engine.materialise(
        STAGE,
        &format!("{short}_ranked"),
        &format!(
            "SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {}) AS copy FROM {repeated}",
            own.join(", ")
        ),
        told,
    )?;
    let mut names = own;
    if table.name == SLOT_IMPRESSION.name {
        names.extend(
            tables::columns(&PAGE_IMPRESSION)
                .filter(|column| column.name != "page_id")
                .map(|column| format!("page_{}", column.name)),
        );
    }
    let names = names.join(", ");
    engine.view(
        &kept,
        &format!(
            "SELECT {names} FROM (SELECT g.* FROM {repeats} r RIGHT ANTI JOIN {short}_good g \
             ON r.{key} = g.{key}) UNION ALL SELECT {names} FROM {short}_ranked WHERE copy = 1"
        ),
    )?;
    let batches = engine.collect(
        STAGE,
        &format!("SELECT CAST(sum(n - 1) AS BIGINT) FROM {repeats}"),
    )?;
    Ok(batches.first().map_or(0, first_number))
}

fn first_number(batch: &RecordBatch) -> u64 {
    batch.column(0).as_primitive::<Int64Type>().value(0) as u64
}

/// The rows of a table that failed one of these checks, as rows of `rejects.parquet`.
fn reject_query(table: &Table, short: &str, key: &str, bad: &[(usize, &Check)]) -> String {
    let (mut column, mut value, mut reason) = (String::new(), String::new(), String::new());
    for (i, check) in bad {
        let code = i + 1;
        let _ = write!(column, " WHEN {code} THEN {}", text(&check.column));
        let _ = write!(value, " WHEN {code} THEN CAST({} AS VARCHAR)", check.value);
        let _ = write!(reason, " WHEN {code} THEN {}", text(&check.reason));
    }
    format!(
        "SELECT '{}' AS \"table\", {key} AS key, CASE bad{column} END AS \"column\", \
         CASE bad{value} END AS value, CASE bad{reason} END AS reason \
         FROM {short}_coded WHERE bad > 0",
        table.name
    )
}

/// A text literal.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
