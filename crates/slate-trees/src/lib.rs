//! Gradient-boosted trees over the slots of a list.
//!
//! In: [`Batch`](slate_types::Batch)es of lists and the [`TreesOptions`] of a config. Out: a
//! [`TreeRanker`] that gives every slot one score, larger = likelier. Trees read dense inputs and
//! single ids; inputs of several ids and histories are not for them. Growing is the `hessboost`
//! crate's, histograms and second-order steps as in XGBoost; what is ours is the data, the
//! metric that decides about the number of trees, and rankers on disk, which XGBoost opens.
//!
//! The same options, seed and batches give the same bytes at any number of threads.
//!
//! ```
//! use slate_trees::{Examples, Training, TreesOptions};
//! use slate_types::{Batch, FeatureShape, Seed};
//!
//! /// Forty lists of two slots; the slot with the larger input was bought.
//! let batch = Batch {
//!     lists: 40,
//!     slots: 2,
//!     dense_width: 1,
//!     dense: (0..40).flat_map(|list| [list as f32 / 40.0, 1.0 + list as f32 / 40.0]).collect(),
//!     mask: vec![true; 80],
//!     purchase: [0.0, 1.0].repeat(40),
//!     weight: vec![1.0; 80],
//!     ..Batch::default()
//! };
//! let shape = FeatureShape { dense: 1, ..FeatureShape::default() };
//! let options: TreesOptions = toml::from_str("trees = 20\nmin_rows = 1")?;
//! let config = options.check()?;
//! let mut examples = Examples::new(&config, &shape)?;
//! examples.push(&batch)?;
//! let training = Training { config: &config, shape: &shape, seed: Seed(7), stop: None };
//! let right = |scores: &[f32]| {
//!     scores.chunks(2).filter(|pair| pair[1] > pair[0]).count() as f64 / 40.0
//! };
//! let valid = examples.clone();
//! let trained = training.run(examples, valid, Box::new(right), &mut |_| ())?;
//! assert_eq!(trained.best_metric, 1.0);
//! let scores = trained.ranker.score(&batch)?;
//! assert!(scores[1] > scores[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod columns;
mod error;
mod examples;
mod node_order;
mod options;
mod ranker;
mod train;

pub use bundle::{KIND, MODEL_FORMAT, TREES_FILE};
pub use columns::Column;
pub use error::TreesError;
pub use examples::Examples;
pub use options::{Label, Objective, TreesConfig, TreesOptions};
pub use ranker::{Importance, TreeRanker};
pub use train::{Metric, Round, StopReason, Trained, Training};
