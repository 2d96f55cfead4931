//! `--set key.path=value`: single keys over the file, under the file's own rules.

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::{Table, Value};

use super::{ConfigFile, strict};
use crate::console::Refusal;

/// Applies overrides to the text of a configuration, in the order given.
///
/// # Errors
/// An override without `=`, a path through something that is no table or list, a key or value that
/// the configuration refuses.
pub(super) fn apply(text: &str, set: &[String]) -> Result<ConfigFile> {
    let mut table: Table =
        toml::from_str(text).context("the configuration was read once already")?;
    for one in set {
        let (path, value) = one.split_once('=').ok_or_else(|| {
            Refusal::new(format!("--set `{one}`, expected key.path=value"))
                .hint("for instance --set train.epochs=3")
        })?;
        put(&mut table, path.trim(), value_of(value.trim()))
            .with_context(|| format!("cannot apply --set `{one}`"))?;
    }
    ConfigFile::deserialize(table)
        .map_err(|error| strict::refusal(&error, None))
        .with_context(|| format!("cannot apply --set {}", set.join(" --set ")))
}

/// A TOML value, or else the text itself, so that quotes are not needed for plain words.
fn value_of(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn put(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let mut keys = path.split('.').peekable();
    let mut at: &mut Value = {
        let first = keys.next().filter(|key| !key.is_empty());
        let first = first.ok_or_else(|| Refusal::new("the key is empty"))?;
        if keys.peek().is_none() {
            table.insert(first.to_owned(), value);
            return Ok(());
        }
        table
            .entry(first)
            .or_insert_with(|| Value::Table(Table::new()))
    };
    while let Some(key) = keys.next() {
        let last = keys.peek().is_none();
        match at {
            Value::Table(inner) if last => {
                inner.insert(key.to_owned(), value);
                return Ok(());
            }
            Value::Table(inner) => {
                at = inner
                    .entry(key)
                    .or_insert_with(|| Value::Table(Table::new()));
            }
            Value::Array(items) => {
                let count = items.len();
                let item = key
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get_mut(index));
                let item = item.ok_or_else(|| {
                    Refusal::new(format!(
                        "`{key}` is no place in a list of {count}, counted from 0"
                    ))
                })?;
                if last {
                    *item = value;
                    return Ok(());
                }
                at = item;
            }
            _ => {
                return Err(Refusal::new(format!("`{key}` lies under a plain value")).into());
            }
        }
    }
    Ok(())
}
