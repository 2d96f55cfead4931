//! Matrix products on processors with AVX2 and fused multiply-add, a tile of the result at a time.
//!
//! A tile of 6 × 16 sums stays in registers on its way along the inner side, as in BLIS (Van Zee and van de
//! Geijn 2015). Two virtual processors often share one core, and then a product is short of instructions
//! before anything else. So what feeds a tile costs few: addresses are found once for four steps, rows of
//! the left matrix are read where they lie, and what is laid out anew ([`lay`]) is laid out once for all
//! tiles that read it.

mod lay;

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};
use std::cell::RefCell;
use std::ops::Range;

use bytemuck::cast;

use crate::matrix::{Start, View};
use lay::{Row, lay_left, lay_right};

/// Numbers of a vector.
const VECTOR: usize = 8;
/// Columns of a tile: two vectors.
const WIDE: usize = 2 * VECTOR;
/// Steps along the inner side whose addresses are found at once.
const STEPS: usize = 4;
/// Most steps of a strip, of 32 KiB then; longer inner sides are taken in parts. As the next two, found by
/// trying.
const DEEP: usize = 512;
/// Most strips laid out at once, in up to 2 MiB.
const STRIPS: usize = 64;
/// Most rows of the left matrix, up to 504 KiB, that go past all strips before the next rows.
const ROWS: usize = 252;
/// Rows up to which a right matrix is read where it lies, and a left one then, too; columns up to which a left
/// one that is turned is.
const FEW: usize = 48;

/// The sums of a tile of `M` rows.
type Sums<const M: usize> = [[__m256; 2]; M];

thread_local! {
    /// Where a thread lays out its operands; kept for its next product, and never made smaller.
    static SPACE: RefCell<Space> = const {
        RefCell::new(Space { right: Vec::new(), left: Vec::new() })
    };
}

struct Space {
    /// Strips of the right matrix, one after the other.
    right: Vec<Row>,
    /// Rows of a turned left matrix, those of a tile beside each other at each step.
    left: Vec<f32>,
}

/// Whether this processor can, and the product is large enough to gain.
pub(crate) fn fits(a: View<'_>, b: View<'_>) -> bool {
    let large = a.rows > 1 && a.columns >= STEPS && b.columns >= WIDE;
    large && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) into: *mut f32,
    /// How far its rows begin from each other.
    pub(crate) row: usize,
    pub(crate) start: Start<'a>,
    pub(crate) scale: f32,
}

/// Rows of a left matrix: the number of row `i` at step `j` is `i·row + j·step` behind `from`, and one of the
/// two is 1.
#[derive(Clone, Copy)]
struct Left {
    from: *const f32,
    row: usize,
    step: usize,
}

/// Columns of a right matrix: the strip of column `16 i` begins `i·strip` behind `from`, and has the numbers of
/// a step side by side, `step` behind those of the step before.
#[derive(Clone, Copy)]
struct Right {
    from: *const f32,
    strip: usize,
    step: usize,
}

/// Sixteen columns of a right matrix, or the last of them, and where they stand.
#[derive(Clone, Copy)]
struct Strip {
    from: *const f32,
    step: usize,
    steps: usize,
    column: usize,
    /// Columns that there are; behind them zeros.
    width: usize,
}

