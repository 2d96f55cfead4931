//! `slate import-torch`: a PyTorch state dict to a run.

use anyhow::Result;
use serde_json::json;
use slate_model::DeviceSpec;

use super::Context;
use super::train::say_unread;
use crate::artefacts::Staged;
use crate::cli::ImportTorchArgs;
use crate::console::{Outcome, Refusal};
use crate::pipeline::training::{self, Setting};

pub(super) fn run(context: &Context, args: &ImportTorchArgs) -> Result<Outcome> {
    let options = context
        .config
        .need(context.config.file.train.as_ref(), "train")?;
    let bar = context.console.bar();
    let setting = Setting {
        data: &args.data,
        device: DeviceSpec::Cpu,
        replicas: None,
        seed: context.seed,
        update: None,
        command: &context.command,
        progress: &bar,
        events: false,
        stop: None,
        keep: None,
    };
    // Replacing the output must not remove what it is made of.
    if let (Ok(weights), Ok(out)) = (args.weights.canonicalize(), args.out.canonicalize())
        && weights.starts_with(&out)
    {
        let told = format!("`{}` lies in the output", args.weights.display());
        return Err(Refusal::new(told).hint("choose another --out").into());
    }
    let staged = Staged::folder(&args.out, context.force)?;
    let report = training::import(options, &setting, &args.weights, staged.path())?;
    staged.commit()?;
    say_unread(context, &report.unread);
    let text = format!(
        "{} {:.4} on the validation split; {} parameters\nthe run is in {}\n",
        report.metric_name,
        report.metric,
        report.parameters,
        args.out.display()
    );
    let json = json!({ "out": args.out, "run": report.json });
    Ok(Outcome::done(json, text))
}
