//! Products that fill no tile: with a few columns, as those of a ranker's heads, or a few steps along the inner side,
//! as those of the heads' slopes. Rows are added up with vectors along their long side.

use crate::matrix::View;
use crate::{dot, vectorised};

/// Most columns of a product, or steps along its inner side.
const FEW: usize = 4;

/// How the product of two matrices goes along what lies side by side.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// Few columns, rows of the left matrix lie: a scalar product for each number.
    Rows,
    /// Few columns, columns of the left matrix lie: multiples of them are added up.
    Columns,
    /// Few steps: multiples of rows of the right matrix are added up.
    Steps,
}

/// The way of a product, where there is one; none where there is nothing along the inner side.
pub(crate) fn way(a: View<'_>, b: View<'_>) -> Option<Way> {
    if a.columns == 0 {
        None
    } else if b.columns <= FEW && a.column == 1 {
        Some(Way::Rows)
    } else if b.columns <= FEW && a.row == 1 {
        Some(Way::Columns)
    } else if a.columns <= FEW {
        Some(Way::Steps)
    } else {
        None
    }
}

/// `into += scale · a b`; the rows of `into` begin `row` numbers apart, and all sides were checked.
pub(crate) fn add(into: &mut [f32], row: usize, scale: f32, a: View<'_>, b: View<'_>, way: Way) {
    vectorised(
        #[inline(always)]
        || match way {
            Way::Rows => rows(into, row, scale, a, b),
            Way::Columns => columns(into, row, scale, a, b),
            Way::Steps => steps(into, row, scale, a, b),
        },
    );
}

#[inline(always)]
fn rows(into: &mut [f32], row: usize, scale: f32, a: View<'_>, b: View<'_>) {
    for column in 0..b.columns {
        let right: Vec<f32> = (0..b.rows).map(|step| b.at(step, column)).collect();
        for at in 0..a.rows {
            let left = &a.values[at * a.row..][..a.columns];
            into[at * row + column] += scale * dot(left, &right);
        }
    }
}

#[inline(always)]
fn columns(into: &mut [f32], row: usize, scale: f32, a: View<'_>, b: View<'_>) {
    let mut sums = vec![0.0_f32; b.columns * a.rows];
    for step in 0..a.columns {
        let left = &a.values[step * a.column..][..a.rows];
        for (column, sums) in sums.chunks_exact_mut(a.rows).enumerate() {
            add_multiple(sums, b.at(step, column), left);
        }
    }
    for (column, sums) in sums.chunks_exact(a.rows).enumerate() {
        for (at, sum) in sums.iter().enumerate() {
            into[at * row + column] += scale * sum;
        }
    }
}

#[inline(always)]
fn steps(into: &mut [f32], row: usize, scale: f32, a: View<'_>, b: View<'_>) {
    let numbers = |step| (0..b.columns).map(move |column| b.at(step, column));
    let right: Vec<f32> = (0..b.rows).flat_map(numbers).collect();
    for at in 0..a.rows {
        let into = &mut into[at * row..][..b.columns];
        for (step, right) in right.chunks_exact(b.columns).enumerate() {
            add_multiple(into, scale * a.at(at, step), right);
        }
    }
}

/// `sums += factor · numbers`.
#[inline(always)]
fn add_multiple(sums: &mut [f32], factor: f32, numbers: &[f32]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += factor * number;
    }
}
