//! `slate backtest online`: what an experiment with arms found.

use anyhow::Result;
use serde_json::json;

use super::super::Context;
use crate::artefacts::{manifest, write_file};
use crate::cli::OnlineArgs;
use crate::console::{Align, ExitStatus, Outcome, Table};
use crate::pipeline::evaluation::{decimals_of_width, signed_interval};
use crate::pipeline::online::{self, Asked, Found, Readout};
use crate::pipeline::shown::{From, Shown};

pub(super) fn run(context: &Context, args: &OnlineArgs) -> Result<Outcome> {
    let only = super::pairs(&args.only, "--where")?;
    let from = From::File(args.log.clone());
    let shown = Shown::read(&from, args.beside.as_deref(), &only)?;
    let asked = Asked {
        arm: &args.arm,
        control: args.control.as_deref(),
        planned: super::pairs(&args.planned, "--planned")?,
        cluster: args.cluster,
        by: args.by.as_deref(),
        before: args.before.as_deref(),
        daily: args.daily,
        level: context.config.file.evaluate.level,
    };
    let readout = online::read(&shown, &asked)?;
    let mut document = json!({
        "format": manifest::FORMAT,
        "kind": "experiment",
        "command": context.command,
        "cluster": args.cluster.name(),
        "level": asked.level,
        "daily": args.daily,
    });
    let found = json!(readout);
    if let (Some(document), Some(found)) = (document.as_object_mut(), found.as_object()) {
        document.extend(found.clone());
    }
    if let Some(out) = &args.out {
        let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
        write_file(out, text.as_bytes(), context.force)?;
    }
    let mut outcome = Outcome::done(found, text(&readout, args));
    if readout.verdict != "different" {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}

fn text(readout: &Readout, args: &OnlineArgs) -> String {
    let mut text = format!("{}\n\n", readout.sentence);
    let mut arms = Table::new(&[
        ("arm", Align::Left),
        (args.cluster.name(), Align::Right),
        ("planned", Align::Right),
        ("lists", Align::Right),
    ]);
    for arm in &readout.arms {
        arms.row([
            arm.name.clone(),
            arm.clusters.to_string(),
            format!("{:.0}", arm.planned),
            arm.lists.to_string(),
        ]);
    }
    text.push_str(&arms.render());
    text.push('\n');
    text.push_str(&found_table("metric", &readout.metrics));
    if !readout.segments.is_empty() {
        text.push('\n');
        let column = args.by.as_deref().unwrap_or("segment");
        text.push_str(&found_table(column, &readout.segments));
    }
    if readout.days.len() > 1 {
        text.push('\n');
        text.push_str(&found_table("day", &readout.days));
        if let Some(trend) = &readout.trend {
            text.push_str(&format!(
                "trend of the difference: {:+.2e} a day (p {:.4})\n",
                trend.per_day, trend.p
            ));
        }
    }
    text
}

fn found_table(what: &str, found: &[Found]) -> String {
    let mut table = Table::new(&[
        (what, Align::Left),
        ("arms", Align::Left),
        ("control", Align::Right),
        ("other", Align::Right),
        ("difference", Align::Right),
        ("relative", Align::Right),
        ("p", Align::Right),
        ("p, Holm", Align::Right),
    ]);
    for one in found {
        let change = &one.change;
        let d = decimals_of_width(change.difference, change.low, change.high);
        table.row([
            one.name.clone(),
            one.arms.clone(),
            format!("{:.d$}", one.control),
            format!("{:.d$}", one.other),
            signed_interval(change.difference, change.low, change.high),
            if change.relative.is_nan() {
                String::new()
            } else {
                format!("{:+.2} %", 100.0 * change.relative)
            },
            format!("{:.4}", change.p),
            format!("{:.4}", one.p_holm),
        ]);
    }
    table.render()
}
