//! The `[trees]` section of a config: what is written there, and what is accepted.
//!
//! Defaults of what shapes a tree are those of LightGBM, because that is what a ranker of trees is
//! measured against; their number is for validation to find.
//!
//! ```
//! use slate_trees::TreesOptions;
//!
//! let options: TreesOptions = toml::from_str("label = \"click\"\nleaves = 1")?;
//! let refused = options.check().unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "`trees.leaves` is 1, expected a number from 2 to 65536"
//! );
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::fmt;

use hessboost::config::{GrowPolicy, QueryBagging, TreeMethod};
use hessboost::objective::{LambdaRank, Objective as Loss, RegLoss};
use hessboost::prelude::TrainingParams;
use serde::{Deserialize, Serialize};
use slate_types::Seed;

use crate::TreesError;

/// `[trees]` in a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesOptions {
    /// What the trees are grown to lower.
    pub objective: Objective,
    /// The outcome they learn.
    pub label: Label,
    /// Most trees, 1 to 100,000.
    pub trees: u32,
    /// Leaves of a tree, 2 to 65,536; the leaf that gains most is split first.
    pub leaves: u32,
    /// Most splits between the root and a leaf, 1 to 64. Left out: as many as `leaves` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// Factor of every tree, above 0 and at most 1.
    pub learning_rate: f64,
    /// Fewest training rows of a leaf, 1 to 1,000,000. Counting them takes time: 1 counts none.
    pub min_rows: u32,
    /// Smallest sum of second derivatives of a leaf, not negative.
    pub min_hessian: f64,
    /// Weight of the squares of leaf values, not negative.
    pub l2: f64,
    /// Share of the lists (`logistic`: of the rows) that each tree is grown on, above 0 and at
    /// most 1.
    pub share: f64,
    /// Share of the inputs that each tree may split on, above 0 and at most 1.
    pub feature_share: f64,
    /// Most bins an input is cut into, 2 to 65,535.
    pub bins: u32,
    /// Slots from the top that `lambdamart` and `pairwise` pair with those below, at least 1.
    /// Left out: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation: Option<u32>,
    /// Most ids of a categorical input that trees read, the unknown one included; those with more
    /// are left unread, because a split that may choose any set of many ids learns the training
    /// rows by heart (experiment 005).
    pub most_ids: u32,
    /// Trees without a better validation metric after which growing stops; 0 never stops early.
    pub patience: u32,
}

impl Default for TreesOptions {
    fn default() -> Self {
        Self {
            objective: Objective::LambdaMart,
            label: Label::Purchase,
            trees: 500,
            leaves: 31,
            max_depth: None,
            learning_rate: 0.1,
            min_rows: 20,
            min_hessian: 1e-3,
            l2: 0.0,
            share: 1.0,
            feature_share: 1.0,
            bins: 255,
            truncation: None,
            most_ids: 32,
            patience: 50,
        }
    }
}

/// What trees are grown to lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Objective {
    /// Pairs of slots of a list, each weighed by what swapping them changes NDCG, gains
    /// `2^grade − 1` (Burges 2010).
    LambdaMart,
    /// Pairs of slots of a list, all alike.
    Pairwise,
    /// Cross-entropy of each row by itself: scores are log-odds. Not for grades.
    Logistic,
}

impl Objective {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::LambdaMart => "lambdamart",
            Self::Pairwise => "pairwise",
            Self::Logistic => "logistic",
        }
    }
}

/// The outcome that trees learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Clicked.
    Click,
    /// Purchased.
    Purchase,
    /// The grade, 0 to 31.
    Grade,
}

impl Label {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Purchase => "purchase",
            Self::Grade => "grade",
        }
    }
}

/// Checked `[trees]` options; only these can be trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TreesConfig {
    options: TreesOptions,
}

/// Slots that pairs are made with, where the config does not say.
const TRUNCATION: u32 = 30;

impl TreesOptions {
    /// Checks ranges and that the options fit each other.
    ///
    /// # Errors
    /// [`TreesError::Option`] with the key, its value and what is allowed.
    pub fn check(self) -> Result<TreesConfig, TreesError> {
        within("trees", self.trees, 1, 100_000)?;
        within("leaves", self.leaves, 2, 65_536)?;
        within("max_depth", self.max_depth.unwrap_or(1), 1, 64)?;
        within("min_rows", self.min_rows, 1, 1_000_000)?;
        within("bins", self.bins, 2, 65_535)?;
        within("truncation", self.truncation.unwrap_or(1), 1, u32::MAX)?;
        share("learning_rate", self.learning_rate)?;
        share("share", self.share)?;
        share("feature_share", self.feature_share)?;
        not_negative("min_hessian", self.min_hessian)?;
        not_negative("l2", self.l2)?;
        if self.objective == Objective::Logistic {
            if self.label == Label::Grade {
                let allowed = "`click` or `purchase` for `objective = \"logistic\"`";
                return Err(refuse("label", allowed, "`grade`"));
            }
            if self.truncation.is_some() {
                let allowed = "it left out for `objective = \"logistic\"`";
                return Err(refuse("truncation", allowed, "set"));
            }
        }
        Ok(TreesConfig { options: self })
    }
}

