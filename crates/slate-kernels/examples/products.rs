//! Products of matrices of the sizes of experiment 004, by this crate and by `gemm`, on one thread.
//!
//! `cargo run --release -p slate-kernels --example products` prints thousands of millions of operations in a
//! second, medians over rounds in which the two alternate, and the median of the rounds' ratios.

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::time::Instant;

use slate_kernels::{Start, View, multiply};

const ROUNDS: usize = 61;

fn main() {
    println!("| product | `gemm` | slate | ratio |\n|---|---|---|---|");
    for (name, turned) in [
        ("x w", [false, false]),
        ("g wᵀ", [false, true]),
        ("xᵀ g", [true, false]),
    ] {
        for sides in [
            [256, 136, 128],
            [256, 128, 128],
            [256, 128, 256],
            [256, 256, 128],
            [32, 32, 32],
            [8, 128, 128],
            [1024, 1024, 1024],
        ] {
            let [rows, inner, columns] = sides;
            // A gradient of weights sums over the rows.
            let sides = if turned[0] {
                [inner, rows, columns]
            } else {
                sides
            };
            let [gemm, own] = times(sides, turned);
            let work = 2e-9 * (rows * inner * columns) as f64;
            let ratio = median(gemm.iter().zip(&own).map(|(a, b)| a / b).collect());
            let [gemm, own] = [gemm, own].map(|times| work / median(times));
            let sides = format!("{} × {} × {}", sides[0], sides[1], sides[2]);
            println!("| {name}, {sides} | {gemm:.1} | {own:.1} | {ratio:.2} |");
        }
    }
}

/// Seconds of a product in each round, by `gemm` and by this crate.
fn times([rows, inner, columns]: [usize; 3], turned: [bool; 2]) -> [Vec<f64>; 2] {
    let numbers = |count: usize| (0..count).map(|at| (at as f32 * 0.7).sin()).collect();
    let (left, right): (Vec<f32>, Vec<f32>) = (numbers(rows * inner), numbers(inner * columns));
    let mut into = vec![0.0; rows * columns];
    let view = |values, sides: [usize; 2], turned| {
        if turned {
            View::new(values, sides[1], sides[0]).turned()
        } else {
            View::new(values, sides[0], sides[1])
        }
    };
    let (a, b) = (
        view(&left, [rows, inner], turned[0]),
        view(&right, [inner, columns], turned[1]),
    );
    let repeats = (4_000_000 / (rows * inner * columns)).max(1);
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (program, times) in all.iter_mut().enumerate() {
            let began = Instant::now();
            for _ in 0..repeats {
                if program == 0 {
                    library(&mut into, [rows, inner, columns], (&left, &right), turned);
                } else {
                    multiply(&mut into, columns, Start::Zero, 1.0, a, b);
                }
            }
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() / repeats as f64);
            }
        }
    }
    all
}

fn library(
    into: &mut [f32],
    [rows, inner, columns]: [usize; 3],
    (left, right): (&[f32], &[f32]),
    turned: [bool; 2],
) {
    // How far columns and rows are apart.
    let strides = |columns: usize, rows: usize, turned: bool| {
        if turned {
            (rows as isize, 1)
        } else {
            (1, columns as isize)
        }
    };
    let (a, b) = (
        strides(inner, rows, turned[0]),
        strides(columns, inner, turned[1]),
    );
    assert!(into.len() == rows * columns && left.len() == rows * inner);
    assert!(right.len() == inner * columns);
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: the slices have the numbers of their matrices, as was just asked.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            into.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left.as_ptr(),
            a.0,
            a.1,
            right.as_ptr(),
            b.0,
            b.1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
