//! TOML to a type, with the line of the mistake and the nearest known name.

use anyhow::Result;
use serde::de::DeserializeOwned;

use crate::console::Refusal;

/// Parses `text`; every mistake is a [`Refusal`] that names the line.
///
/// # Errors
/// A syntax error, an unknown key, a missing key, a value of the wrong type.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| refusal(&error, Some(text)).into())
}

/// Rewords an error of the TOML reader. With `text` the line is told.
pub(super) fn refusal(error: &toml::de::Error, text: Option<&str>) -> Refusal {
    let message = error.message().trim().replace('\n', ", ");
    let line = match (error.span(), text) {
        (Some(span), Some(text)) => {
            let before = text.get(..span.start).unwrap_or(text);
            Some(before.split('\n').count())
        }
        _ => None,
    };
    let place = line
        .map(|line| format!(" at line {line}"))
        .unwrap_or_default();
    // "unknown field `x`, expected …": the place reads best right after the name.
    let told = match message.split_once(", expected") {
        Some((what, expected)) => format!("{what}{place}, expected{expected}"),
        None => format!("{message}{place}"),
    };
    let refusal = Refusal::new(told);
    match nearest(&message) {
        Some(name) => refusal.hint(format!("did you mean `{name}`?")),
        None => refusal,
    }
}

/// The known name closest to the unknown one, if any is close.
fn nearest(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|&(distance, known)| distance <= (known.len().max(unknown.len()) / 3).max(2))
        .min()
        .map(|(_, known)| known.to_owned())
}
