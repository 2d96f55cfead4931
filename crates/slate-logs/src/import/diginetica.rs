//! Diginetica: what shop sessions looked at and bought.
//!
//! In: a folder with `*-item-views.csv`, `*-purchases.csv` and, if there is one,
//! `*-categories.csv`, separated by `;`. Out: one page for each session with views, with one
//! list of the distinct items in the order of their first view; each purchase line as an event
//! without an impression, so that attribution has to find it. Purchase lines of sessions without
//! views are kept; they are orphans.
//!
//! Times. A row has its day and the milliseconds since its session began, so a session that
//! goes on for days counts both: adding them up would count the days twice. The moment a session
//! began is not in the source but bounded: it lies from the latest `day − milliseconds` to the
//! earliest `day + 1 − milliseconds` of its rows. It is put at the first of these, so that every
//! row falls on its own day.
//!
//! The page's time is the session's first view. A purchase of an item that was viewed later in
//! the session would count as well, but in the published files no purchase line comes before the
//! first view of its item, so a page a session finds what a page a view would.
//!
//! Users. Most rows have none, and a visitor who logs in has one from then on. All rows of a
//! session get the one user that its views name; none if they name two. A purchase line whose
//! session names none keeps its own.
//!
//! Refused rows: a time in session outside 0 to a year, a malformed day or id, an item listed in
//! two categories.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use slate_types::Progress;

use super::canonical::{EventRow, Feature, ItemRow, PageRow, SlotRow};
use super::csv_file::CsvFile;
use super::log_writer::LogWriter;
use super::record::{Column, Record, Reject};
use super::table_writer::Cell;
use super::time::{DAY, SECOND, parse_date};
use super::{Format, ImportError, ImportSummary, sources};

const VIEW_COLUMNS: [&str; 5] = ["session_id", "user_id", "item_id", "timeframe", "eventdate"];
const PURCHASE_COLUMNS: [&str; 6] = [
    "sessionId",
    "userId",
    "timeframe",
    "eventdate",
    "ordernumber",
    "itemId",
];
const CATEGORY_COLUMNS: [&str; 2] = ["itemId", "categoryId"];
const YEAR_MS: i64 = 366 * 86_400_000;

/// A view, or a line of an order.
struct Row {
    session: i64,
    user: Option<i64>,
    item: i64,
    /// Microseconds since the session began.
    offset: i64,
    /// Midnight of the day it happened.
    day: i64,
    /// Order of a purchase line.
    order: Option<i64>,
}

/// When a session began, as its rows bound it.
#[derive(Debug, Clone, Copy)]
struct Began {
    earliest: i64,
    before: i64,
}

impl Began {
    fn of(row: &Row) -> Self {
        let earliest = row.day - row.offset;
        Self {
            earliest,
            before: earliest + DAY,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            earliest: self.earliest.max(other.earliest),
            before: self.before.min(other.before),
        }
    }
}

pub(super) fn import(
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    if src.is_file() {
        let expected = "views and purchases, expected the folder with both files".to_owned();
        return Err(ImportError::NoSource {
            path: src.to_owned(),
            expected,
        });
    }
    let views = sources::require(src, "-item-views.csv")?;
    let purchases = sources::require(src, "-purchases.csv")?;
    let categories = sources::find(src, "-categories.csv")?;

    let features = [Feature::number("first_view_s")];
    let mut log = LogWriter::new(Format::Diginetica, src, out, &features, &[]);
    log.note("a page is a session: its list holds the items viewed, in the order of first views");
    log.note("page time is the first view; purchases name no impression and need attribution");
    log.note("days are right, the time of day is not in the source: sessions begin near midnight");

    let mut views = read_rows(&views, &VIEW_COLUMNS, &mut log, progress)?;
    let purchases = read_rows(&purchases, &PURCHASE_COLUMNS, &mut log, progress)?;
    // Rows of one moment keep the order of the file.
    views.sort_by_key(|row| (row.session, row.offset));

    let mut began: BTreeMap<i64, Began> = BTreeMap::new();
    for row in views.iter().chain(&purchases) {
        let own = Began::of(row);
        began
            .entry(row.session)
            .and_modify(|known| *known = known.and(own))
            .or_insert(own);
    }
    let astray = began
        .values()
        .filter(|began| began.earliest >= began.before)
        .count();
    if astray > 0 {
        log.note(format!(
            "{astray} sessions have rows whose days and times do not agree"
        ));
    }

    let users = write_sessions(&views, &began, &mut log)?;
    let in_views: HashSet<i64> = views.iter().map(|row| row.session).collect();
    let orphans = purchases
        .iter()
        .filter(|row| !in_views.contains(&row.session))
        .count();
    log.note(format!(
        "{orphans} of {} purchase lines are of sessions without views",
        purchases.len()
    ));
    for row in &purchases {
        log.event(&EventRow {
            ts: began[&row.session].earliest + row.offset,
            what: "purchase",
            item_id: row.item,
            user_id: users.get(&row.session).copied().or(row.user),
            session_id: Some(row.session),
            order_id: row.order,
            ..EventRow::default()
        })?;
    }

    let mut written = HashSet::new();
    if let Some(path) = categories {
        read_categories(&path, &mut written, &mut log, progress)?;
    } else {
        log.note("there is no file of categories: items have none");
    }
    for row in views.iter().chain(&purchases) {
        if written.insert(row.item) {
            log.item(
                &ItemRow {
                    item_id: row.item,
                    category: None,
                },
                &[],
            )?;
        }
    }
    log.finish()
}

