//! Policies compared on a log: the answer first, then what it rests on.

use serde_json::Value;

use super::chart::{self, Axes, Bar, Row, Series, intervals, lines, short};
use super::{Part, count, escape, list, number, prose, table, text};

/// A comparison of policies.
pub(super) fn section(part: &Part) -> String {
    let value = &part.value;
    let names: Vec<&str> = list(&value["policies"])
        .iter()
        .map(|policy| policy["name"].as_str().unwrap_or("–"))
        .collect();
    let mut content = String::new();
    for (sentence, verdict) in list(&value["sentences"])
        .iter()
        .zip(list(&value["verdicts"]))
    {
        content.push_str(&told(sentence.as_str().unwrap_or("")));
        content.push_str(&format!(
            "<p>{}</p>\n",
            advice(verdict.as_str().unwrap_or(""))
        ));
    }
    content.push_str(&format!(
        "<p class=\"soft\">How to read this. The log shows what one policy did on {} lists with {} placements. \
         A placement that was shown as another policy would have shown it tells what that policy earns there. It \
         counts with a <em>weight</em>, how likely it was under that policy divided by how likely it was to be \
         logged, so that what was shown rarely speaks for what was not shown. Large weights make few placements \
         decide, so the table of weights says how many are left in effect. The main estimator is <code>{}</code>; \
         the others are there to disagree.</p>\n",
        count(&value["lists"]),
        count(&value["rows"]),
        escape(value["main"].as_str().unwrap_or("–"))
    ));
    content.push_str("<div class=\"charts\">");
    content.push_str(&differences(value, &names));
    content.push_str(&slots(value, &names));
    content.push_str("</div>\n");
    content.push_str(&estimates(value, &names));
    content.push_str(&weights(value, &names));
    content.push_str(&segments(value));
    content.push_str(&disagreements(value, &names));
    let title = match &names[..] {
        [first, rest @ ..] => format!("Backtest: {} against {first}", rest.join(", ")),
        [] => "Backtest".to_owned(),
    };
    super::section(&title, &content, &[&part.source])
}

/// A verdict: what it comes to, and each doubt on a line of its own.
fn told(sentence: &str) -> String {
    let mut parts = sentence.split("; ");
    let first = parts.next().unwrap_or_default();
    let rest: String = parts
        .map(|part| format!("<li>{}</li>", prose(part)))
        .collect();
    let rest = if rest.is_empty() {
        rest
    } else {
        format!("<ul>{rest}</ul>\n")
    };
    format!("<p class=\"verdict\">{}</p>\n{rest}", prose(first))
}

/// What a reader should do about it.
fn advice(verdict: &str) -> &'static str {
    match verdict {
        "b_better" => {
            "What to do: try it on a part of the traffic, with arms, before all of it; the log says what would \
             have been earned then, not what users do when they get used to it."
        }
        "a_better" => "What to do: do not roll it out; the log speaks against it.",
        _ => {
            "What to do: do not decide by this log. More lists, more exploration (some lists in random order), or \
             an experiment with arms can tell; this comparison cannot, whatever its estimate says."
        }
    }
}

/// The change by each estimator, of the first other policy.
fn differences(value: &Value, names: &[&str]) -> String {
    let [first, second, ..] = names else {
        return String::new();
    };
    let name = format!("{second} - {first}");
    let rows: Vec<Row> = list(&value["differences"])
        .iter()
        .filter(|difference| difference["name"] == name.as_str())
        .map(|difference| Row {
            name: estimator(difference),
            value: number(&difference["value"]),
            low: number(&difference["low"]),
            high: number(&difference["high"]),
        })
        .filter(|row| row.low.is_finite() && row.high.is_finite())
        .collect();
    let axis = format!(
        "{name}, {} per {}",
        text(&value["reward"]),
        text(&value["unit"])
    );
    intervals("Difference by estimator", &axis, &rows)
}

/// The estimator a difference is by, from its convention.
fn estimator(difference: &Value) -> String {
    let convention = text(&difference["convention"]);
    let first = convention.split(';').next().unwrap_or("");
    first.trim_start_matches("estimator=").to_owned()
}

/// What each policy earns slot by slot.
fn slots(value: &Value, names: &[&str]) -> String {
    let slots = list(&value["slots"]);
    let series: Vec<Series> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let of = |key: &'static str| {
                let values = slots.iter();
                values.map(move |slot| number(&slot["values"][at][key]))
            };
            let places = slots.iter().map(|slot| number(&slot["slot"]));
            Series {
                name: (*name).to_owned(),
                points: places.zip(of("value")).collect(),
                intervals: Some(of("low").zip(of("high")).collect()),
                band: Vec::new(),
            }
        })
        .collect();
    lines(
        &Axes {
            title: "Earned by slot, by inverse propensity",
            x: "slot",
            y: &format!("{} per {}", text(&value["reward"]), text(&value["unit"])),
            diagonal: false,
            limit: None,
        },
        &series,
    )
}

