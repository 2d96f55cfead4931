//! `slate label`: logs to labelled placements, without features.

use anyhow::{Context as _, Result};
use slate_logs::{ExampleColumns, ExampleFiles};

use super::features::join_table;
use slate_types::Progress as _;

use super::{Context, dry_run, engine};
use crate::artefacts::{Staged, manifest, scores};
use crate::cli::LabelArgs;
use crate::console::{Outcome, Refusal};
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
    let (labels, rejects, sequences) = (
        file("labels.parquet"),
        file("rejects.parquet"),
        file("sequences.parquet"),
    );
    let files = ExampleFiles {
        examples: &labels,
        rejects: &rejects,
        sequences: &sequences,
    };
    let labelled = if args.with.is_empty() {
        slate_logs::labels(&source, &attribution, &engine, files, &bar)
    } else {
        let columns = ExampleColumns::Only(args.with.iter().cloned().collect());
        slate_logs::examples(&source, &attribution, &engine, &columns, files, &bar)
    };
    let labelled = labelled.with_context(|| format!("cannot attribute the logs `{logs}`"))?;
    if !args.with.is_empty() {
        // Where one column is missing, all there are were written.
        let there = scores::columns_of(&labels)?;
        if let Some(missing) = args.with.iter().find(|name| !there.contains(name)) {
            return Err(Refusal::new(format!("the log has no column `{missing}`"))
                .hint(format!("it has: {}", there.join(", ")))
                .into());
        }
    }
    let json = featurise::summary(&labelled)?;
    manifest::write_json(&file("join.json"), &featurise::join_file(&json))?;
    let json = featurise::with_cluster(json, &labelled)?;
    bar.begin("flush to disk", None, "files");
    staged.commit()?;
    bar.end();
    engine::clear(context, out);
    Ok(Outcome::done(json, join_table(&labelled)))
}
