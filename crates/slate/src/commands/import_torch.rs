//! `slate import-torch`: a PyTorch state dict to a run.

use anyhow::Result;
use serde_json::json;
use slate_model::DeviceSpec;

use super::Context;
use crate::artefacts::Staged;
use crate::cli::ImportTorchArgs;
use crate::console::Outcome;
use crate::pipeline::training::{self, Setting};

pub(super) fn run(context: &Context, args: &ImportTorchArgs) -> Result<Outcome> {
    let options = context
        .config
        .need(context.config.file.train.as_ref(), "train")?;
    let bar = context.console.bar();
    let setting = Setting {
        data: &args.data,
        device: DeviceSpec::Cpu,
        seed: context.seed,
        command: &context.command,
        progress: &bar,
        keep: None,
    };
    let staged = Staged::folder(&args.out, context.force)?;
    let report = training::import(options, &setting, &args.weights, staged.path())?;
    staged.commit()?;
    let text = format!(
        "{} {:.4} on the validation split; {} parameters\nthe run is in {}\n",
        report.metric,
        report.best_metric,
        report.parameters,
        args.out.display()
    );
    let json = json!({ "out": args.out, "run": report.json });
    Ok(Outcome::done(json, text))
}
