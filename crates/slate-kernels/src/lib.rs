//! Arithmetic on slices of `f32` that networks spend their time in on the processor.
//!
//! Under the crates that run networks: it knows no tensors, no threads and no files. A caller shares
//! out its rows to threads and calls these on each share, so results do not depend on their number.
//!
//! ```
//! use slate_kernels::{View, multiply};
//!
//! let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
//! let mut product = [0.0; 4];
//! multiply(&mut product, 2, false, 1.0, View::new(&a, 2, 2), View::new(&b, 2, 2));
//! assert_eq!(product, [19.0, 22.0, 43.0, 50.0]);
//! ```

#![expect(
    clippy::inline_always,
    reason = "what is to be compiled for wider vectors has to be inlined there"
)]

mod exponential;
mod matrix;
mod rows;
mod vector;

pub use exponential::{exp, gelu, gelu_slope, sigmoid, tanh};
pub use matrix::{View, multiply};
pub use rows::{Moments, dot, softmax, softmax_of_real, sum, sum_of_rows};
pub use vector::vectorised;
