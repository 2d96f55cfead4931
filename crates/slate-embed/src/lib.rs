//! Titles and pictures to vectors with pretrained encoders, computed once per content.
//!
//! In: texts and pictures, and a folder with an encoder's weights. Out: one vector of `f32` for each,
//! kept in a [`VectorStore`] under the hash of the content, so that a later run computes only what is
//! new. [`TextEncoder`] reads networks of the BERT family, [`PictureEncoder`] residual networks;
//! [`hashed`] holds encoders without any weights, which see spelling and colours and no meaning.
//! [`nearest`] finds the vectors closest to one.
//!
//! ```
//! use slate_embed::{Key, Measure, Side, VectorStore, hashed, nearest};
//!
//! let folder = tempfile::tempdir()?;
//! let titles = ["red shoe", "red shoes, size 42", "coffee grinder"];
//! let mut store = VectorStore::open(folder.path(), hashed::title_identity())?;
//! let keys: Vec<Key> = titles.iter().map(|title| Key::of(title.as_bytes())).collect();
//! let vectors: Vec<f32> = titles.iter().flat_map(|title| hashed::title(title)).collect();
//! store.append(&keys, &vectors)?;
//! drop(store);
//! let store = VectorStore::open(folder.path(), hashed::title_identity())?;
//! assert_eq!(store.row(&keys[1]), Some(1));
//! let table = store.read(&[0, 1, 2])?;
//! let query = hashed::title("shoe, red");
//! let found = nearest(&[Side { table: &table, query: &query, measure: Measure::Unit }], 2);
//! assert_eq!(found[0].row, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod device;
mod error;
mod graph;
pub mod hashed;
mod identity;
mod layers;
mod picture;
mod search;
mod store;
mod text;
mod weights;

pub use device::EmbedDevice;
pub use error::EmbedError;
pub use graph::{Graph, GraphError, GraphOptions};
pub use identity::Identity;
pub use picture::{
    Channels, Filter, Picture, PictureEncoder, PictureOptions, Preprocess, Refused, resize,
};
pub use search::{Found, Measure, Side, nearest};
pub use store::{Key, Mapped, VectorStore, write_ids, write_vectors};
pub use text::{Pooling, TextEncoder, TextOptions};

/// Scales rows of `width` numbers to length 1; rows of zeros stay.
fn scale_to_one(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let length = slate_kernels::sum(row, |value| value * value).sqrt();
        if length > 0.0 {
            for value in row {
                *value /= length;
            }
        }
    }
}