/// The product of two matrices that [`fits`], each with the numbers of a row or those of a column side by side.
///
/// # Safety
/// The inner sides of the views are the same and each view lies within its slice. The target has room for the
/// rows of `a` and the columns of `b`, its rows do not overlap, it holds numbers where the product is added to
/// what is there, and it overlaps nothing else. What the product starts from has its sides.
#[target_feature(enable = "avx2,fma")]
#[expect(
    unsafe_code,
    reason = "tiles read through pointers, to spare the checks"
)]
pub(crate) unsafe fn multiply(mut target: Target<'_>, a: View<'_>, b: View<'_>) {
    let deep = a.columns.div_ceil(a.columns.div_ceil(DEEP));
    let right_lies = b.column == 1 && a.rows <= FEW && b.columns.is_multiple_of(WIDE);
    let is_turned = a.column != 1;
    let left_lies = !is_turned || b.columns <= FEW || right_lies;
    // Rows that lie are as good as packed: their steps are next to each other.
    let is_packed = !(right_lies || is_turned && left_lies);
    SPACE.with_borrow_mut(|space| {
        for steps in spans(a.columns, deep) {
            for columns in spans(b.columns, STRIPS * WIDE) {
                let right = if right_lies {
                    Right {
                        from: b.values[steps.start * b.row + columns.start..].as_ptr(),
                        strip: WIDE,
                        step: b.row,
                    }
                } else {
                    let laid = lay_right(&mut space.right, b, &steps, &columns);
                    Right {
                        from: laid.as_ptr().cast(),
                        strip: WIDE * steps.len(),
                        step: WIDE,
                    }
                };
                for rows in spans(a.rows, ROWS) {
                    let left = if left_lies {
                        Left {
                            from: a.values[rows.start * a.row + steps.start * a.column..].as_ptr(),
                            row: a.row,
                            step: a.column,
                        }
                    } else {
                        Left {
                            from: lay_left(&mut space.left, a, &steps, &rows).as_ptr(),
                            row: 1,
                            step: 0,
                        }
                    };
                    for (number, column) in columns.clone().step_by(WIDE).enumerate() {
                        // SAFETY: operands lie as said; the target has room for these rows and columns.
                        unsafe {
                            let strip = Strip {
                                from: right.from.add(number * right.strip),
                                step: right.step,
                                steps: steps.len(),
                                column,
                                width: WIDE.min(columns.end - column),
                            };
                            match (is_turned, is_packed) {
                                (false, false) => down::<false, false>(target, strip, &rows, left),
                                (false, true) => down::<false, true>(target, strip, &rows, left),
                                (true, false) => down::<true, false>(target, strip, &rows, left),
                                (true, true) => down::<true, true>(target, strip, &rows, left),
                            }
                        }
                    }
                }
            }
            target.start = Start::There;
        }
    });
}

/// `0..length` in spans of a size.
fn spans(length: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..length).step_by(size);
    starts.map(move |start| start..(start + size).min(length))
}

/// Rows of the next tile, where so many are left: no tile of one or two rows behind one of six.
fn tall(left: usize) -> usize {
    match left {
        7 | 8 => 4,
        _ => left.min(6),
    }
}

/// All tiles of one strip, of a left matrix that is `TURNED` or not. Where `PACKED`, the strip was laid out, and
/// so was the left matrix if it is turned: how far steps are apart is constant then.
///
/// # Safety
/// As of [`multiply`], for these rows and columns of the target; what `strip` and `left` describe can be read.
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "the caller's promise is handed on")]
unsafe fn down<const TURNED: bool, const PACKED: bool>(
    target: Target<'_>,
    strip: Strip,
    rows: &Range<usize>,
    left: Left,
) {
    let mut row = 0;
    while row < rows.len() {
        let count = tall(rows.len() - row);
        let top = rows.start + row;
        let apart = if TURNED && PACKED {
            strip.steps
        } else {
            left.row
        };
        // SAFETY: rows of the tile are rows of the matrix, laid out or not.
        unsafe {
            let left = Left {
                from: left.from.add(row * apart),
                ..left
            };
            match count {
                6 => tile::<6, TURNED, PACKED>(target, strip, top, left),
                5 => tile::<5, TURNED, PACKED>(target, strip, top, left),
                4 => tile::<4, TURNED, PACKED>(target, strip, top, left),
                3 => tile::<3, TURNED, PACKED>(target, strip, top, left),
                2 => tile::<2, TURNED, PACKED>(target, strip, top, left),
                _ => tile::<1, TURNED, PACKED>(target, strip, top, left),
            }
        }
        row += count;
    }
}

/// One tile: the products of `M` rows of the left matrix and a strip.
///
/// # Safety
/// As of [`down`].
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "the caller's promise is handed on")]
unsafe fn tile<const M: usize, const TURNED: bool, const PACKED: bool>(
    target: Target<'_>,
    strip: Strip,
    row: usize,
    left: Left,
) {
    // Constants where they can be, which addresses are cheaper with.
    let right_step = if PACKED { WIDE } else { strip.step };
    let left_step = match (TURNED, PACKED) {
        (false, _) => 1,
        (true, true) => M,
        (true, false) => left.step,
    };
    let left_row = if TURNED { 1 } else { left.row };
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    // SAFETY: `M` rows and `steps` steps lie behind `left`, and `steps` steps behind the strip.
    unsafe {
        let mut from = left.from;
        let mut right = strip.from;
        for _ in 0..strip.steps / STEPS {
            for step in 0..STEPS {
                let right = right.add(step * right_step);
                add_step(&mut sums, from.add(step * left_step), left_row, right);
            }
            // Behind the last steps there may be nothing to point at.
            from = from.wrapping_add(STEPS * left_step);
            right = right.wrapping_add(STEPS * right_step);
        }
        for step in 0..strip.steps % STEPS {
            let right = right.add(step * right_step);
            add_step(&mut sums, from.add(step * left_step), left_row, right);
        }
        if strip.width == WIDE {
            write(target, row, strip.column, sums);
        } else {
            write_part(target, row, strip, sums);
        }
    }
}

