//! `slate report`: the folders of a chain as one HTML file.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::artefacts::write_file;
use crate::cli::ReportArgs;
use crate::console::{Outcome, Refusal};
use crate::report;

pub(super) fn run(context: &Context, args: &ReportArgs) -> Result<Outcome> {
    let parts = report::collect(&args.paths)?;
    if parts.is_empty() {
        return Err(Refusal::new("none of these paths holds anything a report can show")
            .hint("pass folders written by slate (logs, dataset, run, calibrators) or files of `slate evaluate --out`")
            .into());
    }
    let html = report::page(&args.title, &parts, None);
    write_file(&args.out, html.as_bytes(), context.force)?;
    let shown: Vec<&str> = parts.iter().map(report::Part::kind).collect();
    let json = json!({ "out": args.out, "parts": shown, "bytes": html.len() });
    let parts = match parts.len() {
        1 => "1 part".to_owned(),
        count => format!("{count} parts"),
    };
    let text = format!("{parts} in {}\n", args.out.display());
    Ok(Outcome::done(json, text))
}
