//! `slate backtest`: policies compared on a log, and what experiments need and found.

mod examine;
mod interleave;
mod months;
mod online;
mod plan;

use anyhow::{Context as _, Result};
use serde_json::Value;
use slate_eval::Bootstrap;
use slate_eval::off_policy::{Choice, Estimator, IntervalMethod, Intervals, Verdict};

use super::{Context, score};
use crate::artefacts::{Staged, manifest};
use crate::cli::{BacktestArgs, BacktestCommand, CompareArgs, IntervalArg, ShownArgs};
use crate::console::{ExitStatus, Outcome, Refusal};
use crate::pipeline::backtest::{self, Asked, Compared, OutcomeKind, Settings, document};
use crate::pipeline::policy::Policy;
use crate::pipeline::shown::{From, Shown};

/// Estimators that every log with propensities has.
const ESTIMATORS: [&str; 6] = ["ips", "snips", "dm", "dr", "sndr", "dr_os@slope"];
/// Those that also want probabilities of slots together.
const OF_PREFIXES: [&str; 3] = ["rips", "snrips", "list_ips"];

pub(super) fn run(context: &Context, args: &BacktestArgs) -> Result<Outcome> {
    match &args.command {
        Some(BacktestCommand::Examine(args)) => examine::run(context, args),
        Some(BacktestCommand::Interleave(args)) => interleave::run(context, args),
        Some(BacktestCommand::Months(args)) => months::run(context, args),
        Some(BacktestCommand::Plan(args)) => plan::run(args),
        Some(BacktestCommand::Online(args)) => online::run(context, args),
        None => compare(context, &args.compare),
    }
}

/// Reads the placements asked for.
pub(super) fn shown(args: &ShownArgs) -> Result<Shown> {
    let split = score::split(&args.split)?;
    let from = match (&args.log, &args.data) {
        (Some(log), _) => From::File(log.clone()),
        (None, Some(data)) => From::Dataset(data.clone(), split),
        (None, None) => unreachable!("one of both is required"),
    };
    Shown::read(
        &from,
        args.beside.as_deref(),
        &pairs(&args.only, "--where")?,
    )
}

/// Splits `NAME=VALUE`.
pub(super) fn pairs(given: &[String], flag: &str) -> Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|text| {
            let pair = text
                .split_once('=')
                .ok_or_else(|| Refusal::new(format!("{flag} is `{text}`, expected NAME=VALUE")))?;
            Ok((pair.0.to_owned(), pair.1.to_owned()))
        })
        .collect()
}

/// How intervals are made: `[evaluate]` of the configuration says how often and how sure.
pub(super) fn intervals(context: &Context, method: IntervalArg) -> Intervals {
    let section = &context.config.file.evaluate;
    Intervals {
        method: match method {
            IntervalArg::Bca => IntervalMethod::Bca,
            IntervalArg::Percentile => IntervalMethod::Percentile,
            IntervalArg::Delta => IntervalMethod::Delta,
            IntervalArg::Bernstein => IntervalMethod::Bernstein,
        },
        bootstrap: Bootstrap {
            draws: section.draws,
            seed: context.seed.derive("bootstrap"),
            level: section.level,
        },
        largest_reward: None,
    }
}

