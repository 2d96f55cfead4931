//! `slate import`: public data sets to canonical logs, or to a dataset where there are features.

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_features::Origin;
use slate_features::letor::{LetorOptions, import_letor};
use slate_logs::import::{Format, import};

use super::Context;
use crate::artefacts::Staged;
use crate::cli::ImportArgs;
use crate::console::{Align, Outcome, Table};

pub(super) fn run(context: &Context, args: &ImportArgs) -> Result<Outcome> {
    if args.format == "letor" {
        return letor(context, args);
    }
    let format = Format::from_name(&args.format)?;
    let staged = Staged::folder(&args.out, context.force)?;
    let bar = context.console.bar();
    let summary = import(format, &args.source, staged.path(), &bar)
        .with_context(|| format!("cannot import `{}`", args.source.display()))?;
    staged.commit()?;

    let mut table = Table::new(&[("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in &summary.tables {
        table.row([name.clone(), rows.to_string()]);
    }
    let mut text = table.render();
    for note in &summary.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if summary.rejects > 0 {
        text.push_str(&format!(
            "{} rows were kept aside in the folder's rejects\n",
            summary.rejects
        ));
    }
    let json = json!({ "out": args.out, "format": args.format, "summary": summary });
    Ok(Outcome::done(json, text))
}

fn letor(context: &Context, args: &ImportArgs) -> Result<Outcome> {
    let options = LetorOptions {
        valid: args.valid,
        calibrate: args.calibrate,
        seed: context.seed.derive("letor split"),
        click_grade: args.click_grade,
        purchase_grade: args.purchase_grade,
        ..LetorOptions::default()
    };
    let origin = Origin {
        command: context.command.clone(),
        label_as_of: None,
        examples_hash: None,
        seed: Some(context.seed),
    };
    let staged = Staged::folder(&args.out, context.force)?;
    let bar = context.console.bar();
    let summary = import_letor(&args.source, staged.path(), &options, origin, &bar)
        .with_context(|| format!("cannot import `{}`", args.source.display()))?;
    staged.commit()?;
    let text = super::features::split_table(&summary);
    Ok(Outcome::done(
        json!({ "out": args.out, "format": "letor", "summary": summary }),
        text,
    ))
}
