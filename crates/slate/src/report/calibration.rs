//! Whether probabilities keep their promise: calibrators side by side, reliability, the truth.

use serde_json::Value;

use super::chart::{Axes, Series, lines, short};
use super::orders::convention;
use super::{Part, cell, count, escape, number, table};

pub(super) fn section(part: &Part, truth: Option<&Part>) -> String {
    let value = &part.value;
    let Some(methods) = value["methods"].as_object() else {
        return String::new();
    };
    // The raw score first, then the calibrators by name.
    let mut names: Vec<&str> = methods.keys().map(String::as_str).collect();
    names.sort_by_key(|name| (*name != "raw", (*name).to_owned()));
    let Some(first) = names
        .first()
        .and_then(|name| methods[*name]["metrics"].as_array())
    else {
        return String::new();
    };
    let metrics: Vec<&str> = first
        .iter()
        .filter_map(|metric| metric["name"].as_str())
        .collect();

    let mut header = vec!["calibrator".to_owned()];
    header.extend(metrics.iter().map(|name| escape(name)));
    header.push("log loss against raw".to_owned());
    if truth.is_some() {
        header.push("mean distance from the truth".to_owned());
    }
    let mut rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let method = &methods[*name];
            let mut row = vec![escape(name)];
            row.extend(
                metrics
                    .iter()
                    .map(|m| cell(super::metric(&method["metrics"], m))),
            );
            row.push(match &method["against_raw"] {
                Value::Null => String::new(),
                one => super::difference(one),
            });
            if let Some(truth) = truth {
                row.push(short(number(
                    &truth.value["calibration"][*name]["mean_distance"],
                )));
            }
            row
        })
        .collect();
    if let Some(truth) = truth {
        let known = &truth.value["probabilities"]["metrics"];
        let mut row = vec!["<em>the truth itself</em>".to_owned()];
        row.extend(metrics.iter().map(|m| cell(super::metric(known, m))));
        row.extend([String::new(), "0".to_owned()]);
        rows.push(row);
    }

    let label = value["label"].as_str().unwrap_or("outcome");
    let mut content = format!(
        "<p>Fitted on {} held-out scores, judged on {} others ({}). {} Log loss, ECE and Brier: \
         smaller is better. PCOC is predicted ÷ observed {label}s: 1 is right.</p>\n{}<p><strong>{}</strong></p>",
        count(&value["fitted_on"]["rows"]),
        count(&value["judged_on"]["rows"]),
        escape(value["judged_on"]["how"].as_str().unwrap_or("–")),
        super::intervals(value),
        table(&header, &rows),
        code(value["verdict"].as_str().unwrap_or_default())
    );
    if value["in_sample"] == true {
        content.push_str(
            "<p><strong>Warning: in-sample. The calibrators were fitted on rows that training or this comparison has seen. These numbers do not hold \
             for new traffic.</strong></p>",
        );
    }
    content.push_str("<div class=\"charts\">");
    for name in &names {
        content.push_str(&reliability(name, &methods[*name]["reliability"], label));
    }
    if let Some(truth) = truth {
        content.push_str(&against_truth(&names, &truth.value["calibration"]));
    }
    content.push_str("</div>");
    let items: String = first
        .iter()
        .map(|metric| format!("<li>{}</li>", convention(metric)))
        .collect();
    content.push_str(&format!(
        "<p class=\"soft\">Reliability: rows in bins of equal size by probability, ties never \
         split; bars are 95&nbsp;% Wilson intervals of the observed rate.</p>\
         <p class=\"soft\">Conventions:</p><ul class=\"soft\">{items}</ul>"
    ));
    let mut sources = vec![part.source.as_str()];
    sources.extend(truth.map(|truth| truth.source.as_str()));
    super::section("Calibration", &content, &sources)
}

/// Text whose words in backticks are set as code.
fn code(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(i, part)| match i % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    });
    parts.collect()
}

fn reliability(name: &str, bins: &Value, label: &str) -> String {
    let bins = bins.as_array().map(Vec::as_slice).unwrap_or_default();
    let series = Series {
        name: name.to_owned(),
        points: bins
            .iter()
            .map(|bin| (number(&bin["mean_probability"]), number(&bin["rate"])))
            .collect(),
        intervals: Some(
            bins.iter()
                .map(|bin| (number(&bin["low"]), number(&bin["high"])))
                .collect(),
        ),
    };
    let title = format!("Reliability: {name}");
    let y = format!("observed {label} rate");
    lines(
        &Axes {
            title: &title,
            x: "predicted",
            y: &y,
            diagonal: true,
        },
        &[series],
    )
}

fn against_truth(names: &[&str], calibration: &Value) -> String {
    let series: Vec<Series> = names
        .iter()
        .filter(|name| **name != "raw")
        .filter_map(|name| {
            let bins = calibration[*name]["bins"].as_array()?;
            Some(Series {
                name: (*name).to_owned(),
                points: bins
                    .iter()
                    .map(|bin| (number(&bin["probability"]), number(&bin["truth"])))
                    .collect(),
                intervals: None,
            })
        })
        .collect();
    let axes = Axes {
        title: "Calibrated against true",
        x: "calibrated probability",
        y: "mean true probability",
        diagonal: true,
    };
    lines(&axes, &series)
}
