//! The steps of the chain as functions over files; commands and the demo call the same ones.

pub(crate) mod backtest;
pub(crate) mod calendar;
pub(crate) mod calibration;
pub(crate) mod catalogue;
pub(crate) mod columns;
pub(crate) mod embedding;
pub(crate) mod evaluation;
pub(crate) mod featurise;
pub(crate) mod months;
pub(crate) mod online;
pub(crate) mod policy;
pub(crate) mod retrain;
pub(crate) mod scoring;
pub(crate) mod shown;
pub(crate) mod stages;
pub(crate) mod training;
pub(crate) mod truth;
