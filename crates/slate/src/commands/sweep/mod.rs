//! `slate sweep`: trains many configurations on one dataset and says which validates best.
//!
//! Every training is a run of its own under `trials/`. All of them grow in the hidden folder
//! `.NAME.sweep`, which outlives kills: `--resume` goes on with the first one that is not finished.

mod ranked;
mod trial;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_model::{DeviceSpec, ModelError};
use slate_trees::TreesError;

use super::{Context, train};
use crate::artefacts::{Staged, manifest, neighbour, write_file};
use crate::cli::{RankerKind, SweepArgs, TrainArgs};
use crate::console::{ExitStatus, Outcome, Refusal};
use crate::pipeline::training::{self, Unfinished};
use ranked::Ranked;
pub(super) use trial::check;
use trial::{Ended, Trial};

/// What the sweep in a folder is, so that another is not gone on with by mistake.
const PLAN: &str = "plan.json";

pub(super) fn run(context: &Context, args: &SweepArgs) -> Result<Outcome> {
    let config = &context.config;
    let section = config.need(config.file.sweep.as_ref(), "sweep")?;
    let kind = train::ranker(context, args.ranker);
    let device = match kind {
        RankerKind::Network => args.device.parse::<DeviceSpec>()?.find()?.name,
        RankerKind::Trees => DeviceSpec::Cpu,
    };
    let seeds = section.seeds(context.seed)?;
    let points = section.points(context.seed)?;
    let trials = trial::all(config, &context.set, kind, &points, &seeds)?;
    let plan = json!({
        "format": manifest::FORMAT,
        "kind": "sweep-plan",
        "slate": env!("CARGO_PKG_VERSION"),
        "ranker": kind.name(),
        "device": device,
        "config": trials.iter().map(|trial| trial.section(kind)).collect::<Vec<_>>(),
        "data": manifest::sha256(&args.data.join("manifest.json"))
            .with_context(|| format!("cannot open the dataset `{}`", args.data.display()))?,
        "seeds": seeds,
    });
    let plan = format!("{plan:#}\n");
    // With --force over a finished sweep, what is begun is to replace it.
    let replacing = context.force && is_begun(&args.out)?;
    let finished = args.out.join(PLAN);
    if args.resume && !replacing && finished.is_file() && fs::read(&finished)? == plan.as_bytes() {
        let sweep = manifest::read_json(&args.out.join("manifest.json"))?;
        let out = args.out.display();
        let told = format!("the sweep in {out} is finished: nothing to do\n");
        return Ok(Outcome::done(
            json!({ "out": args.out, "sweep": sweep }),
            told,
        ));
    }
    Unfinished::beside(&args.out)?.refuse_other(context.force)?;
    let staged = Staged::kept(&args.out, context.force, SUFFIX, |folder| {
        go_on(folder, plan.as_bytes(), args.resume, context.force)
    })?;
    let folder = staged.path().to_owned();
    fs::create_dir_all(folder.join("trials"))
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    write_file(&folder.join(PLAN), plan.as_bytes(), true)?;

    let mut ended = Vec::with_capacity(trials.len());
    for (at, trial) in trials.iter().enumerate() {
        let told = format!("{} of {}: {}", at + 1, trials.len(), trial.told());
        context.console.say(&told);
        let one = one(context, args, (kind, device), trial, &folder);
        ended.push(one.map_err(interrupted)?);
    }
    let ranked = ranked::rank(&points, &trials, &ended);
    let document = document(context, (kind, device), &ranked, &seeds, &args.data)?;
    manifest::write_json(&folder.join("manifest.json"), &document)?;
    let csv = ranked::csv(&points, &ranked);
    write_file(&folder.join("points.csv"), csv.as_bytes(), true)?;
    staged.commit()?;
    let text = format!(
        "{}{}\nthe runs are in {}\n",
        ranked::table(&points, &ranked, seeds.len()),
        ranked::advice(&ranked, &args.out),
        args.out.display()
    );
    let json = json!({ "out": args.out, "sweep": document });
    Ok(Outcome::done(json, text))
}

/// The hidden folder of a sweep that is not finished ends in this.
const SUFFIX: &str = "sweep";

/// Whether a sweep with this output was begun and not finished.
fn is_begun(out: &Path) -> Result<bool> {
    Ok(neighbour(out, SUFFIX)?.exists())
}

