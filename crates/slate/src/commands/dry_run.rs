//! `--dry-run`: stages, passes and memory of a job on a log, without doing it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_features::{FeatureSpec, SplitSpec};
use slate_logs::{Attribution, DryRun, EngineOptions};

use super::Context;
use crate::console::{Align, Outcome, Table};
use crate::pipeline::featurise::Logs;

/// Characters of a line of the engine's plan that are shown.
const WIDTH: usize = 118;

/// What `slate label` would do.
pub(super) fn labels(
    context: &Context,
    logs: &Logs<'_>,
    attribution: &Attribution,
    engine: &EngineOptions,
) -> Result<Outcome> {
    let plan = plan(context, logs, attribution, engine, false)?;
    outcome(&plan, &[])
}

/// What is remote or text must be seen to be planned for; it is removed again.
fn plan(
    context: &Context,
    logs: &Logs<'_>,
    attribution: &Attribution,
    engine: &EngineOptions,
    whole: bool,
) -> Result<DryRun> {
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let source = logs.open(work.path(), &context.console.bar())?;
    slate_logs::dry_run(&source, attribution, engine, whole)
        .with_context(|| format!("cannot plan a job on `{logs}`"))
}

/// What `slate features` would do with these features; nothing is fitted where a map is given.
pub(super) fn features(
    context: &Context,
    logs: &Logs<'_>,
    attribution: &Attribution,
    engine: &EngineOptions,
    (spec, split): (&FeatureSpec, &SplitSpec),
    given_map: bool,
) -> Result<Outcome> {
    spec.check()?;
    split.check()?;
    let plan = plan(context, logs, attribution, engine, true)?;
    let rows = plan.stages.last().map_or(0, |stage| stage.rows);
    let mut more = vec![("scan", rows)];
    if !given_map {
        more.push(("fit", rows));
    }
    more.push(("write", rows));
    outcome(&plan, &more)
}

/// `more` are stages over the finished examples, which stream.
fn outcome(plan: &DryRun, more: &[(&'static str, u64)]) -> Result<Outcome> {
    let mut json = serde_json::to_value(plan)?;
    let tables = plan.tables.iter();
    json["tables"] = tables
        .map(|(table, rows)| ((*table).to_owned(), json!(rows)))
        .collect::<serde_json::Map<String, Value>>()
        .into();
    if let Some(stages) = json["stages"].as_array_mut() {
        for (name, rows) in more {
            stages.push(json!({
                "name": name, "passes": 1, "rows": rows, "memory": 0, "spills": false,
            }));
        }
    }
    Ok(Outcome::done(json, text(plan, more)))
}

fn text(plan: &DryRun, more: &[(&'static str, u64)]) -> String {
    let mut tables = Table::new(&[("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in &plan.tables {
        tables.row([(*name).to_owned(), rows.to_string()]);
    }
    let mut stages = Table::new(&[
        ("stage", Align::Left),
        ("passes", Align::Right),
        ("rows", Align::Right),
        ("memory", Align::Right),
        ("", Align::Left),
    ]);
    for stage in &plan.stages {
        let spills = if stage.spills { "rest on disk" } else { "" };
        stages.row([
            stage.name.to_owned(),
            stage.passes.to_string(),
            stage.rows.to_string(),
            mebibytes(stage.memory),
            spills.to_owned(),
        ]);
    }
    for (name, rows) in more {
        let cells = [(*name).to_owned(), "1".to_owned(), rows.to_string()];
        stages.row(
            cells
                .into_iter()
                .chain([mebibytes(0), "streams".to_owned()]),
        );
    }
    let memory = &plan.memory;
    let mut totals = Table::new(&[("memory", Align::Left), ("", Align::Right)]);
    if let Some(limit) = memory.limit {
        totals.row(["allowed by --memory".to_owned(), mebibytes(limit)]);
    }
    totals.row([
        "needed: pages, items, the program".to_owned(),
        mebibytes(memory.needed),
    ]);
    totals.row([
        "most at once, estimated".to_owned(),
        mebibytes(plan.estimated),
    ]);
    let mut text = format!(
        "{}\n{}\n{}",
        tables.render(),
        stages.render(),
        totals.render()
    );
    match memory.limit {
        // The estimate is rough: a little more than allowed is not worth a word.
        Some(limit) if plan.estimated > limit + limit / 4 => text
            .push_str("note: the estimate is above --memory; more --passes would bring it down\n"),
        None => text.push_str("no --memory was given: one pass, and sorts stay in memory\n"),
        Some(_) => {}
    }
    if !plan.history_columns.is_empty() {
        text.push_str(&format!(
            "\n{} columns of history: {}\n",
            plan.history_columns.len(),
            plan.history_columns.join(", ")
        ));
    }
    if let Some(shards) = plan.shards {
        text.push_str(&format!(
            "\nThe cluster orders the placements in {shards} shards, each a share of this plan\n"
        ));
    }
    text.push_str("\nThe engine's plan for the order of placements, if they are not put in order without it\n");
    for line in plan.plan.lines() {
        // Projections list every column; the JSON has them whole.
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => text.push_str(&format!("{}…\n", &line[..end])),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// Bytes as whole mebibytes, rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
