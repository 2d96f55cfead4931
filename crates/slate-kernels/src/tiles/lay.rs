//! Operands of a product in the order in which tiles read them.

use std::arch::x86_64::{
    __m256, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};
use std::array::from_fn;
use std::ops::Range;

use bytemuck::cast;

use super::{VECTOR, WIDE, tall};
use crate::matrix::View;

/// A row of a strip, in one line of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row([f32; WIDE]);

/// Steps that are read together, so that they are still in the first cache for the next tile or strip.
const TOGETHER: usize = 16;

/// Lays out a turned left matrix: at each step the rows of a tile side by side, tile after tile.
#[target_feature(enable = "avx2,fma")]
pub(super) fn lay_left<'s>(
    space: &'s mut Vec<f32>,
    a: View<'_>,
    steps: &Range<usize>,
    rows: &Range<usize>,
) -> &'s [f32] {
    let (from, top) = (steps.start, rows.start);
    let (steps, rows) = (steps.len(), rows.len());
    let into = at_least(space, rows * steps, 0.0);
    for first in (0..steps).step_by(TOGETHER) {
        let count = TOGETHER.min(steps - first);
        let mut row = 0;
        while row < rows {
            let tall = tall(rows - row);
            let place = (from + first) * a.column + top + row;
            let source = &a.values[place..][..(count - 1) * a.column + tall];
            let into = &mut into[row * steps + first * tall..][..count * tall];
            match tall {
                6 => lay_rows::<6>(into, source, a.column),
                5 => lay_rows::<5>(into, source, a.column),
                4 => lay_rows::<4>(into, source, a.column),
                3 => lay_rows::<3>(into, source, a.column),
                2 => lay_rows::<2>(into, source, a.column),
                _ => lay_rows::<1>(into, source, a.column),
            }
            row += tall;
        }
    }
    into
}

/// Some steps of one tile.
#[target_feature(enable = "avx2,fma")]
fn lay_rows<const M: usize>(into: &mut [f32], source: &[f32], apart: usize) {
    let (into, _) = into.as_chunks_mut::<M>();
    for (into, step) in into.iter_mut().zip(source.chunks(apart)) {
        into.copy_from_slice(&step[..M]);
    }
}

/// Lays out some columns of the right matrix in strips, with zeros beside the last.
#[target_feature(enable = "avx2,fma")]
pub(super) fn lay_right<'s>(
    space: &'s mut Vec<Row>,
    b: View<'_>,
    steps: &Range<usize>,
    columns: &Range<usize>,
) -> &'s [Row] {
    let (from, first) = (steps.start, columns.start);
    let (steps, wide) = (steps.len(), columns.len());
    let whole = wide / WIDE;
    let into = at_least(space, wide.div_ceil(WIDE) * steps, Row([0.0; WIDE]));
    let (strips, last) = into.split_at_mut(whole * steps);
    if b.column == 1 {
        let from = &b.values[from * b.row + first..];
        lay_plain(strips, from, b.row, steps);
    } else {
        for (strip, into) in strips.chunks_exact_mut(steps).enumerate() {
            lay_turned(into, columns_of(b, first + strip * WIDE, from, steps));
        }
    }
    let column = first + whole * WIDE;
    let width = wide - whole * WIDE;
    for (at, row) in last.iter_mut().enumerate() {
        let place = (from + at) * b.row + column * b.column;
        row.0 = from_fn(|side| {
            if side < width {
                b.values[place + side * b.column]
            } else {
                0.0
            }
        });
    }
    into
}

/// Strips of columns whose rows begin `apart` numbers from each other.
#[target_feature(enable = "avx2,fma")]
fn lay_plain(strips: &mut [Row], from: &[f32], apart: usize, steps: usize) {
    for first in (0..steps).step_by(TOGETHER) {
        let count = TOGETHER.min(steps - first);
        for (strip, into) in strips.chunks_exact_mut(steps).enumerate() {
            let place = first * apart + strip * WIDE;
            let source = &from[place..][..(count - 1) * apart + WIDE];
            let into = &mut into[first..][..count];
            for (row, source) in into.iter_mut().zip(source.chunks(apart)) {
                row.0.copy_from_slice(&source[..WIDE]);
            }
        }
    }
}

