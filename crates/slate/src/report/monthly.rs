//! The month of a retrain: the verdict, what it rests on, how the months went.

use serde_json::Value;

use super::chart::{Axes, Series, lines};
use super::{Part, count, difference, escape, list, number, prose, table, text, word_table};
use crate::pipeline::evaluation::decimals;

/// Features that moved most that are shown.
const MOVED: usize = 12;

/// The sections of a month.
pub(super) fn section(part: &Part) -> String {
    let value = &part.value;
    let source = [part.source.as_str()];
    let mut page = super::section("Verdict", &verdict(value), &source);
    if !value["judgement"].is_null() {
        let title = "New model beside the one in use";
        page.push_str(&super::section(title, &compared(value), &source));
    }
    page.push_str(&super::section("Month by month", &months(value), &source));
    page.push_str(&super::section("Logs and drift", &data(value), &source));
    page.push_str(&super::section("Lineage", &lineage(value), &source));
    page
}

fn verdict(value: &Value) -> String {
    let decision = &value["decision"];
    let reasons = list(&decision["reasons"]);
    let reasons: String = reasons
        .iter()
        .map(|reason| format!("<li>{}</li>", prose(text(reason))))
        .collect();
    let told = match text(&decision["verdict"]) {
        "promoted" => "the new model is in use",
        _ if list(&value["lineage"]).is_empty() => "no model is in use",
        _ => "the model that was in use stays",
    };
    let made = if value["version"].is_null() {
        "<p>The data were refused before a model was made of them.</p>".to_owned()
    } else {
        format!(
            "<p>The new model is version <code>{}</code>, {}.</p>",
            escape(text(&value["version"])),
            match text(&value["trained"]) {
                "update" => "updated from the one that was in use",
                _ => "trained from nothing",
            }
        )
    };
    let header = ["question", "answer", "why"].map(str::to_owned);
    let answers: Vec<Vec<String>> = list(&decision["answers"])
        .iter()
        .map(|answer| {
            ["question", "answer", "why"]
                .iter()
                .map(|key| prose(text(&answer[*key])))
                .collect()
        })
        .collect();
    format!(
        "<p class=\"verdict\">{} for {}: {}, {told}</p><ul>{reasons}</ul>{made}{}",
        escape(text(&value["model"])),
        escape(text(&value["month"])),
        escape(text(&decision["verdict"])),
        if answers.is_empty() {
            String::new()
        } else {
            word_table(&header, &answers)
        }
    )
}

fn compared(value: &Value) -> String {
    let header = ["lists", "metric", "new model", "in use", "difference", "p"].map(str::to_owned);
    let mut rows = Vec::new();
    let all = std::iter::once(&value["judgement"]).chain(list(&value["parts"]));
    for judgement in all {
        let part = &judgement["part"];
        let which = if part.is_null() {
            "all".to_owned()
        } else {
            format!("{} = {}", text(&part["feature"]), text(&part["value"]))
        };
        let which = format!("{} ({})", escape(&which), count(&judgement["lists"]));
        for metric in list(&judgement["metrics"]) {
            let own = number(&metric["challenger"]["value"]);
            let d = decimals(own);
            let champion = metric["champion"]["value"].as_f64();
            rows.push(vec![
                which.clone(),
                escape(text(&metric["challenger"]["name"])),
                format!("{own:.d$}"),
                champion.map_or_else(|| "–".to_owned(), |value| format!("{value:.d$}")),
                match metric["difference"]["difference"].as_f64() {
                    Some(_) => difference(&metric["difference"]),
                    None => "–".to_owned(),
                },
                metric["difference"]["p"]
                    .as_f64()
                    .map_or_else(|| "–".to_owned(), |p| format!("{p:.4}")),
            ]);
        }
    }
    let note = "<p class=\"soft\">On the newest lists, which neither model has learned from; differences \
                are the new model's minus the other's, paired by list.</p>";
    format!("{}{note}", table(&header, &rows))
}