/// For a command that writes the same output and is no sweep.
///
/// # Errors
/// A sweep that was begun, without `force`.
pub(super) fn refuse_begun(out: &Path, force: bool) -> Result<()> {
    if force || !is_begun(out)? {
        return Ok(());
    }
    let told = format!(
        "a sweep with the output `{}` was not finished",
        out.display()
    );
    let hint = "go on with it by its own command and --resume, or choose another --out";
    Err(Refusal::new(told).hint(hint).into())
}

/// Whether to go on with what is in the folder of an unfinished sweep, if anything is.
fn go_on(folder: &Path, plan: &[u8], resume: bool, force: bool) -> Result<bool> {
    let trials = fs::read_dir(folder.join("trials")).map(|mut entries| entries.next().is_some());
    let planned = fs::read(folder.join(PLAN)).ok();
    if planned.is_none() && !trials.unwrap_or(false) {
        return Ok(resume);
    }
    match (resume, force) {
        (true, _) if planned.as_deref() == Some(plan) => Ok(true),
        (true, _) => {
            let told = format!("the sweep in `{}` is another one", folder.display());
            let hint = "go on with its own configuration, data, device, seed and version, or leave out \
                        --resume and pass --force to begin anew";
            Err(Refusal::new(told).hint(hint).into())
        }
        (false, true) => Ok(false),
        (false, false) => {
            let told = format!("a sweep in `{}` is not finished", folder.display());
            let hint = "pass --resume to go on with it, or --force to begin anew";
            Err(Refusal::new(told).hint(hint).into())
        }
    }
}

/// An interrupt of a training is one of the sweep.
fn interrupted(error: anyhow::Error) -> anyhow::Error {
    if !training::was_interrupted(&error) {
        return error;
    }
    let hint = "go on with the same command and --resume";
    error.context(Refusal::new("the sweep was interrupted").hint(hint))
}

/// Trains one configuration, or reads what it came to before.
fn one(
    context: &Context,
    args: &SweepArgs,
    (kind, device): (RankerKind, DeviceSpec),
    trial: &Trial,
    folder: &Path,
) -> Result<Ended> {
    let trials = folder.join("trials");
    let failed = trials.join(format!("{}.failed.json", trial.name()));
    if failed.exists() {
        let told = manifest::read_json(&failed)?;
        let reason = told["reason"].as_str().unwrap_or_default().to_owned();
        return Ok(Ended::Failed(reason));
    }
    let own = Context {
        console: context.console,
        config: trial.config.clone(),
        seed: slate_types::Seed(trial.seed),
        threads: context.threads,
        force: false,
        set: context.set.clone(),
        command: trial.command(context, args, (kind, device)),
    };
    let train_args = TrainArgs {
        data: args.data.clone(),
        out: trials.join(trial.name()),
        ranker: Some(kind),
        update_from: None,
        resume: true,
        checkpoint_steps: None,
        keep: None,
        device: device.to_string(),
        replicas: None,
    };
    match train::run(&own, &train_args) {
        Ok(outcome) => Ok(Ended::Run {
            best: outcome.json["run"]["best"].clone(),
            diverged: matches!(outcome.status, ExitStatus::CheckFailed),
        }),
        // A finding about the point; anything else would fail for all.
        Err(error) if is_finding(&error) => {
            let reason = format!("{error:#}");
            let told = json!({ "format": manifest::FORMAT, "kind": "failed", "reason": reason });
            write_file(&failed, format!("{told}\n").as_bytes(), true)?;
            Ok(Ended::Failed(reason))
        }
        Err(error) => Err(error),
    }
}

/// Whether a training failed for what its point is: too large a step, or too large for the device.
fn is_finding(error: &anyhow::Error) -> bool {
    let network = matches!(
        error.downcast_ref(),
        Some(ModelError::Diverged { .. } | ModelError::Compute { .. })
    );
    network || matches!(error.downcast_ref(), Some(TreesError::Metric { .. }))
}

fn document(
    context: &Context,
    (kind, device): (RankerKind, DeviceSpec),
    ranked: &[Ranked],
    seeds: &[u64],
    data: &Path,
) -> Result<Value> {
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "sweep",
        "command": context.command,
        "slate": env!("CARGO_PKG_VERSION"),
        "config": { "sweep": context.config.file.sweep },
        "ranker": kind.name(),
        "device": device,
        "seeds": seeds,
        "data": { "manifest_sha256": manifest::sha256(&data.join("manifest.json"))? },
        "metric": ranked::metric(ranked),
        "points": ranked.iter().map(Ranked::told).collect::<Vec<_>>(),
    }))
}