/// So many numbers of a space that only grows; what they are is of no matter.
fn at_least<T: Copy>(space: &mut Vec<T>, count: usize, filler: T) -> &mut [T] {
    if space.len() < count {
        space.resize(count, filler);
    }
    &mut space[..count]
}

/// The numbers of sixteen columns.
#[inline(always)]
fn columns_of(b: View<'_>, column: usize, from: usize, steps: usize) -> [&[f32]; WIDE] {
    from_fn(|side| &b.values[(column + side) * b.column + from..][..steps])
}

/// A strip of columns whose numbers lie side by side.
#[target_feature(enable = "avx2,fma")]
fn lay_turned(strip: &mut [Row], columns: [&[f32]; WIDE]) {
    let (squares, rest) = strip.as_chunks_mut::<VECTOR>();
    let done = squares.len() * VECTOR;
    for (at, rows) in squares.iter_mut().enumerate() {
        for half in 0..2 {
            let columns = columns_at(&columns, half, at);
            let turned: [[f32; VECTOR]; VECTOR] = cast(turned(cast(columns)));
            for (row, turned) in rows.iter_mut().zip(turned) {
                row.0.as_chunks_mut::<VECTOR>().0[half] = turned;
            }
        }
    }
    for (at, row) in rest.iter_mut().enumerate() {
        for (number, column) in row.0.iter_mut().zip(columns) {
            *number = column[done + at];
        }
    }
}

/// The eight numbers in one place of eight of the columns.
#[inline(always)]
fn columns_at(columns: &[&[f32]; WIDE], half: usize, at: usize) -> [[f32; VECTOR]; VECTOR] {
    from_fn(|side| columns[half * VECTOR + side].as_chunks::<VECTOR>().0[at])
}

/// Rows and columns of a square of eight exchanged.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn turned(r: [__m256; VECTOR]) -> [__m256; VECTOR] {
    // Pairs of rows, then of pairs, within each half of a vector; then the halves.
    let [a, b, c, d] = [
        _mm256_unpacklo_ps(r[0], r[1]),
        _mm256_unpackhi_ps(r[0], r[1]),
        _mm256_unpacklo_ps(r[2], r[3]),
        _mm256_unpackhi_ps(r[2], r[3]),
    ];
    let [e, f, g, h] = [
        _mm256_unpacklo_ps(r[4], r[5]),
        _mm256_unpackhi_ps(r[4], r[5]),
        _mm256_unpacklo_ps(r[6], r[7]),
        _mm256_unpackhi_ps(r[6], r[7]),
    ];
    let upper = [
        _mm256_shuffle_ps::<0x44>(a, c),
        _mm256_shuffle_ps::<0xEE>(a, c),
        _mm256_shuffle_ps::<0x44>(b, d),
        _mm256_shuffle_ps::<0xEE>(b, d),
    ];
    let lower = [
        _mm256_shuffle_ps::<0x44>(e, g),
        _mm256_shuffle_ps::<0xEE>(e, g),
        _mm256_shuffle_ps::<0x44>(f, h),
        _mm256_shuffle_ps::<0xEE>(f, h),
    ];
    [
        _mm256_permute2f128_ps::<0x20>(upper[0], lower[0]),
        _mm256_permute2f128_ps::<0x20>(upper[1], lower[1]),
        _mm256_permute2f128_ps::<0x20>(upper[2], lower[2]),
        _mm256_permute2f128_ps::<0x20>(upper[3], lower[3]),
        _mm256_permute2f128_ps::<0x31>(upper[0], lower[0]),
        _mm256_permute2f128_ps::<0x31>(upper[1], lower[1]),
        _mm256_permute2f128_ps::<0x31>(upper[2], lower[2]),
        _mm256_permute2f128_ps::<0x31>(upper[3], lower[3]),
    ]
}