fn months(value: &Value) -> String {
    let months = list(&value["months"]);
    let mut content = "<div class=\"charts\">".to_owned();
    let names: Vec<&str> = months
        .iter()
        .rev()
        .find_map(|month| month["metrics"].as_array())
        .into_iter()
        .flatten()
        .map(|metric| text(&metric["name"]))
        .collect();
    let x = format!(
        "month; 1 is {}",
        months.first().map_or("–", |month| text(&month["month"]))
    );
    for name in names {
        let series = [("new model", "challenger"), ("in use", "champion")].map(|(label, key)| {
            let points = months.iter().enumerate().filter_map(|(at, month)| {
                let metrics = list(&month["metrics"]);
                let own = metrics.iter().find(|metric| metric["name"] == name)?;
                Some((at as f64 + 1.0, own[key].as_f64()?))
            });
            Series {
                name: label.to_owned(),
                points: points.collect(),
                intervals: None,
                band: Vec::new(),
            }
        });
        let series: Vec<Series> = series
            .into_iter()
            .filter(|one| one.points.len() > 1)
            .collect();
        if !series.is_empty() {
            let axes = Axes {
                title: name,
                x: &x,
                y: name,
                diagonal: false,
                limit: None,
            };
            content.push_str(&lines(&axes, &series));
        }
    }
    let header = ["month", "verdict", "version"].map(str::to_owned);
    let rows: Vec<Vec<String>> = months
        .iter()
        .map(|month| {
            let version = month["version"].as_str().unwrap_or("–");
            vec![
                escape(text(&month["month"])),
                escape(text(&month["verdict"])),
                format!("<code>{}</code>", escape(version)),
            ]
        })
        .collect();
    content.push_str("</div>");
    content.push_str(&word_table(&header, &rows));
    content
}

fn data(value: &Value) -> String {
    let days = list(&value["logs"]["days"]);
    if days.is_empty() {
        return "<p>The logs could not be read.</p>".to_owned();
    }
    let series = ["pages", "events"].map(|key| Series {
        name: key.to_owned(),
        points: days
            .iter()
            .enumerate()
            .map(|(at, day)| (at as f64 + 1.0, number(&day[key])))
            .collect(),
        intervals: None,
        band: Vec::new(),
    });
    let axes = Axes {
        title: "What was logged",
        x: "day of the month",
        y: "rows",
        diagonal: false,
        limit: None,
    };
    let mut content = lines(&axes, &series);
    let moved = list(&value["data"]["drift"]);
    if moved.is_empty() {
        content.push_str("<p>There is no earlier month to compare the features with.</p>");
        return content;
    }
    let header = [
        "feature",
        "PSI",
        "missing before",
        "missing now",
        "test",
        "p, Holm",
    ]
    .map(str::to_owned);
    let share = |value: &Value| format!("{:.2} %", 100.0 * number(value));
    let rows: Vec<Vec<String>> = moved
        .iter()
        .take(MOVED)
        .map(|one| {
            vec![
                escape(text(&one["feature"])),
                format!("{:.4}", number(&one["psi"])),
                share(&one["missing_before"]),
                share(&one["missing_now"]),
                escape(text(&one["test"])),
                format!("{:.4}", number(&one["p_holm"])),
            ]
        })
        .collect();
    let note = match value["data"]["drift_enforced"].as_bool() {
        Some(false) => {
            "<p>The month before had fewer days of logs to look back on than this one, so history features \
             grew by themselves: drift is shown, and not held against the month.</p>"
        }
        _ => "",
    };
    content.push_str(&format!(
        "<h3>Features that moved most, of {}</h3>{note}{}",
        moved.len(),
        table(&header, &rows)
    ));
    content
}

fn lineage(value: &Value) -> String {
    let header = ["promotion", "version", "trained", "from", "reason"].map(str::to_owned);
    let rows: Vec<Vec<String>> = list(&value["lineage"])
        .iter()
        .map(|one| {
            let about = &one["about"];
            let parent = about["parent"].as_str().unwrap_or("–");
            vec![
                count(&one["number"]),
                format!("<code>{}</code>", escape(text(&one["version"]))),
                escape(text(&about["trained"])),
                format!("<code>{}</code>", escape(parent)),
                prose(text(&one["reason"])),
            ]
        })
        .collect();
    word_table(&header, &rows)
}
