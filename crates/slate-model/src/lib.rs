//! Networks over the slots of a list, their losses, the training loop, and rankers on disk.
//!
//! In: [`Batch`](slate_types::Batch)es of lists and the [`TrainOptions`] of a config. Out: a
//! [`Ranker`] that gives every slot a score per [`Head`], larger = likelier. This crate knows
//! neither data files nor metrics: batches come from a [`Batches`], the metric that decides about
//! the best weights from a closure, and progress goes out as [`TrainEvent`]s.
//!
//! The same config, seed and batches give the same bytes at any number of threads.
//!
//! ```
//! use slate_model::{Batches, DeviceSpec, Ranker, TrainOptions, Validation, train};
//! use slate_types::{Batch, FeatureShape, Seed};
//!
//! /// Two lists of two slots; the slot with the larger input was bought.
//! struct Pairs;
//!
//! impl Batches for Pairs {
//!     fn epoch(&mut self, _: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
//!         Box::new(std::iter::once(pairs()).skip(skip))
//!     }
//!     fn lists_per_epoch(&self) -> usize {
//!         2
//!     }
//! }
//!
//! fn pairs() -> Batch {
//!     Batch {
//!         lists: 2,
//!         slots: 2,
//!         dense_width: 1,
//!         dense: vec![0.1, 0.9, 0.8, 0.2],
//!         mask: vec![true; 4],
//!         click: vec![0.0; 4],
//!         purchase: vec![0.0, 1.0, 1.0, 0.0],
//!         grade: vec![0.0, 4.0, 4.0, 0.0],
//!         weight: vec![1.0; 4],
//!         slot: vec![0, 1, 0, 1],
//!         ..Batch::default()
//!     }
//! }
//!
//! let options: TrainOptions = toml::from_str(
//!     r#"
//!     epochs = 20
//!     learning_rate = 0.05
//!     [network]
//!     kind = "mlp"
//!     hidden = 8
//!     "#,
//! )?;
//! let shape = FeatureShape { dense: 1, ..FeatureShape::default() };
//! let mut validate = |ranker: &Ranker| {
//!     let scores = ranker.score(&pairs())?.purchase;
//!     let right = f64::from(scores[1] > scores[0]) + f64::from(scores[2] > scores[3]);
//!     Ok(Validation { metric: right / 2.0, name: "accuracy".to_owned() })
//! };
//! let trained = train(
//!     &options.check()?,
//!     &shape,
//!     Seed(7),
//!     DeviceSpec::Auto,
//!     &mut Pairs,
//!     &mut validate,
//!     &mut |event| drop(serde_json::to_string(event)),
//! )?;
//! assert_eq!(trained.best_metric, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch_check;
mod batch_norm;
mod bundle;
mod device;
mod distil;
mod error;
mod events;
mod extend;
mod fused;
mod gradients;
mod gru;
mod head;
mod history;
mod initial;
mod input;
mod input_norm;
pub mod loss;
mod loss_check;
mod loss_options;
mod masked_ids;
mod mlp;
mod network;
mod network_config;
mod noise;
mod objective;
mod optimizer;
mod optimizer_state;
mod options;
mod outputs;
mod pair;
mod parts;
mod precision;
mod ranker;
mod replicas;
mod schedule;
mod shards;
mod state_dict;
mod tables;
mod train;
mod transformer;
mod update_options;
mod weights;
mod workers;

pub use bundle::{MODEL_FILE, MODEL_FORMAT, WEIGHTS_FILE};
pub use device::{DeviceSpec, FoundDevice};
pub use error::{BoxError, Culprit, ModelError};
pub use events::{Ahead, StopReason, TrainEvent};
pub use extend::{Beginning, NewRows};
pub use head::Head;
pub use input_norm::InputNorm;
pub use loss_check::{CASES, LARGEST_ERROR, LossCheck, check_losses};
pub use loss_options::{Label, LossKind, LossOptions};
pub use network_config::{
    Activation, HistoryChoice, HistoryConfig, HistoryEncoder, HistoryOptions, NetworkConfig,
    NetworkKind, NetworkOptions, NormPlace,
};
pub use optimizer::OptimizerKind;
pub use optimizer_state::{OPTIMIZER_FILE, OptimizerState};
pub use options::{PositionKind, PositionOptions, Schedule, TrainConfig, TrainOptions};
pub use pair::{InBatchOptions, TowersConfig, TowersOptions};
pub use precision::Precision;
pub use ranker::{BatchScores, BatchVectors, Ranker};
pub use tables::EmbeddingWidths;
pub use train::{Batches, Checkpoint, CheckpointPlan, Every, Trained, Training, Validation, train};
pub use update_options::{NewIdRule, UpdateOptimizer, UpdateOptions, UpdateRates};
