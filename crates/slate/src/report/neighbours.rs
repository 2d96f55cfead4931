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
    let content = format!(
        "<p>{} items with vectors of {} numbers. Each row begins with an item; those nearest to it follow, with \
         the cosine of the towers, which the network reads.</p>{shown}\
         <p>Of {} items looked at, these have the least near neighbours: nothing in the catalogue is like \
         them, or the towers cannot tell.</p>{lonely}",
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
                json!({ "looked_at": 9, "shown": [seed], "lonely": [] }),
            )),
        };
        let html = section(&part);
        assert!(html.contains("&lt;b&gt;lamp&lt;/b&gt;") && !html.contains("<b>lamp"));
        assert!(html.contains("<img src=\"data:image/png;base64,iVBORwE=\""));
        assert!(!html.contains("onerror") && html.matches("no picture").count() == 2);
        assert!(html.contains("0.988") && html.contains("c/neighbours.json"));
    }
}