fn estimates(value: &Value, names: &[&str]) -> String {
    let estimates = list(&value["estimates"]);
    let differences = list(&value["differences"]);
    let mut header = vec!["estimator".to_owned()];
    header.extend(names.iter().map(|name| escape(name)));
    header.extend(
        names[1..]
            .iter()
            .map(|name| format!("{} - {}", escape(name), escape(names[0]))),
    );
    let others = names.len() - 1;
    let rows: Vec<Vec<String>> = estimates
        .chunks(names.len())
        .zip(differences.chunks(others.max(1)))
        .map(|(of_policies, changes)| {
            let mut row = vec![format!(
                "<code>{}</code>",
                escape(text(&of_policies[0]["estimator"]))
            )];
            row.extend(of_policies.iter().map(|one| super::cell(Some(one))));
            row.extend(changes.iter().map(|change| {
                let mut change = change.clone();
                change["difference"] = change["value"].clone();
                super::difference(&change)
            }));
            row
        })
        .collect();
    let left_out: String = list(&value["left_out"])
        .iter()
        .map(|pair| {
            format!(
                "<p>Left out: <code>{}</code>: {}.</p>",
                escape(text(&pair[0])),
                prose(text(&pair[1]))
            )
        })
        .collect();
    format!(
        "<h3>Estimators</h3>{}<p class=\"soft\"><code>dm</code> is the outcome model's word; its interval does not \
         cover the model's error. Intervals: {}&nbsp;%, {} over {}s{}.</p>{left_out}",
        table(&header, &rows),
        100.0 * number(&value["intervals"]["level"]),
        escape(text(&value["intervals"]["method"])),
        escape(text(&value["intervals"]["clusters"])),
        if others > 1 {
            ", for all differences together"
        } else {
            ""
        }
    )
}

fn weights(value: &Value, names: &[&str]) -> String {
    let header = [
        "policy",
        "lists matched",
        "mean weight (should be 1)",
        "placements in effect",
        "rewards in effect",
        "largest weight",
        "tail (below 0.5)",
    ];
    let reports = list(&value["weights"]);
    if reports.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = names
        .iter()
        .zip(reports)
        .map(|(name, report)| {
            vec![
                escape(name),
                format!(
                    "{} of {}",
                    count(&report["matched_lists"]),
                    count(&report["lists"])
                ),
                format!(
                    "{:.3} <span class=\"ci\">[{:.3}, {:.3}]</span>",
                    number(&report["mean"]),
                    number(&report["mean_low"]),
                    number(&report["mean_high"])
                ),
                format!(
                    "{} of {}",
                    count(&Value::from(number(&report["effective"]).round() as u64)),
                    count(&report["placements"])
                ),
                format!("{:.1}", number(&report["rewarded_effective"])),
                short(number(&report["largest"])),
                short(number(&report["tail"])),
            ]
        })
        .collect();
    let mut charts = String::new();
    for (name, report) in names.iter().zip(reports) {
        let bars = histogram(report);
        if bars.len() > 1 {
            let title = format!("Weights of {name}");
            charts.push_str(&chart::bars(&title, "weight from", "placements", &bars));
        }
    }
    let header = header.map(str::to_owned);
    format!(
        "<h3>Weights</h3>{}<div class=\"charts\">{charts}</div>",
        table(&header, &rows)
    )
}

/// Bins from the first to the last with a placement.
fn histogram(report: &Value) -> Vec<Bar> {
    let (edges, counts) = (list(&report["edges"]), list(&report["histogram"]));
    let some = |at: &usize| number(&counts[*at]) > 0.0;
    let places = || 0..counts.len().min(edges.len());
    let (Some(first), Some(last)) = (places().find(some), places().rev().find(some)) else {
        return Vec::new();
    };
    let bar = |at: usize| Bar {
        name: short(number(&edges[at])),
        value: number(&counts[at]),
    };
    (first..=last).map(bar).collect()
}

fn segments(value: &Value) -> String {
    let found = list(&value["segments"]["of"]);
    if found.is_empty() {
        return String::new();
    }
    let by = text(&value["segments"]["by"]);
    let header = [by, "policy", "lists", "difference", "p", "p, Holm"].map(escape);
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|segment| {
            vec![
                escape(text(&segment["value"])),
                escape(text(&segment["policy"])),
                count(&segment["lists"]),
                super::difference(segment),
                super::end(&segment["p"], 4, false),
                super::end(&segment["p_holm"], 4, false),
            ]
        })
        .collect();
    format!(
        "<h3>By {}</h3><p>Among many segments some differ by chance; the last column takes that into account.</p>{}",
        escape(by),
        table(&header, &rows)
    )
}

fn disagreements(value: &Value, names: &[&str]) -> String {
    let lists = list(&value["disagreements"]);
    let [first, second, ..] = names else {
        return String::new();
    };
    if lists.is_empty() {
        return String::new();
    }
    let header = ["item", "shown at", first, second, text(&value["reward"])].map(escape);
    let mut html = format!(
        "<h3>Lists they order differently</h3><p>{}Places count from 0.</p>",
        match value["differ"][0].as_f64() {
            Some(share) => format!(
                "By value they order {:.1}&nbsp;% of the lists differently. ",
                100.0 * share
            ),
            None => String::new(),
        }
    );
    for of in lists {
        let rows: Vec<Vec<String>> = list(&of["rows"])
            .iter()
            .map(|row| {
                let place = |value: &Value| count(value);
                vec![
                    row["item_id"]
                        .as_i64()
                        .map_or_else(|| "–".to_owned(), |id| id.to_string()),
                    place(&row["logged"]),
                    place(&row["places"][0]),
                    place(&row["places"][1]),
                    short(number(&row["reward"])),
                ]
            })
            .collect();
        html.push_str(&format!(
            "<details><summary>list {}</summary>{}</details>",
            escape(text(&of["list"])),
            table(&header, &rows)
        ));
    }
    html
}
