//! A trace for people: the log's rows, events with reasons, labels with reasons, features, tensors.

use std::fmt::Write as _;

use serde_json::Value;
use slate_features::{PageFeatures, RowFeatures, TensorRow};
use slate_logs::{EventTrace, PageTrace, RawRow, RawValue};

use crate::console::{Align, Table};

/// Rows of a table that are shown; the rest is in the JSON.
const MOST: usize = 60;

/// The whole trace.
pub(super) fn page(page: &PageTrace, features: Option<&PageFeatures>) -> String {
    let mut text = format!("page {}\n", page.page_id);
    for (name, value) in known(&page.page) {
        if name != "page_id" {
            let _ = writeln!(text, "  {name:<16} {value}");
        }
    }
    let as_of = RawValue::Time(page.label_as_of);
    let _ = writeln!(text, "  {:<16} {as_of}", "labels as of");

    text.push_str("\nPlacements, as logged\n");
    // Where each list is the page itself, its id says nothing.
    let lists = page.placements.iter().any(|p| p.list_id != page.page_id);
    let hidden: &[&str] = if lists {
        &["page_id"]
    } else {
        &["page_id", "list_id"]
    };
    text.push_str(&rows(&page.slots, &["slot", "impression_id"], hidden));
    // Items of which nothing but their number is known say nothing.
    let known_items = |row: &RawRow| known(row).any(|(name, _)| name != "item_id");
    if page.items.iter().any(known_items) {
        text.push_str("\nItems, as logged\n");
        text.push_str(&rows(&page.items, &["item_id"], &[]));
    }
    for reject in &page.rejects {
        let key = reject.key.map_or("?".to_owned(), |key| key.to_string());
        let _ = writeln!(
            text,
            "set aside: {} {key}: `{}` {}",
            reject.table, reject.column, reject.reason
        );
    }
    text.push_str("\nEvents that could concern it\n");
    text.push_str(&events(page));
    text.push_str("\nLabels\n");
    text.push_str(&labels(page, lists));
    if let Some(features) = features {
        text.push_str(&tensors(features, lists));
    }
    text
}

/// The columns with a value.
fn known(row: &RawRow) -> impl Iterator<Item = (&str, String)> {
    row.0
        .iter()
        .filter(|(_, value)| *value != RawValue::Null)
        .map(|(name, value)| (name.as_str(), raw(value)))
}

fn raw(value: &RawValue) -> String {
    match value {
        RawValue::Number(number) => short(*number),
        other => other.to_string(),
    }
}

/// Rows as a table: these columns first, then the others that have a value.
fn rows(rows: &[RawRow], first: &[&str], hidden: &[&str]) -> String {
    let Some(row) = rows.first() else {
        return "none\n".to_owned();
    };
    let others = row.0.iter().map(|(name, _)| name.as_str());
    let others = others.filter(|name| !first.contains(name) && !hidden.contains(name));
    let columns: Vec<&str> = first
        .iter()
        .copied()
        .chain(others)
        .filter(|name| rows.iter().any(|row| *row.get(name) != RawValue::Null))
        .collect();
    let mut header = Vec::new();
    for &name in &columns {
        let text = |row: &RawRow| matches!(row.get(name), RawValue::Text(_) | RawValue::Time(_));
        let align = if rows.iter().any(text) {
            Align::Left
        } else {
            Align::Right
        };
        header.push((name, align));
    }
    let mut table = Table::new(&header);
    for row in rows.iter().take(MOST) {
        table.row(columns.iter().map(|name| raw(row.get(name))));
    }
    table.render() + &more(rows.len())
}

fn more(rows: usize) -> String {
    if rows > MOST {
        format!("and {} more, which --json shows\n", rows - MOST)
    } else {
        String::new()
    }
}

fn events(page: &PageTrace) -> String {
    let mut text = if page.events.is_empty() {
        "none\n".to_owned()
    } else {
        let mut table = Table::new(&[
            ("event", Align::Right),
            ("time", Align::Left),
            ("type", Align::Left),
            ("item", Align::Right),
            ("slot", Align::Right),
            ("end", Align::Left),
            ("counts", Align::Left),
            ("reason", Align::Left),
        ]);
        for event in page.events.iter().take(MOST) {
            table.row([
                event.event_id.to_string(),
                RawValue::Time(event.ts).to_string(),
                event.event_type.to_owned(),
                event.item_id.to_string(),
                slot_of(page, event),
                event.end.to_owned(),
                yes(event.counts_here).to_owned(),
                event.reason.clone(),
            ]);
        }
        table.render() + &more(page.events.len())
    };
    if !page.ends.is_empty() {
        let ends: Vec<String> = page
            .ends
            .iter()
            .map(|(end, n)| format!("{n} {end}"))
            .collect();
        let all = page.events.len();
        let events = if all == 1 { "event" } else { "events" };
        let _ = writeln!(text, "{all} {events}: {}", ends.join(", "));
    }
    let others: u64 = page.other_events.values().sum();
    if others > 0 {
        let by_type = page.other_events.iter();
        let by_type: Vec<String> = by_type.map(|(name, n)| format!("{n} {name}")).collect();
        let _ = writeln!(
            text,
            "{others} more of the same person with items that are not here: {}",
            by_type.join(", ")
        );
    }
    text
}

