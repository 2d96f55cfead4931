//! `[[train.losses]]` of a config: which loss trains which head on which label.
//!
//! [`LossOptions`] is the file; checking it gives a [`Loss`], its parameters chosen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::loss::ListLoss;
use crate::options::{by_grade, positive, refuse};
use crate::{Head, ModelError};

/// One loss of `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossOptions {
    /// The head it trains.
    pub head: Head,
    /// The loss.
    pub loss: LossKind,
    /// The label it reads; left out, the label named like the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Its factor in the sum of losses, above 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// Softness of ranks, above 0: `approx_ndcg` (left out: 0.1) and `neural_ndcg` (1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Share of the bound `NDCG-Loss2` in `lambdaloss`, not negative; left out: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mu: Option<f64>,
    /// Steepness of a pair in `lambdaloss`, above 0; left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// From 0 to 1, left out: 0.5. The listwise share of `regression_compatible`, the pointwise
    /// share of `jrc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Label of the slot that is not there in `calibrated_softmax`, above 0; left out: 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_label: Option<f64>,
    /// Rounds of Sinkhorn's scaling in `neural_ndcg`, 1 to 1000; left out: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<usize>,
    /// Highest grade of `ordinal`, 1 to 31; left out: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Factors of `ranknet`'s pairs by the higher grade, above 0, 1 for grades left out:
    /// `{ 4 = 8.0, 3 = 15.0 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_weights: Option<BTreeMap<String, f64>>,
}

fn one() -> f64 {
    1.0
}

/// How scores are compared with labels; the formulas are in [`loss`](crate::loss).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LossKind {
    /// Listwise softmax cross-entropy.
    Softmax,
    /// Binary cross-entropy per slot.
    Bce,
    /// Logistic loss of pairs, weighed by grade.
    RankNet,
    /// Likelihood of the labels' order.
    ListMle,
    /// NDCG of smooth ranks.
    #[serde(rename = "approx_ndcg")]
    ApproxNdcg,
    /// Pairs weighed by what they are worth in NDCG.
    LambdaLoss,
    /// NDCG of a smooth sort.
    #[serde(rename = "neural_ndcg")]
    NeuralNdcg,
    /// One binary question for each grade.
    Ordinal,
    /// Cross-entropy of slots and of their shares in the list.
    #[serde(rename = "regression_compatible")]
    RegressionCompatible,
    /// Joint ranking and calibration, from two scores for each slot.
    Jrc,
    /// Softmax against one more slot of score 0.
    #[serde(rename = "calibrated_softmax")]
    CalibratedSoftmax,
}

impl LossKind {
    /// All losses, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Bce,
        Self::Ordinal,
        Self::Softmax,
        Self::CalibratedSoftmax,
        Self::RankNet,
        Self::ListMle,
        Self::ApproxNdcg,
        Self::LambdaLoss,
        Self::NeuralNdcg,
        Self::RegressionCompatible,
        Self::Jrc,
    ];

    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Bce => "bce",
            Self::RankNet => "ranknet",
            Self::ListMle => "listmle",
            Self::ApproxNdcg => "approx_ndcg",
            Self::LambdaLoss => "lambdaloss",
            Self::NeuralNdcg => "neural_ndcg",
            Self::Ordinal => "ordinal",
            Self::RegressionCompatible => "regression_compatible",
            Self::Jrc => "jrc",
            Self::CalibratedSoftmax => "calibrated_softmax",
        }
    }

    /// Whether labels have to be 0 or 1.
    fn is_binary(self) -> bool {
        matches!(self, Self::Bce | Self::RegressionCompatible | Self::Jrc)
    }
}

/// What a slot is labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Label {
    /// Clicked: 0 or 1.
    Click,
    /// Purchased: 0 or 1.
    Purchase,
    /// The grade; the softmax losses read its gain `2^grade − 1`, losses for NDCG take that gain
    /// themselves.
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

/// A checked loss.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loss {
    pub(crate) head: Head,
    pub(crate) kind: LossKind,
    pub(crate) label: Label,
    pub(crate) weight: f64,
    pub(crate) function: ListLoss,
}

impl Loss {
    /// The number a loss reads for a label.
    pub(crate) fn target(&self, label: f32) -> f64 {
        let label = f64::from(label);
        match self.kind {
            LossKind::Softmax | LossKind::CalibratedSoftmax if self.label == Label::Grade => {
                label.exp2() - 1.0
            }
            _ => label,
        }
    }
}

impl LossOptions {
    /// A loss with nothing but its head and kind chosen.
    pub fn new(head: Head, loss: LossKind) -> Self {
        Self {
            head,
            loss,
            label: None,
            weight: 1.0,
            temperature: None,
            mu: None,
            sigma: None,
            alpha: None,
            virtual_label: None,
            rounds: None,
            levels: None,
            pair_weights: None,
        }
    }

    /// The label this loss reads.
    pub fn label(&self) -> Label {
        self.label.unwrap_or(match self.head {
            Head::Click => Label::Click,
            Head::Purchase => Label::Purchase,
            Head::Grade => Label::Grade,
        })
    }

