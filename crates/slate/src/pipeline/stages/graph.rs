//! Which stage waits for which.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::runner::{Done, Span};
use super::store::Output;
use super::{Need, Stage};
use crate::console::Refusal;

/// A stage among others.
pub(super) struct Node {
    pub(super) stage: Arc<dyn Stage>,
    pub(super) name: String,
    needs: Vec<Need>,
    /// The stage that added it.
    added_by: Option<usize>,
    pub(super) state: State,
    /// Whether it is made though it is there.
    pub(super) anew: bool,
    /// Whether it is to be done at all.
    pub(super) wanted: bool,
}

pub(super) enum State {
    Waits,
    Runs,
    Done(Output, Span),
}

/// Stages in the order they were submitted.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    anew: Option<String>,
    until: Option<String>,
}

impl Graph {
    /// Those of `settled` are done before anything begins.
    ///
    /// # Errors
    /// Two stages of a name, a need that there is no stage for, stages that wait for each other, an
    /// `anew` or `until` that is no stage.
    pub(super) fn new(
        stages: Vec<Arc<dyn Stage>>,
        (anew, settled): (Option<&str>, &[Done]),
        until: Option<&str>,
    ) -> Result<Self> {
        let mut graph = Self {
            nodes: Vec::new(),
            anew: anew.map(str::to_owned),
            until: until.map(str::to_owned),
        };
        for stage in stages {
            graph.add(stage, None)?;
        }
        for name in anew.iter().chain(&until) {
            if graph.place(name).is_none() {
                let known: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
                return Err(Refusal::new(format!("there is no stage `{name}`"))
                    .hint(format!("the stages are {}", known.join(", ")))
                    .into());
            }
        }
        graph.settle()?;
        for Done { name, output, span } in settled {
            if let Some(at) = graph.place(name) {
                graph.done(at, output.clone(), *span)?;
            }
        }
        Ok(graph)
    }

    fn add(&mut self, stage: Arc<dyn Stage>, added_by: Option<usize>) -> Result<()> {
        let name = stage.name();
        ensure!(
            self.place(&name).is_none(),
            "two stages are called `{name}`"
        );
        self.nodes.push(Node {
            needs: stage.needs(),
            stage,
            name,
            added_by,
            state: State::Waits,
            anew: false,
            wanted: false,
        });
        Ok(())
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Places of what a node waits for, in the order it named them.
    fn before(&self, at: usize) -> Vec<usize> {
        let mut before = Vec::new();
        for need in &self.nodes[at].needs {
            match need {
                Need::Stage(name) => before.extend(self.place(name)),
                Need::AddedBy(name) => {
                    let by = self.place(name);
                    before.extend(by);
                    let added = (0..self.nodes.len()).filter(|&other| {
                        self.nodes[other].added_by.is_some() && self.nodes[other].added_by == by
                    });
                    before.extend(added);
                }
            }
        }
        before
    }

    /// Says anew which nodes are wanted and which are made anew; nodes may have been added.
    fn settle(&mut self) -> Result<()> {
        for node in &self.nodes {
            for need in &node.needs {
                let (Need::Stage(name) | Need::AddedBy(name)) = need;
                let there = self.place(name).is_some();
                ensure!(
                    there,
                    "stage `{}` needs `{name}`, which there is not",
                    node.name
                );
            }
        }
        let last = self.until.as_ref().and_then(|name| self.place(name));
        let mut wanted: BTreeSet<usize> = match last {
            Some(last) => BTreeSet::from([last]),
            None => (0..self.nodes.len()).collect(),
        };
        let mut open: Vec<usize> = wanted.iter().copied().collect();
        while let Some(at) = open.pop() {
            let before = self.before(at);
            open.extend(before.into_iter().filter(|&other| wanted.insert(other)));
        }
        let first = self.anew.as_ref().and_then(|name| self.place(name));
        let depths = self.depths()?;
        let mut anew = vec![false; self.nodes.len()];
        // Those with the longest way ahead come before what waits for them.
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(depths[at]));
        for at in order {
            let after_anew = self.before(at).into_iter().any(|other| anew[other]);
            anew[at] = Some(at) == first || after_anew;
        }
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.wanted = wanted.contains(&at);
            node.anew = anew[at];
        }
        Ok(())
    }

    /// Of each node, how many stages in a row wait for it at most.
    fn depths(&self) -> Result<Vec<usize>> {
        let mut depths = vec![0; self.nodes.len()];
        for _ in 0..=self.nodes.len() {
            let mut changed = false;
            for at in 0..self.nodes.len() {
                for before in self.before(at) {
                    if depths[before] <= depths[at] {
                        depths[before] = depths[at] + 1;
                        changed = true;
                    }
                }
            }
            if !changed {
                return Ok(depths);
            }
        }
        anyhow::bail!("stages wait for each other in a circle")
    }

    /// Wanted stages that could run now: those that the longest row of others waits for first, and of
    /// these the one submitted first.
    pub(super) fn ready(&self) -> Vec<usize> {
        let depths = self.depths().expect("circles were refused");
        let is_done = |at: usize| matches!(self.nodes[at].state, State::Done(..));
        let mut ready: Vec<usize> = (0..self.nodes.len())
            .filter(|&at| {
                let node = &self.nodes[at];
                let waits = matches!(node.state, State::Waits) && node.wanted;
                waits && self.before(at).into_iter().all(is_done)
            })
            .collect();
        ready.sort_by_key(|&at| (std::cmp::Reverse(depths[at]), at));
        ready
    }

    /// Outputs that a node reads, by the names of their stages.
    pub(super) fn outputs_of_needs(&self, at: usize) -> Vec<(String, Output)> {
        let before = self.before(at).into_iter();
        before
            .filter_map(|other| match &self.nodes[other].state {
                State::Done(output, _) => Some((self.nodes[other].name.clone(), output.clone())),
                _ => None,
            })
            .collect()
    }

    /// Notes that a stage is done, and adds what it asks for.
    pub(super) fn done(&mut self, at: usize, output: Output, span: Span) -> Result<()> {
        let added = self.nodes[at].stage.adds(&output.path)?;
        self.nodes[at].state = State::Done(output, span);
        let more = !added.is_empty();
        for stage in added {
            self.add(stage, Some(at))?;
        }
        if more {
            self.settle()?;
        }
        Ok(())
    }

    /// The stages that are done, in the order of submission.
    pub(super) fn finished(self) -> Vec<Done> {
        let done = self.nodes.into_iter().filter_map(|node| match node.state {
            State::Done(output, span) => Some(Done {
                name: node.name,
                output,
                span,
            }),
            _ => None,
        });
        done.collect()
    }
}
