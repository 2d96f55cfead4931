//! Growing trees until the validation metric stops rising.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use hessboost::prelude::Trainer;
use slate_types::{FeatureShape, Seed};

use crate::node_order::ordered;
use crate::ranker::TreeRanker;
use crate::{Examples, TreesConfig, TreesError};

/// A metric of the validation rows' scores, in the order the rows were pushed; larger is better.
pub type Metric = Box<dyn Fn(&[f32]) -> f64 + Send + Sync>;

/// A training to be run.
#[derive(Debug)]
pub struct Training<'a> {
    /// What to grow.
    pub config: &'a TreesConfig,
    /// The inputs of the examples.
    pub shape: &'a FeatureShape,
    /// Start of every random choice: of lists, rows and inputs where they are sampled.
    pub seed: Seed,
    /// Set by anyone to end training after the tree that grows.
    pub stop: Option<&'a AtomicBool>,
}

/// A tree was grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Trees so far.
    pub trees: u32,
    /// The validation metric with all of them.
    pub metric: f64,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Why growing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All trees were grown.
    Trees,
    /// The validation metric did not rise for `patience` trees.
    Patience,
}

/// What training gives back.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The ranker, with the trees up to the best metric.
    pub ranker: TreeRanker,
    /// Its number of trees; the smallest of several with the best metric.
    pub best_trees: u32,
    /// The validation metric with them.
    pub best_metric: f64,
    /// Trees that were grown.
    pub trees: u32,
    /// Why growing ended.
    pub stopped: StopReason,
}

/// What goes on while trees grow.
struct Watch<'a> {
    best: Option<(u32, f64)>,
    trees: u32,
    /// A metric that is not a number.
    broken: Option<f64>,
    interrupted: bool,
    stopped: StopReason,
    observe: &'a mut (dyn FnMut(&Round) + Send),
}

impl Watch<'_> {
    /// Whether growing goes on after a tree.
    fn after(&mut self, metric: f64, patience: u32, stop: Option<&AtomicBool>) -> bool {
        self.trees += 1;
        if !metric.is_finite() {
            self.broken = Some(metric);
            return false;
        }
        let best = self.best.is_none_or(|(_, most)| metric > most);
        if best {
            self.best = Some((self.trees, metric));
        }
        (self.observe)(&Round {
            trees: self.trees,
            metric,
            best,
        });
        self.interrupted = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        let waited = self.trees - self.best.map_or(0, |(trees, _)| trees);
        let impatient = patience > 0 && waited >= patience;
        if impatient {
            self.stopped = StopReason::Patience;
        }
        !self.interrupted && !impatient
    }
}

impl Training<'_> {
    /// Grows a ranker.
    ///
    /// `metric` is asked after every tree; `observe` hears of it.
    ///
    /// # Errors
    /// [`TreesError::EmptyData`] without training or validation rows,
    /// [`TreesError::NoPositives`] where no label is above 0, [`TreesError::Metric`] for a metric
    /// that is not finite, [`TreesError::Interrupted`] where `stop` was set, and
    /// [`TreesError::Grow`] for what the library refuses.
    pub fn run(
        self,
        train: Examples,
        valid: Examples,
        metric: Metric,
        observe: &mut (dyn FnMut(&Round) + Send),
    ) -> Result<Trained, TreesError> {
        let options = self.config.options();
        for (part, examples) in [("training", &train), ("validation", &valid)] {
            if examples.rows() == 0 {
                return Err(TreesError::EmptyData { part });
            }
        }
        if !train.has_positives() {
            return Err(TreesError::NoPositives {
                label: options.label.name(),
            });
        }
        let columns = train.columns().clone();
        let params = self.config.params(self.seed)?;
        let (train, valid) = (train.matrix(self.config)?, valid.matrix(self.config)?);
        let mut watch = Watch {
            best: None,
            trees: 0,
            broken: None,
            interrupted: false,
            stopped: StopReason::Trees,
            observe,
        };
        let result = Trainer::new(&params, &train, options.trees as usize)
            .eval(&valid, "valid")
            .custom_metric(Box::new(Judge(metric)))
            .on_round(|round| {
                // The metric of the caller is the last one.
                let metric = round.values().last().copied().unwrap_or(f64::NAN);
                if watch.after(metric, options.patience, self.stop) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .train();
        let grown = result.map_err(TreesError::grow)?.model;
        if let Some(value) = watch.broken {
            let trees = watch.trees;
            return Err(TreesError::Metric { trees, value });
        }
        if watch.interrupted {
            let trees = watch.trees;
            return Err(TreesError::Interrupted { trees });
        }
        let (best_trees, best_metric) = watch.best.expect("a checked config grows a tree");
        let model = grown.slice(..best_trees as usize, 1).and_then(ordered);
        Ok(Trained {
            ranker: TreeRanker {
                model: model.map_err(TreesError::grow)?,
                columns,
                objective: options.objective,
                label: options.label,
            },
            best_trees,
            best_metric,
            trees: watch.trees,
            stopped: watch.stopped,
        })
    }
}

/// The caller's metric in the library's words.
struct Judge(Metric);

impl hessboost::metric::Metric for Judge {
    fn name(&self) -> &'static str {
        "metric"
    }

    fn maximize(&self) -> bool {
        true
    }

    fn eval(&self, scores: &[f32], _labels: &[f32], _weights: Option<&[f32]>) -> f64 {
        (self.0)(scores)
    }
}
