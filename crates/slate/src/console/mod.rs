//! What the program says: results on stdout, talk on stderr, bars where there is a terminal.
//!
//! With `--json` stdout carries one JSON object and nothing else. With `--quiet` stderr carries
//! errors alone. No other module prints.

mod bar;
mod failure;
mod table;

pub(crate) use bar::Bar;
pub(crate) use failure::{Refusal, hint_of, print_failure};
pub(crate) use table::{Align, Table};

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done: exit code 0.
    Success,
    /// A check or a gate failed; the work itself was done: exit code 1.
    CheckFailed,
    /// Wrong use or bad input: exit code 2.
    BadInput,
    /// Ended by Ctrl-C or a polite kill, with what was done saved: exit code 130.
    Interrupted,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::CheckFailed => 1,
            ExitStatus::BadInput => 2,
            ExitStatus::Interrupted => crate::artefacts::INTERRUPTED,
        })
    }
}

/// What a command hands back to be shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The object that `--json` prints.
    pub(crate) json: Value,
    /// What a person reads on stdout, ready to print.
    pub(crate) text: String,
    /// How the process ends.
    pub(crate) status: ExitStatus,
}

impl Outcome {
    /// A command that did what it was asked.
    pub(crate) fn done(json: Value, text: String) -> Self {
        Self {
            json,
            text,
            status: ExitStatus::Success,
        }
    }
}

/// The two streams and how much may be said on them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// A line on stderr: the one place that talks. Where no one can hear, the exit code says how it ended.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Console {
    /// A remark on stderr, unless `--quiet`.
    pub(crate) fn say(self, text: &str) {
        if !self.quiet {
            tell(text);
        }
    }

    /// A warning on stderr, unless `--quiet`.
    pub(crate) fn warn(self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// A progress bar, silent where stderr is no terminal or `--quiet` was given.
    pub(crate) fn bar(self) -> Bar {
        Bar::new(!self.quiet)
    }

    /// Prints the result on stdout. A reader that went away is not an error.
    ///
    /// # Errors
    /// A stdout that cannot take it, for instance a file on a full disk.
    pub(crate) fn show(self, outcome: &Outcome) -> anyhow::Result<()> {
        use std::io::Write;
        let text = if self.json {
            format!("{}\n", outcome.json)
        } else if outcome.text.is_empty() || outcome.text.ends_with('\n') {
            outcome.text.clone()
        } else {
            format!("{}\n", outcome.text)
        };
        let mut stdout = std::io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            // A closed pipe, as under `slate … | head`, is the reader's choice.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the result to stdout")
            }
            _ => Ok(()),
        }
    }
}
