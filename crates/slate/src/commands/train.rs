//! `slate train`: a dataset to a run.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use slate_model::{DeviceSpec, Every};

use super::Context;
use crate::artefacts::{OutputLock, Staged, end_when_asked, manifest};
use crate::cli::{RankerKind, TrainArgs};
use crate::console::{ExitStatus, Outcome, Refusal};
use crate::pipeline::training::{self, Keep, Parent, Setting, Unfinished};

/// Most of the running time that checkpoints may take.
const CHECKPOINT_SHARE: f64 = 0.02;

/// Share of placements without a seed item that is worth a word.
const SEEDLESS: f64 = 0.01;
/// Checkpoints kept where nothing is said.
const KEEP: u32 = 2;

pub(super) fn run(context: &Context, args: &TrainArgs) -> Result<Outcome> {
    super::sweep::refuse_begun(&args.out, context.force)?;
    match ranker(context, args.ranker) {
        RankerKind::Network => network(context, args),
        RankerKind::Trees => trees(context, args),
    }
}

/// What to train: what was asked for, or else a network where the configuration has one.
pub(super) fn ranker(context: &Context, asked: Option<RankerKind>) -> RankerKind {
    let file = &context.config.file;
    match (asked, &file.train, &file.trees) {
        (Some(asked), ..) => asked,
        (None, None, Some(_)) => RankerKind::Trees,
        (None, ..) => RankerKind::Network,
    }
}

/// Gradient-boosted trees.
fn trees(context: &Context, args: &TrainArgs) -> Result<Outcome> {
    let config = &context.config;
    let options = config.need(config.file.trees.as_ref(), "trees")?;
    let device = args.device.parse::<DeviceSpec>()?;
    if !matches!(device, DeviceSpec::Auto | DeviceSpec::Cpu) {
        let told = format!("--device is {device}, but trees grow on the processor");
        return Err(Refusal::new(told).hint("leave --device out").into());
    }
    for (flag, given) in [
        ("--checkpoint-steps", args.checkpoint_steps.is_some()),
        ("--keep", args.keep.is_some()),
        ("--replicas", args.replicas.is_some()),
        ("--update-from", args.update_from.is_some()),
    ] {
        if given {
            let told =
                format!("{flag} is set, but trees have no checkpoints, replicas and updates");
            let hint = format!(
                "leave {flag} out: trees grow on all --threads, and the same command \
                                grows the same trees"
            );
            return Err(Refusal::new(told).hint(hint).into());
        }
    }
    let bar = context.console.bar();
    let setting = Setting {
        data: &args.data,
        device: DeviceSpec::Cpu,
        replicas: None,
        seed: context.seed,
        update: None,
        command: &context.command,
        progress: &bar,
        events: true,
        stop: Some(end_when_asked()),
        keep: None,
    };
    if args.resume && training::is_grown(options, &setting, &args.out)? {
        return finished(&args.out);
    }
    Unfinished::beside(&args.out)?.refuse_other(context.force)?;
    let staged = Staged::folder(&args.out, context.force)?;
    let report = training::grow(options, &setting, staged.path())?;
    staged.commit()?;
    if !report.unread.is_empty() {
        let unread = report.unread.join(", ");
        let told = format!("left unread, as trees have no use for them: {unread}");
        context.console.say(&told);
    }
    let text = format!(
        "best {} {:.4} with {} trees, {} leaves\nthe run is in {}\n",
        report.metric,
        report.best_metric,
        report.best_trees,
        report.leaves,
        args.out.display()
    );
    let json = json!({ "out": args.out, "run": report.json });
    Ok(Outcome::done(json, text))
}