impl TreesConfig {
    /// The options, defaults filled in.
    pub fn options(&self) -> &TreesOptions {
        &self.options
    }

    /// The same in the words of the library.
    pub(crate) fn params(&self, seed: Seed) -> Result<TrainingParams, TreesError> {
        let options = &self.options;
        let pairs = options.truncation.unwrap_or(TRUNCATION) as usize;
        let pairs = || LambdaRank::new(pairs).map_err(TreesError::grow);
        let loss = match options.objective {
            Objective::LambdaMart => Loss::RankNdcg(pairs()?),
            Objective::Pairwise => Loss::RankPairwise(pairs()?),
            Objective::Logistic => Loss::BinaryLogitRaw(RegLoss::default()),
        };
        let mut params = TrainingParams::builder()
            .objective(loss)
            .tree_method(TreeMethod::Hist)
            .grow_policy(GrowPolicy::LossGuide)
            .max_leaves(options.leaves as usize)
            .eta(options.learning_rate)
            .min_child_groups(options.min_rows as usize)
            .min_child_weight(options.min_hessian)
            .lambda(options.l2)
            .colsample_bytree(options.feature_share)
            .max_bin(options.bins as usize)
            .seed(seed.0);
        params = match options.max_depth {
            Some(depth) => params.max_depth(depth as usize),
            None => params.unlimited_depth(),
        };
        if options.share < 1.0 {
            params = if options.objective == Objective::Logistic {
                params.subsample(options.share)
            } else {
                let lists = QueryBagging::new(options.share).map_err(TreesError::grow)?;
                params.bagging_by_query(lists)
            };
        }
        params.build().map_err(TreesError::grow)
    }
}

fn refuse(key: &str, expected: &str, given: impl fmt::Display) -> TreesError {
    TreesError::Option {
        key: key.to_owned(),
        expected: expected.to_owned(),
        given: given.to_string(),
    }
}

fn within(key: &str, value: u32, least: u32, most: u32) -> Result<(), TreesError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        let allowed = format!("a number from {least} to {most}");
        Err(refuse(key, &allowed, value))
    }
}

fn share(key: &str, value: f64) -> Result<(), TreesError> {
    if value > 0.0 && value <= 1.0 {
        Ok(())
    } else {
        Err(refuse(key, "a number above 0 and at most 1", value))
    }
}

fn not_negative(key: &str, value: f64) -> Result<(), TreesError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(refuse(key, "a finite number of 0 or more", value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let options: TreesOptions = toml::from_str(text).unwrap();
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_grown_is_refused_by_key() {
        assert_eq!(
            refused("learning_rate = 1.5"),
            "`trees.learning_rate` is 1.5, expected a number above 0 and at most 1"
        );
        assert_eq!(
            refused("share = nan"),
            "`trees.share` is NaN, expected a number above 0 and at most 1"
        );
        assert_eq!(
            refused("objective = \"logistic\"\nlabel = \"grade\""),
            "`trees.label` is `grade`, expected `click` or `purchase` for `objective = \"logistic\"`"
        );
        assert_eq!(
            refused("objective = \"logistic\"\ntruncation = 5"),
            "`trees.truncation` is set, expected it left out for `objective = \"logistic\"`"
        );
        assert_eq!(
            refused("l2 = -1.0"),
            "`trees.l2` is -1, expected a finite number of 0 or more"
        );
    }

    #[test]
    fn every_objective_and_share_is_accepted_by_the_library() {
        for objective in [
            Objective::LambdaMart,
            Objective::Pairwise,
            Objective::Logistic,
        ] {
            for share in [1.0, 0.5] {
                let options = TreesOptions {
                    objective,
                    share,
                    max_depth: Some(64),
                    feature_share: share,
                    ..TreesOptions::default()
                };
                assert!(
                    options.check().unwrap().params(Seed(1)).is_ok(),
                    "{objective:?}"
                );
            }
        }
    }
}
