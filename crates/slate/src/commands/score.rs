//! `slate score`: one split of a dataset to a score file.

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_features::Dataset;
use slate_types::Split;

use super::Context;
use crate::artefacts::Staged;
use crate::artefacts::scores::ScoreTable;
use crate::cli::ScoreArgs;
use crate::console::{Outcome, Refusal};
use crate::pipeline::scoring::{self, Baseline};
use crate::pipeline::shown;

pub(super) fn run(context: &Context, args: &ScoreArgs) -> Result<Outcome> {
    let split = split(&args.split)?;
    let device: slate_model::DeviceSpec = args.device.parse()?;
    let dataset = Dataset::open(&args.data)
        .with_context(|| format!("cannot open the dataset `{}`", args.data.display()))?;
    let mut table = match &args.baseline {
        Some(name) => scoring::by_baseline(&Baseline::parse(name)?, &dataset, split)?,
        None => scoring::by_runs_without(
            &args.without,
            &args.run,
            &dataset,
            split,
            device,
            &context.console.bar(),
        )?,
    };
    if let Some(beside) = &args.beside {
        shown::join(&mut table, beside)?;
    }
    write_scores(&table, &args.out, context.force)?;
    let json = json!({
        "out": args.out, "split": split, "scorer": table.scorer,
        "lists": table.lists.len(), "rows": table.rows(),
    });
    let text = format!(
        "{} rows in {} lists of the {} split, scored by {}, are in {}\n",
        table.rows(),
        table.lists.len(),
        split.name(),
        table.scorer,
        args.out.display()
    );
    Ok(Outcome::done(json, text))
}

/// The part of a dataset of this name.
///
/// # Errors
/// Any other name.
pub(super) fn split(name: &str) -> Result<Split> {
    Split::from_name(name).ok_or_else(|| {
        let told = format!("unknown split `{name}`, expected train, valid, calibrate or test");
        Refusal::new(told).into()
    })
}

/// Writes a score file, whole or not at all.
pub(crate) fn write_scores(table: &ScoreTable, out: &std::path::Path, force: bool) -> Result<()> {
    let csv = out
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let staged = Staged::file(out, force)?;
    table
        .write(staged.path(), csv)
        .with_context(|| format!("cannot write the scores `{}`", out.display()))?;
    staged.commit()
}
