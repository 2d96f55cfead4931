//! A node of a Ballista cluster on loopback, for tests and trials; `scripts/loopback-cluster` starts
//! them.

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
    },
    /// Runs an executor of one core
    Executor {
        /// Port of the scheduler
        scheduler: u16,
        /// Where it listens, and on the port after it
        port: u16,
        /// Folder for what it computes
        work: PathBuf,
    },
}

fn main() -> ExitCode {
    let run = match Node::parse() {
        Node::Scheduler { port } => slate_logs::run_scheduler(port),
        Node::Executor {
            scheduler,
            port,
            work,
        } => slate_logs::run_executor(scheduler, port, &work),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody is left to hear of a closed stderr.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
