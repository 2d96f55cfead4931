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

    let reference = value["reference"].as_str().unwrap_or("isotonic");
    let mut header = vec!["calibrator".to_owned()];
    header.extend(metrics.iter().map(|name| escape(name)));
    header.push(format!("log loss − {}", escape(reference)));
    header.push("values".to_owned());
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
            row.push(match &method["against"][0] {
                Value::Null => String::new(),
                one => super::difference(one),
            });
            row.push(count(&method["distinct"]));
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
        row.extend([String::new(), String::new(), "0".to_owned()]);
        rows.push(row);
    }

    let label = value["label"].as_str().unwrap_or("outcome");
    let mut content = format!(
        "<p>Fitted on {} held-out scores, judged on {} others ({}). {} Log loss, NE, Brier and ECE: \
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
    if let Some(words) = value["order"]["words"].as_str() {
        content.push_str(&format!("<p>{}</p>", code(words)));
    }
    content.push_str(&blended(&names, value, reference));
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
        "<p class=\"soft\">Reliability without bins (CORP): the best non-decreasing fit of what \
         happened to what was predicted. The band is where that fit would stay if the predictions were \
         right; a line outside is evidence that they are not.</p>\
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

/// Orders where probabilities are mixed with money; nothing where there is no price.
fn blended(names: &[&str], value: &Value, reference: &str) -> String {
    let Some(formula) = value["blend"].as_str() else {
        return String::new();
    };
    let methods = &value["methods"];
    let first = names
        .iter()
        .find_map(|name| methods[*name]["blended"]["metrics"].as_array());
    let metrics: Vec<&str> = first
        .into_iter()
        .flatten()
        .filter_map(|metric| metric["name"].as_str())
        .collect();
    let Some(revenue) = metrics.first() else {
        return String::new();
    };
    let mut header = vec!["order by".to_owned(), "w".to_owned()];
    header.extend(metrics.iter().map(|name| escape(name)));
    header.push(format!("{} − {}", escape(revenue), escape(reference)));
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let blended = &methods[*name]["blended"];
            let mut row = vec![escape(name), short(number(&blended["weight"]))];
            row.extend(
                metrics
                    .iter()
                    .map(|m| cell(super::metric(&blended["metrics"], m))),
            );
            row.push(match &blended["against"][0] {
                Value::Null => String::new(),
                one => super::difference(one),
            });
            row
        })
        .collect();
    format!(
        "<p>Where probabilities are mixed with money the order does change. Here placements stand by \
         {}, w tuned for each calibrator on the rows it was fitted on, by probabilities out of fold. \
         Purchases are logged ones, credited to the new order.</p>{}",
        escape(formula),
        table(&header, &rows)
    )
}

fn reliability(name: &str, corp: &Value, label: &str) -> String {
    let list = |key: &str| corp[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let band = list("band").iter().map(|point| {
        let number = |key: &str| number(&point[key]);
        (number("probability"), number("low"), number("high"))
    });
    let series = Series {
        name: name.to_owned(),
        points: list("steps")
            .iter()
            .flat_map(|step| {
                let rate = number(&step["rate"]);
                [(number(&step["low"]), rate), (number(&step["high"]), rate)]
            })
            .collect(),
        intervals: None,
        band: band.collect(),
    };
    // The rarest predictions are often one row, bought or not: the rest sets the scale.
    let steps = list("steps");
    let weight = |step: &Value| number(&step["weight"]);
    let all: f64 = steps.iter().map(weight).sum();
    let mut below = 0.0;
    let shown = steps.iter().take_while(|step| {
        let begins = below < 0.995 * all;
        below += weight(step);
        begins
    });
    let rate = shown.map(|step| number(&step["rate"])).fold(0.0, f64::max);
    let highest = steps.last().map_or(1.0, |step| number(&step["high"]));
    let title = format!("Reliability: {name}");
    let y = format!("observed {label} rate");
    lines(
        &Axes {
            title: &title,
            x: "predicted",
            y: &y,
            diagonal: true,
            limit: Some(1.05 * highest.max(rate)),
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
                band: Vec::new(),
            })
        })
        .collect();
    let axes = Axes {
        title: "Calibrated against true",
        x: "calibrated probability",
        y: "mean true probability",
        diagonal: true,
        limit: None,
    };
    lines(&axes, &series)
}
