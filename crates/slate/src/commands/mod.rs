//! One file per verb. A command reads its arguments, calls the pipeline, and shapes the outcome.

mod backtest;
mod calibrate;
mod demo;
mod doctor;
mod dry_run;
mod embed;
mod engine;
mod evaluate;
mod features;
mod import;
mod import_torch;
mod label;
mod losses;
mod registry;
mod report;
mod rerank;
mod retrain;
mod score;
mod similar;
mod simulate;
mod sweep;
mod trace;
mod train;
mod validate;

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use slate_types::Seed;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::console::{Console, Outcome, Refusal};

/// What every command is given beside its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) console: Console,
    pub(crate) config: Config,
    pub(crate) seed: Seed,
    pub(crate) threads: usize,
    pub(crate) force: bool,
    /// Overrides as typed.
    pub(crate) set: Vec<String>,
    /// The command as typed, for manifests.
    pub(crate) command: String,
}

/// Prepares the context and runs the command.
pub(crate) fn dispatch(cli: Cli, arguments: &[OsString]) -> Result<(Console, Outcome)> {
    let global = cli.global;
    let console = Console {
        json: global.json,
        quiet: global.quiet,
    };
    let built_in = matches!(cli.command, Command::Demo(_)).then_some(demo::CONFIG);
    let config = match (&global.config, built_in) {
        (Some(path), _) => Config::read(path, &global.set)?,
        (None, Some(text)) => Config::parse(text, &global.set)?,
        (None, None) => Config::default_with(&global.set)?,
    };
    crate::artefacts::clean_up_when_interrupted();
    let threads = threads(global.threads)?;
    let seed = global.seed.map_or(config.file.seed, Seed);
    let command = typed(arguments);
    let context = Context {
        console,
        config,
        seed,
        threads,
        force: global.force,
        set: global.set,
        command,
    };
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&context, &args),
        Command::Simulate(args) => simulate::run(&context, &args),
        Command::Import(args) => import::run(&context, &args),
        Command::Validate(args) => validate::run(&context, &args),
        Command::Features(args) => features::run(&context, &args),
        Command::Embed(args) => embed::run(&context, &args),
        Command::Similar(args) => similar::run(&context, &args),
        Command::Label(args) => label::run(&context, &args),
        Command::Trace(args) => trace::run(&context, &args),
        Command::Train(args) => train::run(&context, &args),
        Command::Sweep(args) => sweep::run(&context, &args),
        Command::ImportTorch(args) => import_torch::run(&context, &args),
        Command::Losses(args) => losses::run(&context, &args),
        Command::Score(args) => score::run(&context, &args),
        Command::Calibrate(args) => calibrate::run(&context, &args),
        Command::Evaluate(args) => evaluate::run(&context, &args),
        Command::Rerank(args) => rerank::run(&context, &args),
        Command::Backtest(args) => backtest::run(&context, &args),
        Command::Retrain(args) => retrain::run(&context, &args),
        Command::Backfill(args) => retrain::backfill(&context, &args),
        Command::Registry(args) => registry::run(&context, &args),
        Command::Report(args) => report::run(&context, &args),
        Command::Doctor => Ok(doctor::run(&context)),
    }?;
    Ok((console, outcome))
}

/// The command as a shell would take it, with the program's plain name.
fn typed(arguments: &[OsString]) -> String {
    let words = arguments
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    shell_line(words)
}

/// `slate` and these words, quoted where a shell needs it.
pub(crate) fn shell_line(given: impl IntoIterator<Item = String>) -> String {
    let mut words = vec!["slate".to_owned()];
    for word in given {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@[]".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            words.push(word);
        } else {
            words.push(format!("'{}'", word.replace('\'', r"'\''")));
        }
    }
    words.join(" ")
}

/// Sets the number of worker threads for the whole process.
fn threads(asked: Option<usize>) -> Result<usize> {
    if asked == Some(0) {
        return Err(Refusal::new("--threads is 0, expected at least 1").into());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = asked.unwrap_or(cores);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot start the worker threads")?;
    Ok(threads)
}
