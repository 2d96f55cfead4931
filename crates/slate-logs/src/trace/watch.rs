//! The eye on one page while a job runs: gathers its rows, the events that could concern it, and where
//! the job sent them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use slate_types::log::{EVENT_TYPES, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION};

use super::raw::{self, RawRow};
use super::reason::{Elsewhere, Explainer, Kept};
use super::{PageTrace, PlacementTrace, RejectedRow};
use crate::attribution::{Event, Events, Fates, Placement};
use crate::check::CheckedLog;
use crate::engine::Engine;
use crate::rows::Rows;
use crate::source::LogSource;
use crate::{Attribution, LogError};

const STAGE: &str = "look up the page";

/// What is known so far.
pub(crate) struct Watch {
    page: i64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    as_of: i64,
    page_row: Option<RawRow>,
    slots: Vec<RawRow>,
    items: Vec<RawRow>,
    rejects: Vec<RejectedRow>,
    /// In the order of the output.
    shown: Vec<Shown>,
    /// Events that could concern the page, repeats and what came too late included.
    kept: Vec<Kept>,
    other_events: BTreeMap<String, u64>,
    trace: Option<PageTrace>,
}

/// A placement of the page and its list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) placement: Placement,
    pub(super) list: i64,
}

impl Watch {
    pub(crate) fn new(page: i64) -> Self {
        Self {
            page,
            state: RefCell::default(),
        }
    }

    /// Reads the rows of the page once the log has been checked.
    ///
    /// # Errors
    /// [`LogError::UnknownPage`] and [`LogError::UnusedPage`].
    pub(crate) fn begin(
        &self,
        engine: &Engine,
        source: &LogSource,
        checked: &CheckedLog,
        as_of: i64,
    ) -> Result<(), LogError> {
        let page = self.page;
        let mut state = self.state.borrow_mut();
        state.as_of = as_of;
        let select = |table, short: &str, extras: &[_], filter: &str| {
            let list = raw::select_list(table, extras);
            let sql = format!("SELECT {list} FROM {short}_kept WHERE {filter}");
            Ok::<_, LogError>(raw::rows(table, extras, &engine.collect(STAGE, &sql)?))
        };
        let rejects = Rejects { engine, checked };
        let pages = select(&PAGE_IMPRESSION, "page", &[], &format!("page_id = {page}"))?;
        let Some(row) = pages.into_iter().next() else {
            return Err(match rejects.first("page_impression", page)? {
                Some(reject) => self.unused(source, reject.sentence()),
                None => self.unknown(engine, source)?,
            });
        };
        if row.get("ts").whole().is_some_and(|ts| ts > as_of) {
            let problem = format!(
                "it was shown at {}, after the date of the labels",
                row.get("ts")
            );
            return Err(self.unused(source, problem));
        }
        let on_page = format!("page_id = {page} ORDER BY list_id, slot, impression_id");
        state.slots = select(&SLOT_IMPRESSION, "slot", &checked.extras.slot, &on_page)?;
        let own = format!("SELECT impression_id FROM slot_all WHERE page_id = {page}");
        state.rejects = rejects.all("slot_impression", &own)?;
        if state.slots.is_empty() {
            let problem = match state.rejects.first() {
                Some(reject) => {
                    format!("none of its placements can be used: {}", reject.sentence())
                }
                None => "no placement was shown on it".to_owned(),
            };
            return Err(self.unused(source, problem));
        }
        let items = ids(state
            .slots
            .iter()
            .filter_map(|row| row.get("item_id").whole()));
        if source.item.is_some() {
            let among = format!("item_id IN ({items}) ORDER BY item_id");
            state.items = select(&ITEM, "item", &checked.extras.item, &among)?;
        }
        if let Some(person) = person(row.get("user_id").whole(), row.get("session_id").whole()) {
            let events =
                format!("SELECT event_id FROM event_all WHERE item_id IN ({items}) AND ({person})");
            state.rejects.extend(rejects.all("event", &events)?);
        }
        state.page_row = Some(row);
        Ok(())
    }

    /// Looks at placements on their way, the first of which has this place.
    pub(crate) fn see(&self, rows: &Rows, first: u64) {
        let own = (0..rows.len()).filter(|&at| rows.page[at] == self.page);
        let shown = own.map(|at| Shown {
            placement: Placement::of(rows, at, first),
            list: rows.list[at],
        });
        self.state.borrow_mut().shown.extend(shown);
    }

