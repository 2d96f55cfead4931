//! A ranker of trees, for inference.

use hessboost::model::{BoostedModel, ImportanceType, Iterations};
use slate_types::{Batch, FeatureShape};

use crate::columns::Columns;
use crate::{Column, Label, Objective, TreesError};

/// Trees with the inputs they read; every tree counts.
#[derive(Debug, Clone)]
pub struct TreeRanker {
    pub(crate) model: BoostedModel,
    pub(crate) columns: Columns,
    pub(crate) objective: Objective,
    pub(crate) label: Label,
}

/// How much a ranker of trees leans on an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// The input.
    pub column: Column,
    /// Share of all that splits gained, in `[0, 1]`.
    pub gain: f64,
    /// Splits on it.
    pub splits: usize,
}

impl TreeRanker {
    /// Scores every slot of a batch: `[B, L]`, larger = likelier, `NaN` on padding. Labels and
    /// weights are not looked at. Scores are log-odds for `logistic`, and otherwise only
    /// comparable inside a list. A slot's score depends on its inputs alone.
    ///
    /// # Errors
    /// [`TreesError::BatchShape`] and [`TreesError::BatchValue`] for a batch that does not fit
    /// the feature shape of this ranker.
    pub fn score(&self, batch: &Batch) -> Result<Vec<f32>, TreesError> {
        let mut rows = Vec::new();
        self.columns.append(batch, &mut rows)?;
        let mut scores = vec![f32::NAN; batch.mask.len()];
        if rows.is_empty() {
            return Ok(scores);
        }
        let found = self.model.predict_margin_rows(&rows, Iterations::from(..));
        let found = found.map_err(TreesError::grow)?;
        let real = batch.mask.iter().enumerate().filter(|(_, real)| **real);
        for ((place, _), score) in real.zip(found.as_slice()) {
            scores[place] = *score;
        }
        Ok(scores)
    }

    /// The inputs this ranker was grown for.
    pub fn shape(&self) -> &FeatureShape {
        self.columns.shape()
    }

    /// The inputs of the shape that it reads.
    pub fn columns(&self) -> &[Column] {
        self.columns.read()
    }

    /// What it was grown to lower.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The outcome it learned.
    pub fn label(&self) -> Label {
        self.label
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.model.num_trees()
    }

    /// Leaves of all trees together.
    pub fn leaves(&self) -> usize {
        let trees = self.model.trees().iter();
        trees.map(hessboost::tree::RegTree::num_leaves).sum()
    }

    /// The inputs that splits are made on, the one with the largest gain first.
    pub fn importance(&self) -> Vec<Importance> {
        let gains = self.model.feature_importance(ImportanceType::TotalGain);
        let splits = self.model.feature_importance(ImportanceType::Weight);
        let all: f64 = gains.values().sum();
        let mut found: Vec<Importance> = gains
            .iter()
            .map(|(at, gain)| Importance {
                column: self.columns.read()[*at],
                gain: if all > 0.0 { gain / all } else { 0.0 },
                splits: splits.get(at).map_or(0, |&splits| splits as usize),
            })
            .collect();
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.column.cmp(&b.column)));
        found
    }
}
