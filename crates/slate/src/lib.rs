//! The `slate` program: parses the command line, runs one command, tells how it ended.
//!
//! `cli` says what may be typed, `commands` has one file per verb, `pipeline` the steps that
//! commands and the demo share, `artefacts` the files the program itself reads and writes, `config`
//! the strict configuration file, `console` everything that is printed, `report` the HTML page.

mod artefacts;
mod cli;
mod commands;
mod config;
mod console;
mod machine;
mod pipeline;
mod report;

use std::ffi::OsString;

use clap::Parser;

pub use console::ExitStatus;

/// Keeps freed memory for the next training step: glibc gives buffers of a megabyte back to the
/// system each time, which costs a ranker half its speed.
///
/// It is built not to ask the system for huge pages (`no_thp`): with them a job holds a tenth to a
/// quarter more, and in a virtual machine that hands free memory back to its host they are the
/// slowest to come.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn run() -> ExitStatus {
    run_with(std::env::args_os())
}

/// Runs the program with these arguments; the first is the program's name.
pub fn run_with(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitStatus {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let cli = match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let status = if error.use_stderr() {
                ExitStatus::BadInput
            } else {
                ExitStatus::Success
            };
            let _ = error.print();
            return status;
        }
    };
    let shown = commands::dispatch(cli, &arguments)
        .and_then(|(console, outcome)| console.show(&outcome).map(|()| outcome.status));
    match shown {
        Ok(status) => status,
        Err(error) => {
            console::print_failure(&error);
            if pipeline::training::was_interrupted(&error)
                || error
                    .downcast_ref::<pipeline::stages::Interrupted>()
                    .is_some()
            {
                ExitStatus::Interrupted
            } else {
                ExitStatus::BadInput
            }
        }
    }
}
