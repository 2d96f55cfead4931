//! Examples to numbers by a written spec, and tensor datasets on disk.
//!
//! Four things happen here. [`build`] reads `examples.parquet` (one row per placement, with
//! labels), divides its lists by time, fits a [`FeatureMap`] to the training window and writes a
//! dataset: plain `.npy` arrays, four parts, one manifest. [`letor::import_letor`] makes the same
//! folder from LETOR files, which have features already. [`Dataset`] reads the folder back and
//! checks it. [`batches`] pads its ragged lists into what a network reads. [`trace`] shows how the
//! numbers of one page come about.
//!
//! Times are UTC microseconds, prices minor units; unknown is NaN on disk, never a stand-in.
//! Nothing after the training window reaches the feature map, and a list whose labels can still
//! change is in no part of a dataset. The same input gives the same bytes at any thread count.
//!
//! ```
//! use slate_features::{
//!     BatchOptions, Dataset, Origin, batches,
//!     letor::{LetorOptions, import_letor},
//! };
//! use slate_types::{Silent, Split};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (source, out) = (folder.path().join("ranks.txt"), folder.path().join("dataset"));
//! # std::fs::create_dir(&out)?;
//! # let mut text = String::new();
//! # for query in 0..8 {
//! #     text += &format!("3 qid:{query} 1:0.{query} 2:1\n0 qid:{query} 1:0.5\n");
//! # }
//! # std::fs::write(&source, text)?;
//! import_letor(&source, &out, &LetorOptions::default(), Origin::default(), &Silent)?;
//!
//! let dataset = Dataset::open(&out)?;
//! let train = dataset.split(Split::Train)?;
//! let options = BatchOptions { lists_per_batch: 2, shuffle: None, bucket_by_length: true, skip: 0 };
//! let (_, batch) = batches(&train, &dataset.shape(), options).next().expect("train is not empty");
//! assert_eq!((batch.lists, batch.slots, batch.dense_width), (2, 2, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod apply;
mod batches;
mod behind;
mod block;
mod build;
mod data;
mod dataset;
mod date;
mod error;
mod examples;
mod export;
mod extend;
mod extras_writer;
mod fit;
mod fitter;
pub mod letor;
mod long_lists;
mod manifest;
mod map;
mod moments;
mod multi;
mod npy;
mod pair;
mod part_folder;
mod parts;
mod ragged;
mod select;
mod sequences;
mod shown;
mod spec;
mod split;
mod taste;
mod trace;
mod value;
mod vectors;
mod writer;

pub use apply::{Applier, Features};
pub use batches::{BatchOptions, batch_count, batches, batches_of};
pub use block::Block;
pub use build::{Inputs, MapSource, Outputs, build};
pub use data::SplitData;
pub use dataset::Dataset;
pub use error::FeatureError;
pub use examples::EXAMPLES_FORMAT;
pub use export::Format;
pub use extend::Extension;
pub use manifest::{
    CategoricalInput, DATASET_FORMAT, DatasetSummary, LeftOut, MANIFEST_FILE, Manifest, Origin,
    SplitCounts, SplitRule,
};
pub use map::{
    CategoricalFeature, DenseFeature, EmbeddingFeature, FEATURE_MAP_FILE, FEATURE_MAP_FORMAT,
    FeatureMap, FittedOn, HistoryFeature, HistoryVector, IdRule, MultiValuedFeature, Scale,
    VectorScale,
};
pub use npy::ArrayFile;
pub use ragged::{EventVectors, Extras, History, Ragged, Vectors};
pub use spec::{
    Alike, Categorical, Comparison, Cross, Cyclic, DEFAULT_MIN_COUNT, DEFAULT_SMOOTHING, Embedding,
    FeatureSpec, HistorySpec, ListLimit, MultiValued, Numeric, OverLong, Period, Rate,
    RateTransform, Relative, Taste, Transform, Trend,
};
pub use split::{DEFAULT_FRACTIONS, SplitSpec, TimeSplit};
pub use taste::{TasteFeature, TasteItem};
pub use trace::{
    FeatureTrace, ListFeatures, PageFeatures, RowFeatures, StepFeatures, TensorRow, trace,
};
