//! How training went.

use serde_json::Value;

use super::chart::{Axes, Series, lines};
use super::{Part, count, escape, number};

pub(super) fn section(part: &Part) -> String {
    let Some((file, Value::Array(events))) = &part.beside else {
        return String::new();
    };
    let epochs: Vec<&Value> = events.iter().filter(|e| e["event"] == "epoch").collect();
    let curve = |key: &str| -> Vec<(f64, f64)> {
        epochs
            .iter()
            .map(|e| (number(&e["epoch"]), number(&e[key])))
            .collect()
    };
    let value = &part.value;
    let best = &value["best"];
    let metric = best["metric"].as_str().unwrap_or("metric");
    let chart = |title: &str, key: &str, name: &str| {
        let series = Series {
            name: name.to_owned(),
            points: curve(key),
            intervals: None,
        };
        lines(
            &Axes {
                title,
                x: "epoch",
                y: name,
                diagonal: false,
            },
            &[series],
        )
    };
    let content = format!(
        "<p>{} network, {} parameters, seed {}, on {}. Best epoch {}: {} {:.4} on the validation \
         split; its weights were kept.</p><div class=\"charts\">{}{}</div>",
        escape(
            value["config"]["train"]["network"]["kind"]
                .as_str()
                .unwrap_or("–")
        ),
        count(&value["parameters"]),
        value["seed"],
        escape(value["device"].as_str().unwrap_or("–")),
        best["epoch"],
        escape(metric),
        number(&best["value"]),
        chart("Training loss", "train_loss", "mean loss"),
        chart("Validation", "metric", metric),
    );
    super::section("Training", &content, &[&part.source, file])
}
