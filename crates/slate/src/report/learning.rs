//! How training went.

use serde_json::Value;

use super::chart::{Axes, Series, lines};
use super::{Part, count, escape, number};

/// Inputs named of a ranker of trees.
const INPUTS: usize = 10;

pub(super) fn section(part: &Part) -> String {
    let Some((file, Value::Array(events))) = &part.beside else {
        return String::new();
    };
    let config = &part.value["config"];
    let content = if config["trees"].is_object() {
        trees(&part.value, &config["trees"], events)
    } else {
        network(&part.value, &config["train"], events)
    };
    super::section("Training", &content, &[&part.source, file])
}

fn network(value: &Value, config: &Value, events: &[Value]) -> String {
    let best = &value["best"];
    let metric = best["metric"].as_str().unwrap_or("metric");
    format!(
        "<p>{} network, {} parameters, seed {}, on {}. Best epoch {}: {} {:.4} on the validation \
         split; its weights were kept.</p><div class=\"charts\">{}{}</div>",
        escape(config["network"]["kind"].as_str().unwrap_or("–")),
        count(&value["parameters"]),
        value["seed"],
        escape(value["device"].as_str().unwrap_or("–")),
        best["epoch"],
        escape(metric),
        number(&best["value"]),
        curve(
            events,
            "Training loss",
            ("epoch", "train_loss"),
            "mean loss"
        ),
        curve(events, "Validation", ("epoch", "metric"), metric),
    )
}

fn trees(value: &Value, config: &Value, events: &[Value]) -> String {
    let best = &value["best"];
    let metric = best["metric"].as_str().unwrap_or("metric");
    let importance = value["importance"].as_array();
    let rows: Vec<Vec<String>> = importance
        .into_iter()
        .flatten()
        .take(INPUTS)
        .map(|input| {
            vec![
                escape(input["input"].as_str().unwrap_or("–")),
                format!("{:.1}&nbsp;%", 100.0 * number(&input["gain"])),
                count(&input["splits"]),
            ]
        })
        .collect();
    let header = ["input", "share of the gain", "splits"].map(str::to_owned);
    format!(
        "<p>{} trees with {} leaves, {} on {}, seed {}; {} {:.4} on the validation split.</p>\
         <div class=\"charts\">{}</div>{}",
        count(&best["trees"]),
        count(&value["leaves"]),
        escape(config["objective"].as_str().unwrap_or("–")),
        escape(config["label"].as_str().unwrap_or("–")),
        value["seed"],
        escape(metric),
        number(&best["value"]),
        curve(events, "Validation", ("trees", "metric"), metric),
        super::table(&header, &rows),
    )
}

/// One number of each event that has it, over another.
fn curve(events: &[Value], title: &str, (x, y): (&str, &str), name: &str) -> String {
    let with_both = events
        .iter()
        .filter(|e| e[x].is_number() && e[y].is_number());
    let series = Series {
        name: name.to_owned(),
        points: with_both.map(|e| (number(&e[x]), number(&e[y]))).collect(),
        intervals: None,
        band: Vec::new(),
    };
    let axes = Axes {
        title,
        x,
        y: name,
        diagonal: false,
        limit: None,
    };
    lines(&axes, &[series])
}
