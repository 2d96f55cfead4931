//! What makes a value unusable, as a condition for the engine and as a loop over a column.
//!
//! Nearly every column of nearly every log is sound. A loop sees that several times faster than the
//! engine, which evaluates all conditions of a table row by row; only where some value is unsound does
//! the engine have to say which rows, and for what reason. Null is sound, but for [`Fault::Null`].

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{Float64Type, Int64Type};

/// 2000-01-01, inclusive.
pub(crate) const EARLIEST: i64 = 946_684_800_000_000;
/// 2100-01-01, exclusive.
pub(crate) const LATEST: i64 = 4_102_444_800_000_000;

/// A reason not to use a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is null.
    Null,
    /// It is no time between [`EARLIEST`] and [`LATEST`].
    FarTime,
    /// It is none of these texts.
    NoneOf(&'static [&'static str]),
    /// It is a whole number below 0.
    Negative,
    /// It is a whole number above this one.
    Above(i64),
    /// It is no finite number from 0 up.
    NoRate,
    /// It is no number from 0 to 1.
    NoProbability,
    /// It is no finite number.
    NotFinite,
}

/// The engine compares floats in IEEE total order, in which -0.0 is below 0.0 and NaN, by its sign,
/// below or above every number: hence a bound a little below zero, and bounds that NaN exceeds.
const ZERO: f64 = -1e-300;

impl Fault {
    /// True for an unsound value of this column, null or false for a sound one.
    pub(crate) fn sql(self, name: &str) -> String {
        match self {
            Self::Null => format!("{name} IS NULL"),
            Self::FarTime => format!("{name} < {EARLIEST} OR {name} >= {LATEST}"),
            Self::NoneOf(allowed) => {
                let list: Vec<_> = allowed.iter().map(|text| format!("'{text}'")).collect();
                format!("{name} NOT IN ({})", list.join(", "))
            }
            Self::Negative => format!("{name} < 0"),
            Self::Above(most) => format!("{name} > {most}"),
            Self::NoRate => format!("{name} < {ZERO:e} OR {name} > {:e}", f64::MAX),
            Self::NoProbability => format!("{name} < {ZERO:e} OR {name} > 1.0"),
            Self::NotFinite => format!("{name} < {:e} OR {name} > {:e}", f64::MIN, f64::MAX),
        }
    }

    /// Whether no value of a column is unsound. The column is `Int64`, `Float64` or `Utf8`, whichever
    /// the fault is about.
    pub(crate) fn is_absent(self, column: &ArrayRef) -> bool {
        match self {
            Self::Null => column.null_count() == 0,
            Self::FarTime => whole(column, |value| (EARLIEST..LATEST).contains(&value)),
            Self::Negative => whole(column, |value| value >= 0),
            Self::Above(most) => whole(column, |value| value <= most),
            Self::NoRate => real(column, |value| (ZERO..=f64::MAX).contains(&value)),
            Self::NoProbability => real(column, |value| (ZERO..=1.0).contains(&value)),
            Self::NotFinite => real(column, f64::is_finite),
            Self::NoneOf(allowed) => {
                let texts = column.as_string::<i32>();
                texts.iter().flatten().all(|text| allowed.contains(&text))
            }
        }
    }

    /// Whether values between these two, whole numbers of which none is null, are all sound.
    pub(crate) fn spares(self, least: i64, most: i64) -> bool {
        match self {
            Self::Null => true,
            Self::FarTime => least >= EARLIEST && most < LATEST,
            Self::Negative => least >= 0,
            Self::Above(limit) => most <= limit,
            Self::NoneOf(_) | Self::NoRate | Self::NoProbability | Self::NotFinite => false,
        }
    }
}

fn whole(column: &ArrayRef, sound: impl Fn(i64) -> bool) -> bool {
    all::<Int64Type>(column.as_primitive(), sound)
}

fn real(column: &ArrayRef, sound: impl Fn(f64) -> bool) -> bool {
    all::<Float64Type>(column.as_primitive(), sound)
}

/// Without a branch for each value, where none is null.
fn all<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    sound: impl Fn(T::Native) -> bool,
) -> bool {
    if column.null_count() == 0 {
        let values = column.values().iter();
        values.fold(true, |all, &value| all & sound(value))
    } else {
        column.iter().flatten().all(sound)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::engine::Engine;

    /// Each value alone is sound to the loop where it is sound to the engine.
    fn check(faults: &[Fault], values: &[ArrayRef]) {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::start(1, None, folder.path().join("work")).unwrap();
        let data_type = values[0].data_type().clone();
        let schema = Arc::new(Schema::new(vec![
            Field::new("row", DataType::Int64, false),
            Field::new("x", data_type, true),
        ]));
        let mut sink = engine.sink("t", schema.clone()).unwrap();
        for (value, row) in values.iter().zip(0..) {
            let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![row])), value.clone()];
            sink.write(&RecordBatch::try_new(schema.clone(), columns).unwrap())
                .unwrap();
        }
        sink.finish(&engine).unwrap();
        for &fault in faults {
            let sql = format!("SELECT row FROM t WHERE {}", fault.sql("x"));
            let bad = engine.collect("test", &sql).unwrap();
            let bad: Vec<i64> = bad
                .iter()
                .flat_map(|batch| {
                    batch
                        .column(0)
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec()
                })
                .collect();
            for (value, row) in values.iter().zip(0..) {
                assert_eq!(
                    fault.is_absent(value),
                    !bad.contains(&row),
                    "{fault:?} of {value:?}"
                );
            }
        }
    }

    #[test]
    fn loops_and_conditions_agree() {
        let whole = [
            None,
            Some(i64::MIN),
            Some(-1),
            Some(0),
            Some(7),
            Some(8),
            Some(EARLIEST - 1),
            Some(EARLIEST),
            Some(LATEST - 1),
            Some(LATEST),
            Some(i64::MAX),
        ];
        let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        check(
            &[
                Fault::Null,
                Fault::FarTime,
                Fault::Negative,
                Fault::Above(7),
            ],
            &whole.map(column),
        );
        let real = [
            None,
            Some(f64::NAN),
            Some(-f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
            Some(f64::MAX),
            Some(f64::MIN),
            Some(-0.0),
            Some(0.0),
            Some(-1e-9),
            Some(f64::MIN_POSITIVE),
            Some(1.0),
            Some(1.0 + f64::EPSILON),
        ];
        let column = |value| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        check(
            &[
                Fault::Null,
                Fault::NoRate,
                Fault::NoProbability,
                Fault::NotFinite,
            ],
            &real.map(column),
        );
        let texts = [None, Some(""), Some("view"), Some("View")];
        let column = |value| Arc::new(StringArray::from(vec![value])) as ArrayRef;
        check(
            &[Fault::Null, Fault::NoneOf(&["view", "click"])],
            &texts.map(column),
        );
    }

    #[test]
    fn ranges_spare_what_all_their_values_are_spared() {
        let ends = [i64::MIN, -1, 0, 7, 8, EARLIEST, LATEST - 1, LATEST];
        for fault in [
            Fault::Null,
            Fault::FarTime,
            Fault::Negative,
            Fault::Above(7),
        ] {
            for &least in &ends {
                for &most in ends.iter().filter(|&&most| most >= least) {
                    let both: ArrayRef = Arc::new(Int64Array::from(vec![least, most]));
                    assert_eq!(
                        fault.spares(least, most),
                        fault.is_absent(&both),
                        "{fault:?}"
                    );
                }
            }
        }
    }
}
