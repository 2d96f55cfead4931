//! `slate train`: a dataset to a run.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::artefacts::Staged;
use crate::cli::TrainArgs;
use crate::console::Outcome;
use crate::pipeline::training::{self, Setting};

pub(super) fn run(context: &Context, args: &TrainArgs) -> Result<Outcome> {
    let options = context
        .config
        .need(context.config.file.train.as_ref(), "train")?;
    let staged = Staged::folder(&args.out, context.force)?;
    let bar = context.console.bar();
    let setting = Setting {
        data: &args.data,
        device: args.device.parse()?,
        seed: context.seed,
        command: &context.command,
        progress: &bar,
    };
    let report = training::train(options, &setting, staged.path())?;
    staged.commit()?;
    if !report.unread.is_empty() {
        context.console.warn(&format!(
            "the dataset has inputs that no network reads yet: {}",
            report.unread.join(", ")
        ));
    }
    let text = format!(
        "best {} {:.4} at epoch {}; {} parameters; {:.0} lists/s\nthe run is in {}\n",
        report.metric,
        report.best_metric,
        report.best_epoch,
        report.parameters,
        report.lists_per_second,
        args.out.display()
    );
    let mut json = json!({ "out": args.out, "lists_per_second": report.lists_per_second });
    json["run"] = report.json;
    Ok(Outcome::done(json, text))
}
