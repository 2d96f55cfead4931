//! Rankers of trees, from options to files.

mod rankers;
mod xgboost;
