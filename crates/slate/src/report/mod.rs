//! One self-contained HTML page from the files of a chain.
//!
//! The page computes nothing: each number stands in a JSON file that a command wrote, and each
//! section names that file. No network, no scripts; charts are inline SVG, readable in light and
//! dark and on paper. The same files give the same page but for the line with the date.

mod backtest;
mod calibration;
mod chart;
mod data;
mod experiments;
mod learning;
mod monthly;
mod neighbours;
mod orders;
mod search;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::artefacts::manifest;

const STYLE: &str = include_str!("style.css");

/// One artefact to show.
pub(crate) struct Part {
    kind: String,
    /// The file the numbers come from, as the reader was given it.
    source: String,
    value: Value,
    /// Lines of `metrics.jsonl` for a run, the join report for a dataset, neighbours for item vectors.
    beside: Option<(String, Value)>,
}

impl Part {
    /// An artefact that is at hand; `source` is the file its numbers stand in.
    pub(crate) fn new(kind: &str, source: &str, value: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            source: source.to_owned(),
            value,
            beside: None,
        }
    }

    /// `log`, `dataset`, `run`, `sweep`, `calibrators`, `evaluation`, `backtest`, `recipes`,
    /// `experiment`, `item vectors`, `month` or `truth`.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }
}

/// Finds what can be shown under the paths: artefacts themselves, or folders that hold them.
///
/// # Errors
/// A path that does not exist, a file that is no JSON, a format this build does not read.
pub(crate) fn collect(paths: &[PathBuf]) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for path in paths {
        if !path.exists() {
            anyhow::bail!("`{}` does not exist", path.display());
        }
        visit(path, path, &mut parts, 2)?;
    }
    Ok(parts)
}

fn visit(root: &Path, path: &Path, parts: &mut Vec<Part>, depth: usize) -> Result<()> {
    if path.is_file() {
        return take(root, path, parts);
    }
    for name in ["manifest.json", "comparison.json"] {
        if path.join(name).is_file() {
            return take(root, &path.join(name), parts);
        }
    }
    if depth > 0 {
        let mut children: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        children.sort();
        for child in children {
            let json = child.extension().is_some_and(|e| e == "json");
            if child.is_dir() || json {
                visit(root, &child, parts, depth - 1)?;
            }
        }
    }
    Ok(())
}

fn take(root: &Path, file: &Path, parts: &mut Vec<Part>) -> Result<()> {
    let value = manifest::read_json(file)?;
    let kind = manifest::kind(&value)
        .map_err(|error| error.context(format!("cannot use `{}`", file.display())))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let beside = match kind.as_str() {
        "run" => {
            let file = folder.join("metrics.jsonl");
            let text = std::fs::read_to_string(&file)?;
            let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
            Some((told(root, &file), Value::Array(lines?)))
        }
        "dataset" if folder.join("join.json").is_file() => {
            let file = folder.join("join.json");
            Some((told(root, &file), manifest::read_json(&file)?))
        }
        "item vectors" if folder.join("neighbours.json").is_file() => {
            let file = folder.join("neighbours.json");
            let value = manifest::read_json(&file)?;
            let kind = manifest::kind(&value);
            if kind.ok().as_deref() != Some("neighbours") {
                anyhow::bail!("`{}` is no file of neighbours", file.display());
            }
            Some((told(root, &file), value))
        }
        _ => None,
    };
    parts.push(Part {
        kind,
        source: told(root, file),
        value,
        beside,
    });
    Ok(())
}

/// The file's path below the folder the reader named, so that a page does not depend on where
/// the folder stands.
fn told(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    if below.as_os_str().is_empty() {
        return file
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    }
    // A run or dataset given for itself keeps its folder's name; a folder of folders needs none.
    let of_a_folder = [
        "manifest.json",
        "comparison.json",
        "metrics.jsonl",
        "join.json",
        "neighbours.json",
    ];
    let own =
        below.components().count() == 1 && of_a_folder.iter().any(|name| below.ends_with(name));
    match root.file_name() {
        Some(name) if own => format!("{}/{}", name.to_string_lossy(), below.display()),
        _ => below.display().to_string(),
    }
}

/// The page. It says of what day its labels are, or else when it was made.
pub(crate) fn page(title: &str, parts: &[Part], as_of: Option<&str>) -> String {
    let of = |kind: &str| {
        parts
            .iter()
            .filter(|part| part.kind == kind)
            .collect::<Vec<_>>()
    };
    let truth = of("truth");
    let mut body = String::new();
    for part in of("month") {
        body.push_str(&monthly::section(part));
    }
    body.push_str(&orders::section(&of("evaluation"), truth.first().copied()));
    for part in of("backtest") {
        body.push_str(&backtest::section(part));
    }
    for part in of("recipes") {
        body.push_str(&experiments::recipes(part));
    }
    for part in of("experiment") {
        body.push_str(&experiments::arms(part));
    }
    for part in of("calibrators") {
        body.push_str(&calibration::section(part, truth.first().copied()));
    }
    for part in of("sweep") {
        body.push_str(&search::section(part));
    }
    for part in of("item vectors") {
        body.push_str(&neighbours::section(part));
    }
    for part in of("run") {
        body.push_str(&learning::section(part));
    }
    for part in of("dataset") {
        body.push_str(&data::dataset(part));
    }
    for part in of("log") {
        body.push_str(&data::log(part));
    }
    let dated = as_of.map_or_else(
        || format!("Made on {}", today()),
        |day| format!("Labels as of {day}"),
    );
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"soft\">{dated}</p>\n\
         <p class=\"soft\">Slate {}. Every number stands in the file named under its section. \
         Intervals come from a bootstrap over whole lists.</p>\n{body}</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Today's date, UTC. It stands alone on its line, the only one that differs between two pages of
/// the same files.
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    date(i64::try_from(seconds).unwrap_or(0) * 1_000_000)
}

