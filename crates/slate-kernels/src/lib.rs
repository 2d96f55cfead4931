//! Arithmetic on slices of `f32` that networks spend their time in on the processor.
//!
//! Under the crates that run networks: it knows no tensors, no threads and no files. A caller cuts
//! its rows into shares, the same whatever the number of threads, and calls these on each.
//!
//! ```
//! use slate_kernels::{Start, View, product};
//!
//! let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
//! let product = product(Start::Zero, View::new(&a, 2, 2), View::new(&b, 2, 2));
//! assert_eq!(product, [19.0, 22.0, 43.0, 50.0]);
//! ```

#![expect(
    clippy::inline_always,
    reason = "what is to be compiled for wider vectors has to be inlined there"
)]

mod exponential;
mod matrix;
mod narrow;
mod rows;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod vector;

pub use exponential::{exp, gelu, gelu_slope, sigmoid, tanh};
pub use matrix::{Start, View, multiply, product, products};
pub use rows::{Moments, all_finite, dot, softmax, softmax_of_real, sum, sum_of_rows};
pub use vector::vectorised;
