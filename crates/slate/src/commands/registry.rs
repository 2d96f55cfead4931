//! `slate registry`: versions of a model, and which of them is in use.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Context;
use crate::artefacts::registry::{Promotion, Registry, Version};
use crate::artefacts::{Lease, manifest};
use crate::cli::{RegistryArgs, RegistryCommand};
use crate::config::RetrainSection;
use crate::console::{Align, ExitStatus, Outcome, Refusal, Table};
use crate::pipeline::retrain::record::Record;
use crate::pipeline::retrain::{PROFILES, months, store};
use crate::pipeline::stages::Store;

pub(super) fn run(context: &Context, args: &RegistryArgs) -> Result<Outcome> {
    let registry = open(context, args)?;
    match &args.command {
        RegistryCommand::List => list(&registry),
        RegistryCommand::Show { version } => show(&registry, version.as_deref()),
        RegistryCommand::Promote { version, reason } => {
            let _lease = lease(context, &registry)?;
            promote(&registry, version, reason)
        }
        RegistryCommand::Rollback { reason } => {
            let _lease = lease(context, &registry)?;
            Ok(brought(&registry.roll_back(reason)?))
        }
        RegistryCommand::Diff { a, b } => diff(&registry, a, b),
        RegistryCommand::Gc { keep, dry_run } => {
            let _lease = lease(context, &registry)?;
            gc(context, &registry, *keep, *dry_run)
        }
        RegistryCommand::Verify => verify(context, &registry),
    }
}

fn open(context: &Context, args: &RegistryArgs) -> Result<Registry> {
    let section = context.config.file.retrain.as_ref();
    let root = args.registry.clone();
    let root = root.or_else(|| section.map(|section| section.registry.clone()));
    let root = root.unwrap_or_else(|| PathBuf::from("registry"));
    let model = args.model.clone();
    let model = match model.or_else(|| section.map(|section| section.model.clone())) {
        Some(model) => model,
        None => match &Registry::models(&root)?[..] {
            [one] => one.clone(),
            models => {
                let told = format!("`{}` has {} models", root.display(), models.len());
                let hint = if models.is_empty() {
                    "`slate retrain` makes the first version".to_owned()
                } else {
                    format!("say which: --model {}", models.join(" or --model "))
                };
                return Err(Refusal::new(told).hint(hint).into());
            }
        },
    };
    let registry = Registry::new(&root, &model)?;
    if !registry.folder().is_dir() {
        let told = format!("there is no model `{model}` in `{}`", root.display());
        return Err(Refusal::new(told)
            .hint("`slate retrain` makes the first version")
            .into());
    }
    Ok(registry)
}

/// What changes what is in use waits its turn like a retrain.
fn lease(context: &Context, registry: &Registry) -> Result<Lease> {
    let section = context.config.file.retrain.as_ref();
    let seconds = section.map_or(60.0, |section| section.lease_seconds);
    let say = |text: &str| context.console.say(text);
    Lease::take(&registry.leases(), Duration::from_secs_f64(seconds), &say)
}

fn list(registry: &Registry) -> Result<Outcome> {
    let versions = registry.versions()?;
    let promotions = registry.promotions()?;
    let current = promotions.last().map(|last| last.version.clone());
    let mut table = Table::new(&[
        ("version", Align::Left),
        ("trained", Align::Left),
        ("from", Align::Left),
        ("updates", Align::Right),
        ("promotions", Align::Left),
        ("", Align::Left),
    ]);
    for version in &versions {
        let own = promotions.iter().filter(|own| own.version == version.id);
        let numbers: Vec<String> = own.map(|promotion| promotion.number.to_string()).collect();
        let in_use = Some(&version.id) == current.as_ref();
        table.row([
            version.id.clone(),
            version.about.trained.clone(),
            version
                .about
                .parent
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            version.about.updates.to_string(),
            numbers.join(", "),
            if in_use { "in use" } else { "" }.to_owned(),
        ]);
    }
    let json = json!({
        "model": registry.model, "current": current, "versions": versions, "promotions": promotions,
    });
    Ok(Outcome::done(json, table.render()))
}

fn show(registry: &Registry, id: Option<&str>) -> Result<Outcome> {
    let version = if let Some(id) = id {
        registry.version(id)?
    } else {
        let current = registry.current()?;
        let current = current.ok_or_else(|| Refusal::new("no version is in use"))?;
        registry.version(&current.version)?
    };
    let folder = registry.path(&version.id);
    let verdict = manifest::read_json(&folder.join("verdict.json"))?;
    let about = &version.about;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let told = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros);
        time.map_or_else(String::new, |time| {
            time.format("%Y-%m-%d %H:%M").to_string()
        })
    };
    table.row(["version".to_owned(), version.id.clone()]);
    table.row(["folder".to_owned(), folder.display().to_string()]);
    table.row(["trained".to_owned(), about.trained.clone()]);
    let parent = about.parent.clone().unwrap_or_else(|| "-".to_owned());
    table.row(["from".to_owned(), parent]);
    table.row([
        "updates since nothing".to_owned(),
        about.updates.to_string(),
    ]);
    table.row([
        "trained on lists until".to_owned(),
        told(about.trained_until),
    ]);
    table.row(["judged on lists until".to_owned(), told(about.seen_until)]);
    let words = verdict["verdict"].as_str().unwrap_or("unknown").to_owned();
    table.row(["verdict".to_owned(), words]);
    for reason in verdict["reasons"].as_array().into_iter().flatten() {
        table.row([
            String::new(),
            reason.as_str().unwrap_or_default().to_owned(),
        ]);
    }
    for (name, kept) in &version.files {
        table.row([name.clone(), format!("{} bytes", kept.bytes)]);
    }
    let mut json = serde_json::to_value(&version)?;
    json["verdict"] = verdict;
    Ok(Outcome::done(json, table.render()))
}