fn compare(context: &Context, args: &CompareArgs) -> Result<Outcome> {
    let policies: Vec<Policy> = args
        .a
        .iter()
        .chain(&args.b)
        .map(|path| Policy::read(path))
        .collect::<Result<_>>()?;
    for (at, policy) in policies.iter().enumerate() {
        if policies[..at]
            .iter()
            .any(|before| before.name == policy.name)
        {
            let told = format!("two policies are called `{}`", policy.name);
            return Err(Refusal::new(told)
                .hint("give each a `name` of its own")
                .into());
        }
    }
    let shown = shown(&args.shown)?;
    let settings = settings(context, args, &shown)?;
    // Before the work, so that an output in the way is known at once.
    let staged = match &args.out {
        Some(out) => Some(Staged::folder(out, context.force)?),
        None => None,
    };
    let bar = context.console.bar();
    let compared = backtest::compare(&shown, &policies, &settings, &bar)?;
    for (estimator, why) in &compared.left_out {
        context
            .console
            .say(&format!("note: `{estimator}` is left out: {why}"));
    }
    let summary = document::summary(&compared, &settings);
    if let Some(staged) = staged {
        let document = document::document(
            &summary,
            &compared,
            &shown,
            &policies,
            &settings,
            &context.command,
        );
        manifest::write_json(&staged.path().join("manifest.json"), &document)?;
        staged.commit()?;
    }
    let mut outcome = Outcome::done(summary, text(&compared, &settings, args));
    if compared
        .judgements
        .iter()
        .any(|judgement| judgement.verdict == Verdict::CannotTell)
    {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}

fn text(compared: &Compared, settings: &Settings, args: &CompareArgs) -> String {
    let sentences = (1..compared.names.len()).map(|at| compared.sentence(at, settings));
    let mut text: String = sentences.map(|sentence| format!("{sentence}\n")).collect();
    text.push('\n');
    text.push_str(&backtest::estimate_table(&compared.names, &compared.rows));
    text.push('\n');
    text.push_str(&backtest::weight_table(&compared.names, &compared.weights));
    if let (Some(column), [_, ..]) = (&args.by, &compared.segments[..]) {
        text.push('\n');
        text.push_str(&backtest::segment_table(column, &compared.segments));
    }
    if let Some(out) = &args.out {
        text.push_str(&format!(
            "report: slate report {} --out backtest.html\n",
            out.display()
        ));
    }
    text
}

fn settings(context: &Context, args: &CompareArgs, shown: &Shown) -> Result<Settings> {
    if args.largest_reward.is_some() && args.interval != IntervalArg::Bernstein {
        let told = "--largest-reward is for --interval bernstein: no other rests on it";
        return Err(Refusal::new(told).into());
    }
    let examined = args.examination.is_some();
    let prefixes = args.prefix_propensity.is_some() || args.propensity == "uniform";
    let mut names: Vec<&str> = args.estimators.iter().map(String::as_str).collect();
    let cascade = args.outcome == Some(OutcomeKind::Cascade);
    if names.is_empty() {
        names = if examined {
            vec!["ips", "dm"]
        } else if cascade {
            vec!["ips", "snips", "dm"]
        } else {
            ESTIMATORS.to_vec()
        };
        if prefixes && !shown.is_single() {
            names.extend(OF_PREFIXES);
        }
        if !args.cells.is_empty() {
            names.push("mips");
        }
    }
    let estimators = names
        .iter()
        .map(|name| Ok(name.trim().parse::<Choice>()?))
        .collect::<Result<Vec<_>>>()?;
    let main = args.main.as_deref().unwrap_or(match (examined, cascade) {
        (true, _) => "ips",
        (false, true) => "snips",
        (false, false) => "dr",
    });
    let main: Choice = main.parse()?;
    if examined {
        // Weights are not 1 on average there, and a model's slots are not the curve's, so nothing but
        // plain weights, or the model alone, is as sound as the curve.
        let sound = |choice: &Choice| {
            let name = choice.example();
            matches!(name, Estimator::Ips { .. } | Estimator::Dm)
        };
        if let Some(choice) = estimators
            .iter()
            .chain([&main])
            .find(|choice| !sound(choice))
        {
            let told = format!("`{}` cannot be weighed by examination", choice.example());
            return Err(Refusal::new(told).hint("take ips, ips@L or dm").into());
        }
    }
    Ok(Settings {
        reward: args.reward.clone(),
        unit: args.per,
        cluster: args.cluster,
        top: args.top.map(|top| top as usize),
        propensities: asked(args, shown)?,
        prefix: args.prefix_propensity.clone(),
        estimators,
        main,
        outcome: args.outcome,
        cells: args.cells.clone(),
        intervals: Intervals {
            largest_reward: args.largest_reward,
            ..intervals(context, args.interval)
        },
        by: args.by.clone(),
        seed: context.seed.derive("outcome folds"),
        device: args.shown.device.parse()?,
    })
}

fn asked(args: &CompareArgs, shown: &Shown) -> Result<Asked> {
    if let Some(path) = &args.examination {
        let value = manifest::read_json(path)?;
        let told = || {
            format!(
                "`{}` is no file of `slate backtest examine`",
                path.display()
            )
        };
        anyhow::ensure!(manifest::kind(&value)? == "examination", told());
        // What a resample knows nothing of is null.
        let floats = |value: &Value| -> Result<Vec<f64>> {
            let numbers: Vec<Option<f64>> =
                serde_json::from_value(value.clone()).with_context(told)?;
            Ok(numbers.into_iter().map(|n| n.unwrap_or(f64::NAN)).collect())
        };
        let of_place = floats(&value["examination"])?;
        anyhow::ensure!(of_place.iter().all(|theta| *theta > 0.0), told());
        let draws = value["draws"].as_array().cloned().unwrap_or_default();
        let draws = draws.iter().map(floats).collect::<Result<_>>()?;
        return Ok(Asked::Examination { of_place, draws });
    }
    if let Some(logger) = &args.logger {
        let loggers = pairs(&args.balanced, "--balanced")?;
        for (at, (name, _)) in loggers.iter().enumerate() {
            if loggers[..at].iter().any(|(before, _)| before == name) {
                let told = format!("--balanced names `{name}` twice, expected each logger once");
                return Err(Refusal::new(told).into());
            }
        }
        let values = shown.table.text(logger)?;
        let mut lists = vec![0.0; loggers.len()];
        for rows in shown.lists().iter() {
            let value = &values[rows.start];
            let at = loggers.iter().position(|(name, _)| name == value);
            let at = at.ok_or_else(|| {
                let told = format!("`{logger}` is `{value}` at row {}", rows.start);
                Refusal::new(format!("{told}, which --balanced does not name"))
            })?;
            lists[at] += 1.0;
        }
        let columns = loggers.into_iter().map(|(_, column)| column).collect();
        return Ok(Asked::Balanced(columns, lists));
    }
    Ok(match args.propensity.as_str() {
        "uniform" => Asked::Uniform,
        column => Asked::Column(column.to_owned()),
    })
}