/// Writes a page and a list for each session of `views`, which are sorted by session and time.
/// Gives the user of each session that has one.
fn write_sessions(
    views: &[Row],
    began: &BTreeMap<i64, Began>,
    log: &mut LogWriter,
) -> Result<HashMap<i64, i64>, ImportError> {
    let mut users = HashMap::new();
    let mut impression_id = 0;
    let mut of_two = 0;
    for session in views.chunk_by(|a, b| a.session == b.session) {
        let Some(first) = session.first() else {
            continue;
        };
        let page_id = first.session;
        let mut named: Vec<i64> = session.iter().filter_map(|row| row.user).collect();
        named.sort_unstable();
        named.dedup();
        let user_id = if let [user] = named[..] {
            Some(user)
        } else {
            None
        };
        of_two += usize::from(named.len() > 1);
        users.extend(user_id.map(|user| (page_id, user)));
        log.page(&PageRow {
            page_id,
            ts: began[&page_id].earliest + first.offset,
            user_id,
            session_id: Some(page_id),
            ..PageRow::default()
        })?;
        let mut seen = HashSet::new();
        for row in session {
            if !seen.insert(row.item) {
                continue;
            }
            impression_id += 1;
            let slot = SlotRow {
                impression_id,
                page_id,
                list_id: page_id,
                slot: seen.len() as i64 - 1,
                item_id: row.item,
                ..SlotRow::default()
            };
            let after_s = (row.offset - first.offset) as f64 / SECOND as f64;
            log.slot(&slot, &[Cell::Float(after_s)])?;
        }
    }
    if of_two > 0 {
        log.note(format!(
            "{of_two} sessions name more than one user and are given none"
        ));
    }
    Ok(users)
}

/// Reads views or purchase lines; the two files spell their columns differently.
fn read_rows(
    path: &Path,
    expected: &[&'static str],
    log: &mut LogWriter,
    progress: &dyn Progress,
) -> Result<Vec<Row>, ImportError> {
    let file = CsvFile::open(path, b';', expected)?;
    let either = |snake: &'static str, camel: &'static str| {
        let names = if expected.contains(&snake) {
            [snake, camel]
        } else {
            [camel, snake]
        };
        file.column(&names)
    };
    let session = either("session_id", "sessionId")?;
    let user = either("user_id", "userId")?;
    let item = either("item_id", "itemId")?;
    let timeframe = file.column(&["timeframe"])?;
    let eventdate = file.column(&["eventdate"])?;
    let order = if expected.contains(&"ordernumber") {
        Some(file.column(&["ordernumber"])?)
    } else {
        None
    };
    let mut rows = Vec::new();
    file.for_each(log, progress, |row, _| {
        rows.push(Row {
            session: row.id(session)?,
            user: row.optional_id(user)?,
            item: row.id(item)?,
            offset: offset(row, timeframe)?,
            day: row.parse(
                eventdate,
                "a day from 2000 to 2099 as in 2016-05-09",
                parse_date,
            )?,
            order: order.map(|order| row.id(order)).transpose()?,
        });
        Ok(())
    })?;
    Ok(rows)
}

fn offset(row: &Record<'_>, column: Column) -> Result<i64, Reject> {
    let ms = row.parse(column, "milliseconds from 0 to a year", |text| {
        text.parse()
            .ok()
            .filter(|ms: &i64| (0..=YEAR_MS).contains(ms))
    })?;
    Ok(ms * 1000)
}

/// Writes an item for each line; `written` gets their ids.
fn read_categories(
    path: &Path,
    written: &mut HashSet<i64>,
    log: &mut LogWriter,
    progress: &dyn Progress,
) -> Result<(), ImportError> {
    let file = CsvFile::open(path, b';', &CATEGORY_COLUMNS)?;
    let item = file.column(&["itemId", "item_id"])?;
    let category = file.column(&["categoryId", "category_id"])?;
    file.for_each(log, progress, |row, log| {
        let item_id = row.id(item)?;
        let category = row.optional_text(category)?;
        if !written.insert(item_id) {
            return Err(row.reject(item, "expected each item once").into());
        }
        log.item(&ItemRow { item_id, category }, &[])?;
        Ok(())
    })
}
