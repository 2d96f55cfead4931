//! `slate simulate`: logs of a marketplace whose truth is known.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::artefacts::Staged;
use crate::cli::SimulateArgs;
use crate::console::{Align, Outcome, Refusal, Table};

pub(super) fn run(context: &Context, args: &SimulateArgs) -> Result<Outcome> {
    let mut config = context.config.file.simulate.clone().unwrap_or_default();
    if let Some(pages) = args.pages {
        config.pages = pages;
    }
    if let Some(months) = args.months {
        config.months = months;
    }
    if let Some(policy) = &args.policy {
        let named = serde_json::Value::String(policy.clone());
        config.policy = serde_json::from_value(named)
            .map_err(|error| Refusal::new(format!("--policy: {error}")))?;
    }
    let market = config.check()?;
    let staged = Staged::folder(&args.out, context.force)?;
    let bar = context.console.bar();
    let summary = slate_sim::simulate(&market, context.seed, staged.path(), &bar)?;
    staged.commit()?;

    let mut table = Table::new(&[("what", Align::Left), ("rows", Align::Right)]);
    for (what, rows) in [
        ("pages", summary.pages),
        ("slots", summary.slots),
        ("events", summary.events),
        ("clicks", summary.clicks),
        ("purchases", summary.purchases),
        ("cancels", summary.cancels),
        ("duplicates", summary.duplicates),
        ("late", summary.late),
        ("orphans", summary.orphans),
        ("users", summary.users),
        ("items", summary.items),
    ] {
        table.row([what.to_owned(), rows.to_string()]);
    }
    let json = json!({ "out": args.out, "seed": context.seed, "summary": summary });
    let text = format!(
        "{}\nlogs and truth.parquet are in {}\n",
        table.render(),
        args.out.display()
    );
    Ok(Outcome::done(json, text))
}