    /// Checks the loss at `place` of the list.
    ///
    /// # Errors
    /// [`ModelError::Option`] with the key, its value and what is allowed.
    pub(crate) fn check(&self, place: usize) -> Result<Loss, ModelError> {
        let key = |field: &str| format!("losses[{place}].{field}");
        positive(&key("weight"), self.weight)?;
        self.refuse_foreign(&key)?;
        let label = self.label();
        let named = |label: Label| format!("`{}`", label.name());
        if self.loss.is_binary() && label == Label::Grade {
            let allowed = format!(
                "`click` or `purchase` for a {} loss, whose labels are 0 or 1",
                self.loss.name()
            );
            return Err(refuse(&key("label"), &allowed, named(label)));
        }
        if self.loss == LossKind::Ordinal && label != Label::Grade {
            let allowed = "`grade` for an ordinal loss";
            return Err(refuse(&key("label"), allowed, named(label)));
        }
        let above_zero = |field: &str, given: Option<f64>, default: f64| {
            let value = given.unwrap_or(default);
            positive(&key(field), value).map(|()| value)
        };
        let share = || {
            let alpha = self.alpha.unwrap_or(0.5);
            if (0.0..=1.0).contains(&alpha) {
                Ok(alpha)
            } else {
                Err(refuse(&key("alpha"), "a share from 0 to 1", alpha))
            }
        };
        let count = |field: &str, given: Option<usize>, default: usize, most: usize| {
            let value = given.unwrap_or(default);
            if (1..=most).contains(&value) {
                Ok(value)
            } else {
                let allowed = format!("a number from 1 to {most}");
                Err(refuse(&key(field), &allowed, value))
            }
        };
        let function = match self.loss {
            LossKind::Softmax => ListLoss::Softmax,
            LossKind::Bce => ListLoss::Bce,
            LossKind::ListMle => ListLoss::ListMle,
            LossKind::RankNet => ListLoss::RankNet {
                pair_weights: by_grade(
                    &key("pair_weights"),
                    1,
                    self.pair_weights.as_ref().unwrap_or(&BTreeMap::new()),
                )?,
            },
            LossKind::ApproxNdcg => ListLoss::ApproxNdcg {
                temperature: above_zero("temperature", self.temperature, 0.1)?,
            },
            LossKind::LambdaLoss => ListLoss::LambdaLoss {
                mu: match self.mu {
                    // Without the bound the weights are those of LambdaRank.
                    Some(0.0) => 0.0,
                    mu => above_zero("mu", mu, 10.0)?,
                },
                sigma: above_zero("sigma", self.sigma, 1.0)?,
            },
            LossKind::NeuralNdcg => ListLoss::NeuralNdcg {
                temperature: above_zero("temperature", self.temperature, 1.0)?,
                rounds: count("rounds", self.rounds, 50, 1000)?,
            },
            LossKind::Ordinal => ListLoss::Ordinal {
                levels: count("levels", self.levels, 4, 31)?,
            },
            LossKind::RegressionCompatible => ListLoss::RegressionCompatible { alpha: share()? },
            LossKind::Jrc => ListLoss::Jrc { alpha: share()? },
            LossKind::CalibratedSoftmax => ListLoss::CalibratedSoftmax {
                virtual_label: above_zero("virtual_label", self.virtual_label, 0.1)?,
            },
        };
        Ok(Loss {
            head: self.head,
            kind: self.loss,
            label,
            weight: self.weight,
            function,
        })
    }

    /// Refuses parameters that this loss does not read: a setting must never do nothing.
    fn refuse_foreign(&self, key: &impl Fn(&str) -> String) -> Result<(), ModelError> {
        use LossKind as K;
        let set: [(&str, bool, &[K]); 8] = [
            (
                "temperature",
                self.temperature.is_some(),
                &[K::ApproxNdcg, K::NeuralNdcg],
            ),
            ("mu", self.mu.is_some(), &[K::LambdaLoss]),
            ("sigma", self.sigma.is_some(), &[K::LambdaLoss]),
            (
                "alpha",
                self.alpha.is_some(),
                &[K::RegressionCompatible, K::Jrc],
            ),
            (
                "virtual_label",
                self.virtual_label.is_some(),
                &[K::CalibratedSoftmax],
            ),
            ("rounds", self.rounds.is_some(), &[K::NeuralNdcg]),
            ("levels", self.levels.is_some(), &[K::Ordinal]),
            ("pair_weights", self.pair_weights.is_some(), &[K::RankNet]),
        ];
        for (field, is_set, readers) in set {
            if is_set && !readers.contains(&self.loss) {
                let readers: Vec<&str> = readers.iter().map(|kind| kind.name()).collect();
                let allowed = format!(
                    "it left out for `loss = \"{}\"` (it belongs to {})",
                    self.loss.name(),
                    readers.join(" and ")
                );
                return Err(refuse(&key(field), &allowed, "set"));
            }
        }
        Ok(())
    }
}
