//! A node of a Ballista cluster on loopback, for tests and trials; `scripts/loopback-cluster` starts
//! them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// A node of a Ballista cluster on this machine, for tests and trials.
#[derive(Debug, Parser)]
enum Node {
    /// Runs a scheduler
    Scheduler {
        /// Where it listens
        port: u16,
        /// Hand tasks out, instead of waiting for executors to ask
        #[arg(long)]
        push: bool,
    },
    /// Runs an executor
    Executor {
        /// Port of the scheduler
        scheduler: u16,
        /// Where it listens, and on the port after it
        port: u16,
        /// Folder for what it computes
        work: PathBuf,
        /// As the scheduler's
        #[arg(long)]
        push: bool,
    },
}

fn main() -> ExitCode {
    let run = match Node::parse() {
        Node::Scheduler { port, push } => slate_logs::run_scheduler(port, push),
        Node::Executor {
            scheduler,
            port,
            work,
            push,
        } => slate_logs::run_executor(scheduler, port, &work, push),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear of a closed stderr.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
