//! `slate import`: public data sets to canonical logs, or to a dataset where there are features.

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_features::Origin;
use slate_features::letor::{LetorOptions, import_letor};
use slate_logs::import::{Format, import};

use super::Context;
use crate::artefacts::Staged;
use crate::cli::ImportArgs;
use crate::console::{Align, Outcome, Refusal, Table};

pub(super) fn run(context: &Context, args: &ImportArgs) -> Result<Outcome> {
    if args.format == "letor" {
        return letor(context, args);
    }
    let format = format_named(&args.format)?;
    let shares = [args.valid, args.calibrate, args.test]
        .iter()
        .any(Option::is_some);
    if shares || args.click_grade.is_some() || args.purchase_grade.is_some() {
        return Err(Refusal::new(format!(
            "shares and grades are options of `letor`, not of `{}`",
            args.format
        ))
        .hint("a log is split by `slate features`, see [split] in configs/demo.toml")
        .into());
    }
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

/// The format of a log, with `letor` among the names told.
fn format_named(name: &str) -> Result<Format> {
    Format::from_name(name).map_err(|_| {
        let mut known: Vec<String> = Format::ALL
            .iter()
            .map(|f| format!("`{}`", f.name()))
            .collect();
        known.push("`letor`".to_owned());
        Refusal::new(format!(
            "unknown format `{name}`, expected one of {}",
            known.join(", ")
        ))
        .into()
    })
}

fn letor(context: &Context, args: &ImportArgs) -> Result<Outcome> {
    let default = LetorOptions::default();
    let options = LetorOptions {
        valid: args.valid.unwrap_or(default.valid),
        calibrate: args.calibrate.unwrap_or(default.calibrate),
        test: args.test.unwrap_or(default.test),
        seed: context.seed.derive("letor split"),
        click_grade: args.click_grade.unwrap_or(default.click_grade),
        purchase_grade: args.purchase_grade.unwrap_or(default.purchase_grade),
        ..default
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
