//! Makes what is missing: stages whose needs are done run side by side as far as the machine allows, the
//! one that most work waits for first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use slate_types::{Progress, Silent};

use super::graph::{Graph, State};
use super::store::{Found, Key, Output, remove};
use super::transient::Patience;
use super::{Given, Stage, Store};

/// What the machine has for stages that run at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Stages at a time.
    pub(crate) jobs: usize,
    /// Bytes for all of them; a stage that takes more runs alone.
    pub(crate) memory: u64,
}

/// Something to tell the person or the log.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Begun {
        stage: &'a str,
    },
    /// It was there and whole.
    Reused {
        stage: &'a str,
    },
    Finished {
        stage: &'a str,
        seconds: f64,
    },
    /// A fault that may pass.
    Retry {
        stage: &'a str,
        attempt: u32,
        wait: Duration,
        error: String,
    },
    /// Its output was there, but was not what it had been; it is made again.
    Damaged {
        stage: &'a str,
        file: PathBuf,
        why: String,
    },
}

/// How a stage came to be done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Span {
    pub(crate) reused: bool,
    pub(crate) seconds: f64,
}

/// A stage that is done.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) name: String,
    pub(crate) output: Output,
    pub(crate) span: Span,
}

/// What is known of a stage before anything runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Planned {
    pub(crate) name: String,
    /// `done`, `missing` or `damaged`; `waits` where it depends on an output that is not there.
    pub(crate) state: &'static str,
}

/// Someone asked to end.
#[derive(Debug, thiserror::Error)]
#[error("ended as asked; the same command goes on from here")]
pub(crate) struct Interrupted;

/// Runs stages.
pub(crate) struct Runner<'a> {
    pub(crate) store: &'a Store,
    pub(crate) limits: Limits,
    /// What is done about faults that may pass.
    pub(crate) patience: Patience,
    /// A stage to run anew with all that depends on it, though it is done.
    pub(crate) anew: Option<&'a str>,
    /// What an earlier call has done: neither looked at nor made again.
    pub(crate) settled: &'a [Done],
    pub(crate) observe: &'a (dyn Fn(&Event<'_>) + Sync),
    /// Shown by one of the stages that run.
    pub(crate) progress: &'a dyn Progress,
    /// Asked before an output is put in place: whether this process may still write.
    pub(crate) may_write: &'a (dyn Fn() -> Result<()> + Sync),
}

