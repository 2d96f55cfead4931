//! `--dry-run`: what a feature job would do and how much memory it would take.

use std::path::Path;

use anyhow::{Context as _, Result};
use slate_logs::{Attribution, DryRun, EngineOptions, Job};

use super::Context;
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::featurise::Logs;

/// Plans the job and shows the plan; nothing is written.
pub(super) fn run(
    logs: &Logs<'_>,
    attribution: &Attribution,
    engine: &EngineOptions,
    job: Job,
    context: &Context,
) -> Result<Outcome> {
    // What is remote or text must be seen to be planned for; it is removed again.
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let source = logs.open(work.path(), &context.console.bar())?;
    let plan = slate_logs::dry_run(&source, attribution, engine, job)?;
    let text = text(&plan);
    Ok(Outcome::done(serde_json::to_value(&plan)?, text))
}

/// The output folder, which only `--dry-run` does without.
pub(super) fn out(given: Option<&Path>) -> Result<&Path> {
    given.ok_or_else(|| Refusal::new("--out is missing".to_owned()).into())
}

fn text(plan: &DryRun) -> String {
    let mut stages = Table::new(&[
        ("stage", Align::Left),
        ("reads", Align::Left),
        ("rows", Align::Right),
        ("times", Align::Right),
    ]);
    for stage in &plan.stages {
        stages.row([
            stage.name.to_owned(),
            stage.reads.to_owned(),
            stage.rows.to_string(),
            stage.times.to_string(),
        ]);
    }
    let memory = &plan.memory;
    let mut held = Table::new(&[("held at most", Align::Left), ("memory", Align::Right)]);
    let mut hold = |what: &str, bytes: u64| {
        if bytes > 0 {
            held.row([what.to_owned(), mebibytes(bytes)]);
        }
    };
    hold("pages and items, to be joined", memory.joins);
    hold("events of a pass and what they want", memory.attribution);
    hold("keys of a pass and their counts", memory.history);
    hold("sequences of a pass", memory.sequences);
    let limit = memory.limit.map_or("no limit".to_owned(), |limit| {
        format!("limit {}", mebibytes(limit))
    });
    format!(
        "{}\n{}\n{} passes, {limit}, needs at least {}\n{} columns of history\n\nplan of `order placements`\n{}",
        stages.render(),
        held.render(),
        memory.passes,
        mebibytes(memory.needed),
        plan.history_columns.len(),
        plan.plan
    )
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
