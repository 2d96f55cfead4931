//! Which order of the pages earns most: metrics of each order, paired differences, the truth.

use serde_json::Value;

use super::chart::{Row, intervals, short};
use super::{Part, cell, count, escape, metric, number, table};

fn section_title(label: &str) -> String {
    format!("Orders by {label}")
}

/// All evaluations side by side.
pub(super) fn section(parts: &[&Part], truth: Option<&Part>) -> String {
    let Some(first) = parts.first() else {
        return String::new();
    };
    let label = first.value["label"].as_str().unwrap_or("outcome");
    let names = metric_names(parts);
    let mut header = vec!["order".to_owned()];
    header.extend(names.iter().map(|name| escape(name)));
    if truth.is_some() {
        header.push("true PTR@3".to_owned());
    }
    let rows: Vec<Vec<String>> = parts
        .iter()
        .map(|part| {
            let name = part.value["name"].as_str().unwrap_or("–");
            let mut row = vec![escape(name)];
            row.extend(
                names
                    .iter()
                    .map(|m| cell(metric(&part.value["metrics"], m))),
            );
            if let Some(truth) = truth {
                row.push(short(number(&truth.value["orders"][name]["ptr@3"])));
            }
            row
        })
        .collect();
    let mut content = format!(
        "<p>{} lists, {} placements. {} {}</p>\n{}",
        count(&first.value["lists"]),
        count(&first.value["rows"]),
        direction(&names),
        super::intervals(&first.value),
        table(&header, &rows)
    );
    content.push_str("<div class=\"charts\">");
    for name in names.iter().take(2) {
        content.push_str(&chart_of(name, parts));
    }
    content.push_str("</div>");
    content.push_str(&differences(parts));
    if truth.is_some() {
        content.push_str(
            "<p>Logged outcomes favour the order that was logged: what stood higher was looked at \
             more. True PTR@3 is what the simulator says each order would have earned: purchases \
             expected among the first three slots, divided by the placements there.</p>",
        );
    }
    content.push_str(&conventions(parts));
    let mut sources: Vec<&str> = parts.iter().map(|part| part.source.as_str()).collect();
    sources.extend(truth.map(|truth| truth.source.as_str()));
    super::section(&section_title(label), &content, &sources)
}

/// Says which way each metric is better.
fn direction(names: &[String]) -> String {
    let of = |wanted: Option<bool>| -> Vec<&str> {
        let way = |name: &&str| {
            name.parse()
                .is_ok_and(|m: slate_eval::MetricName| m.larger_is_better() == wanted)
        };
        names.iter().map(String::as_str).filter(way).collect()
    };
    let mut told = Vec::new();
    for (wanted, words) in [
        (Some(true), "larger"),
        (Some(false), "smaller"),
        (None, "nearer 1"),
    ] {
        let found = of(wanted);
        if !found.is_empty() {
            told.push(format!("{}: {words} is better.", escape(&found.join(", "))));
        }
    }
    told.join(" ")
}

fn metric_names(parts: &[&Part]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in parts {
        for one in part.value["metrics"].as_array().into_iter().flatten() {
            let name = one["name"].as_str().unwrap_or_default().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn chart_of(name: &str, parts: &[&Part]) -> String {
    let rows: Vec<Row> = parts
        .iter()
        .filter_map(|part| {
            let one = metric(&part.value["metrics"], name)?;
            Some(Row {
                name: part.value["name"].as_str().unwrap_or("–").to_owned(),
                value: number(&one["value"]),
                low: number(&one["low"]),
                high: number(&one["high"]),
            })
        })
        .collect();
    intervals(&format!("{name} with interval"), name, &rows)
}

fn differences(parts: &[&Part]) -> String {
    let mut rows = Vec::new();
    for part in parts {
        for against in part.value["against"].as_array().into_iter().flatten() {
            for one in against["differences"].as_array().into_iter().flatten() {
                let (low, high) = (number(&one["low"]), number(&one["high"]));
                let verdict = if low > 0.0 {
                    "higher"
                } else if high < 0.0 {
                    "lower"
                } else {
                    "cannot tell"
                };
                rows.push(vec![
                    format!(
                        "{} − {}",
                        escape(part.value["name"].as_str().unwrap_or("–")),
                        escape(against["name"].as_str().unwrap_or("–"))
                    ),
                    escape(one["name"].as_str().unwrap_or("–")),
                    super::difference(one),
                    format!("{:.4}", number(&one["p"])),
                    verdict.to_owned(),
                ]);
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["paired by list", "metric", "difference", "p", "verdict"].map(str::to_owned);
    format!(
        "{}<p class=\"soft\">p: share of random sign flips of the lists' differences at least as \
         far from zero.</p>",
        table(&header, &rows)
    )
}

fn conventions(parts: &[&Part]) -> String {
    let mut told: Vec<String> = Vec::new();
    for part in parts {
        for one in part.value["metrics"].as_array().into_iter().flatten() {
            let text = convention(one);
            if !told.contains(&text) {
                told.push(text);
            }
        }
    }
    let items: String = told.iter().map(|text| format!("<li>{text}</li>")).collect();
    format!("<p class=\"soft\">Conventions:</p><ul class=\"soft\">{items}</ul>")
}

/// A metric's convention, as a list item.
pub(super) fn convention(metric: &Value) -> String {
    format!(
        "{} over {} {}s: <code>{}</code>",
        escape(metric["name"].as_str().unwrap_or("–")),
        count(&metric["n"]),
        escape(metric["unit"].as_str().unwrap_or("row")),
        escape(metric["convention"].as_str().unwrap_or("–"))
    )
}