impl Runner<'_> {
    /// Runs stages until all are done, or those that `until` needs and itself.
    ///
    /// # Errors
    /// The first stage that failed, with its name; those that ran beside it are finished first.
    /// [`Interrupted`] where `stop` was set between two.
    pub(crate) fn run(
        &self,
        stages: Vec<Arc<dyn Stage>>,
        until: Option<&str>,
    ) -> Result<Vec<Done>> {
        let mut graph = Graph::new(stages, (self.anew, self.settled), until)?;
        let mut running: Vec<usize> = Vec::new();
        let mut failed = None;
        let bar_is_free = AtomicBool::new(true);
        std::thread::scope(|scope| -> Result<()> {
            let (send, ended) = channel();
            loop {
                while failed.is_none() && !self.patience.stop.load(Ordering::Relaxed) {
                    let Some(at) = self.next(&graph, &running) else {
                        break;
                    };
                    running.push(at);
                    graph.nodes[at].state = State::Runs;
                    let work = Work {
                        runner: self,
                        stage: Arc::clone(&graph.nodes[at].stage),
                        needs: graph.outputs_of_needs(at),
                        anew: graph.nodes[at].anew,
                        bar_is_free: &bar_is_free,
                    };
                    let send = send.clone();
                    // Who waits for it is this loop, which is here until every worker has sent.
                    scope.spawn(move || drop(send.send((at, work.make_or_panic()))));
                }
                if running.is_empty() {
                    return Ok(());
                }
                let (at, made): (usize, Result<_>) = ended.recv().context("a stage vanished")?;
                running.retain(|other| *other != at);
                let name = graph.nodes[at].name.clone();
                let done = made.and_then(|(output, span)| graph.done(at, output, span));
                if let Err(error) = done {
                    let error = error.context(format!("stage `{name}` failed"));
                    failed.get_or_insert(error);
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !graph.ready().is_empty() {
            return Err(Interrupted.into());
        }
        Ok(graph.finished())
    }

    /// What would be done, in an order in which it can be.
    ///
    /// # Errors
    /// Inputs that cannot be read, stages that need each other.
    pub(crate) fn plan(
        &self,
        stages: Vec<Arc<dyn Stage>>,
        until: Option<&str>,
    ) -> Result<Vec<Planned>> {
        let mut graph = Graph::new(stages, (self.anew, self.settled), until)?;
        let mut planned = Vec::new();
        while let Some(&at) = graph.ready().first() {
            let node = &graph.nodes[at];
            let key = Key::new(
                &node.name,
                &node.stage.inputs()?,
                &hashes(&graph.outputs_of_needs(at)),
            );
            let found = self.store.find(&key)?;
            let name = node.name.clone();
            let state = match &found {
                Found::Whole(_) if node.anew => "anew",
                Found::Whole(_) => "done",
                Found::Missing => "missing",
                Found::Damaged(..) => "damaged",
            };
            planned.push(Planned { name, state });
            if let Found::Whole(output) = found {
                let span = Span {
                    reused: true,
                    seconds: 0.0,
                };
                graph.done(at, output, span)?;
            } else {
                graph.nodes[at].state = State::Runs;
            }
        }
        for node in graph.nodes.iter().filter(|node| node.wanted) {
            if matches!(node.state, State::Waits) {
                let name = node.name.clone();
                planned.push(Planned {
                    name,
                    state: "waits",
                });
            }
        }
        Ok(planned)
    }

    /// The stage to start now, if there is room for one.
    fn next(&self, graph: &Graph, running: &[usize]) -> Option<usize> {
        if running.len() >= self.limits.jobs.max(1) {
            return None;
        }
        let takes = |at: usize| graph.nodes[at].stage.takes();
        let memory: u64 = running.iter().map(|&at| takes(at).memory).sum();
        let device = running.iter().any(|&at| takes(at).device);
        let fits = |at: &usize| {
            let own = takes(*at);
            let room = memory.saturating_add(own.memory) <= self.limits.memory;
            (room && !(device && own.device)) || running.is_empty()
        };
        graph.ready().into_iter().find(fits)
    }
}

/// Hashes of outputs, by the names of their stages.
fn hashes(outputs: &[(String, Output)]) -> Vec<(String, String)> {
    let own = outputs.iter();
    own.map(|(name, output)| (name.clone(), output.hash.clone()))
        .collect()
}

/// One stage, to be made by a thread.
struct Work<'a> {
    runner: &'a Runner<'a>,
    stage: Arc<dyn Stage>,
    needs: Vec<(String, Output)>,
    anew: bool,
    bar_is_free: &'a AtomicBool,
}

impl Work<'_> {
    /// A stage that panics has failed like any other: who waits for it must hear of it.
    fn make_or_panic(&self) -> Result<(Output, Span)> {
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.make()));
        made.unwrap_or_else(|_| {
            let told = "it panicked, which is a fault of this program";
            Err(anyhow::anyhow!(told))
        })
    }

    fn make(&self) -> Result<(Output, Span)> {
        let Runner { store, observe, .. } = *self.runner;
        let began = Instant::now();
        let stage = &self.stage.name();
        let key = Key::new(stage, &self.stage.inputs()?, &hashes(&self.needs));
        match store.find(&key)? {
            Found::Whole(output) if !self.anew => {
                observe(&Event::Reused { stage });
                let seconds = began.elapsed().as_secs_f64();
                let reused = true;
                return Ok((output, Span { reused, seconds }));
            }
            Found::Whole(_) => {
                (self.runner.may_write)()?;
                store.discard(&key)?;
            }
            Found::Damaged(file, why) => {
                observe(&Event::Damaged { stage, file, why });
                (self.runner.may_write)()?;
                store.discard(&key)?;
            }
            Found::Missing => {}
        }
        observe(&Event::Begun { stage });
        // One bar for all: the first stage without another beside it has it.
        let has_bar = self.bar_is_free.swap(false, Ordering::Relaxed);
        let progress = if has_bar {
            self.runner.progress
        } else {
            &Silent
        };
        let made = self.attempts(&key, progress);
        if has_bar {
            // After a failure too, lest it hides what is told.
            progress.end();
            self.bar_is_free.store(true, Ordering::Relaxed);
        }
        let output = made?;
        let seconds = began.elapsed().as_secs_f64();
        observe(&Event::Finished { stage, seconds });
        let reused = false;
        Ok((output, Span { reused, seconds }))
    }

    fn attempts(&self, key: &Key, progress: &dyn Progress) -> Result<Output> {
        let runner = self.runner;
        runner.patience.of(
            || self.attempt(key, progress),
            |attempt, wait, error| {
                (runner.observe)(&Event::Retry {
                    stage: &self.stage.name(),
                    attempt,
                    wait,
                    error: format!("{error:#}"),
                });
            },
        )
    }

    fn attempt(&self, key: &Key, progress: &dyn Progress) -> Result<Output> {
        let store = self.runner.store;
        let unfinished = store.unfinished(key)?;
        let partial = store.begin(key)?;
        let outputs = self.needs.iter();
        let given = Given {
            outputs: outputs
                .map(|(name, output)| (name.clone(), output.path.clone()))
                .collect(),
            out: &partial,
            unfinished: &unfinished,
            progress,
            stop: self.runner.patience.stop,
            may_write: self.runner.may_write,
        };
        let made = self.stage.run(&given).and_then(|()| {
            (self.runner.may_write)()?;
            store.commit(key, &partial)
        });
        if made.is_err() {
            // What is left of a failure is in no one's way; the cause is what matters.
            let _ = remove(&partial);
        } else {
            remove(&unfinished)?;
        }
        made
    }
}
