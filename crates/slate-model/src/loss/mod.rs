//! Losses over the scores of one list, with their exact gradients, in `f64`.
//!
//! Input: scores (any real), labels (not negative) and weights (not negative) of the real slots of
//! one list, in any order; padding never gets here. Output: a sum and what to divide it by. A
//! batch's loss is the sum of [`Sum::loss`] over its lists divided by the sum of [`Sum::mass`],
//! and 0 where that mass is 0, so lists, batches and machines can be added up in any grouping.
//!
//! | loss | looks at | mean over |
//! |---|---|---|
//! | [`bce`] | slots; scores are log-odds | slots |
//! | [`ordinal`] | slots, one question for each grade | slots |
//! | [`softmax`] | lists (`ListNet`'s top-one loss) | lists with a positive label |
//! | [`calibrated_softmax`] | lists; scores are log-probabilities | lists |
//! | [`ranknet`] | pairs of unequal labels, weighed by grade | pairs |
//! | [`listmle`] | whole orders | lists with unequal labels |
//! | [`approx_ndcg`], [`lambda_loss`], [`neural_ndcg`] | NDCG | lists with a positive label |
//! | [`regression_compatible`], [`jrc`] | slots and lists; scores are log-odds | lists |
//!
//! All work in log space, so no score is too large. They see no tensor: training reads the
//! network's scores, gets `∂loss/∂score` from here, and lets the network carry that back.
//! [`check`](crate::check_losses) holds every gradient to finite differences.
//!
//! ```
//! use slate_model::loss;
//!
//! let mut gradient = [0.0; 3];
//! let tied = loss::softmax(&[0.5; 3], &[0.0, 1.0, 0.0], &[1.0; 3], &mut gradient);
//! assert!((tied.loss - 3.0_f64.ln()).abs() < 1e-12);
//! assert!((gradient[1] - (1.0 / 3.0 - 1.0)).abs() < 1e-12);
//!
//! // A list without a positive label says nothing about order.
//! let empty = loss::softmax(&[0.1, 0.2], &[0.0, 0.0], &[1.0; 2], &mut gradient[..2]);
//! assert_eq!((empty.loss, empty.mass), (0.0, 0.0));
//! ```

mod calibrated;
mod kind;
mod logistic;
mod ndcg;
mod order;
mod pointwise;
mod softmax;

pub use calibrated::{jrc, regression_compatible};
pub use kind::{List, ListLoss};
pub(crate) use logistic::{sigmoid, softplus};
pub use ndcg::{approx_ndcg, lambda_loss, neural_ndcg};
pub use order::{listmle, ranknet};
pub use pointwise::{bce, ordinal};
pub use softmax::{calibrated_softmax, softmax};

/// A loss summed over some lists, and the mass that makes it a mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// Sum of the losses, not negative.
    pub loss: f64,
    /// What the sum is divided by: lists, pairs or slots, each by its weight.
    pub mass: f64,
}