    /// Finds the events that could concern the page; to be asked when all placements were seen.
    pub(crate) fn concerned(
        &self,
        engine: &Engine,
        attribution: &Attribution,
    ) -> Result<HashSet<i64>, LogError> {
        let mut state = self.state.borrow_mut();
        let shown = &state.shown;
        let Some(Shown { placement: one, .. }) = shown.first().copied() else {
            return Ok(HashSet::new());
        };
        let named = ids(shown.iter().map(|shown| shown.placement.impression));
        let items = ids(shown.iter().map(|shown| shown.placement.item));
        let sellers = ids(shown.iter().filter_map(|shown| shown.placement.seller));
        let mut filter = format!("impression_id IN ({named})");
        let person = person(one.user, one.session);
        if let Some(person) = &person {
            filter.push_str(&format!(" OR (item_id IN ({items}) AND ({person}))"));
            if attribution.halo && !sellers.is_empty() {
                filter.push_str(&format!(
                    " OR (type = 'purchase' AND seller_id IN ({sellers}) AND ({person}))"
                ));
            }
        }
        let mut kept = events(engine, &filter)?;
        // A cancel reverses a purchase of its order and item, whoever sent it.
        let deals: HashSet<(i64, i64)> = kept
            .iter()
            .filter(|kept| kept.event.is("purchase") || kept.event.is("cancel"))
            .filter_map(|kept| Some((kept.event.order?, kept.event.item)))
            .collect();
        if !deals.is_empty() {
            let orders = ids(deals.iter().map(|(order, _)| *order));
            let found = events(
                engine,
                &format!("type IN ('purchase', 'cancel') AND order_id IN ({orders})"),
            )?;
            let of_deals = |kept: &Kept| {
                let deal = kept.event.order.map(|order| (order, kept.event.item));
                deal.is_some_and(|deal| deals.contains(&deal))
            };
            let known = kept.clone();
            let new = found
                .into_iter()
                .filter(|found| of_deals(found) && !known.contains(found));
            kept.extend(new);
        }
        kept.sort_unstable_by_key(|kept| (kept.event.ts, kept.event.id, kept.repeats));
        let concerned: HashSet<i64> = kept.iter().map(|kept| kept.event.id).collect();
        state.kept = kept;
        if let Some(person) = person {
            state.other_events = others(engine, &person, &concerned)?;
        }
        Ok(concerned)
    }

    /// Puts the job's decisions into words, once purchases are settled.
    pub(crate) fn explain(
        &self,
        engine: &Engine,
        attribution: &Attribution,
        fates: &Fates,
    ) -> Result<(), LogError> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let own: HashSet<i64> = state
            .shown
            .iter()
            .map(|shown| shown.placement.impression)
            .collect();
        let credited = fates.watched.iter().filter_map(|fate| fate.credit);
        let named = state.kept.iter().filter_map(|kept| kept.event.impression);
        let wanted: HashSet<i64> = credited
            .map(|credit| credit.impression)
            .chain(named)
            .filter(|impression| !own.contains(impression))
            .collect();
        let explainer = Explainer {
            shown: &state.shown,
            fates,
            elsewhere: elsewhere(engine, &wanted)?,
            kept: &state.kept,
            as_of: state.as_of,
        };
        let events = explainer.events();
        let mut ends = BTreeMap::new();
        for event in &events {
            *ends.entry(event.end).or_insert(0) += 1;
        }
        let longest = attribution.longest_window();
        let placements = state.shown.iter().map(|shown| PlacementTrace {
            impression_id: shown.placement.impression,
            list_id: shown.list,
            slot: shown.placement.slot,
            item_id: shown.placement.item,
            grade: 0,
            click: false,
            purchase: false,
            matured: false,
            matures_at: shown.placement.ts.saturating_add(longest),
            attribution: None,
            click_lag: None,
            purchase_lag: None,
            why: String::new(),
        });
        state.trace = Some(PageTrace {
            page_id: self.page,
            placements: placements.collect(),
            page: state.page_row.take().expect("the page was looked up first"),
            slots: std::mem::take(&mut state.slots),
            items: std::mem::take(&mut state.items),
            rejects: std::mem::take(&mut state.rejects),
            label_as_of: state.as_of,
            events,
            ends,
            other_events: std::mem::take(&mut state.other_events),
            first_row: state.shown.first().map_or(0, |shown| shown.placement.row),
        });
        Ok(())
    }

    /// What was found, once the job is done.
    pub(crate) fn into_trace(self) -> PageTrace {
        let trace = self.state.into_inner().trace;
        trace.expect("a job that ends well has explained its page")
    }

    fn unused(&self, source: &LogSource, problem: String) -> LogError {
        LogError::UnusedPage {
            page: self.page,
            dir: source.dir.clone(),
            problem,
        }
    }

    fn unknown(&self, engine: &Engine, source: &LogSource) -> Result<LogError, LogError> {
        let page = self.page;
        let sql = format!(
            "SELECT min(page_id), max(page_id), max(CASE WHEN page_id < {page} THEN page_id END), \
             min(CASE WHEN page_id > {page} THEN page_id END) FROM page_kept"
        );
        let batches = engine.collect(STAGE, &sql)?;
        let number = |at: usize| {
            let ids = batches.first()?.column(at).as_primitive::<Int64Type>();
            (!ids.is_empty() && ids.is_valid(0)).then(|| ids.value(0))
        };
        Ok(LogError::UnknownPage {
            page,
            dir: source.dir.clone(),
            range: number(0).zip(number(1)),
            nearest: [number(2), number(3)].into_iter().flatten().collect(),
        })
    }
}

