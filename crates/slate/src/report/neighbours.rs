//! Items and those nearest to them, by the vectors of a trained network.

use serde_json::Value;

use super::{Part, count, escape, number};

pub(super) fn section(part: &Part) -> String {
    let Some((source, value)) = &part.beside else {
        return String::new();
    };
    let lists = |name: &str| value[name].as_array().into_iter().flatten().map(row);
    let shown: String = lists("shown").collect();
    let lonely: String = lists("lonely").collect();
    let failures: String = value["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .map(failure)
        .collect();
    let failures = if failures.is_empty() {
        failures
    } else {
        format!(
            "<p>Pages on which what was bought stood lowest: what the page is about, what was bought, and \
             what the network put first instead.</p>{failures}"
        )
    };
    let content = format!(
        "<p>{} items with vectors of {} numbers. Each row begins with an item; those nearest to it follow, with \
         the cosine of the towers, which the network reads.</p>{shown}\
         <p>Of {} items looked at, these have the least near neighbours: nothing in the catalogue is like \
         them, or the towers cannot tell.</p>{lonely}{failures}",
        count(&part.value["items"]),
        count(&part.value["width"]),
        count(&value["looked_at"]),
    );
    super::section("Similar items", &content, &[&part.source, source])
}

fn row(seed: &Value) -> String {
    let near = seed["nearest"].as_array().into_iter().flatten();
    let near: String = near
        .map(|item| item_of(item, &format!("{:.3}", number(&item["cosine"]))))
        .collect();
    format!(
        "<div class=\"items\">{}{near}</div>",
        item_of(seed, "the item")
    )
}

/// A page: its own item, what was bought there, what stood first.
fn failure(page: &Value) -> String {
    let seed = match &page["seed"] {
        Value::Null => String::new(),
        seed => item_of(seed, "the page's item"),
    };
    let rank = format!(
        "bought, at {} of {}",
        count(&page["rank"]),
        count(&page["length"])
    );
    let first = page["first"].as_array().into_iter().flatten().enumerate();
    let first: String = first
        .map(|(at, item)| {
            let note = format!("{}: {:.3}", at + 1, number(&item["score"]));
            item_of(item, &note)
        })
        .collect();
    format!(
        "<div class=\"items\">{seed}{}{first}</div>",
        item_of(&page["bought"], &rank)
    )
}

fn item_of(item: &Value, note: &str) -> String {
    let title = escape(item["title"].as_str().unwrap_or(""));
    let picture = match item["picture"].as_str() {
        // Only what is a picture in base64 goes into the page.
        Some(data) if is_plain(data) => {
            format!("<img src=\"{data}\" alt=\"{title}\" loading=\"lazy\">")
        }
        _ => "<div class=\"none\">no picture</div>".to_owned(),
    };
    format!(
        "<figure>{picture}<figcaption>{title} <span class=\"unit\">{} · {note}</span></figcaption></figure>",
        item["item_id"].as_i64().unwrap_or(-1)
    )
}

fn is_plain(data: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || ":;,/+=".contains(c);
    data.starts_with("data:image/") && data.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn neighbours_stand_beside_their_item_and_cannot_break_the_page() {
        let item = |id: i64, title: &str, picture: Option<&str>| json!({ "item_id": id, "title": title, "picture": picture, "cosine": 0.98765 });
        let mut seed = item(1, "<b>lamp</b>", Some("data:image/png;base64,iVBORwE="));
        seed["nearest"] = json!([
            item(2, "rug", Some("\" onerror=\"x")),
            item(3, "chair", None)
        ]);
        let part = Part {
            kind: "item vectors".into(),
            source: "c/manifest.json".into(),
            value: json!({ "items": 9, "width": 4 }),
            beside: Some((
                "c/neighbours.json".into(),
                json!({
                    "looked_at": 9, "shown": [seed], "lonely": [],
                    "failures": [{
                        "list": "7", "seed": item(1, "desk", None), "bought": item(2, "<i>", None), "rank": 5,
                        "length": 8, "first": [{ "item_id": 3, "title": "mug", "score": 1.25 }],
                    }],
                }),
            )),
        };
        let html = section(&part);
        assert!(html.contains("&lt;b&gt;lamp&lt;/b&gt;") && !html.contains("<b>lamp"));
        assert!(html.contains("<img src=\"data:image/png;base64,iVBORwE=\""));
        assert!(!html.contains("onerror") && html.matches("no picture").count() == 5);
        assert!(html.contains("bought, at 5 of 8") && html.contains("1: 1.250"));
        assert!(!html.contains("<i>"));
        assert!(html.contains("0.988") && html.contains("c/neighbours.json"));
    }
}
