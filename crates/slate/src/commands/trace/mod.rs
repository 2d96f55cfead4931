//! `slate trace`: one page through the job, from raw rows to tensor rows, with reasons.

mod text;

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_features::{FeatureMap, PageFeatures};
use slate_logs::{EngineOptions, ExampleFiles, PageTrace};

use super::Context;
use super::engine::bytes;
use crate::artefacts::Staged;
use crate::cli::TraceArgs;
use crate::console::{Outcome, Refusal};
use crate::pipeline::featurise::Logs;

pub(super) fn run(context: &Context, args: &TraceArgs) -> Result<Outcome> {
    let config = &context.config.file;
    let mut attribution = config.attribution.clone().unwrap_or_default();
    if args.as_of.is_some() {
        attribution.label_as_of.clone_from(&args.as_of);
    }
    let map = match &args.feature_map {
        None => None,
        Some(path) => Some(
            FeatureMap::read(path)
                .with_context(|| format!("cannot read the feature map `{}`", path.display()))?,
        ),
    };
    let engine = EngineOptions {
        threads: context.threads,
        memory: args.memory.as_deref().map(bytes).transpose()?,
        passes: args.passes,
        cluster: None,
    };
    let attribution = attribution.check()?;
    let logs = Logs::new(args.logs.as_deref(), config.logs.as_ref())?;
    let whole = config.features.is_some() || map.is_some();
    if !whole {
        context
            .console
            .say("note: no section `[features]` was given, so labels alone are traced");
    }
    // The examples of the whole log, because history needs them; never put in place.
    let name = format!("slate-trace-{}", std::process::id());
    let work = Staged::folder(&std::env::temp_dir().join(name), true)?;
    let file = |name: &str| work.path().join(name);
    let (examples, sequences) = (file("examples.parquet"), file("sequences.parquet"));
    let bar = context.console.bar();
    let source = logs.open(work.path(), &bar)?;
    let (mut page, _) = slate_logs::trace(
        &source,
        &attribution,
        &engine,
        args.page_id,
        ExampleFiles {
            examples: &examples,
            rejects: &file("rejects.parquet"),
            sequences: &sequences,
        },
        whole,
        &bar,
    )
    .with_context(|| format!("cannot trace page {}", args.page_id))?;
    let mut features = if whole {
        let inputs = slate_features::Inputs {
            examples: &examples,
            sequences: sequences.exists().then_some(&sequences),
        };
        let spec = config.features.clone().unwrap_or_default();
        let split = config.split.clone().unwrap_or_default();
        let made = slate_features::trace(inputs, &spec, &split, map, args.page_id, &bar)
            .with_context(|| format!("cannot make the features of page {}", args.page_id))?;
        Some(made)
    } else {
        None
    };
    drop(bar);
    if let Some(slot) = args.slot {
        narrow(&mut page, features.as_mut(), slot)?;
    }
    let text = text::page(&page, features.as_ref());
    let mut json = serde_json::to_value(&page)?;
    json["features"] = json!(features);
    Ok(Outcome::done(json, text))
}

/// Leaves out the placements of other slots, with what concerns them alone.
fn narrow(page: &mut PageTrace, features: Option<&mut PageFeatures>, slot: i64) -> Result<()> {
    let keep: Vec<bool> = page.placements.iter().map(|p| p.slot == slot).collect();
    if !keep.contains(&true) {
        let mut slots: Vec<i64> = page.placements.iter().map(|p| p.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let known: Vec<String> = slots.iter().map(i64::to_string).collect();
        return Err(
            Refusal::new(format!("page {} has no slot {slot}", page.page_id))
                .hint(format!("its slots: {}", known.join(", ")))
                .into(),
        );
    }
    let mut at = 0..;
    page.placements.retain(|_| keep[at.next().unwrap_or(0)]);
    let mut at = 0..;
    page.slots.retain(|_| keep[at.next().unwrap_or(0)]);
    let shown: Vec<i64> = page.placements.iter().map(|p| p.impression_id).collect();
    let items: Vec<i64> = page.placements.iter().map(|p| p.item_id).collect();
    page.items.retain(|row| {
        row.get("item_id")
            .whole()
            .is_some_and(|id| items.contains(&id))
    });
    page.events
        .retain(|event| event.concerns.is_some_and(|id| shown.contains(&id)));
    page.ends.clear();
    for event in &page.events {
        *page.ends.entry(event.end).or_insert(0) += 1;
    }
    if let Some(features) = features {
        features
            .rows
            .retain(|row| shown.contains(&row.impression_id));
        let lists: Vec<i64> = features.rows.iter().map(|row| row.list_id).collect();
        features.lists.retain(|list| lists.contains(&list.list_id));
    }
    Ok(())
}