fn slot_of(page: &PageTrace, event: &EventTrace) -> String {
    let about = event.concerns.and_then(|id| {
        let mut placements = page.placements.iter();
        placements.find(|placement| placement.impression_id == id)
    });
    about.map_or_else(String::new, |placement| placement.slot.to_string())
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn labels(page: &PageTrace, lists: bool) -> String {
    let mut columns = vec![("slot", Align::Right)];
    if lists {
        columns.insert(0, ("list", Align::Right));
    }
    columns.extend([
        ("item", Align::Right),
        ("grade", Align::Right),
        ("click", Align::Right),
        ("purchase", Align::Right),
        ("attribution", Align::Left),
        ("click lag", Align::Right),
        ("purchase lag", Align::Right),
        ("matured", Align::Left),
        ("why", Align::Left),
    ]);
    let mut table = Table::new(&columns);
    for placement in &page.placements {
        let lag = |lag: Option<i64>| lag.map_or_else(|| "-".to_owned(), slate_logs::span);
        let mut row = vec![
            placement.slot.to_string(),
            placement.item_id.to_string(),
            placement.grade.to_string(),
            u8::from(placement.click).to_string(),
            u8::from(placement.purchase).to_string(),
            placement
                .attribution
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            lag(placement.click_lag),
            lag(placement.purchase_lag),
            yes(placement.matured).to_owned(),
            placement.why.clone(),
        ];
        if lists {
            row.insert(0, placement.list_id.to_string());
        }
        table.row(row);
    }
    table.render()
}

/// Every feature of every placement, and its row of the tensors.
fn tensors(features: &PageFeatures, lists: bool) -> String {
    let from = if features.fitted {
        "fitted to the training window of this log"
    } else {
        "as given"
    };
    let mut text = format!(
        "\nFeatures by the map {} ({from})\n",
        &features.feature_map_sha256[..12]
    );
    for list in &features.lists {
        let name = if lists {
            format!("list {}", list.list_id)
        } else {
            "the list".to_owned()
        };
        let place = match (list.split, list.list) {
            (Some(split), Some(at)) => format!("list {at} of {}", split.name()),
            _ if !list.matured => {
                "in no part of a dataset: a label window is still open".to_owned()
            }
            _ => "in no part of a dataset: too few lists to divide them".to_owned(),
        };
        let _ = writeln!(text, "{name}: {place}");
        if !list.history.is_empty() {
            let mut table = Table::new(&[
                ("before it", Align::Left),
                ("type", Align::Left),
                ("item", Align::Right),
                ("id", Align::Right),
                ("age", Align::Right),
            ]);
            for step in &list.history {
                table.row([
                    RawValue::Time(step.ts).to_string(),
                    step.event_type.to_owned(),
                    step.item_id.to_string(),
                    step.id.to_string(),
                    short(f64::from(step.age)),
                ]);
            }
            text.push_str(&table.render());
        }
    }
    for row in &features.rows {
        text.push_str(&placement(row, features, lists));
    }
    text
}

fn placement(row: &RowFeatures, features: &PageFeatures, lists: bool) -> String {
    let list = if lists {
        format!("list {}, ", row.list_id)
    } else {
        String::new()
    };
    let mut text = format!("\n{list}slot {}, item {}\n", row.slot, row.item_id);
    let mut table = Table::new(&[
        ("feature", Align::Left),
        ("raw", Align::Left),
        ("before", Align::Right),
        ("mapping", Align::Left),
        ("after", Align::Right),
        ("place", Align::Left),
    ]);
    for feature in &row.features {
        let inputs: Vec<String> = feature
            .inputs
            .iter()
            .map(|(name, value)| format!("{name}={}", json(value)))
            .collect();
        table.row([
            feature.name.clone(),
            inputs.join(" "),
            json(&feature.before),
            feature.mapping.clone(),
            json(&feature.after),
            feature.place.clone(),
        ]);
    }
    text.push_str(&table.render());
    let split = features
        .lists
        .iter()
        .find(|list| list.list_id == row.list_id)
        .and_then(|list| list.split);
    let place = match (split, row.row) {
        (Some(split), Some(at)) => format!("row {at} of {}", split.name()),
        _ => "in no part".to_owned(),
    };
    let _ = writeln!(
        text,
        "tensor ({place}, weight {}): {}",
        row.weight,
        tensor(&row.tensor)
    );
    text
}

/// The row as numbers in a line, each with every digit it has.
fn tensor(row: &TensorRow) -> String {
    let join = |values: Vec<String>| format!("[{}]", values.join(" "));
    let mut text = join(row.dense.iter().map(f32::to_string).collect());
    let _ = write!(
        text,
        " {}",
        join(row.categorical.iter().map(u32::to_string).collect())
    );
    for ids in row.multi_valued.values() {
        let _ = write!(text, " {}", join(ids.iter().map(u32::to_string).collect()));
    }
    for (name, at) in &row.vectors {
        let _ = write!(text, " {name}[{at}]");
    }
    text
}

/// A JSON value as a person reads it.
fn json(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, short),
        Value::Array(values) => values.iter().map(json).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A number with about six digits.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (5 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
