//! What a search over configurations found.

use serde_json::Value;

use super::chart::{Axes, cloud};
use super::{Part, count, escape, number, table};

/// Points shown.
const SHOWN: usize = 20;

pub(super) fn section(part: &Part) -> String {
    let value = &part.value;
    let points: Vec<&Value> = value["points"].as_array().into_iter().flatten().collect();
    let Some(first) = points.first() else {
        return String::new();
    };
    let keys: Vec<&String> = first["set"]
        .as_object()
        .into_iter()
        .flat_map(|set| set.keys())
        .collect();
    let metric = value["metric"].as_str().unwrap_or("metric");
    let seeds = value["seeds"].as_array().map_or(1, Vec::len);
    // Keys are long words that may break where they have joints.
    let broken = |key: &str| escape(key).replace('.', ".<wbr>").replace('_', "_<wbr>");
    let mut header = vec!["point".to_owned()];
    header.extend(keys.iter().map(|key| broken(key)));
    header.push(broken(metric));
    if seeds > 1 {
        header.push("of its seeds".to_owned());
    }
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| escape(&value.to_string()), escape)
    };
    let row = |point: &&Value| {
        let mut cells = vec![count(&point["point"])];
        cells.extend(keys.iter().map(|key| shown(&point["set"][key.as_str()])));
        let mean = point["mean"].as_f64();
        cells.push(mean.map_or("failed".to_owned(), |mean| format!("{mean:.4}")));
        if seeds > 1 {
            let ends = (number(&point["low"]), number(&point["high"]));
            cells.push(mean.map_or(String::new(), |_| format!("{:.4} to {:.4}", ends.0, ends.1)));
        }
        cells
    };
    let rows: Vec<Vec<String>> = points.iter().take(SHOWN).map(row).collect();
    let mut charts: String = keys.iter().map(|key| chart(value, key, metric)).collect();
    if !charts.is_empty() {
        charts = format!("<div class=\"charts\">{charts}</div>");
    }
    let content = format!(
        "<p>{} points of {}, {seeds} training{} each, by {} on the validation split, which flatters \
         the best of many.{}</p>{}{charts}",
        points.len(),
        escape(value["ranker"].as_str().unwrap_or("–")),
        if seeds == 1 { "" } else { "s" },
        escape(metric),
        if points.len() > SHOWN {
            " The best are shown."
        } else {
            ""
        },
        table(&header, &rows),
    );
    super::section("Search", &content, &[&part.source])
}

/// The metric over a number that was searched, of all points that did not fail; nothing for other values.
fn chart(value: &Value, key: &str, metric: &str) -> String {
    let logarithmic = value["config"]["sweep"]["over"][key]["scale"] == "log";
    let points = value["points"].as_array().into_iter().flatten();
    let points: Vec<(f64, f64)> = points
        .filter_map(|point| {
            let at = point["set"][key].as_f64()?;
            let at = if logarithmic { at.log10() } else { at };
            Some((at, point["mean"].as_f64()?))
        })
        .filter(|point| point.0.is_finite())
        .collect();
    if !points.iter().any(|point| point.0 != points[0].0) {
        return String::new();
    }
    let axes = Axes {
        title: key,
        x: if logarithmic { "log10" } else { "" },
        y: metric,
        diagonal: false,
        limit: None,
    };
    cloud(&axes, points)
}
