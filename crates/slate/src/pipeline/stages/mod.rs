//! Stages: work cut into pieces, each with declared inputs and an output that is there whole or not at
//! all.
//!
//! A stage says what it reads, which is outputs of other stages and anything else its own depends on, and
//! writes a folder. The folder is named by the hash of what it was made of, so a stage whose inputs are
//! what they were is never made again, whichever month asks. [`store`] keeps the folders and holds each
//! file to its hash, [`runner`] makes what is missing, [`transient`] says which faults pass by
//! themselves.

mod graph;
mod runner;
mod store;
#[cfg(test)]
mod tests;
mod transient;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use serde_json::Value;
use slate_types::Progress;

pub(crate) use self::runner::{Done, Event, Interrupted, Limits, Planned, Runner};
pub(crate) use self::store::{Store, VOLATILE};
pub(crate) use self::transient::Patience;

/// Something a stage waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// The stage of this name.
    Stage(String),
    /// Every stage that the one of this name added.
    AddedBy(String),
}

impl Need {
    pub(crate) fn stage(name: &str) -> Self {
        Self::Stage(name.to_owned())
    }
}

/// What a stage takes of the machine while it runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Takes {
    /// Bytes.
    pub(crate) memory: u64,
    /// Whether it computes on the device that trains.
    pub(crate) device: bool,
}

/// What a stage is given to run.
pub(crate) struct Given<'a> {
    /// Outputs of the stages it needs, by their names, in the order of its needs.
    outputs: Vec<(String, PathBuf)>,
    /// An empty folder for the output.
    pub(crate) out: &'a Path,
    /// A folder for what should outlive a kill; the stage makes it, and it is removed when the stage is
    /// done.
    pub(crate) unfinished: &'a Path,
    pub(crate) progress: &'a dyn Progress,
    /// Set when the stage should save what it can and end.
    pub(crate) stop: &'static AtomicBool,
    /// Asked before anything outside of `out` is written: whether this process still may.
    pub(crate) may_write: &'a (dyn Fn() -> Result<()> + Sync),
}

impl Given<'_> {
    /// The output of a stage that was declared as a need.
    pub(crate) fn output(&self, name: &str) -> &Path {
        let found = self.outputs.iter().find(|(own, _)| own == name);
        &found.expect("a stage reads what it declared").1
    }

    /// Those of the needs whose names begin like this.
    pub(crate) fn outputs_like<'a>(
        &'a self,
        beginning: &'a str,
    ) -> impl Iterator<Item = &'a Path> + 'a {
        let own = self.outputs.iter();
        own.filter(move |(name, _)| name.starts_with(beginning))
            .map(|(_, path)| path.as_path())
    }
}

/// A piece of work.
pub(crate) trait Stage: Send + Sync {
    /// One name for one piece of work in a graph.
    fn name(&self) -> String;

    /// What has to be done before.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// All that the output depends on beside the outputs of its needs.
    ///
    /// # Errors
    /// Inputs that cannot be read.
    fn inputs(&self) -> Result<Value>;

    /// What it takes while it runs.
    fn takes(&self) -> Takes {
        Takes::default()
    }

    /// Writes the output.
    ///
    /// # Errors
    /// Anything; what was written is removed.
    fn run(&self, given: &Given<'_>) -> Result<()>;

    /// Stages that turn out to be wanted, once its output is there.
    ///
    /// # Errors
    /// An output that cannot be read.
    fn adds(&self, _output: &Path) -> Result<Vec<Arc<dyn Stage>>> {
        Ok(Vec::new())
    }
}
