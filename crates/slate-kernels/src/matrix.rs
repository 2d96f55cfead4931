//! Matrix products over plain slices.
//!
//! Libraries of tensors give every result a fresh one that is zeroed and copied once; here it goes
//! where it is wanted, added to what is there or not. The kernel is `gemm`'s, the one Burn and candle
//! use.

/// A matrix in a slice: the number of row `i` and column `j` is `values[i·row + j·column]`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
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
    /// Where `values` ends before the last row does.
    pub fn strided(values: &'a [f32], [rows, columns]: [usize; 2], row: usize) -> Self {
        let view = Self {
            values,
            rows,
            columns,
            row,
            column: 1,
        };
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

    /// Every number lies within the slice.
    fn check(&self, length: usize) {
        let last =
            self.rows.saturating_sub(1) * self.row + self.columns.saturating_sub(1) * self.column;
        let empty = self.rows == 0 || self.columns == 0;
        assert!(
            empty || last < length,
            "a matrix of {} x {} numbers, {} and {} apart, does not fit {length}",
            self.rows,
            self.columns,
            self.row,
            self.column
        );
    }
}

/// `into = scale · a b`, or `into += scale · a b` where `add`; the rows of `into` begin `row` numbers
/// apart. On the calling thread alone.
///
/// # Panics
/// Where inner sides differ, or `into` is too short or its rows overlap.
pub fn multiply(into: &mut [f32], row: usize, add: bool, scale: f32, a: View<'_>, b: View<'_>) {
    assert_eq!(a.columns, b.rows, "the inner sides of a product");
    let (rows, columns, inner) = (a.rows, b.columns, a.columns);
    View {
        values: &[],
        rows,
        columns,
        row,
        column: 1,
    }
    .check(into.len());
    assert!(rows <= 1 || row >= columns, "the rows of a result overlap");
    a.check(a.values.len());
    b.check(b.values.len());
    let stride = |steps: usize| steps as isize;
    #[expect(
        unsafe_code,
        reason = "gemm takes pointers; all that it reaches was checked above"
    )]
    // SAFETY: the three matrices lie within their slices, `into` is borrowed mutably and its rows do
    // not overlap, and f32 has no invalid bit patterns.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
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

    #[test]
    fn products_are_those_of_plain_loops() {
        let number = |at: usize| (at as f32 * 0.7).sin();
        let a: Vec<f32> = (0..60).map(number).collect();
        let b: Vec<f32> = (0..60).map(|at| number(at + 100)).collect();
        for (turn_a, turn_b) in [(false, false), (true, false), (false, true), (true, true)] {
            // 3 × 4 times 4 × 5, from wider rows.
            let left = if turn_a {
                View::strided(&a, [4, 3], 7).turned()
            } else {
                View::strided(&a, [3, 4], 7)
            };
            let right = if turn_b {
                View::strided(&b, [5, 4], 6).turned()
            } else {
                View::strided(&b, [4, 5], 6)
            };
            let mut into = vec![1.0_f32; 3 * 8];
            multiply(&mut into, 8, true, 0.5, left, right);
            for row in 0..3 {
                for column in 0..8 {
                    let term = |inner: usize| {
                        let one = left.values[row * left.row + inner * left.column];
                        one * right.values[inner * right.row + column * right.column]
                    };
                    let sum: f32 = if column < 5 {
                        (0..4).map(term).sum()
                    } else {
                        0.0
                    };
                    let found = into[row * 8 + column];
                    assert!(
                        (found - 1.0 - 0.5 * sum).abs() < 1e-6,
                        "{row} {column} {found}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_matrix_beyond_its_slice_is_refused() {
        View::new(&[0.0; 5], 2, 3);
    }
}
