//! Matrix products over plain slices.
//!
//! Libraries of tensors give every result a fresh one that is zeroed and copied once; here it goes
//! where it is wanted, and starts from what it is to be added to. The kernel is our own where the processor
//! has what it needs, else that of `gemm`, which Burn and candle use.

use crate::narrow;
#[cfg(target_arch = "x86_64")]
use crate::tiles::{self, Target};

/// A matrix in a slice: the number of row `i` and column `j` is `values[i·row + j·column]`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Nothing; what was there is written over.
    Zero,
    /// What is there.
    There,
    /// This row, to each row of the product.
    Row(&'a [f32]),
    /// These rows, one after the other, and a row to each of them.
    Rows(&'a [f32], &'a [f32]),
}

impl<'a> View<'a> {
    /// Rows that stand one after the other.
    ///
    /// # Panics
    /// Where `values` ends before the last row does.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, [rows, columns], columns)
    }

    /// Rows that begin `row` numbers apart.
    ///
    /// # Panics
    /// Where `values` ends before the last row does, or a row begins before the one above ends.
    pub fn strided(values: &'a [f32], [rows, columns]: [usize; 2], row: usize) -> Self {
        let view = Self {
            values,
            rows,
            columns,
            row,
            column: 1,
        };
        assert!(
            rows <= 1 || row >= columns,
            "the rows of a matrix overlap: {columns} columns, {row} apart"
        );
        view.check(values.len());
        view
    }

    /// Rows and columns exchanged.
    #[must_use]
    pub fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The number of a row and a column.
    #[inline(always)]
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row + column * self.column]
    }

    /// Every number lies within so many.
    fn check(&self, length: usize) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let along = |count: usize, apart: usize| (count - 1).checked_mul(apart);
        let last = along(self.rows, self.row)
            .zip(along(self.columns, self.column))
            .and_then(|(down, across)| down.checked_add(across));
        assert!(
            last.is_some_and(|last| last < length),
            "a matrix of {} x {} numbers, {} and {} apart, does not fit {length}",
            self.rows,
            self.columns,
            self.row,
            self.column
        );
    }
}

/// `into = start + scale · a b`; the rows of `into` begin `row` numbers apart. On the calling thread alone.
///
/// # Panics
/// Where inner sides differ, `into` is too short or its rows overlap, or what it starts from has other sides.
pub fn multiply(
    into: &mut [f32],
    row: usize,
    start: Start<'_>,
    scale: f32,
    a: View<'_>,
    b: View<'_>,
) {
    check(a, b, start);
    let (rows, columns) = (a.rows, b.columns);
    View {
        values: &[],
        rows,
        columns,
        row,
        column: 1,
    }
    .check(into.len());
    assert!(rows <= 1 || row >= columns, "the rows of a result overlap");
    if rows == 0 || columns == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if tiles::fits(a, b) {
        let target = Target {
            into: into.as_mut_ptr(),
            row,
            start,
            scale,
        };
        #[expect(unsafe_code, reason = "the kernel takes pointers")]
        // SAFETY: the processor was just asked; all that the kernel reaches was checked above, and `into`
        // is borrowed mutably.
        return unsafe { tiles::multiply(target, a, b) };
    }
    begin(into, row, start, [rows, columns]);
    let add = !matches!(start, Start::Zero);
    let Some(way) = narrow::way(a, b) else {
        return by_library(into, row, add, scale, a, b);
    };
    if !add {
        for at in 0..rows {
            into[at * row..][..columns].fill(0.0);
        }
    }
    narrow::add(into, row, scale, a, b, way);
}

/// `start + a b`, row after row. On the calling thread alone.
///
/// # Panics
/// As [`products`].
pub fn product(start: Start<'_>, a: View<'_>, b: View<'_>) -> Vec<f32> {
    products(a, [(start, b)])
}

/// `start + a b` for several `b`, side by side in each row. On the calling thread alone.
///
/// # Panics
/// Where inner sides differ, what a product starts from has other sides, or is to be what is there: there is
/// nothing yet.
pub fn products<const N: usize>(a: View<'_>, parts: [(Start<'_>, View<'_>); N]) -> Vec<f32> {
    for (start, b) in parts {
        assert!(!matches!(start, Start::There), "nothing is there yet");
        check(a, b, start);
    }
    let mut sides = parts.iter().map(|(_, b)| b.columns);
    let wide = sides.try_fold(0_usize, usize::checked_add);
    let size = wide.and_then(|wide| Some((wide, a.rows.checked_mul(wide)?)));
    let (wide, size) = size.expect("as many numbers as there is memory for");
    if size == 0 {
        return Vec::new();
    }
    let mut column = 0;
    #[cfg(target_arch = "x86_64")]
    if parts.iter().all(|(_, b)| tiles::fits(a, *b)) {
        let mut into: Vec<f32> = Vec::with_capacity(size);
        #[expect(unsafe_code, reason = "what is written over is not zeroed before")]
        // SAFETY: the processor was just asked; operands were checked, there is room for all numbers, and
        // the kernel writes each of them.
        unsafe {
            for (start, b) in parts {
                let target = Target {
                    into: into.as_mut_ptr().add(column),
                    row: wide,
                    start,
                    scale: 1.0,
                };
                tiles::multiply(target, a, b);
                column += b.columns;
            }
            into.set_len(size);
        }
        return into;
    }
    let mut into = vec![0.0; size];
    for (start, b) in parts {
        multiply(&mut into[column..], wide, start, 1.0, a, b);
        column += b.columns;
    }
    into
}