/// Rows that were set aside.
struct Rejects<'a> {
    engine: &'a Engine,
    checked: &'a CheckedLog,
}

impl Rejects<'_> {
    fn first(&self, table: &str, key: i64) -> Result<Option<RejectedRow>, LogError> {
        Ok(self.all(table, &key.to_string())?.into_iter().next())
    }

    /// Those of a table with one of these keys: a query or a list.
    fn all(&self, table: &str, keys: &str) -> Result<Vec<RejectedRow>, LogError> {
        if self
            .checked
            .rejects()
            .iter()
            .all(|reject| reject.table != table)
        {
            return Ok(Vec::new());
        }
        let queries = self.checked.reject_queries().join(" UNION ALL ");
        let sql = format!(
            "SELECT \"table\", key, \"column\", reason FROM ({queries}) \
             WHERE \"table\" = '{table}' AND key IN ({keys}) ORDER BY key, \"column\", reason"
        );
        let mut rows = Vec::new();
        for batch in self.engine.collect(STAGE, &sql)? {
            let text =
                |at: usize, row: usize| batch.column(at).as_string::<i32>().value(row).to_owned();
            let keys = batch.column(1).as_primitive::<Int64Type>();
            rows.extend((0..batch.num_rows()).map(|row| RejectedRow {
                table: text(0, row),
                key: keys.is_valid(row).then(|| keys.value(row)),
                column: text(2, row),
                reason: text(3, row),
            }));
        }
        Ok(rows)
    }
}

impl RejectedRow {
    fn sentence(&self) -> String {
        format!("it was set aside because `{}` {}", self.column, self.reason)
    }
}

/// A condition that holds for events of these.
fn person(user: Option<i64>, session: Option<i64>) -> Option<String> {
    let is = |column: &str, id: Option<i64>| id.map(|id| format!("{column} = {id}"));
    let parts: Vec<String> = [is("user_id", user), is("session_id", session)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join(" OR "))
}

/// Ids as a list, each once.
fn ids(ids: impl Iterator<Item = i64>) -> String {
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
    texts.join(", ")
}

fn events(engine: &Engine, filter: &str) -> Result<Vec<Kept>, LogError> {
    let mut kept = Vec::new();
    for batch in engine.collect(STAGE, &format!("SELECT * FROM events WHERE {filter}"))? {
        let read = Events::of(&batch, &mut |_| None);
        kept.extend((0..read.len()).map(|at| Kept {
            event: read.event(at),
            repeats: read.repeats(at),
            seen: read.seen(at),
        }));
    }
    Ok(kept)
}

/// Counts the other events of these people by type.
fn others(
    engine: &Engine,
    person: &str,
    concerned: &HashSet<i64>,
) -> Result<BTreeMap<String, u64>, LogError> {
    let mut counts = BTreeMap::new();
    let mut batches = engine.stream(
        STAGE,
        &format!("SELECT * FROM events WHERE copy = 1 AND seen = 1 AND ({person})"),
    )?;
    while let Some(batch) = batches.next()? {
        let read = Events::of(&batch, &mut |_| None);
        for at in 0..read.len() {
            let event: Event = read.event(at);
            if !concerned.contains(&event.id) {
                let name = EVENT_TYPES[usize::from(event.kind)].to_owned();
                *counts.entry(name).or_insert(0) += 1;
            }
        }
    }
    Ok(counts)
}

/// Looks up placements of other pages.
fn elsewhere(engine: &Engine, wanted: &HashSet<i64>) -> Result<HashMap<i64, Elsewhere>, LogError> {
    let mut found = HashMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let among = ids(wanted.iter().copied());
    let sql = format!(
        "SELECT impression_id, page_id, slot, item_id, page_ts FROM slot_kept \
         WHERE impression_id IN ({among})"
    );
    for batch in engine.collect(STAGE, &sql)? {
        let number = |column: usize, row: usize| {
            let values = batch.column(column).as_primitive::<Int64Type>();
            values.value(row)
        };
        for row in 0..batch.num_rows() {
            found.insert(
                number(0, row),
                Elsewhere {
                    page: number(1, row),
                    slot: number(2, row),
                    item: number(3, row),
                    ts: number(4, row),
                },
            );
        }
    }
    Ok(found)
}
