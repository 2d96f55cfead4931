//! What went in: the log, the join, the splits.

use serde_json::Value;

use super::{Part, count, escape, table};

/// A dataset's splits, its join report and what was left out.
pub(super) fn dataset(part: &Part) -> String {
    let splits = &part.value["splits"];
    let columns = ["lists", "rows", "clicks", "purchases"];
    let mut header = vec!["split".to_owned()];
    header.extend(columns.map(str::to_owned));
    header.extend(["from".to_owned(), "to".to_owned()]);
    let rows: Vec<Vec<String>> = ["train", "valid", "calibrate", "test"]
        .iter()
        .filter(|name| splits[**name].is_object())
        .map(|name| {
            let split = &splits[*name];
            let mut row = vec![(*name).to_owned()];
            row.extend(columns.iter().map(|column| count(&split[*column])));
            row.extend(["first_ts", "last_ts"].iter().map(|end| day(&split[*end])));
            row
        })
        .collect();
    let mut content = table(&header, &rows);
    let left_out = &part.value["left_out"];
    if left_out["immature_rows"]
        .as_u64()
        .is_some_and(|rows| rows > 0)
    {
        content.push_str(&format!(
            "<p>Left out because a label could still change: {} lists, {} rows.</p>",
            count(&left_out["immature_lists"]),
            count(&left_out["immature_rows"])
        ));
    }
    let mut sources = vec![part.source.as_str()];
    if let Some((file, report)) = &part.beside {
        content.push_str(&join(report));
        sources.push(file);
    }
    super::section("Data", &content, &sources)
}

fn day(ts: &Value) -> String {
    ts.as_i64().map_or_else(|| "–".to_owned(), super::date)
}

fn join(report: &Value) -> String {
    let Some(lines) = report["join"].as_object() else {
        return String::new();
    };
    let columns = ["input", "attributed", "late", "orphan", "duplicate"];
    let mut header = vec!["events".to_owned()];
    header.extend(columns.map(str::to_owned));
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|(name, line)| {
            let mut row = vec![escape(name)];
            row.extend(columns.iter().map(|column| count(&line[*column])));
            row
        })
        .collect();
    format!(
        "<p>Every event is attributed to a placement, late, an orphan or a duplicate; the four sum \
         to the input.</p>{}",
        table(&header, &rows)
    )
}

/// A log's tables.
pub(super) fn log(part: &Part) -> String {
    let Some(tables) = part.value["tables"].as_object() else {
        return String::new();
    };
    let rows: Vec<Vec<String>> = tables
        .iter()
        .map(|(name, rows)| vec![escape(name), count(rows)])
        .collect();
    let content = format!(
        "<p>Source: {}.</p>{}",
        escape(part.value["source"].as_str().unwrap_or("–")),
        table(&["table".to_owned(), "rows".to_owned()], &rows)
    );
    super::section("Log", &content, &[&part.source])
}
