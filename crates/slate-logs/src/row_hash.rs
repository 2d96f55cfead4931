//! A hash of a table that forgets the order of its rows and nothing else.
//!
//! Each row becomes 128 bits, two lanes of 64 that every value is folded into in the order of the
//! columns; the table is the sum of its rows modulo 2^128. That tells tables apart that differ by
//! accident: by a row lost, doubled or changed. It is no seal against somebody who wants two tables
//! to look alike.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, SchemaRef, UInt8Type};
use twox_hash::XxHash64;

/// A row on its way: two lanes.
type Lanes = [u64; 2];

/// Digits of the golden ratio and of the square root of two: odd, and nothing up the sleeve.
const MULTIPLIERS: Lanes = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909];
/// Where null is folded in, with multipliers of its own, so that it equals no value.
const NULL: Lanes = [0xb504_f333_f9de_6485, 0xcbbb_9d5d_c105_9ed9];
/// Beginning of a row.
const START: Lanes = [0x510e_527f_ade6_82d1, 0x9b05_688c_2b3e_6c1f];

/// The sum so far.
pub(crate) struct RowHash {
    sum: u128,
    /// Rows of which the last columns are still to come.
    begun: VecDeque<Lanes>,
    rows: Vec<Lanes>,
}

/// Hashes of rows, one by one.
#[cfg(feature = "cluster")]
#[derive(Default)]
pub(crate) struct RowHasher(Vec<Lanes>);

#[cfg(feature = "cluster")]
impl RowHasher {
    /// The hash of each row of these columns, in their order.
    pub(crate) fn hash(&mut self, columns: &[ArrayRef]) -> impl Iterator<Item = u128> {
        let rows = columns.first().map_or(0, Array::len);
        self.0.clear();
        self.0.resize(rows, START);
        for column in columns {
            fold_column(column, &mut self.0);
        }
        self.0.iter().map(|&row| whole(row))
    }
}

/// The hash of a row whose columns are all there: folded once more, so that the last column is mixed as
/// well as the first.
fn whole(row: Lanes) -> u128 {
    number(fold(row, START, MULTIPLIERS))
}

impl RowHash {
    /// Begins with the names and types of the columns.
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let mut header = Vec::new();
        for field in schema.fields() {
            header.extend(field.name().as_bytes());
            header.push(0);
            header.extend(field.data_type().to_string().as_bytes());
            header.push(0);
        }
        Self {
            sum: number(text(&header)),
            begun: VecDeque::new(),
            rows: Vec::new(),
        }
    }

    /// Takes the first columns of some rows. Columns must have the types of the schema.
    pub(crate) fn begin(&mut self, columns: &[ArrayRef]) {
        let rows = columns.first().map_or(0, Array::len);
        self.rows.clear();
        self.rows.resize(rows, START);
        for column in columns {
            fold_column(column, &mut self.rows);
        }
        self.begun.extend(&self.rows);
    }

    /// What the other columns add to the sum: those of rows that were begun, the first of which comes
    /// `first` after the first that was not ended.
    pub(crate) fn rest(&self, first: usize, columns: &[ArrayRef]) -> u128 {
        let rows = columns.first().map_or(0, Array::len);
        let begun = self.begun.range(first..first + rows);
        let mut rows: Vec<Lanes> = begun.copied().collect();
        for column in columns {
            fold_column(column, &mut rows);
        }
        let hashes = rows.iter().map(|&row| whole(row));
        hashes.fold(0, u128::wrapping_add)
    }

    /// Ends so many rows, those that were begun first, of which [`RowHash::rest`] gave this.
    pub(crate) fn end(&mut self, rows: usize, rest: u128) {
        self.begun.drain(..rows);
        self.sum = self.sum.wrapping_add(rest);
    }

    /// 32 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        format!("{:032x}", self.sum)
    }
}

fn number([high, low]: Lanes) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

/// Both lanes with a value: the halves of a 128-bit product, one upon the other.
#[inline]
fn fold(row: Lanes, value: Lanes, multipliers: Lanes) -> Lanes {
    let lane = |at: usize| {
        let product = u128::from(row[at] ^ value[at]) * u128::from(multipliers[at]);
        ((product >> 64) as u64) ^ (product as u64)
    };
    [lane(0), lane(1)]
}

fn text(bytes: &[u8]) -> Lanes {
    START.map(|seed| XxHash64::oneshot(seed, bytes))
}