/// Operands fit each other and what their product starts from. Where views lie was asked when they were made.
fn check(a: View<'_>, b: View<'_>, start: Start<'_>) {
    assert_eq!(a.columns, b.rows, "the inner sides of a product");
    let (rows, every) = match start {
        Start::Zero | Start::There => return,
        Start::Row(every) => (None, every),
        Start::Rows(rows, every) => (Some(rows), every),
    };
    assert_eq!(every.len(), b.columns, "the row a product starts from");
    if let Some(rows) = rows {
        let size = a.rows.checked_mul(b.columns);
        let own = Some(rows.len());
        assert_eq!(own, size, "the rows a product starts from");
    }
}

/// Puts what a product starts from where it goes.
fn begin(into: &mut [f32], row: usize, start: Start<'_>, [rows, columns]: [usize; 2]) {
    for at in 0..rows {
        let into = &mut into[at * row..][..columns];
        match start {
            Start::Zero | Start::There => return,
            Start::Row(every) => into.copy_from_slice(every),
            Start::Rows(rows, every) => {
                let own = rows[at * columns..].iter().zip(every);
                for (into, (own, every)) in into.iter_mut().zip(own) {
                    *into = own + every;
                }
            }
        }
    }
}

/// `into (+)= scale · a b` by `gemm`; sides were checked.
fn by_library(into: &mut [f32], row: usize, add: bool, scale: f32, a: View<'_>, b: View<'_>) {
    let stride = |steps: usize| steps as isize;
    #[expect(
        unsafe_code,
        reason = "gemm takes pointers; all that it reaches was checked before"
    )]
    // SAFETY: the three matrices lie within their slices, `into` is borrowed mutably and its rows do
    // not overlap, and f32 has no invalid bit patterns.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            into.as_mut_ptr(),
            1,
            stride(row),
            add,
            a.values.as_ptr(),
            stride(a.column),
            stride(a.row),
            b.values.as_ptr(),
            stride(b.column),
            stride(b.row),
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, from: usize) -> Vec<f32> {
        let number = |at: usize| ((at + from) as f32 * 0.7).sin();
        (0..count).map(number).collect()
    }

    /// Numbers of a matrix within wider rows, and not one more.
    fn wider([rows, columns]: [usize; 2], from: usize) -> Box<[f32]> {
        let last = (rows.max(1) - 1) * (columns + 3) + columns;
        numbers(last, from).into()
    }

    /// Holds a product to plain loops in `f64`, and what lies beside it to what it was.
    fn hold([rows, inner, columns]: [usize; 3], turned: [bool; 2], scale: f32) {
        let sides = |first, second, turned| {
            if turned {
                [second, first]
            } else {
                [first, second]
            }
        };
        let (left, right) = (
            sides(rows, inner, turned[0]),
            sides(inner, columns, turned[1]),
        );
        let (x, y) = (wider(left, 0), wider(right, 100));
        let view = |values, sides: [usize; 2], turned: bool| {
            let view = View::strided(values, sides, sides[1] + 3);
            if turned { view.turned() } else { view }
        };
        let a = view(&x, left, turned[0]);
        let b = view(&y, right, turned[1]);
        let every = numbers(columns, 50);
        let residual = numbers(rows * columns, 70);
        let starts = [
            Start::Zero,
            Start::There,
            Start::Row(&every),
            Start::Rows(&residual, &every),
        ];
        for start in starts {
            let row = columns + 2;
            let mut into = vec![1.5_f32; rows * row];
            multiply(&mut into, row, start, scale, a, b);
            for at in 0..rows {
                let [one, two] = &into[at * row + columns..][..2] else {
                    unreachable!("two numbers behind each row")
                };
                assert!(*one == 1.5 && *two == 1.5, "a number beside the product");
                for column in 0..columns {
                    let (mut sum, mut size) = (0.0, 1.0);
                    for step in 0..inner {
                        let one = a.values[at * a.row + step * a.column];
                        let two = b.values[step * b.row + column * b.column];
                        let term = f64::from(one) * f64::from(two) * f64::from(scale);
                        sum += term;
                        size += term.abs();
                    }
                    let begun = match start {
                        Start::Zero => 0.0,
                        Start::There => 1.5,
                        Start::Row(every) => every[column],
                        Start::Rows(rows, every) => rows[at * columns + column] + every[column],
                    };
                    let found = f64::from(into[at * row + column]);
                    let most = (inner as f64 + 4.0) * f64::from(f32::EPSILON) * size;
                    let case = format!("{rows} {inner} {columns} {turned:?} {at} {column}");
                    let expected = sum + f64::from(begun);
                    assert!(
                        (found - expected).abs() <= most,
                        "{case}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_plain_loops() {
        let orders = [[false, false], [true, false], [false, true], [true, true]];
        for turned in orders {
            for rows in [0, 1, 2, 5, 6, 7, 8, 13] {
                for inner in [0, 1, 3, 4, 7, 19] {
                    for columns in [0, 1, 2, 4, 5, 7, 8, 15, 16, 17, 40] {
                        hold([rows, inner, columns], turned, 1.0);
                    }
                }
            }
            // Left matrices that are laid out, many rows, more than one span of steps, rows and columns.
            let large = [[50, 37, 64], [260, 9, 51], [20, 1030, 17], [3, 5, 1050]];
            // Few columns, few steps.
            let narrow = [[7, 300, 3], [300, 7, 1], [7, 3, 40], [1, 2, 5]];
            for sides in large.into_iter().chain(narrow) {
                hold(sides, turned, 0.5);
            }
        }
    }

    #[test]
    fn products_stand_side_by_side() {
        for columns in [3, 16] {
            let x = numbers(9 * 8, 0);
            let weights = [1, 2].map(|part| numbers(8 * columns, part * 31));
            let bias = numbers(columns, 7);
            let a = View::new(&x, 9, 8);
            let views = [0, 1].map(|part: usize| View::new(&weights[part], 8, columns));
            let found = products(a, [(Start::Row(&bias), views[0]), (Start::Zero, views[1])]);
            let one = product(Start::Row(&bias), a, views[0]);
            let two = product(Start::Zero, a, views[1]);
            let rows = one.chunks(columns).zip(two.chunks(columns));
            let expected: Vec<f32> = rows.flat_map(|(one, two)| [one, two].concat()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_along_the_inner_side_is_what_it_starts_from() {
        let none = View::new(&[], 2, 0);
        let bias = numbers(16, 0);
        let found = product(Start::Row(&bias), none, View::new(&[], 0, 16));
        assert_eq!(found, [bias.clone(), bias].concat());
        let rows = View::new(&[], 0, 4);
        let right = numbers(64, 0);
        let b = View::new(&right, 4, 16);
        assert!(products(rows, [(Start::Zero, b), (Start::Zero, b)]).is_empty());
    }

    #[test]
    fn what_was_there_is_not_read_and_nan_stays_in_its_row() {
        let mut x = numbers(8 * 20, 0);
        x[3 * 20 + 5] = f32::NAN;
        let mut y = numbers(20 * 19, 7);
        y[18] = f32::INFINITY;
        let mut into = vec![f32::NAN; 8 * 19];
        let (a, b) = (View::new(&x, 8, 20), View::new(&y, 20, 19));
        multiply(&mut into, 19, Start::Zero, 1.0, a, b);
        for (row, numbers) in into.chunks(19).enumerate() {
            let whole = numbers[..18].iter().all(|number| number.is_finite());
            assert_eq!(whole, row != 3, "row {row}");
            assert!(!numbers[18].is_finite());
        }
    }

    /// What is said by something that is refused.
    fn refusal(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let refused = std::panic::catch_unwind(work).expect_err("a refusal");
        *refused.downcast::<String>().expect("words")
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let short = refusal(|| {
            View::new(&[0.0; 5], 2, 3);
        });
        assert!(short.contains("does not fit 5"), "{short}");
        let wrapped = refusal(|| {
            View::strided(&[0.0; 8], [17, 4], 1 << 60);
        });
        assert!(wrapped.contains("does not fit 8"), "{wrapped}");
        let overlapping = refusal(|| {
            View::strided(&[0.0; 64], [4, 4], 3);
        });
        assert!(overlapping.contains("overlap"), "{overlapping}");
        let bias = refusal(|| {
            let values = [0.0; 64];
            let (a, b) = (View::new(&values, 2, 4), View::new(&values, 4, 16));
            product(Start::Row(&values[..15]), a, b);
        });
        assert!(bias.contains("the row a product starts from"), "{bias}");
        let inner = refusal(|| {
            let values = [0.0; 64];
            product(
                Start::Zero,
                View::new(&values, 2, 5),
                View::new(&values, 4, 16),
            );
        });
        assert!(inner.contains("the inner sides of a product"), "{inner}");
    }
}