/// The day of a time in UTC microseconds.
fn date(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).map_or_else(
        || "–".to_owned(),
        |time| time.format("%Y-%m-%d").to_string(),
    )
}

/// Text made safe for HTML and attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A section: heading, content, and the files it comes from.
fn section(heading: &str, content: &str, sources: &[&str]) -> String {
    let files: Vec<String> = sources
        .iter()
        .map(|source| format!("<code>{}</code>", escape(source)))
        .collect();
    format!(
        "<section>\n<h2>{}</h2>\n{content}\n<p class=\"source\">From {}</p>\n</section>\n",
        escape(heading),
        files.join(", ")
    )
}

/// Words of the program as HTML: what stands between backticks is code.
fn prose(words: &str) -> String {
    let mut html = String::new();
    for (at, part) in words.split('`').enumerate() {
        let part = escape(part);
        if at % 2 == 1 {
            html.push_str(&format!("<code>{part}</code>"));
        } else {
            html.push_str(&part);
        }
    }
    html
}

/// A table; on a phone each row becomes a block whose lines carry the column names. Cells are HTML,
/// column names plain text made safe.
fn table(header: &[String], rows: &[Vec<String>]) -> String {
    table_of("", header, rows)
}

/// The same for words: they begin at the left and go on in the next line.
fn word_table(header: &[String], rows: &[Vec<String>]) -> String {
    table_of(" class=\"words\"", header, rows)
}

fn table_of(class: &str, header: &[String], rows: &[Vec<String>]) -> String {
    let head: String = header
        .iter()
        .map(|cell| format!("<th scope=\"col\">{cell}</th>"))
        .collect();
    let line = |row: &Vec<String>| {
        let labelled = header.iter().zip(row);
        let cells = labelled.map(|(name, cell)| format!("<td data-label=\"{name}\">{cell}</td>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = rows.iter().map(line).collect();
    format!(
        "<div class=\"scroll\"><table{class}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
    )
}

/// The items of a JSON list, none where it is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a JSON file, a dash where there is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

/// A number of a JSON file, NaN where there is none.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The metric of this name in a list of metrics.
fn metric<'a>(metrics: &'a Value, name: &str) -> Option<&'a Value> {
    metrics
        .as_array()?
        .iter()
        .find(|metric| metric["name"] == name)
}

/// A metric with its interval, as a table cell.
fn cell(metric: Option<&Value>) -> String {
    metric.map_or_else(String::new, |metric| {
        let d = crate::pipeline::evaluation::decimals(number(&metric["value"]));
        format!(
            "{} <span class=\"ci\">[{}, {}]</span>",
            end(&metric["value"], d, false),
            end(&metric["low"], d, false),
            end(&metric["high"], d, false)
        )
    })
}

/// How the intervals of an evaluation or comparison were made.
fn intervals(value: &Value) -> String {
    let made = &value["intervals"];
    format!(
        "Intervals cover {}&nbsp;% ({} draws).",
        (1000.0 * number(&made["level"])).round() / 10.0,
        count(&made["draws"])
    )
}

/// An end of an interval, a dash where there is none.
fn end(value: &Value, decimals: usize, sign: bool) -> String {
    match value.as_f64() {
        Some(end) if sign => format!("{end:+.decimals$}"),
        Some(end) => format!("{end:.decimals$}"),
        None => "–".to_owned(),
    }
}

/// A difference with its interval, as a table cell.
fn difference(one: &Value) -> String {
    let size = number(&one["low"]).abs().max(number(&one["high"]).abs());
    let d = crate::pipeline::evaluation::decimals(if size.is_finite() { size } else { 0.0 });
    format!(
        "{} <span class=\"ci\">[{}, {}]</span>",
        end(&one["difference"], d, true),
        end(&one["low"], d, true),
        end(&one["high"], d, true)
    )
}

/// A whole number with thin spaces between thousands.
fn count(value: &Value) -> String {
    let digits = value
        .as_u64()
        .map_or_else(|| "–".to_owned(), |n| n.to_string());
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push_str("&#8239;");
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_files_cannot_break_the_page() {
        let value = json!({
            "format": 1, "kind": "evaluation", "name": "<script>", "label": "purchase",
            "lists": 10, "rows": 50,
            "metrics": [{ "name": "ndcg@10", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10,
                          "unit": "list", "convention": "gain=exp" }],
            "against": [],
        });
        let part = Part {
            kind: "evaluation".into(),
            source: "a\"b.json".into(),
            value,
            beside: None,
        };
        let html = page("a & b", &[part], None);
        assert!(
            !html.contains("<script>") && html.contains("&lt;script&gt;"),
            "{html}"
        );
        assert!(html.contains("a &amp; b") && html.contains("a&quot;b.json"));
        assert_eq!(html.matches("Made on ").count(), 1);
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(&json!(1_234_567)), "1&#8239;234&#8239;567");
        assert_eq!(count(&json!(12)), "12");
        assert_eq!(count(&json!(null)), "–");
    }
}