/// One step along the inner side: a number of each row times a row of the strip.
///
/// # Safety
/// The rows' numbers lie `apart` behind each other from `left`, and sixteen numbers behind `right`.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "vectors are read through pointers")]
unsafe fn add_step<const M: usize>(
    sums: &mut Sums<M>,
    left: *const f32,
    apart: usize,
    right: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let right = [_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(VECTOR))];
        for (row, sums) in sums.iter_mut().enumerate() {
            let left = _mm256_set1_ps(*left.add(row * apart));
            sums[0] = _mm256_fmadd_ps(left, right[0], sums[0]);
            sums[1] = _mm256_fmadd_ps(left, right[1], sums[1]);
        }
    }
}

/// Writes a whole tile's sums.
///
/// # Safety
/// As of [`multiply`], for these rows and columns.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "vectors are read and written through pointers")]
unsafe fn write<const M: usize>(target: Target<'_>, row: usize, column: usize, sums: Sums<M>) {
    let scale = _mm256_set1_ps(target.scale);
    // SAFETY: the target has room for these rows and columns, and what it starts from is as wide.
    unsafe {
        let into = target.into.add(row * target.row + column);
        let (start, apart): (*const f32, usize) = match target.start {
            Start::Zero => {
                for (at, sums) in sums.into_iter().enumerate() {
                    let into = into.add(at * target.row);
                    _mm256_storeu_ps(into, _mm256_mul_ps(sums[0], scale));
                    _mm256_storeu_ps(into.add(VECTOR), _mm256_mul_ps(sums[1], scale));
                }
                return;
            }
            Start::There => (into, target.row),
            Start::Row(every) => (every.as_ptr().add(column), 0),
            Start::Rows(rows, every) => {
                let wide = every.len();
                (rows.as_ptr().add(row * wide + column), wide)
            }
        };
        let every = match target.start {
            Start::Rows(_, every) => {
                let every = every.as_ptr().add(column);
                [_mm256_loadu_ps(every), _mm256_loadu_ps(every.add(VECTOR))]
            }
            // What changes no number, 0 and its sign neither.
            _ => [_mm256_set1_ps(-0.0); 2],
        };
        for (at, sums) in sums.into_iter().enumerate() {
            let (into, start) = (into.add(at * target.row), start.add(at * apart));
            let one = _mm256_add_ps(_mm256_loadu_ps(start), every[0]);
            let two = _mm256_add_ps(_mm256_loadu_ps(start.add(VECTOR)), every[1]);
            _mm256_storeu_ps(into, _mm256_fmadd_ps(sums[0], scale, one));
            _mm256_storeu_ps(into.add(VECTOR), _mm256_fmadd_ps(sums[1], scale, two));
        }
    }
}

/// Writes the columns that there are of a tile's sums.
///
/// # Safety
/// As of [`multiply`], for these rows and columns.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "the target is a pointer")]
unsafe fn write_part<const M: usize>(target: Target<'_>, top: usize, strip: Strip, sums: Sums<M>) {
    for (row, sums) in (top..).zip(sums) {
        let sums: [f32; WIDE] = cast(sums);
        for (column, sum) in (strip.column..).zip(&sums[..strip.width]) {
            // SAFETY: the target has room for this row and column, and a number if one is read.
            unsafe {
                let into = target.into.add(row * target.row + column);
                let start = match target.start {
                    Start::Zero => -0.0,
                    Start::There => *into,
                    Start::Row(every) => every[column],
                    Start::Rows(rows, every) => rows[row * every.len() + column] + every[column],
                };
                into.write(sum.mul_add(target.scale, start));
            }
        }
    }
}
