//! A loss with its parameters: what a checked config asks for.

use std::collections::BTreeMap;

use super::calibrated::mean_weight;
use super::order::{listmle_mass, ranknet_mass};
use super::softmax::softmax_mass;
use super::{
    Sum, approx_ndcg, bce, calibrated_softmax, jrc, lambda_loss, listmle, neural_ndcg, ordinal,
    ranknet, regression_compatible, softmax,
};

/// A loss of one list, parameters chosen.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ListLoss {
    /// [`softmax`](super::softmax).
    Softmax,
    /// [`bce`](super::bce).
    Bce,
    /// [`ranknet`](super::ranknet).
    RankNet {
        /// Factor of a pair by the higher of its grades; 1 for grades not named.
        pair_weights: BTreeMap<u8, f64>,
    },
    /// [`listmle`](super::listmle).
    ListMle,
    /// [`approx_ndcg`](super::approx_ndcg).
    ApproxNdcg {
        /// Width of a step between ranks, in scores; above 0.
        temperature: f64,
    },
    /// [`lambda_loss`](super::lambda_loss).
    LambdaLoss {
        /// Share of the bound `NDCG-Loss2`, not negative.
        mu: f64,
        /// Steepness of a pair's logistic loss, above 0.
        sigma: f64,
    },
    /// [`neural_ndcg`](super::neural_ndcg).
    NeuralNdcg {
        /// Softness of the sort, above 0.
        temperature: f64,
        /// Rounds of Sinkhorn's scaling.
        rounds: usize,
    },
    /// [`ordinal`](super::ordinal).
    Ordinal {
        /// Grades above 0.
        levels: usize,
    },
    /// [`regression_compatible`](super::regression_compatible).
    RegressionCompatible {
        /// Share of the listwise part, from 0 to 1.
        alpha: f64,
    },
    /// [`jrc`](super::jrc).
    Jrc {
        /// Share of the pointwise part, from 0 to 1.
        alpha: f64,
    },
    /// [`calibrated_softmax`](super::calibrated_softmax).
    CalibratedSoftmax {
        /// Label of the slot that is not there, above 0.
        virtual_label: f64,
    },
}

/// The real slots of one list, as a loss reads them.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// `[n, columns]`, see [`ListLoss::columns`].
    pub scores: &'a [f64],
    /// `[n]`.
    pub labels: &'a [f64],
    /// `[n]`.
    pub weights: &'a [f64],
    /// `[n, columns]`: scores whose ranks a loss holds fixed; in training `scores` again.
    pub ranked_by: &'a [f64],
}

impl ListLoss {
    /// Scores that each slot has under this loss.
    pub fn columns(&self) -> usize {
        match self {
            Self::Ordinal { levels } => *levels,
            Self::Jrc { .. } => 2,
            _ => 1,
        }
    }

    /// The [`mass`](Sum::mass) of one list, which depends on labels and weights alone.
    pub fn mass(&self, labels: &[f64], weights: &[f64]) -> f64 {
        match self {
            Self::Softmax => softmax_mass(labels, weights),
            Self::Bce | Self::Ordinal { .. } => weights.iter().sum(),
            Self::RankNet { pair_weights } => ranknet_mass(pair_weights, labels, weights),
            Self::ListMle => listmle_mass(labels, weights),
            Self::ApproxNdcg { .. } | Self::LambdaLoss { .. } | Self::NeuralNdcg { .. } => {
                super::ndcg::mass(labels, weights)
            }
            Self::RegressionCompatible { .. }
            | Self::Jrc { .. }
            | Self::CalibratedSoftmax { .. } => mean_weight(weights),
        }
    }

    /// The loss of one list; writes `∂loss/∂score`, `[n, columns]`, into `gradient`.
    pub fn evaluate(&self, list: List<'_>, gradient: &mut [f64]) -> Sum {
        let List {
            scores: s,
            labels: y,
            weights: w,
            ranked_by,
        } = list;
        match self {
            Self::Softmax => softmax(s, y, w, gradient),
            Self::Bce => bce(s, y, w, gradient),
            Self::RankNet { pair_weights } => ranknet(pair_weights, s, y, w, gradient),
            Self::ListMle => listmle(s, y, w, gradient),
            Self::ApproxNdcg { temperature } => approx_ndcg(*temperature, s, y, w, gradient),
            Self::LambdaLoss { mu, sigma } => {
                lambda_loss([*mu, *sigma], ranked_by, s, y, w, gradient)
            }
            Self::NeuralNdcg {
                temperature,
                rounds,
            } => neural_ndcg(*temperature, *rounds, s, y, w, gradient),
            Self::Ordinal { levels } => ordinal(*levels, s, y, w, gradient),
            Self::RegressionCompatible { alpha } => {
                regression_compatible(*alpha, s, y, w, gradient)
            }
            Self::Jrc { alpha } => jrc(*alpha, s, y, w, gradient),
            Self::CalibratedSoftmax { virtual_label } => {
                calibrated_softmax(*virtual_label, s, y, w, gradient)
            }
        }
    }
}
