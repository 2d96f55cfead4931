//! `slate features`: logs to a dataset of numbers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slate_features::{DatasetSummary, FeatureMap, Format, MapSource};
use slate_logs::ExamplesSummary;
use slate_types::Progress as _;

use super::{Context, dry_run, engine};
use crate::artefacts::Staged;
use crate::cli::FeaturesArgs;
use crate::console::{Align, Outcome, Table};
use crate::pipeline::featurise::{self, Logs};

pub(super) fn run(context: &Context, args: &FeaturesArgs) -> Result<Outcome> {
    let config = &context.config;
    let mut attribution = config.file.attribution.clone().unwrap_or_default();
    if args.as_of.is_some() {
        attribution.label_as_of.clone_from(&args.as_of);
    }
    let feature_map = match &args.feature_map {
        None => MapSource::Fit,
        Some(path) => {
            let map = FeatureMap::read(path)
                .with_context(|| format!("cannot read the feature map `{}`", path.display()))?;
            if args.extend {
                let refit = args.refit_statistics;
                MapSource::Extended { map, refit }
            } else {
                MapSource::Given(map)
            }
        }
    };
    let formats: BTreeSet<Format> = args.format.iter().copied().map(Format::from).collect();
    let engine = engine::options(context, &args.engine, args.out.as_deref())?;
    let features = config.need(config.file.features.as_ref(), "features")?;
    let split = config.need(config.file.split.as_ref(), "split")?;
    let logs = Logs::new(args.logs.as_deref(), config.file.logs.as_ref())?;
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        return dry_run::features(
            context,
            &logs,
            &attribution.check()?,
            &engine,
            (features, split),
            matches!(feature_map, MapSource::Given(_)),
        );
    };
    let staged = Staged::folder(out, context.force)?;
    let bar = context.console.bar();
    let made = featurise::features(
        featurise::Job {
            attribution,
            features,
            split,
            feature_map,
            formats: &formats,
            engine: &engine,
            seed: context.seed,
            command: &context.command,
            progress: &bar,
        },
        &logs,
        staged.path(),
    )?;
    bar.begin("flush to disk", None, "files");
    staged.commit()?;
    bar.end();
    engine::clear(context, out);
    for note in &made.dataset.notes {
        context.console.say(&format!("note: {note}"));
    }
    let text = format!(
        "{}\n{}",
        join_table(&made.examples),
        split_table(&made.dataset)
    );
    Ok(Outcome::done(made.json, text))
}

/// The join report for people.
pub(super) fn join_table(examples: &ExamplesSummary) -> String {
    let mut table = Table::new(&[
        ("events", Align::Left),
        ("input", Align::Right),
        ("attributed", Align::Right),
        ("late", Align::Right),
        ("orphan", Align::Right),
        ("duplicate", Align::Right),
    ]);
    for line in &examples.join.lines {
        table.row([
            line.event_type.clone(),
            line.input.to_string(),
            line.attributed.to_string(),
            line.late.to_string(),
            line.orphan.to_string(),
            line.duplicate.to_string(),
        ]);
    }
    let mut text = table.render();
    if let Some(cluster) = &examples.cluster {
        text.push_str(&engine::cluster_line(cluster));
    }
    let total = examples.join.total();
    if total.early > 0 {
        text.push_str(&format!(
            "{} events came before the placement they belong to: clocks may differ\n",
            total.early
        ));
    }
    if total.halo > 0 {
        text.push_str(&format!(
            "{} of the attributed went to another item of the same seller\n",
            total.halo
        ));
    }
    text.push_str(&format!(
        "\n{} placements in {} lists, {} of them matured\n",
        examples.rows, examples.lists, examples.matured_rows
    ));
    for reject in &examples.rejects {
        text.push_str(&format!(
            "kept aside in rejects.parquet: {} rows of `{}`: {}\n",
            reject.rows, reject.table, reject.reason
        ));
    }
    text
}

/// Sizes of the splits for people.
pub(super) fn split_table(summary: &DatasetSummary) -> String {
    let mut table = Table::new(&[
        ("split", Align::Left),
        ("lists", Align::Right),
        ("rows", Align::Right),
        ("clicks", Align::Right),
        ("purchases", Align::Right),
    ]);
    for (split, counts) in &summary.splits {
        table.row([
            split.name().to_owned(),
            counts.lists.to_string(),
            counts.rows.to_string(),
            counts.clicks.to_string(),
            counts.purchases.to_string(),
        ]);
    }
    table.render()
}
