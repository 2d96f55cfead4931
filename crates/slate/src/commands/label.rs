//! `slate label`: logs to labelled placements, without features.

use anyhow::{Context as _, Result};
use slate_logs::ExampleFiles;

use super::features::join_table;
use slate_types::Progress as _;

use super::{Context, dry_run, engine};
use crate::artefacts::{Staged, manifest};
use crate::cli::LabelArgs;
use crate::console::Outcome;
use crate::pipeline::featurise::{self, Logs};

pub(super) fn run(context: &Context, args: &LabelArgs) -> Result<Outcome> {
    let mut attribution = context.config.file.attribution.clone().unwrap_or_default();
    if args.as_of.is_some() {
        attribution.label_as_of.clone_from(&args.as_of);
    }
    let engine = engine::options(context, &args.engine, args.out.as_deref())?;
    let attribution = attribution.check()?;
    let logs = Logs::new(args.logs.as_deref(), context.config.file.logs.as_ref())?;
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        return dry_run::labels(context, &logs, &attribution, &engine);
    };
    let staged = Staged::folder(out, context.force)?;
    // A hidden folder beside the output, never put in place: it is removed at the end.
    let work = Staged::folder(&staged.path().with_extension("work"), true)?;
    let file = |name: &str| staged.path().join(name);
    let bar = context.console.bar();
    let source = logs.open(work.path(), &bar)?;
    let labelled = slate_logs::labels(
        &source,
        &attribution,
        &engine,
        ExampleFiles {
            examples: &file("labels.parquet"),
            rejects: &file("rejects.parquet"),
            sequences: &file("sequences.parquet"),
        },
        &bar,
    )
    .with_context(|| format!("cannot attribute the logs `{logs}`"))?;
    let json = featurise::summary(&labelled)?;
    manifest::write_json(&file("join.json"), &featurise::join_file(&json))?;
    let json = featurise::with_cluster(json, &labelled)?;
    bar.begin("flush to disk", None, "files");
    staged.commit()?;
    bar.end();
    engine::clear(context, out);
    Ok(Outcome::done(json, join_table(&labelled)))
}