fn promote(registry: &Registry, id: &str, reason: &str) -> Result<Outcome> {
    let after = registry.current()?.map_or(0, |current| current.number);
    Ok(brought(&registry.promote(id, after, reason)?))
}

fn brought(promotion: &Promotion) -> Outcome {
    let before = promotion.before.as_ref();
    let before = before.map_or_else(String::new, |before| format!(", before it was {before}"));
    let text = format!("{} is in use{before}\n", promotion.version);
    Outcome::done(json!(promotion), text)
}

fn diff(registry: &Registry, a: &str, b: &str) -> Result<Outcome> {
    let (a, b) = (registry.version(a)?, registry.version(b)?);
    let mut table = Table::new(&[
        ("", Align::Left),
        (&a.id, Align::Left),
        (&b.id, Align::Left),
    ]);
    let mut differences = serde_json::Map::new();
    let mut note = |key: String, a: &Value, b: &Value| {
        if a != b {
            let short = |value: &Value| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Null => "-".to_owned(),
                    other => other.to_string(),
                };
                let short: String = text.chars().take(40).collect();
                short
            };
            table.row([key.clone(), short(a), short(b)]);
            differences.insert(key, json!([a, b]));
        }
    };
    compare("", &json!(a.about), &json!(b.about), &mut note);
    let names: BTreeSet<&String> = a.files.keys().chain(b.files.keys()).collect();
    for name in names {
        let hash = |version: &Version| json!(version.files.get(name).map(|kept| &kept.sha256));
        note(name.clone(), &hash(&a), &hash(&b));
    }
    // What stands in the JSON files says more than that they differ.
    for file in ["manifest.json", "calibrator.json"] {
        let read = |version: &Version| {
            manifest::read_json(&registry.path(&version.id).join(file)).unwrap_or(Value::Null)
        };
        let beginning = file.trim_end_matches(".json");
        compare(beginning, &read(&a), &read(&b), &mut note);
    }
    let json = json!({ "a": a.id, "b": b.id, "differences": differences });
    Ok(Outcome::done(json, table.render()))
}

/// Names every value of two that differs, by its path.
fn compare(path: &str, a: &Value, b: &Value, note: &mut dyn FnMut(String, &Value, &Value)) {
    let (Value::Object(one), Value::Object(two)) = (a, b) else {
        note(path.to_owned(), a, b);
        return;
    };
    let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    for key in keys {
        let inner = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        compare(&inner, &a[key.as_str()], &b[key.as_str()], note);
    }
}

fn gc(context: &Context, registry: &Registry, keep: usize, dry_run: bool) -> Result<Outcome> {
    let gone = registry.unneeded(keep)?;
    let mut stages = (0, 0);
    let own = own_section(context, registry);
    // All that can be refused comes before anything is removed.
    let records = own
        .map(|section| Record::all(&months(section)))
        .transpose()?;
    if !dry_run {
        for id in &gone {
            registry.remove(id)?;
        }
    }
    if let (Some(section), Some(records)) = (own, records) {
        // Of the months that are done the last is gone on from, and later ones are held to profiles of all.
        let last = records.last().and_then(|record| record.ended.as_ref());
        let mut wanted: Vec<String> =
            last.map_or_else(Vec::new, |ended| ended.stages.values().cloned().collect());
        let ended = records.iter().filter_map(|record| record.ended.as_ref());
        wanted.extend(ended.filter_map(|ended| ended.stages.get(PROFILES).cloned()));
        let unfinished = records.iter().any(|record| record.ended.is_none());
        let folder = store(section);
        if !unfinished && folder.is_dir() {
            let store = Store::open(&folder, "gc")?;
            stages = store
                .keep_only(&wanted, dry_run)
                .context("cannot remove stages")?;
        }
    }
    let verb = if dry_run { "would go" } else { "are gone" };
    let mut text: String = gone.iter().map(|id| format!("{id}\n")).collect();
    text.push_str(&format!(
        "{} versions and {} outputs of stages ({:.1} MB) {verb}\n",
        gone.len(),
        stages.0,
        stages.1 as f64 / 1e6
    ));
    let json = json!({
        "versions": gone, "stages": stages.0, "stage_bytes": stages.1, "dry_run": dry_run,
    });
    Ok(Outcome::done(json, text))
}

/// The configuration, where it is of this model: then its months are.
fn own_section<'a>(context: &'a Context, registry: &Registry) -> Option<&'a RetrainSection> {
    let section = context.config.file.retrain.as_ref();
    section.filter(|section| section.model == registry.model)
}

fn verify(context: &Context, registry: &Registry) -> Result<Outcome> {
    let mut problems = registry.verify()?;
    let own = own_section(context, registry);
    if let Some(section) = own {
        problems.extend(Record::verify(&months(section))?);
        problems.extend(Store::at(&store(section), "verify").verify()?);
    }
    let count = registry.versions().map_or(0, |versions| versions.len());
    let mut text: String = problems.iter().map(|told| format!("{told}\n")).collect();
    if problems.is_empty() {
        let more = own.map_or("", |_| ", and so are the months and what their stages made");
        text = format!("{count} versions of `{}` are whole{more}\n", registry.model);
    }
    let json = json!({ "model": registry.model, "versions": count, "problems": problems });
    let mut outcome = Outcome::done(json, text);
    if !problems.is_empty() {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}