/// The outcome of a command whose run is there already.
fn finished(out: &Path) -> Result<Outcome> {
    let text = format!("the run in {} is finished: nothing to do\n", out.display());
    let run = manifest::read_json(&out.join("manifest.json"))?;
    let diverged = !run["diverged"].is_null();
    let mut outcome = Outcome::done(json!({ "out": out, "run": run }), text);
    if diverged {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}

fn network(context: &Context, args: &TrainArgs) -> Result<Outcome> {
    let options = context
        .config
        .need(context.config.file.train.as_ref(), "train")?;
    let bar = context.console.bar();
    let mut setting = Setting {
        data: &args.data,
        device: args.device.parse::<DeviceSpec>()?.find()?.name,
        replicas: args.replicas,
        seed: context.seed,
        update: None,
        command: &context.command,
        progress: &bar,
        events: true,
        stop: None,
        keep: None,
    };
    if let (Some(old), Ok(out)) = (&args.update_from, args.out.canonicalize())
        && old.canonicalize().is_ok_and(|old| old == out)
    {
        let told = "--update-from and --out are the same run, expected a new one";
        return Err(Refusal::new(told)
            .hint("runs are never changed: name another --out")
            .into());
    }
    let old = args.update_from.as_deref();
    let old = old
        .map(|run| Parent::load(run, setting.device))
        .transpose()?;
    setting.update = old.as_ref();
    let unfinished = Unfinished::beside(&args.out)?;
    // With --force over a finished run, its checkpoints are those of the run to replace it.
    let replacing = context.force && unfinished.has_checkpoints()?;
    if args.resume && !replacing && training::is_done(options, &setting, &args.out)? {
        if training::is_left_of(options, &setting, &unfinished)? {
            if unfinished.exists() {
                let _lock = OutputLock::take(&args.out)?;
                remove(&unfinished, context);
            }
        } else {
            let told =
                "checkpoints of another training of this output are kept: go on with its own";
            context
                .console
                .warn(&format!("{told} command, --resume and --force"));
        }
        return finished(&args.out);
    }
    if !args.resume && !context.force {
        unfinished.refuse_earlier()?;
    }
    let staged = Staged::folder(&args.out, context.force)?;
    setting.stop = Some(end_when_asked());
    setting.keep = Some(Keep {
        unfinished: &unfinished,
        resume: args.resume,
        every: args
            .checkpoint_steps
            .map_or(Every::Share(CHECKPOINT_SHARE), Every::Steps),
        checkpoints: args.keep.unwrap_or(KEEP) as usize,
    });
    let trained = training::train(options, &setting, staged.path());
    if trained.is_err() && !unfinished.has_checkpoints().unwrap_or(true) {
        remove(&unfinished, context);
    }
    let report = trained?;
    staged.commit()?;
    remove(&unfinished, context);
    if let Some(failure) = &report.log_failure {
        let told = "the log of the training is not whole, the run is";
        context.console.warn(&format!("{told}: {failure}"));
    }
    say_unread(context, &report.unread);
    if report.without_seed > SEEDLESS {
        context.console.warn(&format!(
            "{:.1} % of the training placements are on pages without a seed item that has a vector",
            100.0 * report.without_seed
        ));
    }
    if args.update_from.is_some() && report.best_epoch == 0 {
        let told = "no epoch was better on the validation split than the run it went on from: the \
                    weights are that run's";
        context.console.warn(told);
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
    let mut outcome = Outcome::done(json, text);
    if let Some(diverged) = report.diverged {
        let told = format!("{diverged}; the run has the weights of the best epoch before it");
        context.console.warn(&told);
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}

/// Removes what a finished run has no use for; a failure costs disk and nothing else.
fn remove(unfinished: &Unfinished, context: &Context) {
    if let Err(error) = unfinished.remove() {
        context.console.warn(&format!("{error:#}"));
    }
}

/// Names the inputs that no network will look at.
pub(super) fn say_unread(context: &Context, unread: &[String]) {
    if !unread.is_empty() {
        let unread = unread.join(", ");
        context
            .console
            .say(&format!("left unread, as the configuration says: {unread}"));
    }
}
