//! Experiments with arms, and recipes over months.

use serde_json::Value;

use super::chart::{Axes, Series, lines};
use super::{Part, count, difference, end, escape, list, number, table, text};

/// What an experiment found.
pub(super) fn arms(part: &Part) -> String {
    let value = &part.value;
    let header = ["arm", "units", "planned", "lists"].map(str::to_owned);
    let rows: Vec<Vec<String>> = list(&value["arms"])
        .iter()
        .map(|arm| {
            vec![
                escape(text(&arm["name"])),
                count(&arm["clusters"]),
                format!("{:.0}", number(&arm["planned"])),
                count(&arm["lists"]),
            ]
        })
        .collect();
    let mut content = format!(
        "<p class=\"verdict\">{}</p>{}<h3>Metrics</h3>{}",
        escape(text(&value["sentence"])),
        table(&header, &rows),
        found("metric", &value["metrics"])
    );
    for (heading, what, key) in [("Segments", "segment", "segments"), ("Days", "day", "days")] {
        if !list(&value[key]).is_empty() {
            content.push_str(&format!("<h3>{heading}</h3>{}", found(what, &value[key])));
        }
    }
    if let Some(p) = value["trend"]["p"].as_f64() {
        content.push_str(&format!(
            "<p>From one day to the next the difference moves by {:+.2e} (p {p:.4}).</p>",
            number(&value["trend"]["per_day"])
        ));
    }
    super::section("Experiment", &content, &[&part.source])
}

/// Differences between arms.
fn found(what: &str, value: &Value) -> String {
    let header = [
        what,
        "arms",
        "control",
        "other",
        "difference",
        "p",
        "p, Holm",
    ]
    .map(str::to_owned);
    let rows: Vec<Vec<String>> = list(value)
        .iter()
        .map(|one| {
            let d = crate::pipeline::evaluation::decimals(number(&one["control"]));
            vec![
                escape(text(&one["name"])),
                escape(text(&one["arms"])),
                end(&one["control"], d, false),
                end(&one["other"], d, false),
                difference(one),
                format!("{:.4}", number(&one["p"])),
                format!("{:.4}", number(&one["p_holm"])),
            ]
        })
        .collect();
    table(&header, &rows)
}

/// Two recipes over months.
pub(super) fn recipes(part: &Part) -> String {
    let value = &part.value;
    let months = list(&value["months"]);
    let names: Vec<&str> = list(&value["recipes"])
        .iter()
        .map(|recipe| text(&recipe["name"]))
        .collect();
    let [first, second] = names[..] else {
        return String::new();
    };
    let metrics: Vec<&str> = list(&value["differences"])
        .iter()
        .map(|one| text(&one["name"]))
        .collect();
    let mut header = vec!["month".to_owned()];
    header.extend(
        metrics
            .iter()
            .map(|metric| format!("{}, {} - {}", escape(metric), escape(second), escape(first))),
    );
    let of = |line: &Value| {
        list(&line["differences"])
            .iter()
            .map(difference)
            .collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> = months
        .iter()
        .map(|line| {
            std::iter::once(escape(text(&line["month"])))
                .chain(of(line))
                .collect()
        })
        .collect();
    rows.push(std::iter::once("all".to_owned()).chain(of(value)).collect());
    let series = |name: &str, key: &str| Series {
        name: name.to_owned(),
        points: (0..)
            .zip(months)
            .map(|(at, line)| (f64::from(at), number(&line[key][0]["value"])))
            .collect(),
        intervals: None,
        band: Vec::new(),
    };
    let chart = lines(
        &Axes {
            title: &format!("{} by month", metrics.first().copied().unwrap_or("")),
            x: "month",
            y: "",
            diagonal: false,
            limit: None,
        },
        &[series(first, "a"), series(second, "b")],
    );
    let content = format!(
        "<p class=\"verdict\">{}</p><div class=\"charts\">{chart}</div>{}",
        escape(text(&value["sentence"])),
        table(&header, &rows)
    );
    super::section("Recipes over months", &content, &[&part.source])
}