fn fold_column(column: &ArrayRef, rows: &mut [Lanes]) {
    match column.data_type() {
        DataType::Int64 => primitives::<Int64Type>(column, rows, |value| value as u64),
        DataType::Int32 => primitives::<Int32Type>(column, rows, |value| i64::from(value) as u64),
        DataType::UInt8 => primitives::<UInt8Type>(column, rows, u64::from),
        // Adding zero makes -0.0 the same value as 0.0.
        DataType::Float64 => {
            primitives::<Float64Type>(column, rows, |value| (value + 0.0).to_bits());
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            each(column, rows, |at| [u64::from(values.value(at)); 2]);
        }
        _ => {
            let values = column.as_string::<i32>();
            each(column, rows, |at| text(values.value(at).as_bytes()));
        }
    }
}

fn primitives<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    rows: &mut [Lanes],
    bits: impl Fn(T::Native) -> u64,
) {
    let array: &PrimitiveArray<T> = column.as_primitive();
    if array.null_count() > 0 {
        each(column, rows, |at| [bits(array.value(at)); 2]);
        return;
    }
    for (row, &value) in rows.iter_mut().zip(array.values()) {
        *row = fold(*row, [bits(value); 2], MULTIPLIERS);
    }
}

fn each(column: &ArrayRef, rows: &mut [Lanes], value: impl Fn(usize) -> Lanes) {
    for (at, row) in rows.iter_mut().enumerate() {
        *row = if column.is_null(at) {
            fold(*row, NULL, NULL)
        } else {
            fold(*row, value(at), MULTIPLIERS)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
        ]))
    }

    fn hash(parts: &[&[(Option<i64>, &str)]]) -> String {
        let mut hash = RowHash::new(&schema());
        for part in parts {
            hash.begin(&[Arc::new(
                part.iter().map(|row| row.0).collect::<Int64Array>(),
            )]);
        }
        // The second column comes when all of the first is there.
        let texts = parts
            .iter()
            .flat_map(|part| part.iter().map(|row| Some(row.1)));
        let texts: [ArrayRef; 1] = [Arc::new(texts.collect::<StringArray>())];
        // In two parts, the last one first.
        let half = texts[0].len() / 2;
        let parts = [(half, texts[0].len() - half), (0, half)];
        let rest = parts.map(|(first, rows)| hash.rest(first, &[texts[0].slice(first, rows)]));
        hash.end(texts[0].len(), rest[0].wrapping_add(rest[1]));
        hash.finish()
    }

    #[test]
    fn the_hash_forgets_order_and_cuts_but_no_value() {
        let (x, y) = ((Some(1), "x"), (None, "y"));
        let whole = hash(&[&[x, y]]);
        assert_eq!(whole, hash(&[&[y], &[x]]));
        assert_ne!(whole, hash(&[&[x]]));
        assert_ne!(whole, hash(&[&[x, y, y]]));
        assert_ne!(whole, hash(&[&[(Some(1), "y"), (None, "x")]]));
        assert_ne!(whole, hash(&[&[x, (Some(0), "y")]]));
    }

    #[test]
    fn small_values_in_any_columns_give_hashes_of_their_own() {
        let columns: Vec<Field> = ["a", "b", "c"]
            .map(|name| Field::new(name, DataType::Int64, true))
            .to_vec();
        let schema = Arc::new(Schema::new(columns));
        let values: Vec<Option<i64>> = [None].into_iter().chain((-9..30).map(Some)).collect();
        let mut seen = BTreeSet::new();
        for &a in &values {
            for &b in &values {
                for &c in &values {
                    let mut hash = RowHash::new(&schema);
                    let columns = [a, b, c].map(|value| -> ArrayRef {
                        Arc::new(std::iter::once(value).collect::<Int64Array>())
                    });
                    hash.begin(&columns[..1]);
                    hash.end(1, hash.rest(0, &columns[1..]));
                    let number = u128::from_str_radix(&hash.finish(), 16).unwrap();
                    // Also in each lane alone.
                    assert!(seen.insert((0, number >> 64)));
                    assert!(seen.insert((1, number & u128::from(u64::MAX))));
                }
            }
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let of = |value: f64| {
            let mut hash = RowHash::new(&schema);
            hash.begin(&[Arc::new(Float64Array::from(vec![value])) as ArrayRef]);
            let rest = hash.rest(0, &[Arc::new(Float64Array::from(vec![value])) as ArrayRef]);
            hash.end(1, rest);
            hash.finish()
        };
        assert_eq!(of(0.0), of(-0.0));
        assert_ne!(of(0.0), of(f64::MIN_POSITIVE));
    }
}
